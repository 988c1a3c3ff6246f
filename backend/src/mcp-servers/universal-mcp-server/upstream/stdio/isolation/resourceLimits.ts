/**
 * What each child may hold, by limits of the kernel that its own children inherit (getrlimit(2)): data, tasks, open files,
 * and no core dump, which would hold its credential. A limit is never above that of this process, which may not raise it.
 */
import { readFileSync } from 'node:fs';

export interface ResourceLimits {
  /** Data that each of its processes may hold: the heap and private mappings (RLIMIT_DATA). */
  readonly memoryBytes: number;
  /** Processes and threads; kept where the child has a uid or a user namespace of its own, since the kernel counts by uid. */
  readonly tasksMax: number;
}

const openFilesMax = 4_096;

/**
 * The arguments of util-linux's prlimit.
 * @param countsTasks whether the uid that it will run as belongs to this child's owner alone.
 */
export function toPrlimit({ memoryBytes, tasksMax }: ResourceLimits, countsTasks: boolean): string[] {
  const own = readOwnLimits();
  const atMost = (wanted: number, row: string): number => Math.min(wanted, own.get(row) ?? Infinity);
  return [
    `--data=${atMost(memoryBytes, 'Max data size')}`,
    '--core=0',
    `--nofile=${atMost(openFilesMax, 'Max open files')}`,
    ...(countsTasks ? [`--nproc=${atMost(tasksMax, 'Max processes')}`] : []),
  ];
}

let ownLimits: ReadonlyMap<string, number> | null = null;

/** The hard limits of this process by their names in /proc/self/limits (proc(5)); those that are not limited are left out. */
function readOwnLimits(): ReadonlyMap<string, number> {
  ownLimits ??= new Map(
    readLines('/proc/self/limits').flatMap((line) => {
      const [, name, hard] = /^(\S+(?: \S+)*)\s{2,}\S+\s+(\d+)/.exec(line) ?? [];
      return name === undefined ? [] : [[name, Number(hard)] as const];
    }),
  );
  return ownLimits;
}

function readLines(path: string): string[] {
  try {
    return readFileSync(path, 'utf8').split('\n');
  } catch {
    return [];
  }
}
