/**
 * This installation's clients at authorization servers found by discovery: registered on first need (RFC 7591), kept
 * sealed for each service and issuer, and forgotten when the server no longer knows them.
 */
import { registerClient } from '@modelcontextprotocol/sdk/client/auth.js';
import type { AuthorizationServerMetadata } from '@modelcontextprotocol/sdk/shared/auth.js';
import type { DatabasePool } from '../../database/pool.js';
import { withUser } from '../../database/withUser.js';
import { AppError } from '../../errors/appError.js';
import {
  deleteOAuthClient,
  findOAuthClient,
  insertOAuthClient,
  type OAuthClientKey,
} from '../../stores/oauthClientsStore.js';
import type { CredentialVault } from '../credentialVault.js';
import type { FieldValues } from '../sealedValues.js';
import { toFetch } from './guardedFetch.js';
import type { OAuthEgress } from './oauthEgress.js';
import type { OAuthClient } from './tokenEndpoint.js';
import { toClientAuth } from './tokenGrant.js';

export interface RegisteredClients {
  /** @throws AppError UPSTREAM_FAILED when the server registers nobody, SEALED, and what the egress throws. */
  get(key: OAuthClientKey, metadata: AuthorizationServerMetadata, egress: OAuthEgress): Promise<OAuthClient>;
  /** The server does not know it any more: the next sign-in registers anew. */
  forget(key: OAuthClientKey): Promise<void>;
}

export interface RegisteredClientsParts {
  readonly pool: DatabasePool;
  readonly vault: Pick<CredentialVault, 'sealClient' | 'openClient'>;
  readonly now: () => number;
  readonly newId: () => string;
}

export function createRegisteredClients({
  pool,
  vault,
  now,
  newId,
}: RegisteredClientsParts): RegisteredClients {
  const asNobody = <T>(work: Parameters<typeof withUser<T>>[2]): Promise<T> =>
    withUser(pool, { userId: null, scope: 'self' }, work);

  const find = (key: OAuthClientKey): Promise<OAuthClient | null> =>
    asNobody(async (db) => {
      const row = await findOAuthClient(db, key);
      if (row === null) return null;
      const fields = await vault.openClient(db, row, row.sealed);
      if (Number(fields.get('expires_at') ?? Number.POSITIVE_INFINITY) > now()) return toClient(fields);
      await deleteOAuthClient(db, row.id);
      return null;
    });

  return {
    async get(key, metadata, egress) {
      const known = await find(key);
      if (known !== null) return known;
      const fields = await register(key.redirectUri, metadata, egress);
      await asNobody(async (db) => {
        const id = newId();
        await insertOAuthClient(db, key, { id, sealed: await vault.sealClient(db, { id }, fields) });
      });
      // Of two that registered at once the first was kept, for both.
      return (await find(key)) ?? toClient(fields);
    },
    forget: (key) =>
      asNobody(async (db) => {
        const row = await findOAuthClient(db, key);
        if (row !== null) await deleteOAuthClient(db, row.id);
      }),
  };
}

async function register(
  redirectUri: string,
  metadata: AuthorizationServerMetadata,
  egress: OAuthEgress,
): Promise<FieldValues> {
  const auth = toUsualAuth(metadata.token_endpoint_auth_methods_supported);
  try {
    const client = await registerClient(metadata.issuer, {
      metadata,
      clientMetadata: {
        client_name: 'Portolan',
        redirect_uris: [redirectUri],
        grant_types: ['authorization_code', 'refresh_token'],
        response_types: ['code'],
        token_endpoint_auth_method: auth,
      },
      fetchFn: toFetch(egress),
    });
    const { client_id, client_secret, client_secret_expires_at: expiresAt } = client;
    return new Map([
      ['client_id', client_id],
      ...(client_secret === undefined ? [] : [['client_secret', client_secret] as const]),
      [
        'client_auth',
        client_secret === undefined ? 'none' : toClientAuth(client.token_endpoint_auth_method ?? auth),
      ],
      ...(expiresAt === undefined || expiresAt === 0
        ? []
        : [['expires_at', String(expiresAt * 1_000)] as const]),
    ]);
  } catch (error) {
    if (error instanceof AppError && error.code !== 'CREDENTIAL_UNREADABLE') throw error;
    throw new AppError('UPSTREAM_FAILED', 'an authorization server did not register this installation', {
      publicDetail: 'The service does not let this installation register itself, so that nobody can sign in.',
    });
  }
}

/** A server that can keep a secret is better known by one; RFC 8414 means basic where nothing is said. */
function toUsualAuth(supported: readonly string[] = ['client_secret_basic']): OAuthClient['auth'] {
  const known = ['client_secret_basic', 'client_secret_post', 'none'] as const;
  return known.find((one) => supported.includes(one)) ?? 'none';
}

function toClient(fields: FieldValues): OAuthClient {
  return {
    id: fields.get('client_id') ?? '',
    secret: fields.get('client_secret') ?? null,
    auth: toClientAuth(fields.get('client_auth') ?? ''),
  };
}
