/** PostgreSQL stopped, stalled, slow, cut off, and its backends killed one by one. */
import { setTimeout as delay } from 'node:timers/promises';
import type { Caller, ProxyFault } from '../../faultProxy.js';
import { soakServices } from '../soakServices.js';
import type { Fault, FaultSite } from './fault.js';

/** Nobody acts on what was read longer ago (06 R01). */
const authorityMs = 5_000;

export const stoppedDatabase: Fault = {
  id: 'R01',
  lastsMs: [2_000, 9_000],
  recoveryMs: 5_000,
  plan: () => ({
    detail: '',
    hits: soakServices,
    async inject(site) {
      await site.soak.database.stopImmediately();
      const stoppedAt = Date.now();
      return async () => {
        checkNoAuthority(site, stoppedAt + authorityMs, Date.now());
        await site.soak.database.start();
      };
    },
  }),
};

export const stalledDatabase: Fault = {
  id: 'R02',
  lastsMs: [3_000, 15_000],
  recoveryMs: 8_000,
  plan: () => ({
    detail: '',
    hits: soakServices,
    async inject(site) {
      const { database } = site.soak;
      database.stall();
      const stalledAt = Date.now();
      await Promise.resolve();
      return async () => {
        // One more second than without it: a lost LISTEN connection is noticed by its silence.
        checkNoAuthority(site, stalledAt + authorityMs + 2_000, Date.now());
        database.resume();
        await Promise.resolve();
      };
    },
  }),
};

/** What was begun while nobody could say whether it may be must not have reached an upstream. */
function checkNoAuthority({ journal }: FaultSite, from: number, to: number): void {
  for (const call of journal.calls.values()) {
    if (call.startedAt < from || call.startedAt > to) continue;
    const seen = journal.sightings.get(call.id)?.find(({ at }) => at < to);
    if (seen !== undefined)
      journal.report('d', 'a call reached its upstream without a database to allow it', {
        at: seen.at,
        call,
      });
  }
}

const listening = `application_name like 'portolan%-listen'`;

/** Ends the server's side of connections, again and again. */
const ending =
  (which: string, everyMs: readonly [number, number]): Fault['plan'] =>
  (random) => ({
    detail: '',
    hits: which === listening ? [] : soakServices,
    async inject({ soak }) {
      const over = new AbortController();
      const work = (async () => {
        while (!over.signal.aborted) {
          await soak.database
            .ask(`select pg_terminate_backend(pid) from pg_stat_activity where ${which}`)
            .catch(() => {});
          await delay(random.between(...everyMs));
        }
      })();
      await Promise.resolve();
      return async () => {
        over.abort();
        await work;
      };
    },
  });

export const killedBackends: Fault = {
  id: 'R03',
  lastsMs: [3_000, 8_000],
  recoveryMs: 5_000,
  plan: ending(`application_name like 'portolan%' and not ${listening}`, [20, 200]),
};

export const killedListeners: Fault = {
  id: 'R26',
  lastsMs: [3_000, 8_000],
  recoveryMs: 5_000,
  plan: ending(listening, [100, 1_500]),
};

const forms: readonly ProxyFault[] = [
  { kind: 'slow', delayMs: 2_000 },
  { kind: 'black-hole' },
  { kind: 'half-open' },
  { kind: 'reset' },
];
const callers: readonly { readonly name: string; readonly fits: (caller: Caller) => boolean }[] = [
  { name: 'everybody', fits: () => true },
  { name: 'services', fits: ({ user }) => user === 'portolan_service' },
  { name: 'main API', fits: ({ user }) => user === 'portolan_api' },
  { name: 'listeners', fits: ({ applicationName }) => applicationName.endsWith('-listen') },
];

export const cutOffDatabase: Fault = {
  id: 'R04',
  lastsMs: [3_000, 10_000],
  recoveryMs: 10_000,
  plan(random) {
    const form = random.oneOf(forms);
    const whom = random.oneOf(callers);
    return {
      detail: `${form.kind} for ${whom.name}`,
      hits: whom.name === 'main API' || whom.name === 'listeners' ? [] : soakServices,
      async inject({ soak }) {
        soak.database.proxy.set(form, whom.fits);
        await Promise.resolve();
        return async () => {
          soak.database.proxy.heal();
          await Promise.resolve();
        };
      },
    };
  },
};
