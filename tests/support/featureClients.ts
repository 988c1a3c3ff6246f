/**
 * Clients of the legacy era with everything that the SDKs let them do, by each SDK and transport, behind one face: what
 * their servers ask is kept and answered, what they are told is kept.
 */
/* eslint-disable typescript/no-explicit-any -- both SDKs' results, as loosely as tests need them */
import { Client as ClientV1 } from '@modelcontextprotocol/sdk/client/index.js';
import { SSEClientTransport } from '@modelcontextprotocol/sdk/client/sse.js';
import { StreamableHTTPClientTransport as TransportV1 } from '@modelcontextprotocol/sdk/client/streamableHttp.js';
import {
  CreateMessageRequestSchema,
  ElicitRequestSchema,
  ListRootsRequestSchema,
} from '@modelcontextprotocol/sdk/types.js';
import {
  Client as ClientV2,
  StreamableHTTPClientTransport as TransportV2,
} from '@modelcontextprotocol/client';
import { cannedAnswers } from './aLegacyView.js';

export const featureClientKinds = [
  'SDK v1, Streamable HTTP',
  'SDK v1, HTTP+SSE',
  'SDK v2, legacy era',
] as const;
export type FeatureClientKind = (typeof featureClientKinds)[number];

const info = { name: 'feature-client', version: '1.0.0' };
export const allCapabilities = {
  sampling: {},
  elicitation: { form: {}, url: {} },
  roots: { listChanged: true },
};

export interface CallOptions {
  readonly onprogress?: (progress: any) => void;
  readonly signal?: AbortSignal;
}

/** What both SDKs' clients can do. */
interface SdkClient {
  listTools(): Promise<any>;
  callTool(params: any, schemaOrOptions?: any, options?: any): Promise<any>;
  listPrompts(): Promise<any>;
  getPrompt(params: any): Promise<any>;
  listResources(params?: any): Promise<any>;
  listResourceTemplates(): Promise<any>;
  readResource(params: any): Promise<any>;
  complete(params: any): Promise<any>;
  setLoggingLevel(level: any): Promise<any>;
  subscribeResource(params: any): Promise<any>;
  unsubscribeResource(params: any): Promise<any>;
  ping(): Promise<any>;
  sendRootsListChanged(): Promise<void>;
  getServerCapabilities(): any;
  getServerVersion(): any;
  getInstructions(): string | undefined;
  close(): Promise<void>;
}

export interface FeatureClient extends AsyncDisposable {
  readonly sdk: SdkClient;
  readonly asked: { method: string; params: any }[];
  readonly told: { method: string; params?: any }[];
  call(name: string, args?: object, options?: CallOptions): Promise<any>;
}

export async function aFeatureClient(
  kind: FeatureClientKind,
  instanceUrl: string,
  capabilities: object = allCapabilities,
): Promise<FeatureClient> {
  const asked: FeatureClient['asked'] = [];
  const told: FeatureClient['told'] = [];
  const answer = ({ method, params }: { method: string; params?: any }): any => {
    asked.push({ method, params });
    return cannedAnswers[method];
  };
  const has = (name: string): boolean => name in capabilities;
  if (kind === 'SDK v2, legacy era') {
    const client = new ClientV2(info, { capabilities, versionNegotiation: { mode: 'legacy' } });
    if (has('sampling')) client.setRequestHandler('sampling/createMessage', answer);
    if (has('elicitation')) client.setRequestHandler('elicitation/create', answer);
    if (has('roots')) client.setRequestHandler('roots/list', answer);
    client.fallbackNotificationHandler = async (one) => void told.push(one);
    await client.connect(new TransportV2(new URL(instanceUrl)));
    return toFace(client, asked, told, (params, options) => client.callTool(params, options));
  }
  const client = new ClientV1(info, { capabilities });
  if (has('sampling')) client.setRequestHandler(CreateMessageRequestSchema, answer);
  if (has('elicitation')) client.setRequestHandler(ElicitRequestSchema, answer);
  if (has('roots')) client.setRequestHandler(ListRootsRequestSchema, answer);
  client.fallbackNotificationHandler = async (one) => void told.push(one);
  const transport =
    kind === 'SDK v1, HTTP+SSE'
      ? new SSEClientTransport(new URL(`${instanceUrl}/sse`))
      : new TransportV1(new URL(instanceUrl));
  await client.connect(transport);
  return toFace(client, asked, told, (params, options) => client.callTool(params, undefined, options));
}

function toFace(
  sdk: SdkClient,
  asked: FeatureClient['asked'],
  told: FeatureClient['told'],
  callTool: (params: any, options: any) => Promise<any>,
): FeatureClient {
  return {
    sdk,
    asked,
    told,
    call: (name, args = {}, options = {}) => callTool({ name, arguments: args }, options),
    [Symbol.asyncDispose]: () => sdk.close(),
  };
}
