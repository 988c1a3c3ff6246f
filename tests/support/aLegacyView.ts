/**
 * A legacy session's view of a modern server, with all that its client hears and is asked.
 *
 *   const session = await aLegacyView(server, { sampling: {} });
 *   await session.call('echo', { text: 'ahoy' });
 */
/* eslint-disable typescript/no-explicit-any -- results have the form that each test asserts */
import { createLegacyView } from '../../backend/src/mcp-servers/universal-mcp-server/bridge/legacyView.js';
import type {
  JsonObject,
  JsonRpcNotification,
  JsonRpcRequest,
  JsonRpcResponse,
} from '../../backend/src/mcp-servers/universal-mcp-server/protocol/jsonRpc.js';
import type { RequestListener } from '../../backend/src/mcp-servers/universal-mcp-server/upstream/upstream.js';
import { openModernConnection } from './modernHttpConnection.js';
import type { ModernServer } from './modernServer.js';

export const everyCapability = {
  sampling: {},
  elicitation: { form: {}, url: {} },
  roots: { listChanged: true },
  tasks: {},
};

/** What the client answers to each question, unless a test answers itself. */
export const cannedAnswers: Readonly<Record<string, JsonObject>> = {
  'sampling/createMessage': { role: 'assistant', content: { type: 'text', text: 'hi' }, model: 'm' },
  'elicitation/create': { action: 'accept', content: { name: 'Ada', first: '1', second: '2' } },
  'roots/list': { roots: [{ uri: 'file:///home/ada' }] },
};

type Ask = RequestListener['onServerRequest'];

export async function aLegacyView(
  server: ModernServer,
  capabilities: JsonObject = everyCapability,
  { logLevel = null, subscriptions = [] }: { logLevel?: string | null; subscriptions?: string[] } = {},
) {
  const connection = await openModernConnection(server.url);
  const heard: JsonRpcNotification[] = [];
  const asked: JsonRpcRequest[] = [];
  const background: JsonRpcNotification[] = [];
  let closed = 0;
  let ids = 0;
  const view = createLegacyView(connection, {
    client: { protocolVersion: '2025-11-25', capabilities, clientInfo: { name: 'old', version: '1' } },
    settled: { logLevel, subscriptions: new Set(subscriptions) },
    newId: () => `ours-${++ids}`,
    log: { debug: () => undefined },
  });
  view.listen({
    onNotification: (one) => void background.push(one),
    onServerRequest: () => Promise.reject(new Error('never asked')),
    onClosed: () => void (closed += 1),
  });
  const answerAll: Ask = (request) => {
    asked.push(request);
    return Promise.resolve({ jsonrpc: '2.0', id: request.id, result: cannedAnswers[request.method] ?? {} });
  };
  const send = async (
    method: string,
    params: JsonObject = {},
    onServerRequest = answerAll,
    signal = AbortSignal.timeout(10_000),
  ): Promise<any> => {
    const request = { jsonrpc: '2.0', id: 'mine', method, params } as const;
    const listener = { onNotification: (one: JsonRpcNotification) => void heard.push(one), onServerRequest };
    const response: JsonRpcResponse = await view.request(request, listener, signal);
    return response;
  };
  return {
    view,
    send,
    call: (name: string, args: JsonObject = {}) => send('tools/call', { name, arguments: args }),
    /** What came on the streams of requests, and outside any. */
    heard,
    background,
    asked,
    get closed() {
      return closed;
    },
    /** Loses the connection below. */
    lose: () => connection.lose(),
    [Symbol.dispose]: () => view.release(),
  };
}

export const sentBy = (server: ModernServer, tool: string) =>
  server.of('tools/call').filter(({ params }) => params['name'] === tool);

export const firstText = (response: any): string => response.result.content[0].text;
