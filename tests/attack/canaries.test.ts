/**
 * H01: a whole fleet is used as well and as badly as people and services do, with a marker in every secret; then everything
 * that it left behind is searched for them. The markers that are typed in begin alike; what the fleet issued itself (URLs,
 * bearer credentials, session ids) is searched for one by one.
 */
import { randomBytes } from 'node:crypto';
import { mkdirSync, mkdtempSync, realpathSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, it } from '@jest/globals';
import { waitUntil } from '../support/eventually.js';
import { startWholeFleet, type Fleet } from '../support/fleet.js';
import { initialize, modern, send } from '../support/mcpHttp.js';
import { callApi, type Answer } from '../support/people.js';
import {
  dieMidway,
  hang,
  json,
  reply,
  startRecordingUpstream,
  type RecordingUpstream,
} from '../support/recordingUpstream.js';
import {
  createSearch,
  formsOf,
  searchDatabase,
  searchFiles,
  searchMetrics,
  searchProcesses,
} from './canarySearch.js';

const marker = `Qz${randomBytes(6).toString('hex')}`;
/** A marker that nothing may keep, by the place that it is typed in. */
const secret = (place: string): string => `${marker}-${place}-${randomBytes(4).toString('hex')}`;
/** What may be in the database, since it is what somebody asked to have there, and never in a log. */
const nameMarker = `Nm${randomBytes(6).toString('hex')}`;

const ports = realpathSync(mkdtempSync(join(tmpdir(), 'portolan-canaries-')));
let fleet: Fleet;
let upstream: RecordingUpstream;
const issued: Record<string, string> = {};
const services = ['vaulty', 'talker', 'broken'];

/** A child that says everything that it knows, on every way that it has. */
const talker = `
import { createInterface } from 'node:readline';
const all = JSON.stringify(process.env);
process.stderr.write('talking: ' + all + '\\n');
const send = (m) => process.stdout.write(JSON.stringify({ jsonrpc: '2.0', ...m }) + '\\n');
createInterface({ input: process.stdin }).on('line', (line) => {
  process.stderr.write('heard: ' + line + '\\n');
  const { id, method, params } = JSON.parse(line);
  if (id === undefined) return;
  if (method === 'initialize') return send({ id, result: { protocolVersion: params.protocolVersion,
    capabilities: { tools: {} }, serverInfo: { name: 'talker', version: '1' } } });
  if (method === 'tools/list') return send({ id, result: { tools: [
    { name: 'fail', inputSchema: { type: 'object' } }, { name: 'garbage', inputSchema: { type: 'object' } },
    { name: 'die', inputSchema: { type: 'object' } } ] } });
  if (params?.name === 'garbage') return void process.stdout.write(all + '\\n{"jsonrpc":' + all.slice(0, 40) + '\\n');
  if (params?.name === 'die') throw new Error(all);
  send({ id, error: { code: -32000, message: 'with ' + all, data: { env: process.env, line } } });
});
`;

const tool = (name: string, path: string, method = 'GET') => ({
  name,
  description: name,
  annotations: { readOnlyHint: method === 'GET' },
  inputSchema: {
    type: 'object',
    required: ['id'],
    properties: { id: { type: 'string' }, q: { type: 'string' } },
  },
  request: { method, path, query: { q: '{q}' } },
});

