/**
 * A modern upstream connection with as little between it and the server as there can be: one POST for each request, its
 * answer as JSON or as a stream. It stands where the product's own connection would, for tests of what uses one.
 */
import {
  isJsonObject,
  type JsonRpcResponse,
} from '../../backend/src/mcp-servers/universal-mcp-server/protocol/jsonRpc.js';
import type {
  BackgroundListener,
  UpstreamConnection,
} from '../../backend/src/mcp-servers/universal-mcp-server/upstream/upstream.js';
import { parseEvents } from './mcpHttp.js';

const revision = '2026-07-28';
const envelope = {
  'io.modelcontextprotocol/protocolVersion': revision,
  'io.modelcontextprotocol/clientInfo': { name: 'double', version: '1' },
  'io.modelcontextprotocol/clientCapabilities': {},
};

export async function openModernConnection(url: string): Promise<UpstreamConnection & { lose(): void }> {
  const background = new Set<BackgroundListener>();
  const request: UpstreamConnection['request'] = async (sent, listener, signal) => {
    const name = sent.params?.['name'] ?? sent.params?.['uri'];
    const response = await fetch(url, {
      method: 'POST',
      signal,
      headers: {
        'content-type': 'application/json',
        accept: 'application/json, text/event-stream',
        'mcp-protocol-version': revision,
        'mcp-method': sent.method,
        ...(typeof name === 'string' ? { 'mcp-name': name } : {}),
      },
      body: JSON.stringify(sent),
    });
    if (response.headers.get('content-type')?.startsWith('text/event-stream') !== true)
      return (await response.json()) as JsonRpcResponse;
    let rest = '';
    for await (const chunk of response.body!.pipeThrough(new TextDecoderStream())) {
      const frames = (rest + chunk).split('\n\n');
      rest = frames.pop() ?? '';
      for (const message of frames.flatMap((frame) => parseEvents(frame))) {
        if ('id' in message) return message;
        listener.onNotification(message);
      }
    }
    throw new Error('the stream ended without its answer');
  };
  const hears = { onNotification() {}, onServerRequest: () => Promise.reject(new Error('no requests')) };
  const discover = {
    jsonrpc: '2.0',
    id: 'd',
    method: 'server/discover',
    params: { _meta: envelope },
  } as const;
  const discovered = await request(discover, hears, AbortSignal.timeout(5_000));
  if ('error' in discovered) throw new Error(discovered.error.message);
  const { capabilities, instructions, _meta } = discovered.result as Record<string, never>;
  const serverInfo: unknown = _meta?.['io.modelcontextprotocol/serverInfo'];
  return {
    era: 'modern',
    server: {
      protocolVersion: revision,
      capabilities: capabilities ?? {},
      serverInfo: isJsonObject(serverInfo) ? serverInfo : {},
      ...(instructions === undefined ? {} : { instructions }),
    },
    request,
    notify: () => undefined,
    listen(listener) {
      background.add(listener);
      return () => void background.delete(listener);
    },
    release: () => background.clear(),
    lose() {
      for (const listener of background) listener.onClosed();
    },
  };
}
