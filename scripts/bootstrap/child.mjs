// Runs a program in front of the user: same terminal, signals passed on, its exit code as the answer.
import { spawn } from 'node:child_process';
import { fileURLToPath } from 'node:url';

const wait = () => {};

export const root = fileURLToPath(new URL('../..', import.meta.url)).replace(/\/$/, '');

/**
 * Runs `command` in the project root and resolves with its exit code (128 + n for a signal, 127 when it does not start).
 * @param {string} command
 * @param {string[]} args
 * @param {{ env?: NodeJS.ProcessEnv, cwd?: string, quiet?: boolean }} [options] `quiet` shows the output only if it fails
 * @returns {Promise<number>}
 */
export function runChild(command, args, { env = process.env, cwd = root, quiet = false } = {}) {
  return new Promise((resolve) => {
    const child = spawn(command, args, { cwd, env, stdio: quiet ? ['ignore', 'pipe', 'pipe'] : 'inherit' });
    const held = [];
    child.stdout?.on('data', (chunk) => held.push(chunk));
    child.stderr?.on('data', (chunk) => held.push(chunk));
    // The terminal sends Ctrl-C to the whole group, so that the child ends by itself; a plain kill reaches only us.
    const passOn = (signal) => child.kill(signal);
    process.on('SIGTERM', passOn);
    process.on('SIGINT', wait);
    const finish = (code) => {
      process.off('SIGTERM', passOn);
      process.off('SIGINT', wait);
      if (code !== 0) process.stderr.write(Buffer.concat(held));
      resolve(code);
    };
    child.on('error', (error) => {
      console.error(`cannot run ${command}: ${error.message}`);
      finish(127);
    });
    child.on('close', (code, signal) => finish(code ?? 128 + (signal === 'SIGINT' ? 2 : 15)));
  });
}
