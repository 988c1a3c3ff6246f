/**
 * The call audit's spool: the intent of a call is with the kernel before its upstream is contacted, by one append, so
 * that it outlives a SIGKILL of this process. Outcomes follow, written once a tick. The shipper moves the files to the
 * database; where the disk takes nothing, records go to the database directly, and where that takes nothing either no
 * call is made.
 */
import { mkdirSync, renameSync, rmSync } from 'node:fs';
import { AppError } from '../errors/appError.js';
import { createAppendFile, type AppendFile } from './appendFile.js';
import {
  encodeCarried,
  encodeIntent,
  encodeOutcome,
  toOpenCall,
  type CallIntent,
  type CallOutcome,
  type OpenCall,
} from './callRecord.js';
import { createDirectQueue } from './directQueue.js';
import { createGroupSync } from './groupSync.js';
import type { ShipBatch } from './spoolBatch.js';
import { beginningSuffix, processMark, toSpoolPath } from './spoolFiles.js';

export interface CallSpoolOptions {
  /** The service's own folder; made if it is not there. */
  readonly dir: string;
  readonly service: string;
  /** Adds records to the database when the disk takes none. */
  readonly shipDirect: ShipBatch;
  /** `fsync`: an intent also outlives a loss of power, by group-committed fdatasync. */
  readonly durability?: 'spool' | 'fsync';
  /** Milliseconds since the epoch. */
  readonly now: () => number;
  readonly newId: () => string;
  /** Bytes after which another file is begun. */
  readonly fileBytesMax?: number;
  /** How long a call waits for the database when the disk takes nothing, in ms. */
  readonly directDeadlineMs?: number;
  readonly directRetryMs?: number;
  /** Told of each write that the disk refused. */
  readonly onDiskFailure?: (error: unknown) => void;
  /** Opens the files; another one stands in where a test needs a disk that fails in its own way. */
  readonly createFile?: (path: string) => AppendFile;
}

/** A file that this process writes or wrote, for the shipper. */
export interface WrittenFile {
  readonly path: string;
  readonly spoolId: string;
  /** Bytes of whole lines. */
  readonly size: number;
  /** True when nothing will be added any more. */
  readonly isClosed: boolean;
}

export interface CallSpool {
  /**
   * Records that a call is about to be made. Returns nothing when the record is safe already, which is the rule; else a
   * promise to wait for. Throws or rejects with AUDIT_UNAVAILABLE when the record is nowhere: the call must not be made.
   */
  intent(intent: CallIntent): void | Promise<void>;
  /** Records how a call came out; once for each intent. An unknown call id is a mistake of the caller's and ignored. */
  outcome(outcome: CallOutcome): void;
  /** Records a call that was refused before any intent, as one outcome. */
  refusal(intent: CallIntent, outcome: Omit<CallOutcome, 'callId' | 'outcome'>): void;
  /** Oldest first. */
  files(): readonly WrittenFile[];
  /** Forgets a closed file after the shipper deleted it. */
  forget(spoolId: string): void;
  /** Calls with an intent and no outcome. */
  readonly openCalls: number;
  /** Closes what is open as `unknown` and writes everything down; the shipper may then move it. */
  close(): Promise<void>;
}

interface Written extends WrittenFile {
  readonly file: AppendFile;
  /** Size at which it is full: what it carries does not count, or many open calls would fill each file at once. */
  readonly sizeMax: number;
}

/** Above this many records that wait for the database with the disk full, no further call is made. */
const backlogMax = 5_000;
/** Calls after which a fresh Map of the open ones is begun. */
const endedMax = 256;

