import { spawnSync } from 'node:child_process';
import { existsSync, readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { describe, expect, it, jest } from '@jest/globals';
import { aPortsFolder, aStdioService } from '../catalog/given.js';
import { ecosystemOf, generate, loadApps, loadEcosystem, root, snapshot } from './given.js';

// Each test runs several programs.
jest.setTimeout(60_000);

describe('generate-pm2-config', () => {
  it('P02 writes main-api, front, an app for each service and health-monitor, and prints the count', () => {
    using ports = aPortsFolder();
    ports.write('beta', aStdioService('beta'));
    ports.write('alpha', aStdioService('alpha', { port: 4_321 }));
    const run = generate(ports);
    expect(run).toMatchObject({ code: 0, err: '' });
    expect(run.out).toMatch(/^2 services; wrote /m);
    const apps = loadApps(ports);
    expect(apps.map(({ name }) => name)).toEqual([
      'main-api',
      'front',
      'mcp-alpha',
      'mcp-beta',
      'health-monitor',
    ]);
    expect(apps[2]?.env).toMatchObject({ MCP_TYPE: 'alpha', PORT: '4321', SERVICE_MODE: 'shared' });
    expect(apps[3]?.env).toMatchObject({ MCP_TYPE: 'beta', PORT: '4100' });
  });

  it('P02 shows the process limits on every generated app', () => {
    using ports = aPortsFolder();
    ports.write('plain', aStdioService('plain'));
    const process = {
      maxMemoryRestart: '1G',
      minUptimeMs: 2_500,
      maxRestarts: 9,
      nodeArgs: ['--max-old-space-size=300'],
    };
    ports.write('tuned', aStdioService('tuned', { process }));
    generate(ports);
    const apps = loadApps(ports);
    for (const app of apps.filter(({ name }) => name !== 'mcp-tuned')) {
      expect(app).toMatchObject({
        max_memory_restart: '500M',
        min_uptime: '10s',
        max_restarts: 5,
        wait_ready: true,
        treekill: false,
      });
      // A drain may take 25 s.
      expect(app.kill_timeout).toBeGreaterThan(25_000);
      expect(app.listen_timeout).toBeGreaterThan(0);
      expect(app.exp_backoff_restart_delay).toBeGreaterThan(0);
    }
    expect(apps.find(({ name }) => name === 'mcp-tuned')).toMatchObject({
      max_memory_restart: '1G',
      min_uptime: 2_500,
      max_restarts: 9,
      node_args: ['--max-old-space-size=300'],
    });
  });

  it('P06 runs what must reload without loss in cluster mode', () => {
    using ports = aPortsFolder();
    ports.write('plain', aStdioService('plain'));
    generate(ports);
    expect(Object.fromEntries(loadApps(ports).map((app) => [app.name, app.exec_mode]))).toEqual({
      'main-api': 'cluster',
      front: 'cluster',
      'mcp-plain': 'cluster',
      'health-monitor': 'fork',
    });
  });

  it('P02 changes nothing when it runs again, not even a time of modification', () => {
    using ports = aPortsFolder();
    ports.write('one', aStdioService('one'));
    generate(ports);
    const before = snapshot(ports);
    const again = generate(ports);
    expect(again).toMatchObject({ code: 0, err: '' });
    expect(again.out).toBe('1 service; nothing changed.\n');
    expect(snapshot(ports)).toEqual(before);
    expect(generate(ports, ['--check'])).toMatchObject({
      code: 0,
      out: '1 service; everything generated is current.\n',
    });
  });

  it('P02 --check writes nothing, names what is not current and fails', () => {
    using ports = aPortsFolder();
    ports.write('one', aStdioService('one'));
    generate(ports);
    ports.write('two', aStdioService('two'));
    const before = snapshot(ports);
    const check = generate(ports, ['--check']);
    expect(check.code).toBe(1);
    expect(check.out).toContain('added    mcp-two (port 4101)');
    expect(check.err).toMatch(/Not current: .*ports\.lock\.json.*ecosystem\.config\.js/);
    expect(snapshot(ports)).toEqual(before);
    writeFileSync(ecosystemOf(ports), readFileSync(ecosystemOf(ports), 'utf8').replace('"500M"', '"5G"'));
    expect(generate(ports, ['--check']).out).toContain('changed  main-api: max_memory_restart');
  });

  it('P07 a new folder adds its app and touches no other', () => {
    using ports = aPortsFolder();
    ports.write('beta', aStdioService('beta'));
    ports.write('gamma', aStdioService('gamma'));
    generate(ports);
    const before = loadApps(ports);
    ports.write('alpha', aStdioService('alpha'));
    const run = generate(ports);
    expect(run.out).toContain('added    mcp-alpha (port 4102)');
    expect(run.out).not.toMatch(/changed|removed/);
    expect(loadApps(ports).filter(({ name }) => name !== 'mcp-alpha')).toEqual(before);
    ports.remove('alpha');
    expect(generate(ports).out).toContain('removed  mcp-alpha (port 4102)');
    // Back again it has the port and prefix that it had.
    ports.write('aaaa', aStdioService('aaaa'));
    ports.write('alpha', aStdioService('alpha'));
    expect(generate(ports).out).toContain('added    mcp-alpha (port 4102)');
  });

  it('R17 leaves a bad service out with its reason; --strict fails instead and writes nothing', () => {
    using ports = aPortsFolder();
    ports.write('good', aStdioService('good'));
    generate(ports);
    ports.write('bad', '{"schemaVersion": 1,');
    ports.write('worse', aStdioService('worse', { stdio: { env: { NODE_OPTIONS: 'x' } } }));
    const before = snapshot(ports);
    const strict = generate(ports, ['--strict']);
    expect(strict.code).toBe(1);
    expect(strict.err).toMatch(/problem {2}.*bad\/config\.json: is not valid JSON/);
    expect(strict.err).toMatch(/problem {2}.*worse\/config\.json \/stdio\/env\/NODE_OPTIONS: would change/);
    expect(snapshot(ports)).toEqual(before);
    const lenient = generate(ports);
    expect(lenient).toMatchObject({ code: 0, err: strict.err.replace(/^2 problems.*\n/m, '') });
    expect(lenient.out).toContain('1 service; nothing changed.');
  });

  it('does not overwrite a lock that it cannot read', () => {
    using ports = aPortsFolder();
    ports.write('one', aStdioService('one'));
    const lock = join(ports.dir, 'ports.lock.json');
    writeFileSync(lock, '{"lockVersion":1,"serv');
    expect(generate(ports)).toMatchObject({ code: 1, err: expect.stringContaining('ports.lock.json') });
    expect(readFileSync(lock, 'utf8')).toBe('{"lockVersion":1,"serv');
    expect(existsSync(ecosystemOf(ports))).toBe(false);
  });

  it('writes what follows from the files alone: no variable of this machine changes it', () => {
    using ports = aPortsFolder();
    ports.write(
      'needy',
      aStdioService('needy', { stdio: { env: { A: { $env: 'SOME_URL' }, B: { $env: 'SOME_KEY' } } } }),
    );
    const without = generate(ports);
    expect(without.code).toBe(0);
    expect(without.out).toContain('disabled needy: It needs SOME_URL and SOME_KEY');
    expect(without.out).toContain('1 service; wrote');
    const text = readFileSync(ecosystemOf(ports), 'utf8');
    const given = generate(ports, ['--check', '--strict'], {
      SOME_URL: 'https://x.example.com',
      SOME_KEY: 'q7x-canary',
    });
    expect(given).toMatchObject({ code: 0, err: '' });
    expect(text).not.toContain('q7x-canary');
    expect(generate(ports, ['--strict', '--check']).code).toBe(1);
  });

  it('writes a list of targets for Prometheus', () => {
    using ports = aPortsFolder();
    ports.write('one', aStdioService('one', { port: 4_444 }));
    generate(ports, [], { SERVICE_PORT_OFFSET: '10' });
    const targets: unknown = JSON.parse(
      readFileSync(join(ports.dir, '.state', 'prometheus-targets.json'), 'utf8'),
    );
    expect(targets).toContainEqual({
      targets: ['127.0.0.1:4454'],
      labels: { service: 'one', program: 'universal-mcp-server' },
    });
  });

  it('leaves the committed files alone for a folder of services elsewhere', () => {
    const committed = ['ecosystem.config.js', 'schemas/config.schema.json', 'deploy/prometheus/targets.json'];
    const read = (): string[] => committed.map((file) => readFileSync(join(root, file), 'utf8'));
    const before = read();
    using ports = aPortsFolder();
    ports.write('one', aStdioService('one'));
    const output = join(ports.dir, '.elsewhere', 'fleet.config.js');
    expect(generate(ports, ['--output', output]).out).toContain(`, ${output}.`);
    expect(loadEcosystem(output).map(({ name }) => name)).toContain('mcp-one');
    expect(existsSync(ecosystemOf(ports))).toBe(false);
    expect(generate(ports).out).toContain(ecosystemOf(ports));
    expect(read()).toEqual(before);
  });

  it('refuses an option that it does not know', () => {
    using ports = aPortsFolder();
    expect(generate(ports, ['--force']).code).toBe(2);
  });
});

describe('the committed configuration', () => {
  it('P02 is current, and loads in plain node without a build', () => {
    const script = join(root, 'dist', 'scripts', 'generate-pm2-config.js');
    const { status, stderr } = spawnSync(process.execPath, [script, '--check'], {
      encoding: 'utf8',
      cwd: root,
    });
    expect({ status, stale: stderr.includes('Not current') }).toEqual({ status: 0, stale: false });
    const apps = loadEcosystem(join(root, 'ecosystem.config.js'));
    const names = apps.map(({ name }) => name);
    expect(names).toEqual(
      expect.arrayContaining([
        'main-api',
        'front',
        'mcp-everything',
        'mcp-memory',
        'mcp-portolan',
        'health-monitor',
      ]),
    );
    for (const app of apps.filter(({ name }) => name.startsWith('mcp-'))) {
      expect(app).toMatchObject({ max_memory_restart: '500M', min_uptime: '10s', max_restarts: 5 });
    }
  });

  it('says that it is generated, and names no path of this machine', () => {
    const text = readFileSync(join(root, 'ecosystem.config.js'), 'utf8');
    expect(text).toMatch(/^\/\/ Generated by `npm run generate-pm2-config`.*Do not edit/);
    expect(text).not.toContain(root);
  });
});
