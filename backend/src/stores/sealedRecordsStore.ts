import type { Queryable } from '../database/queryable.js';

/** A row and a column that hold a sealed record; names of ours, as records are bound to them. */
export interface RecordPlace {
  readonly table: string;
  readonly column: string;
  readonly rowId: string;
}

const columns = new Set([
  'instances.sealed_url',
  'instances.sealed_credential',
  'instances.sealed_overrides',
  'oauth_sign_ins.sealed_context',
  'oauth_clients.sealed_client',
  'service_settings.sealed_shared_credential',
]);

/**
 * Puts the same plaintext, sealed anew, in the place of exactly that record, within the caller's rights; false when another
 * one lies there by now. Inside `withUser`.
 */
export async function moveRecord(
  db: Queryable,
  { table, column, rowId }: RecordPlace,
  from: Buffer,
  to: Buffer,
): Promise<boolean> {
  if (!columns.has(`${table}.${column}`)) throw new Error(`no sealed records lie in ${table}.${column}`);
  const { rowCount } = await db.query(`update ${table} set ${column} = $3 where id = $1 and ${column} = $2`, [
    rowId,
    from,
    to,
  ]);
  return rowCount === 1;
}
