/**
 * Every child carries a mark in its environment that says which process of which installation started it. Environments
 * are inherited, so that grandchildren, whatever group or session they moved to, are found again: when their child is
 * stopped, and at the next start when the owner was killed (R11, "Orphans"). The mark holds no secret.
 *
 * Found through /proc; where there is none (not Linux) only the process group is known.
 */
import { createHash } from 'node:crypto';
import { readdir, readFile } from 'node:fs/promises';
import { readFileSync } from 'node:fs';

export const markName = 'PORTOLAN_CHILD_OF';

export interface OwnershipMarks {
  /** The value for one child; `child` tells the children of this process apart. */
  markOf(child: number): string;
  /** Kills what processes of this service and installation left behind that are no longer alive. @returns how many. */
  sweepOrphans(): Promise<number>;
}

/** @param stateDir tells two installations on one machine apart. */
export function createOwnershipMarks(stateDir: string, service: string): OwnershipMarks {
  const install = createHash('sha256').update(stateDir).digest('hex').slice(0, 16);
  const family = `${install}/${service}/`;
  const owner = `${process.pid}-${startTicksOf(process.pid) ?? 0}`;

  return {
    markOf: (child) => `${family}${owner}/${child}`,
    async sweepOrphans() {
      const swept = new Set<number>();
      // One round may miss what is being forked at the moment; a killed parent forks no more.
      for (let round = 0; round < sweepRoundsMax; round += 1) {
        const orphans = (await findMarkedIn(family)).filter(({ mark }) => !isOwnerAlive(mark, family));
        if (orphans.length === 0) break;
        for (const { pid } of orphans) {
          swept.add(pid);
          signal(pid, 'SIGKILL');
        }
      }
      return swept.size;
    },
  };
}

export interface MarkedProcess {
  readonly pid: number;
  readonly mark: string;
}

/** Processes of one child, and of no other whose mark only begins like its own: `…/1` is not `…/10`. */
export async function findMarkedAs(mark: string): Promise<MarkedProcess[]> {
  return (await findMarkedIn(mark)).filter((one) => one.mark === mark);
}

/** Processes whose mark begins with `prefix`. Zombies have no environment any more and are not among them. */
export async function findMarkedIn(prefix: string): Promise<MarkedProcess[]> {
  let entries: string[];
  try {
    entries = await readdir('/proc');
  } catch {
    return [];
  }
  const pids = entries.filter((entry) => /^\d+$/.test(entry)).map(Number);
  const found: MarkedProcess[] = [];
  const wanted = `${markName}=${prefix}`;
  for (let at = 0; at < pids.length; at += filesAtOnce) {
    await Promise.all(
      pids.slice(at, at + filesAtOnce).map(async (pid) => {
        if (pid === process.pid) return;
        const environment = await readFile(`/proc/${pid}/environ`, 'latin1').catch(() => '');
        const start = environment.startsWith(wanted) ? 0 : environment.indexOf(`\0${wanted}`) + 1;
        if (start === 0 && !environment.startsWith(wanted)) return;
        const end = environment.indexOf('\0', start);
        const text = environment.slice(start, end === -1 ? undefined : end);
        found.push({ pid, mark: text.slice(markName.length + 1) });
      }),
    );
  }
  return found;
}

/** Sends a signal to a process or, for a negative number, a group; whether there was one to get it. */
export function signal(pid: number, name: NodeJS.Signals): boolean {
  try {
    process.kill(pid, name);
    return true;
  } catch {
    return false;
  }
}

const sweepRoundsMax = 10;
const filesAtOnce = 64;

function isOwnerAlive(mark: string, family: string): boolean {
  const match = /^(\d+)-(\d+)\//.exec(mark.slice(family.length));
  if (match === null) return false;
  const ticks = startTicksOf(Number(match[1]));
  return ticks !== null && ticks === Number(match[2]);
}

/**
 * When a process started, in clock ticks since boot; null when it is gone or a zombie. Together with the pid it names a
 * process for good, since pids are given again (proc(5), /proc/pid/stat fields 3 and 22).
 */
export function startTicksOf(pid: number): number | null {
  try {
    const stat = readFileSync(`/proc/${pid}/stat`, 'latin1');
    const fields = stat.slice(stat.lastIndexOf(')') + 2).split(' ');
    return fields[0] === 'Z' || fields[0] === 'X' ? null : Number(fields[19]);
  } catch {
    return null;
  }
}
