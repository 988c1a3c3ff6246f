import { isJsonObject } from '../../protocol/jsonRpc.js';
import { parse } from './answerFacts.js';

/**
 * Whether an answer says that the upstream does not know the session that the request named. The specification has 404
 * for it; servers after the SDK's own examples say 400 and name the session in their error.
 */
export function isSessionLost(status: number, body: Buffer): boolean {
  if (status === 404) return true;
  if (status !== 400) return false;
  const message = parse(body);
  const error = isJsonObject(message) ? message['error'] : null;
  return isJsonObject(error) && error['code'] === -32000 && /session/i.test(String(error['message']));
}
