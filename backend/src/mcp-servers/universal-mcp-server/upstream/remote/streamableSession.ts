/**
 * A session of the legacy era with a remote server over Streamable HTTP: initialized once, with a background stream where
 * the server has one. A session that the server has lost is begun anew, with what its conversations had settled, and the
 * request that met the loss is sent once more: the server refused it unread.
 */
import { AppError } from '../../../../errors/appError.js';
import { abortable } from '../../protocol/abortable.js';
import {
  isJsonObject,
  type JsonObject,
  type JsonRpcNotification,
  type JsonRpcRequest,
  type JsonRpcResponse,
} from '../../protocol/jsonRpc.js';
import { isAtLeast } from '../../protocol/logLevels.js';
import type { ClientTerms, RequestListener, ServerTerms } from '../upstream.js';
import type { SharedRouter } from '../stdio/childConnection.js';
import type { Owner } from '../stdio/requestTable.js';
import { BackgroundStream } from './backgroundStream.js';
import { toStatusOutcome } from '../credentialUses.js';
import { endSession } from './endSession.js';
import type { MessageOwner } from './rawCall.js';
import type { RawHead } from './rawUpstream.js';
import type { RemoteParts } from './remoteParts.js';
import { toServerTerms } from './serverTerms.js';
import { deafListener, SessionRouter, toNobody, type PendingMessage } from './sessionRouter.js';
import { SessionLost, StreamableCarrier, toBegun } from './streamableCarrier.js';
import { withDeadline } from './withDeadline.js';

