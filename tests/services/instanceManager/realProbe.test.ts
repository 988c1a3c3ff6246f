/** Connecting over real processes of the services: their internal endpoint, a recorded REST service, a stdio child. */
import { randomUUID } from 'node:crypto';
import { mkdirSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, it, jest } from '@jest/globals';
import { loadServiceDefinitions } from '../../../backend/src/catalog/loadServiceDefinitions.js';
import { createServiceRegistry } from '../../../backend/src/catalog/serviceRegistry.js';
import type { Actor } from '../../../backend/src/services/changeAudit.js';
import { createCredentialVault } from '../../../backend/src/services/credentialVault.js';
import {
  createInstanceManager,
  type InstanceManager,
} from '../../../backend/src/services/instanceManager/instanceManager.js';
import { signInternalCall } from '../../../backend/src/services/internalCalls.js';
import { newJwtKeysFiles, parseSigningKeys } from '../../../backend/src/services/jwtKeys.js';
import {
  createChangeNotices,
  type ChangeNoticesOptions,
} from '../../../backend/src/services/changeNotices.js';
import { createProbeClient } from '../../../backend/src/services/probeClient.js';
import { writeService } from '../../support/connectedSite.js';
import { aFreePort } from '../../support/freePorts.js';
import { openInstallation, type Installation } from '../../support/installation.js';
import { modern, send } from '../../support/mcpHttp.js';
import { json, startRecordingUpstream, type RecordingUpstream } from '../../support/recordingUpstream.js';
import { startServiceProcess, type ServiceProcess } from '../../support/spawnedService.js';
import { refusalOf } from './refusal.js';

jest.setTimeout(60_000);

interface Running {
  readonly site: Installation;
  readonly upstream: RecordingUpstream;
  readonly manager: InstanceManager;
  readonly processes: ServiceProcess[];
}

const named = (service: string) => ({ service, label: 'default' });

