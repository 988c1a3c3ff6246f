/**
 * What an authorization server granted to a user, as it lies sealed in the place of a credential: the tokens, and for
 * servers that were found by discovery all that renewing and revoking takes. A renewal keeps its `grantId`.
 */
import { AppError } from '../../errors/appError.js';
import type { FieldValues } from '../sealedValues.js';
import type { GrantedTokens, OAuthClient } from './tokenEndpoint.js';

export interface TokenGrant {
  /** Names the sign-in that it came from; the same through all renewals. */
  readonly grantId: string;
  readonly accessToken: string;
  readonly refreshToken: string | null;
  /** Milliseconds since the epoch. */
  readonly obtainedAt: number;
  /** Null when the server did not say. */
  readonly expiresAt: number | null;
  readonly scope: string | null;
  /** Set for servers found by discovery; for declared ones the service's file says it anew each time. */
  readonly server: GrantServer | null;
}

export interface GrantServer {
  readonly tokenEndpoint: string;
  readonly revocationEndpoint: string | null;
  readonly resource: string | null;
  /** The one that the refresh token was given to. */
  readonly client: OAuthClient;
}

export function toGrant(
  grantId: string,
  tokens: GrantedTokens,
  server: GrantServer | null,
  now: number,
): TokenGrant {
  return {
    grantId,
    accessToken: tokens.accessToken,
    refreshToken: tokens.refreshToken,
    obtainedAt: now,
    expiresAt: tokens.expiresInSeconds === null ? null : now + tokens.expiresInSeconds * 1_000,
    scope: tokens.scope,
    server,
  };
}

/** A server that gives no new refresh token or scope means the old one (RFC 6749 §6). */
export function toRenewedGrant(before: TokenGrant, tokens: GrantedTokens, now: number): TokenGrant {
  const { grantId, server, refreshToken, scope } = before;
  const kept = {
    ...tokens,
    refreshToken: tokens.refreshToken ?? refreshToken,
    scope: tokens.scope ?? scope,
  };
  return toGrant(grantId, kept, server, now);
}

export function toGrantFields(grant: TokenGrant): FieldValues {
  const { server } = grant;
  const fields: [string, string | null][] = [
    ['grant_id', grant.grantId],
    ['access_token', grant.accessToken],
    ['refresh_token', grant.refreshToken],
    ['obtained_at', String(grant.obtainedAt)],
    ['expires_at', grant.expiresAt === null ? null : String(grant.expiresAt)],
    ['scope', grant.scope],
  ];
  if (server !== null) {
    fields.push(
      ['token_endpoint', server.tokenEndpoint],
      ['revocation_endpoint', server.revocationEndpoint],
      ['resource', server.resource],
      ['client_id', server.client.id],
      ['client_secret', server.client.secret],
      ['client_auth', server.client.auth],
    );
  }
  return new Map(fields.filter((entry): entry is [string, string] => entry[1] !== null));
}

/** @throws AppError CREDENTIAL_UNREADABLE when the record holds something else. */
export function parseGrant(fields: FieldValues): TokenGrant {
  const need = (name: string): string => {
    const value = fields.get(name);
    if (value === undefined) throw new AppError('CREDENTIAL_UNREADABLE', `a grant without its ${name}`);
    return value;
  };
  const expiresAt = fields.get('expires_at');
  return {
    grantId: need('grant_id'),
    accessToken: need('access_token'),
    refreshToken: fields.get('refresh_token') ?? null,
    obtainedAt: Number(need('obtained_at')),
    expiresAt: expiresAt === undefined ? null : Number(expiresAt),
    scope: fields.get('scope') ?? null,
    server: fields.has('token_endpoint') ? parseServer(fields, need) : null,
  };
}

function parseServer(fields: FieldValues, need: (name: string) => string): GrantServer {
  return {
    tokenEndpoint: need('token_endpoint'),
    revocationEndpoint: fields.get('revocation_endpoint') ?? null,
    resource: fields.get('resource') ?? null,
    client: {
      id: need('client_id'),
      secret: fields.get('client_secret') ?? null,
      auth: toClientAuth(need('client_auth')),
    },
  };
}

export function toClientAuth(text: string): OAuthClient['auth'] {
  if (text === 'client_secret_basic' || text === 'client_secret_post' || text === 'none') return text;
  throw new AppError('CREDENTIAL_UNREADABLE', 'a way of client authentication that is not known');
}
