/**
 * F09 on whole service processes, started as an admin may start them: by root and by a plain user, with bubblewrap and
 * without. A and B use the same service; the child of A tries everything.
 */
import { afterAll, beforeAll, describe, expect, it } from '@jest/globals';
import { spawnSync } from 'node:child_process';
import {
  chmodSync,
  chownSync,
  lstatSync,
  mkdirSync,
  readdirSync,
  readFileSync,
  writeFileSync,
} from 'node:fs';
import { join } from 'node:path';
import { findTools } from '../../backend/src/mcp-servers/universal-mcp-server/upstream/stdio/isolation/forms.js';
import { findMarkedIn } from '../../backend/src/mcp-servers/universal-mcp-server/upstream/stdio/ownershipMark.js';
import { waitUntil } from '../support/eventually.js';
import { openInstallation, type Installation } from '../support/installation.js';
import { prober, type Attempted } from '../support/isolatedChildren.js';
import { initialize, send, textOf, type LegacyConversation } from '../support/mcpHttp.js';
import { openServiceSite, type ServiceRun, type ServiceSite } from '../support/serviceProcess.js';

const isRoot = process.getuid?.() === 0;
const { bwrap } = findTools();
/** The account that the test's PostgreSQL runs as: a plain user that may use its socket. */
const plain = Number(spawnSync('/usr/bin/id', ['-u', 'postgres'], { encoding: 'utf8' }).stdout);
const asPlain = ['/usr/bin/setpriv', '--reuid', String(plain), '--regid', String(plain), '--clear-groups'];
/** A mount namespace in which bubblewrap is no program. */
const withoutBwrap = [
  '/usr/bin/unshare',
  '--mount',
  '/bin/sh',
  '-c',
  `mount --bind /dev/null ${bwrap ?? '/usr/bin/bwrap'} && exec "$@"`,
  'sh',
];
const canEnter =
  isRoot &&
  spawnSync(asPlain[0] ?? '', [
    ...asPlain.slice(1),
    process.execPath,
    '-e',
    `require('fs').readdirSync(${JSON.stringify(import.meta.dirname)})`,
  ]).status === 0;
const ways = [
  { who: 'root with bubblewrap', form: 'bubblewrap', uid: 0, through: [] },
  { who: 'root without bubblewrap', form: 'own uid', uid: 0, through: withoutBwrap },
  { who: 'a plain user with bubblewrap', form: 'bubblewrap', uid: plain, through: asPlain },
] as const;
const isPossible = isRoot && bwrap !== null && canEnter;
if (!isPossible) {
  process.stderr.write(
    'SKIPPED: attacks on isolation want root, bubblewrap and a checkout that every user can read\n',
  );
}

const config = {
  schemaVersion: 1,
  name: 'prober',
  title: 'Prober',
  kind: 'stdio',
  port: 4991,
  instancePrefix: 'prb',
  stdio: { command: process.execPath, args: [prober], maxProcesses: 20, maxPerUser: 5 },
  credentials: { scope: 'none', methods: [{ id: 'none', type: 'none', label: 'None' }] },
};

const attempt = async (session: LegacyConversation, list: readonly object[]): Promise<Attempted[]> =>
  JSON.parse(textOf(await session.call('try', { list }))) as Attempted[];
const childrenOf = async (run: ServiceRun): Promise<number[]> =>
  (await findMarkedIn('')).filter(({ mark }) => mark.includes(`/${run.pid}-`)).map(({ pid }) => pid);
const healthOf = async (service: ServiceSite) => await send(`${service.origin}/health`, { method: 'GET' });

/** Host pids of the processes that A's child runs as, which it may look at. */
async function ownPids(session: LegacyConversation): Promise<number[]> {
  const [mark] = (await attempt(session, [{ what: 'environment' }])) as { got: Record<string, string> }[];
  const wanted = mark?.got['PORTOLAN_CHILD_OF'];
  return (await findMarkedIn('')).filter((one) => one.mark === wanted).map(({ pid }) => pid);
}

