/**
 * How rows of the audits are bound to their place under `k_audit` (05, "Audit"). Each use of the key has a label of its
 * own, so that no MAC passes for another's: of a call's record with its place in its spool, of an event as its writer knew
 * it, and of an event's number in its shard. The fold of a shard's MACs, its head, is what a signed checkpoint names.
 */
import { createHash, createHmac, hash, type KeyObject } from 'node:crypto';
import { encodeByteList, uint64 } from './byteList.js';

/** Where a call's record stands: a spool has one writer, numbers begin with 1 and leave none out. */
export interface RecordPlace {
  readonly spoolId: string;
  readonly seq: number;
  /** Where its line ends in the spool file, in bytes. */
  readonly position: number;
}

/** HMAC-SHA256 over place and line. A spool's id holds no NUL and neither does a line of JSON, so they cannot run together. */
export function callRecordMac(
  kAudit: KeyObject,
  { spoolId, seq, position }: RecordPlace,
  line: string,
): Buffer {
  return createHmac('sha256', kAudit)
    .update(`audit-call/1\0${spoolId}\0${seq}\0${position}\0${line}`)
    .digest();
}

/** HMAC-SHA256 over an event in its canonical form (RFC 8785). */
export function eventMac(kAudit: KeyObject, canonical: string): Buffer {
  return createHmac('sha256', kAudit).update(`audit-event/1\0${canonical}`).digest();
}

/** What binds an event to its number; it says nothing of the event that its MAC does not say. */
export function eventLink(
  kAudit: KeyObject,
  shard: string,
  seq: number,
  id: string,
  mac: Uint8Array,
): Buffer {
  return createHmac('sha256', kAudit)
    .update('audit-link/1\0')
    .update(encodeByteList([shard, uint64(seq), id, mac]))
    .digest();
}

/** The head of a shard before its first row. */
export function firstHead(audit: string, shard: string): Buffer {
  return createHash('sha256')
    .update('audit-head/1\0')
    .update(encodeByteList([audit, shard]))
    .digest();
}

/** The head after one more row: SHA-256 over the former head and the row's MAC, or link. */
export function foldHead(head: Uint8Array, mac: Uint8Array): Buffer {
  return hash('sha256', Buffer.concat([head, mac]), 'buffer');
}
