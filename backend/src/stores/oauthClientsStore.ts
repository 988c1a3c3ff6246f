/**
 * This installation as authorization servers know it: the clients that it registered there (RFC 7591), one for each
 * service, issuer and redirect URI. They are the installation's own, sealed under the data key of the system.
 */
import type { Queryable } from '../database/queryable.js';

export interface OAuthClientKey {
  readonly service: string;
  readonly issuer: string;
  readonly redirectUri: string;
}

/** Bound to the column `sealed_client`, revision 1. */
export interface SealedOAuthClient {
  readonly id: string;
  readonly sealed: Buffer;
}

export async function findOAuthClient(
  db: Queryable,
  { service, issuer, redirectUri }: OAuthClientKey,
): Promise<SealedOAuthClient | null> {
  const { rows } = await db.query<SealedOAuthClient>(
    `select id, sealed_client as sealed from oauth_clients
     where service = $1 and issuer = $2 and redirect_uri = $3`,
    [service, issuer, redirectUri],
  );
  return rows[0] ?? null;
}

/** False when there is one already: of two that register at once the first is kept. */
export async function insertOAuthClient(
  db: Queryable,
  { service, issuer, redirectUri }: OAuthClientKey,
  { id, sealed }: SealedOAuthClient,
): Promise<boolean> {
  const { rowCount } = await db.query(
    `insert into oauth_clients (id, service, issuer, redirect_uri, sealed_client) values ($1, $2, $3, $4, $5)
     on conflict (service, issuer, redirect_uri) do nothing`,
    [id, service, issuer, redirectUri, sealed],
  );
  return rowCount === 1;
}

/** Forgets a client that its authorization server no longer knows. */
export async function deleteOAuthClient(db: Queryable, id: string): Promise<void> {
  await db.query('delete from oauth_clients where id = $1', [id]);
}
