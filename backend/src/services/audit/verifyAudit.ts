/**
 * Verifies both audits: every row against its writer's MAC, every shard for numbers that are missing, twice or elsewhere,
 * and all of it against the signed checkpoints. Rows come a day at a time and a batch at a time; what is kept of them is
 * runs of numbers. What it can and cannot tell is written down in docs/audit.md.
 */
import { timingSafeEqual, type KeyObject } from 'node:crypto';
import type { Queryable } from '../../database/queryable.js';
import { encodeRecord } from '../../spool/callRecord.js';
import type { AuditName } from '../../stores/auditChainStore.js';
import {
  listPartitionDays,
  listShardStates,
  readCheckpoints,
  readProvenCalls,
  readProvenEvents,
  type ProvenCall,
  type ProvenEvent,
  type TimeRange,
} from '../../stores/auditProofStore.js';
import { toCanonicalEvent } from '../../stores/auditStore.js';
import { callRecordMac, eventLink, eventMac } from '../../vault/auditMacs.js';
import type { VerificationKeys } from '../jwtKeys.js';
import { createProblems, type AuditProblem } from './auditProblems.js';
import type { CheckpointFiles } from './checkpointFiles.js';
import { collectClaims, dayKey, shardKey, type Claims } from './checkpointClaims.js';
import { findPlace, type Suspect } from './misplacedRows.js';
import { ShardWalk } from './shardWalk.js';

export interface VerifyOptions {
  readonly installId: string;
  readonly kAudit: KeyObject;
  readonly keys: VerificationKeys;
  readonly files: CheckpointFiles;
  /** Told of the rows that were read since it was told last. */
  readonly onRows?: (count: number) => void;
}

export interface AuditVerification {
  readonly isIntact: boolean;
  readonly rows: Readonly<Record<AuditName, number>>;
  /** Written by a version that had no chain. */
  readonly unchained: number;
  /** Events that wait for their number. */
  readonly unsealed: number;
  /** Rows beyond the last checkpoint: if they were cut off, nobody would know. */
  readonly notYetVouched: number;
  readonly checkpoints: number;
  readonly lastCheckpointAt: string | null;
  readonly problemCount: number;
  /** The first thousand. */
  readonly problems: readonly AuditProblem[];
}

/** Called in one read-only transaction of the scope `auditor` or `admin`. */
export async function verifyAudit(db: Queryable, options: VerifyOptions): Promise<AuditVerification> {
  const { installId, kAudit, keys, files, onRows = () => undefined } = options;
  const problems = createProblems();
  // Read before the rows, so that whatever is vouched for is there when they are read.
  const states = await listShardStates(db);
  const claims = await collectClaims({
    stored: readCheckpoints(db),
    kept: files.read(),
    keys,
    installId,
    problems,
  });
  const pass = new Pass(claims, kAudit, problems);
  for (const range of toRanges(await listPartitionDays(db))) {
    for await (const events of readProvenEvents(db, range)) {
      for (const event of events) pass.takeEvent(event);
      onRows(events.length);
    }
    pass.settleSuspects();
    for await (const calls of readProvenCalls(db, range)) {
      for (const call of calls) pass.takeCall(call);
      onRows(calls.length);
    }
    pass.settleSuspects();
  }
  pass.settleUnchained();
  for (const { audit, shard, seq } of states) pass.expect(audit, shard, seq);
  const notYetVouched = pass.settleShards();
  return {
    isIntact: problems.count === 0,
    rows: pass.rows,
    unchained: pass.unchained,
    unsealed: pass.unsealed,
    notYetVouched,
    checkpoints: claims.statements,
    lastCheckpointAt: claims.last?.at ?? null,
    problemCount: problems.count,
    problems: problems.list,
  };
}

/** All of time, cut where partitions begin and end. */
function toRanges(days: readonly string[]): TimeRange[] {
  const ranges: TimeRange[] = [];
  let from: string | null = null;
  for (const day of days) {
    const [begin, end] = [Date.parse(`${day}T00:00:00Z`), Date.parse(`${day}T00:00:00Z`) + 86_400_000];
    const begins = new Date(begin).toISOString();
    if (from !== begins) ranges.push({ from, to: begins });
    from = new Date(end).toISOString();
    ranges.push({ from: begins, to: from });
  }
  return [...ranges, { from, to: null }];
}

const suspectsMax = 100;

class Pass {
  readonly rows: Record<AuditName, number> = { audit_events: 0, audit_calls: 0 };
  unchained = 0;
  unsealed = 0;
  readonly #claims: Claims;
  readonly #key: KeyObject;
  readonly #problems: ReturnType<typeof createProblems>;
  readonly #walks = new Map<string, ShardWalk & { readonly of: readonly [AuditName, string] }>();
  /** Rows that failed in the range that is being read; they may stand at each other's places. */
  #suspects: Suspect[] = [];
  readonly #unchainedOfDay = new Map<string, number>();
  readonly #expected = new Map<string, number>();

  constructor(claims: Claims, key: KeyObject, problems: ReturnType<typeof createProblems>) {
    this.#claims = claims;
    this.#key = key;
    this.#problems = problems;
    for (const [key_, { last }] of claims.shards) this.#expected.set(key_, last);
  }

