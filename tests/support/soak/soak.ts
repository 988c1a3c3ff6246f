/**
 * A soak: clients call and owners change a running fleet, while faults come by a schedule that a seed makes; what may not
 * happen is checked as it goes and at the end.
 *
 *   const report = await soak({ seed: 7, minutes: 1.5 });
 */
import { monitorEventLoopDelay } from 'node:perf_hooks';
import { setTimeout as delay } from 'node:timers/promises';
import { checkSighting } from './callChecks.js';
import { runClient, type ClientOptions } from './clients.js';
import type { FaultSite } from './faults/fault.js';
import { planFaults, type PlannedFault } from './faultTable.js';
import { checkAudit, checkChanges, checkEveryTenant, checkLeaks, checkRepeats } from './finalChecks.js';
import { Journal, type FaultRun, type Tenant, type Violation } from './journal.js';
import { makeTenant, runOwner, type Owner } from './owners.js';
import { createRandom } from './random.js';
import { serviceProgram, startSoakFleet } from './soakFleet.js';
import { soakServices } from './soakServices.js';

export interface SoakOptions {
  readonly seed: number;
  readonly minutes: number;
  /** Ids of faults; all of them when absent. */
  readonly only?: readonly string[];
  readonly owners?: number;
  /** Times on what recovery and the end of a call may take, for a machine that is not quiet. */
  readonly patience?: number;
  /** Between two calls of one client, in ms; the same between two changes of one owner, times four. */
  readonly paceMs?: readonly [number, number];
  readonly log?: (line: string) => void;
  /** Aborted: no further fault comes, and the end is as ever. */
  readonly signal?: AbortSignal;
}

export interface SoakReport {
  readonly seed: number;
  readonly seconds: number;
  readonly calls: number;
  readonly answered: number;
  readonly seenUpstream: number;
  readonly changes: { readonly acknowledged: number; readonly refused: number; readonly unknown: number };
  readonly faults: readonly {
    readonly id: string;
    readonly detail: string;
    readonly atSeconds: number;
    readonly lastedMs: number;
    /** From the heal until programs were ready and calls succeeded. */
    readonly recoveredMs: number | null;
  }[];
  /** How calls came out, by service. */
  readonly outcomes: Readonly<Record<string, number>>;
  /** The harness's own loop, at the worst. */
  readonly harnessLagMs: number;
  readonly violations: readonly Violation[];
}

export async function soak(options: SoakOptions): Promise<SoakReport> {
  const { seed, owners = 3, patience = 1, log = () => {} } = options;
  const random = createRandom(seed);
  const journal = new Journal();
  const lag = monitorEventLoopDelay({ resolution: 10 });
  lag.enable();
  const slackMs = (): number => Math.ceil(lag.max / 1e6);
  await using fleet = await startSoakFleet({
    journal,
    random,
    owners,
    isBusy: patience > 1,
    onSighting(sighting) {
      journal.see(sighting);
      checkSighting(journal, sighting, slackMs());
    },
  });
  log(`seed ${seed}; the fleet runs after ${secondsSince(journal)} s`);
  lag.reset();
  // Every other one goes through the front.
  const wayOf = (tenant: Tenant, url: string): string =>
    journal.tenants.indexOf(tenant) % 2 === 0
      ? url
      : url.replace(fleet.fleet.origin, fleet.serviceOrigin(tenant.service));
  const people = new People({ journal, random, wayOf, slackMs, paceMs: options.paceMs ?? [300, 1_500] });
  try {
    for (const owner of fleet.owners) await people.settle(owner);
    // All of them work before anything is broken.
    await delay(3_000);
    await breakThings({ ...options, patience, log }, { soak: fleet, journal });
    await delay(1_000);
  } finally {
    // Whatever went wrong, nobody calls a fleet that is being stopped.
    await people.leave();
  }
  log(`clients and owners have ended after ${secondsSince(journal)} s; looking at what is left`);
  checkRepeats(journal);
  await checkEveryTenant(journal, wayOf);
  await checkChanges(journal, fleet, (tenant) => {
    const owner = fleet.owners.find(({ name }) => tenant.tag.startsWith(name));
    if (owner === undefined) throw new Error(`nobody owns ${tenant.tag}`);
    return owner;
  });
  await checkAudit(journal, fleet);
  await checkLeaks(journal, fleet);
  return toReport(journal, seed, slackMs());
}

/** Owners with an instance of every service, and a client for each. */
class People {
  readonly #parts: Omit<ClientOptions, 'over'>;
  readonly #over = new AbortController();
  readonly #running: Promise<void>[] = [];

  constructor(parts: Omit<ClientOptions, 'over'>) {
    this.#parts = parts;
  }

