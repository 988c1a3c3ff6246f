/** Raw Streamable HTTP for tests that look at statuses, headers and frames; no SDK smooths anything over. */
/* eslint-disable typescript/no-explicit-any -- what comes over the wire has the form that each test asserts */
import { request as httpRequest, type ClientRequest, type IncomingMessage } from 'node:http';

export interface RawAnswer {
  readonly status: number;
  readonly headers: IncomingMessage['headers'];
  readonly text: string;
  /** The body, or the last event of a stream, as JSON. */
  readonly json: any;
  /** All messages of a stream. */
  readonly events: any[];
}

export interface RawRequest {
  readonly method?: string;
  readonly headers?: Readonly<Record<string, string>>;
  readonly body?: unknown;
  /** Where it comes from; the loopback has 16 million addresses. */
  readonly localAddress?: string;
}

const both = 'application/json, text/event-stream';

/** Sends it as it is, without normalising the path. */
export function startRequest(
  url: string,
  { method = 'POST', headers = {}, body, localAddress }: RawRequest = {},
): {
  readonly request: ClientRequest;
  readonly response: Promise<IncomingMessage>;
} {
  const { origin, host } = new URL(url);
  const text = body === undefined ? undefined : typeof body === 'string' ? body : JSON.stringify(body);
  const request = httpRequest(origin, {
    path: url.slice(origin.length),
    method,
    headers: {
      host,
      accept: both,
      ...(text === undefined
        ? {}
        : { 'content-type': 'application/json', 'content-length': String(Buffer.byteLength(text)) }),
      ...headers,
    },
    agent: false,
    ...(localAddress === undefined ? {} : { localAddress }),
  });
  const response = new Promise<IncomingMessage>((resolve, reject) => {
    request.on('response', resolve);
    request.on('error', reject);
  });
  request.end(text);
  return { request, response };
}

export async function send(url: string, wish: RawRequest = {}): Promise<RawAnswer> {
  const message = await startRequest(url, wish).response;
  let text = '';
  message.setEncoding('utf8');
  for await (const chunk of message) text += String(chunk);
  const isStream = message.headers['content-type']?.startsWith('text/event-stream') === true;
  const events = isStream ? parseEvents(text) : [];
  return {
    status: message.statusCode ?? 0,
    headers: message.headers,
    text,
    events,
    json: isStream
      ? events.at(-1)
      : /json/.test(message.headers['content-type'] ?? '')
        ? JSON.parse(text)
        : null,
  };
}

export function parseEvents(text: string): any[] {
  return text
    .split('\n\n')
    .map((frame) => /^data: ([^\n]*)/m.exec(frame)?.[1])
    .filter((data): data is string => data !== undefined && data !== '')
    .map((data) => JSON.parse(data));
}

/** A stream whose messages are taken one by one. */
export interface EventReader {
  readonly status: number;
  readonly headers: IncomingMessage['headers'];
  /** The next message that fits; earlier ones are dropped. Undefined when the stream ended first. */
  next(fits?: (message: any) => boolean): Promise<any>;
  readonly ended: Promise<void>;
  /** Of the last event that came. */
  readonly lastEventId: string | null;
  close(): void;
}

export async function openEvents(url: string, wish: RawRequest): Promise<EventReader> {
  const { request, response } = startRequest(url, wish);
  const message = await response;
  const queue: any[] = [];
  let wake: (() => void) | null = null;
  let isOver = false;
  let rest = '';
  let lastEventId: string | null = null;
  message.on('data', (chunk: Buffer) => {
    const frames = (rest + chunk.toString('utf8')).split('\n\n');
    rest = frames.pop() ?? '';
    for (const frame of frames) {
      lastEventId = /^id: (.*)$/m.exec(frame)?.[1] ?? lastEventId;
      queue.push(...parseEvents(frame));
    }
    wake?.();
  });
  const ended = new Promise<void>((resolve) => {
    message.on('close', () => {
      isOver = true;
      wake?.();
      resolve();
    });
  });
  message.on('error', () => {});
  request.on('error', () => {});
  return {
    status: message.statusCode ?? 0,
    headers: message.headers,
    async next(fits = () => true) {
      for (;;) {
        while (queue.length > 0) {
          const found = queue.shift();
          if (fits(found)) return found;
        }
        if (isOver) return undefined;
        await new Promise<void>((resolve) => {
          wake = resolve;
        });
        wake = null;
      }
    },
    ended,
    get lastEventId() {
      return lastEventId;
    },
    close: () => request.destroy(),
  };
}

