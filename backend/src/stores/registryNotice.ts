import type { Queryable } from '../database/queryable.js';

/**
 * Tells every program that the services changed, so that each reads their files again. Any role may. Null stands for a
 * service that is gone.
 */
export async function announceRegistryChange(db: Queryable, service: string | null): Promise<void> {
  await db.query(`select pg_notify('portolan_registry', $1)`, [service ?? '']);
}
