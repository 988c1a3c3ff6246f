/** Callers of an MCP server, of either era: with a session that is open already, or with everything in each request. */
import type { Client } from 'undici';
import { openLegacySession } from './legacySession.js';
import { callOnce, type Caller } from './load.js';

/** Who calls, and where. */
export interface Person {
  readonly path: string;
  readonly credential: string;
  /** Headers of theirs besides the protocol's own; nothing where the gateway adds the credential. */
  readonly headers?: Readonly<Record<string, string>>;
}

const jsonHeaders = { 'content-type': 'application/json', accept: 'application/json, text/event-stream' };
const modernRevision = '2026-07-28';
const clientInfo = { name: 'bench', version: '1.0.0' };
const envelope = {
  'io.modelcontextprotocol/protocolVersion': modernRevision,
  'io.modelcontextprotocol/clientInfo': clientInfo,
  'io.modelcontextprotocol/clientCapabilities': {},
};

/** @param bytes of filler in each answer; absent: what the upstream adds by itself. */
const callBody = (bytes: number | undefined, meta: object): string => {
  const params = { name: 'whoami', arguments: bytes === undefined ? {} : { bytes }, ...meta };
  return JSON.stringify({ jsonrpc: '2.0', id: 1, method: 'tools/call', params });
};

export function legacyCallers(origin: string, people: readonly Person[], bytes?: number): Promise<Caller[]> {
  return Promise.all(
    people.map(async ({ path, credential, headers: own = {} }) => {
      const headers = { ...jsonHeaders, ...own };
      const session = await openLegacySession(origin, path, headers);
      const body = callBody(bytes, {});
      return { origin, path, headers: { ...headers, ...session }, body, expected: credential };
    }),
  );
}

export function modernCallers(origin: string, people: readonly Person[], bytes?: number): Caller[] {
  const protocol = {
    'mcp-protocol-version': modernRevision,
    'mcp-method': 'tools/call',
    'mcp-name': 'whoami',
  };
  return people.map(({ path, credential, headers = {} }) => ({
    origin,
    path,
    headers: { ...jsonHeaders, ...protocol, ...headers },
    body: callBody(bytes, { _meta: envelope }),
    expected: credential,
  }));
}

/** Callers that open a session, list, call once and end it, again and again. */
export function churners(origin: string, people: readonly Person[]): Caller[] {
  return people.map(({ path, credential, headers = {} }) => ({
    origin,
    path,
    headers: { ...jsonHeaders, ...headers },
    body: callBody(undefined, {}),
    expected: credential,
    turn: churnOnce,
  }));
}

async function churnOnce(client: Client, { path, headers, body, expected }: Caller): Promise<void> {
  const post = async (message: object, more: Record<string, string>) => {
    const sent = JSON.stringify({ jsonrpc: '2.0', ...message });
    const answer = await client.request({
      method: 'POST',
      path,
      headers: { ...headers, ...more },
      body: sent,
    });
    await answer.body.dump();
    if (answer.statusCode > 202)
      throw new Error(`a step of a session was answered with ${answer.statusCode}`);
    return answer;
  };
  const params = { protocolVersion: '2025-11-25', capabilities: {}, clientInfo };
  const opened = await post({ id: 0, method: 'initialize', params }, {});
  const session = {
    'mcp-protocol-version': '2025-11-25',
    'mcp-session-id': String(opened.headers['mcp-session-id']),
  };
  await post({ method: 'notifications/initialized' }, session);
  await post({ id: 1, method: 'tools/list' }, session);
  await callOnce(client, { path, headers: { ...headers, ...session }, body, expected });
  const ended = await client.request({ method: 'DELETE', path, headers: { ...headers, ...session } });
  await ended.body.dump();
}
