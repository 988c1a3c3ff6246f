import { createSecretKey, type KeyObject } from 'node:crypto';
import type { DatabasePool } from '../../backend/src/database/pool.js';
import { withUser } from '../../backend/src/database/withUser.js';
import { createCallChain, type CallChain } from '../../backend/src/spool/callChain.js';
import {
  findSpoolChain,
  forgetSpool,
  shipCallAudit,
  type CallAuditRecord,
} from '../../backend/src/stores/callAuditStore.js';
import type { UniversalServer } from './universalServer.js';

export interface CallAuditRow {
  readonly phase: string;
  readonly method: string;
  readonly name: string | null;
  readonly outcome: string | null;
  readonly call_id: string;
}

/** What the database has of an instance's calls by now; the shipper brings it within a second. */
export async function callAuditOf(
  { site }: Pick<UniversalServer, 'site'>,
  instanceId: string,
): Promise<CallAuditRow[]> {
  const { rows } = await withUser(site.api, { userId: instanceId, scope: 'admin' }, (client) =>
    client.query<CallAuditRow>(
      'select phase, method, name, outcome, call_id from audit_calls where instance_id = $1 order by occurred_at',
      [instanceId],
    ),
  );
  return rows;
}

/** Stands for `k_audit` where a test has no installation. */
export const testAuditKey: KeyObject = createSecretKey(Buffer.alloc(32, 'audit'));

/** The chain of a service's spools into a database; the pool's role is `service`. */
export function aCallChain(pool: DatabasePool, service: string, key: KeyObject = testAuditKey): CallChain {
  return createCallChain({
    kAudit: () => key,
    findChain: (spoolId) => findSpoolChain(pool, spoolId),
    shipChained: (batch) => shipCallAudit(pool, { ...batch, service }),
    forgetSpool: (spoolId) => forgetSpool(pool, spoolId),
  });
}

/** Ships records as the spool's shipper would. */
export async function shipRecords(
  pool: DatabasePool,
  spoolId: string,
  service: string,
  records: readonly CallAuditRecord[],
): Promise<void> {
  const lines = records.map(({ position, ...line }) => ({ position, line: JSON.stringify(line) }));
  await aCallChain(pool, service).ship({ spoolId, lines });
}
