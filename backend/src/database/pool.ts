/**
 * A bounded pool of connections for one program and one role. It sheds instead of queueing: a statement that cannot
 * start or finish in its time fails with DATABASE_UNAVAILABLE, whatever state PostgreSQL is in (06 R01, R02, R04).
 *
 * A COMMIT whose answer was lost is looked up by its transaction id (`pg_xact_status`), so that a caller is told of a
 * failure only when the change was not made (06 R03).
 */
import { Pool, type PoolClient, type QueryConfig, type QueryResult, type QueryResultRow } from 'pg';
import type { Secret } from '../config/secrets.js';
import { AppError } from '../errors/appError.js';
import { isConnectionLost, toDatabaseError } from './databaseErrors.js';
import type { AuditMac, Queryable } from './queryable.js';

export interface PoolOptions {
  readonly connectionString: Secret;
  /** Shown in `pg_stat_activity`. */
  readonly applicationName: string;
  readonly connectionsMax?: number;
  /** Callers that may wait for a connection; the next one is refused at once. */
  readonly waitingMax?: number;
  /** How long a caller waits for a connection, made or freed. */
  readonly checkoutTimeoutMs?: number;
  /** How long one statement may take; the server cancels it, and the client gives up shortly after. */
  readonly statementTimeoutMs?: number;
  readonly idleTimeoutMs?: number;
  /** Given to the pools of programs that write audit events: what a row of theirs is signed with. */
  readonly auditMac?: AuditMac;
  /** Told of connections that break while nobody uses them. */
  readonly onIdleError?: (error: Error) => void;
}

export interface PoolCounts {
  readonly total: number;
  readonly idle: number;
  readonly waiting: number;
}

export interface TransactionOptions {
  /** Statements of our own that open the transaction; never built from a caller's text. */
  readonly begin?: string;
  /** Nothing is written, so a lost COMMIT loses nothing. */
  readonly readOnly?: boolean;
}

export interface DatabasePool extends Queryable, AsyncDisposable {
  /** Runs `work` in one transaction: committed when it resolves, rolled back when it throws. */
  transaction<T>(work: (client: Queryable) => Promise<T>, options?: TransactionOptions): Promise<T>;
  counts(): PoolCounts;
  /** Waits for statements under way, within the statement timeout, and closes every connection. */
  close(): Promise<void>;
}

/** The client waits this much longer than the server, so that it is usually the server who says that time is up. */
const clientGraceMs = 500;
const commitLookupMs = 5_000;

