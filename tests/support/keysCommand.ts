/** `npm run keys` as an operator runs it, on a state directory of the test's own. Needs a build in dist/. */
import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { chmodSync, mkdirSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { findProjectRoot } from '../../backend/src/config/projectRoot.js';
import type { Installation } from './installation.js';

export interface KeysRun {
  /** The exit code, or the signal's name. */
  readonly ended: number | string;
  readonly stdout: string;
  readonly stderr: string;
}

export interface KeysCommand {
  readonly stateDir: string;
  /** The ring file as it is. */
  ring(): string;
  run(args: readonly string[], options?: KeysRunOptions): Promise<KeysRun>;
}

export interface KeysRunOptions {
  readonly env?: Readonly<Record<string, string>>;
  readonly nodeArgs?: readonly string[];
}

/** Lays what the command needs into that directory: the ring, as set-up leaves it, and the connection of its role. */
export function keysCommand(site: Installation, stateDir: string): KeysCommand {
  const root = findProjectRoot(import.meta.dirname);
  const ringPath = join(stateDir, 'keyring.json');
  mkdirSync(join(stateDir, 'database-urls'), { recursive: true });
  writeFileSync(join(stateDir, 'database-urls', 'jobs'), site.db.urls.jobs.reveal(), { mode: 0o400 });
  writeFileSync(ringPath, site.ring, { mode: 0o400 });
  chmodSync(ringPath, 0o400);
  return {
    stateDir,
    ring: () => readFileSync(ringPath, 'utf8'),
    async run(args, { env = {}, nodeArgs = [] } = {}) {
      const child = spawn(process.execPath, [...nodeArgs, join(root, 'dist/scripts/keys.js'), ...args], {
        env: { PATH: process.env['PATH'] ?? '', PORTOLAN_STATE_DIR: stateDir, ...env },
        stdio: ['ignore', 'pipe', 'pipe'],
      });
      const [stdout, stderr]: [string[], string[]] = [[], []];
      child.stdout.on('data', (chunk: Buffer) => stdout.push(chunk.toString('utf8')));
      child.stderr.on('data', (chunk: Buffer) => stderr.push(chunk.toString('utf8')));
      const [code, signal] = (await once(child, 'close')) as [number | null, NodeJS.Signals | null];
      return { ended: code ?? String(signal), stdout: stdout.join(''), stderr: stderr.join('') };
    },
  };
}

export function aStateDir(): { readonly path: string } & Disposable {
  const path = mkdtempSync(join(tmpdir(), 'keys-'));
  return { path, [Symbol.dispose]: () => rmSync(path, { recursive: true, force: true }) };
}
