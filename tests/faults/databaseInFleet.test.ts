/** PostgreSQL is stopped, stalled, slowed and cut off under a whole fleet that is called; each promise in its own words. */
import { setTimeout as delay } from 'node:timers/promises';
import { afterAll, beforeAll, describe, expect, it } from '@jest/globals';
import { waitUntil } from '../support/eventually.js';
import { initialize } from '../support/mcpHttp.js';
import { callApi } from '../support/people.js';
import { openCaller } from '../support/soak/callers.js';
import { Journal, type Answer, type Tenant } from '../support/soak/journal.js';
import { makeTenant, type Owner } from '../support/soak/owners.js';
import { createRandom } from '../support/soak/random.js';
import { tenantOf } from '../support/soak/recordingServices.js';
import { serviceProgram, startSoakFleet, type SoakFleet } from '../support/soak/soakFleet.js';
import { soakServices } from '../support/soak/soakServices.js';

const journal = new Journal();
let soak: SoakFleet;
let owner: Owner;
let tenants: Tenant[];
let calls = 0;

const programs = ['main-api', ...soakServices.map(serviceProgram)];

const onPort = ({ service, urls }: Tenant): string =>
  urls.at(-1)!.value.replace(soak.fleet.origin, soak.serviceOrigin(service));

interface Timed {
  readonly id: string;
  readonly beganAt: number;
  readonly ms: number;
  readonly answer: Answer;
}

/** One call by a conversation of its own, straight on the port. */
async function timedCall(tenant: Tenant): Promise<Timed> {
  const beganAt = Date.now();
  const id = `direct-${(calls += 1)}`;
  const signal = AbortSignal.timeout(60_000);
  const opened = await openCaller('raw modern', onPort(tenant), signal);
  const answer =
    'answer' in opened ? opened.answer : await opened.caller.call('record', { call: id }, signal);
  return { id, beganAt, ms: Date.now() - beganAt, answer };
}

const callOnce = async (tenant: Tenant): Promise<Answer> => (await timedCall(tenant)).answer;

/** Calls every tenant again and again until it is over. */
async function callWhile(isOver: () => boolean): Promise<Timed[]> {
  const made: Timed[] = [];
  await Promise.all(
    tenants.map(async (tenant) => {
      while (!isOver()) {
        made.push(await timedCall(tenant));
        await delay(100);
      }
    }),
  );
  return made;
}

async function worksAgain(withinMs: number): Promise<void> {
  const until = Date.now() + withinMs;
  for (const program of programs)
    expect({ program, isReady: await soak.isReady(program, until - Date.now()) }).toEqual({
      program,
      isReady: true,
    });
  for (const tenant of tenants)
    await waitUntil(
      `${tenant.service} is served`,
      async () => (await callOnce(tenant)).kind === 'answered',
      10_000,
    );
}

interface Watched {
  readonly made: readonly Timed[];
  /** Of any program, as it measures it itself, at most. */
  readonly lagMs: number;
  readonly livezMs: number;
  /** To the database, at most. */
  readonly connections: number;
}

/** In ms since it was read last, which begins it anew. */
async function lagOf(program: string): Promise<number> {
  const { body } = await callApi(soak.originOf(program), 'GET', '/metrics');
  return Number(/^nodejs_eventloop_lag_max_seconds (\S+)$/m.exec(String(body.text))?.[1]) * 1_000;
}

/** Calls every tenant, and asks every program again and again how it is. */
async function watchPrograms(until: number): Promise<Watched> {
  const isOver = (): boolean => Date.now() > until;
  for (const program of programs) await lagOf(program);
  let [lagMs, livezMs, connections] = [0, 0, 0];
  const looking = (async () => {
    while (!isOver()) {
      for (const program of programs) {
        const asked = performance.now();
        const { status } = await callApi(soak.originOf(program), 'GET', '/livez');
        if (status !== 200) throw new Error(`${program} does not live: ${status}`);
        livezMs = Math.max(livezMs, performance.now() - asked);
        lagMs = Math.max(lagMs, await lagOf(program));
      }
      connections = Math.max(connections, soak.database.proxy.open);
      await delay(500);
    }
  })();
  const [made] = await Promise.all([callWhile(isOver), looking]);
  return { made, lagMs, livezMs, connections };
}

const seenOf = (made: readonly Timed[], from: number): Timed[] =>
  made.filter(({ id, beganAt }) => beganAt > from && journal.sightings.has(id));

