/**
 * Reading the audits, newest first and a page at a time (keyset: time and id of the last row). Row policies say whose rows
 * are seen; `ownerId` says it once more for one user's own, in words that their indexes serve. A call is listed by its
 * outcome, with what its intent knew; one under way is listed when it ends.
 */
import type { Queryable } from '../database/queryable.js';
import type { AuditEvent } from './auditStore.js';
import type { CallOutcome } from './callAuditStore.js';

export interface EventFilter {
  readonly actorId?: string | undefined;
  readonly subjectUserId?: string | undefined;
  readonly action?: string | undefined;
  readonly targetId?: string | undefined;
  readonly service?: string | undefined;
  readonly outcome?: AuditEvent['outcome'] | undefined;
  readonly errorCode?: string | undefined;
  readonly requestId?: string | undefined;
}

export interface CallFilter {
  readonly userId?: string | undefined;
  readonly instanceId?: string | undefined;
  readonly service?: string | undefined;
  readonly method?: string | undefined;
  readonly name?: string | undefined;
  readonly outcome?: CallOutcome | 'failed' | undefined;
  readonly errorCode?: string | undefined;
  readonly requestId?: string | undefined;
}

export interface PageWish<F> {
  readonly filter: F;
  /** ISO 8601; from this time on, and before that one. */
  readonly from?: string | undefined;
  readonly to?: string | undefined;
  readonly after: RowKey | null;
  readonly limit: number;
  /** Only what is this user's own. */
  readonly ownerId: string | null;
}

/** Where a row stands; the time has microseconds, which a Date has not. */
export interface RowKey {
  readonly time: string;
  readonly id: string;
}

export interface ListedEvent extends AuditEvent {
  readonly id: string;
  readonly occurredAt: Date;
  readonly keyTime: string;
}

export interface ListedCall {
  readonly id: string;
  readonly endedAt: Date;
  readonly keyTime: string;
  /** When it was about to be made; null for one that was refused before. */
  readonly startedAt: Date | null;
  readonly instanceId: string | null;
  readonly userId: string | null;
  readonly service: string;
  readonly method: string;
  readonly name: string | null;
  readonly era: string | null;
  readonly requestId: string | null;
  readonly clientAddress: string | null;
  readonly argumentsDigest: string | null;
  readonly argumentsBytes: number | null;
  readonly outcome: CallOutcome;
  readonly httpStatus: number | null;
  readonly jsonRpcCode: number | null;
  readonly isError: boolean | null;
  readonly errorCode: string | null;
  readonly durationMs: number | null;
  readonly resultBytes: number | null;
}

const keyTime = `to_char(occurred_at at time zone 'UTC', 'YYYY-MM-DD"T"HH24:MI:SS.US"Z"') as "keyTime"`;

export async function listAuditEvents(db: Queryable, wish: PageWish<EventFilter>): Promise<ListedEvent[]> {
  return await inWindows(wish, (window) => readEvents(db, window));
}

async function readEvents(db: Queryable, wish: PageWish<EventFilter>): Promise<ListedEvent[]> {
  const { filter, ownerId } = wish;
  const where = new Conditions(wish, 'id');
  where.equal('actor_id', filter.actorId);
  where.equal('subject_user_id', filter.subjectUserId);
  where.equal('action', filter.action);
  where.equal('target_id', filter.targetId);
  where.equal('service', filter.service);
  where.equal('outcome', filter.outcome);
  // The partial index of what did not succeed serves an error code too.
  if (filter.errorCode !== undefined) where.plain(`outcome <> 'success'`);
  where.equal('error_code', filter.errorCode);
  where.equal('request_id', filter.requestId);
  if (ownerId !== null) where.either(['subject_user_id', 'actor_id'], ownerId);
  const { rows } = await db.query<ListedEvent>(
    `select id, occurred_at as "occurredAt", actor_kind as "actorKind", actor_id as "actorId", actor_via as "actorVia",
       subject_user_id as "subjectUserId", action, target_kind as "targetKind", target_id as "targetId", service, outcome,
       error_code as "errorCode", request_id as "requestId", client_address as "clientAddress", details, ${keyTime}
     from audit_events ${where.text()} order by occurred_at desc, id desc limit ${where.limit()}`,
    where.values,
  );
  return rows;
}

export async function listAuditCalls(db: Queryable, wish: PageWish<CallFilter>): Promise<ListedCall[]> {
  const ended = await inWindows(wish, (window) => readEnded(db, window));
  const intents = await findIntents(db, ended);
  return ended.map((call) => ({ ...call, ...(intents.get(call.id) ?? withoutIntent(call)) }));
}

async function readEnded(db: Queryable, wish: PageWish<CallFilter>): Promise<ListedCall[]> {
  const { filter, ownerId } = wish;
  const where = new Conditions(wish, 'call_id');
  where.plain(`phase = 'outcome'`);
  where.equal('user_id', filter.userId);
  where.equal('instance_id', filter.instanceId);
  where.equal('service', filter.service);
  where.equal('method', filter.method);
  where.equal('name', filter.name);
  if (filter.outcome === 'failed') where.plain(`outcome <> 'ok'`);
  else where.equal('outcome', filter.outcome);
  if (filter.errorCode !== undefined || (filter.outcome !== undefined && filter.outcome !== 'ok'))
    where.plain(`outcome <> 'ok'`);
  where.equal('error_code', filter.errorCode);
  where.equal('request_id', filter.requestId);
  where.equal('user_id', ownerId ?? undefined);
  const { rows } = await db.query<ListedCall>(
    `select call_id as id, occurred_at as "endedAt", instance_id as "instanceId", user_id as "userId", service, method,
       name, era, request_id as "requestId", client_address as "clientAddress", outcome, http_status as "httpStatus",
       json_rpc_code as "jsonRpcCode", is_error as "isError", error_code as "errorCode", duration_ms as "durationMs",
       result_bytes::float8 as "resultBytes", ${keyTime}
     from audit_calls ${where.text()} order by occurred_at desc, call_id desc limit ${where.limit()}`,
    where.values,
  );
  return rows;
}