/** Opens a spool; its first file is begun with the first record. */
export function openCallSpool(options: CallSpoolOptions): CallSpool {
  const { dir, service, newId, fileBytesMax = 8 * 1024 * 1024, durability = 'spool' } = options;
  const { createFile = createAppendFile, onDiskFailure = () => undefined } = options;
  const origin = processMark();
  let open = new Map<string, OpenCall>();
  let ended = 0;
  const written: Written[] = [];
  let current: Written | null = null;
  let fileNumber = 0;
  let waiting: string[] = [];
  let isFlushPlanned = false;
  /** Set while the disk refuses: the next file carries what is open, for what is in this one is no longer the whole. */
  let isBehind = false;
  const direct = createDirectQueue({
    spoolId: `direct-${newId()}`,
    ship: options.shipDirect,
    deadlineMs: options.directDeadlineMs ?? 1_500,
    retryMs: options.directRetryMs ?? 500,
  });
  const sync = durability === 'fsync' ? createGroupSync() : null;
  let lastMs = Number.NaN;
  let lastText = '';
  const occurredAt = (): string => {
    const ms = options.now();
    if (ms !== lastMs) [lastMs, lastText] = [ms, new Date(ms).toISOString()];
    return lastText;
  };

  const beginFile = (): Written => {
    mkdirSync(dir, { recursive: true, mode: 0o700 });
    fileNumber += 1;
    const spoolId = newId();
    const path = toSpoolPath(dir, { origin, number: fileNumber, spoolId, holder: origin });
    const file = createFile(path + beginningSuffix);
    try {
      file.append(Buffer.from([...open.values()].map(encodeCarried).join('')));
      renameSync(path + beginningSuffix, path);
    } catch (error) {
      file.close();
      rmSync(path + beginningSuffix, { force: true });
      throw error;
    }
    const begun: Written = {
      path,
      spoolId,
      file,
      sizeMax: file.size + fileBytesMax,
      get size() {
        return file.size;
      },
      get isClosed() {
        return current !== begun;
      },
    };
    return begun;
  };

  const rotate = (): void => {
    const former = current;
    current = beginFile();
    written.push(current);
    isBehind = false;
    if (former !== null) void (sync?.idle() ?? Promise.resolve()).then(() => former.file.close());
  };

  /** Appends text to the current file and says whether the disk took it. */
  const append = (text: string): AppendFile | null => {
    try {
      if (current === null || isBehind || current.size >= current.sizeMax) rotate();
    } catch (error) {
      // A file that is merely full goes on growing until there is room for another.
      if (current === null || isBehind) return refuse(error);
    }
    try {
      current?.file.append(Buffer.from(text));
      return current?.file ?? null;
    } catch (error) {
      return refuse(error);
    }
  };

  const refuse = (error: unknown): null => {
    isBehind = true;
    onDiskFailure(error);
    return null;
  };

  const planFlush = (): void => {
    if (isFlushPlanned) return;
    isFlushPlanned = true;
    setImmediate(() => {
      isFlushPlanned = false;
      flush();
    });
  };

  const flush = (): void => {
    if (waiting.length === 0) return;
    const lines = waiting;
    waiting = [];
    if (append(lines.join('')) === null) direct.keep(lines);
  };

  const closeCall = (call: OpenCall, outcome: CallOutcome, intent?: CallIntent): void => {
    waiting.push(encodeOutcome(call, outcome, occurredAt(), intent?.clientAddress));
    planFlush();
  };

  /**
   * A Map that is filled and emptied for ever keeps what stood in it from being collected young, since V8 links its tables
   * to each other; a fresh one now and then breaks the chain (`lifecycle/underWay.ts`).
   */
  const forgetCall = (callId: string): void => {
    open.delete(callId);
    ended += 1;
    if (ended % endedMax === 0) open = new Map(open);
  };

  const refuseCall = (call: OpenCall, intent: CallIntent): void => {
    forgetCall(call.callId);
    const outcome = { callId: call.callId, outcome: 'refused', errorCode: 'AUDIT_UNAVAILABLE' } as const;
    if (direct.length < backlogMax) closeCall(call, outcome, intent);
  };

  return {
    intent(intent) {
      const call = toOpenCall(service, intent);
      const line = encodeIntent(call, intent, occurredAt());
      const earlier = waiting;
      waiting = [];
      const file = append(earlier.join('') + line);
      open.set(call.callId, call);
      if (file !== null) {
        return sync?.wait(file).catch((cause: unknown) => {
          // Whether the line will be there after a loss of power is not known, so the call is not made.
          isBehind = true;
          onDiskFailure(cause);
          refuseCall(call, intent);
          throw new AppError('AUDIT_UNAVAILABLE', 'the spool could not be synced', { cause });
        });
      }
      direct.keep(earlier);
      if (direct.length >= backlogMax) {
        forgetCall(call.callId);
        throw new AppError('AUDIT_UNAVAILABLE', 'too many audit records wait for the database');
      }
      return direct.take(line).catch((error: unknown) => {
        refuseCall(call, intent);
        throw error;
      });
    },
    outcome(outcome) {
      const call = open.get(outcome.callId);
      if (call === undefined) return;
      forgetCall(outcome.callId);
      closeCall(call, outcome);
    },
    refusal(intent, outcome) {
      const call = toOpenCall(service, intent);
      closeCall(call, { ...outcome, callId: call.callId, outcome: 'refused' }, intent);
    },
    files: () => written,
    forget(spoolId) {
      const at = written.findIndex((file) => file.spoolId === spoolId && file.isClosed);
      if (at >= 0) written.splice(at, 1);
    },
    get openCalls() {
      return open.size;
    },
    async close() {
      for (const call of open.values()) closeCall(call, { callId: call.callId, outcome: 'unknown' });
      open.clear();
      flush();
      await sync?.idle();
      current?.file.close();
      current = null;
      await direct.close();
    },
  };
}
