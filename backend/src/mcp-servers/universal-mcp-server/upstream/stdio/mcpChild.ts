/**
 * One child process as one MCP server: started, asked once for its era and what it offers, then shared by the
 * conversations that may share it. When the child ends, in whatever way, its in-flight requests fail and are not tried again; other
 * children notice nothing (R06, R07, R08, R10).
 */
import { AppError } from '../../../../errors/appError.js';
import type { Logger } from '../../../../telemetry/logger.js';
import type { Era } from '../../protocol/revisions.js';
import type { ClientTerms, ServerTerms, UpstreamConnection } from '../upstream.js';
import { ChildRouter, type OddMessages } from './childRouter.js';
import { connectOwner } from './childConnection.js';
import { shakeHands } from './handshake.js';
import { createLineSplitter } from './lineSplitter.js';
import type { Launch } from './isolation/childIsolation.js';
import { spawnChild, type ChildExit } from './spawnChild.js';
import { createStderrTail } from './stderrTail.js';
import { createPipeWriter } from './pipeWriter.js';

export interface McpChildOptions {
  readonly launch: Launch;
  readonly mark: string;
  readonly client: ClientTerms;
  /** The eras that it may speak, in the order in which they are tried. */
  readonly eras: readonly Era[];
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
  readonly era: Era;
  /** Eras that it was found not to speak. */
  readonly refusedEras: readonly Era[];
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
  /** @throws AppError UPSTREAM_UNREACHABLE when it ended meanwhile. */
  connect(): UpstreamConnection;
  /** Ends the child and its tree; in-flight requests fail with `reason`. */
  stop(reason: AppError): Promise<void>;
}

export const lineBytesMaxDefault = 10 * 1024 * 1024;
/** Many servers print a banner or a stray `console.log`; more than this is no MCP server. */
const garbageLinesMax = 16;
/** What a child may say unasked within a second: more of it would take the loop from everybody else. */
const unaskedPerSecondMax = 10_000;
/** Shorter answers are read sooner than searched. */
const unreadBytesMin = 8 * 1024;

/**
 * @throws AppError UPSTREAM_TIMEOUT when it is not ready in time, UPSTREAM_FAILED when it ends or speaks none of the eras.
 * Nothing of it is left then.
 */
export async function startMcpChild(options: McpChildOptions): Promise<McpChild> {
  const deadline = startDeadline(options.startupTimeoutMs);
  const [first, ...others] = options.eras;
  try {
    return await startOnce(options, options.eras, deadline.signal, []);
  } catch (error) {
    // Servers of the legacy era may end at a request before `initialize`; this one gets a start without it.
    if (first !== 'modern' || others.length === 0 || !(error instanceof ChildEnded)) throw error;
    return await startOnce(options, others, deadline.signal, ['modern']);
  } finally {
    deadline.clear();
  }
}

/** The child ended by itself. */
class ChildEnded extends AppError {}

async function startOnce(
  options: McpChildOptions,
  eras: readonly Era[],
  signal: AbortSignal,
  refusedBefore: readonly Era[],
): Promise<McpChild> {
  const { launch, mark, log, client, lineBytesMax = lineBytesMaxDefault } = options;
  const child = spawnChild(launch, mark);
  const pipe = createPipeWriter(child.stdin);
  const router = new ChildRouter({
    pipe,
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
  let markedAt = performance.now();
  let marked = 0;
  const floods = (): boolean => {
    if (router.isClosed || router.odd.unasked + router.odd.strayResponses - marked < unaskedPerSecondMax)
      return false;
    const isFast = performance.now() - markedAt < 1_000;
    markedAt = performance.now();
    marked = router.odd.unasked + router.odd.strayResponses;
    return isFast;
  };
  const splitter = createLineSplitter(lineBytesMax, (bytes, start, end) => {
    // A NUL is in no text; whoever sends one sends no JSON at all.
    const line = bytes.subarray(start, end);
    const isText = !line.includes(0);
    if (floods()) return recycle('flood');
    if (isText && line.length >= unreadBytesMin && router.receiveUnread(line)) return;
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
    router.close(new ChildEnded('UPSTREAM_FAILED', `the child ended (${describe(exit)})`));
    // What it started and left behind goes with it.
    await child.stop();
    return exit;
  });

  try {
    const { era, server, refused } = await shakeHands({ router, client, eras, signal });
    return {
      era,
      refusedEras: [...refusedBefore, ...refused],
      server,
      odd: router.odd,
      ended,
      stop,
      get isUsable() {
        return !router.isClosed;
      },
      get inFlight() {
        return router.requests.size;
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

/** Ends after the time that a service gives its start. */
function startDeadline(startupTimeoutMs: number): { readonly signal: AbortSignal; clear(): void } {
  const controller = new AbortController();
  const late = new AppError('UPSTREAM_TIMEOUT', `the child was not ready in ${startupTimeoutMs} ms`);
  const timer = setTimeout(() => controller.abort(late), startupTimeoutMs);
  return { signal: controller.signal, clear: () => clearTimeout(timer) };
}

function describe({ code, signal, failure }: ChildExit): string {
  if (failure !== null) return `could not be started: ${failure}`;
  return signal === null ? `exit code ${code}` : `signal ${signal}`;
}
