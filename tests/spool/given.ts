/** Builders for the spool's tests: a folder, calls, and a ledger that takes batches as the database does. */
import { randomUUID } from 'node:crypto';
import { mkdtempSync, readdirSync, readFileSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import type { CallIntent, CallOutcome } from '../../backend/src/spool/callRecord.js';
import { openCallSpool, type CallSpool, type CallSpoolOptions } from '../../backend/src/spool/callSpool.js';
import type { SpoolBatch } from '../../backend/src/spool/spoolBatch.js';
import {
  createSpoolShipper,
  type SpoolShipper,
  type SpoolShipperOptions,
} from '../../backend/src/spool/spoolShipper.js';
import type { CallAuditRecord } from '../../backend/src/stores/callAuditStore.js';

export interface Folder extends Disposable {
  readonly path: string;
  /** The text of all spool files, in the order of their names. */
  text(): string;
  files(): readonly string[];
}

export function aFolder(): Folder {
  const path = mkdtempSync(join(tmpdir(), 'portolan-spool-'));
  const files = () => readdirSync(path).sort();
  return {
    path,
    files,
    text: () =>
      files()
        .map((file) => readFileSync(join(path, file), 'utf8'))
        .join(''),
    [Symbol.dispose]: () => rmSync(path, { recursive: true, force: true }),
  };
}

export function anIntent(overrides: Partial<CallIntent> = {}): CallIntent {
  return {
    callId: randomUUID(),
    instanceId: 'a7d8f0f2-1a6b-4c0b-9a94-6a52a7f3b0d2',
    userId: '0b1f5a52-3c1d-4a86-8a55-3f2f1f6f0c01',
    method: 'tools/call',
    name: 'echo',
    era: 'legacy',
    requestId: 'request-1',
    argumentsDigest: 'ab'.repeat(32),
    argumentsBytes: 12,
    ...overrides,
  };
}

export function anOutcome(callId: string, overrides: Partial<CallOutcome> = {}): CallOutcome {
  return {
    callId,
    outcome: 'ok',
    httpStatus: 200,
    isError: false,
    durationMs: 1.5,
    resultBytes: 40,
    ...overrides,
  };
}

export interface Ledger {
  /** What was added, in order, with the spool that it came from. */
  readonly records: readonly (CallAuditRecord & { readonly spoolId: string })[];
  readonly ship: (batch: SpoolBatch) => Promise<void>;
  readonly findPosition: (spoolId: string) => Promise<number>;
  readonly forgetSpool: (spoolId: string) => Promise<void>;
  readonly positions: ReadonlyMap<string, number>;
}

/** The rule of the database's function in memory: only records beyond the spool's position are added. */
export function aLedger(): Ledger {
  const records: (CallAuditRecord & { spoolId: string })[] = [];
  const positions = new Map<string, number>();
  return {
    records,
    positions,
    ship: async ({ spoolId, lines }) => {
      const batch = lines.map(({ position, line }): CallAuditRecord => ({ position, ...JSON.parse(line) }));
      const from = positions.get(spoolId) ?? 0;
      records.push(
        ...batch.filter((record) => record.position > from).map((record) => ({ ...record, spoolId })),
      );
      positions.set(spoolId, Math.max(from, lines.at(-1)?.position ?? 0));
    },
    findPosition: async (spoolId) => positions.get(spoolId) ?? 0,
    forgetSpool: async (spoolId) => void positions.delete(spoolId),
  };
}

export function aSpool(dir: string, overrides: Partial<CallSpoolOptions> = {}): CallSpool {
  return openCallSpool({
    dir,
    service: 'github',
    shipDirect: () => Promise.reject(new Error('the database is away')),
    now: Date.now,
    newId: randomUUID,
    directDeadlineMs: 200,
    directRetryMs: 10,
    ...overrides,
  });
}

export interface LogLine {
  readonly level: string;
  readonly message: string;
}

export function aShipper(
  dir: string,
  ledger: Pick<Ledger, 'ship' | 'findPosition' | 'forgetSpool'>,
  overrides: Partial<SpoolShipperOptions> = {},
): SpoolShipper & { readonly logged: readonly LogLine[] } {
  const logged: LogLine[] = [];
  const write = (level: string) => (message: string) => void logged.push({ level, message });
  const shipper = createSpoolShipper({
    spool: { files: () => [], forget: () => undefined },
    dir,
    ship: ledger.ship,
    findPosition: ledger.findPosition,
    forgetSpool: ledger.forgetSpool,
    isRecordFault: () => false,
    now: Date.now,
    log: { info: write('info'), warn: write('warn'), error: write('error') },
    ...overrides,
  });
  return { ...shipper, logged };
}

/** Lines of a spool file as they lie there. */
export function linesOf(text: string): readonly Record<string, unknown>[] {
  return text
    .split('\n')
    .filter((line) => line !== '')
    .map((line): Record<string, unknown> => JSON.parse(line));
}

/** How often each call has an intent and an outcome among records. */
export function tally(records: readonly Pick<CallAuditRecord, 'callId' | 'phase'>[]): Map<string, string> {
  const calls = new Map<string, string>();
  for (const { callId, phase } of records)
    calls.set(callId, `${calls.get(callId) ?? ''}${phase === 'intent' ? 'i' : 'o'}`);
  return calls;
}
