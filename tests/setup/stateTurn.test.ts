import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { existsSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, describe, expect, it } from '@jest/globals';
import { inStateTurn } from '../../scripts/setup/stateTurn.js';

let stateDir: string;
beforeEach(() => {
  stateDir = mkdtempSync(join(tmpdir(), 'portolan-turn-'));
});
afterEach(() => rmSync(stateDir, { recursive: true, force: true }));

describe('the turn of a set-up', () => {
  it('is never held by two at once', async () => {
    let inside = 0;
    let most = 0;
    const work = async () => {
      most = Math.max(most, (inside += 1));
      await new Promise((resolve) => setImmediate(resolve));
      inside -= 1;
    };
    await Promise.all([1, 2, 3, 4].map(() => inStateTurn(stateDir, work)));
    expect(most).toBe(1);
    expect(existsSync(join(stateDir, 'setup.lock'))).toBe(false);
  });

  it('passes over a holder that died', async () => {
    const dead = spawn('true');
    await once(dead, 'exit');
    writeFileSync(join(stateDir, 'setup.lock'), `${dead.pid}\n`);
    await expect(inStateTurn(stateDir, () => Promise.resolve('done'))).resolves.toBe('done');
  });

  it('is given up, naming the holder, when the wait takes too long', async () => {
    writeFileSync(join(stateDir, 'setup.lock'), `${process.ppid}\n`);
    const waited: number[] = [];
    const options = { waitMaxMs: 150, onWait: (pid: number) => void waited.push(pid) };
    await expect(inStateTurn(stateDir, () => Promise.resolve(), options)).rejects.toThrow(
      `process ${process.ppid}`,
    );
    expect(waited).toEqual([process.ppid]);
  });

  it('is given back when the work fails', async () => {
    const failure = new Error('no');
    await expect(inStateTurn(stateDir, () => Promise.reject(failure))).rejects.toBe(failure);
    await expect(inStateTurn(stateDir, () => Promise.resolve(1))).resolves.toBe(1);
  });
});
