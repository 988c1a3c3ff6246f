/** How a soak's clients speak: by the SDKs and by hand, in sessions that they keep. A call ends with an `Answer`, always. */
import { Client as ClientV1 } from '@modelcontextprotocol/sdk/client/index.js';
import { StreamableHTTPClientTransport as TransportV1 } from '@modelcontextprotocol/sdk/client/streamableHttp.js';
import {
  Client as ClientV2,
  StreamableHTTPClientTransport as TransportV2,
} from '@modelcontextprotocol/client';
import type { Answer } from './journal.js';

export const callerKinds = ['SDK v1', 'SDK v2 legacy', 'SDK v2 modern', 'raw legacy', 'raw modern'] as const;
export type CallerKind = (typeof callerKinds)[number];

export interface Caller {
  readonly kind: CallerKind;
  /** Aborting the signal is going away without a word. */
  call(tool: string, args: Record<string, unknown>, signal: AbortSignal): Promise<Answer>;
  /** Leaves; a session is left behind. */
  end(): Promise<void>;
}

/** A begun conversation, or how it was refused. */
export type Opened = { readonly caller: Caller } | { readonly answer: Answer };

const info = { name: 'soak', version: '1' };
const modernRevision = '2026-07-28';
/** The SDK's own deadline, behind that of the harness. */
const sdkOptions = { timeout: 120_000 };

export async function openCaller(kind: CallerKind, url: string, signal: AbortSignal): Promise<Opened> {
  try {
    return { caller: await open(kind, url, signal) };
  } catch (error) {
    return { answer: error instanceof Refused ? error.answer : toAnswer(error, signal) };
  }
}

async function open(kind: CallerKind, url: string, signal: AbortSignal): Promise<Caller> {
  switch (kind) {
    case 'SDK v1': {
      const client = new ClientV1(info);
      await within(signal, client.connect(new TransportV1(new URL(url))));
      return fromSdk(kind, client, (name, args, of) =>
        client.callTool({ name, arguments: args }, undefined, { ...sdkOptions, signal: of }),
      );
    }
    case 'SDK v2 legacy':
    case 'SDK v2 modern': {
      const mode = kind === 'SDK v2 modern' ? { pin: modernRevision } : 'legacy';
      const client = new ClientV2(info, { versionNegotiation: { mode } });
      await within(signal, client.connect(new TransportV2(new URL(url))));
      return fromSdk(kind, client, (name, args, of) =>
        client.callTool({ name, arguments: args }, { ...sdkOptions, signal: of }),
      );
    }
    case 'raw legacy': {
      const params = { protocolVersion: '2025-11-25', capabilities: {}, clientInfo: info };
      const begun = await post(url, {}, { jsonrpc: '2.0', id: 'init', method: 'initialize', params }, signal);
      const sessionId = begun.headers.get('mcp-session-id');
      const answer = toRpcAnswer(begun.status, begun.text);
      if (begun.status !== 200 || sessionId === null) throw new Refused(answer);
      const headers = { 'mcp-session-id': sessionId, 'mcp-protocol-version': '2025-11-25' };
      await post(url, headers, { jsonrpc: '2.0', method: 'notifications/initialized' }, signal);
      return byHand(kind, url, () => headers, {});
    }
    case 'raw modern':
      return byHand(
        kind,
        url,
        (tool) => ({ 'mcp-protocol-version': modernRevision, 'mcp-method': 'tools/call', 'mcp-name': tool }),
        {
          _meta: {
            'io.modelcontextprotocol/protocolVersion': modernRevision,
            'io.modelcontextprotocol/clientCapabilities': {},
            'io.modelcontextprotocol/clientInfo': info,
          },
        },
      );
  }
}

class Refused extends Error {
  readonly answer: Answer;

  constructor(answer: Answer) {
    super('refused');
    this.answer = answer;
  }
}

