/**
 * Reads a request's body once, within bounds: bytes, time (the listener's own), depth. A bigger one is refused before it
 * is held.
 */
import type { IncomingMessage } from 'node:http';
import { AppError, toAppError } from '../../../errors/appError.js';

export const jsonDepthMax = 64;

export interface JsonBody {
  readonly bytes: Buffer;
  readonly value: unknown;
}

/** @throws AppError PAYLOAD_TOO_LARGE, UNSUPPORTED_MEDIA_TYPE, INVALID_JSON, INVALID_REQUEST (too deep, cut off) */
export function readJsonBody(request: IncomingMessage, bytesMax: number): Promise<unknown> {
  return new Promise((resolve, reject) => {
    receiveJsonBody(request, bytesMax, reject, ({ value }) => resolve(value));
  });
}

/** The same without a promise, and with the bytes; exactly one of the callbacks is called, once. */
export function receiveJsonBody(
  request: IncomingMessage,
  bytesMax: number,
  onError: (error: AppError) => void,
  onBody: (body: JsonBody) => void,
): void {
  const {
    'content-type': type = '',
    'content-encoding': encoding,
    'content-length': length,
  } = request.headers;
  const isJson = type === 'application/json' || /^application\/json\s*(?:;|$)/i.test(type);
  if (!isJson || (encoding !== undefined && encoding !== 'identity')) {
    return onError(
      new AppError('UNSUPPORTED_MEDIA_TYPE', 'a body that is not plain JSON', {
        publicDetail: 'Send application/json without a content encoding.',
      }),
    );
  }
  if (Number(length ?? 0) > bytesMax) return onError(tooLarge(bytesMax));
  let only: Buffer | null = null;
  let more: Buffer[] | null = null;
  let size = 0;
  let isOver = false;
  const fail = (error: AppError): void => {
    if (isOver) return;
    isOver = true;
    only = more = null;
    onError(error);
  };
  request.on('data', (chunk: Buffer) => {
    if (isOver) return;
    size += chunk.length;
    // What follows is read and dropped by whoever answers; nothing more is kept.
    if (size > bytesMax) return fail(tooLarge(bytesMax));
    if (only === null) only = chunk;
    else (more ??= [only]).push(chunk);
  });
  request.on('end', () => {
    if (isOver) return;
    const bytes = more === null ? (only ?? Buffer.alloc(0)) : Buffer.concat(more);
    try {
      const value = parseJson(bytes);
      isOver = true;
      onBody({ bytes, value });
    } catch (error) {
      if (isOver) throw error;
      fail(toAppError(error));
    }
  });
  request.on('error', () => fail(new AppError('INVALID_REQUEST', 'the body was cut off')));
}

/** Each level takes two characters, so that short texts cannot be too deep. */
const shallowBytes = jsonDepthMax * 2;

function parseJson(bytes: Buffer): unknown {
  let value: unknown;
  try {
    value = JSON.parse(bytes.toString('utf8'));
  } catch (cause) {
    throw new AppError('INVALID_JSON', 'the body is no JSON', { cause });
  }
  if (bytes.length > shallowBytes && isDeeperThan(value, jsonDepthMax)) {
    throw new AppError('INVALID_REQUEST', 'the body is nested too deeply', {
      publicDetail: `The body may be nested ${jsonDepthMax} levels deep.`,
    });
  }
  return value;
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