describe('PostgreSQL', () => {
  beforeAll(async () => {
    soak = await startSoakFleet({
      journal,
      random: createRandom(1),
      owners: 5,
      onSighting: (sighting) => journal.see(sighting),
    });
    owner = soak.owners[0]!;
    tenants = [];
    for (const service of soakServices)
      tenants.push(await makeTenant(journal, owner, service, `t${service}`));
    await worksAgain(10_000);
  }, 240_000);
  afterAll(async () => {
    await soak?.[Symbol.asyncDispose]();
  }, 120_000);

  it('R01 stopped at once: calls get 503 within 2 s, none reaches an upstream, all is ready 5 s after the start', async () => {
    await soak.database.stopImmediately();
    const stoppedAt = Date.now();
    const made = await callWhile(() => Date.now() > stoppedAt + 8_000);
    const late = made.filter(({ beganAt }) => beganAt > stoppedAt + 500);
    expect(late.length).toBeGreaterThan(tenants.length);
    expect(late.filter(({ answer }) => answer.kind !== 'status' || answer.status !== 503)).toEqual([]);
    expect(Math.max(...late.map(({ ms }) => ms))).toBeLessThan(2_000);
    // Well within the 5 s that authority may be old: rows go with the LISTEN connection.
    expect(seenOf(made, stoppedAt + 500)).toEqual([]);
    const answer = await owner.call('GET', '/api/v1/user/instances');
    expect(answer.status).toBe(503);

    const startedAt = Date.now();
    await soak.database.start();
    await worksAgain(startedAt + 5_000 - Date.now());
  }, 60_000);

  it('R02 hung for 30 s: programs live and their loops turn, connections stay few, nothing is served on old authority', async () => {
    // A yardstick: how late the loops are on these cores while all is well.
    const before = await watchPrograms(Date.now() + 5_000);
    soak.database.stall();
    const stalledAt = Date.now();
    const { made, lagMs, livezMs, connections } = await watchPrograms(stalledAt + 30_000);
    soak.database.resume();
    process.stdout.write(
      `R02 event loop lag in ms: ${JSON.stringify({ before: before.lagMs, hung: lagMs })}\n`,
    );
    expect(lagMs).toBeLessThan(Math.max(200, 2 * before.lagMs));
    expect(livezMs).toBeLessThan(2_000);
    // The first of them waited for a statement's time, the others for a connection's; both are bounded.
    expect(Math.max(...made.map(({ ms }) => ms))).toBeLessThan(12_000);
    expect(made.filter(({ answer }) => answer.kind === 'status' && answer.status !== 503)).toEqual([]);
    expect(seenOf(made, stalledAt + 5_000)).toEqual([]);
    // Every pool full, every LISTEN connection, and those that are just being given up.
    expect(connections).toBeLessThan(80);
    await worksAgain(10_000);
  }, 120_000);

  it('R04 slow by 2 s: what cannot wait is refused at once, no queue grows beyond its cap, and nobody waits long', async () => {
    await owner.call('GET', '/api/v1/user/instances');
    soak.database.proxy.set({ kind: 'slow', delayMs: 2_000 });
    let waitingMax = 0;
    const over = new AbortController();
    const looking = (async () => {
      while (!over.signal.aborted) {
        const { body } = await callApi(soak.fleet.apiOrigin, 'GET', '/metrics');
        const waiting = /^portolan_db_pool_connections\{[^}]*state="waiting"[^}]*\} (\d+)$/m.exec(
          String(body.text),
        );
        waitingMax = Math.max(waitingMax, Number(waiting?.[1]));
        await delay(50);
      }
    })();
    const answers = await Promise.all(
      Array.from({ length: 600 }, async () => {
        const began = performance.now();
        const { status } = await owner.call('GET', '/api/v1/user/instances');
        return { status, ms: performance.now() - began };
      }),
    );
    over.abort();
    await looking;
    soak.database.proxy.heal();
    const refused = answers.filter(({ status }) => status === 503).map(({ ms }) => ms);
    refused.sort((a, b) => a - b);
    const figures = { waitingMax, refused: refused.length, p50: refused[300], slowest: refused.at(-1) };
    process.stdout.write(`R04 600 at once, 2 s of latency: ${JSON.stringify(figures)}\n`);
    expect(answers.filter(({ status }) => status !== 503 && status !== 200)).toEqual([]);
    expect(refused.length).toBeGreaterThan(300);
    expect(waitingMax).toBeGreaterThan(0);
    expect(waitingMax).toBeLessThanOrEqual(200);
    expect(figures.slowest).toBeLessThan(10_000);
    // Those that had a connection: each statement takes 4 s, and has 5.
    expect(Math.max(...answers.map(({ ms }) => ms))).toBeLessThan(45_000);
    await worksAgain(15_000);
  }, 120_000);

  it('R04 a black hole: calls are refused in their time, and it goes on when it is gone', async () => {
    soak.database.proxy.set({ kind: 'black-hole' });
    const began = Date.now();
    const made = await callWhile(() => Date.now() > began + 6_000);
    soak.database.proxy.heal();
    expect(Math.max(...made.map(({ ms }) => ms))).toBeLessThan(12_000);
    expect(seenOf(made, began + 5_000)).toEqual([]);
    await worksAgain(15_000);
  }, 90_000);

  it('R26 LISTEN lost again and again: a pause that only the database tells of counts within 2 s, for calls and streams', async () => {
    const tenant = tenants.find(({ service }) => service === 'lines')!;
    const session = await initialize(onPort(tenant));
    const stream = await session.stream();
    expect(stream.status).toBe(200);
    const over = new AbortController();
    const killing = (async () => {
      while (!over.signal.aborted) {
        await soak.database.ask(
          `select pg_terminate_backend(pid) from pg_stat_activity where application_name like 'portolan%-listen'`,
        );
        await delay(200);
      }
    })();
    await delay(1_000);
    expect(await callOnce(tenant)).toMatchObject({ kind: 'answered' });
    // Past the main API, which would tell the service by itself.
    await soak.database.ask('update instances set is_active = false, epoch = epoch + 1 where id = $1', [
      tenant.id,
    ]);
    const pausedAt = Date.now();
    const ended = stream.ended.then(() => Date.now() - pausedAt);
    const made: Timed[] = [];
    while (Date.now() < pausedAt + 4_000) {
      made.push(await timedCall(tenant));
      await delay(100);
    }
    over.abort();
    await killing;
    expect(seenOf(made, pausedAt + 2_000)).toEqual([]);
    const late = made.filter(({ beganAt }) => beganAt > pausedAt + 2_000);
    expect(late.length).toBeGreaterThan(0);
    // Or 429: who asks for what there is not is made to wait.
    expect(
      late.filter(({ answer }) => answer.kind !== 'status' || ![404, 429].includes(answer.status)),
    ).toEqual([]);
    expect(await ended).toBeLessThan(2_500);
    await soak.database.ask('update instances set is_active = true, epoch = epoch + 1 where id = $1', [
      tenant.id,
    ]);
    await worksAgain(10_000);
    expect(tenantOf(tenant.credentials[0]!.value)).toBe(tenant.tag);
  }, 90_000);

  it('R03 killed at COMMIT 200 times: what was answered with 2xx is there exactly once, the rest at most once', async () => {
    const { acknowledged, failed } = await strikeAtCommits(200);
    process.stdout.write(`R03 200 COMMITs: ${acknowledged.length} acknowledged, ${failed.length} not\n`);
    const rows = await soak.database.ask<{ name: string; count: number; audited: number }>(
      `select k.name, count(*)::int as count,
         (select count(*)::int from audit_events a where a.target_id = any(array_agg(k.id::text))) as audited
         from api_keys k group by k.name`,
    );
    const countOf = new Map(rows.map(({ name, count }) => [name, count]));
    expect(acknowledged.length).toBeGreaterThan(50);
    expect(failed.length).toBeGreaterThan(20);
    expect(acknowledged.filter((name) => countOf.get(name) !== 1)).toEqual([]);
    expect(failed.filter((name) => (countOf.get(name) ?? 0) > 0)).toEqual([]);
    // The change and its audit row are one.
    expect(rows.filter(({ count, audited }) => count !== audited)).toEqual([]);
  }, 240_000);
});