/** What it started is on `closers` at once, so that a start that fails halfway is cleaned up as well. */
async function start(closers: (() => unknown)[]): Promise<Running> {
  const site = await openInstallation();
  closers.push(() => site[Symbol.asyncDispose]());
  const upstream = await startRecordingUpstream();
  closers.push(() => upstream[Symbol.asyncDispose]());
  const folder = mkdtempSync(join(tmpdir(), 'portolan-probe-'));
  closers.push(() => rmSync(folder, { recursive: true, force: true }));
  const [stateDir, mcpPortsDir] = [join(folder, 'state'), join(folder, 'mcp-ports')];
  const jwt = newJwtKeysFiles(randomUUID);
  mkdirSync(join(stateDir, 'database-urls'), { recursive: true });
  writeFileSync(join(stateDir, 'database-urls', 'service'), site.db.urls.service.reveal());
  writeFileSync(join(stateDir, 'keyring.json'), site.ring);
  writeFileSync(join(stateDir, 'jwt-public.json'), jwt.publicText);
  writeFileSync(join(stateDir, 'metrics-token'), randomUUID());
  const ports = { notes: await aFreePort(), maybe: await aFreePort(), memo: await aFreePort() };
  const notes = (name: keyof typeof ports, prefix: string, scope: string): void =>
    writeService(mcpPortsDir, name, {
      title: 'Notes',
      kind: 'api',
      port: ports[name],
      instancePrefix: prefix,
      api: {
        baseUrl: upstream.origin,
        headers: { Authorization: { $userToken: 'Bearer {{token}}', omitIfEmpty: true } },
        egress: { allowPrivate: true },
        tools: [
          {
            name: 'list_notes',
            description: 'Lists notes.',
            inputSchema: { type: 'object' },
            request: { method: 'GET', path: '/notes' },
          },
        ],
      },
      credentials: {
        scope,
        methods: [
          {
            id: 'key',
            type: 'fields',
            label: 'API key',
            tokenField: 'token',
            fields: [{ name: 'token', label: 'Key', type: 'secret' }],
            probe: {
              request: { path: '/me', headers: { Authorization: { $userToken: 'Bearer {{token}}' } } },
              identity: { id: '/id', label: '/login' },
              reject: { 401: 'Notes did not accept this key.' },
            },
          },
        ],
      },
    });
  notes('notes', 'nts', 'per-user');
  notes('maybe', 'mbe', 'per-user-optional');
  writeService(mcpPortsDir, 'memo', {
    title: 'Memo',
    kind: 'stdio',
    port: ports.memo,
    instancePrefix: 'mmo',
    stdio: {
      command: 'mcp-server-memory',
      package: {
        registryType: 'npm',
        identifier: '@modelcontextprotocol/server-memory',
        version: '2026.8.31',
      },
      env: { MEMORY_FILE_PATH: { $instance: '{{dataDir}}/memory.jsonl' } },
    },
    credentials: { scope: 'none', methods: [{ id: 'none', type: 'none', label: 'Nothing' }] },
  });
  const processes: ServiceProcess[] = [];
  for (const service of ['notes', 'maybe', 'memo'] as const) {
    const started = await startServiceProcess({ stateDir, mcpPortsDir, service, port: ports[service] });
    processes.push(started);
    closers.push(() => started[Symbol.asyncDispose]());
  }
  const keys = parseSigningKeys(jwt.privateText);
  const way: ChangeNoticesOptions = {
    config: {
      hosts: { api: '127.0.0.1', front: '127.0.0.1', service: '127.0.0.1' },
      ports: { api: 1, front: 1, monitor: 1, serviceOffset: 0 },
    },
    sign: (call) => signInternalCall(keys, call),
  };
  const probes = createProbeClient(way);
  const notices = createChangeNotices(way);
  closers.push(() => Promise.all([probes[Symbol.asyncDispose](), notices[Symbol.asyncDispose]()]));
  const registry = createServiceRegistry(() =>
    loadServiceDefinitions({ mcpPortsDir, lock: { services: {} }, env: () => undefined, allocate: true }),
  );
  const manager = createInstanceManager({
    pool: site.api,
    registry,
    vault: createCredentialVault(site.vault),
    probes,
    notices,
    publicUrl: new URL('http://localhost:8080'),
    accessModeMinimum: 'url' as const,
    now: Date.now,
  });
  return { site, upstream, manager, processes };
}

