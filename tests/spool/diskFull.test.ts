/** R14 on a real disk that is full: a tmpfs of 1 MiB, which only root may mount. */
import { execFileSync } from 'node:child_process';
import { readFileSync, rmSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { describe, expect, it } from '@jest/globals';
import {
  aFolder,
  aLedger,
  anIntent,
  anOutcome,
  aShipper,
  aSpool,
  linesOf,
  tally,
  type Ledger,
} from './given.js';

const isRoot = process.getuid?.() === 0;
if (!isRoot) console.warn('SKIPPED, not root: R14 on a disk that is full (needs a tmpfs of its own)');
const describeAsRoot = isRoot ? describe : describe.skip;

describeAsRoot('a disk that is full', () => {
  it('R14 goes on with the disk full and the database up, and no call is unaudited', async () => {
    using disk = aSmallDisk();
    const ledger = aLedger();
    const failures: unknown[] = [];
    const spool = aSpool(disk.path, {
      shipDirect: ledger.ship,
      onDiskFailure: (error) => failures.push(error),
    });
    disk.fill();
    const intents = Array.from({ length: 200 }, () => anIntent());
    for (const intent of intents) await spool.intent(intent);
    expect(failures[0]).toMatchObject({ code: 'ENOSPC' });
    // Safe at the moment of the answer: on disk as far as it went, in the database for the rest.
    const safe = [...onDisk(disk.path), ...ledger.records.map(({ callId }) => callId)];
    expect(new Set(safe)).toEqual(new Set(intents.map(({ callId }) => callId)));
    for (const { callId } of intents) spool.outcome(anOutcome(callId));
    await spool.close();
    const shipper = aShipper(disk.path, ledger, { spool });
    await shipper.close();
    // An outcome that went directly may be there before the intent that lay in the file.
    const recorded = tally(ledger.records);
    expect(intents.filter(({ callId }) => !['io', 'oi'].includes(recorded.get(callId) ?? ''))).toEqual([]);
    expect(recorded.size).toBe(intents.length);
  });

  it('R14 refuses calls with the disk full and the database down, and recovers by itself', async () => {
    using disk = aSmallDisk();
    const ledger = aLedger();
    let isDown = true;
    const ship: Ledger['ship'] = (batch) => (isDown ? Promise.reject(new Error('down')) : ledger.ship(batch));
    const spool = aSpool(disk.path, { shipDirect: ship });
    const shipper = aShipper(disk.path, { ...ledger, ship }, { spool, intervalMs: 60_000 });
    disk.fill();
    const made: string[] = [];
    const refused: string[] = [];
    for (let count = 0; count < 100; count += 1) {
      const intent = anIntent();
      await Promise.resolve()
        .then(() => spool.intent(intent))
        .then(
          () => made.push(intent.callId),
          (error: unknown) => {
            expect(error).toMatchObject({ code: 'AUDIT_UNAVAILABLE' });
            refused.push(intent.callId);
          },
        );
    }
    expect(refused.length).toBeGreaterThan(0);
    // What the disk could not take whole left no torn line behind.
    expect(onDisk(disk.path)).toEqual(made);
    disk.free();
    isDown = false;
    const after = anIntent();
    await spool.intent(after);
    made.push(after.callId);
    for (const callId of made) spool.outcome(anOutcome(callId));
    await spool.close();
    await shipper.close();
    const recorded = tally(ledger.records);
    expect(made.filter((callId) => !['io', 'oi'].includes(recorded.get(callId) ?? ''))).toEqual([]);
    expect(refused.filter((callId) => recorded.get(callId)?.includes('i'))).toEqual([]);
  });

  it('R14 the files of a dead process are ended and shipped though the disk is full', async () => {
    using disk = aSmallDisk();
    const ledger = aLedger();
    const spool = aSpool(disk.path);
    const intent = anIntent();
    await spool.intent(intent);
    const path = spool.files()[0]?.path ?? '';
    const text = readFileSync(path);
    rmSync(path);
    const dead = path.replaceAll(/(\d+)-\d+-/g, '$1-1-');
    writeFileSync(dead, text);
    disk.fill();
    const shipper = aShipper(disk.path, ledger);
    await shipper.close();
    expect(ledger.records).toMatchObject([
      { callId: intent.callId, phase: 'intent' },
      { callId: intent.callId, phase: 'outcome', outcome: 'unknown' },
    ]);
    disk.free();
    await spool.close();
  });
});

/** The calls with an intent in the files of a folder; each line of theirs has to be whole. */
function onDisk(path: string): readonly string[] {
  const text = execFileSync('/bin/sh', ['-c', 'cat -- *.spool 2>/dev/null || true'], {
    cwd: path,
    encoding: 'utf8',
  });
  return linesOf(text)
    .filter(({ phase }) => phase === 'intent')
    .map(({ callId }) => String(callId));
}

function aSmallDisk() {
  const folder = aFolder();
  execFileSync('mount', ['-t', 'tmpfs', '-o', 'size=1m', 'tmpfs', folder.path]);
  const filler = join(folder.path, 'filler');
  return {
    path: folder.path,
    /** Leaves 8 KiB: room for a few records and then for a part of one. */
    fill: () => writeFileSync(filler, Buffer.alloc(1024 * 1024 - 8 * 1024)),
    free: () => rmSync(filler),
    [Symbol.dispose]: () => {
      execFileSync('umount', [folder.path]);
      folder[Symbol.dispose]();
    },
  };
}
