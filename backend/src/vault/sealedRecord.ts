/**
 * Sealed records: the one form in which a secret lies in the database.
 *
 * Suite 1: HKDF-SHA256(DEK, salt = 32 random bytes, info = "record/1") gives an AES-256-GCM key and a 32-byte key
 * commitment, after the committing suites of the AWS Encryption SDK. Every record has a key of its own, so the random
 * 96-bit IV cannot meet another under the same key. All numbers are big-endian.
 *
 *     magic (4) · suite (1) · DEK id (16) · salt (32) · commitment (32) · IV (12) · length (4) · ciphertext · tag (16)
 *
 * The ciphertext holds the plaintext, 0x80 and zeros up to a multiple of 64 bytes (ISO/IEC 7816-4 padding), so that a
 * record does not tell the length of a credential. The header and the record's place are authenticated.
 */
import { createCipheriv, createDecipheriv, hkdfSync, timingSafeEqual, type KeyObject } from 'node:crypto';
import { AppError } from '../errors/appError.js';
import { encodeByteList, uint32, uint64 } from './byteList.js';
import { dekIdBytes, toDekId, toDekIdBytes, type Dek } from './dataKey.js';
import type { RandomBytes } from './keyRing.js';

/** The place of a record. It opens nowhere else: not in another row, column, user, installation or revision. */
export interface RecordBinding {
  readonly installId: string;
  readonly table: string;
  readonly column: string;
  /** Owner's uuid, or `systemOwner`. */
  readonly userId: string;
  /** The row's uuid: the instance's, for credentials. */
  readonly rowId: string;
  readonly revision: number;
  readonly schemaVersion: number;
}

/** 1 MiB, far above any credential; larger plaintexts are `PAYLOAD_TOO_LARGE`. */
export const plaintextBytesMax = 1_048_576;

/** Seals a plaintext under a DEK at one place. */
export function seal(
  dek: Dek,
  plaintext: Uint8Array,
  binding: RecordBinding,
  randomBytes: RandomBytes,
): Buffer {
  if (plaintext.length > plaintextBytesMax) {
    throw new AppError('PAYLOAD_TOO_LARGE', 'the plaintext of a sealed record is too large');
  }
  const salt = randomBytes(saltBytes);
  const iv = randomBytes(ivBytes);
  const padded = pad(plaintext);
  const { key, commitment } = deriveKeys(dek.key, salt);
  // One piece of memory for all of it: joining as many small ones costs as much as encrypting.
  const record = Buffer.allocUnsafe(headerBytes + padded.length + authTagLength);
  record.set(magic);
  record.set(suite1, suiteAt);
  record.set(toDekIdBytes(dek.id), dekIdAt);
  record.set(salt, saltAt);
  record.set(commitment, commitmentAt);
  record.set(iv, ivAt);
  record.writeUInt32BE(padded.length, lengthAt);
  const cipher = createCipheriv('aes-256-gcm', key, iv, { authTagLength });
  cipher.setAAD(encodeAad(record.subarray(0, headerBytes), binding));
  record.set(cipher.update(padded), headerBytes);
  cipher.final();
  record.set(cipher.getAuthTag(), headerBytes + padded.length);
  padded.fill(0);
  key.fill(0);
  return record;
}

/**
 * Opens a record at its place. Throws `CREDENTIAL_UNREADABLE` whatever is wrong: the form, the DEK, the place or a
 * single bit; the reason is for the log. No plaintext leaves before the tag is verified.
 */
export function open(dek: Dek, record: Buffer, binding: RecordBinding): Buffer {
  if (readDekId(record) !== dek.id) throw unreadable('it was sealed under another DEK');
  const header = record.subarray(0, headerBytes);
  const { key, commitment } = deriveKeys(dek.key, header.subarray(saltAt, saltAt + saltBytes));
  if (!timingSafeEqual(commitment, header.subarray(commitmentAt, commitmentAt + commitmentBytes))) {
    throw unreadable('its key commitment differs');
  }
  const decipher = createDecipheriv('aes-256-gcm', key, header.subarray(ivAt, ivAt + ivBytes), {
    authTagLength,
  });
  decipher.setAAD(encodeAad(header, binding));
  decipher.setAuthTag(record.subarray(record.length - authTagLength));
  try {
    // `update` hands out plaintext that nobody has vouched for; it stays here until `final` has.
    const padded = decipher.update(record.subarray(headerBytes, record.length - authTagLength));
    decipher.final();
    return unpad(padded);
  } catch (cause) {
    throw unreadable('it does not authenticate', cause);
  } finally {
    key.fill(0);
  }
}

/** The uuid of the DEK that a record needs. Checks the whole outer form; throws `CREDENTIAL_UNREADABLE`. */
export function readDekId(record: Buffer): string {
  if (record.length < headerBytes + bucketBytes + authTagLength) throw unreadable('it is too short');
  if (!record.subarray(0, suiteAt).equals(magic)) throw unreadable('its magic is unknown');
  if (record[suiteAt] !== suite1[0]) throw unreadable('its suite is unknown');
  const length = record.readUInt32BE(lengthAt);
  if (length % bucketBytes !== 0 || record.length !== headerBytes + length + authTagLength) {
    throw unreadable('its length is wrong');
  }
  return toDekId(record.subarray(dekIdAt, saltAt));
}

const magic = Buffer.from('PTR1', 'latin1');
const suite1 = Buffer.from([1]);
const saltBytes = 32;
const commitmentBytes = 32;
const ivBytes = 12;
const keyBytes = 32;
const bucketBytes = 64;
// Pinned: Node otherwise accepts GCM tags of 4, 8 and 12 bytes.
const authTagLength = 16;

const suiteAt = magic.length;
const dekIdAt = suiteAt + suite1.length;
const saltAt = dekIdAt + dekIdBytes;
const commitmentAt = saltAt + saltBytes;
const ivAt = commitmentAt + commitmentBytes;
const lengthAt = ivAt + ivBytes;
const headerBytes = lengthAt + 4;

function deriveKeys(dek: KeyObject, salt: Buffer): { key: Buffer; commitment: Buffer } {
  const derived = Buffer.from(hkdfSync('sha256', dek, salt, 'record/1', keyBytes + commitmentBytes));
  return { key: derived.subarray(0, keyBytes), commitment: derived.subarray(keyBytes) };
}

function encodeAad(header: Buffer, binding: RecordBinding): Buffer {
  const { installId, table, column, userId, rowId, revision, schemaVersion } = binding;
  return encodeByteList([
    header,
    installId,
    table,
    column,
    userId,
    rowId,
    uint64(revision),
    uint32(schemaVersion),
  ]);
}

function pad(plaintext: Uint8Array): Buffer {
  const padded = Buffer.alloc((Math.floor(plaintext.length / bucketBytes) + 1) * bucketBytes);
  padded.set(plaintext);
  padded[plaintext.length] = 0x80;
  return padded;
}

function unpad(padded: Buffer): Buffer {
  const end = padded.lastIndexOf(0x80);
  if (end < padded.length - bucketBytes || !padded.subarray(end + 1).every((byte) => byte === 0)) {
    throw new Error('bad padding');
  }
  return padded.subarray(0, end);
}

function unreadable(fault: string, cause?: unknown): AppError {
  return new AppError('CREDENTIAL_UNREADABLE', `sealed record: ${fault}`, { cause });
}