describe('connecting over the real process of a service', () => {
  const closers: (() => unknown)[] = [];
  let running: Running;
  beforeAll(async () => {
    running = await start(closers);
  });
  afterAll(async () => {
    for (const close of closers.toReversed()) await close();
  });

  const anActor = async (): Promise<Actor> => ({
    userId: await running.site.aUser(),
    role: 'user',
    via: `session:${randomUUID()}`,
    authenticatedAt: new Date(),
    requestId: null,
    clientAddress: null,
  });

  it('I01 sends the declared probe with the credential, shows who it belongs to, and the URL answers MCP', async () => {
    const { upstream, manager, processes } = running;
    upstream.on('/me', json(200, { id: 7, login: 'octo' }));
    const made = await manager.authenticate(await anActor(), named('notes'), { apiKey: 'key-canary-1' });
    expect(made).toMatchObject({ isNew: true, view: { state: 'ready', identity: 'octo' } });
    const probe = upstream.requests.find(({ target }) => target === '/me');
    expect(probe?.headers.authorization).toBe('Bearer key-canary-1');
    const answer = await fetch(`http://127.0.0.1:${processes[0]?.port}/${made.url.instanceId}/notes`, {
      method: 'POST',
      headers: { 'content-type': 'application/json', accept: 'application/json, text/event-stream' },
      body: JSON.stringify({
        jsonrpc: '2.0',
        id: 1,
        method: 'initialize',
        params: {
          protocolVersion: '2025-06-18',
          capabilities: {},
          clientInfo: { name: 'test', version: '1' },
        },
      }),
    });
    expect(answer.status).toBe(200);
    expect(await answer.text()).toContain('"serverInfo"');
    expect(processes[0]?.output()).not.toContain('key-canary-1');
  });

  it('I01 answers in the declared words when the real service says no, and keeps nothing', async () => {
    const { upstream, manager } = running;
    upstream.on('/me', json(401, { error: 'bad key-canary-2' }));
    const actor = await anActor();
    const refusal = await refusalOf(manager.authenticate(actor, named('notes'), { apiKey: 'key-canary-2' }));
    expect(refusal).toMatchObject({
      code: 'CREDENTIAL_REJECTED',
      options: { publicDetail: 'Notes did not accept this key.' },
    });
    expect(await manager.list(actor)).toEqual([]);
  });

  it('I01 replaces a credential, and the next probe of it uses the new one', async () => {
    const { upstream, manager } = running;
    upstream.on('/me', json(200, { id: 7, login: 'octo' }));
    const actor = await anActor();
    await manager.authenticate(actor, named('notes'), { apiKey: 'first-key' });
    await manager.authenticate(actor, named('notes'), { apiKey: 'second-key' });
    upstream.clear();
    expect(await manager.probe(actor, named('notes'))).toMatchObject({ outcome: 'accepted' });
    expect(upstream.requests[0]?.headers.authorization).toBe('Bearer second-key');
  });

  it('I01 connects without a credential where one is optional', async () => {
    const { upstream, manager } = running;
    upstream.clear();
    const made = await manager.authenticate(await anActor(), named('maybe'), {});
    expect(made).toMatchObject({ isNew: true, view: { credentialMethod: 'none' } });
    expect(upstream.requests.filter(({ headers }) => headers.authorization !== undefined)).toEqual([]);
  });

  it('I01 starts the child of a stdio service to see that it works', async () => {
    const made = await running.manager.authenticate(await anActor(), named('memo'), {});
    expect(made).toMatchObject({ isNew: true, view: { state: 'ready', credentialMethod: 'none' } });
  });

  it('A04 what is revoked, paused, rotated or replaced is so with the very next call, before any NOTIFY', async () => {
    const { site, upstream, manager, processes } = running;
    upstream.on('/me', json(200, { id: 7, login: 'octo' }));
    const superuser = await site.db.superuser();
    await superuser.query('alter table instances disable trigger notify_instance_changed');
    try {
      const list = (url: string | null) =>
        send(
          `http://127.0.0.1:${processes[0]?.port}/${url}/notes`,
          modern('tools/call', { name: 'list_notes' }),
        );
      const actor = await anActor();
      const { url } = await manager.authenticate(actor, named('notes'), { apiKey: 'before-key' });
      expect((await list(url.instanceId)).status).toBe(200);

      await manager.authenticate(actor, named('notes'), { apiKey: 'after-key' });
      upstream.clear();
      await list(url.instanceId);
      expect(upstream.requests.map(({ headers }) => headers.authorization)).toEqual(['Bearer after-key']);

      await manager.change(actor, named('notes'), { isActive: false });
      expect((await list(url.instanceId)).status).toBe(404);
      await manager.change(actor, named('notes'), { isActive: true });
      expect((await list(url.instanceId)).status).toBe(200);

      const rotated = await manager.rotate(actor, named('notes'), { graceSeconds: 0 });
      expect((await list(url.instanceId)).status).toBe(404);
      expect((await list(rotated.instanceId)).status).toBe(200);

      await manager.deleteCredential(actor, named('notes'));
      upstream.clear();
      await list(rotated.instanceId);
      expect(upstream.requests).toEqual([]);

      await manager.disconnect(actor, named('notes'));
      expect((await list(rotated.instanceId)).status).toBe(404);
    } finally {
      await superuser.query('alter table instances enable trigger notify_instance_changed');
    }
  });

  it('I01 says that the process is away once it is', async () => {
    const { manager, processes } = running;
    const [notes] = processes;
    await notes?.[Symbol.asyncDispose]();
    const actor = await anActor();
    const refusal = await refusalOf(manager.authenticate(actor, named('notes'), { apiKey: 'any-key' }));
    expect(refusal).toMatchObject({ code: 'SERVICE_UNAVAILABLE' });
    expect(await manager.list(actor)).toEqual([]);
  });
});
