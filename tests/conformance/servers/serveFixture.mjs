// node serveFixture.mjs <legacy|modern> <stdio|streamable-http|sse>: serves a fixture until its standard input ends, so that
// it never outlives who started it. Over HTTP it listens on a loopback port of its own choice and writes its URL as a line.
import { randomUUID } from 'node:crypto';
import { createServer } from 'node:http';
import { localhostHostValidation, toNodeHandler } from '@modelcontextprotocol/node';
import { createMcpHandler } from '@modelcontextprotocol/server';
import { serveStdio } from '@modelcontextprotocol/server/stdio';
import { SSEServerTransport } from '@modelcontextprotocol/sdk/server/sse.js';
import { StdioServerTransport } from '@modelcontextprotocol/sdk/server/stdio.js';
import { StreamableHTTPServerTransport } from '@modelcontextprotocol/sdk/server/streamableHttp.js';
import { createLegacyFixture } from './legacyFixture.mjs';
import { createModernFixture } from './modernFixture.mjs';

const [era, transport] = process.argv.slice(2);
const isLocal = localhostHostValidation();

if (transport === 'stdio') {
  process.stdin.on('end', () => process.exit(0));
  if (era === 'legacy') await createLegacyFixture().connect(new StdioServerTransport());
  else serveModernStdio();
} else {
  const handle =
    era === 'modern' ? serveModern() : transport === 'sse' ? serveLegacySse() : serveLegacyStreamable();
  const server = createServer((request, response) => {
    if (!isLocal(request, response)) return;
    Promise.resolve(handle(request, response)).catch((error) => {
      console.error(error);
      if (!response.headersSent) response.writeHead(500);
      response.end();
    });
  });
  server.listen(0, '127.0.0.1', () => {
    const path = transport === 'sse' ? 'sse' : 'mcp';
    console.log(`http://127.0.0.1:${server.address().port}/${path}`);
  });
  process.stdin.resume().on('end', () => process.exit(0));
}

/** Sessions of 2025-11-25 with resumption: every event has an id, and a stream that was cut goes on where it ended. */
function serveLegacyStreamable() {
  const fixture = createLegacyFixture();
  const transports = new Map();
  return async (request, response) => {
    const sessionId = request.headers['mcp-session-id'];
    if (sessionId !== undefined) {
      const known = transports.get(sessionId);
      if (known === undefined) return refuse(response, 404, -32001, 'Session not found');
      return known.handleRequest(request, response);
    }
    if (request.method !== 'POST') return refuse(response, 400, -32000, 'A session id is required');
    const session = new StreamableHTTPServerTransport({
      sessionIdGenerator: randomUUID,
      eventStore: createEventStore(),
      retryInterval: 500,
      onsessioninitialized: (id) => void transports.set(id, session),
      onsessionclosed: (id) => void transports.delete(id),
    });
    await fixture.connect(session);
    return session.handleRequest(request, response);
  };
}

function createEventStore() {
  const events = [];
  return {
    async storeEvent(streamId, message) {
      events.push({ streamId, message });
      return `${streamId}/${events.length}`;
    },
    async getStreamIdForEventId(eventId) {
      return eventId.slice(0, eventId.lastIndexOf('/'));
    },
    async replayEventsAfter(lastEventId, { send }) {
      const at = lastEventId.lastIndexOf('/');
      const streamId = lastEventId.slice(0, at);
      for (let index = Number(lastEventId.slice(at + 1)); index < events.length; index += 1) {
        const { streamId: of, message } = events[index];
        // The event that opens a stream carries no message.
        if (of === streamId && message.jsonrpc !== undefined) await send(`${streamId}/${index + 1}`, message);
      }
      return streamId;
    },
  };
}

/** HTTP+SSE of 2024-11-05: one stream for each session, messages posted beside it. */
function serveLegacySse() {
  const fixture = createLegacyFixture();
  const transports = new Map();
  return async (request, response) => {
    const url = new URL(request.url, 'http://localhost');
    if (request.method === 'GET' && url.pathname === '/sse') {
      const session = new SSEServerTransport('/message', response);
      transports.set(session.sessionId, session);
      response.on('close', () => transports.delete(session.sessionId));
      return fixture.connect(session);
    }
    const known = transports.get(url.searchParams.get('sessionId'));
    if (request.method !== 'POST' || known === undefined)
      return refuse(response, 404, -32001, 'Session not found');
    return known.handlePostMessage(request, response);
  };
}

function serveModern() {
  const fixture = createModernFixture();
  const handler = createMcpHandler(() => fixture.createServer().mcp, { legacy: 'reject' });
  fixture.announce = ({ list, uri }) => {
    if (uri !== undefined) handler.notify.resourceUpdated(uri);
    else handler.notify[`${list}Changed`]();
  };
  return toNodeHandler(handler);
}

/** One server for the whole connection: what it announces goes to the subscriptions that are open on it. */
function serveModernStdio() {
  const fixture = createModernFixture();
  serveStdio(
    () => {
      const { mcp, addTools } = fixture.createServer();
      fixture.announce = ({ list, uri }) => {
        if (uri !== undefined) return mcp.server.sendResourceUpdated({ uri });
        if (list === 'tools') return addTools();
        return mcp.server.notification({ method: `notifications/${list}/list_changed` });
      };
      return mcp;
    },
    { legacy: 'reject' },
  );
}

function refuse(response, status, code, message) {
  response.writeHead(status, { 'content-type': 'application/json' });
  response.end(JSON.stringify({ jsonrpc: '2.0', id: null, error: { code, message } }));
}
