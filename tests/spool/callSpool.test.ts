import { setImmediate as nextTick } from 'node:timers/promises';
import { describe, expect, it } from '@jest/globals';
import { createAppendFile, type AppendFile } from '../../backend/src/spool/appendFile.js';
import { waitUntil } from '../support/eventually.js';
import { aFolder, aLedger, anIntent, anOutcome, aSpool, linesOf } from './given.js';

describe('the call spool', () => {
  it('R11 has the intent in the file before `intent` returns, in one append', () => {
    using folder = aFolder();
    const appends: string[] = [];
    const spool = aSpool(folder.path, { createFile: recording(appends) });
    const intent = anIntent();
    expect(spool.intent(intent)).toBeUndefined();
    expect(appends.filter((text) => text !== '')).toHaveLength(1);
    expect(linesOf(folder.text())).toEqual([
      { phase: 'intent', occurredAt: expect.any(String), service: 'github', ...intent },
    ]);
  });

  it('writes the outcomes of one tick at once, each with whose call it was', async () => {
    using folder = aFolder();
    const appends: string[] = [];
    const spool = aSpool(folder.path, { createFile: recording(appends) });
    const intents = [anIntent(), anIntent({ userId: null, method: 'ping' }), anIntent()];
    for (const intent of intents) void spool.intent(intent);
    const before = appends.length;
    for (const { callId } of intents) spool.outcome(anOutcome(callId));
    await nextTick();
    expect(appends.length - before).toBe(1);
    const outcomes = linesOf(folder.text()).filter(({ phase }) => phase === 'outcome');
    expect(outcomes.map(({ callId }) => callId)).toEqual(intents.map(({ callId }) => callId));
    expect(outcomes[1]).toMatchObject({ userId: null, method: 'ping', service: 'github', outcome: 'ok' });
    expect(spool.openCalls).toBe(0);
    await spool.close();
  });

  it('keeps an outcome before the intent that follows it', async () => {
    using folder = aFolder();
    const spool = aSpool(folder.path);
    const [one, other] = [anIntent(), anIntent()];
    void spool.intent(one);
    spool.outcome(anOutcome(one.callId));
    void spool.intent(other);
    const seen = linesOf(folder.text()).map(({ phase, callId }) => [phase, callId]);
    expect(seen).toEqual([
      ['intent', one.callId],
      ['outcome', one.callId],
      ['intent', other.callId],
    ]);
    await spool.close();
  });

  it('takes one outcome of a call and none of a call that it does not know', async () => {
    using folder = aFolder();
    const spool = aSpool(folder.path);
    const intent = anIntent();
    void spool.intent(intent);
    spool.outcome(anOutcome(intent.callId));
    spool.outcome(anOutcome(intent.callId, { outcome: 'error' }));
    spool.outcome(anOutcome('nobody'));
    await nextTick();
    expect(linesOf(folder.text()).filter(({ phase }) => phase === 'outcome')).toHaveLength(1);
    await spool.close();
  });

  it('A02 records a refused call as one outcome without an intent', async () => {
    using folder = aFolder();
    const spool = aSpool(folder.path);
    spool.refusal(anIntent({ instanceId: null, clientAddress: '192.0.2.7' }), { errorCode: 'NOT_FOUND' });
    await nextTick();
    expect(linesOf(folder.text())).toEqual([
      expect.objectContaining({
        phase: 'outcome',
        outcome: 'refused',
        errorCode: 'NOT_FOUND',
        instanceId: null,
        clientAddress: '192.0.2.7',
      }),
    ]);
    await spool.close();
  });

  it('begins another file when one is full, and carries what is open into it', async () => {
    using folder = aFolder();
    const spool = aSpool(folder.path, { fileBytesMax: 2_000 });
    const long = anIntent({ name: 'long' });
    void spool.intent(long);
    for (let count = 0; count < 12; count += 1) {
      const intent = anIntent();
      void spool.intent(intent);
      spool.outcome(anOutcome(intent.callId));
    }
    await nextTick();
    const files = spool.files();
    expect(files.length).toBeGreaterThan(2);
    expect(files.map(({ isClosed }) => isClosed)).toEqual(files.map((_, at) => at < files.length - 1));
    expect(files.every(({ size }) => size < 4_000)).toBe(true);
    const carried = linesOf(folder.text()).filter((line) => 'carried' in line);
    expect(carried.length).toBeGreaterThanOrEqual(files.length - 1);
    expect(carried[0]).toEqual({ carried: expect.objectContaining({ callId: long.callId, name: 'long' }) });
    await spool.close();
  });

  it('is not filled by what it carries', async () => {
    using folder = aFolder();
    const spool = aSpool(folder.path, { fileBytesMax: 2_000 });
    // 100 calls stay open, many times the size of a file.
    for (let count = 0; count < 100; count += 1) void spool.intent(anIntent());
    const bytes = Buffer.byteLength(JSON.stringify(anIntent()));
    expect(spool.files().length).toBeLessThan((100 * bytes) / 2_000 + 20);
    await spool.close();
  });

  it('makes text that a stranger chose storable: no NUL, no lone surrogate, no length', () => {
    using folder = aFolder();
    const spool = aSpool(folder.path);
    void spool.intent(
      anIntent({ name: `a\0b\ud800c${'x'.repeat(1_000)}`, method: '\udc00', requestId: '\0' }),
    );
    const [line] = linesOf(folder.text());
    expect(line).toMatchObject({ method: '\ufffd', requestId: '\ufffd' });
    expect(line?.['name']).toMatch(/^a\ufffdb\ufffdcx{251}$/);
  });

  it('closes what is still open as unknown when it is closed', async () => {
    using folder = aFolder();
    const spool = aSpool(folder.path);
    const intent = anIntent();
    void spool.intent(intent);
    await spool.close();
    expect(linesOf(folder.text()).at(-1)).toMatchObject({ callId: intent.callId, outcome: 'unknown' });
    expect(spool.files().map(({ isClosed }) => isClosed)).toEqual([true]);
  });

  it('keeps its files to itself', async () => {
    using folder = aFolder();
    const spool = aSpool(`${folder.path}/github`);
    void spool.intent(anIntent());
    const { statSync } = await import('node:fs');
    expect(statSync(`${folder.path}/github`).mode & 0o777).toBe(0o700);
    expect(statSync(spool.files()[0]?.path ?? '').mode & 0o777).toBe(0o600);
    await spool.close();
  });
});