export function createPool(options: PoolOptions): DatabasePool {
  const {
    connectionsMax = 10,
    waitingMax = 200,
    checkoutTimeoutMs = 1_500,
    statementTimeoutMs = 5_000,
    idleTimeoutMs = 60_000,
  } = options;
  const pool = new Pool({
    connectionString: options.connectionString.reveal(),
    application_name: options.applicationName,
    max: connectionsMax,
    connectionTimeoutMillis: checkoutTimeoutMs,
    idleTimeoutMillis: idleTimeoutMs,
    statement_timeout: statementTimeoutMs,
    query_timeout: statementTimeoutMs + clientGraceMs,
    idle_in_transaction_session_timeout: statementTimeoutMs * 2,
    keepAlive: true,
  });
  const clients = new Set<PoolClient>();
  pool.on('connect', (client) => {
    clients.add(client);
    // For as long as it lives. Without a listener a connection that breaks between two statements would end the process,
    // and so would one whose server says good-bye in the very bytes that greet: it is handed out only a turn later. The
    // next statement on it fails and tells.
    client.on('error', ignore);
  });
  pool.on('remove', (client) => void clients.delete(client));
  pool.on('error', (error) => options.onIdleError?.(error));

  const checkOut = async (): Promise<PoolClient> => {
    // Those for whom an idle connection is there are in the queue too, until the next tick.
    if (pool.waitingCount >= waitingMax + pool.idleCount) {
      throw new AppError('DATABASE_UNAVAILABLE', `${waitingMax} callers already wait for a connection`, {
        retryAfterSeconds: 1,
      });
    }
    return await pool.connect();
  };
  async function withClient<T>(work: (client: PoolClient) => Promise<T>): Promise<T> {
    let failure: unknown;
    const client = await checkOut().catch((thrown: unknown) => {
      throw toDatabaseError(thrown);
    });
    try {
      return await work(client);
    } catch (thrown) {
      failure = thrown;
      throw toDatabaseError(thrown);
    } finally {
      giveBack(client, failure);
    }
  }

  async function transaction<T>(
    work: (client: Queryable) => Promise<T>,
    { begin = '', readOnly = false }: TransactionOptions = {},
  ): Promise<T> {
    let transactionId: string | undefined;
    let result: T;
    let isCommitting = false;
    try {
      return await withClient(async (client) => {
        await client.query(`begin${readOnly ? ' read only' : ''};${begin}`);
        try {
          result = await work(toQueryable(client, options.auditMac));
          if (!readOnly) transactionId = await currentTransactionId(client);
          isCommitting = true;
          await client.query('commit');
          return result;
        } catch (thrown) {
          if (!isConnectionLost(thrown)) await client.query('rollback');
          throw thrown;
        }
      });
    } catch (thrown) {
      const isAmbiguous =
        isCommitting && thrown instanceof AppError && thrown.code === 'DATABASE_UNAVAILABLE';
      if (!isAmbiguous || transactionId === undefined) throw thrown;
      if (await isCommitted(transactionId, thrown)) return result!;
      throw thrown;
    }
  }

  /** @throws AppError DATABASE_UNAVAILABLE when the database does not come back soon enough to tell. */
  async function isCommitted(transactionId: string, cause: unknown): Promise<boolean> {
    const deadline = performance.now() + commitLookupMs;
    while (performance.now() < deadline) {
      try {
        const { rows } = await withClient((client) =>
          client.query<{ status: string | null }>('select pg_xact_status($1::xid8) as status', [
            transactionId,
          ]),
        );
        const status = rows[0]?.status;
        if (status === 'committed') return true;
        if (status === 'aborted') return false;
      } catch (thrown) {
        if (!(thrown instanceof AppError)) throw thrown;
      }
      await new Promise((resolve) => setTimeout(resolve, 50));
    }
    throw new AppError('DATABASE_UNAVAILABLE', 'the answer to a COMMIT was lost and cannot be looked up', {
      cause,
      publicDetail: 'It is not known whether the change was made; look before you try again.',
    });
  }

  let closing: Promise<void> | undefined;
  const close = (): Promise<void> => {
    closing ??= (async () => {
      const hurry = setTimeout(() => {
        for (const client of clients) streamOf(client)?.destroy();
      }, statementTimeoutMs + clientGraceMs);
      await pool.end();
      clearTimeout(hurry);
    })();
    return closing;
  };

  return {
    query: <Row extends QueryResultRow>(query: string | QueryConfig, values?: unknown[]) =>
      withClient<QueryResult<Row>>((client) => client.query<Row>(query, values)),
    transaction,
    counts: () => ({ total: pool.totalCount, idle: pool.idleCount, waiting: pool.waitingCount }),
    close,
    [Symbol.asyncDispose]: close,
  };
}

function toQueryable(client: PoolClient, auditMac: AuditMac | undefined): Queryable {
  if (auditMac === undefined) return client;
  return {
    query: <Row extends QueryResultRow>(query: string | QueryConfig, values?: unknown[]) =>
      client.query<Row>(query, values),
    auditMac,
  };
}

/** The id under which the transaction will be found later; none when it has written nothing. */
async function currentTransactionId(client: PoolClient): Promise<string | undefined> {
  const { rows } = await client.query<{ id: string | null }>(
    'select pg_current_xact_id_if_assigned()::text as id',
  );
  return rows[0]?.id ?? undefined;
}

/** `pg` has no public way to drop a connection whose server does not answer; its socket is there all the same. */
function streamOf(client: PoolClient): { destroy(): void } | undefined {
  const { connection } = client as unknown as { connection?: { stream?: { destroy(): void } } };
  return connection?.stream;
}

function giveBack(client: PoolClient, failure?: unknown): void {
  client.release(failure !== undefined && isConnectionLost(failure));
}

function ignore(): void {}
