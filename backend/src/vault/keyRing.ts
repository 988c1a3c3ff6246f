/**
 * The ring of key-encryption keys (KEKs), from which every other key of an installation is reached.
 *
 * The ring file is a JSON list of `{id, key, state}`: `key` is 32 random bytes in base64, `state` is `primary` (wraps
 * and unwraps; exactly one), `decrypt` (unwraps only, on its way in or out) or `disabled` (kept for the record, never
 * used). A KEK is never derived from a passphrase. Words are those of NIST SP 800-57.
 */
import { createHash, createSecretKey, hkdfSync, timingSafeEqual, type KeyObject } from 'node:crypto';
import { AppError } from '../errors/appError.js';
import { findKeyWeakness, keyBytes } from './weakKey.js';

/** A source of random bytes; `crypto.randomBytes` outside tests. */
export type RandomBytes = (size: number) => Buffer;

export type KekState = 'primary' | 'decrypt' | 'disabled';

export interface Kek {
  readonly id: string;
  /** A `KeyObject` rather than bytes: neither JSON nor `util.inspect` can print it. */
  readonly key: KeyObject;
  readonly state: KekState;
}

export interface KeyRing {
  readonly primary: Kek;
  readonly keks: ReadonlyMap<string, Kek>;
}

/**
 * Reads a ring file's text. Throws `CONFIG_INVALID` when its shape is wrong or a key is short, weak or there twice;
 * the message names the entry and the fault, never a value.
 */
export function parseKeyRing(text: string): KeyRing {
  const entries = parseList(text).map(parseKek);
  const keks = new Map<string, Kek>();
  for (const kek of entries) {
    if (keks.has(kek.id)) throw unusable(`the id ${kek.id} is there twice`);
    for (const other of keks.values()) {
      if (other.key.equals(kek.key)) throw unusable(`${other.id} and ${kek.id} are the same key`);
    }
    keks.set(kek.id, kek);
  }
  const [primary, ...others] = entries.filter(({ state }) => state === 'primary');
  if (primary === undefined || others.length > 0) throw unusable('exactly one key has to be primary');
  return { primary, keks };
}

/** The text of a new ring file with one primary KEK. It is written once, on an empty database. */
export function newKeyRingFile(randomBytes: RandomBytes): string {
  return toText([newEntry(randomBytes, 'primary')]);
}

/** The ring with one more KEK, which unwraps only; `id` is its name. Throws as `parseKeyRing`. */
export function withNewKek(
  text: string,
  randomBytes: RandomBytes,
): { readonly text: string; readonly id: string } {
  parseKeyRing(text);
  const entry = newEntry(randomBytes, 'decrypt');
  return { text: toText([...parseList(text), entry]), id: entry.id };
}

/**
 * The ring with one KEK in another state; the one that was primary becomes `decrypt` when another takes its place. Every
 * key stays: a ring never forgets one. Throws `CONFIG_INVALID` for an unknown KEK and where no primary would be left.
 */
export function withKekState(text: string, id: string, state: KekState): string {
  if (!parseKeyRing(text).keks.has(id)) throw unusable(`there is no KEK ${id}`);
  const entries = (parseList(text) as RingEntry[]).map((entry) => {
    if (entry.id === id) return { ...entry, state };
    return state === 'primary' && entry.state === 'primary' ? { ...entry, state: 'decrypt' as const } : entry;
  });
  const changed = toText(entries);
  parseKeyRing(changed);
  return changed;
}

/**
 * A public name (32 hex characters) for exactly this ring: ids, states and keys. Processes heartbeat it, so that a
 * rotation can see who holds which ring. Keys go in only through HKDF, so nothing about them can be told from it.
 */
export function fingerprint(ring: KeyRing): string {
  const hash = createHash('sha256');
  const inOrder = [...ring.keks.values()].sort((one, other) => (one.id < other.id ? -1 : 1));
  for (const kek of inOrder) {
    const mark = Buffer.from(hkdfSync('sha256', kek.key, '', 'ring-fingerprint', keyBytes));
    hash.update(`${kek.id}:${kek.state}:${mark.toString('hex')};`);
  }
  return hash.digest('hex').slice(0, 32);
}

/** Whether a secret of another use, such as a JWT key, is one of the ring's keys. Such a start is refused. */
export function ringHoldsKey(ring: KeyRing, secret: Uint8Array): boolean {
  if (secret.length !== keyBytes) return false;
  return [...ring.keks.values()].some(({ key }) => timingSafeEqual(key.export(), secret));
}

interface RingEntry {
  readonly id: string;
  readonly key: string;
  readonly state: KekState;
}

function newEntry(randomBytes: RandomBytes, state: KekState): RingEntry {
  const id = `kek-${randomBytes(6).toString('hex')}`;
  return { id, key: randomBytes(keyBytes).toString('base64'), state };
}

function toText(entries: readonly unknown[]): string {
  return `${JSON.stringify(entries, null, 2)}\n`;
}

const idPattern = /^[a-z0-9][a-z0-9_-]{0,31}$/;
const fileCharactersMax = 65_536;

function parseList(text: string): readonly unknown[] {
  if (text.length > fileCharactersMax) throw unusable('the file is too large');
  let list: unknown;
  try {
    list = JSON.parse(text);
  } catch {
    // The parser's own message quotes the text, so it does not travel as a cause.
    throw unusable('the file is not JSON');
  }
  if (!Array.isArray(list)) throw unusable('the file is not a list of keys');
  return list;
}

function parseKek(entry: unknown, at: number): Kek {
  if (!isObject(entry)) throw unusable(`entry ${at} is not an object`);
  const { id, key, state, ...others } = entry;
  if (typeof id !== 'string' || !idPattern.test(id)) throw unusable(`entry ${at} has no usable id`);
  if (Object.keys(others).length > 0) throw unusable(`${id} has an unknown member`);
  if (!isState(state)) throw unusable(`${id} has no known state`);
  if (typeof key !== 'string') throw unusable(`${id} has no key`);
  const bytes = Buffer.from(key, 'base64');
  if (bytes.toString('base64') !== key) throw unusable(`the key of ${id} is not canonical base64`);
  const weakness = findKeyWeakness(bytes);
  if (weakness !== null) throw unusable(`the key of ${id} is not fit for use: ${weakness}`);
  const kek: Kek = { id, key: createSecretKey(bytes), state };
  bytes.fill(0);
  return kek;
}

function isObject(entry: unknown): entry is Record<string, unknown> {
  return typeof entry === 'object' && entry !== null;
}

function isState(state: unknown): state is KekState {
  return state === 'primary' || state === 'decrypt' || state === 'disabled';
}

function unusable(fault: string): AppError {
  return new AppError('CONFIG_INVALID', `key ring: ${fault}`);
}
