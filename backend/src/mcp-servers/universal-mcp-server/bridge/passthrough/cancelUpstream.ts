/** Tells an upstream of the legacy era that nobody waits for a call any more: a closed connection says nothing there. */
import type { JsonRpcId } from '../../protocol/jsonRpc.js';
import type { RawAnswer, RawUpstream } from '../../upstream/remote/rawUpstream.js';
import type { PassedSession } from './passedSession.js';
import { toLegacyHeaders } from './requestHeaders.js';

/** Part of the call that is cancelled, and of its account. */
export function cancelUpstream(
  raw: RawUpstream,
  { instance, upstream }: PassedSession,
  revision: string | undefined,
  requestId: JsonRpcId,
): void {
  const params = { requestId, reason: 'The caller gave up.' };
  const body = Buffer.from(JSON.stringify({ jsonrpc: '2.0', method: 'notifications/cancelled', params }));
  const headers = toLegacyHeaders(revision);
  const done = (): void => clearTimeout(timer);
  const deaf: RawAnswer = { onHead() {}, onData() {}, onEnd: done, onError: done };
  const request = { lane: 'call', method: 'POST', body, sessionId: upstream?.id ?? null, headers } as const;
  const exchange = raw.exchange(instance, request, deaf);
  // Nobody waits for the answer, so a server that never ends it holds no place among the calls.
  const timer = setTimeout(() => exchange.abort(), answerMsMax).unref();
}

const answerMsMax = 5_000;
