/** Many questions at once are few loads (R19), over the lookups of a service process and by themselves. */
import { setImmediate } from 'node:timers/promises';
import { describe, expect, it } from '@jest/globals';
import { AppError } from '../../backend/src/errors/appError.js';
import { createBatches } from '../../backend/src/services/batches.js';
import { createInstanceLookup } from '../../backend/src/services/instanceLookup.js';
import { lookupDigest } from '../../backend/src/vault/instanceId.js';
import { aHerd } from '../support/herd.js';
import { openInstallation } from '../support/installation.js';

function aLoad() {
  const loads: { readonly asked: readonly number[]; end(error?: Error): void }[] = [];
  const load = (asked: readonly number[]): Promise<readonly string[]> =>
    new Promise((resolve, reject) => {
      loads.push({
        asked,
        end: (error) => (error === undefined ? resolve(asked.map((one) => `#${one}`)) : reject(error)),
      });
    });
  return { loads, load };
}

const refusal = (retryAfterSeconds: number) => ({
  code: 'SERVICE_SATURATED',
  options: expect.objectContaining({ retryAfterSeconds }) as unknown,
});

describe('lookups of a herd', () => {
  it('R19 are few statements on few connections, and each finds its own instance', async () => {
    await using site = await openInstallation();
    const herd = await aHerd(site, { users: 100, perUser: 5, service: 'notes', prefix: 'nts' });
    const pool = site.db.pool('service', { connectionsMax: 4 });
    let statements = 0;
    let busiest = 0;
    let underWay = 0;
    const counted = {
      query: async (...given: unknown[]) => {
        statements += 1;
        busiest = Math.max(busiest, (underWay += 1));
        try {
          return await (pool.query as (...of: unknown[]) => Promise<unknown>)(...given);
        } finally {
          underWay -= 1;
        }
      },
    } as typeof pool;
    const lookup = createInstanceLookup(counted);
    const key = site.vault.keys().system.lookup;
    const found = await Promise.all(
      herd.map(({ instanceId }) => lookup.byDigest(lookupDigest(key, instanceId), 'notes')),
    );
    expect(found.map((row) => [row?.id, row?.userId])).toEqual(herd.map(({ id, owner }) => [id, owner]));
    expect(found.every((row) => row?.sealedCredential !== null)).toBe(true);
    expect(await lookup.byDigest(Buffer.alloc(32), 'notes')).toBeNull();
    expect(statements).toBeLessThanOrEqual(8);
    expect(busiest).toBeLessThanOrEqual(2);
  });
});

describe('batches', () => {
  it('R19 begin at once while few are under way, and go together after that', async () => {
    const { load, loads } = aLoad();
    const ask = createBatches({ load, loadsMax: 1, sizeMax: 2 });
    const answers = Promise.all([1, 2, 3, 4].map(ask));
    expect(loads.map(({ asked }) => asked)).toEqual([[1]]);
    for (let at = 0; at < 3; at += 1) {
      loads[at]?.end();
      await setImmediate();
    }
    expect(loads.map(({ asked }) => asked)).toEqual([[1], [2, 3], [4]]);
    expect(await answers).toEqual(['#1', '#2', '#3', '#4']);
  });

  it('R01 R19 fail what waits with what fails, so that nobody waits for a database that is away', async () => {
    const { load, loads } = aLoad();
    const ask = createBatches({ load, loadsMax: 1 });
    const answers = Promise.allSettled([1, 2, 3].map(ask));
    loads[0]?.end(new AppError('DATABASE_UNAVAILABLE', 'away'));
    expect((await answers).map((one) => one.status)).toEqual(['rejected', 'rejected', 'rejected']);
    expect(loads).toHaveLength(1);
    const again = ask(4);
    loads[1]?.end();
    expect(await again).toBe('#4');
  });

  it('R19 refuse what is too much or waited too long, to come back at different times', async () => {
    const { load, loads } = aLoad();
    let clock = 0;
    const chances = [0, 0.5, 0.99];
    const ask = createBatches({
      load,
      loadsMax: 1,
      waitingMax: 2,
      waitMsMax: 100,
      now: () => clock,
      random: () => chances.shift() ?? 0,
    });
    const first = ask(1);
    const waiting = Promise.allSettled([ask(2), ask(3)]);
    await expect(ask(4)).rejects.toMatchObject(refusal(1));
    clock = 101;
    loads[0]?.end();
    expect(await first).toBe('#1');
    expect(await waiting).toMatchObject([{ reason: refusal(3) }, { reason: refusal(5) }]);
    expect(loads).toHaveLength(1);
  });
});
