/** R25: what was acknowledged is what is recorded, when more comes than the database takes. */
import { setImmediate as nextTick } from 'node:timers/promises';
import { expect, it } from '@jest/globals';
import { aFolder, aLedger, anIntent, anOutcome, aShipper, aSpool, tally, type Ledger } from './given.js';

it.each(['spool', 'fsync'] as const)(
  'R25 rows are the acknowledged calls after a burst of 20,000 with a failing database (%s)',
  async (durability) => {
    using folder = aFolder();
    const ledger = aLedger();
    let batches = 0;
    const ship: Ledger['ship'] = async (batch) => {
      batches += 1;
      if (batches % 3 === 0) throw new Error('shed');
      await ledger.ship(batch);
      if (batches % 5 === 0) throw new Error('the answer was lost');
    };
    const spool = aSpool(folder.path, { durability, fileBytesMax: 500_000 });
    const shipper = aShipper(folder.path, { ...ledger, ship }, { spool, intervalMs: 10 });
    const acknowledged: string[] = [];
    const from = performance.now();
    for (let round = 0; round < 100; round += 1) {
      const intents = Array.from({ length: 200 }, () => anIntent());
      await Promise.all(
        intents.map(async (intent) => {
          await spool.intent(intent);
          acknowledged.push(intent.callId);
        }),
      );
      for (const { callId } of intents) spool.outcome(anOutcome(callId));
      await nextTick();
    }
    const perSecond = Math.round(acknowledged.length / ((performance.now() - from) / 1_000));
    await spool.close();
    for (let tries = 0; folder.files().length > 0 && tries < 100; tries += 1) {
      await shipper.shipNow().catch(() => undefined);
    }
    await shipper.close();
    expect(tally(ledger.records)).toEqual(new Map(acknowledged.map((callId) => [callId, 'io'])));
    expect(folder.files()).toEqual([]);
    console.info(`R25 ${durability}: ${perSecond} acknowledged calls/s with shipping under way`);
  },
  60_000,
);
