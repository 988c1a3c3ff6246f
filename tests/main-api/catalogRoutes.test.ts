import { rmSync } from 'node:fs';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, it, jest } from '@jest/globals';
import { createServiceAvailability } from '../../backend/src/services/serviceAvailability.js';
import { recordHealth } from '../../backend/src/stores/healthStore.js';
import { storeLastList } from '../../backend/src/stores/lastListsStore.js';
import { startMainApi, type RunningMainApi } from '../support/instancesApi.js';

jest.setTimeout(30_000);

describe('the catalog and the health of services', () => {
  let api: RunningMainApi;
  beforeAll(async () => {
    api = await startMainApi();
    const jobs = api.bench.site.db.pool('jobs');
    const probe = { state: 'RUNNING', responseTimeMs: 3.5, error: null, failures: 0 } as const;
    await recordHealth(jobs, { ...probe, service: 'notes', isHealthy: true, lastCheckAt: new Date() });
    await recordHealth(jobs, { ...probe, service: 'off', isHealthy: true, lastCheckAt: new Date() });
    await recordHealth(jobs, {
      service: 'plain',
      state: 'FAILED',
      isHealthy: false,
      lastCheckAt: new Date(),
      responseTimeMs: null,
      error: 'connection refused',
      failures: 3,
    });
    await recordHealth(jobs, {
      ...probe,
      service: 'maybe',
      isHealthy: true,
      lastCheckAt: new Date(Date.now() - 10 * 60_000),
    });
  });
  afterAll(async () => {
    await api[Symbol.asyncDispose]();
  });

  it('C02 lists what a service asks for and how it does, and no internals', async () => {
    const alice = await api.signIn();
    const { status, body } = await alice.call('GET', '/api/v1/catalog');
    expect(status).toBe(200);
    const services = body.services as Record<string, unknown>[];
    expect(services.map(({ id }) => id)).toEqual(['away', 'common', 'maybe', 'notes', 'off', 'plain']);
    expect(services.find(({ id }) => id === 'notes')).toMatchObject({
      title: 'Notes',
      kind: 'api',
      toolCount: 1,
      credentials: {
        scope: 'per-user',
        methods: [{ id: 'key', fields: [{ name: 'token', secret: true }, { name: 'workspace' }] }],
      },
      health: { isHealthy: true, isAvailable: true },
    });
    expect(JSON.stringify(body)).not.toMatch(
      /notes\.example\.com\/notes|baseUrl|command|mcp-ports|"port"|adminConfig/,
    );
    expect(await alice.call('GET', '/api/v1/catalog/notes')).toMatchObject({
      status: 200,
      body: { id: 'notes' },
    });
    expect(await alice.call('GET', '/api/v1/catalog/nothing')).toMatchObject({
      status: 404,
      body: { code: 'SERVICE_UNKNOWN' },
    });
  });

  it('C02 shows a service for some roles to those only, and the reason of a disabled one to admins', async () => {
    const [alice, auditor, admin] = [
      await api.signIn(),
      await api.signIn({ role: 'auditor' }),
      await api.signIn({ role: 'admin' }),
    ];
    expect((await alice.call('GET', '/api/v1/catalog/ledger')).status).toBe(404);
    expect((await auditor.call('GET', '/api/v1/catalog/ledger')).status).toBe(200);
    expect((await admin.call('GET', '/api/v1/catalog/ledger')).status).toBe(200);
    const off = (await alice.call('GET', '/api/v1/catalog/off')).body;
    expect(off).toMatchObject({
      enabled: false,
      disabledReason: 'It is switched off; an admin can see why.',
    });
    const seenByAdmin = (await admin.call('GET', '/api/v1/catalog/off')).body;
    expect(seenByAdmin.disabledReason).not.toBe(off.disabledReason);
    expect(await alice.call('POST', '/api/v1/services/off/authenticate', { apiKey: 'good-a' })).toMatchObject(
      {
        status: 503,
        body: { code: 'SERVICE_UNAVAILABLE' },
      },
    );
  });

  it('C02 counts the tools that the upstream listed to this user, and to no other', async () => {
    const [alice, bob] = [await api.signIn(), await api.signIn()];
    const made = await alice.call('POST', '/api/v1/services/notes/authenticate', { apiKey: 'good-alice' });
    await storeLastList(api.bench.site.db.pool('service'), {
      instanceId: String(made.body.id),
      service: 'notes',
      kind: 'tools',
      body: JSON.stringify({ tools: [{ name: 'a' }, { name: 'b' }, { name: 'c' }] }),
    });
    expect((await alice.call('GET', '/api/v1/catalog/notes')).body.toolCount).toBe(3);
    expect((await bob.call('GET', '/api/v1/catalog/notes')).body.toolCount).toBe(1);
  });

  it('P05 answers what the monitor last saw by service name, and does not believe a monitor that fell silent', async () => {
    const alice = await api.signIn();
    const { status, body } = await alice.call('GET', '/api/v1/health/services');
    expect(status).toBe(200);
    expect(body).toMatchObject({
      notes: { isHealthy: true, responseTimeMs: 3.5, error: null, failures: 0, state: 'RUNNING' },
      plain: { isHealthy: false, responseTimeMs: null, error: 'connection refused', failures: 3 },
      maybe: { isHealthy: false, error: 'the monitor has not looked at it lately; is it running?' },
      away: { isHealthy: false, lastCheck: null },
      off: { isHealthy: false, isAvailable: false },
    });
    expect((body.notes as Record<string, unknown>).lastCheck).toEqual(expect.stringMatching(/^\d{4}-.*Z$/));
    const list = await alice.call('GET', '/api/v1/services');
    expect(list.body.services).toMatchObject([
      { name: 'away', isAvailable: false },
      { name: 'common', isAvailable: false },
      { name: 'maybe', isAvailable: false },
      { name: 'notes', title: 'Notes', kind: 'api', isAvailable: true },
      { name: 'off', enabled: false, isAvailable: false },
      { name: 'plain', isAvailable: false },
    ]);
  });

  it('P01 calls a service available when it is known, enabled and healthy', async () => {
    const availability = createServiceAvailability({
      db: api.bench.site.api,
      registry: api.bench.registry,
      monitorIntervalMs: 30_000,
      now: Date.now,
    });
    const answers = await Promise.all(
      ['notes', 'plain', 'off', 'maybe', 'unknown'].map((name) => availability.isServiceAvailable(name)),
    );
    expect(answers).toEqual([true, false, false, false, false]);
  });

  it('P01 forgets a service whose folder is gone, as soon as the registry is read again', async () => {
    const alice = await api.signIn();
    rmSync(join(api.bench.mcpPortsDir, 'away'), { recursive: true });
    expect(api.bench.registry.reload().removed).toEqual(['away']);
    expect((await alice.call('GET', '/api/v1/catalog/away')).status).toBe(404);
    expect((await alice.call('GET', '/api/v1/health/services')).body).not.toHaveProperty('away');
  });
});