export class StreamableSession implements SharedRouter {
  readonly era = 'legacy';
  readonly requests = { requireOpen: (): void => this.#requireOpen() };
  readonly #parts: RemoteParts;
  readonly #owner: MessageOwner;
  readonly #client: ClientTerms;
  readonly #router: SessionRouter;
  readonly #carrier: StreamableCarrier;
  readonly #background: BackgroundStream;
  readonly #closing = new AbortController();
  #server: ServerTerms | null = null;
  #reopening: Promise<void> | null = null;

  /** @throws AppError of the exchange, WrongEra when it is no server of this era; the signal's reason. */
  static async begin(
    parts: RemoteParts,
    owner: MessageOwner,
    client: ClientTerms,
    signal: AbortSignal,
  ): Promise<StreamableSession> {
    const session = new StreamableSession(parts, owner, client);
    await session.#initialize(signal);
    return session;
  }

  private constructor(parts: RemoteParts, owner: MessageOwner, client: ClientTerms) {
    this.#parts = parts;
    this.#owner = owner;
    this.#client = client;
    this.#router = new SessionRouter({
      answer: (response) => this.#tell(response),
      cancel: (requestId) =>
        this.#tell({
          jsonrpc: '2.0',
          method: 'notifications/cancelled',
          params: { requestId, reason: 'the caller gave up' },
        }),
    });
    this.#carrier = new StreamableCarrier(parts, owner, () => this.#router);
    this.#background = new BackgroundStream({
      open: (place, signal) =>
        parts.auditUse(
          owner.instance,
          'stream/listen',
          () => this.#carrier.listen(place, null, signal),
          toStatusOutcome,
        ),
      onLost: () => this.#reopen(this.#carrier.sessionId),
      log: parts.log,
    });
  }

  get server(): ServerTerms {
    if (this.#server === null) throw new AppError('INTERNAL', 'a session is asked before it is initialized');
    return this.#server;
  }

  get owners(): Set<Owner> {
    return this.#router.owners;
  }

  get isClosed(): boolean {
    return this.#router.closedBy !== null;
  }

  async request(
    request: JsonRpcRequest,
    owner: Owner,
    listener: RequestListener,
    signal: AbortSignal,
  ): Promise<JsonRpcResponse> {
    this.#requireOpen();
    const pending = this.#router.begin(request, owner, listener, signal);
    this.#run(pending).catch((error: unknown) => this.#router.fail(pending, error));
    return await pending.answered;
  }

  notify(notification: JsonRpcNotification): void {
    this.#tell(notification);
  }

  /** Hears the server outside of requests from now on. */
  listen(): void {
    if (this.#parts.remote.session !== 'stateless') this.#background.start();
  }

  forget(owner: Owner): void {
    this.#router.forget(owner);
  }

  /** Fails what is under way, ends the streams and tells the server. Resolves when it is told, in bounded time. */
  async close(reason: AppError): Promise<void> {
    if (this.isClosed) return;
    const { sessionId, revision } = this.#carrier;
    this.#router.close(reason);
    this.#closing.abort(reason);
    this.#background.stop();
    await endSession(this.#parts, this.#owner, sessionId, revision ?? this.#client.protocolVersion);
  }

  #requireOpen(): void {
    if (this.#router.closedBy !== null)
      throw new AppError('UPSTREAM_UNREACHABLE', `not sent: ${this.#router.closedBy.message}`);
  }

  async #run(pending: PendingMessage): Promise<void> {
    if (this.#reopening !== null) await abortable(this.#reopening, pending.signal);
    const { sessionId } = this.#carrier;
    try {
      await this.#carrier.ask(pending);
    } catch (error) {
      if (!(error instanceof SessionLost)) throw error;
      await abortable(this.#reopen(sessionId), pending.signal);
      await this.#carrier.ask(pending).catch((again: unknown) => {
        throw again instanceof SessionLost ? lostAgain() : again;
      });
    }
  }

  async #initialize(signal: AbortSignal): Promise<void> {
    const carrier = this.#carrier;
    carrier.sessionId = null;
    carrier.revision = null;
    const heads: RawHead[] = [];
    const response = await this.#askItself('initialize', { ...this.#client }, signal, (head) =>
      heads.push(head),
    );
    this.#server = toServerTerms(response);
    carrier.revision = this.#server.protocolVersion;
    if (this.#parts.remote.session !== 'stateless') carrier.sessionId = heads[0]?.sessionId ?? null;
    const { timeoutMs } = this.#parts.definition.limits;
    const initialized = { jsonrpc: '2.0', method: 'notifications/initialized' } as const;
    await withDeadline(timeoutMs, signal, (bounded) => carrier.post(initialized, bounded));
  }

  /** Begins the session anew, once for all who met its loss. @param lost the session that they knew. */
  #reopen(lost: string | null): Promise<void> {
    if (this.#reopening !== null) return this.#reopening;
    // Somebody else began it anew already.
    if (lost !== this.#carrier.sessionId || this.isClosed) return Promise.resolve();
    const again = this.#restore()
      .catch(async (error: unknown) => {
        await this.close(toBegun(error));
        throw error;
      })
      .finally(() => {
        this.#reopening = null;
      });
    again.catch(() => undefined);
    this.#reopening = again;
    return again;
  }

  async #restore(): Promise<void> {
    this.#parts.log.info('a remote server lost its session; it is begun anew');
    this.#background.forgetPlace();
    await this.#initialize(this.#closing.signal);
    const owners = [...this.owners];
    const levels = owners.flatMap(({ logLevel }) => (logLevel === null ? [] : [logLevel]));
    const level = levels.find((one) => levels.every((other) => isAtLeast(other, one)));
    if (level !== undefined) await this.#askItself('logging/setLevel', { level }, this.#closing.signal);
    for (const uri of new Set(owners.flatMap(({ subscriptions }) => [...subscriptions])))
      await this.#askItself('resources/subscribe', { uri }, this.#closing.signal);
    // Another process of the server may stand behind the session now.
    for (const kind of ['tools', 'prompts', 'resources'] as const) {
      const capability = this.server.capabilities[kind];
      if (isJsonObject(capability) && capability['listChanged'] === true)
        this.#router.take({ jsonrpc: '2.0', method: `notifications/${kind}/list_changed` }, null);
    }
  }

  async #askItself(
    method: string,
    params: JsonObject,
    signal: AbortSignal,
    onHead?: (head: RawHead) => void,
  ): Promise<JsonRpcResponse> {
    const { timeoutMs } = this.#parts.definition.limits;
    return await withDeadline(timeoutMs, signal, async (bounded) => {
      const request = { jsonrpc: '2.0', id: 0, method, params } as const;
      const pending = this.#router.begin(request, toNobody(), deafListener, bounded);
      this.#carrier.ask(pending, onHead).catch((error: unknown) => this.#router.fail(pending, error));
      return await pending.answered;
    });
  }

  /** Sends what has no answer; a server that cannot be told will show it with the next request. */
  #tell(message: JsonRpcNotification | JsonRpcResponse): void {
    if (this.#closing.signal.aborted) return;
    const { timeoutMs } = this.#parts.definition.limits;
    withDeadline(timeoutMs, this.#closing.signal, (bounded) => this.#carrier.post(message, bounded)).catch(
      () => undefined,
    );
  }
}

const lostAgain = (): AppError =>
  new AppError('UPSTREAM_FAILED', 'the remote server lost its session twice', {
    publicDetail: 'The service behind keeps losing its session.',
  });
