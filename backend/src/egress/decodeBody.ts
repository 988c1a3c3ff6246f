/**
 * Undoes the content coding of a buffered answer (RFC 9110 §8.4) without ever holding more than the cap: a small bomb
 * that would inflate to gigabytes fails as soon as it passes the cap (R08).
 */
import { promisify } from 'node:util';
import {
  brotliDecompress,
  brotliDecompressSync,
  gunzip,
  gunzipSync,
  inflate,
  inflateSync,
  type ZlibOptions,
} from 'node:zlib';
import { AppError } from '../errors/appError.js';
import { egressError } from './egressError.js';

/** What `accept-encoding` says. */
export const acceptedCodings = 'gzip, deflate, br';

/** Below this many bytes, decoding on the spot is cheaper than a trip through the thread pool. */
const inlineBytesMax = 4_096;

interface Coding {
  readonly now: (body: Buffer, options: ZlibOptions) => Buffer;
  readonly later: (body: Buffer, options: ZlibOptions) => Promise<Buffer>;
}

const gzipCoding: Coding = { now: gunzipSync, later: promisify<Buffer, ZlibOptions, Buffer>(gunzip) };
const codings: ReadonlyMap<string, Coding> = new Map([
  ['gzip', gzipCoding],
  ['x-gzip', gzipCoding],
  ['deflate', { now: inflateSync, later: promisify<Buffer, ZlibOptions, Buffer>(inflate) }],
  ['br', { now: brotliDecompressSync, later: promisify<Buffer, ZlibOptions, Buffer>(brotliDecompress) }],
]);

/** @throws AppError UPSTREAM_FAILED when it is larger than `maxBytes`, damaged, or coded otherwise. */
export async function decodeBody(body: Buffer, contentEncoding: string, maxBytes: number): Promise<Buffer> {
  const name = contentEncoding.trim().toLowerCase();
  if (name === 'identity' || name === '' || body.length === 0) return body;
  const coding = codings.get(name);
  if (coding === undefined) {
    throw egressError(
      'UPSTREAM_FAILED',
      'unknown content coding',
      'The answer is coded in a way not asked for.',
    );
  }
  try {
    const options: ZlibOptions = { maxOutputLength: maxBytes };
    return body.length <= inlineBytesMax ? coding.now(body, options) : await coding.later(body, options);
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code === 'ERR_BUFFER_TOO_LARGE') throw answerTooLarge(maxBytes);
    throw egressError('UPSTREAM_FAILED', 'damaged content coding', 'The answer arrived damaged.');
  }
}

/** Tells the one failure that says nothing against the service's health. */
export class AnswerTooLarge extends AppError {}

export function answerTooLarge(maxBytes: number): AppError {
  return new AnswerTooLarge('UPSTREAM_FAILED', `egress: answer larger than ${maxBytes} bytes`, {
    publicDetail: `The service behind sent more than the ${maxBytes} bytes that are allowed. Ask for less.`,
  });
}
