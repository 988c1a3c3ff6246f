import { describe, expect, it } from '@jest/globals';
import { spawn, type ChildProcess } from 'node:child_process';
import { once } from 'node:events';
import { existsSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { lockDataDir } from '../../../../backend/src/mcp-servers/universal-mcp-server/upstream/stdio/dataDirLock.js';
import { projectRoot } from '../../../support/universalServer.js';

const program = join(
  projectRoot,
  'dist/backend/src/mcp-servers/universal-mcp-server/upstream/stdio/dataDirLock.js',
);
/** Takes the lock, says so, and lets it go when it is told to on its standard input. */
const script = `
  import { lockDataDir } from ${JSON.stringify(program)};
  const lock = await lockDataDir(process.argv[1], 10_000);
  process.stdout.write('locked');
  process.stdin.once('data', () => { lock.release(); process.exit(0); });
`;

async function aHolder(dir: string): Promise<ChildProcess & AsyncDisposable> {
  const child = spawn(process.execPath, ['--input-type=module', '-e', script, dir], {
    stdio: ['pipe', 'pipe', 'inherit'],
  });
  const exited = once(child, 'exit');
  await Promise.race([
    once(child.stdout, 'data'),
    exited.then(() => {
      throw new Error('it ended without the lock');
    }),
  ]);
  return Object.assign(child, {
    async [Symbol.asyncDispose]() {
      if (child.exitCode === null && child.signalCode === null) child.kill('SIGKILL');
      await exited;
    },
  });
}

function aDataDir(): Disposable & { readonly dir: string } {
  const root = mkdtempSync(join(tmpdir(), 'data-dir-'));
  return { dir: join(root, 'instance'), [Symbol.dispose]: () => rmSync(root, { recursive: true }) };
}

describe('12.23 the lock on a data directory, between two processes', () => {
  it('12.23 keeps the newcomer out while the old process holds it, and lets it in when that lets go', async () => {
    using data = aDataDir();
    await using old = await aHolder(data.dir);
    await expect(lockDataDir(data.dir, 150)).rejects.toMatchObject({ code: 'SERVICE_SATURATED' });
    const waiting = lockDataDir(data.dir, 10_000);
    const holder = readFileSync(`${data.dir}.lock`, 'utf8');
    expect(holder).toMatch(new RegExp(`^${old.pid}-`));
    old.stdin?.write('go');
    const lock = await waiting;
    expect(readFileSync(`${data.dir}.lock`, 'utf8')).toMatch(new RegExp(`^${process.pid}-`));
    lock.release();
    expect(existsSync(`${data.dir}.lock`)).toBe(false);
  });

  it('12.23 is nobody’s once its holder was killed', async () => {
    using data = aDataDir();
    {
      await using killed = await aHolder(data.dir);
      expect(readFileSync(`${data.dir}.lock`, 'utf8')).toMatch(new RegExp(`^${killed.pid}-`));
    }
    expect(existsSync(`${data.dir}.lock`)).toBe(true);
    (await lockDataDir(data.dir, 1_000)).release();
  });

  it('12.23 is nobody’s when the pid of its holder is another process by now', async () => {
    using data = aDataDir();
    writeFileSync(`${data.dir}.lock`, `${process.ppid}-1`);
    const lock = await lockDataDir(data.dir, 1_000);
    expect(readFileSync(`${data.dir}.lock`, 'utf8')).toMatch(new RegExp(`^${process.pid}-`));
    lock.release();
  });

  it('12.23 is held once within a process as well', async () => {
    using data = aDataDir();
    const first = await lockDataDir(data.dir, 1_000);
    await expect(lockDataDir(data.dir, 100)).rejects.toMatchObject({ code: 'SERVICE_SATURATED' });
    first.release();
    const second = await lockDataDir(data.dir, 1_000);
    // Releasing twice takes nothing from whoever holds it now.
    second.release();
    second.release();
    expect(existsSync(`${data.dir}.lock`)).toBe(false);
  });
});
