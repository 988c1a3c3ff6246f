/**
 * The way out to authorization servers (07 E10). The hosts that a service's file names are called under its rules; what a
 * server found by discovery points to may be any public host, and a private address never: not even a service that is
 * itself allowed to live on a private address may send us to another one.
 */
import { findUrlProblem, isHostAllowed, type EgressRules } from '../../addresses/urlProblem.js';
import type { EgressPolicy, ServiceDefinition } from '../../catalog/serviceDefinition.js';
import { createEgressClient, type EgressClient } from '../../egress/egressClient.js';
import type { EgressResponse } from '../../egress/egressCall.js';
import type { ResolveHost } from '../../egress/guardedConnector.js';
import { AppError } from '../../errors/appError.js';

export interface OAuthRequest {
  readonly method: 'GET' | 'POST' | 'DELETE';
  readonly url: string;
  readonly headers: Readonly<Record<string, string>>;
  readonly body?: string;
}

export interface OAuthEgress extends AsyncDisposable {
  /** @throws AppError EGRESS_DENIED, UPSTREAM_UNREACHABLE, UPSTREAM_TIMEOUT, UPSTREAM_FAILED, SERVICE_SATURATED */
  send(request: OAuthRequest, signal?: AbortSignal): Promise<EgressResponse>;
}

/** What an answer of an authorization server may measure, and take. */
const answerBytesMax = 256 * 1024;
export const oauthTimeoutMs = 10_000;

export function createOAuthEgress(policy: EgressPolicy, resolveHost?: ResolveHost): OAuthEgress {
  const clients = new Map<EgressRules, EgressClient>();
  const [declared, discovered] = toRules(policy);
  const clientFor = (rules: EgressRules): EgressClient => {
    let client = clients.get(rules);
    if (client === undefined) {
      const network = resolveHost === undefined ? {} : { resolveHost };
      client = createEgressClient({ rules, connections: 8, requestsMax: 128, ...network });
      clients.set(rules, client);
    }
    return client;
  };

  return {
    async send({ method, url, headers, body }, signal) {
      const client = clientFor(isDeclared(url, policy) ? declared : discovered);
      const destination = client.parse(url);
      return await client.send(
        {
          method,
          destination,
          target: destination.pathname + destination.search,
          headers: ['user-agent', 'Portolan', ...Object.entries(headers).flat()],
          body: body ?? null,
          maxBytes: answerBytesMax,
          totalTimeoutMs: oauthTimeoutMs,
        },
        signal,
      );
    },
    async [Symbol.asyncDispose]() {
      await Promise.all([...clients.values()].map((client) => client[Symbol.asyncDispose]()));
      clients.clear();
    },
  };
}

/** The hosts of the declared endpoints, and of the MCP server itself, under the rules of the service's file. */
export function toOAuthPolicy({
  credentials,
  remote,
}: Pick<ServiceDefinition, 'credentials' | 'remote'>): EgressPolicy {
  const policies = credentials.methods.flatMap(({ oauth2 }) => (oauth2 === null ? [] : [oauth2.egress]));
  if (remote !== null) policies.push(remote.egress);
  return {
    allowHosts: [...new Set(policies.flatMap(({ allowHosts }) => allowHosts))],
    allowPrivate: policies.some(({ allowPrivate }) => allowPrivate),
  };
}

/** Lets pass a URL to which a browser may be sent. @throws AppError EGRESS_DENIED */
export function requireGoodUrl(url: string, policy: EgressPolicy): void {
  const [declared, discovered] = toRules(policy);
  const problem = findUrlProblem(url, isDeclared(url, policy) ? declared : discovered);
  if (problem === null) return;
  throw new AppError('EGRESS_DENIED', `a URL of an authorization server ${problem}`, {
    publicDetail: `The address at which the service asks to sign in ${problem}.`,
  });
}

function toRules({ allowHosts, allowPrivate }: EgressPolicy): readonly [EgressRules, EgressRules] {
  return [
    { allowHosts, allowPrivate },
    { allowHosts: null, allowPrivate: false },
  ];
}

function isDeclared(url: string, { allowHosts }: EgressPolicy): boolean {
  return URL.canParse(url) && isHostAllowed(new URL(url).hostname, allowHosts);
}
