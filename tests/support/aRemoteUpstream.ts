/** A remote upstream by itself, with the terms and listeners that a bridge would give it. */
import { mkdirSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { loadServiceDefinitions } from '../../backend/src/catalog/loadServiceDefinitions.js';
import type { ServiceDefinition } from '../../backend/src/catalog/serviceDefinition.js';
import type { SealedInstance } from '../../backend/src/services/instanceResolver.js';
import { isSameRevision } from '../../backend/src/services/oauth/sameGrant.js';
import type { CredentialValues } from '../../backend/src/services/credentialValues.js';
import { createLogger } from '../../backend/src/telemetry/logger.js';
import { createCircuits } from '../../backend/src/mcp-servers/universal-mcp-server/upstream/circuits.js';
import {
  chooseEra,
  type EraFacts,
  type EraKey,
  type EraRegistry,
} from '../../backend/src/mcp-servers/universal-mcp-server/upstream/eraRegistry.js';
import type {
  JsonObject,
  JsonRpcNotification,
  JsonRpcRequest,
  JsonRpcResponse,
} from '../../backend/src/mcp-servers/universal-mcp-server/protocol/jsonRpc.js';
import {
  createRemoteUpstream,
  type RemoteUpstream,
  type RemoteUpstreamOptions,
} from '../../backend/src/mcp-servers/universal-mcp-server/upstream/remote/remoteUpstream.js';
import type {
  ConnectionTerms,
  RequestListener,
  UpstreamConnection,
} from '../../backend/src/mcp-servers/universal-mcp-server/upstream/upstream.js';
import type { StateNote } from '../../backend/src/mcp-servers/universal-mcp-server/upstream/stateNotes.js';

/** Writes the file, loads it as a service process does, and fails on every problem. */
export function aRemoteService(
  url: string,
  remote: JsonObject = {},
  changes: JsonObject = {},
): ServiceDefinition {
  const dir = mkdtempSync(join(tmpdir(), 'portolan-remote-'));
  try {
    const config = {
      schemaVersion: 1,
      name: 'faraway',
      title: 'Faraway',
      kind: 'streamable-http',
      port: 4902,
      instancePrefix: 'far',
      credentials: {
        methods: [
          {
            id: 'key',
            type: 'fields',
            label: 'Key',
            tokenField: 'token',
            fields: [{ name: 'token', label: 'Key', type: 'secret' }],
            probe: { type: 'mcp' },
          },
        ],
      },
      remote: {
        url,
        headers: { Authorization: { $userToken: 'Bearer {{token}}' } },
        egress: { allowPrivate: true },
        ...remote,
      },
      ...changes,
    };
    mkdirSync(join(dir, 'faraway'));
    writeFileSync(join(dir, 'faraway', 'config.json'), JSON.stringify(config));
    const { services, problems } = loadServiceDefinitions({
      mcpPortsDir: dir,
      lock: { services: {} },
      env: () => undefined,
      allocate: true,
    });
    const [service] = services;
    if (service === undefined || problems.length > 0) throw new Error(JSON.stringify(problems, null, 1));
    return service;
  } finally {
    rmSync(dir, { recursive: true });
  }
}

export interface OpenedRemote extends AsyncDisposable {
  readonly upstream: RemoteUpstream;
  readonly states: readonly StateNote[];
  /** What credentials are opened as, by instance; changed by tests. */
  readonly tokens: Map<string, string>;
}

const nameOf = ({ upstream, authorization }: EraKey): string => `${upstream} ${authorization}`;

/** As `eraRegistry.ts` promises it, without a database. */
export function someEras(): EraRegistry {
  const facts = new Map<string, EraFacts>();
  const none: EraFacts = { modern: null, legacy: null, legacyTransport: null };
  return {
    known(key) {
      const found = facts.get(nameOf(key));
      return found === undefined ? null : { ...found, askedAt: 0 };
    },
    async find(key, preferred, askEra, signal) {
      const before = facts.get(nameOf(key)) ?? none;
      const known = chooseEra(before, preferred);
      if (known !== null) return known;
      const told = await askEra(preferred, signal);
      facts.set(nameOf(key), {
        modern: told.modern ?? before.modern,
        legacy: told.legacy ?? before.legacy,
        legacyTransport: told.legacyTransport ?? before.legacyTransport,
      });
      return chooseEra(facts.get(nameOf(key)) ?? none, preferred) ?? preferred;
    },
    doubt: () => undefined,
    note: () => undefined,
    refute: (key) => facts.delete(nameOf(key)),
    [Symbol.asyncDispose]: () => Promise.resolve(),
  };
}

export function openRemote(
  definition: ServiceDefinition,
  options: Partial<RemoteUpstreamOptions> = {},
): OpenedRemote {
  const states: StateNote[] = [];
  const tokens = new Map<string, string>();
  const opened = new Map<string, CredentialValues>();
  const upstream = createRemoteUpstream({
    definition,
    openValues: (instance) => {
      const token = tokens.get(instance.id) ?? `key-of-${instance.userId}`;
      const key = `${instance.id} ${token}`;
      const values = opened.get(key) ?? { token, fields: new Map([['token', token]]) };
      opened.set(key, values);
      return values;
    },
    mayGoOn: isSameRevision,
    eras: someEras(),
    circuits: createCircuits(),
    eraKeys: {
      ofUrl: (url: string, { id }: { readonly id: string }) => ({ upstream: url, authorization: id }),
    } as never,
    recordState: (note) => void states.push(note),
    renewal: null,
    auditUse: (_instance, _name, work) => work(),
    log: createLogger({ level: 'silent', program: 'test' }),
    ...options,
  });
  return { upstream, states, tokens, [Symbol.asyncDispose]: () => upstream[Symbol.asyncDispose]() };
}

export function anInstance(userId: string, changes: Partial<SealedInstance> = {}): SealedInstance {
  return {
    id: `instance-of-${userId}`,
    userId,
    service: 'faraway',
    label: 'default',
    epoch: 1,
    credentialMethod: 'key',
    credentialRevision: 1,
    overridesRevision: 0,
    state: 'ready',
    isActive: true,
    endsAtMs: Infinity,
    accessMode: 'url',
    isFrom: null,
    sealedCredential: null,
    sealedOverrides: null,
    dataKeys: [],
    ...changes,
  };
}

export const termsOf = (
  userId: string,
  {
    instance = {},
    ...changes
  }: Partial<Omit<ConnectionTerms, 'instance'>> & { instance?: Partial<SealedInstance> } = {},
): ConnectionTerms => ({
  instance: anInstance(userId, instance),
  values: { token: `key-of-${userId}`, fields: new Map([['token', `key-of-${userId}`]]) },
  client: { protocolVersion: '2025-11-25', capabilities: {}, clientInfo: { name: 'test', version: '1' } },
  sessionId: null,
  preferredEra: 'legacy',
  ...changes,
});

/** Keeps what it hears, and answers what it is asked. */
export class Ear implements RequestListener {
  readonly notifications: JsonRpcNotification[] = [];
  readonly requests: JsonRpcRequest[] = [];
  closed = 0;

  onNotification(notification: JsonRpcNotification): void {
    this.notifications.push(notification);
  }
  onServerRequest(request: JsonRpcRequest): Promise<JsonRpcResponse> {
    this.requests.push(request);
    return Promise.resolve({ jsonrpc: '2.0', id: request.id, result: { action: 'decline' } });
  }
  onClosed(): void {
    this.closed += 1;
  }
}

export const never = new AbortController().signal;

let ids = 0;

export async function ask(
  connection: UpstreamConnection,
  method: string,
  params: JsonObject = {},
  { ear = new Ear(), signal = never }: { readonly ear?: Ear; readonly signal?: AbortSignal } = {},
): Promise<JsonRpcResponse> {
  return await connection.request({ jsonrpc: '2.0', id: `t${++ids}`, method, params }, ear, signal);
}

export const call = (
  connection: UpstreamConnection,
  name: string,
  given: JsonObject = {},
  options: { readonly ear?: Ear; readonly signal?: AbortSignal; readonly meta?: JsonObject } = {},
): Promise<JsonRpcResponse> =>
  ask(
    connection,
    'tools/call',
    { name, arguments: given, ...(options.meta === undefined ? {} : { _meta: options.meta }) },
    options,
  );

export function textOf(response: JsonRpcResponse): string {
  if ('error' in response) throw new Error(`${response.error.code} ${response.error.message}`);
  const [first] = response.result['content'] as { text: string }[];
  return String(first?.text);
}
