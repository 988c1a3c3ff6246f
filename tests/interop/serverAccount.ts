/**
 * What a client gets to know of an MCP server: who it says it is, its tools, and the answer to one call. The same server
 * gives the same account directly and through an instance URL, whichever client asks.
 */
import { Client as ClientV1 } from '@modelcontextprotocol/sdk/client/index.js';
import { StdioClientTransport } from '@modelcontextprotocol/sdk/client/stdio.js';
import { StreamableHTTPClientTransport as HttpV1 } from '@modelcontextprotocol/sdk/client/streamableHttp.js';
import { Client as ClientV2, StreamableHTTPClientTransport as HttpV2 } from '@modelcontextprotocol/client';
import type { ClientKind } from '../support/mcpClients.js';

export interface ServerAccount {
  readonly name: unknown;
  readonly version: unknown;
  readonly instructions: string | undefined;
  readonly tools: readonly Readonly<Record<string, unknown>>[];
  /** The result's content, or the error's code and message. */
  readonly answer: unknown;
}

export interface ToolCall {
  readonly name: string;
  readonly arguments: Readonly<Record<string, unknown>>;
}

const info = { name: 'portolan-interop', version: '1.0.0' };

/** Of a server started by this process, and the revision that was settled. */
export async function accountDirectly(
  command: { readonly command: string; readonly args: string[]; readonly env: Record<string, string> },
  call: ToolCall,
): Promise<{ readonly account: ServerAccount; readonly revision: string }> {
  const client = new ClientV1(info);
  const env = { PATH: process.env['PATH'] ?? '', ...command.env };
  let revision = '';
  const transport = Object.assign(new StdioClientTransport({ ...command, env, stderr: 'ignore' }), {
    setProtocolVersion: (settled: string) => void (revision = settled),
  });
  await client.connect(transport);
  return { account: await accountThenClose(client, call), revision };
}

/** Of the server behind an instance URL. */
export async function accountThrough(kind: ClientKind, url: string, call: ToolCall): Promise<ServerAccount> {
  if (kind === 'SDK v1') {
    const client = new ClientV1(info);
    await client.connect(new HttpV1(new URL(url)));
    return await accountThenClose(client, call);
  }
  const mode = kind === 'SDK v2, modern era' ? { pin: '2026-07-28' } : 'legacy';
  const client = new ClientV2(info, { versionNegotiation: { mode } });
  await client.connect(new HttpV2(new URL(url)));
  return await accountThenClose(client, call);
}

interface AnyClient {
  getServerVersion(): { name: string; version: string } | undefined;
  getInstructions(): string | undefined;
  listTools(): Promise<{ tools: object[] }>;
  callTool(params: { name: string; arguments: Record<string, unknown> }): Promise<object>;
  close(): Promise<void>;
}

export async function accountThenClose(client: AnyClient, call: ToolCall): Promise<ServerAccount> {
  try {
    return await accountOf(client, call);
  } finally {
    await client.close();
  }
}

async function accountOf(client: AnyClient, call: ToolCall): Promise<ServerAccount> {
  const server = client.getServerVersion();
  const { tools } = await client.listTools();
  return {
    name: server?.name,
    version: server?.version,
    instructions: client.getInstructions(),
    tools: tools.map((tool) => ({ ...tool })),
    answer: await client
      .callTool({ name: call.name, arguments: { ...call.arguments } })
      .then(toContent, toError),
  };
}

/** The members that a tool's result has in every revision. */
function toContent(result: object): unknown {
  const { content, structuredContent, isError = false } = result as Record<string, unknown>;
  return { content, structuredContent, isError };
}

/** SDK v1 puts the code in front of the message, on either side. */
function toError(error: unknown): unknown {
  const { code, message } = error as { code: number; message: string };
  return { code, message: message.replace(/^(?:MCP error -?\d+: )+/, '') };
}
