/**
 * Instance ids: `<prefix>_<27 base62 characters = 160 random bits><6 base62 characters = CRC32>`.
 *
 * The prefix lets a proxy route and a scanner find an id. The checksum, over `<prefix>_<27>`, turns typos and guesses
 * away without a database query; it is no secret. Whoever has the id has the instance, so it is stored only as an HMAC
 * and under seal, and named by its uuid everywhere else.
 */
import { createHmac, type KeyObject } from 'node:crypto';
import { crc32 } from 'node:zlib';
import { AppError } from '../errors/appError.js';
import type { RandomBytes } from './keyRing.js';

export interface ParsedInstanceId {
  readonly prefix: string;
}

/** A new id. Throws `INTERNAL` for a prefix that is not lower-case letters, digits and hyphens, at most 32. */
export function createInstanceId(prefix: string, randomBytes: RandomBytes): string {
  if (!prefixPattern.test(prefix)) throw new AppError('INTERNAL', 'the instance prefix has an unknown form');
  const named = `${prefix}_${toBase62(BigInt(`0x${randomBytes(secretBytes).toString('hex')}`), secretCharacters)}`;
  return named + checksum(named);
}

/** Reads an id byte-exact, with no normalisation of any kind; null for whatever was not made by `createInstanceId`. */
export function parseInstanceId(text: string): ParsedInstanceId | null {
  if (!idPattern.test(text)) return null;
  const prefix = text.slice(0, -(1 + secretCharacters + checksumCharacters));
  const secret = text.slice(prefix.length + 1, -checksumCharacters);
  // The alphabet is in ASCII order, so comparing text compares numbers: 27 characters could say more than 160 bits.
  if (
    secret > secretMax ||
    checksum(text.slice(0, -checksumCharacters)) !== text.slice(-checksumCharacters)
  ) {
    return null;
  }
  return { prefix };
}

/** HMAC-SHA256 of the id's bytes under `k_lookup`: what the unique index holds. */
export function lookupDigest(kLookup: KeyObject, instanceId: string): Buffer {
  return createHmac('sha256', kLookup).update(instanceId, 'utf8').digest();
}

const secretBytes = 20;
const secretCharacters = 27;
const checksumCharacters = 6;
const alphabet = '0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz';
const prefixPattern = /^[a-z][a-z0-9-]{0,31}$/;
const idPattern = /^[a-z][a-z0-9-]{0,31}_[0-9A-Za-z]{33}$/;
const secretMax = toBase62((1n << 160n) - 1n, secretCharacters);

function checksum(named: string): string {
  return toBase62(BigInt(crc32(named)), checksumCharacters);
}

/** Base 62 with the digits 0-9A-Za-z, padded with zeros on the left. */
function toBase62(value: bigint, characters: number): string {
  let text = '';
  for (let rest = value; text.length < characters; rest /= 62n) text = alphabet[Number(rest % 62n)] + text;
  return text;
}