(isPossible ? describe : describe.skip)('children of a service', () => {
  let site: Installation;
  beforeAll(async () => {
    site = await openInstallation();
  });
  afterAll(async () => {
    await site[Symbol.asyncDispose]();
  });

  const open = async (uid: number): Promise<ServiceSite> => {
    const service = await openServiceSite(site, config);
    mkdirSync(join(service.stateDir, 'pm2'), { mode: 0o700 });
    writeFileSync(join(service.stateDir, 'pm2', 'dump.pm2'), 'canary', { mode: 0o600 });
    writeFileSync(join(service.stateDir, 'jwt-keys.json'), 'canary', { mode: 0o400 });
    chmodSync(service.stateDir, 0o711);
    give(service.stateDir, uid);
    return service;
  };
  const connect = async (
    service: ServiceSite,
  ): Promise<{ id: string; session: LegacyConversation; url: string }> => {
    const made = await site.anInstance({ owner: await site.aUser(), service: 'prober', prefix: 'prb' });
    const url = `${service.origin}/${made.instanceId}/prober`;
    return { id: made.id, url, session: await initialize(url) };
  };

  it.each(ways)(
    'F09 F11 R11 under $who: A reaches nothing of B, nor of the gateway; nothing is left',
    async (way) => {
      await using service = await open(way.uid);
      const run = await service.start({ LOG_LEVEL: 'info' }, [], way.through);
      expect((await healthOf(service)).json.checks.isolation).toEqual({ status: 'ok', reason: way.form });
      const metrics = await send(`${service.origin}/metrics`, { method: 'GET' });
      expect(metrics.text).toContain(`portolan_child_isolation{service="prober",form="${way.form}"} 1`);
      const [a, b] = [await connect(service), await connect(service)];
      const home = join(service.stateDir, 'instances', b.id);
      expect(await attempt(b.session, [{ what: 'write', path: join(home, 'kept') }])).toEqual([
        { got: 'written' },
      ]);
      const [left] = (await attempt(b.session, [{ what: 'temporary' }])) as { got: string }[];
      const pids = [run.pid, ...(await childrenOf(run))];
      expect(pids.length).toBeGreaterThan(2);

      const files = [
        'keyring.json',
        'database-urls/service',
        'jwt-keys.json',
        'pm2/dump.pm2',
        'mcp-ports/prober/config.json',
      ]
        .map((name) => join(service.stateDir, name))
        .filter((path) => !path.includes('mcp-ports') || way.form === 'bubblewrap');
      const ours = (): string[] => [...files, join(home, 'kept')].map((path) => readFileSync(path, 'latin1'));
      const before = ours();
      const own = new Set(await ownPids(a.session));
      const others = pids.filter((pid) => !own.has(pid));
      const outcomes = await attempt(a.session, [
        ...[...files, join(home, 'kept')].flatMap((path) =>
          ['read', 'write', 'remove'].map((what) => ({ what, path })),
        ),
        // Where it has a /tmp of its own it could make one of that name.
        { what: 'read', path: left?.got },
        ...[home, join(service.stateDir, 'spool'), join(service.stateDir, 'pm2'), '/root'].map((path) => ({
          what: 'list',
          path,
        })),
        ...others.flatMap((pid) => [
          ...['environ', 'mem', 'maps', 'auxv', 'stack'].map((name) => ({
            what: 'read',
            path: `/proc/${pid}/${name}`,
          })),
          ...['cwd', 'exe', 'root', 'fd/0'].map((name) => ({ what: 'link', path: `/proc/${pid}/${name}` })),
          ...['SIGUSR1', 'SIGKILL', 'SIGSTOP'].map((signal) => ({ what: 'signal', pid, signal })),
        ]),
      ]);
      // In a file system of its own it may make a file of any name in /tmp: what counts is that ours are as they were.
      const harmless = new Set(['written', 'removed', null]);
      const reached = outcomes.filter(
        (outcome) => 'got' in outcome && !harmless.has(outcome.got as string | null),
      );
      expect(reached).toEqual([]);
      expect(ours()).toEqual(before);
      // B and the gateway did not notice, and there is no inspector to talk to.
      expect(await attempt(b.session, [{ what: 'read', path: join(home, 'kept') }])).toEqual([{ got: 'x' }]);
      await expect(fetch('http://127.0.0.1:9229/json')).rejects.toThrow('fetch failed');

      expect(await attempt(a.session, [{ what: 'stay' }])).toEqual([{ got: 'staying' }]);
      run.child.kill('SIGKILL');
      await run.exited;
      const again = await service.start({}, [], way.through);
      await waitUntil('no child is left', async () => (await childrenOf(run)).length === 0, 10_000);
      again.child.kill('SIGTERM');
      await again.exited;
    },
    120_000,
  );

  it('F09 says when a plain user has nothing to keep children apart with, and starts none where that is required', async () => {
    const through = [...withoutBwrap, ...asPlain];
    await using service = await open(plain);
    const run = await service.start({ LOG_LEVEL: 'info' }, [], through);
    const health = await healthOf(service);
    expect([health.status, health.json.checks.isolation.status]).toEqual([200, 'ok']);
    expect(health.json.checks.isolation.reason).toContain('none: bubblewrap is not installed');
    const { session } = await connect(service);
    // SIGUSR1 would open Node's inspector to every program of this machine.
    expect(await attempt(session, [{ what: 'signal', pid: run.pid, signal: 'SIGUSR1' }])).toEqual([
      { got: true },
    ]);
    expect(await attempt(session, [{ what: 'exists', path: '/' }])).toEqual([{ got: true }]);
    await expect(fetch('http://127.0.0.1:9229/json')).rejects.toThrow('fetch failed');
    expect(run.output().match(/children can read what the gateway can read/g)).toHaveLength(1);
    run.child.kill('SIGTERM');
    await run.exited;

    const strict = await service.start({ REQUIRE_ISOLATION: 'true' }, [], through);
    const refused = await healthOf(service);
    expect([refused.status, refused.json.checks.isolation.status]).toEqual([503, 'failed']);
    const { url } = await connect(service).catch((error: unknown) => ({ url: String(error) }));
    expect(url).toContain('apt install bubblewrap');
    strict.child.kill('SIGTERM');
    await strict.exited;
  }, 120_000);
});

function give(path: string, uid: number): void {
  if (lstatSync(path).isDirectory()) for (const name of readdirSync(path)) give(join(path, name), uid);
  chownSync(path, uid, uid);
}
