/**
 * From the address of a remote MCP server to its authorization server (MCP 2025-11-25 "Authorization"): what the server
 * says of itself (RFC 9728), what its authorization server says (RFC 8414 or OpenID Connect Discovery), and this
 * installation's client there. Every address on the way goes through the guarded egress (07 E10), and every word is
 * checked before it is used: the resource has to be the server, the issuer has to be the one that was asked.
 */
import {
  discoverAuthorizationServerMetadata,
  discoverOAuthProtectedResourceMetadata,
  extractWWWAuthenticateParams,
} from '@modelcontextprotocol/sdk/client/auth.js';
import type {
  AuthorizationServerMetadata,
  OAuthProtectedResourceMetadata,
} from '@modelcontextprotocol/sdk/shared/auth.js';
import { checkResourceAllowed } from '@modelcontextprotocol/sdk/shared/auth-utils.js';
import type { FetchLike } from '@modelcontextprotocol/sdk/shared/transport.js';
import type { EgressPolicy } from '../../catalog/serviceDefinition.js';
import { AppError } from '../../errors/appError.js';
import { toFetch } from './guardedFetch.js';
import { requireGoodUrl, type OAuthEgress } from './oauthEgress.js';

export interface FoundServer {
  readonly issuer: string;
  readonly metadata: AuthorizationServerMetadata;
  /** As the server writes it (RFC 8707). */
  readonly resource: string;
  readonly scope: string | null;
  readonly isIssuerSent: boolean;
}

/**
 * @param serverUrl of the MCP server, as the service's file has it.
 * @throws AppError EGRESS_DENIED, UPSTREAM_UNREACHABLE, UPSTREAM_TIMEOUT, UPSTREAM_FAILED when what is found cannot be used.
 */
export async function discoverServer(
  serverUrl: string,
  egress: OAuthEgress,
  policy: EgressPolicy,
): Promise<FoundServer> {
  const fetchFn = toFetch(egress);
  try {
    const challenge = await readChallenge(serverUrl, fetchFn);
    const { resourceMetadataUrl } = challenge;
    const resource = await discoverOAuthProtectedResourceMetadata(
      serverUrl,
      resourceMetadataUrl === undefined ? {} : { resourceMetadataUrl },
      fetchFn,
    );
    if (!checkResourceAllowed({ requestedResource: serverUrl, configuredResource: resource.resource })) {
      throw unusable('its metadata is that of another resource');
    }
    const issuer = resource.authorization_servers?.[0];
    if (issuer === undefined) throw unusable('it names no authorization server');
    requireGoodUrl(issuer, policy);
    const metadata = await discoverAuthorizationServerMetadata(issuer, { fetchFn });
    if (metadata === undefined) throw unusable('its authorization server has no metadata');
    checkMetadata(metadata, issuer, policy);
    return {
      issuer,
      metadata,
      resource: resource.resource,
      scope: toScope(challenge.scope, resource, metadata),
      isIssuerSent: Reflect.get(metadata, 'authorization_response_iss_parameter_supported') === true,
    };
  } catch (error) {
    // The messages of others may quote addresses and answers.
    throw error instanceof AppError ? error : unusable('what it says of itself cannot be read');
  }
}

/** What an unauthorized request is answered with; a server that answers otherwise has its metadata at the usual place. */
async function readChallenge(
  serverUrl: string,
  fetchFn: FetchLike,
): Promise<ReturnType<typeof extractWWWAuthenticateParams>> {
  const initialize = {
    jsonrpc: '2.0',
    id: 'discovery',
    method: 'initialize',
    params: {
      protocolVersion: '2025-11-25',
      capabilities: {},
      clientInfo: { name: 'portolan', version: '0.1.0' },
    },
  };
  const response = await fetchFn(serverUrl, {
    method: 'POST',
    headers: { accept: 'application/json, text/event-stream', 'content-type': 'application/json' },
    body: JSON.stringify(initialize),
  });
  return response.status === 401 ? extractWWWAuthenticateParams(response) : {};
}

/** RFC 8414 §3.3: metadata that names another issuer is somebody else's. OAuth 2.1: no sign-in without PKCE. */
function checkMetadata(metadata: AuthorizationServerMetadata, issuer: string, policy: EgressPolicy): void {
  if (withoutSlash(metadata.issuer) !== withoutSlash(issuer)) {
    throw unusable('its authorization server calls itself by another name');
  }
  if (metadata.code_challenge_methods_supported?.includes('S256') !== true) {
    throw unusable('its authorization server does not offer PKCE with S256');
  }
  const { authorization_endpoint, token_endpoint, registration_endpoint } = metadata;
  const revocation = revocationEndpointOf(metadata);
  for (const url of [authorization_endpoint, token_endpoint, registration_endpoint, revocation]) {
    if (typeof url === 'string') requireGoodUrl(url, policy);
  }
}

export function revocationEndpointOf(metadata: AuthorizationServerMetadata): string | null {
  const url: unknown = Reflect.get(metadata, 'revocation_endpoint');
  return typeof url === 'string' ? url : null;
}

/** What the challenge asks for, else all that the resource knows; and that access may be renewed, where that is a scope. */
function toScope(
  asked: string | undefined,
  { scopes_supported: ofResource }: OAuthProtectedResourceMetadata,
  { scopes_supported: ofServer }: AuthorizationServerMetadata,
): string | null {
  const scopes = asked?.split(' ') ?? ofResource ?? [];
  const offline = ofServer?.includes('offline_access') === true ? ['offline_access'] : [];
  const all = [...new Set([...scopes, ...offline])].filter((one) => one !== '');
  return all.length === 0 ? null : all.join(' ');
}

const withoutSlash = (url: string): string => url.replace(/\/$/, '');

function unusable(why: string): AppError {
  return new AppError('UPSTREAM_FAILED', `discovery: ${why}`, {
    publicDetail: `Signing in with this service is not possible: ${why}.`,
  });
}
