/**
 * A session of a passed client while it is in memory: which session of the upstream it is now, and who waits for it to be
 * renewed. What has to outlive it is in its id and in the journal, so it may leave at any time.
 */
import { AppError } from '../../../../errors/appError.js';
import type { SealedInstance } from '../../../../services/instanceResolver.js';
import type { MayGoOn } from '../../../../services/oauth/sameGrant.js';
import type { ClientTerms } from '../../upstream/upstream.js';
import type { OpenThing } from '../instanceRooms.js';
import type { SettledSession, UpstreamSession } from '../sessionIds.js';

/** Something of a session that ends with it. */
export interface Closable {
  close(): void;
  /** Another list of tools is shown now than before. */
  onToolsChange?(): void;
}

/** A call whose server asked its client something. */
export interface Asking {
  onAnswered(questionId: unknown): void;
}

/**
 * A client that had a stream and did not come back within this is taken to have vanished: clients open a stream that
 * broke again within seconds. With a round of the sweep, nothing is left of it after 30 s (spec 08).
 */
const goneMs = 24_000;
/**
 * A client without a stream says nothing while its user thinks. Upstreams keep sessions for minutes to hours; one that is
 * ended too early is renewed underneath, one that is never ended costs the upstream memory.
 */
const quietMs = 5 * 60_000;

export class PassedSession implements OpenThing {
  readonly uuid: string;
  readonly client: ClientTerms;
  /** Null while it has to be initialized, for the first time or again. */
  upstream: UpstreamSession | null;
  /** Under way to a new upstream session; all that wait for it share it. */
  renewal: Promise<void> | null = null;
  /** Ends the renewal that is under way with what it is made for: the credential, or the session itself. */
  renewing: AbortController | null = null;
  instance: SealedInstance;
  /** The stream for what belongs to no request. */
  hasStream = false;
  readonly streams = new Set<Closable>();
  /** What the server asked on the stream of a call and the client has not answered yet, by the question's id. */
  readonly questions = new Map<unknown, Asking>();
  #callsUnderWay = 0;
  #usedAt = performance.now();
  #hadStream = false;
  readonly #mayGoOn: MayGoOn;
  readonly #onExpiry: (session: PassedSession) => void;

  constructor(
    instance: SealedInstance,
    settled: SettledSession,
    mayGoOn: MayGoOn,
    onExpiry: (session: PassedSession) => void,
  ) {
    this.instance = instance;
    this.uuid = settled.uuid;
    this.client = settled.client;
    this.upstream = settled.upstream?.revision === revisionOf(instance) ? settled.upstream : null;
    this.#mayGoOn = mayGoOn;
    this.#onExpiry = onExpiry;
  }

  get usedAt(): number {
    return this.#callsUnderWay > 0 || this.streams.size > 0 ? Infinity : this.#usedAt;
  }

  get idleMs(): number {
    return this.#hadStream ? goneMs : quietMs;
  }

  touch(instance: SealedInstance): void {
    if (this.instance !== instance) this.#become(instance, this.#mayGoOn(this.instance, instance));
    this.#usedAt = performance.now();
  }

  /** The upstream does not know this session of its own any more; one that was renewed meanwhile stays. */
  lose(upstreamId: string | null): void {
    if (this.upstream?.id === upstreamId) this.upstream = null;
  }

  beginCall(): void {
    this.#callsUnderWay += 1;
  }

  endCall(): void {
    this.#callsUnderWay -= 1;
    this.#usedAt = performance.now();
  }

  addStream(stream: Closable): void {
    this.#hadStream = true;
    this.streams.add(stream);
  }

  removeStream(stream: Closable): void {
    this.streams.delete(stream);
    this.#usedAt = performance.now();
  }

  /** Another credential is another account upstream: its session and its streams end with the old one. */
  onInstanceChange(now: SealedInstance | null): void {
    if (now === null) return this.close();
    const goesOn = this.#mayGoOn(this.instance, now);
    this.#become(now, goesOn);
    if (!goesOn) this.close();
  }

  onToolsChange(): void {
    for (const stream of Array.from(this.streams)) stream.onToolsChange?.();
  }

  close(): void {
    this.renewing?.abort(new AppError('UPSTREAM_FAILED', 'the session ended or its instance changed'));
    for (const stream of Array.from(this.streams)) stream.close();
  }

  expire(): void {
    this.#onExpiry(this);
  }

  #become(now: SealedInstance, goesOn: boolean): void {
    const isOurs = goesOn && this.upstream?.revision === revisionOf(this.instance);
    this.instance = now;
    if (this.upstream === null || this.upstream.revision === revisionOf(now)) return;
    this.upstream = isOurs ? { ...this.upstream, revision: revisionOf(now) } : null;
  }
}

/** Names the credential and the settings of an instance; not what they say. */
export function revisionOf({ credentialRevision, overridesRevision }: SealedInstance): string {
  return `${credentialRevision}.${overridesRevision}`;
}
