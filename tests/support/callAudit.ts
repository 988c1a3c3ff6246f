import { withUser } from '../../backend/src/database/withUser.js';
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
