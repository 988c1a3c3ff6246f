// One command at a time installs and builds in a checkout; a second one waits for its turn.
import { linkSync, mkdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { setTimeout as delay } from 'node:timers/promises';
import { root } from './child.mjs';

const dist = join(root, 'dist');
const turnFile = join(dist, '.preparing');
const waitMaxMs = 15 * 60_000;

function holder() {
  try {
    return Number(readFileSync(turnFile, 'utf8'));
  } catch {
    return 0;
  }
}

function isAlive(pid) {
  try {
    process.kill(pid, 0);
    return true;
  } catch (error) {
    return error.code === 'EPERM';
  }
}

/** Creates the file with its content in one step, so that no reader sees it empty. */
function take() {
  const mine = `${turnFile}.${process.pid}`;
  writeFileSync(mine, String(process.pid));
  try {
    linkSync(mine, turnFile);
    return true;
  } catch (error) {
    if (error.code !== 'EEXIST') throw error;
    return false;
  } finally {
    rmSync(mine, { force: true });
  }
}

/**
 * Runs `work` while no other command of this checkout does. A holder that died is passed over.
 * @template T
 * @param {() => Promise<T>} work
 * @returns {Promise<T>}
 */
export async function inTurn(work) {
  mkdirSync(dist, { recursive: true });
  const deadline = Date.now() + waitMaxMs;
  let told = false;
  while (!take()) {
    const pid = holder();
    if (pid !== 0 && !isAlive(pid)) {
      rmSync(turnFile, { force: true });
      continue;
    }
    if (Date.now() > deadline)
      throw new Error(`process ${pid} has been installing for 15 minutes; end it, then try again`);
    if (!told) console.log(`Waiting for process ${pid}, which installs or builds here…`);
    told = true;
    await delay(200);
  }
  try {
    return await work();
  } finally {
    if (holder() === process.pid) rmSync(turnFile, { force: true });
  }
}