  async settle(owner: Owner): Promise<void> {
    const { journal, random, paceMs } = this.#parts;
    const { signal: over } = this.#over;
    const tenants: Tenant[] = [];
    for (const service of soakServices)
      tenants.push(await makeTenant(journal, owner, service, `${owner.name}${service}`));
    const onMade = (tenant: Tenant): void =>
      void this.#running.push(runClient(tenant, { ...this.#parts, over }));
    for (const tenant of tenants) onMade(tenant);
    const changesPaceMs = [paceMs[0] * 4, paceMs[1] * 4] as const;
    this.#running.push(runOwner(owner, tenants, { journal, random, over, paceMs: changesPaceMs, onMade }));
  }

  /** Resolves when all have ended. */
  async leave(): Promise<void> {
    this.#over.abort();
    await Promise.all(this.#running);
  }
}

async function breakThings(
  {
    seed,
    minutes,
    only = [],
    patience,
    log,
    signal,
  }: SoakOptions & Required<Pick<SoakOptions, 'patience' | 'log'>>,
  site: FaultSite,
): Promise<void> {
  const end = Date.now() + minutes * 60_000;
  const plans = planFaults(seed, only);
  let next = plans.next().value;
  const isOver = (): boolean => Date.now() > end || signal?.aborted === true;
  while (!isOver()) {
    const together = [next];
    for (next = plans.next().value; next.isBesides && together.length < 2; next = plans.next().value)
      together.push(next);
    await Promise.all(together.map((plan) => runFault(plan, site, patience, log)));
  }
}

async function runFault(
  plan: PlannedFault,
  site: FaultSite,
  patience: number,
  log: (line: string) => void,
): Promise<void> {
  const { journal } = site;
  const { fault, detail, hits } = plan;
  await delay(plan.afterMs);
  const run: FaultRun = {
    id: fault.id,
    detail,
    hits,
    injectedAt: Date.now(),
    healedAt: null,
    recoveredAt: null,
  };
  journal.faults.push(run);
  log(`${secondsSince(journal)} s: ${fault.id} ${detail}`);
  const heal = await plan.inject(site);
  await delay(plan.lastsMs);
  await heal();
  run.healedAt = Date.now();
  const isWell = await recovers(run, site, fault.recoveryMs * patience);
  run.recoveredAt = Date.now();
  const ms = run.recoveredAt - run.healedAt;
  if (isWell === true) return;
  // Another fault that is still there has its own time.
  if (journal.faults.some((other) => other !== run && other.recoveredAt === null)) return;
  journal.report('h', `after ${fault.id} ${detail} ${isWell} is not well ${ms} ms after the heal`);
}

/** The clients' own pace, and what the start of a conversation takes, is no part of a promise. */
const clientPaceMs = 4_000;

/** Everything is ready, and of each service that was hit a call that began after the heal was answered. */
async function recovers(
  { hits, healedAt }: FaultRun,
  site: FaultSite,
  withinMs: number,
): Promise<true | string> {
  const { soak: fleet, journal } = site;
  const end = performance.now() + withinMs;
  const programs = ['main-api', ...(hits.length > 0 ? hits : soakServices).map(serviceProgram)];
  for (const program of programs)
    if (!(await fleet.isReady(program, Math.max(0, end - performance.now())))) return program;
  for (const service of hits) {
    const isServed = (): boolean =>
      [...journal.calls.values()].some(
        (call) =>
          call.tenant.service === service &&
          call.startedAt >= (healedAt ?? 0) &&
          call.answer?.kind === 'answered',
      );
    while (!isServed() && performance.now() < end + clientPaceMs) await delay(50);
    if (!isServed()) return service;
  }
  return true;
}

const secondsSince = ({ startedAt }: Journal): string => ((Date.now() - startedAt) / 1_000).toFixed(1);

function toReport(journal: Journal, seed: number, harnessLagMs: number): SoakReport {
  const count = (outcome: string): number =>
    journal.changes.filter((change) => change.outcome === outcome).length;
  const calls = [...journal.calls.values()];
  return {
    seed,
    seconds: Math.round((Date.now() - journal.startedAt) / 1_000),
    calls: calls.length,
    answered: calls.filter(({ answer }) => answer?.kind === 'answered').length,
    seenUpstream: journal.sightings.size,
    changes: { acknowledged: count('acknowledged'), refused: count('refused'), unknown: count('unknown') },
    faults: journal.faults.map(({ id, detail, injectedAt, healedAt, recoveredAt }) => ({
      id,
      detail,
      atSeconds: Math.round((injectedAt - journal.startedAt) / 100) / 10,
      lastedMs: (healedAt ?? Date.now()) - injectedAt,
      recoveredMs: recoveredAt === null || healedAt === null ? null : recoveredAt - healedAt,
    })),
    outcomes: Object.fromEntries([...journal.outcomes].toSorted(([a], [b]) => (a < b ? -1 : 1))),
    harnessLagMs,
    violations: journal.violations,
  };
}
