/**
 * "404u": the one answer to an instance id that is unknown, revoked, paused, foreign, of another service or garbled. Same
 * status, body and headers for all, so that nobody learns which it was (spec 07).
 */
import type { ServerResponse } from 'node:http';

const body = '{"jsonrpc":"2.0","id":null,"error":{"code":-32001,"message":"Not found"}}';
const headers = {
  'content-type': 'application/json',
  'content-length': String(Buffer.byteLength(body)),
  'cache-control': 'no-store',
} as const;

export function answerNotFound(response: ServerResponse): void {
  response.writeHead(404, headers);
  response.end(body);
}
