/**
 * Reads a request's body once, within bounds: bytes, time (the listener's own), depth. A bigger one is refused before it
 * is held.
 */
import type { IncomingMessage } from 'node:http';
import { AppError } from '../../../errors/appError.js';

export const jsonDepthMax = 64;

/** @throws AppError PAYLOAD_TOO_LARGE, UNSUPPORTED_MEDIA_TYPE, INVALID_JSON, INVALID_REQUEST (too deep, cut off) */
export async function readJsonBody(request: IncomingMessage, bytesMax: number): Promise<unknown> {
  const { 'content-type': type = '', 'content-encoding': encoding = 'identity' } = request.headers;
  if (!/^application\/json\s*(?:;|$)/i.test(type) || encoding !== 'identity') {
    throw new AppError('UNSUPPORTED_MEDIA_TYPE', 'a body that is not plain JSON', {
      publicDetail: 'Send application/json without a content encoding.',
    });
  }
  if (Number(request.headers['content-length'] ?? 0) > bytesMax) throw tooLarge(bytesMax);
  const bytes = await readBytes(request, bytesMax);
  let value: unknown;
  try {
    value = JSON.parse(bytes.toString('utf8'));
  } catch (cause) {
    throw new AppError('INVALID_JSON', 'the body is no JSON', { cause });
  }
  if (isDeeperThan(value, jsonDepthMax)) {
    throw new AppError('INVALID_REQUEST', 'the body is nested too deeply', {
      publicDetail: `The body may be nested ${jsonDepthMax} levels deep.`,
    });
  }
  return value;
}

function readBytes(request: IncomingMessage, bytesMax: number): Promise<Buffer> {
  return new Promise((resolve, reject) => {
    const chunks: Buffer[] = [];
    let size = 0;
    request.on('data', (chunk: Buffer) => {
      size += chunk.length;
      if (size > bytesMax) {
        // What follows is read and dropped by whoever answers; nothing more is kept.
        chunks.length = 0;
        return reject(tooLarge(bytesMax));
      }
      chunks.push(chunk);
    });
    request.on('end', () =>
      resolve(chunks.length === 1 ? (chunks[0] ?? Buffer.alloc(0)) : Buffer.concat(chunks)),
    );
    request.on('error', () => reject(new AppError('INVALID_REQUEST', 'the body was cut off')));
  });
}

function tooLarge(bytesMax: number): AppError {
  return new AppError('PAYLOAD_TOO_LARGE', 'the body is too large', {
    publicDetail: `A body may have ${bytesMax} bytes.`,
  });
}

export function isDeeperThan(value: unknown, levels: number): boolean {
  if (typeof value !== 'object' || value === null) return false;
  if (levels === 0) return true;
  if (Array.isArray(value)) {
    for (const item of value) if (isDeeperThan(item, levels - 1)) return true;
    return false;
  }
  for (const item of Object.values(value)) if (isDeeperThan(item, levels - 1)) return true;
  return false;
}