export interface LegacyConversation {
  readonly url: string;
  readonly sessionId: string;
  readonly headers: Readonly<Record<string, string>>;
  readonly result: any;
  request(method: string, params?: object): Promise<RawAnswer>;
  call(name: string, args?: object, meta?: object): Promise<RawAnswer>;
  /** A request whose answer is read event by event, with the id that it has. */
  open(method: string, params?: object): Promise<EventReader & { readonly requestId: string }>;
  notify(method: string, params?: object): Promise<RawAnswer>;
  respond(response: object): Promise<RawAnswer>;
  /** @param after the id of the last event that came before. */
  stream(after?: string): Promise<EventReader>;
}

let ids = 0;
const toBody = (method: string, params: object = {}) => ({ jsonrpc: '2.0', id: `q${++ids}`, method, params });

export async function initialize(
  url: string,
  capabilities: object = {},
  more: Readonly<Record<string, string>> = {},
): Promise<LegacyConversation> {
  const params = { protocolVersion: '2025-11-25', capabilities, clientInfo: { name: 'raw', version: '1' } };
  const first = await send(url, {
    headers: more,
    body: { jsonrpc: '2.0', id: 'init', method: 'initialize', params },
  });
  const sessionId = first.headers['mcp-session-id'];
  if (typeof sessionId !== 'string') throw new Error(`no session: ${first.status} ${first.text}`);
  const headers = { ...more, 'mcp-session-id': sessionId, 'mcp-protocol-version': '2025-11-25' };
  const conversation: LegacyConversation = {
    url,
    sessionId,
    headers,
    result: first.json.result,
    request: (method, given) => send(url, { headers, body: toBody(method, given) }),
    call: (name, args = {}, meta) =>
      send(url, {
        headers,
        body: toBody('tools/call', { name, arguments: args, ...(meta ? { _meta: meta } : {}) }),
      }),
    async open(method, given) {
      const body = toBody(method, given);
      return Object.assign(await openEvents(url, { headers, body }), { requestId: body.id });
    },
    notify: (method, given = {}) => send(url, { headers, body: { jsonrpc: '2.0', method, params: given } }),
    respond: (response) => send(url, { headers, body: { jsonrpc: '2.0', ...response } }),
    stream: (after) =>
      openEvents(url, {
        method: 'GET',
        headers: {
          ...headers,
          accept: 'text/event-stream',
          ...(after === undefined ? {} : { 'last-event-id': after }),
        },
      }),
  };
  await conversation.notify('notifications/initialized');
  return conversation;
}

export const modernVersion = '2026-07-28';

/** A modern request with the right envelope and headers, changed where the test says so. */
export function modern(
  method: string,
  params: Readonly<Record<string, unknown>> = {},
  { headers = {}, meta = {} }: { headers?: Readonly<Record<string, string | undefined>>; meta?: object } = {},
): RawRequest {
  const name = params['name'] ?? params['uri'];
  const all: Record<string, string | undefined> = {
    'mcp-protocol-version': modernVersion,
    'mcp-method': method,
    ...(typeof name === 'string' ? { 'mcp-name': name } : {}),
    ...headers,
  };
  return {
    headers: Object.fromEntries(
      Object.entries(all).filter((entry): entry is [string, string] => entry[1] !== undefined),
    ),
    body: {
      jsonrpc: '2.0',
      id: `m${++ids}`,
      method,
      params: {
        ...params,
        _meta: {
          'io.modelcontextprotocol/protocolVersion': modernVersion,
          'io.modelcontextprotocol/clientCapabilities': {},
          'io.modelcontextprotocol/clientInfo': { name: 'raw', version: '1' },
          ...meta,
        },
      },
    },
  };
}

export const textOf = (answer: { readonly json: any }): string =>
  String(answer.json?.result?.content?.[0]?.text);