const dayMs = 86_400_000;
const windowDays = [1, 8];

/**
 * Reads the newest day first, then a week, then the rest: a page is mostly there, and each day more is a partition more
 * that has to be planned for. The lists differ in nothing.
 */
async function inWindows<F, Row>(
  wish: PageWish<F>,
  read: (window: PageWish<F>) => Promise<Row[]>,
): Promise<Row[]> {
  const end = wish.after?.time ?? wish.to ?? new Date().toISOString();
  const begin = wish.from === undefined ? -Infinity : Date.parse(wish.from);
  const rows: Row[] = [];
  let { to, after } = wish;
  for (const days of [...windowDays, Infinity]) {
    const edge = Date.parse(end) - days * dayMs;
    const isLast = edge <= begin || days === Infinity;
    const from = isLast ? wish.from : new Date(edge).toISOString();
    rows.push(...(await read({ ...wish, from, to, after, limit: wish.limit - rows.length })));
    if (isLast || rows.length >= wish.limit) return rows;
    [to, after] = [from, null];
  }
  return rows;
}

type Intent = Pick<ListedCall, 'startedAt' | 'clientAddress' | 'argumentsDigest' | 'argumentsBytes'>;

const withoutIntent = ({ clientAddress }: ListedCall): Intent => ({
  startedAt: null,
  clientAddress,
  argumentsDigest: null,
  argumentsBytes: null,
});

/** No call takes longer, held ones included; the bounds keep other days' partitions out of it. */
const callMsMax = 2 * dayMs;

async function findIntents(db: Queryable, ended: readonly ListedCall[]): Promise<Map<string, Intent>> {
  const [newest, oldest] = [ended[0], ended.at(-1)];
  if (newest === undefined || oldest === undefined) return new Map();
  const from = new Date(oldest.endedAt.getTime() - callMsMax).toISOString();
  const to = new Date(newest.endedAt.getTime() + 60_000).toISOString();
  const { rows } = await db.query<Intent & { id: string }>(
    `select call_id as id, occurred_at as "startedAt", client_address as "clientAddress",
       encode(arguments_digest, 'hex') as "argumentsDigest", arguments_bytes as "argumentsBytes"
     from audit_calls where call_id = any($1::uuid[]) and phase = 'intent' and occurred_at >= $2 and occurred_at < $3`,
    [ended.map(({ id }) => id), from, to],
  );
  return new Map(rows.map(({ id, ...intent }) => [id, intent]));
}

export interface LastVerification {
  readonly at: Date;
  readonly problems: number;
  readonly rows: number;
}

/** What the last verification found, as it was recorded; null when there was none within retention. */
export async function findLastVerification(db: Queryable): Promise<LastVerification | null> {
  const { rows } = await db.query<LastVerification>(
    `select occurred_at as at, (details ->> 'problems')::float8 as problems, (details ->> 'rows')::float8 as rows
     from audit_events where action = 'audit.verified' and actor_kind = 'system' order by occurred_at desc limit 1`,
  );
  return rows[0] ?? null;
}

export async function findCheckpointState(db: Queryable): Promise<{ number: number; issuedAt: Date } | null> {
  const { rows } = await db.query<{ number: number; issuedAt: Date }>(
    'select number::float8 as number, issued_at as "issuedAt" from audit_checkpoints order by number desc limit 1',
  );
  return rows[0] ?? null;
}

/** Conditions over given columns with numbered parameters; no text of a caller's is in them. */
class Conditions {
  readonly values: unknown[] = [];
  readonly #all: string[] = [];
  readonly #limit: number;

  constructor({ from, to, after, limit }: Omit<PageWish<unknown>, 'filter'>, idColumn: string) {
    if (from !== undefined) this.#all.push(`occurred_at >= ${this.#add(from)}::timestamptz`);
    if (to !== undefined) this.#all.push(`occurred_at < ${this.#add(to)}::timestamptz`);
    if (after !== null) {
      const [time, id] = [this.#add(after.time), this.#add(after.id)];
      this.#all.push(`(occurred_at, ${idColumn}) < (${time}::timestamptz, ${id}::uuid)`);
    }
    this.#limit = limit;
  }

  equal(column: string, value: string | undefined): void {
    if (value !== undefined) this.#all.push(`${column} = ${this.#add(value)}`);
  }

  either(columns: readonly string[], value: string): void {
    const parameter = this.#add(value);
    this.#all.push(`(${columns.map((column) => `${column} = ${parameter}`).join(' or ')})`);
  }

  plain(condition: string): void {
    this.#all.push(condition);
  }

  text(): string {
    return this.#all.length === 0 ? '' : `where ${this.#all.join(' and ')}`;
  }

  limit(): string {
    return this.#add(this.#limit);
  }

  #add(value: unknown): string {
    this.values.push(value);
    return `$${this.values.length}`;
  }
}