describe('a disk that refuses', () => {
  it('R14 sends an intent to the database when a write fails, and the outcome after it', async () => {
    using folder = aFolder();
    const ledger = aLedger();
    const failures: unknown[] = [];
    const disk = aDisk();
    const spool = aSpool(folder.path, {
      shipDirect: ledger.ship,
      createFile: disk.createFile,
      onDiskFailure: (error) => failures.push(error),
    });
    disk.refuseWith('EIO');
    const intent = anIntent();
    await spool.intent(intent);
    expect(ledger.records.map(({ callId, phase }) => [callId, phase])).toEqual([[intent.callId, 'intent']]);
    spool.outcome(anOutcome(intent.callId));
    await spool.close();
    expect(ledger.records.map(({ phase }) => phase)).toEqual(['intent', 'outcome']);
    expect(failures.length).toBeGreaterThan(0);
    expect(folder.text()).toBe('');
  });

  it('R14 keeps an outcome that comes with disk and database away until one of them takes it', async () => {
    using folder = aFolder();
    const ledger = aLedger();
    const disk = aDisk();
    let isDown = false;
    let failed = 0;
    const shipDirect: typeof ledger.ship = (batch) => {
      if (!isDown) return ledger.ship(batch);
      failed += 1;
      return Promise.reject(new Error('down'));
    };
    const spool = aSpool(folder.path, { createFile: disk.createFile, shipDirect });
    disk.refuseWith('EIO');
    const intent = anIntent();
    await spool.intent(intent);
    isDown = true;
    spool.outcome(anOutcome(intent.callId));
    await waitUntil('it was tried again', () => failed > 2);
    isDown = false;
    await waitUntil('it is taken', () => ledger.records.length === 2);
    expect(ledger.records.map(({ phase, outcome }) => [phase, outcome])).toEqual([
      ['intent', undefined],
      ['outcome', 'ok'],
    ]);
    await spool.close();
  });

  it('R14 loses no outcome that waits for the next write when that write fails', async () => {
    using folder = aFolder();
    const ledger = aLedger();
    const disk = aDisk();
    const spool = aSpool(folder.path, { createFile: disk.createFile, shipDirect: ledger.ship });
    const [one, other] = [anIntent(), anIntent()];
    void spool.intent(one);
    spool.outcome(anOutcome(one.callId));
    disk.refuseWith('ENOSPC');
    await spool.intent(other);
    await waitUntil('both went the other way', () => ledger.records.length === 2);
    expect(ledger.records.map(({ callId, phase }) => [callId, phase])).toEqual([
      [one.callId, 'outcome'],
      [other.callId, 'intent'],
    ]);
    await spool.close();
  });

  it('R14 ships many records that the disk refused in few batches, each once', async () => {
    using folder = aFolder();
    const ledger = aLedger();
    let batches = 0;
    const disk = aDisk();
    const shipDirect: typeof ledger.ship = async (batch) => {
      batches += 1;
      await ledger.ship(batch);
      await nextTick();
    };
    const spool = aSpool(folder.path, { shipDirect, createFile: disk.createFile, directDeadlineMs: 5_000 });
    disk.refuseWith('ENOSPC');
    const intents = Array.from({ length: 1_000 }, () => anIntent());
    await Promise.all(intents.map(async (intent) => spool.intent(intent)));
    expect(ledger.records.map(({ callId }) => callId)).toEqual(intents.map(({ callId }) => callId));
    expect(batches).toBeLessThan(10);
    await spool.close();
  });

  it('H02 refuses the call when neither disk nor database takes the intent, and says so later', async () => {
    using folder = aFolder();
    const disk = aDisk();
    const spool = aSpool(folder.path, { createFile: disk.createFile });
    disk.refuseWith('ENOSPC');
    const intent = anIntent();
    await expect(Promise.resolve(spool.intent(intent))).rejects.toMatchObject({ code: 'AUDIT_UNAVAILABLE' });
    expect(spool.openCalls).toBe(0);
    disk.refuseWith(null);
    await nextTick();
    const next = anIntent();
    expect(spool.intent(next)).toBeUndefined();
    await spool.close();
    const seen = linesOf(folder.text()).map(({ callId, phase, outcome }) => [callId, phase, outcome]);
    expect(seen).toContainEqual([next.callId, 'intent', undefined]);
    expect(seen.filter(([callId, phase]) => callId === intent.callId && phase === 'intent')).toEqual([]);
  });

  it('H02 refuses within the deadline when the database does not answer at all', async () => {
    using folder = aFolder();
    const disk = aDisk();
    const never = new Promise<void>(() => undefined);
    const spool = aSpool(folder.path, { createFile: disk.createFile, shipDirect: () => never });
    disk.refuseWith('ENOSPC');
    const from = performance.now();
    const answers = await Promise.allSettled([spool.intent(anIntent()), spool.intent(anIntent())]);
    expect(answers.map(({ status }) => status)).toEqual(['rejected', 'rejected']);
    expect(performance.now() - from).toBeLessThan(2_000);
    await spool.close();
  });

  it('R14 goes back to the disk when it takes again, with what is open carried over', async () => {
    using folder = aFolder();
    const ledger = aLedger();
    const disk = aDisk();
    const spool = aSpool(folder.path, { createFile: disk.createFile, shipDirect: ledger.ship });
    const [before, during, after] = [anIntent(), anIntent(), anIntent()];
    expect(spool.intent(before)).toBeUndefined();
    disk.refuseWith('ENOSPC');
    await spool.intent(during);
    disk.refuseWith(null);
    expect(spool.intent(after)).toBeUndefined();
    const last = spool.files().at(-1);
    const { readFileSync } = await import('node:fs');
    const carried = linesOf(readFileSync(last?.path ?? '', 'utf8')).flatMap(
      ({ carried: call }) => call ?? [],
    );
    expect(carried).toMatchObject([{ callId: before.callId }, { callId: during.callId }]);
    await spool.close();
  });
});

