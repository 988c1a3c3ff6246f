/**
 * A session over HTTP+SSE (MCP 2024-11-05): every message of the server comes on one stream. When the stream dies, what is
 * under way fails with one error each, for some of it may have run, and a new session is begun with the next request (R06).
 */
import { AppError, toAppError } from '../../../../errors/appError.js';
import type {
  JsonRpcMessage,
  JsonRpcNotification,
  JsonRpcRequest,
  JsonRpcResponse,
} from '../../protocol/jsonRpc.js';
import type { ClientTerms, RequestListener, ServerTerms } from '../upstream.js';
import type { SharedRouter } from '../stdio/childConnection.js';
import type { Owner } from '../stdio/requestTable.js';
import type { MessageOwner } from './rawCall.js';
import type { RemoteParts } from './remoteParts.js';
import { toServerTerms } from './serverTerms.js';
import { deafListener, SessionRouter, toNobody } from './sessionRouter.js';
import { openSseStream, type SseStream } from './sseStream.js';
import { withDeadline } from './withDeadline.js';

export class SseSession implements SharedRouter {
  readonly era = 'legacy';
  readonly requests = { requireOpen: (): void => this.#requireOpen() };
  readonly server: ServerTerms;
  readonly #router: SessionRouter;
  readonly #stream: SseStream;

  /** @throws AppError of the exchange, UPSTREAM_FAILED when it is no server of this kind; the signal's reason. */
  static async begin(
    parts: RemoteParts,
    owner: MessageOwner,
    client: ClientTerms,
    signal: AbortSignal,
  ): Promise<SseSession> {
    const { timeoutMs } = parts.definition.limits;
    return await withDeadline(timeoutMs, signal, async (bounded) => {
      let stream: SseStream | null = null;
      const tell = (message: JsonRpcMessage): void => {
        stream?.post(JSON.stringify(message)).catch(() => undefined);
      };
      const router = new SessionRouter({
        answer: tell,
        cancel: (requestId) =>
          tell({
            jsonrpc: '2.0',
            method: 'notifications/cancelled',
            params: { requestId, reason: 'the caller gave up' },
          }),
      });
      const listener = {
        onMessage: (message: unknown) => router.take(message, null),
        onClosed: (reason: AppError) => router.close(reason),
      };
      stream = await openSseStream(parts, owner, listener, bounded);
      try {
        const request = { jsonrpc: '2.0', id: 0, method: 'initialize', params: { ...client } } as const;
        const server = toServerTerms(await ask(router, stream, request, toNobody(), deafListener, bounded));
        await stream.post(JSON.stringify({ jsonrpc: '2.0', method: 'notifications/initialized' }));
        return new SseSession(router, stream, server);
      } catch (error) {
        router.close(toAppError(error));
        stream.close();
        throw error;
      }
    });
  }

  private constructor(router: SessionRouter, stream: SseStream, server: ServerTerms) {
    this.#router = router;
    this.#stream = stream;
    this.server = server;
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
    return await ask(this.#router, this.#stream, request, owner, listener, signal);
  }

  notify(notification: JsonRpcNotification): void {
    if (!this.isClosed) this.#stream.post(JSON.stringify(notification)).catch(() => undefined);
  }

  /** The stream is open already. */
  listen(): void {}

  forget(owner: Owner): void {
    this.#router.forget(owner);
  }

  close(reason: AppError): Promise<void> {
    this.#router.close(reason);
    this.#stream.close();
    return Promise.resolve();
  }

  #requireOpen(): void {
    if (this.#router.closedBy !== null)
      throw new AppError('UPSTREAM_UNREACHABLE', `not sent: ${this.#router.closedBy.message}`);
  }
}

function ask(
  router: SessionRouter,
  stream: SseStream,
  request: JsonRpcRequest,
  owner: Owner,
  listener: RequestListener,
  signal: AbortSignal,
): Promise<JsonRpcResponse> {
  const pending = router.begin(request, owner, listener, signal);
  stream.post(JSON.stringify(pending.message)).catch((error: unknown) => router.fail(pending, error));
  return pending.answered;
}
