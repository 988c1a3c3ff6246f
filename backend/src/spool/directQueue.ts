/**
 * The way round a spool that takes nothing: records go straight to the database, many in one batch, one batch at a time
 * (positions have to arrive in order). Each record keeps its position until the database has it, so an attempt that may
 * have succeeded is repeated without adding anything twice.
 */
import { setTimeout as delay } from 'node:timers/promises';
import { AppError } from '../errors/appError.js';
import type { ShipBatch } from './spoolBatch.js';

export interface DirectQueue {
  /** Records that wait for the database. */
  readonly length: number;
  /** Resolves when the database has the record; throws AUDIT_UNAVAILABLE when it has not within the deadline. */
  take(line: string): Promise<void>;
  /** Keeps lines until the database has them, however long that takes; `onTaken` is told then. */
  keep(lines: readonly string[], onTaken?: () => void): void;
  /** Tries to empty the queue; resolves with the number of records that are left, after at most the deadline. */
  close(): Promise<number>;
}

export interface DirectQueueOptions {
  readonly spoolId: string;
  readonly ship: ShipBatch;
  /** How long a call waits for its intent to be taken, in ms. */
  readonly deadlineMs: number;
  readonly retryMs: number;
}

interface Entry {
  readonly position: number;
  readonly line: string;
  readonly isKept: boolean;
  readonly settle: (error: unknown) => void;
}

export function createDirectQueue({ spoolId, ship, deadlineMs, retryMs }: DirectQueueOptions): DirectQueue {
  let entries: Entry[] = [];
  let lastPosition = 0;
  let underWay: Promise<void> | null = null;
  /** The first entries, while they are with the database. */
  let inFlight: readonly Entry[] = [];
  let retry: NodeJS.Timeout | undefined;

  const add = (line: string, isKept: boolean, settle: Entry['settle']): Entry => {
    lastPosition += 1;
    const entry = { position: lastPosition, line, isKept, settle };
    entries.push(entry);
    pump();
    return entry;
  };

  const pump = (): void => {
    if (underWay !== null || entries.length === 0) return;
    clearTimeout(retry);
    inFlight = entries.slice(0, batchMax);
    underWay = shipInFlight();
  };

  const shipInFlight = async (): Promise<void> => {
    let failure: unknown = null;
    try {
      await ship({ spoolId, lines: inFlight });
    } catch (error) {
      failure = error ?? new Error('the batch was refused');
    }
    const settled = inFlight.filter(({ isKept }) => failure === null || !isKept);
    // A kept record stays with its position; a call that waited is refused and its record forgotten.
    entries = [...inFlight.filter((entry) => !settled.includes(entry)), ...entries.slice(inFlight.length)];
    inFlight = [];
    underWay = null;
    for (const entry of settled) entry.settle(failure);
    if (failure === null) pump();
    else retry = setTimeout(pump, retryMs).unref();
  };

  return {
    get length() {
      return entries.length;
    },
    take: (line) =>
      new Promise((resolve, reject) => {
        const refuse = (cause: unknown): void => {
          clearTimeout(timer);
          reject(new AppError('AUDIT_UNAVAILABLE', 'neither spool nor database took an intent', { cause }));
        };
        const timer = setTimeout(() => {
          // Once it is with the database, the database may still get it.
          if (!inFlight.includes(entry)) entries = entries.filter((other) => other !== entry);
          refuse(new Error('deadline'));
        }, deadlineMs).unref();
        const entry = add(line, false, (error) => {
          if (error !== null) return refuse(error);
          clearTimeout(timer);
          resolve();
        });
      }),
    keep: (lines, onTaken) => {
      for (const line of lines) add(line, true, (error) => error === null && onTaken?.());
    },
    close: async () => {
      const end = new AbortController();
      const { signal } = end;
      const pause = (ms: number) => delay(ms, undefined, { signal }).catch(() => undefined);
      const deadline = pause(deadlineMs).then(() => end.abort());
      while (entries.length > 0 && !signal.aborted) {
        pump();
        await Promise.race([underWay, deadline]);
        if (entries.length > 0) await pause(retryMs);
      }
      end.abort();
      clearTimeout(retry);
      return entries.length;
    },
  };
}

const batchMax = 500;