function writeConfigs(): void {
  const write = (name: string, config: object): void => {
    mkdirSync(join(ports, name), { recursive: true });
    writeFileSync(
      join(ports, name, 'config.json'),
      JSON.stringify({ schemaVersion: 1, name, title: name, ...config }),
    );
  };
  writeFileSync(join(ports, 'talker.mjs'), talker);
  const token = { name: 'token', label: 'Key', type: 'secret' };
  const extra = { name: 'extra', label: 'More', type: 'secret', required: false };
  const headers = {
    Authorization: { $userToken: 'Bearer {{token}}' },
    'X-Extra': { $credential: '{{extra}}', omitIfEmpty: true },
    'X-Pin': { $credential: '{{pin}}', omitIfEmpty: true },
  };
  const key = { id: 'key', type: 'fields', label: 'Key', tokenField: 'token', fields: [token, extra] };
  write('vaulty', {
    kind: 'api',
    instancePrefix: 'vty',
    port: 4_102,
    limits: { timeoutMs: 2_000 },
    api: {
      baseUrl: upstream.origin,
      egress: { allowPrivate: true },
      headers,
      tools: [
        tool('get', '/things/{id}'),
        tool('deny', '/deny/{id}'),
        tool('fall', '/fall/{id}'),
        tool('hang', '/hang/{id}'),
        tool('cut', '/cut/{id}', 'POST'),
      ],
    },
    credentials: {
      scope: 'per-user',
      multiple: true,
      methods: [
        { ...key, probe: { request: { url: `${upstream.origin}/me`, headers }, expect: { status: [200] } } },
      ],
    },
    userOverrides: {
      allow: true,
      keys: ['pin'],
      fields: [{ name: 'pin', label: 'Pin', type: 'secret', required: false }],
    },
  });
  const stdio = {
    kind: 'stdio',
    credentials: { scope: 'per-user', multiple: true, methods: [key] },
  };
  const env = { TALKER_TOKEN: { $userToken: '{{token}}' } };
  write('talker', {
    ...stdio,
    instancePrefix: 'tlk',
    port: 4_103,
    stdio: { command: process.execPath, args: [join(ports, 'talker.mjs')], env },
  });
  write('broken', {
    ...stdio,
    instancePrefix: 'brk',
    port: 4_104,
    stdio: { command: 'no-such-program-anywhere', args: ['--token'], env },
  });
}

/** Upstreams that repeat what they were told, on every kind of answer. */
function misbehave(): void {
  upstream.on('/deny/1', (response, { headers, target }) =>
    json(401, { error: `bad credential ${String(headers.authorization)} at ${target}` })(
      response,
      {} as never,
    ),
  );
  upstream.on('/fall/1', (response, { headers, body, target }) =>
    reply(500, `${target} ${body} ${JSON.stringify(headers)}`, { 'x-echo': String(headers.authorization) })(
      response,
      {} as never,
    ),
  );
  upstream.on('/hang/1', hang);
  upstream.on('/cut/1', dieMidway);
}

const api = (method: string, path: string, body?: unknown, bearer?: string): Promise<Answer> =>
  callApi(fleet.origin, method, path, {
    ...(body === undefined ? {} : { body }),
    ...(bearer === undefined ? {} : { bearer }),
  });
const keep = (name: string, value: unknown): string => {
  const text = String(value);
  if (text.length < 16) throw new Error(`nothing was issued: ${name}`);
  issued[name] = text;
  return text;
};
const call = (at: string, name: string, args: object) =>
  send(at, modern('tools/call', { name, arguments: args }));

