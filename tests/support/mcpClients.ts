/** The MCP clients that people use, by the SDKs they are built on, behind one small face. */
import { Client as ClientV1 } from '@modelcontextprotocol/sdk/client/index.js';
import { StreamableHTTPClientTransport as TransportV1 } from '@modelcontextprotocol/sdk/client/streamableHttp.js';
import {
  Client as ClientV2,
  StreamableHTTPClientTransport as TransportV2,
} from '@modelcontextprotocol/client';

export const clientKinds = ['SDK v1', 'SDK v2, legacy era', 'SDK v2, modern era'] as const;
export type ClientKind = (typeof clientKinds)[number];

export interface TestClient extends AsyncDisposable {
  toolNames(): Promise<string[]>;
  /** The text of a tool's answer. @throws when the answer is an error */
  callTool(name: string, args?: Record<string, unknown>): Promise<string>;
}

/** What both SDKs answer, seen as loosely as a test needs it. */
interface ToolAnswer {
  readonly [member: string]: unknown;
}

const info = { name: 'portolan-test', version: '1.0.0' };
const modernRevision = '2026-07-28';

export async function connectClient(kind: ClientKind, instanceUrl: string): Promise<TestClient> {
  const url = new URL(instanceUrl);
  if (kind === 'SDK v1') {
    const client = new ClientV1(info);
    await client.connect(new TransportV1(url));
    return toTestClient(client, (name, args) => client.callTool({ name, arguments: args }));
  }
  const mode = kind === 'SDK v2, modern era' ? { pin: modernRevision } : 'legacy';
  const client = new ClientV2(info, { versionNegotiation: { mode } });
  await client.connect(new TransportV2(url));
  return toTestClient(client, (name, args) => client.callTool({ name, arguments: args }));
}

function toTestClient(
  client: { listTools(): Promise<{ tools: { name: string }[] }>; close(): Promise<void> },
  call: (name: string, args: Record<string, unknown>) => Promise<ToolAnswer>,
): TestClient {
  return {
    toolNames: async () => (await client.listTools()).tools.map(({ name }) => name),
    async callTool(name, args = {}) {
      const answer = await call(name, args);
      const text = textOf(answer.content);
      if (answer.isError === true) throw new Error(text);
      return text;
    },
    [Symbol.asyncDispose]: () => client.close(),
  };
}

function textOf(content: unknown): string {
  const parts = Array.isArray(content) ? (content as { type: string; text?: string }[]) : [];
  return parts.map(({ text }) => text ?? '').join('\n');
}