function byHand(
  kind: CallerKind,
  url: string,
  headersOf: (tool: string) => Record<string, string>,
  more: object,
): Caller {
  let id = 0;
  return {
    kind,
    async call(tool, args, signal) {
      const params = { name: tool, arguments: args, ...more };
      try {
        const body = { jsonrpc: '2.0', id: `c${(id += 1)}`, method: 'tools/call', params };
        const { status, text } = await post(url, headersOf(tool), body, signal);
        return toRpcAnswer(status, text);
      } catch (error) {
        return toAnswer(error, signal);
      }
    },
    end: () => Promise.resolve(),
  };
}

async function post(
  url: string,
  headers: Record<string, string>,
  body: object,
  signal: AbortSignal,
): Promise<{ status: number; headers: Headers; text: string }> {
  const response = await fetch(url, {
    method: 'POST',
    headers: {
      'content-type': 'application/json',
      accept: 'application/json, text/event-stream',
      ...headers,
    },
    body: JSON.stringify(body),
    signal,
  });
  return { status: response.status, headers: response.headers, text: await response.text() };
}

/** A JSON-RPC answer, as a body or as the last event of a stream. */
function toRpcAnswer(status: number, text: string): Answer {
  const data = text.startsWith('{')
    ? text
    : (text
        .match(/^data: (\{.*)$/gm)
        ?.at(-1)
        ?.slice(6) ?? '');
  let message: { result?: ToolAnswer; error?: { code: number; message: string } } = {};
  try {
    message = JSON.parse(data === '' ? '{}' : data) as typeof message;
  } catch {
    // Judged by its status below.
  }
  if (status !== 200) return { kind: 'status', status, text: message.error?.message ?? text.slice(0, 300) };
  if (message.error !== undefined)
    return { kind: 'rpc-error', code: message.error.code, text: message.error.message };
  if (message.result !== undefined) return fromResult(message.result);
  return { kind: 'network', text: `the answer ended early: ${text.slice(0, 100)}` };
}

interface ToolAnswer {
  readonly [member: string]: unknown;
}

function fromSdk(
  kind: CallerKind,
  client: { close(): Promise<void> },
  call: (name: string, args: Record<string, unknown>, signal: AbortSignal) => Promise<ToolAnswer>,
): Caller {
  return {
    kind,
    async call(tool, args, signal) {
      try {
        return fromResult(await call(tool, args, signal));
      } catch (error) {
        return toAnswer(error, signal);
      }
    },
    end: () => client.close().catch(() => {}),
  };
}

function fromResult(result: ToolAnswer): Answer {
  const content = Array.isArray(result.content) ? (result.content as { text?: string }[]) : [];
  const text = content.map((part) => part.text ?? '').join('\n');
  return { kind: result.isError === true ? 'tool-error' : 'answered', text };
}

function toAnswer(error: unknown, signal: AbortSignal): Answer {
  if (signal.aborted) return { kind: 'vanished' };
  if (!(error instanceof Error)) return { kind: 'network', text: String(error) };
  const { status, code } = error as { status?: unknown; code?: unknown };
  const text = error.message;
  if (typeof status === 'number') return { kind: 'status', status, text };
  if (typeof code === 'number' && code >= 100 && code < 600) return { kind: 'status', status: code, text };
  if (typeof code === 'number') return { kind: 'rpc-error', code, text };
  const cause = error.cause instanceof Error ? ` ${error.cause.message}` : '';
  return { kind: 'network', text: `${typeof code === 'string' ? `${code} ` : ''}${text}${cause}` };
}

/** An SDK has no signal for its opening. */
async function within<T>(signal: AbortSignal, work: Promise<T>): Promise<T> {
  const gone = new Promise<never>((_resolve, reject) => {
    if (signal.aborted) reject(new Error('aborted'));
    signal.addEventListener('abort', () => reject(new Error('aborted')), { once: true });
  });
  work.catch(() => {});
  return await Promise.race([work, gone]);
}