describe('durability fsync', () => {
  it('R25 resolves an intent only after a sync that began after its write, in few syncs for many', async () => {
    using folder = aFolder();
    const events: string[] = [];
    const createFile = (path: string): AppendFile => {
      const file = createAppendFile(path);
      return withOverrides(file, {
        append: (bytes) => {
          file.append(bytes);
          if (bytes.length > 0) events.push('append');
        },
        datasync: async () => {
          events.push('begin');
          await file.datasync();
          events.push('end');
        },
      });
    };
    const spool = aSpool(folder.path, { createFile, durability: 'fsync' });
    const done = Array.from({ length: 200 }, async (_, at) => {
      await spool.intent(anIntent());
      events.push(`done ${at}`);
    });
    await Promise.all(done);
    const syncs = events.filter((event) => event === 'begin').length;
    expect(syncs).toBeLessThanOrEqual(3);
    // The first began with one line in the file; the second, after all appends, serves the others.
    const secondBegin = events.indexOf('begin', events.indexOf('begin') + 1);
    expect(events.lastIndexOf('append')).toBeLessThan(secondBegin);
    expect(events.indexOf('done 1')).toBeGreaterThan(events.indexOf('end', secondBegin));
    await spool.close();
  });

  it('R25 refuses the call when the sync fails, and records that it was refused', async () => {
    using folder = aFolder();
    let isFailing = true;
    const createFile = (path: string): AppendFile => {
      const file = createAppendFile(path);
      const datasync = () => (isFailing ? Promise.reject(new Error('EIO')) : file.datasync());
      return withOverrides(file, { datasync });
    };
    const spool = aSpool(folder.path, { createFile, durability: 'fsync' });
    const [refused, taken] = [anIntent(), anIntent()];
    await expect(Promise.resolve(spool.intent(refused))).rejects.toMatchObject({ code: 'AUDIT_UNAVAILABLE' });
    isFailing = false;
    await spool.intent(taken);
    await spool.close();
    const outcomes = linesOf(folder.text()).filter(({ phase }) => phase === 'outcome');
    expect(outcomes).toMatchObject([
      { callId: refused.callId, outcome: 'refused', errorCode: 'AUDIT_UNAVAILABLE' },
      { callId: taken.callId, outcome: 'unknown' },
    ]);
    expect(spool.files()).toHaveLength(2);
  });
});

function withOverrides(file: AppendFile, overrides: Partial<AppendFile>): AppendFile {
  return {
    path: file.path,
    get size() {
      return file.size;
    },
    append: (bytes) => file.append(bytes),
    datasync: () => file.datasync(),
    close: () => file.close(),
    ...overrides,
  };
}

function recording(appends: string[]) {
  return (path: string): AppendFile => {
    const file = createAppendFile(path);
    const append = (bytes: Uint8Array) => {
      appends.push(Buffer.from(bytes).toString());
      file.append(bytes);
    };
    return withOverrides(file, { append });
  };
}

/** Real files on a disk that can be told to refuse writes, as a full or broken one does. */
function aDisk() {
  let code: string | null = null;
  const refuse = () => {
    if (code !== null) throw Object.assign(new Error('the disk refuses'), { code });
  };
  return {
    refuseWith: (next: string | null) => {
      code = next;
    },
    createFile: (path: string): AppendFile => {
      refuse();
      const file = createAppendFile(path);
      const append = (bytes: Uint8Array) => {
        refuse();
        file.append(bytes);
      };
      return withOverrides(file, { append });
    },
  };
}