describe('everything that a fleet leaves behind', () => {
  beforeAll(async () => {
    upstream = await startRecordingUpstream();
    writeConfigs();
    fleet = await startWholeFleet({
      mcpPortsDir: ports,
      env: { LOG_LEVEL: 'debug', CANARY_OF_CALLER: secret('env') },
    });
  }, 240_000);
  afterAll(async () => {
    await fleet?.[Symbol.asyncDispose]();
    await upstream?.[Symbol.asyncDispose]();
    rmSync(ports, { recursive: true, force: true });
  }, 120_000);

  const password = secret('password');
  const email = `${nameMarker}@example.com`;

  it('is made by people who sign in, and mistake themselves', async () => {
    const setupCode = fleet.setupCode();
    keep('set-up code', setupCode.padEnd(16));
    await api('POST', '/api/v1/auth/setup', { setupCode: secret('wrong-setup-code'), email, password });
    expect((await api('POST', '/api/v1/auth/setup', { setupCode, email, password })).status).toBe(201);
    const session = await api('POST', '/api/v1/auth/login', { email, password });
    expect(session.status).toBe(200);
    const bearer = keep('access token', session.body.accessToken);
    const refreshed = await api('POST', '/api/v1/auth/refresh', {
      refreshToken: keep('first refresh token', session.body.refreshToken),
    });
    keep('second access token', refreshed.body.accessToken);
    keep('second refresh token', refreshed.body.refreshToken);
    // A wrong password, and the password in the place of the address.
    await api('POST', '/api/v1/auth/login', { email, password: secret('wrong-password') });
    await api('POST', '/api/v1/auth/login', { email: `${secret('typed-as-email')}@example.com`, password });
    await api('POST', '/api/v1/auth/refresh', { refreshToken: secret('unknown-refresh') });
    await api('GET', '/api/v1/users/me', undefined, secret('not-a-jwt'));
    await api('GET', '/api/v1/users/me', undefined, `${bearer}x`);
    await api('GET', `/api/v1/oauth/callback?state=${secret('state')}&code=${secret('code')}`);
    await api('GET', `/${secret('path')}?token=${secret('query')}`);
    const invite = await api('POST', '/api/v1/invites', { email: `b${nameMarker}@example.com` }, bearer);
    keep('invite', invite.body.code);
    await api('POST', '/api/v1/auth/register', { inviteCode: secret('invite'), email, password });
    // The database refuses what is there already, and says so in its own log.
    const twice = await api('POST', '/api/v1/users', { email, password: secret('second-password') }, bearer);
    expect(twice.status).toBe(409);
    const made = await api('POST', '/api/v1/users/me/keys', { name: 'canaries' }, bearer);
    keep('personal API key', made.body.key);
    for (const body of [`{"password":"${secret('bad-json')}"`, `["${secret('wrong-shape')}"]`]) {
      await fetch(`${fleet.origin}/api/v1/auth/login`, {
        method: 'POST',
        headers: {
          'content-type': 'application/json',
          authorization: `Basic ${secret('basic')}`,
          cookie: `session=${secret('cookie')}`,
          'x-api-key': secret('header'),
          'x-request-id': secret('request-id').slice(0, 64).replaceAll('-', '.'),
          'user-agent': 'canaries',
        },
        body,
      });
    }
    await fetch(fleet.origin, { method: 'POST', headers: { origin: `https://${secret('origin')}.example` } });
  }, 60_000);

  it('and by credentials that are taken, refused, changed and gone', async () => {
    const bearer = issued['second access token'] ?? '';
    const connect = (service: string, body: object) =>
      api('POST', `/api/v1/services/${service}/authenticate`, body, bearer);
    const vaulty = await connect('vaulty', {
      apiKey: secret('api-key'),
      additionalCredentials: { extra: secret('extra') },
    });
    expect([vaulty.status, vaulty.body]).toEqual([201, expect.anything()]);
    keep('instance id', vaulty.body.instanceId);
    keep('instance URL', vaulty.body.instanceUrl);
    const overrides = await api(
      'PUT',
      '/api/v1/services/vaulty/instance/overrides',
      { values: { pin: secret('override') } },
      bearer,
    );
    expect(overrides.status).toBe(200);
    upstream.on('/me', (response, { headers }) => json(403, { no: headers })(response, {} as never));
    expect((await connect('vaulty', { apiKey: secret('refused'), label: 'refused' })).status).toBe(400);
    // No header takes this, and no client of ours may say which.
    await connect('vaulty', { apiKey: `${secret('line')}\r\nX-Injected: 1`, label: 'line' });
    await connect('vaulty', { apiKey: { wrong: secret('type') }, label: secret('label').repeat(3) });
    await connect('vaulty', { [secret('unknown-member')]: secret('of-unknown-member') });
    upstream.on('/me', json(200, {}));
    expect((await connect('vaulty', { apiKey: secret('second'), label: 'second' })).status).toBe(201);
    await api('DELETE', '/api/v1/services/vaulty/instance?label=second', undefined, bearer);
    const rotated = await api('POST', '/api/v1/services/vaulty/instance/rotate', {}, bearer);
    keep('rotated instance id', rotated.body.instanceId);
    keep('rotated URL', rotated.body.instanceUrl);
    for (const service of ['talker', 'broken']) {
      const made = await connect(service, { apiKey: secret(`key-of-${service}`) });
      // What cannot be started is found out now or by the first call; either way nothing of it may be told.
      if (made.status < 300) keep(`instance of ${service}`, made.body.instanceUrl);
    }
    expect(issued['instance of talker'] ?? 'none').toMatch(/talker/);
  }, 120_000);

  it('and by calls that succeed and fail in every way', async () => {
    misbehave();
    const url = issued['rotated URL'] ?? '';
    expect((await call(url, 'get', { id: secret('argument'), q: secret('argument-in-query') })).status).toBe(
      200,
    );
    for (const name of ['deny', 'fall', 'hang', 'cut'])
      await call(url, name, { id: '1', q: secret(`asked-${name}`) });
    // Tools are named in the audit, by design.
    await call(url, `${nameMarker}-tool`, { id: secret('argument-of-none') });
    await send(`${url}/get/${secret('rest')}?q=${secret('rest-query')}`, { method: 'GET' });
    await send(issued['instance URL'] ?? '', modern('tools/list'));
    await send(url, { body: `{"jsonrpc":"2.0","method":"${secret('cut-off')}` });
    await send(url, {
      body: {
        jsonrpc: '2.0',
        id: secret('id'),
        method: `${nameMarker}/method`,
        params: { x: secret('param') },
      },
    });
    const greeted = await initialize(url);
    const session = keep('session id', greeted.sessionId);
    const list = { jsonrpc: '2.0', id: 1, method: 'tools/list' };
    await send(url, {
      body: list,
      headers: { ...greeted.headers, 'mcp-session-id': `${session.slice(0, -4)}AAAA` },
    });
    await send(url, {
      body: list,
      headers: { ...greeted.headers, 'mcp-session-id': secret('foreign-session') },
    });
    await send(url, { body: {}, headers: { host: `${secret('host')}.example` } }).catch(() => null);
    const other = issued['instance of talker'] ?? '';
    for (const name of ['fail', 'garbage', 'die', 'fail'])
      await call(other, name, { said: secret(`told-${name}`) });
    const broken = issued['instance of broken'];
    if (broken !== undefined) await call(broken, 'x', { said: secret('told-broken') });
    expect(
      upstream.requests.some(({ headers }) => String(headers.authorization).includes(`${marker}-api-key`)),
    ).toBe(true);
    expect(
      upstream.requests.some(({ headers }) => String(headers['x-pin']).includes(`${marker}-override`)),
    ).toBe(true);
  }, 120_000);

  it('and by processes that are killed in the middle of it', async () => {
    const url = issued['rotated URL'] ?? '';
    for (const name of ['mcp-vaulty', 'main-api']) {
      const { pid } = await fleet.app(name);
      const underWay = send(
        url,
        modern('tools/call', { name: 'hang', arguments: { id: '1', q: secret('killed') } }),
      ).catch(() => null);
      await upstream.until(() => upstream.requests.length > 0);
      process.kill(pid, 'SIGKILL');
      // What the service process answers once its upstream's time is over nobody waits for.
      if (name === 'mcp-vaulty') await underWay;
      await waitUntil(`${name} is there again`, async () => (await fleet.app(name)).pid !== pid, 60_000);
    }
    const goesOn = async () => (await send(url, modern('tools/list')).catch(() => null))?.status ?? 0;
    await waitUntil('calls go on', async () => (await goesOn()) === 200, 60_000);
    expect(await goesOn()).toBe(200);
  }, 240_000);

  it('H01 holds no secret: no log, file, process, metric, table, not even the disk of the database', async () => {
    const search = createSearch({ 'what was typed in': marker, ...issued });
    searchFiles(fleet, search);
    await searchProcesses(fleet, search);
    await waitUntil('every program shows its metrics', async () => {
      const states = await Promise.all(
        services.map((name) => fetch(`${fleet.serviceOrigin(name)}/livez`).catch(() => null)),
      );
      return states.every((answer) => answer?.status === 200);
    });
    await searchMetrics(fleet, services, search);
    await searchDatabase(fleet, search);
    const { hits, places } = search.result();
    // What was looked at is what there is to look at.
    expect(places.filter((place) => place.startsWith('file logs/')).length).toBeGreaterThan(5);
    expect(places).toEqual(
      expect.arrayContaining(['table portolan.instances', 'table portolan.rate_limits', 'environ of front']),
    );
    expect(places.some((place) => place.startsWith('file spool/'))).toBe(true);
    expect(places.some((place) => place.includes('pg_wal'))).toBe(true);
    expect(hits).toEqual([]);
  }, 120_000);

  it('H01 names nobody in a log', () => {
    const search = createSearch({ 'an address of somebody': nameMarker });
    searchFiles(fleet, search);
    expect(search.result().hits.filter((hit) => /^file (?:logs|spool|sessions|pm2)/.test(hit))).toEqual([]);
  });

  it('H01 would find a secret in any form that it looks for', () => {
    const search = createSearch({ planted: marker });
    const forms = [
      `a ${marker} b`,
      Buffer.from(`xy${marker}z`).toString('base64'),
      Buffer.from(`xyz1${marker}z`).toString('base64'),
      Buffer.from(marker).toString('base64url'),
      `\\x${Buffer.from(marker).toString('hex')}`,
      Buffer.from(marker, 'utf16le'),
    ];
    forms.forEach((form, at) => search.look(`form ${at}`, form));
    expect(search.result().hits).toHaveLength(forms.length);
    expect(formsOf(marker).length).toBeGreaterThan(5);
  });
});
