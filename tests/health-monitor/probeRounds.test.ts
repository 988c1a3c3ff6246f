import { once } from 'node:events';
import { createServer, type Server } from 'node:http';
import type { AddressInfo } from 'node:net';
import { afterEach, beforeEach, describe, expect, it } from '@jest/globals';
import { createPortStates } from '../../backend/src/health-monitor/portStates.js';
import { probePort } from '../../backend/src/health-monitor/portProbe.js';
import { createProbeRounds } from '../../backend/src/health-monitor/probeRounds.js';
import type { WatchedPort } from '../../backend/src/health-monitor/watchedPorts.js';
import {
  forgetHealthExcept,
  listHealth,
  listHealthChanges,
  recordHealth,
} from '../../backend/src/stores/healthStore.js';
import { createLogger } from '../../backend/src/telemetry/logger.js';
import { createMonitorMetrics } from '../../backend/src/telemetry/metrics.js';
import { cloneDatabase } from '../support/testDatabase.js';

let server: Server;
let mode: 'good' | 'bad' | 'silent' | 'broken';
let asked = 0;

beforeEach(async () => {
  mode = 'good';
  asked = 0;
  server = createServer((request, response) => {
    asked += 1;
    if (mode === 'broken') request.socket.destroy();
    else if (mode !== 'silent') response.writeHead(mode === 'good' ? 200 : 503).end('{}');
  }).listen(0, '127.0.0.1');
  await once(server, 'listening');
});
afterEach(async () => {
  server.closeAllConnections();
  await new Promise((resolve) => server.close(resolve));
});

function thePort(name = 'notes'): WatchedPort {
  const { port } = server.address() as AddressInfo;
  return {
    name,
    program: `mcp-${name}`,
    origin: `http://127.0.0.1:${port}`,
    timeoutMs: 300,
    failAfter: 2,
    okAfter: 1,
  };
}

describe('a probe', () => {
  it('R05 P05 tells a good answer, a bad one, silence, a broken connection and a closed port apart', async () => {
    const { origin } = thePort();
    expect(await probePort(origin, 300)).toMatchObject({ isHealthy: true, error: null, isSilent: false });
    mode = 'bad';
    expect(await probePort(origin, 300)).toMatchObject({
      isHealthy: false,
      error: 'answered 503',
      isSilent: false,
    });
    mode = 'silent';
    expect(await probePort(origin, 300)).toMatchObject({
      error: 'did not answer within 0.3 s',
      isSilent: true,
    });
    mode = 'broken';
    expect(await probePort(origin, 300)).toMatchObject({
      error: 'broke the connection off',
      isSilent: false,
    });
    expect(await probePort('http://127.0.0.1:1', 300)).toMatchObject({
      error: 'nothing listens on its port',
    });
  });
});

describe('rounds of probes', () => {
  it('P05 stores what each probe found, asks failing ports again, and forgets ports that are gone', async () => {
    await using db = await cloneDatabase();
    const pool = db.pool('jobs');
    const metrics = createMonitorMetrics();
    let watched = [thePort('notes'), thePort('maps')];
    const rounds = createProbeRounds({
      ports: () => watched,
      states: createPortStates(),
      metrics,
      log: createLogger({ level: 'silent', program: 'health-monitor' }),
      store: (health) => recordHealth(pool, health),
      forget: (names) => forgetHealthExcept(pool, names),
      now: () => new Date(),
    });
    await rounds.probeAll();
    expect(await listHealth(pool)).toMatchObject([
      { service: 'maps', isHealthy: true, state: 'RUNNING', error: null, failures: 0 },
      { service: 'notes', isHealthy: true, state: 'RUNNING', error: null, failures: 0 },
    ]);
    await rounds.probeFailing();
    expect(asked).toBe(2);

    mode = 'bad';
    await rounds.probeAll();
    await rounds.probeFailing();
    expect((await listHealth(pool)).map(({ isHealthy, failures }) => ({ isHealthy, failures }))).toEqual([
      { isHealthy: false, failures: 2 },
      { isHealthy: false, failures: 2 },
    ]);
    expect(await metrics.registry.metrics()).toContain('portolan_port_up{service="notes"} 0');
    const changes = await listHealthChanges(pool, { service: 'notes', limit: 5 });
    expect(changes.map(({ newState }) => newState)).toEqual(['FAILED', 'RUNNING']);

    mode = 'good';
    await rounds.probeFailing();
    expect(rounds.latest().get('notes')).toMatchObject({ isHealthy: true, failures: 0 });
    watched = [thePort('maps')];
    await rounds.probeAll();
    expect((await listHealth(pool)).map(({ service }) => service)).toEqual(['maps']);
    expect(await metrics.registry.metrics()).not.toContain('service="notes"');
  });

  it('R01 goes on probing while the database is away', async () => {
    const rounds = createProbeRounds({
      ports: () => [thePort()],
      states: createPortStates(),
      metrics: createMonitorMetrics(),
      log: createLogger({ level: 'silent', program: 'health-monitor' }),
      store: () => Promise.reject(new Error('away')),
      forget: () => Promise.reject(new Error('away')),
      now: () => new Date(),
    });
    await rounds.probeAll();
    expect(rounds.latest().get('notes')).toMatchObject({ isHealthy: true });
  });
});
