/** The main API as the program that PM2 starts: its own process, its own state directory. Needs a build in dist/. */
import { spawn, type ChildProcess } from 'node:child_process';
import { once } from 'node:events';
import { join } from 'node:path';
import { findProjectRoot } from '../../backend/src/config/projectRoot.js';
import { aFreePort } from './freePorts.js';
import { createClient, type Client } from './mainApi.js';

export interface MainApiProgram extends Client, AsyncDisposable {
  readonly process: ChildProcess;
  readonly url: string;
  /** Everything on standard output and error so far. */
  readonly output: () => string;
  /** Resolves with the exit code, or the signal's name. */
  readonly exited: Promise<number | string>;
  /** Resolves when the program says that it listens. @throws when it ended before. */
  readonly ready: Promise<void>;
}

export interface ProgramWish {
  readonly stateDir: string;
  readonly port?: number;
  readonly env?: Readonly<Record<string, string>>;
}

const main = join('dist', 'backend', 'src', 'main-api', 'main.js');

export async function startMainApiProgram({ stateDir, env, ...wish }: ProgramWish): Promise<MainApiProgram> {
  const root = findProjectRoot(import.meta.dirname);
  const port = wish.port ?? (await aFreePort());
  const child = spawn(process.execPath, [join(root, main)], {
    stdio: ['ignore', 'pipe', 'pipe', 'ipc'],
    env: {
      PATH: process.env['PATH'] ?? '',
      PORTOLAN_STATE_DIR: stateDir,
      PORT: String(port),
      LOG_LEVEL: 'info',
      ...env,
    },
  });
  const written: string[] = [];
  for (const stream of [child.stdout!, child.stderr!]) {
    stream.on('data', (chunk: Buffer) => written.push(chunk.toString('utf8')));
  }
  const output = (): string => written.join('');
  const exited = once(child, 'close').then(([code, signal]) => (code as number | null) ?? String(signal));
  const listening = new Promise<void>((resolve) => {
    child.on('message', (message) => {
      if (message === 'ready') resolve();
    });
  });
  const ended = exited.then((code) => {
    throw new Error(`the main API ended with ${code}: ${output()}`);
  });
  const ready = Promise.race([listening, ended]);
  ready.catch(() => {});
  const url = `http://127.0.0.1:${port}`;

  return {
    ...createClient(url, null),
    process: child,
    url,
    output,
    exited,
    ready,
    async [Symbol.asyncDispose]() {
      if (child.exitCode === null && child.signalCode === null) child.kill('SIGKILL');
      await exited;
    },
  };
}
