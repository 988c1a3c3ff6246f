/**
 * The connection that a conversation holds to its upstream: made when first needed, made anew when it was lost or when
 * the instance's credential was replaced, with what the conversation had settled restored (spec 04, "Sharing a stdio child",
 * rule 6). An upstream that needs no connection of its own is joined for each call, so that no credential stays behind.
 */
import type { SealedInstance } from '../../../services/instanceResolver.js';
import type { MayGoOn } from '../../../services/oauth/sameGrant.js';
import { abortable } from '../protocol/abortable.js';
import type { Era } from '../protocol/revisions.js';
import type { OpenValues } from '../upstream/remote/rawUpstream.js';
import type {
  BackgroundListener,
  ClientTerms,
  ServerTerms,
  Upstream,
  UpstreamConnection,
} from '../upstream/upstream.js';

export interface HeldConnectionOptions {
  readonly upstream: Pick<Upstream, 'connect'>;
  readonly openValues: OpenValues;
  readonly mayGoOn: MayGoOn;
  /** False for upstreams that keep no conversation. */
  readonly isKept: boolean;
  readonly client: ClientTerms;
  readonly sessionId: string | null;
  readonly preferredEra: Era;
  /** Gives a connection the form in which the conversation wants it. */
  readonly adapt?: (connection: UpstreamConnection) => UpstreamConnection;
  readonly background: Omit<BackgroundListener, 'onClosed'>;
  /** Gives a new connection what the conversation had settled; `isAgain` when there was one before. */
  readonly restore: (connection: UpstreamConnection, isAgain: boolean) => Promise<void>;
  readonly onLost?: () => void;
}

export class HeldConnection {
  readonly #options: HeldConnectionOptions;
  readonly #closing = new AbortController();
  #connection: UpstreamConnection | null = null;
  #instance: SealedInstance | null = null;
  #pending: Promise<UpstreamConnection> | null = null;
  #wasConnected = false;

  constructor(options: HeldConnectionOptions) {
    this.#options = options;
  }

  /** What the upstream said of itself, once it was reached. */
  get server(): ServerTerms | null {
    return this.#connection?.server ?? null;
  }

  get isConnected(): boolean {
    return this.#connection !== null;
  }

  /** @throws AppError CREDENTIAL_MISSING and what opening the credential or connecting throws; or the signal's reason. */
  async get(instance: SealedInstance, signal: AbortSignal): Promise<UpstreamConnection> {
    const known = this.#instance;
    if (known !== null && known !== instance && !this.#options.mayGoOn(known, instance)) this.#drop();
    if (this.#connection !== null) {
      this.#instance = instance;
      return this.#connection;
    }
    if (this.#pending === null) {
      this.#instance = instance;
      const pending = this.#connect(instance);
      this.#pending = pending;
      const settle = (): void => {
        if (this.#pending === pending) this.#pending = null;
      };
      pending.then(settle, settle);
    }
    return await abortable(this.#pending, signal);
  }

  close(): void {
    this.#closing.abort(new Error('the conversation is over'));
    this.#drop();
  }

  async #connect(instance: SealedInstance): Promise<UpstreamConnection> {
    const { upstream, openValues, client, sessionId, preferredEra, isKept, background, restore } =
      this.#options;
    const values = await openValues(instance);
    const terms = { instance, values, client, sessionId, preferredEra };
    const joined = await upstream.connect(terms, this.#closing.signal);
    const connection = this.#options.adapt?.(joined) ?? joined;
    if (!isKept) return connection;
    if (this.#closing.signal.aborted || this.#instance !== instance) {
      connection.release();
      throw new Error('the conversation is over');
    }
    this.#connection = connection;
    connection.listen({
      onNotification: (notification) => background.onNotification(notification),
      onServerRequest: (request) => background.onServerRequest(request),
      onClosed: () => {
        if (this.#connection !== connection) return;
        this.#connection = null;
        this.#options.onLost?.();
      },
    });
    const isAgain = this.#wasConnected;
    this.#wasConnected = true;
    await restore(connection, isAgain);
    return connection;
  }

  #drop(): void {
    const connection = this.#connection;
    this.#connection = null;
    this.#instance = null;
    this.#pending = null;
    connection?.release();
  }
}
