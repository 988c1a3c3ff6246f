/**
 * Which eras an upstream speaks, as it last said, for the service role. Upstream and authorization context are named by
 * keyed digests alone (`vault/eraDigest`): no address and no credential is in here.
 */
import type { Queryable } from '../database/queryable.js';

export interface EraVerdictName {
  readonly service: string;
  /** 32 bytes in hex. */
  readonly upstream: string;
  /** 32 bytes in hex. */
  readonly authorization: string;
}

export interface StoredEraVerdict {
  readonly modern: boolean | null;
  readonly legacy: boolean | null;
  readonly legacyTransport: 'streamable-http' | 'sse' | null;
  /** In ms since the epoch. */
  readonly askedAt: number;
}

/** Reading counts as use: a verdict that nobody uses for 30 days is purged. */
export async function findEraVerdict(
  db: Queryable,
  { service, upstream, authorization }: EraVerdictName,
): Promise<StoredEraVerdict | null> {
  const { rows } = await db.query<StoredEraVerdict>(
    `select speaks_modern as modern, speaks_legacy as legacy, legacy_transport as "legacyTransport",
            (extract(epoch from asked_at) * 1000)::float8 as "askedAt"
     from read_era_verdict($1, decode($2, 'hex'), decode($3, 'hex'))`,
    [service, upstream, authorization],
  );
  return rows[0] ?? null;
}

/** Of two verdicts for one name the one that was asked for later stays. */
export async function storeEraVerdict(
  db: Queryable,
  { service, upstream, authorization, ...verdict }: EraVerdictName & StoredEraVerdict,
): Promise<void> {
  await db.query(
    `select store_era_verdict($1, decode($2, 'hex'), decode($3, 'hex'), $4, $5, $6,
                              to_timestamp($7::float8 / 1000))`,
    [
      service,
      upstream,
      authorization,
      verdict.modern,
      verdict.legacy,
      verdict.legacyTransport,
      verdict.askedAt,
    ],
  );
}

/** Removes a verdict, unless a later one has taken its place. */
export async function forgetEraVerdict(
  db: Queryable,
  { service, upstream, authorization, askedAt }: EraVerdictName & Pick<StoredEraVerdict, 'askedAt'>,
): Promise<void> {
  await db.query(
    `select forget_era_verdict($1, decode($2, 'hex'), decode($3, 'hex'), to_timestamp($4::float8 / 1000))`,
    [service, upstream, authorization, askedAt],
  );
}
