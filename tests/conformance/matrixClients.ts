/**
 * The clients of the matrix, behind one face: each era over each transport that it has, on the SDK that people use. Every
 * client can be asked for samples, forms and roots, answers always the same, and keeps what it hears.
 */
import { Client as ClientV1 } from '@modelcontextprotocol/sdk/client/index.js';
import { SSEClientTransport } from '@modelcontextprotocol/sdk/client/sse.js';
import { StreamableHTTPClientTransport as HttpV1 } from '@modelcontextprotocol/sdk/client/streamableHttp.js';
import {
  CallToolResultSchema,
  CreateMessageRequestSchema,
  ElicitRequestSchema,
  ListRootsRequestSchema,
} from '@modelcontextprotocol/sdk/types.js';
import { Client as ClientV2, StreamableHTTPClientTransport as HttpV2 } from '@modelcontextprotocol/client';
import { waitUntil } from '../support/eventually.js';
import type { FixtureEra } from './fixtureProcess.js';

export const matrixClientNames = [
  'SDK v1, Streamable HTTP',
  'SDK v1, HTTP+SSE',
  'SDK v2, legacy era',
  'SDK v2, modern era',
] as const;
export type MatrixClientName = (typeof matrixClientNames)[number];

interface Members {
  readonly [member: string]: unknown;
}
export interface Heard {
  readonly method: string;
  readonly params: Members;
}
export interface CallOptions {
  readonly onprogress?: (progress: object) => void;
  readonly signal?: AbortSignal;
}

/** What both SDKs' clients have in common; results are taken as they come over the wire. */
interface CommonClient {
  listTools(): Promise<{ tools: Members[] }>;
  listPrompts(): Promise<{ prompts: Members[] }>;
  listResources(): Promise<{ resources: Members[] }>;
  listResourceTemplates(): Promise<{ resourceTemplates: Members[] }>;
  getPrompt(params: { name: string; arguments?: Record<string, string> }): Promise<Members>;
  readResource(params: { uri: string }): Promise<Members>;
  complete(params: {
    ref: { type: 'ref/prompt'; name: string } | { type: 'ref/resource'; uri: string };
    argument: { name: string; value: string };
  }): Promise<Members>;
}

export interface MatrixClient extends CommonClient, AsyncDisposable {
  readonly era: FixtureEra;
  readonly isSse: boolean;
  /** SDK v2 tells its callers of a resource that there is none with −32602 in either era. */
  readonly isV1: boolean;
  /** What was heard outside requests, and the log messages, in order. */
  readonly heard: Heard[];
  call(name: string, args?: Record<string, unknown>, options?: CallOptions): Promise<Members>;
  /** From now on calls log from this level on. */
  logFrom(level: 'warning' | 'debug'): Promise<void>;
  /** Hears of changes of all lists, and of these resources. */
  watch(uris: readonly string[]): Promise<void>;
  /** Waits for a notification that was not there before. @throws after 2 s */
  hear(method: string, act: () => Promise<unknown>): Promise<Heard>;
}

const info = { name: 'portolan-matrix', version: '1.0.0' };
const capabilities = { sampling: {}, elicitation: {}, roots: {} };

export const roots = [{ uri: 'file:///projects/one', name: 'one' }, { uri: 'file:///projects/two' }];
const toSample = (asked: unknown) => ({
  role: 'assistant' as const,
  model: 'test',
  content: { type: 'text' as const, text: `sampled for ${textIn(asked)}` },
});
const toForm = (asked: { params: unknown }) => ({
  action: 'accept' as const,
  content: { username: 'ada', email: `${(asked.params as { message: string }).message}@example.com` },
});
const textIn = (asked: unknown): string =>
  String(
    (asked as { params: { messages: { content: { text: string } }[] } }).params.messages[0]?.content.text,
  );

export async function connectMatrixClient(name: MatrixClientName, url: string): Promise<MatrixClient> {
  return name.startsWith('SDK v1') ? await connectV1(name, url) : await connectV2(name, url);
}

async function connectV1(name: MatrixClientName, url: string): Promise<MatrixClient> {
  const isSse = name === 'SDK v1, HTTP+SSE';
  const client = new ClientV1(info, { capabilities });
  const heard: Heard[] = [];
  client.setRequestHandler(CreateMessageRequestSchema, toSample);
  client.setRequestHandler(ElicitRequestSchema, toForm);
  client.setRequestHandler(ListRootsRequestSchema, () => ({ roots }));
  client.fallbackNotificationHandler = (notification) => keep(heard, notification);
  await client.connect(isSse ? new SSEClientTransport(new URL(`${url}/sse`)) : new HttpV1(new URL(url)));
  return {
    ...commonOf(client),
    era: 'legacy',
    isSse,
    isV1: true,
    heard,
    call: (tool, args = {}, options = {}) =>
      client.callTool({ name: tool, arguments: args }, CallToolResultSchema, options),
    logFrom: async (level) => void (await client.setLoggingLevel(level)),
    async watch(uris) {
      for (const uri of uris) await client.subscribeResource({ uri });
    },
    hear: (method, act) => hear(heard, method, act),
    [Symbol.asyncDispose]: () => client.close(),
  };
}

async function connectV2(name: MatrixClientName, url: string): Promise<MatrixClient> {
  const era = name === 'SDK v2, modern era' ? 'modern' : 'legacy';
  const mode = era === 'modern' ? { pin: '2026-07-28' } : 'legacy';
  const client = new ClientV2(info, { capabilities, versionNegotiation: { mode } });
  const heard: Heard[] = [];
  client.setRequestHandler('sampling/createMessage', toSample);
  client.setRequestHandler('elicitation/create', toForm);
  client.setRequestHandler('roots/list', () => ({ roots }));
  client.fallbackNotificationHandler = (notification) => keep(heard, notification);
  await client.connect(new HttpV2(new URL(url)));
  let meta: Members = {};
  return {
    ...commonOf(client),
    era,
    isSse: false,
    isV1: false,
    heard,
    call: (tool, args = {}, options = {}) =>
      client.callTool({ name: tool, arguments: args, _meta: meta }, options),
    async logFrom(level) {
      if (era === 'legacy') await client.setLoggingLevel(level);
      else meta = { 'io.modelcontextprotocol/logLevel': level };
    },
    async watch(uris) {
      if (era === 'legacy') {
        for (const uri of uris) await client.subscribeResource({ uri });
        return;
      }
      await client.listen({
        toolsListChanged: true,
        promptsListChanged: true,
        resourcesListChanged: true,
        resourceSubscriptions: [...uris],
      });
    },
    hear: (method, act) => hear(heard, method, act),
    [Symbol.asyncDispose]: () => client.close(),
  };
}

function commonOf(client: CommonClient): CommonClient {
  return {
    listTools: () => client.listTools(),
    listPrompts: () => client.listPrompts(),
    listResources: () => client.listResources(),
    listResourceTemplates: () => client.listResourceTemplates(),
    getPrompt: (params) => client.getPrompt(params),
    readResource: (params) => client.readResource(params),
    complete: (params) => client.complete(params),
  };
}

function keep(heard: Heard[], { method, params }: { method: string; params?: unknown }): Promise<void> {
  heard.push({ method, params: { ...(params as object) } });
  return Promise.resolve();
}

async function hear(heard: readonly Heard[], method: string, act: () => Promise<unknown>): Promise<Heard> {
  const before = heard.length;
  const find = (): Heard | undefined => heard.slice(before).find((one) => one.method === method);
  await act();
  await waitUntil(method, () => find() !== undefined, 2_000);
  return find() as Heard;
}
