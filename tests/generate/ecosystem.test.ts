import { spawnSync } from 'node:child_process';
import {
  existsSync,
  mkdirSync,
  mkdtempSync,
  readdirSync,
  readFileSync,
  rmSync,
  writeFileSync,
} from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { describe, expect, it, jest } from '@jest/globals';
import type { PostgresApp } from '../../backend/src/database/embeddedPostgres.js';
import { aPortsFolder, aStdioService } from '../catalog/given.js';
import { generate, loadApps, root } from './given.js';

// Each test runs several programs.
jest.setTimeout(60_000);

describe('the part that is computed on loading', () => {
  it('12.2 moves ports and state, and gives each program its own', () => {
    using ports = aPortsFolder();
    ports.write('one', aStdioService('one', { port: 4_400 }));
    generate(ports);
    const stateDir = join(ports.dir, 'elsewhere');
    const [api, front, one, monitor] = loadApps(ports, {
      PORTOLAN_STATE_DIR: stateDir,
      PORT: '3100',
      FRONT_PORT: '8180',
      MONITOR_PORT: '3199',
      SERVICE_PORT_OFFSET: '1000',
      PUBLIC_URL: 'https://mcp.example.com',
      KEYRING_FILE: '/etc/portolan/keyring.json',
      MCP_PORTS_DIR: ports.dir,
    });
    expect(one?.env).toMatchObject({
      MCP_TYPE: 'one',
      PORT: '5400',
      SERVICE_PORT_OFFSET: '1000',
      PORTOLAN_STATE_DIR: stateDir,
      MCP_PORTS_DIR: ports.dir,
      PUBLIC_URL: 'https://mcp.example.com',
      KEYRING_FILE: '/etc/portolan/keyring.json',
      DATABASE_URL_FILE: join(stateDir, 'database-urls', 'service'),
      PORTOLAN_API_URL: 'http://127.0.0.1:3100',
    });
    for (const app of [api, front, monitor]) {
      expect(app?.env).toMatchObject({ PORT: '3100', FRONT_PORT: '8180', MONITOR_PORT: '3199' });
      expect(app?.script).toBe(join(root, 'dist', 'backend', 'src', app?.name ?? '', 'main.js'));
    }
  });

  it('runs the embedded PostgreSQL that set-up laid, unless there is a database of somebody else', () => {
    using ports = aPortsFolder();
    generate(ports);
    const stateDir = join(ports.dir, '.state');
    expect(loadApps(ports).map(({ name }) => name)).not.toContain('postgres');
    mkdirSync(stateDir, { recursive: true });
    const laid: PostgresApp = {
      bin: '/opt/pg/bin/postgres',
      args: ['-D', '/data'],
      dataDir: '/data',
      socketDir: '/run/pg',
      port: 5_432,
      user: { name: 'postgres', uid: 1, gid: 1 },
    };
    writeFileSync(join(stateDir, 'postgres.json'), JSON.stringify(laid));
    expect(loadApps(ports)[0]).toMatchObject({
      name: 'postgres',
      script: '/opt/pg/bin/postgres',
      args: ['-D', '/data'],
      interpreter: 'none',
      exec_mode: 'fork',
      uid: 'postgres',
      gid: 'postgres',
      kill_signal: 'SIGINT',
      treekill: false,
      // Beyond the time in which zombies are reaped, and more than a postmaster needs to end.
      restart_delay: 2_500,
      kill_timeout: 20_000,
    });
    const external = loadApps(ports, { DATABASE_URL: 'postgres://app:q7x@db.example.com/portolan' });
    expect(external.map(({ name }) => name)).not.toContain('postgres');
    expect(JSON.stringify(external)).not.toContain('q7x');
  });

  it('H01 hands on no secret and nothing that was not asked for', () => {
    using ports = aPortsFolder();
    const env = { A: { $env: 'SOME_URL' }, B: { $env: 'SOME_SECRET' }, C: { $env: 'THE_API_KEY' } };
    ports.write('needy', aStdioService('needy', { stdio: { env } }));
    ports.write('other', aStdioService('other'));
    generate(ports);
    const apps = loadApps(ports, {
      SOME_URL: 'https://x.example.com',
      SOME_SECRET: 'q7x-1',
      THE_API_KEY: 'q7x-2',
      DATABASE_URL: 'q7x-3',
      UNRELATED: 'q7x-4',
    });
    expect(JSON.stringify(apps)).not.toContain('q7x');
    expect(apps.find(({ name }) => name === 'mcp-needy')?.env.SOME_URL).toBe('https://x.example.com');
    expect(apps.find(({ name }) => name === 'mcp-other')?.env).not.toHaveProperty('SOME_URL');
  });

  it('leaves out a service whose variables are nowhere; service-env holds the secret ones', () => {
    using ports = aPortsFolder();
    const env = { A: { $env: 'SOME_SECRET' }, B: { $env: 'OTHER', optional: true } };
    ports.write('needy', aStdioService('needy', { stdio: { env } }));
    generate(ports);
    const names = (): string[] => loadApps(ports).map(({ name }) => name);
    expect(names()).not.toContain('mcp-needy');
    mkdirSync(join(ports.dir, '.state'), { recursive: true });
    writeFileSync(join(ports.dir, '.state', 'service-env'), 'SOME_SECRET=q7x\n', { mode: 0o600 });
    expect(names()).toContain('mcp-needy');
    expect(generate(ports, ['--strict', '--check'])).toMatchObject({ code: 0, err: '' });
  });
});

