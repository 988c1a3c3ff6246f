/**
 * One child process as one MCP server of the legacy era: started, initialized once, then shared by the conversations
 * that may share it. When the child ends, in whatever way, its in-flight requests fail and are not tried again; other
 * children notice nothing (R06, R07, R08, R10).
 */
import { AppError } from '../../../../errors/appError.js';
import type { Logger } from '../../../../telemetry/logger.js';
import { isJsonObject, type JsonObject, type JsonRpcResponse } from '../../protocol/jsonRpc.js';
import { eraOf } from '../../protocol/revisions.js';
import type { ClientTerms, RequestListener, ServerTerms, UpstreamConnection } from '../upstream.js';
import { ChildRouter, type OddMessages } from './childRouter.js';
import { connectOwner } from './childConnection.js';
import { createLineSplitter } from './lineSplitter.js';
import { spawnChild, type ChildCommand, type ChildExit } from './spawnChild.js';
import { createStderrTail } from './stderrTail.js';
import { createPipeWriter } from './pipeWriter.js';

export interface McpChildOptions {
  readonly command: ChildCommand;
  readonly mark: string;
  readonly client: ClientTerms;
  readonly startupTimeoutMs: number;
  readonly inFlightMax: number;
  readonly lineBytesMax?: number;
  /** A longer answer is replaced by an error; the child lives on. */
  readonly responseBytesMax: number;
  /** Asked before each request of a conversation. @throws AppError RATE_LIMIT_EXCEEDED */
  readonly takeRequest: () => void;
  /** A logger that names service and instance already. */
  readonly log: Logger;
}

export interface McpChild {
  readonly server: ServerTerms;
  readonly odd: Readonly<OddMessages>;
  /** False from the moment that it ended or was given up; it may take a while longer to be gone. */
  readonly isUsable: boolean;
  /** Requests under way. */
  readonly inFlight: number;
  /** Conversations that subscribed to something: the child has to stay for them. */
  readonly hasSubscriptions: boolean;
  /** Resolves when the child is gone, however that came. */
  readonly ended: Promise<ChildExit>;
  connect(): UpstreamConnection;
  /** Ends the child and its tree; in-flight requests fail with `reason`. */
  stop(reason: AppError): Promise<void>;
}

export const lineBytesMaxDefault = 10 * 1024 * 1024;
/** Many servers print a banner or a stray `console.log`; more than this is no MCP server. */
const garbageLinesMax = 16;

/**
 * @throws AppError UPSTREAM_TIMEOUT when it is not initialized in time, UPSTREAM_FAILED when it ends, refuses or speaks
 * only the modern era. Nothing of it is left then.
 */
export async function startMcpChild(options: McpChildOptions): Promise<McpChild> {
  const { command, mark, log, lineBytesMax = lineBytesMaxDefault } = options;
  const child = spawnChild(command, mark);
  const pipe = createPipeWriter(child.stdin);
  const router = new ChildRouter({
    write: pipe.write,
    inFlightMax: options.inFlightMax,
    responseBytesMax: options.responseBytesMax,
  });
  const stderr = createStderrTail(child.stderr);

  const stop = (reason: AppError): Promise<void> => {
    router.close(reason);
    return child.stop();
  };
  const recycle = (why: string): void => {
    log.warn('a child is recycled: it does not speak MCP', { errorCode: why });
    void stop(new AppError('UPSTREAM_FAILED', `the child was recycled: ${why}`));
  };
  const splitter = createLineSplitter(lineBytesMax, (bytes, start, end) => {
    // A NUL is in no text; whoever sends one sends no JSON at all.
    const isText = bytes.indexOf(0, start) === -1 || bytes.indexOf(0, start) >= end;
    if (
      isText &&
      (router.receive(bytes.toString('utf8', start, end), end - start) ||
        router.odd.garbage <= garbageLinesMax)
    )
      return;
    recycle('garbage');
  });
  child.stdout.on('data', (chunk: Buffer) => {
    if (splitter.push(chunk)) return;
    child.stdout.destroy();
    recycle('line_too_long');
  });
  const ended = child.exited.then(async (exit) => {
    router.close(new AppError('UPSTREAM_FAILED', `the child ended (${describe(exit)})`));
    // What it started and left behind goes with it.
    await child.stop();
    return exit;
  });

  try {
    const server = await initialize(router, options);
    return {
      server,
      odd: router.odd,
      ended,
      stop,
      get isUsable() {
        return !router.isClosed;
      },
      get inFlight() {
        return router.inFlight;
      },
      get hasSubscriptions() {
        return [...router.owners].some(({ subscriptions }) => subscriptions.size > 0);
      },
      connect: () => connectOwner(router, server, options.takeRequest),
    };
  } catch (error) {
    log.warn('a child did not start', {
      error,
      errorCode: error instanceof AppError ? error.code : 'INTERNAL',
    });
    log.debug(`last words of the child: ${stderr.text()}`);
    await stop(new AppError('UPSTREAM_FAILED', 'the child did not start'));
    throw error;
  }
}

async function initialize(router: ChildRouter, options: McpChildOptions): Promise<ServerTerms> {
  const { client, startupTimeoutMs } = options;
  const timeout = new AbortController();
  const timer = setTimeout(
    () =>
      timeout.abort(
        new AppError('UPSTREAM_TIMEOUT', `the child was not initialized in ${startupTimeoutMs} ms`),
      ),
    startupTimeoutMs,
  );
  try {
    const owner = { listeners: new Set<never>(), subscriptions: new Set<string>(), logLevel: null };
    const params = { ...client };
    const request = { jsonrpc: '2.0', id: 'initialize', method: 'initialize', params } as const;
    const response = await router.request(request, owner, deafListener, timeout.signal);
    const server = toServerTerms(response);
    router.notify({ jsonrpc: '2.0', method: 'notifications/initialized' });
    return server;
  } finally {
    clearTimeout(timer);
  }
}

/** @throws AppError UPSTREAM_FAILED when it is no `initialize` result of a revision that we speak. */
function toServerTerms(response: JsonRpcResponse): ServerTerms {
  if ('error' in response) {
    throw new AppError('UPSTREAM_FAILED', `the child refused initialize with code ${response.error.code}`, {
      publicDetail:
        'The server behind refused to be initialized. A server that speaks only revision 2026-07-28 over stdio is not supported yet.',
    });
  }
  const { protocolVersion, capabilities, serverInfo, instructions } = response.result;
  if (typeof protocolVersion !== 'string' || eraOf(protocolVersion) !== 'legacy') {
    throw new AppError('UPSTREAM_FAILED', 'the child answered initialize with an unknown revision');
  }
  return {
    protocolVersion,
    capabilities: objectOf(capabilities),
    serverInfo: objectOf(serverInfo),
    ...(typeof instructions === 'string' ? { instructions } : {}),
  };
}

function objectOf(value: unknown): JsonObject {
  return isJsonObject(value) ? value : {};
}

const deafListener: RequestListener = {
  onNotification() {},
  onServerRequest: (request) =>
    Promise.resolve({
      jsonrpc: '2.0',
      id: request.id,
      error: { code: -32601, message: 'not before initialize is done' },
    }),
};

function describe({ code, signal, failure }: ChildExit): string {
  if (failure !== null) return `could not be started: ${failure}`;
  return signal === null ? `exit code ${code}` : `signal ${signal}`;
}
