/** Programs that are killed, restarted, reloaded and stopped in their tracks. */
import { setTimeout as delay } from 'node:timers/promises';
import { findMarkedIn } from '../../../../backend/src/mcp-servers/universal-mcp-server/upstream/stdio/ownershipMark.js';
import { isAlive } from '../../../../backend/src/supervisor/processes.js';
import { eventually, waitUntil } from '../../eventually.js';
import { serviceProgram } from '../soakFleet.js';
import { soakServices } from '../soakServices.js';
import type { Fault, FaultSite } from './fault.js';

/** Children whose service process is dead live no longer than this (06, "Orphans"). */
const orphanMs = 5_000;

async function noOrphansOf({ journal }: FaultSite, pid: number): Promise<void> {
  const left = await eventually(async () => {
    const marked = (await findMarkedIn('')).filter(({ mark }) => mark.includes(`/${pid}-`));
    return { isDone: marked.length === 0, value: marked.length };
  }, orphanMs);
  if (left > 0) journal.report('g', `${left} children outlived their service process by ${orphanMs} ms`);
}

export const killedService: Fault = {
  id: 'R11',
  lastsMs: [100, 1_000],
  recoveryMs: 20_000,
  plan(random) {
    const service = random.oneOf(soakServices);
    const program = serviceProgram(service);
    return {
      detail: service,
      hits: [service],
      async inject(site) {
        const endExcuse = site.soak.excuse(program);
        const pid = await site.soak.pidOf(program);
        if (pid > 0) process.kill(pid, 'SIGKILL');
        await noOrphansOf(site, pid);
        return async () => {
          await isAnother(site, program, pid);
          endExcuse();
        };
      },
    };
  },
};

/** PM2 and the health monitor have started it anew. */
async function isAnother({ soak, journal }: FaultSite, program: string, pid: number): Promise<void> {
  const fresh = await eventually(async () => {
    const now = await soak.pidOf(program);
    return { isDone: now !== pid && isAlive(now), value: now };
  }, 40_000);
  if (fresh === pid) journal.report('h', `${program} was not started again`);
}

export const stoppedService: Fault = {
  id: 'R28',
  lastsMs: [0, 0],
  recoveryMs: 20_000,
  plan(random) {
    const service = random.oneOf(soakServices);
    const program = serviceProgram(service);
    return {
      detail: service,
      hits: [service],
      async inject(site) {
        const endExcuse = site.soak.excuse(program);
        const pid = await site.soak.pidOf(program);
        if (pid > 0) process.kill(pid, 'SIGSTOP');
        const stoppedAt = Date.now();
        return async () => {
          // Nobody heals it but the monitor.
          await waitUntil('the monitor has killed it', () => !isAlive(pid), 40_000).catch(() => {
            site.journal.report('h', `${program} hung for ${Date.now() - stoppedAt} ms and was not killed`);
            process.kill(pid, 'SIGKILL');
          });
          await noOrphansOf(site, pid);
          await isAnother(site, program, pid);
          endExcuse();
        };
      },
    };
  },
};

/** By PM2's own commands, as an operator would. */
const byOperator = (id: string, command: 'restart' | 'reload', programs: readonly string[]): Fault => ({
  id,
  lastsMs: [0, 0],
  recoveryMs: 20_000,
  plan(random) {
    const program = random.oneOf(programs);
    return {
      detail: `${command} ${program}`,
      // Not one call may fail of it.
      hits: [],
      async inject({ soak, journal }) {
        const endExcuse = soak.excuse(program);
        const { code, output } = await soak.fleet.run('pm2', command, program);
        if (code !== 0) journal.report('h', `pm2 ${command} ${program} failed: ${output.slice(-200)}`);
        return async () => {
          await delay(100);
          endExcuse();
        };
      },
    };
  },
});

export const operatorFaults: readonly Fault[] = [
  byOperator('R12', 'restart', ['main-api']),
  byOperator('R13', 'reload', [...soakServices.map(serviceProgram), 'front', 'main-api']),
];
