/** Clients of both SDKs that hear of changed lists of tools, as hosts listen for them. */
import { Client as ClientV1 } from '@modelcontextprotocol/sdk/client/index.js';
import { SSEClientTransport } from '@modelcontextprotocol/sdk/client/sse.js';
import { StreamableHTTPClientTransport as TransportV1 } from '@modelcontextprotocol/sdk/client/streamableHttp.js';
import { ToolListChangedNotificationSchema } from '@modelcontextprotocol/sdk/types.js';
import {
  Client as ClientV2,
  StreamableHTTPClientTransport as TransportV2,
} from '@modelcontextprotocol/client';

export type ListeningKind = 'SDK v1' | 'SDK v1, HTTP+SSE' | 'SDK v2, legacy era' | 'SDK v2, modern era';

export interface ToolAnswer {
  readonly text: string;
  readonly isError: boolean;
}

export interface ListeningClient extends AsyncDisposable {
  /** How often it heard that the list of tools is another one. */
  readonly changes: number;
  /** All pages. */
  tools(): Promise<readonly { readonly name: string; readonly description?: string | undefined }[]>;
  names(): Promise<string[]>;
  call(name: string): Promise<ToolAnswer>;
}

interface SdkClient {
  listTools(params?: { cursor?: string }): Promise<{
    tools: { name: string; description?: string | undefined }[];
    nextCursor?: string | undefined;
  }>;
  callTool(params: { name: string; arguments: object }): Promise<{ readonly [member: string]: unknown }>;
  close(): Promise<void>;
}

const info = { name: 'listening-client', version: '1.0.0' };

export async function aListeningClient(kind: ListeningKind, instanceUrl: string): Promise<ListeningClient> {
  const heard = { changes: 0 };
  const onChange = async (): Promise<void> => void (heard.changes += 1);
  if (kind === 'SDK v1' || kind === 'SDK v1, HTTP+SSE') {
    const client = new ClientV1(info);
    client.setNotificationHandler(ToolListChangedNotificationSchema, onChange);
    const transport =
      kind === 'SDK v1'
        ? new TransportV1(new URL(instanceUrl))
        : new SSEClientTransport(new URL(`${instanceUrl}/sse`));
    await client.connect(transport);
    return toFace(client as unknown as SdkClient, heard);
  }
  const isModern = kind === 'SDK v2, modern era';
  const mode = isModern ? { pin: '2026-07-28' } : 'legacy';
  const client = new ClientV2(info, { versionNegotiation: { mode } });
  client.setNotificationHandler('notifications/tools/list_changed', onChange);
  await client.connect(new TransportV2(new URL(instanceUrl)));
  if (isModern) await client.listen({ toolsListChanged: true });
  return toFace(client as unknown as SdkClient, heard);
}

function toFace(sdk: SdkClient, heard: { readonly changes: number }): ListeningClient {
  const tools: ListeningClient['tools'] = async () => {
    const found: Awaited<ReturnType<SdkClient['listTools']>>['tools'] = [];
    for (let cursor: string | undefined, page = 0; page < 20; page += 1) {
      const answer = await sdk.listTools(cursor === undefined ? {} : { cursor });
      found.push(...answer.tools);
      cursor = answer.nextCursor;
      if (cursor === undefined) break;
    }
    return found;
  };
  return {
    get changes() {
      return heard.changes;
    },
    tools,
    names: async () => (await tools()).map(({ name }) => name),
    async call(name) {
      try {
        const answer = await sdk.callTool({ name, arguments: {} });
        const content = answer['content'] as { text?: string }[];
        return {
          text: content.map(({ text }) => text ?? '').join('\n'),
          isError: answer['isError'] === true,
        };
      } catch (error) {
        return { text: error instanceof Error ? error.message : String(error), isError: true };
      }
    },
    [Symbol.asyncDispose]: () => sdk.close(),
  };
}
