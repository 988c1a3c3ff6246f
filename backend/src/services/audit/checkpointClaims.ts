/**
 * What the checkpoints vouch for: those of the database and those of the state directory, joined by number. Each names the
 * one before by its digest, so a signature is checked where that chain ends or breaks, and the newest vouches for the rest.
 */
import type { AuditName, StoredCheckpoint } from '../../stores/auditChainStore.js';
import type { VerificationKeys } from '../jwtKeys.js';
import type { Problems } from './auditProblems.js';
import { digestOf, isSigned, readCheckpoint, type Checkpoint } from './checkpoint.js';
import { NumberRuns } from './numberRuns.js';

export interface ShardClaims {
  /** Heads by number, thinned to a bounded many; the last is always there. */
  readonly heads: ReadonlyMap<number, string>;
  readonly last: number;
  /** What retention removed, and what is older than all statements that are kept. */
  readonly gone: NumberRuns;
}

export interface Claims {
  readonly shards: ReadonlyMap<string, ShardClaims>;
  /** Rows without a MAC by audit and day; null while they are not counted yet. */
  readonly unchained: ReadonlyMap<string, number> | null;
  /** By name. */
  readonly prunedPartitions: ReadonlySet<string>;
  readonly statements: number;
  readonly last: Checkpoint | null;
}

export const shardKey = (audit: AuditName, shard: string): string => `${audit}/${shard}`;
export const dayKey = (audit: AuditName, day: string): string => `${audit}/${day}`;

const headsMax = 64;

interface Collected {
  heads: Map<number, string>;
  last: number;
  gone: NumberRuns;
}

export interface ClaimSources {
  readonly stored: AsyncIterable<readonly StoredCheckpoint[]>;
  readonly kept: AsyncIterable<string>;
  readonly keys: VerificationKeys;
  /** Statements of another installation count for nothing. */
  readonly installId: string;
  readonly problems: Problems;
}

interface Statement {
  readonly text: string;
  readonly said: Checkpoint;
}

export async function collectClaims({
  stored,
  kept,
  keys,
  installId,
  problems,
}: ClaimSources): Promise<Claims> {
  const shards = new Map<string, Collected>();
  let unchained: Map<string, number> | null = null;
  const prunedPartitions = new Set<string>();
  let statements = 0;
  let former: Statement | null = null;
  let first: Checkpoint | null = null;

  const complain = (n: number | null, at: string | null, detail: string): void =>
    problems.add({
      kind: 'checkpoint',
      audit: 'audit_checkpoints',
      shard: null,
      seq: n,
      id: null,
      at,
      detail,
    });
  const vouch = ({ text, said }: Statement): void => {
    if (said.iss !== installId) complain(said.n, said.at, 'it is of another installation');
    else if (!isSigned(keys, text)) complain(said.n, said.at, 'its signature does not verify');
  };
  const of = (audit: AuditName, shard: string): Collected => {
    const key = shardKey(audit, shard);
    const known = shards.get(key) ?? { heads: new Map<number, string>(), last: 0, gone: new NumberRuns() };
    shards.set(key, known);
    return known;
  };
  const take = (one: Statement): void => {
    const { said } = one;
    statements += 1;
    first ??= said;
    if (former !== null && said.prev !== digestOf(former.text)) {
      vouch(former);
      if (said.n !== former.said.n + 1 && said.gap !== true) {
        complain(
          former.said.n + 1,
          former.said.at,
          `the statements up to ${said.n - 1} are missing in the database and in the state directory`,
        );
      } else if (said.gap !== true) complain(said.n, said.at, 'it does not follow the statement before it');
    }
    for (const [audit, shard, seq, head] of said.shards) {
      const known = of(audit, shard);
      known.heads.set(seq, head);
      known.last = Math.max(known.last, seq);
      if (known.heads.size > headsMax) known.heads = thin(known.heads);
    }
    for (const [audit, shard, from, to] of said.pruned?.runs ?? []) of(audit, shard).gone.add(from, to);
    for (const [name] of said.pruned?.partitions ?? []) prunedPartitions.add(name);
    if (said.unchained !== undefined)
      unchained = new Map(said.unchained.map(([audit, day, count]) => [dayKey(audit, day), count]));
    former = one;
  };

  for await (const { inDatabase, inFiles } of joined(stored, kept, complain)) {
    if (inDatabase === null)
      complain(inFiles!.said.n, inFiles!.said.at, 'the state directory has it and the database lost it');
    else if (inFiles !== null && inFiles.text !== inDatabase.text) {
      complain(inDatabase.said.n, inDatabase.said.at, 'the database and the state directory differ on it');
      vouch(inDatabase);
    }
    take(inFiles ?? inDatabase!);
  }
  const last = former as Statement | null;
  if (last !== null) vouch(last);
  const oldest = first as Checkpoint | null;
  if (oldest !== null && oldest.n > (last?.said.from ?? 1))
    complain(last?.said.from ?? 1, null, `the statements up to ${oldest.n - 1} are missing`);
  // Where statements were forgotten, the oldest that is kept names all shards: what it claims is older than retention.
  if (oldest !== null && oldest.n > 1) {
    for (const [audit, shard, seq] of oldest.shards) of(audit, shard).gone.add(1, seq);
  }
  if (unchained === null && last !== null && last.said.settled !== null) unchained = new Map();
  return { shards, unchained, prunedPartitions, statements, last: last?.said ?? null };
}

/** Every second one, and the newest. */
function thin(heads: ReadonlyMap<number, string>): Map<number, string> {
  const all = [...heads];
  return new Map(all.filter((_, at) => at % 2 === 0 || at === all.length - 1));
}

/** Both sources side by side, by number. A text that is no statement is complained of and left out. */
async function* joined(
  stored: AsyncIterable<readonly StoredCheckpoint[]>,
  kept: AsyncIterable<string>,
  complain: (n: number | null, at: string | null, detail: string) => void,
): AsyncGenerator<{ readonly inDatabase: Statement | null; readonly inFiles: Statement | null }> {
  const database = parsed(inRows(stored), (n) => complain(n, null, 'the database holds no statement there'));
  const files = parsed(inLines(kept), () =>
    complain(null, null, 'a line in the state directory is no statement'),
  );
  let [one, other] = [await nextOf(database), await nextOf(files)];
  while (one !== null || other !== null) {
    const [n, m] = [one?.said.n ?? Infinity, other?.said.n ?? Infinity];
    yield { inDatabase: n <= m ? one : null, inFiles: m <= n ? other : null };
    if (n <= m) one = await nextOf(database);
    if (m <= n) other = await nextOf(files);
  }
}

async function* inRows(stored: AsyncIterable<readonly StoredCheckpoint[]>): AsyncGenerator<[number, string]> {
  for await (const rows of stored) for (const { number, statement } of rows) yield [number, statement];
}

async function* inLines(kept: AsyncIterable<string>): AsyncGenerator<[null, string]> {
  for await (const line of kept) yield [null, line];
}

async function* parsed<N extends number | null>(
  texts: AsyncIterable<[N, string]>,
  onStrange: (n: N) => void,
): AsyncGenerator<Statement> {
  let newest = 0;
  for await (const [n, text] of texts) {
    const said = readCheckpoint(text);
    if (said === null || (n !== null && said.n !== n)) onStrange(n);
    // Of two with one number in one place, the first counts; so does order, since both are written in it.
    else if (said.n > newest) {
      newest = said.n;
      yield { text, said };
    }
  }
}

async function nextOf(statements: AsyncGenerator<Statement>): Promise<Statement | null> {
  const { value, done } = await statements.next();
  return done === true ? null : value;
}
