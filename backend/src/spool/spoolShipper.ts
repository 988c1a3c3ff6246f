/**
 * Moves spooled records to the database, in order, in batches, exactly once: a record's position is the byte at which
 * its line ends, and the database keeps the position of each spool in the transaction that adds the records. Files that
 * are shipped whole are deleted; those of dead processes are adopted, ended and shipped like its own.
 */
import { appendFileSync, rmSync } from 'node:fs';
import { open } from 'node:fs/promises';
import type { Logger } from '../telemetry/logger.js';
import type { CallSpool, WrittenFile } from './callSpool.js';
import { readLeftovers, type Leftover } from './leftovers.js';
import { readLines } from './readLines.js';
import type { PlacedLine, ShipBatch } from './spoolBatch.js';
import { adoptDeadOrigins, processMark } from './spoolFiles.js';

export interface SpoolShipperOptions {
  readonly spool: Pick<CallSpool, 'files' | 'forget'>;
  readonly dir: string;
  readonly ship: ShipBatch;
  /** The position that the database has of a spool, 0 for none. */
  readonly findPosition: (spoolId: string) => Promise<number>;
  /** Drops the position of a spool whose file is gone. */
  readonly forgetSpool: (spoolId: string) => Promise<void>;
  /** True for a failure that lies in the records and not in the database's state: it would come again for ever. */
  readonly isRecordFault: (error: unknown) => boolean;
  readonly now: () => number;
  readonly log: Pick<Logger, 'info' | 'warn' | 'error'>;
  /** Told of each batch that did not reach the database. */
  readonly onFailure?: () => void;
  /** Between two rounds, in ms; a record is in the database within 1 s. */
  readonly intervalMs?: number;
  /** Between two looks for dead processes' files, in ms. */
  readonly adoptIntervalMs?: number;
}

export interface SpoolShipper {
  /** Ships all that is spooled at this moment; rejects when the database does not take it. Rounds never overlap. */
  shipNow(): Promise<void>;
  /** Stops the rounds and ships what is left, once. What cannot be shipped stays on disk for the next process. */
  close(): Promise<void>;
}

export function createSpoolShipper(options: SpoolShipperOptions): SpoolShipper {
  const { spool, dir, ship, findPosition, forgetSpool, isRecordFault, now, log } = options;
  const { intervalMs = 250, adoptIntervalMs = 5_000, onFailure = () => undefined } = options;
  const self = processMark();
  /** How far the spools in hand have come. */
  const positions = new Map<string, number>();
  let adopted: readonly Leftover[] = [];
  let adoptedAt = -Infinity;
  let round: Promise<void> | null = null;
  let timer: NodeJS.Timeout | undefined;
  let failures = 0;
  let isClosed = false;

  const adopt = async (): Promise<void> => {
    if (performance.now() - adoptedAt < adoptIntervalMs) return;
    for (const files of adoptDeadOrigins(dir, self, new Set(adopted.map(({ origin }) => origin)))) {
      const leftovers = readLeftovers(files, now);
      for (const { spoolId } of leftovers) positions.set(spoolId, await findPosition(spoolId));
      adopted = [...adopted, ...leftovers];
      const count = leftovers.reduce((sum, { ending }) => sum + ending.length, 0);
      log.info('adopted the call spool of a dead process; its open calls are closed as unknown', { count });
    }
    adoptedAt = performance.now();
  };

  const shipAll = async (): Promise<void> => {
    await adopt();
    for (const leftover of adopted) {
      await shipLines(leftover);
      await shipBatch(leftover, leftover.ending);
      await remove(leftover);
      adopted = adopted.filter((other) => other !== leftover);
    }
    for (const file of spool.files().slice()) {
      // Asked first: what is added before the file is closed is then surely read.
      const isWhole = file.isClosed;
      await shipLines(file);
      if (!isWhole) return;
      await remove(file);
      spool.forget(file.spoolId);
    }
  };

  const shipLines = async (source: Source): Promise<void> => {
    let position = positions.get(source.spoolId) ?? 0;
    if (position >= source.size) return;
    const file = await open(source.path, 'r').catch(orNullIfMissing);
    if (file === null) {
      log.error('a call spool file was deleted before it was shipped; its records are lost');
      positions.set(source.spoolId, source.size);
      return;
    }
    try {
      while (position < source.size) {
        const { lines, end } = await readLines(file, position, source.size);
        await shipBatch(source, lines);
        position = end;
        positions.set(source.spoolId, position);
      }
    } finally {
      await file.close();
    }
  };

  const shipBatch = async (source: Source, lines: readonly PlacedLine[]): Promise<void> => {
    if (lines.length === 0) return;
    try {
      await ship({ spoolId: source.spoolId, lines });
    } catch (error) {
      if (!isRecordFault(error)) throw error;
      if (lines.length === 1) return putAside(source, lines, error);
      const half = lines.length >> 1;
      await shipBatch(source, lines.slice(0, half));
      await shipBatch(source, lines.slice(half));
    }
  };

  /** The file goes first: a position without a file is a row too many, a file without its position ships twice. */
  const remove = async ({ path, spoolId }: Source): Promise<void> => {
    rmSync(path, { force: true });
    positions.delete(spoolId);
    await forgetSpool(spoolId).catch((error: unknown) => {
      log.warn('the position of a shipped call spool stays behind in the database', { error });
    });
  };

  /** Keeps a record that the database will never take beside the spool, where an operator finds it. */
  const putAside = ({ path }: Source, lines: readonly PlacedLine[], error: unknown): void => {
    appendFileSync(`${path}.refused`, lines.map(({ line }) => `${line}\n`).join(''), { mode: 0o600 });
    log.error('the database refuses a call audit record; it is kept in the spool folder', { error });
  };

  const shipNow = (): Promise<void> => {
    const former = round ?? Promise.resolve();
    const mine = former.catch(() => undefined).then(shipAll);
    round = mine;
    return mine;
  };

  const plan = (): void => {
    if (isClosed) return;
    const backoffMs = Math.min(intervalMs * 2 ** failures, backoffMsMax);
    timer = setTimeout(() => void runRound(), backoffMs).unref();
  };

  const runRound = async (): Promise<void> => {
    try {
      await shipNow();
      failures = 0;
    } catch (error) {
      if (failures === 0) log.warn('the call spool cannot be shipped; it is kept on disk', { error });
      failures += 1;
      onFailure();
    }
    plan();
  };

  plan();
  return {
    shipNow,
    async close() {
      isClosed = true;
      clearTimeout(timer);
      try {
        await shipNow();
      } catch (error) {
        log.warn('the call spool could not be shipped at the end; the next process adopts it', { error });
      }
    },
  };
}

type Source = Pick<WrittenFile, 'path' | 'spoolId' | 'size'>;

const backoffMsMax = 5_000;

function orNullIfMissing(error: unknown): null {
  if (error instanceof Error && 'code' in error && error.code === 'ENOENT') return null;
  throw error;
}
