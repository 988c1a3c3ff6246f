import { randomBytes, randomUUID } from 'node:crypto';
import { mkdirSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { dirname, join } from 'node:path';
import { describe, expect, it, jest } from '@jest/globals';
import { loadConfig } from '../../backend/src/config/config.js';
import { findProjectRoot } from '../../backend/src/config/projectRoot.js';
import { createScheduler, type JobRun, type Scheduler } from '../../backend/src/jobs/scheduler.js';
import { addJobs } from '../../backend/src/main-api/jobs.js';
import { createFirstAdminSetup } from '../../backend/src/services/firstAdmin.js';
import { createPasswords } from '../../backend/src/services/passwords.js';
import { createSetupCode } from '../../backend/src/services/setupCode.js';
import { createLogger } from '../../backend/src/telemetry/logger.js';
import { createMainApiMetrics } from '../../backend/src/telemetry/metrics.js';
import { waitUntil } from '../support/eventually.js';
import { openInstallation, type Installation } from '../support/installation.js';

jest.setTimeout(30_000);

interface RunningJobs extends AsyncDisposable {
  readonly scheduler: Scheduler;
  readonly runs: readonly JobRun[];
}

/** The jobs of the main API as its program adds them, on a state directory of the test's own. */
function startJobs(
  site: Installation,
  { now = Date.now, hasJobsRole = true }: { now?: () => number; hasJobsRole?: boolean } = {},
): RunningJobs {
  const stateDir = mkdtempSync(join(tmpdir(), 'portolan-jobs-'));
  const config = loadConfig({ PORTOLAN_STATE_DIR: stateDir }, findProjectRoot());
  if (hasJobsRole) {
    mkdirSync(dirname(config.paths.databaseUrl('jobs')), { recursive: true });
    writeFileSync(config.paths.databaseUrl('jobs'), site.db.urls.jobs.reveal(), { mode: 0o400 });
  }
  const runs: JobRun[] = [];
  const scheduler = createScheduler({ onRun: (run) => void runs.push(run) });
  const close = addJobs(scheduler, {
    ctx: {
      config,
      pool: site.api,
      log: createLogger({ level: 'silent', program: 'main-api' }),
      metrics: createMainApiMetrics(),
      now,
      firstAdmin: createFirstAdminSetup({
        pool: site.api,
        passwords: createPasswords(),
        setupCode: createSetupCode({ path: config.paths.setupCode, randomBytes, now }),
        newId: randomUUID,
        onIssued: () => undefined,
      }),
    },
    vault: site.vault,
  });
  return {
    scheduler,
    runs,
    async [Symbol.asyncDispose]() {
      await scheduler.drain();
      await close();
      rmSync(stateDir, { recursive: true, force: true });
    },
  };
}

async function partitions(site: Installation): Promise<string[]> {
  const root = await site.db.superuser();
  const { rows } = await root.query<{ relname: string }>(
    String.raw`select relname from pg_class where relname ~ '^audit_(events|calls)_\d{8}$' order by 1`,
  );
  return rows.map(({ relname }) => relname);
}

describe('the jobs of the main API', () => {
  it('makes the partitions of the audits for the week ahead, at its start and as the days go by', async () => {
    await using site = await openInstallation();
    let now = Date.UTC(2031, 1, 26, 23, 59);
    await using jobs = startJobs(site, { now: () => now });
    await waitUntil('the first run is over', () => jobs.runs.some(({ job }) => job === 'audit-partitions'));
    const days = ['0226', '0227', '0228', '0301', '0302', '0303', '0304'].map((day) => `2031${day}`);
    expect(await partitions(site)).toEqual(
      expect.arrayContaining(days.flatMap((day) => [`audit_calls_${day}`, `audit_events_${day}`])),
    );
    expect(await partitions(site)).not.toContain('audit_events_20310305');
    now += 2 * 60_000;
    await jobs.scheduler.runNow('audit-partitions');
    expect(await partitions(site)).toContain('audit_events_20310305');
    expect(jobs.runs.filter(({ job }) => job === 'audit-partitions')).toMatchObject([
      { outcome: 'success' },
      { outcome: 'success' },
    ]);
  });

  it('removes what has ended, at its start and again, and leaves what has not', async () => {
    await using site = await openInstallation();
    const alice = await site.aUser();
    const root = await site.db.superuser();
    const addInvite = (name: string, daysAgo: number) =>
      root.query(
        `insert into invites (id, digest, role, created_by, expires_at)
         values (gen_random_uuid(), sha256($1::text::bytea), 'user', $2, now() - $3 * interval '1 day')`,
        [name, alice, daysAgo],
      );
    const count = async (): Promise<number> =>
      (await root.query<{ n: number }>('select count(*)::int as n from invites')).rows[0]?.n ?? -1;
    await addInvite('long ago', 31);
    await addInvite('lately', 29);
    await using jobs = startJobs(site);
    await waitUntil('the first run is over', () => jobs.runs.some(({ job }) => job === 'purge-expired'));
    expect(await count()).toBe(1);
    await addInvite('meanwhile', 40);
    await jobs.scheduler.runNow('purge-expired');
    expect(await count()).toBe(1);
  });

  it('runs the others where the installation has no connection for the role jobs', async () => {
    await using site = await openInstallation();
    await using jobs = startJobs(site, { hasJobsRole: false });
    await waitUntil('the keys were counted', () => jobs.runs.some(({ job }) => job === 'keys-gauge'));
    await expect(jobs.scheduler.runNow('purge-expired')).rejects.toThrow('no job named');
    expect(jobs.runs.filter(({ outcome }) => outcome !== 'success')).toEqual([]);
  });
});
