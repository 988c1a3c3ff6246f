/** A stdio upstream by itself, with the terms and listeners that a bridge would give it; `closeUpstreams` ends them all. */
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import type { StdioDefinition } from '../../backend/src/catalog/mcpServerDefinitions.js';
import type {
  JsonObject,
  JsonRpcNotification,
  JsonRpcRequest,
  JsonRpcResponse,
} from '../../backend/src/mcp-servers/universal-mcp-server/protocol/jsonRpc.js';
import {
  findTools,
  plainForm,
} from '../../backend/src/mcp-servers/universal-mcp-server/upstream/stdio/isolation/forms.js';
import type { ServiceIsolation } from '../../backend/src/mcp-servers/universal-mcp-server/upstream/stdio/isolation/serviceIsolation.js';
import {
  createStdioUpstream,
  type StdioUpstream,
} from '../../backend/src/mcp-servers/universal-mcp-server/upstream/stdio/stdioUpstream.js';
import type {
  ConnectionTerms,
  RequestListener,
  UpstreamConnection,
} from '../../backend/src/mcp-servers/universal-mcp-server/upstream/upstream.js';
import { createLogger } from '../../backend/src/telemetry/logger.js';
import { aHostileService } from './aStdioService.js';

const projectRoot = join(import.meta.dirname, '..', '..');
const opened: { upstream: StdioUpstream; stateDir: string }[] = [];

export async function closeUpstreams(): Promise<void> {
  for (const { upstream, stateDir } of opened.splice(0)) {
    await upstream[Symbol.asyncDispose]();
    rmSync(stateDir, { recursive: true, force: true });
  }
}

export function anUpstream(
  stdio: Partial<StdioDefinition> = {},
  {
    env = {},
    service = aHostileService(stdio),
    isolation,
    stateDir = mkdtempSync(join(tmpdir(), 'stdio-')),
  }: {
    env?: Record<string, string>;
    service?: ReturnType<typeof aHostileService>;
    /** Plain children without it. */
    isolation?: ServiceIsolation;
    stateDir?: string;
  } = {},
): { upstream: StdioUpstream; stateDir: string } {
  const plain = plainForm(findTools());
  const upstream = createStdioUpstream({
    definition: service,
    mode: 'shared',
    places: {
      stateDir,
      instanceDataDir: join(stateDir, 'instances'),
      packagesDir: join(stateDir, 'packages'),
      projectRoot,
      inheritedEnv: (name) => env[name] ?? (name === 'PATH' ? process.env['PATH'] : undefined),
    },
    isolation: isolation ?? { form: 'none', launch: plain, isRefused: false, lacks: null },
    log: createLogger({ level: 'silent', program: 'test' }),
  });
  opened.push({ upstream, stateDir });
  return { upstream, stateDir };
}

export interface Who {
  id?: string;
  userId?: string;
  credentialRevision?: number;
  sessionId?: string | null;
  capabilities?: JsonObject;
  fields?: Record<string, string>;
  preferredEra?: ConnectionTerms['preferredEra'];
}

export const termsOf = (who: Who = {}): ConnectionTerms => ({
  instance: {
    id: who.id ?? 'instance-a',
    userId: who.userId ?? 'user-a',
    service: 'everything',
    label: 'default',
    epoch: 1,
    credentialMethod: 'none',
    credentialRevision: who.credentialRevision ?? 1,
    overridesRevision: 1,
    state: 'ready',
  },
  values: { token: null, fields: new Map(Object.entries(who.fields ?? {})) },
  client: {
    protocolVersion: '2025-11-25',
    capabilities: who.capabilities ?? {},
    clientInfo: { name: 'test', version: '1' },
  },
  sessionId: who.sessionId === undefined ? 'session-a' : who.sessionId,
  preferredEra: who.preferredEra ?? 'legacy',
});

export const never = new AbortController().signal;

/** Hears everything, and answers what the server asks with `answer`. */
export function aListener(
  answer: JsonObject = {},
): RequestListener & { heard: JsonRpcNotification[]; asked: JsonRpcRequest[] } {
  const heard: JsonRpcNotification[] = [];
  const asked: JsonRpcRequest[] = [];
  return {
    heard,
    asked,
    onNotification: (notification) => void heard.push(notification),
    onServerRequest(request) {
      asked.push(request);
      return Promise.resolve({ jsonrpc: '2.0', id: request.id, result: answer });
    },
  };
}

let requests = 0;
export function call(
  connection: UpstreamConnection,
  name: string,
  args: JsonObject = {},
  {
    listener = aListener(),
    signal = never,
    meta,
    more = {},
  }: { listener?: RequestListener; signal?: AbortSignal; meta?: JsonObject; more?: JsonObject } = {},
): Promise<JsonRpcResponse> {
  const params = { name, arguments: args, ...(meta ? { _meta: meta } : {}), ...more };
  return connection.request(
    { jsonrpc: '2.0', id: `r${++requests}`, method: 'tools/call', params },
    listener,
    signal,
  );
}

export function textOf(response: JsonRpcResponse): string {
  if (!('result' in response)) throw new Error(`an error came: ${JSON.stringify(response.error)}`);
  const [first] = response.result['content'] as { text: string }[];
  return first?.text ?? '';
}

export const codeOf = (work: Promise<unknown>): Promise<unknown> =>
  work.then(
    () => 'resolved',
    (error: { code?: string }) => error.code,
  );
