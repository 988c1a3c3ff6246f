/**
 * The two halves of HTTP+SSE (MCP 2024-11-05, "HTTP with SSE"): a stream on which everything comes, and the place that
 * its first event names, to which every message is posted.
 */
import { AppError, toAppError } from '../../../../errors/appError.js';
import { exchangeMessages } from './messageExchange.js';
import { postHeaders } from './modernHeaders.js';
import type { MessageOwner, RemoteRequest } from './rawCall.js';
import type { RemoteParts } from './remoteParts.js';
import type { RemoteTarget } from './remoteTarget.js';
import { isPlainStatus, toStatusError } from './statusErrors.js';

export interface SseStream {
  /** @throws AppError when the server does not take it. */
  post(text: string): Promise<void>;
  close(): void;
}

export interface SseStreamListener {
  onMessage(message: unknown, bytes: number): void;
  /** The stream ended or broke, however that came; called once, and not after `close`. */
  onClosed(reason: AppError): void;
}

const streamRequest: RemoteRequest = {
  lane: 'stream',
  method: 'GET',
  body: null,
  sessionId: null,
  headers: ['accept', 'text/event-stream'],
};

/**
 * Resolves when the server has named the place for messages.
 * @throws AppError UPSTREAM_FAILED where it names none, or one of another origin; the errors of an exchange; the reason of
 * `signal`, which ends the wait alone.
 */
export async function openSseStream(
  parts: RemoteParts,
  owner: MessageOwner,
  listener: SseStreamListener,
  signal: AbortSignal,
): Promise<SseStream> {
  const base = parts.toTarget(owner.values ?? (await parts.openValues(owner.instance)));
  const closing = new AbortController();
  const posting = new AbortController();
  let isOpen = false;
  return await new Promise((resolve, reject) => {
    const giveUp = (): void => closing.abort(signal.reason);
    if (signal.aborted) giveUp();
    signal.addEventListener('abort', giveUp, { once: true });
    const fail = (error: unknown): void => {
      signal.removeEventListener('abort', giveUp);
      posting.abort(error);
      const reason = toAppError(error);
      if (isOpen && !closing.signal.aborted) listener.onClosed(reason);
      else
        reject(
          closing.signal.aborted && closing.signal.reason instanceof Error ? closing.signal.reason : reason,
        );
      closing.abort(reason);
    };
    const exchange = exchangeMessages(
      parts,
      owner,
      streamRequest,
      {
        onHead({ status, form }) {
          if (status < 300 && form === 'events') return;
          throw new AppError('UPSTREAM_FAILED', `no event stream: status ${status}`, {
            publicDetail: `What stands at the address of the service answered with status ${status} and no event stream.`,
          });
        },
        onMessage: (message, bytes) => listener.onMessage(message, bytes),
        onEvent(name, data) {
          if (name !== 'endpoint' || isOpen) return;
          const path = toSameOriginPath(base, data);
          isOpen = true;
          signal.removeEventListener('abort', giveUp);
          resolve({
            post: (text) => post(parts, owner, path, text, posting.signal),
            close() {
              closing.abort(new Error('closed'));
              posting.abort(new Error('closed'));
            },
          });
        },
      },
      closing.signal,
    );
    exchange.then(() => fail(new AppError('UPSTREAM_FAILED', 'the remote server ended its stream')), fail);
  });
}

/** Whether something of that kind stands there; null when it does not. Nothing of it stays open. */
export async function findSseEndpoint(
  parts: RemoteParts,
  owner: MessageOwner,
  signal: AbortSignal,
): Promise<true | null> {
  try {
    const stream = await openSseStream(parts, owner, { onMessage() {}, onClosed() {} }, signal);
    stream.close();
    return true;
  } catch (error) {
    if (error instanceof AppError && error.code === 'UPSTREAM_FAILED') return null;
    throw error;
  }
}

async function post(
  parts: RemoteParts,
  owner: MessageOwner,
  path: string,
  text: string,
  signal: AbortSignal,
): Promise<void> {
  const body = Buffer.from(text);
  const request: RemoteRequest = {
    lane: 'call',
    method: 'POST',
    body,
    sessionId: null,
    headers: postHeaders,
    path,
  };
  const head = await exchangeMessages(parts, owner, request, { onMessage() {} }, signal);
  if (head.status >= 300 || !isPlainStatus(head.status)) {
    throw toStatusError({ status: head.status, header: () => null }, owner.instance);
  }
}

/** A place of another origin would be sent the credential. */
function toSameOriginPath({ url, destination }: RemoteTarget, text: string): string {
  const found = URL.canParse(text, url) ? new URL(text, url) : null;
  if (found === null || found.origin !== new URL(destination.origin).origin) {
    throw new AppError('UPSTREAM_FAILED', 'the remote server names a place of another origin for messages', {
      publicDetail:
        'The service behind wants messages sent to another place than its own, which is not done.',
    });
  }
  return found.pathname + found.search;
}
