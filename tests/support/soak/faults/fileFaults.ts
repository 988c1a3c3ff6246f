/** A spool's disk that is full, and a key ring that is away while programs run and while one starts. */
import { renameSync, rmSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { serviceProgram } from '../soakFleet.js';
import { soakServices } from '../soakServices.js';
import type { Fault } from './fault.js';

export const fullSpool: Fault = {
  id: 'R14',
  lastsMs: [2_000, 8_000],
  recoveryMs: 5_000,
  plan: () => ({
    detail: '',
    // The database takes what the disk does not.
    hits: [],
    async inject({ soak }) {
      await Promise.resolve();
      const { smallSpool } = soak;
      if (smallSpool === null) return () => Promise.resolve();
      const filler = join(smallSpool.dir, 'filler');
      for (let bytes = 1024 * 1024; bytes >= 1_024; bytes /= 2) {
        try {
          writeFileSync(filler, Buffer.alloc(bytes), { flag: 'a' });
        } catch {
          // It is full but for less than this.
        }
      }
      return async () => {
        rmSync(filler, { force: true });
        await Promise.resolve();
      };
    },
  }),
};

export const movedKeyRing: Fault = {
  id: 'R21',
  lastsMs: [1_000, 4_000],
  recoveryMs: 15_000,
  plan(random) {
    const service = random.oneOf(soakServices);
    const program = serviceProgram(service);
    return {
      detail: `and a restart of ${service}`,
      // Programs look at the file again and again: it seals those that run as well.
      hits: soakServices,
      async inject({ soak }) {
        const { keyRing } = soak.fleet.config.paths;
        const endExcuse = soak.excuse(program);
        renameSync(keyRing, `${keyRing}.away`);
        await soak.fleet.run('pm2', 'restart', program);
        return async () => {
          renameSync(`${keyRing}.away`, keyRing);
          endExcuse();
          await Promise.resolve();
        };
      },
    };
  },
};
