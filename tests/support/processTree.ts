/** Processes of this machine as /proc shows them (Linux only; elsewhere nothing is found). */
import { readdirSync, readFileSync } from 'node:fs';

export interface ProcessRow {
  readonly pid: number;
  readonly parentPid: number;
  readonly command: string;
}

export function listProcesses(): ProcessRow[] {
  return numbersIn('/proc').flatMap((pid) => {
    const stat = readText(`/proc/${pid}/stat`);
    // The name in parentheses may hold spaces; state and parent follow it.
    const [state, parent] = stat.slice(stat.lastIndexOf(')') + 2).split(' ');
    if (state === undefined || state === '' || state === 'Z') return [];
    const command = readText(`/proc/${pid}/cmdline`).replaceAll('\0', ' ').trim();
    return [{ pid, parentPid: Number(parent), command }];
  });
}

/** Those with a text in their command line or environment, this process and its like aside. */
export function findProcessesWith(text: string): ProcessRow[] {
  return listProcesses().filter(
    ({ pid, command }) =>
      pid !== process.pid && (command.includes(text) || readText(`/proc/${pid}/environ`).includes(text)),
  );
}

export function childrenOf(pid: number): ProcessRow[] {
  return listProcesses().filter(({ parentPid }) => parentPid === pid);
}

function numbersIn(folder: string): number[] {
  try {
    return readdirSync(folder)
      .filter((name) => /^\d+$/.test(name))
      .map(Number);
  } catch {
    return [];
  }
}

function readText(path: string): string {
  try {
    return readFileSync(path, 'utf8');
  } catch {
    return '';
  }
}
