/**
 * Marks an error whose audit row is written already, in the transaction of what it changed. A failing mutation is
 * otherwise audited when the route answers; each gets exactly one row (07 H05).
 */
const audited = new WeakSet<object>();

export function markAudited<E extends Error>(error: E): E {
  audited.add(error);
  return error;
}

export function isAudited(thrown: unknown): boolean {
  return typeof thrown === 'object' && thrown !== null && audited.has(thrown);
}
