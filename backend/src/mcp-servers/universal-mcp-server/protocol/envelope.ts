import type { JsonObject } from './jsonRpc.js';
import { modernRevisions } from './revisions.js';

/** What a request of the modern era says in `_meta`, since no session settled it (MCP 2026-07-28, "Per-request metadata"). */
export const envelope = {
  protocolVersion: 'io.modelcontextprotocol/protocolVersion',
  clientInfo: 'io.modelcontextprotocol/clientInfo',
  clientCapabilities: 'io.modelcontextprotocol/clientCapabilities',
  logLevel: 'io.modelcontextprotocol/logLevel',
  serverInfo: 'io.modelcontextprotocol/serverInfo',
  subscriptionId: 'io.modelcontextprotocol/subscriptionId',
} as const;

/** The members that every request has to carry, of a client that says this of itself. */
export function toEnvelope(client: {
  readonly clientInfo: JsonObject;
  readonly capabilities: JsonObject;
}): JsonObject {
  return {
    [envelope.protocolVersion]: modernRevisions[0],
    [envelope.clientInfo]: client.clientInfo,
    [envelope.clientCapabilities]: client.capabilities,
  };
}
