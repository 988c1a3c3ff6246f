/**
 * The version before this one and this one, on one schema, at the same time (R30): what an upgrade of one program after the
 * other is, and a rollback. The version before is built from its own commit.
 */
import { execFileSync } from 'node:child_process';
import { mkdirSync, mkdtempSync, rmSync, symlinkSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { setTimeout } from 'node:timers/promises';
import { describe, expect, it } from '@jest/globals';
import { findProjectRoot } from '../../backend/src/config/projectRoot.js';
import { waitUntil } from '../support/eventually.js';
import { aFreePort } from '../support/freePorts.js';
import { createClient } from '../support/mainApi.js';
import { addNote, connectTo, isDone, layPlant, type PlantInstance, type Program } from '../support/plant.js';
import { cloneDatabase } from '../support/testDatabase.js';

/** The last one before the migrations from 000009 on. */
const before = '0c9f7f3';
const root = findProjectRoot();

function hasCommit(): boolean {
  try {
    execFileSync('git', ['cat-file', '-e', `${before}^{commit}`], { cwd: root, stdio: 'ignore' });
    return true;
  } catch {
    return false;
  }
}

const isThere = hasCommit();
if (!isThere) console.warn(`SKIPPED, the commit ${before} is not in this clone: R30 with two versions`);
const describeWithHistory = isThere ? describe : describe.skip;

/** The project at that commit, built. */
function buildBefore(): Disposable & { readonly root: string } {
  const folder = mkdtempSync(join(tmpdir(), 'portolan-before-'));
  const archive = join(folder, 'project.tar');
  execFileSync('git', ['archive', '--output', archive, before], { cwd: root });
  const project = join(folder, 'project');
  mkdirSync(project);
  execFileSync('tar', ['-xf', archive, '-C', project]);
  symlinkSync(join(root, 'node_modules'), join(project, 'node_modules'));
  execFileSync(process.execPath, [join(project, 'scripts', 'build.mjs')], { cwd: project, stdio: 'pipe' });
  return { root: project, [Symbol.dispose]: () => rmSync(folder, { recursive: true, force: true }) };
}

const ready = async ({ url }: Program): Promise<boolean> => (await fetch(`${url}/readyz`)).status === 200;

describeWithHistory('two versions', () => {
  it('R30 the version before and this one serve one database, each what the other made, with no error', async () => {
    using older = buildBefore();
    await using db = await cloneDatabase();
    await using plant = await layPlant(db.urls);
    // Newest first: the schema is migrated, and an operator brings one program after the other.
    await using apiNew = await plant.startApi();
    await using serviceOld = await plant.startService({ root: older.root });
    const apiOld = await plant.startApi({ root: older.root });
    const serviceNew = await plant.startService({ port: await aFreePort() });
    const ada = await plant.signInFirstAdmin(apiNew);
    // A session is of the installation and not of a program.
    const adaAtOld = createClient(apiOld.url, ada.bearer);
    for (const program of [apiNew, apiOld, serviceNew, serviceOld])
      await waitUntil('it is ready', () => ready(program), 20_000);

    const errors: string[] = [];
    let n = 0;
    let busy = 0;
    const call = async (service: Program, instance: PlantInstance): Promise<void> => {
      const id = `n${(n += 1)}`;
      let answer = await addNote(service, instance, id);
      // A machine that is too busy for its database says so, whatever the version; nothing was sent then.
      while (answer.json?.error?.data?.code === 'DATABASE_UNAVAILABLE' && (busy += 1) < 20)
        answer = await addNote(service, instance, id);
      const seen = plant.upstream.requests.find(({ target }) => target === `/notes/${id}`);
      if (!isDone(answer)) errors.push(`${answer.status} ${answer.text.slice(0, 200)}`);
      else if (seen?.headers.authorization !== `Bearer ${instance.token}`) errors.push('another credential');
    };
    /** Everything that one of them makes, used and changed by the other, while calls go on. */
    const round = async (services: readonly Program[], people: readonly (typeof ada | typeof adaAtOld)[]) => {
      const over = new AbortController();
      const steady = await connectTo(ada);
      const load = services.map(async (service) => {
        while (!over.signal.aborted) {
          await call(service, steady);
          await setTimeout(5);
        }
      });
      for (const [at, maker] of people.entries()) {
        const other = people[(at + 1) % people.length] ?? maker;
        const made = await connectTo(maker);
        for (const service of services) await call(service, made);
        const rotated = await other.post(made.path.replace('/instance?', '/instance/rotate?'), {});
        expect([rotated.status, rotated.body.code]).toEqual([200, undefined]);
        const { instanceId } = rotated.body as { instanceId: string };
        for (const service of services) {
          await waitUntil(
            'the old URL is unknown',
            async () => (await addNote(service, made, 'old')).status === 404,
            2_000,
          );
          await call(service, { ...made, instanceId });
        }
        expect((await maker.get('/api/v1/user/instances')).status).toBe(200);
        const gone = await maker.delete(made.path);
        expect(gone.status).toBeLessThan(300);
        for (const service of services)
          await waitUntil(
            'a revoked URL is unknown within 2 s',
            async () => (await addNote(service, { instanceId }, 'gone')).status === 404,
            2_000,
          );
      }
      over.abort();
      await Promise.all(load);
    };
    await round([serviceOld, serviceNew], [ada, adaAtOld]);
    // The upgrade is done, and taken back.
    await apiOld.stop();
    await serviceNew.stop();
    const apiBack = await plant.startApi({ root: older.root });
    const serviceBack = await plant.startService({ port: await aFreePort() });
    for (const program of [apiBack, serviceBack])
      await waitUntil('it is ready', () => ready(program), 20_000);
    await round([serviceOld, serviceBack], [createClient(apiBack.url, ada.bearer), ada]);
    expect(errors).toEqual([]);

    // What either made is audited: each call that reached the upstream, by its intent and its outcome.
    const superuser = await db.superuser();
    const sent = plant.upstream.requests.filter(({ method }) => method === 'POST').length;
    const audited = async () => {
      const { rows } = await superuser.query<{ phase: string; count: string }>(
        "select phase, count(*) from audit_calls where name = 'add' and outcome is distinct from 'refused' group by phase",
      );
      return rows.map(({ count }) => Number(count));
    };
    await waitUntil(
      `the audit has ${sent} calls`,
      async () => JSON.stringify(await audited()) === JSON.stringify([sent, sent]),
      10_000,
    );
    const { rows: changes } = await superuser.query<{ action: string; count: string }>(
      "select action, count(*) from audit_events where outcome = 'success' and action like 'instance.%' group by action",
    );
    process.stdout.write(`R30 ${sent} calls, changes: ${JSON.stringify(changes)}\n`);
    expect(changes.length).toBeGreaterThan(0);
    for (const program of [apiNew, apiBack, serviceOld, serviceBack])
      expect(program.output()).not.toContain('"level":"error"');
  }, 240_000);
});