const program = join(root, 'node_modules', 'pm2', 'bin', 'pm2');
const anApp = (name: string, mode: string) => ({
  name,
  script: 'program.js',
  exec_mode: mode,
  wait_ready: true,
  env: { MCP_TYPE: name, PORT: '1' },
  portolan: { role: 'service', env: ['A_SETTING'], required: [], files: [] },
});

describe('PM2 itself', () => {
  it("H01 keeps nothing of the caller's environment, on disk or in what it shows", () => {
    const folder = mkdtempSync(join(tmpdir(), 'portolan-own-'));
    const canary = 'q7x-canary-of-the-caller';
    writeFileSync(
      join(folder, 'program.js'),
      `process.send('ready');
       require('node:fs').writeFileSync(process.env.MCP_TYPE + '.env', JSON.stringify(process.env));
       setInterval(() => {}, 1_000);`,
    );
    writeFileSync(
      join(folder, 'ecosystem.config.js'),
      `const { toApps } = require(${JSON.stringify(join(root, 'scripts', 'ecosystem.cjs'))});
       const apps = ${JSON.stringify([anApp('clustered', 'cluster'), anApp('forked', 'fork')])};
       module.exports = { apps: toApps(${JSON.stringify(folder)}, apps) };`,
    );
    const home = join(folder, 'pm2');
    mkdirSync(home, { mode: 0o700 });
    const pm2 = (...args: string[]): string => {
      const { status, stdout, stderr } = spawnSync(process.execPath, [program, ...args], {
        encoding: 'utf8',
        env: {
          ...process.env,
          PM2_HOME: home,
          PM2_DISCRETE_MODE: 'true',
          PM2_DISABLE_VERSION_CHECK: 'true',
          PORTOLAN_STATE_DIR: folder,
          A_SETTING: 'handed-on',
          DATABASE_URL: canary,
          UNRELATED: canary,
        },
      });
      if (status !== 0) throw new Error(`pm2 ${args[0] ?? ''}: ${stdout}${stderr}`);
      return stdout;
    };
    try {
      pm2('start', join(folder, 'ecosystem.config.js'));
      const shown = pm2('jlist');
      expect(shown).not.toContain(canary);
      expect(shown).toContain('handed-on');
      // Fork mode gives a program this environment alone; in cluster mode it has the daemon's memory besides.
      const forked = readFileSync(join(folder, 'forked.env'), 'utf8');
      expect(JSON.parse(forked)).toMatchObject({ A_SETTING: 'handed-on', PORTOLAN_STATE_DIR: folder });
      expect(forked).not.toContain(canary);
      expect(existsSync(join(folder, 'clustered.env'))).toBe(true);
      pm2('save', '--force');
      const files = readdirSync(home, { recursive: true, withFileTypes: true }).filter((file) =>
        file.isFile(),
      );
      expect(files.map(({ name }) => name)).toContain('dump.pm2');
      for (const { parentPath, name } of files) {
        expect(readFileSync(join(parentPath, name), 'utf8')).not.toContain(canary);
      }
    } finally {
      pm2('kill');
      rmSync(folder, { recursive: true, force: true });
    }
  });
});
