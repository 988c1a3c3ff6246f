/**
 * The last lists that an upstream gave for an instance, so that a client can be answered while the upstream is away or
 * the credential is missing. Called with the service role; a list goes to the instance that it came from, and no other.
 */
import type { Queryable } from '../database/queryable.js';

export type ListKind = 'tools' | 'prompts' | 'resources' | 'resource_templates' | 'initialize' | 'discover';

export interface LastList {
  /** The result member of the JSON-RPC answer, as JSON text. */
  readonly body: string;
  readonly storedAt: Date;
}

/** The largest body that is kept; a larger one is refused by the database. */
export const lastListBytesMax = 4 * 1024 * 1024;

/** Stores or replaces a list; false when the instance is gone or belongs to another service. */
export async function storeLastList(
  db: Queryable,
  list: {
    readonly instanceId: string;
    readonly service: string;
    readonly kind: ListKind;
    readonly body: string;
  },
): Promise<boolean> {
  const { rows } = await db.query<{ stored: boolean }>('select store_last_list($1, $2, $3, $4) as stored', [
    list.instanceId,
    list.service,
    list.kind,
    list.body,
  ]);
  return rows[0]?.stored ?? false;
}

export async function findLastList(
  db: Queryable,
  list: { readonly instanceId: string; readonly service: string; readonly kind: ListKind },
): Promise<LastList | null> {
  const { rows } = await db.query<LastList>(
    'select body, stored_at as "storedAt" from read_last_list($1, $2, $3)',
    [list.instanceId, list.service, list.kind],
  );
  return rows[0] ?? null;
}