  takeEvent(event: ProvenEvent): void {
    const { id, shard, seq, mac, link, occurredAt } = event;
    const at = occurredAt.toISOString();
    this.rows.audit_events += 1;
    const place = { audit: 'audit_events', shard, seq, id, at } as const;
    if (mac === null) return this.#takeUnsigned(place);
    const text = toCanonicalEvent(id, occurredAt, event);
    const isOwn = event.isTimeWhole && isSame(eventMac(this.#key, text), mac);
    if (shard === null || seq === null || link === null) {
      if (isOwn) this.unsealed += 1;
      else
        this.#problems.add({ ...place, kind: 'inserted', detail: 'it was not signed by a writer of ours' });
      return;
    }
    const isPlaced = isSame(eventLink(this.#key, shard, seq, id, mac), link);
    if (!isOwn) this.#problems.add({ ...place, kind: 'edited', detail: 'it does not say what was signed' });
    else if (!isPlaced)
      this.#suspect({
        place,
        fits: (other) => other.seq !== null && isSame(eventLink(this.#key, shard, other.seq, id, mac), link),
      });
    this.#step(place, shard, seq, isOwn && isPlaced ? link : null);
  }

  takeCall({ record, shard, seq, mac, isTimeWhole }: ProvenCall): void {
    this.rows.audit_calls += 1;
    const { callId: id, occurredAt: at, position } = record;
    const place = { audit: 'audit_calls', shard, seq, id, at } as const;
    if (mac === null || seq === null || shard === null) return this.#takeUnsigned(place);
    const line = encodeRecord(record);
    const verifies = (other: { readonly seq: number; readonly position: number }): boolean =>
      isSame(callRecordMac(this.#key, { spoolId: shard, ...other }, line), mac);
    const isOwn = isTimeWhole && verifies({ seq, position });
    if (!isOwn)
      this.#suspect({
        place,
        position,
        fits: (other) =>
          other.seq !== null &&
          (verifies({ seq: other.seq, position }) ||
            (other.position !== undefined && verifies({ seq: other.seq, position: other.position }))),
      });
    this.#step(place, shard, seq, isOwn ? mac : null);
  }

  /** A number that the database itself says was reached. */
  expect(audit: AuditName, shard: string, seq: number): void {
    const key = shardKey(audit, shard);
    this.#expected.set(key, Math.max(this.#expected.get(key) ?? 0, seq));
    this.#walkOf(audit, shard);
  }

  settleSuspects(): void {
    for (const suspect of this.#suspects) {
      const home = findPlace(suspect, this.#suspects);
      this.#problems.add({
        ...suspect.place,
        kind: home === null ? 'edited' : 'reordered',
        detail:
          home === null ? 'it does not say what was signed' : `it belongs at number ${home} of its shard`,
      });
    }
    this.#suspects = [];
  }

  /** What is without a MAC on a day is what was there when there was no chain, neither more nor less. */
  settleUnchained(): void {
    const signed = this.#claims.unchained;
    if (signed === null) return;
    for (const key of new Set([...signed.keys(), ...this.#unchainedOfDay.keys()])) {
      const [count, known] = [this.#unchainedOfDay.get(key) ?? 0, signed.get(key) ?? 0];
      const [audit, day] = key.split('/') as [AuditName, string];
      const of = { audit, shard: null, seq: null, id: null, at: day };
      if (count > known && known > 0)
        this.#problems.add({
          ...of,
          kind: 'inserted',
          detail: `${count} rows of this day have no MAC, and there were ${known} before there was a chain`,
        });
      else if (count < known && !this.#claims.prunedPartitions.has(`${audit}_${day}`))
        this.#problems.add({
          ...of,
          kind: 'deleted',
          detail: `${known - count} rows of this day that were written before there was a chain are gone`,
        });
    }
  }

  /** Says what is missing at the end; how many rows no checkpoint vouches for yet. */
  settleShards(): number {
    for (const key of this.#claims.shards.keys()) {
      const at = key.indexOf('/');
      this.#walkOf(key.slice(0, at) as AuditName, key.slice(at + 1));
    }
    let notYetVouched = 0;
    for (const [key, walk] of this.#walks) {
      const [audit, shard] = walk.of;
      const last = Math.max(this.#expected.get(key) ?? 0, walk.seen.max);
      notYetVouched += Math.max(0, walk.seen.max - (this.#claims.shards.get(key)?.last ?? 0));
      for (const run of walk.missing(last)) {
        const count = run.last - run.first + 1;
        this.#problems.add({
          kind: 'deleted',
          audit,
          shard,
          seq: run.first,
          lastSeq: run.last,
          id: null,
          at: walk.lastAt,
          detail: count === 1 ? 'it is gone' : `${count} rows are gone`,
        });
      }
    }
    return notYetVouched;
  }

  #takeUnsigned(place: Suspect['place']): void {
    const key = dayKey(place.audit, place.at.slice(0, 10).replaceAll('-', ''));
    const signed = this.#claims.unchained;
    this.#unchainedOfDay.set(key, (this.#unchainedOfDay.get(key) ?? 0) + 1);
    if (place.seq === null && (signed === null || (signed.get(key) ?? 0) > 0)) this.unchained += 1;
    else
      this.#problems.add({ ...place, kind: 'inserted', detail: 'it has no MAC, and others of its day have' });
  }

  #suspect(suspect: Suspect): void {
    if (this.#suspects.length >= suspectsMax) this.settleSuspects();
    this.#suspects.push(suspect);
  }

  #step(place: Suspect['place'], shard: string, seq: number, folded: Uint8Array | null): void {
    const wrong = this.#walkOf(place.audit, shard).take(seq, place.at, folded);
    if (wrong !== null) this.#problems.add({ ...place, ...wrong });
  }

  #walkOf(audit: AuditName, shard: string): ShardWalk {
    const key = shardKey(audit, shard);
    const known = this.#walks.get(key);
    if (known !== undefined) return known;
    const walk = Object.assign(new ShardWalk(audit, shard, this.#claims.shards.get(key) ?? null), {
      of: [audit, shard] as const,
    });
    this.#walks.set(key, walk);
    return walk;
  }
}

function isSame(expected: Buffer, found: Buffer): boolean {
  return expected.length === found.length && timingSafeEqual(expected, found);
}
