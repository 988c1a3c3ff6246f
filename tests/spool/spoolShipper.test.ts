import { existsSync, readdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { describe, expect, it } from '@jest/globals';
import * as fc from 'fast-check';
import type { CallIntent } from '../../backend/src/spool/callRecord.js';
import { processMark, toSpoolPath } from '../../backend/src/spool/spoolFiles.js';
import type { SpoolBatch } from '../../backend/src/spool/spoolBatch.js';
import type { SpoolShipper } from '../../backend/src/spool/spoolShipper.js';
import { waitUntil } from '../support/eventually.js';
import { aFolder, aLedger, anIntent, anOutcome, aShipper, aSpool, tally, type Ledger } from './given.js';

/** A process that was: this pid with a start time that is not its own. */
const deadMark = processMark().replace(/-\d+-/, '-1-');

describe('the spool shipper', () => {
  it('R25 ships every record once, in order, and deletes what is shipped whole', async () => {
    using folder = aFolder();
    const ledger = aLedger();
    const spool = aSpool(folder.path, { fileBytesMax: 5_000 });
    const shipper = aShipper(folder.path, ledger, { spool });
    const intents = Array.from({ length: 200 }, () => anIntent());
    for (const [at, intent] of intents.entries()) {
      void spool.intent(intent);
      spool.outcome(anOutcome(intent.callId));
      if (at % 50 === 0) await shipper.shipNow();
    }
    await spool.close();
    await shipper.close();
    expect([...tally(ledger.records)]).toEqual([...allOnce(intents)]);
    expect(folder.files()).toEqual([]);
    expect(spool.files()).toEqual([]);
    expect(ledger.positions.size).toBe(0);
  });

  it('ships by itself within a second', async () => {
    using folder = aFolder();
    const ledger = aLedger();
    const spool = aSpool(folder.path);
    const shipper = aShipper(folder.path, ledger, { spool });
    const from = performance.now();
    void spool.intent(anIntent());
    await waitUntil('the intent is shipped', () => ledger.records.length === 1);
    expect(performance.now() - from).toBeLessThan(1_000);
    await spool.close();
    await shipper.close();
  });

  it('R03 adds nothing twice when an answer is lost after the commit, or comes as a failure before it', async () => {
    await fc.assert(
      fc.asyncProperty(
        fc.array(fc.constantFrom('take', 'lose the answer', 'fail'), { maxLength: 30 }),
        fc.integer({ min: 1, max: 40 }),
        async (fates, calls) => {
          using folder = aFolder();
          const ledger = aLedger();
          const left = [...fates];
          const ship: Ledger['ship'] = async (batch) => {
            const fate = left.shift() ?? 'take';
            if (fate !== 'fail') await ledger.ship(batch);
            if (fate !== 'take') throw new Error('connection lost');
          };
          const spool = aSpool(folder.path, { fileBytesMax: 3_000 });
          const shipper = aShipper(folder.path, { ...ledger, ship }, { spool });
          const intents = Array.from({ length: calls }, () => anIntent());
          for (const intent of intents) {
            void spool.intent(intent);
            await shipper.shipNow().catch(() => undefined);
            spool.outcome(anOutcome(intent.callId));
          }
          await spool.close();
          // Each failed round uses a fate up, so this ends.
          while (!(await isShipped(shipper)));
          await shipper.close();
          expect([...tally(ledger.records)]).toEqual([...allOnce(intents)]);
          expect(folder.files()).toEqual([]);
        },
      ),
      { numRuns: 40 },
    );
  });

  it('R04 keeps everything while the database is away, tells of it once, and catches up', async () => {
    using folder = aFolder();
    const ledger = aLedger();
    let isAway = true;
    let failures = 0;
    const ship: Ledger['ship'] = (batch) =>
      isAway ? Promise.reject(new Error('the database is away')) : ledger.ship(batch);
    const spool = aSpool(folder.path);
    const options = { spool, intervalMs: 5, onFailure: () => (failures += 1) };
    const shipper = aShipper(folder.path, { ...ledger, ship }, options);
    const intents = Array.from({ length: 20 }, () => anIntent());
    for (const intent of intents) void spool.intent(intent);
    await waitUntil('it failed three times', () => failures >= 3);
    expect(shipper.logged.filter(({ level }) => level === 'warn')).toHaveLength(1);
    isAway = false;
    await waitUntil('it caught up', () => ledger.records.length === 20);
    await spool.close();
    await shipper.close();
    expect([...tally(ledger.records).values()]).toEqual(intents.map(() => 'io'));
  });

  it('puts aside the one record that the database will never take, and ships the rest', async () => {
    using folder = aFolder();
    const ledger = aLedger();
    const ship: Ledger['ship'] = async (batch) => {
      if (batch.lines.some(({ line }) => line.includes('poison')))
        throw Object.assign(new Error('invalid input'), { code: '22P02' });
      await ledger.ship(batch);
    };
    const spool = aSpool(folder.path);
    const shipper = aShipper(folder.path, { ...ledger, ship }, { spool, isRecordFault: hasCode });
    for (const name of ['a', 'b', 'poison', 'c', 'd']) void spool.intent(anIntent({ name }));
    await shipper.shipNow();
    expect(ledger.records.map(({ name }) => name)).toEqual(['a', 'b', 'c', 'd']);
    const refused = folder.files().find((file) => file.endsWith('.refused'));
    expect(readFileSync(join(folder.path, refused ?? ''), 'utf8')).toContain('poison');
    expect(shipper.logged.map(({ level }) => level)).toEqual(['error']);
    await spool.close();
    await shipper.close();
  });

  it('goes on, loudly, when somebody deleted a file', async () => {
    using folder = aFolder();
    const ledger = aLedger();
    const spool = aSpool(folder.path, { fileBytesMax: 300 });
    const shipper = aShipper(folder.path, ledger, { spool, intervalMs: 60_000 });
    const [lost, kept] = [anIntent(), anIntent()];
    void spool.intent(lost);
    void spool.intent(kept);
    rmSync(spool.files()[0]?.path ?? '');
    await shipper.shipNow();
    expect(ledger.records.map(({ callId }) => callId)).toEqual([kept.callId]);
    expect(shipper.logged).toEqual([{ level: 'error', message: expect.stringContaining('deleted') }]);
    await spool.close();
    await shipper.close();
  });

  it('ships a record that is longer than a chunk', async () => {
    using folder = aFolder();
    const ledger = aLedger();
    const spool = aSpool(folder.path);
    const shipper = aShipper(folder.path, ledger, { spool });
    void spool.intent(anIntent({ argumentsDigest: 'ab'.repeat(400_000) }));
    void spool.intent(anIntent());
    await shipper.shipNow();
    expect(ledger.records).toHaveLength(2);
    await spool.close();
    await shipper.close();
  });
});

describe('files of a dead process', () => {
  it('R11 are adopted: every call has an outcome, the open ones unknown, whole and once', async () => {
    using folder = aFolder();
    const ledger = aLedger();
    const intents = await leaveBehind(folder.path, ledger, { calls: 10, open: [3, 7] });
    const shipper = aShipper(folder.path, ledger);
    await shipper.shipNow();
    expect(tally(ledger.records)).toEqual(allOnce(intents));
    const unknown = ledger.records.filter(({ outcome }) => outcome === 'unknown');
    expect(unknown.map(({ callId }) => callId)).toEqual([3, 7].map((at) => intents[at]?.callId));
    expect(unknown[0]).toMatchObject({ service: 'github', method: 'tools/call', name: 'echo' });
    expect(folder.files()).toEqual([]);
    expect(shipper.logged).toEqual([{ level: 'info', message: expect.stringContaining('adopted') }]);
    await shipper.close();
  });

  it('R11 a torn last line is no record', async () => {
    using folder = aFolder();
    const ledger = aLedger();
    const intents = await leaveBehind(folder.path, ledger, { calls: 3, open: [], tornBy: 25 });
    const shipper = aShipper(folder.path, ledger);
    await shipper.close();
    // Torn off was the end of the last call's outcome: the call is open then.
    expect(tally(ledger.records)).toEqual(allOnce(intents));
    expect(ledger.records.at(-1)).toMatchObject({ callId: intents[2]?.callId, outcome: 'unknown' });
    expect(folder.files()).toEqual([]);
  });

  it('R11 adopters that die on the way add nothing twice', async () => {
    for (let shipsUntilDeath = 0; shipsUntilDeath < 6; shipsUntilDeath += 1) {
      using folder = aFolder();
      const ledger = aLedger();
      const intents = await leaveBehind(folder.path, ledger, { calls: 10, open: [0, 9] });
      let ships = 0;
      const ship: Ledger['ship'] = async (batch) => {
        if (ships >= shipsUntilDeath) throw new Error('killed before the batch');
        await ledger.ship(batch);
        ships += 1;
        if (ships >= shipsUntilDeath) throw new Error('killed after the batch');
      };
      const first = aShipper(folder.path, { ...ledger, ship });
      await first.close();
      giveTo(folder.path, deadMark);
      const known = new Map(ledger.positions);
      const again: SpoolBatch[] = [];
      const watched: Ledger['ship'] = async (batch) => {
        again.push(batch);
        await ledger.ship(batch);
      };
      const second = aShipper(folder.path, { ...ledger, ship: watched });
      await second.close();
      // It asks first, and does not send what the database has.
      expect(
        again.filter(({ spoolId, lines }) => lines.at(-1)!.position <= (known.get(spoolId) ?? 0)),
      ).toEqual([]);
      expect(tally(ledger.records)).toEqual(allOnce(intents));
      expect(folder.files()).toEqual([]);
    }
  });

  it('R13 files of a process that lives, or that a living process has in hand, are left alone', async () => {
    using folder = aFolder();
    const ledger = aLedger();
    await leaveBehind(folder.path, ledger, { calls: 2, open: [1] });
    giveTo(folder.path, processMark(process.ppid));
    const before = folder.files();
    const shipper = aShipper(folder.path, ledger);
    await shipper.shipNow();
    expect(ledger.records).toEqual([]);
    expect(folder.files()).toEqual(before);
    await shipper.close();
  });

  it('a file that was being begun is removed, and foreign files are left', async () => {
    using folder = aFolder();
    const path = toSpoolPath(folder.path, { origin: deadMark, number: 1, spoolId: 'a', holder: deadMark });
    writeFileSync(`${path}.begin`, '{"carried":');
    writeFileSync(join(folder.path, 'notes.txt'), 'mine');
    const shipper = aShipper(folder.path, aLedger());
    await shipper.close();
    expect(folder.files()).toEqual(['notes.txt']);
  });

  it('a folder that is not there yet is no trouble', async () => {
    using folder = aFolder();
    const shipper = aShipper(join(folder.path, 'later'), aLedger());
    await shipper.shipNow();
    expect(existsSync(join(folder.path, 'later'))).toBe(false);
    await shipper.close();
  });
});

/** Each call with one intent and one outcome. */
function allOnce(intents: readonly CallIntent[]): Map<string, string> {
  return new Map(intents.map(({ callId }) => [callId, 'io']));
}

async function isShipped(shipper: SpoolShipper): Promise<boolean> {
  return shipper.shipNow().then(
    () => true,
    () => false,
  );
}

function hasCode(error: unknown): boolean {
  return error instanceof Error && 'code' in error;
}

interface Leaving {
  readonly calls: number;
  /** Which calls have no outcome. */
  readonly open: readonly number[];
  readonly tornBy?: number;
}

/** Files of several sizes as a process leaves them that was killed: written here, then named for a dead process. */
async function leaveBehind(dir: string, ledger: Ledger, { calls, open, tornBy = 0 }: Leaving) {
  const spool = aSpool(dir, { fileBytesMax: 1_500, shipDirect: ledger.ship });
  const intents = Array.from({ length: calls }, () => anIntent());
  for (const intent of intents) void spool.intent(intent);
  for (const [at, { callId }] of intents.entries()) {
    if (open.includes(at)) continue;
    spool.outcome(anOutcome(callId));
    await new Promise(setImmediate);
  }
  const last = spool.files().at(-1)?.path ?? '';
  if (tornBy > 0) writeFileSync(last, readFileSync(last).subarray(0, -tornBy));
  giveTo(dir, deadMark, processMark());
  return intents;
}

/** Renames all files in a folder so that another process has them in hand; `origin` names their writer anew as well. */
function giveTo(dir: string, holder: string, origin?: string): void {
  for (const name of readdirSync(dir)) {
    const [writer = '', number, spoolId] = name.split('.');
    const path = toSpoolPath(dir, {
      origin: writer === origin ? holder : writer,
      number: Number(number),
      spoolId: spoolId ?? '',
      holder,
    });
    writeFileSync(path, readFileSync(join(dir, name)));
    if (path !== join(dir, name)) rmSync(join(dir, name));
  }
}
