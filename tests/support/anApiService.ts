/** Services of kind `api` over an upstream of the test's own, loaded from a real `config.json`, and calls of them. */
import { randomUUID } from 'node:crypto';
import { mkdirSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { loadServiceDefinitions } from '../../backend/src/catalog/loadServiceDefinitions.js';
import type { ServiceDefinition } from '../../backend/src/catalog/serviceDefinition.js';
import type { JsonObject } from '../../backend/src/mcp-servers/universal-mcp-server/protocol/jsonRpc.js';
import {
  createApiUpstream,
  type ApiUpstream,
  type ApiUpstreamOptions,
} from '../../backend/src/mcp-servers/universal-mcp-server/upstream/api/apiUpstream.js';
import { createCircuits } from '../../backend/src/mcp-servers/universal-mcp-server/upstream/circuits.js';
import type { StateNote } from '../../backend/src/mcp-servers/universal-mcp-server/upstream/stateNotes.js';
import type { ConnectionTerms } from '../../backend/src/mcp-servers/universal-mcp-server/upstream/upstream.js';

/** Writes the file, loads it as a service process does, and fails on every problem. */
export function anApiService(api: JsonObject, changes: JsonObject = {}): ServiceDefinition {
  const dir = mkdtempSync(join(tmpdir(), 'portolan-api-'));
  try {
    const config = {
      schemaVersion: 1,
      name: 'notes',
      title: 'Notes',
      kind: 'api',
      port: 4901,
      instancePrefix: 'nts',
      credentials: { methods: [aKeyMethod] },
      api: {
        headers: { authorization: { $userToken: 'Bearer {{token}}' } },
        ...api,
        egress: { allowPrivate: true, ...(api.egress as JsonObject | undefined) },
      },
      ...changes,
    };
    mkdirSync(join(dir, 'notes'));
    writeFileSync(join(dir, 'notes', 'config.json'), JSON.stringify(config));
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

export const aKeyMethod = {
  id: 'key',
  type: 'fields',
  label: 'Key',
  tokenField: 'token',
  fields: [{ name: 'token', label: 'Key', type: 'secret' }],
};

export function aTool(name: string, request: JsonObject, changes: JsonObject = {}): JsonObject {
  return {
    name,
    description: `Does ${name}.`,
    inputSchema: { type: 'object', properties: {} },
    request,
    ...changes,
  };
}

export interface OpenedApi extends AsyncDisposable {
  readonly upstream: ApiUpstream;
  readonly states: readonly StateNote[];
}

export async function openApi(
  definition: ServiceDefinition,
  options: Partial<ApiUpstreamOptions> = {},
): Promise<OpenedApi> {
  const states: StateNote[] = [];
  const upstream = await createApiUpstream({
    definition,
    stateDir: tmpdir(),
    publicUrl: new URL('https://mcp.example.com'),
    recordState: (note) => void states.push(note),
    circuits: createCircuits(),
    log: { warn: () => undefined, info: () => undefined },
    ...options,
  });
  return { upstream, states, [Symbol.asyncDispose]: () => upstream[Symbol.asyncDispose]() };
}

/** The terms of one user's conversation. */
export function termsOf(
  user: string,
  token: string | null = `key-of-${user}`,
  changes: Partial<ConnectionTerms['instance']> = {},
  fields: Readonly<Record<string, string>> = {},
): ConnectionTerms {
  return {
    instance: {
      id: randomUUID(),
      userId: user,
      service: 'notes',
      label: 'default',
      epoch: 1,
      credentialMethod: 'key',
      credentialRevision: 1,
      overridesRevision: 0,
      state: 'ready',
      ...changes,
    },
    values: { token, fields: new Map(Object.entries({ ...(token === null ? {} : { token }), ...fields })) },
    client: { protocolVersion: '2025-11-25', capabilities: {}, clientInfo: { name: 'test', version: '1' } },
    sessionId: null,
    preferredEra: 'legacy',
  };
}

export interface ToolResult {
  readonly content: readonly {
    readonly type: string;
    readonly text: string;
    readonly mimeType?: string;
    readonly data?: string;
  }[];
  readonly isError?: boolean;
  readonly structuredContent?: JsonObject;
}

const nobodyListens = {
  onNotification: () => undefined,
  onServerRequest: () => Promise.reject(new Error('an api service asks its client nothing')),
};

export async function callTool(
  upstream: ApiUpstream,
  terms: ConnectionTerms,
  name: string,
  given: JsonObject = {},
  signal: AbortSignal = new AbortController().signal,
): Promise<ToolResult> {
  const connection = await upstream.connect(terms, signal);
  const response = await connection.request(
    { jsonrpc: '2.0', id: 7, method: 'tools/call', params: { name, arguments: given } },
    nobodyListens,
    signal,
  );
  if ('error' in response) throw new Error(`${response.error.code} ${response.error.message}`);
  return response.result as unknown as ToolResult;
}

/** Any other request, with its whole response. */
export async function ask(
  upstream: ApiUpstream,
  terms: ConnectionTerms,
  method: string,
  params: JsonObject = {},
): Promise<JsonObject> {
  const { signal } = new AbortController();
  const connection = await upstream.connect(terms, signal);
  const response = await connection.request(
    { jsonrpc: '2.0', id: 'a', method, params },
    nobodyListens,
    signal,
  );
  return response as unknown as JsonObject;
}
