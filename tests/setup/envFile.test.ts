import { spawnSync } from 'node:child_process';
import { cpSync, mkdirSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, it } from '@jest/globals';
import { findProjectRoot } from '../../backend/src/config/projectRoot.js';

const projectRoot = findProjectRoot();

/** A checkout with the real bootstrap, in which there is nothing to install or to compile, and one script to run. */
function aCheckout(): string {
  const root = mkdtempSync(join(tmpdir(), 'portolan-env-'));
  for (const path of ['scripts/bootstrap', 'scripts/bootstrap.mjs', 'package.json'])
    cpSync(join(projectRoot, path), join(root, path), { recursive: true });
  for (const folder of ['backend/src', 'bench', 'dist/scripts', 'node_modules', 'var'])
    mkdirSync(join(root, folder), { recursive: true });
  for (const file of ['tsconfig.json', 'tsconfig.build.json', 'package-lock.json'])
    writeFileSync(join(root, file), '{}');
  writeFileSync(join(root, 'node_modules', '.package-lock.json'), '{}');
  writeFileSync(join(root, 'scripts', 'build.mjs'), '');
  const show = 'console.log(JSON.stringify([process.env.FRONT_PORT, process.env.PUBLIC_URL]));';
  for (const name of ['show', 'quickstart', 'stop', 'status']) {
    writeFileSync(join(root, 'scripts', `${name}.ts`), '');
    writeFileSync(join(root, 'dist', 'scripts', `${name}.js`), show);
  }
  return root;
}

const run = (args: readonly string[], env: Readonly<Record<string, string>> = {}) => {
  const ran = spawnSync(process.execPath, args, {
    cwd: tmpdir(),
    env: { PATH: process.env['PATH'], ...env },
    encoding: 'utf8',
  });
  expect({ status: ran.status, stderr: ran.stderr }).toEqual({ status: 0, stderr: '' });
  return JSON.parse(ran.stdout.trim().split('\n').at(-1) ?? '') as unknown;
};

describe('.env in the checkout', () => {
  let root: string;
  beforeAll(() => {
    root = aCheckout();
  });
  afterAll(() => rmSync(root, { recursive: true, force: true }));

  const bootstrap = (args: readonly string[], env = {}) =>
    run([join(root, 'scripts', 'bootstrap.mjs'), ...args], env);
  /** The environment that PM2 gives the main API. */
  const underPm2 = (env = {}) => {
    const app = {
      name: 'main-api',
      script: 'main.js',
      exec_mode: 'fork',
      env: {},
      portolan: { role: 'api', env: [], required: [], files: [] },
    };
    const ecosystem = JSON.stringify(join(projectRoot, 'scripts', 'ecosystem.cjs'));
    const program = `const { env } = require(${ecosystem}).toApps(${JSON.stringify(root)}, [${JSON.stringify(app)}])[0];
      console.log(JSON.stringify([env.FRONT_PORT ?? null, env.PUBLIC_URL ?? null]));`;
    return run(['-e', program], env);
  };

  it('changes nothing when it is not there', () => {
    expect(bootstrap(['run', 'show'])).toEqual([null, null]);
    expect(underPm2()).toEqual([null, null]);
  });

  it('is read by every command of the fleet and by what PM2 starts, and the environment wins', () => {
    writeFileSync(join(root, '.env'), 'FRONT_PORT=18080 # ours\nPUBLIC_URL="https://ports.example.com"\n');
    const set = ['18080', 'https://ports.example.com'];
    for (const args of [['quickstart'], ['stop'], ['status'], ['run', 'show']])
      expect(bootstrap(args)).toEqual(set);
    expect(underPm2()).toEqual(set);
    const other = { FRONT_PORT: '28080' };
    expect(bootstrap(['quickstart'], other)).toEqual(['28080', set[1]]);
    expect(underPm2(other)).toEqual(['28080', set[1]]);
  });
});
