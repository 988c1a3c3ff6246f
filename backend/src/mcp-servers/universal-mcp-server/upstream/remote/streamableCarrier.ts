/**
 * Carries the messages of one legacy session over Streamable HTTP (MCP 2025-11-25, "Transports"): each request a POST with
 * the answer on it, taken up again where it breaks and the server keeps events ("Resumability and Redelivery").
 */
import { AppError, toAppError } from '../../../../errors/appError.js';
import { isJsonObject, shapeOf, type JsonRpcFailure, type JsonRpcMessage } from '../../protocol/jsonRpc.js';
import { exchangeMessages, type StreamPlace } from './messageExchange.js';
import { postHeaders } from './modernHeaders.js';
import type { MessageOwner, RemoteRequest } from './rawCall.js';
import type { RawHead } from './rawUpstream.js';
import type { RemoteParts } from './remoteParts.js';
import type { PendingMessage, SessionRouter } from './sessionRouter.js';
import { toStatusError } from './statusErrors.js';
import { pause } from './withDeadline.js';

/** The server knows the session no longer, so that it did not look at the message. */
export class SessionLost extends Error {
  override readonly name = 'SessionLost';
}

/** Attempts without a new event to take a broken answer up again before it is given up. */
const resumesMax = 5;
const resumeMs = 1_000;

export class StreamableCarrier {
  /** Of the session as it is now; null before it has begun, and for servers that have none. */
  sessionId: string | null = null;
  /** What was agreed on; null before. */
  revision: string | null = null;
  readonly #parts: RemoteParts;
  readonly #owner: MessageOwner;
  readonly #router: () => SessionRouter;

  constructor(parts: RemoteParts, owner: MessageOwner, router: () => SessionRouter) {
    this.#parts = parts;
    this.#owner = owner;
    this.#router = router;
  }

  /** Sends what has no answer. @throws AppError of the exchange; the signal's reason. */
  async post(message: JsonRpcMessage, signal: AbortSignal): Promise<void> {
    await exchangeMessages(this.#parts, this.#owner, this.#toPost(message), { onMessage() {} }, signal);
  }

  /**
   * Sends a request and hears all that comes on its answer; the response goes to the router like everything else.
   * @throws SessionLost; AppError of the exchange, UPSTREAM_FAILED when the answer ends without a response.
   */
  async ask(pending: PendingMessage, onHead: (head: RawHead) => void = () => {}): Promise<void> {
    const place: StreamPlace = { lastEventId: null, retryMs: null };
    const hadSession = this.sessionId !== null;
    const heads: RawHead[] = [];
    const refusals: JsonRpcFailure[] = [];
    const reader = {
      place,
      onHead: (head: RawHead) => {
        heads.push(head);
        onHead(head);
      },
      onMessage: (message: unknown) => {
        // Where a request is refused unread its id need not be repeated.
        if (isFailure(message) && (!hasId(message) || heads[0]?.status === 404)) refusals.push(message);
        else this.#router().take(message, pending);
      },
    };
    let failure: unknown = null;
    try {
      await exchangeMessages(this.#parts, this.#owner, this.#toPost(pending.message), reader, pending.signal);
    } catch (error) {
      failure = error;
    }
    const [head] = heads;
    if (!pending.isSettled && head !== undefined) {
      if (hadSession && isLost(head, refusals[0])) throw new SessionLost();
      this.#judge(head, refusals[0], pending);
    }
    let attempts = 0;
    // What never had an event id cannot be taken up again.
    while (!pending.isSettled && place.lastEventId !== null && attempts < resumesMax) {
      const from: string = place.lastEventId;
      await pause(place.retryMs ?? resumeMs, pending.signal);
      failure = null;
      try {
        await this.listen(place, pending, pending.signal);
      } catch (error) {
        failure = toBegun(error);
      }
      attempts = place.lastEventId === from ? attempts + 1 : 0;
    }
    if (pending.isSettled) return;
    throw (
      failure ??
      new AppError('UPSTREAM_FAILED', 'the remote server ended its answer without a response', {
        publicDetail: 'The service behind ended its answer before it was complete.',
      })
    );
  }

  /**
   * Hears a stream of the server's own, or the rest of an answer that broke. Resolves with its status when it is over.
   * @throws AppError of the exchange; the signal's reason.
   */
  async listen(place: StreamPlace, rest: PendingMessage | null, signal: AbortSignal): Promise<number> {
    const headers = ['accept', 'text/event-stream'];
    if (this.revision !== null) headers.push('mcp-protocol-version', this.revision);
    if (place.lastEventId !== null) headers.push('last-event-id', place.lastEventId);
    const { sessionId } = this;
    const request: RemoteRequest = { lane: 'stream', method: 'GET', body: null, sessionId, headers };
    const own = new AbortController();
    const follow = (): void => own.abort(signal.reason);
    if (signal.aborted) follow();
    signal.addEventListener('abort', follow, { once: true });
    const reader = {
      place,
      onMessage: (message: unknown) => {
        this.#router().take(message, rest);
        // A stream that was taken up again need not end with the answer that was waited for.
        if (rest?.isSettled === true) own.abort(new Error('answered'));
      },
    };
    try {
      return (await exchangeMessages(this.#parts, this.#owner, request, reader, own.signal)).status;
    } finally {
      signal.removeEventListener('abort', follow);
    }
  }

  /** @throws AppError for a refusal that says nothing but a status. */
  #judge({ status }: RawHead, refusal: JsonRpcFailure | undefined, pending: PendingMessage): void {
    if (status < 300) return;
    if (refusal === undefined) throw toStatusError({ status, header: () => null }, this.#owner.instance);
    this.#router().settleWith(pending, refusal.error);
  }

  #toPost(message: JsonRpcMessage): RemoteRequest {
    const body = Buffer.from(JSON.stringify(message));
    const headers =
      this.revision === null ? postHeaders : [...postHeaders, 'mcp-protocol-version', this.revision];
    // How long a tool may say nothing is the caller's to bound.
    return { lane: 'call', method: 'POST', body, sessionId: this.sessionId, headers, quietTimeoutMs: 0 };
  }
}

/** A request that was sent may have run, whatever keeps its answer away: nobody may take it for one that never left. */
export function toBegun(error: unknown): AppError {
  const known = toAppError(error);
  if (known.code !== 'UPSTREAM_UNREACHABLE') return known;
  return new AppError('UPSTREAM_FAILED', 'the remote server was lost while it had requests', {
    cause: error,
  });
}

/** Most servers say 404; some say 400 and speak of the session. */
const isLost = ({ status }: RawHead, refusal: JsonRpcFailure | undefined): boolean =>
  status === 404
    ? refusal?.error.code !== -32601
    : status === 400 && refusal !== undefined && /session/i.test(refusal.error.message);

const isFailure = (message: unknown): message is JsonRpcFailure =>
  shapeOf(message) === 'response' && isJsonObject(message) && 'error' in message;

const hasId = ({ id }: JsonRpcFailure): boolean => typeof id === 'number' || typeof id === 'string';