/** Makes personal API keys, each under a name of its own, while the backend dies before, in or after each COMMIT. */
async function strikeAtCommits(rounds: number): Promise<{ acknowledged: string[]; failed: string[] }> {
  const acknowledged: string[] = [];
  const failed: string[] = [];
  const terminate = (pid: number): Promise<unknown> =>
    soak.database.ask('select pg_terminate_backend($1)', [pid]);
  let commits = 0;
  soak.database.proxy.set(
    {
      kind: 'at-commit',
      async strike(commit) {
        const turn = (commits += 1) % 5;
        if (turn === 0) return await commit.pass();
        if (turn === 1) {
          // Dead before it heard.
          await terminate(commit.backendPid);
          return commit.cut();
        }
        if (turn === 2) {
          // In the middle, whoever wins.
          const passed = commit.pass();
          await terminate(commit.backendPid);
          return await passed;
        }
        // Done, and dead before it could say so.
        await commit.pass();
        await terminate(commit.backendPid);
        return commit.cut();
      },
    },
    ({ user, applicationName }) => user === 'portolan_api' && applicationName === 'portolan-main-api',
  );
  for (let round = 0; round < rounds; round += 1) {
    const name = `commit-${round}`;
    const by = soak.owners[round % 5]!;
    const { status } = await by.call('POST', '/api/v1/users/me/keys', { name });
    expect([201, 503]).toContain(status);
    (status === 201 ? acknowledged : failed).push(name);
  }
  soak.database.proxy.heal();
  return { acknowledged, failed };
}
