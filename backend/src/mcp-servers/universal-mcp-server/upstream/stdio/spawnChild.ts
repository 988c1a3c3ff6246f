/**
 * Starts a child in a process group of its own, with exactly the environment it is given, and ends the whole tree:
 * TERM, a grace period, then KILL for whatever is left of it (F11). A child cannot outlive this process: the kernel
 * kills it with its parent in every form of isolation, and `ownershipMark` finds the rest.
 */
import { spawn, type ChildProcessByStdio } from 'node:child_process';
import type { Readable, Writable } from 'node:stream';
import type { Launch } from './isolation/childIsolation.js';
import { outOfDescriptors } from './outOfResources.js';
import { findMarkedAs, markName, signal } from './ownershipMark.js';

export interface ChildExit {
  readonly code: number | null;
  readonly signal: NodeJS.Signals | null;
  /** The command could not be started at all: not found, not executable. Holds a system error code. */
  readonly failure: string | null;
}

export interface Child {
  readonly stdin: Writable;
  readonly stdout: Readable;
  readonly stderr: Readable;
  /** Resolves when the child itself is gone; never rejects. */
  readonly exited: Promise<ChildExit>;
  /** Ends the child and everything it started; resolves when nothing of it is left. Later calls give the same promise. */
  stop(): Promise<void>;
}

export const stopGraceMs = 2_000;

export function spawnChild(launch: Launch, mark: string, graceMs = stopGraceMs): Child {
  const child = spawnPrivately(launch, mark);
  const exited = new Promise<ChildExit>((resolve) => {
    // A spawn error carries the arguments; only its code is taken.
    child.once('error', (error: NodeJS.ErrnoException) =>
      resolve({ code: null, signal: null, failure: error.code ?? 'unknown' }),
    );
    child.once('exit', (code, by) => resolve({ code, signal: by, failure: null }));
  });
  // Without descriptors for pipes Node gives a child that has none, and tells the reason later.
  if ((child.stdin as Writable | undefined) === undefined) throw outOfDescriptors();
  // EPIPE and resets: the exit says all there is to say.
  for (const stream of [child.stdin, child.stdout, child.stderr]) stream.on('error', () => {});

  let stopping: Promise<void> | null = null;
  const stop = async (): Promise<void> => {
    const { pid } = child;
    if (pid === undefined) return;
    child.stdin.end();
    const isRunning = (): boolean => child.exitCode === null && child.signalCode === null;
    // The group's number stays ours as long as its leader was not reaped; afterwards only the mark tells.
    if (isRunning() && !launch.isWatched) signal(-pid, 'SIGTERM');
    for (const { pid: other } of await findMarkedAs(mark)) if (other !== pid) signal(other, 'SIGTERM');
    const deadline = performance.now() + graceMs;
    while ((isRunning() || (await findMarkedAs(mark)).length > 0) && performance.now() < deadline) {
      await delay(Math.min(pollMs, graceMs / 10));
    }
    if (isRunning()) signal(-pid, 'SIGKILL');
    for (let round = 0; round < killRoundsMax; round += 1) {
      const left = await findMarkedAs(mark);
      if (left.length === 0) break;
      for (const { pid: other } of left) signal(other, 'SIGKILL');
      await delay(10);
    }
    await exited;
    for (const stream of [child.stdin, child.stdout, child.stderr]) stream.destroy();
  };
  return {
    stdin: child.stdin,
    stdout: child.stdout,
    stderr: child.stderr,
    exited,
    stop: () => (stopping ??= stop()),
  };
}

/** What it makes is its uid's alone, also in a directory that everybody shares (umask(2) is inherited). */
function spawnPrivately(launch: Launch, mark: string): ChildProcessByStdio<Writable, Readable, Readable> {
  const before = process.umask(0o077);
  try {
    return spawn(launch.file, launch.args, {
      cwd: launch.cwd,
      env: { ...launch.env, [markName]: mark },
      stdio: ['pipe', 'pipe', 'pipe'],
      detached: true,
      windowsHide: true,
    });
  } finally {
    process.umask(before);
  }
}

const pollMs = 50;
const killRoundsMax = 100;

const delay = (ms: number): Promise<void> => new Promise((resolve) => setTimeout(resolve, ms));
