/** What a child may reach, under each form of isolation that this machine allows. Attacks on whole services: tests/attack. */
import { afterEach, describe, expect, it } from '@jest/globals';
import { chmodSync, mkdtempSync, readFileSync, rmSync, statSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { findMarkedIn } from '../../../../backend/src/mcp-servers/universal-mcp-server/upstream/stdio/ownershipMark.js';
import { stopGraceMs } from '../../../../backend/src/mcp-servers/universal-mcp-server/upstream/stdio/spawnChild.js';
import { uidRange } from '../../../../backend/src/mcp-servers/universal-mcp-server/upstream/stdio/isolation/childUids.js';
import { findTools } from '../../../../backend/src/mcp-servers/universal-mcp-server/upstream/stdio/isolation/forms.js';
import { call, closeUpstreams, codeOf, never, termsOf } from '../../../support/aStdioUpstream.js';
import { waitUntil } from '../../../support/eventually.js';
import {
  anIsolatedUpstream,
  attempt,
  attemptOne,
  canary,
  laySurroundings,
  listenAt,
} from '../../../support/isolatedChildren.js';

afterEach(closeUpstreams);

const isRoot = process.getuid?.() === 0;
const forms = [
  ...(findTools().bwrap === null ? [] : (['bubblewrap'] as const)),
  ...(isRoot ? (['own uid'] as const) : []),
];
if (forms.length < 2) {
  process.stderr.write(
    `SKIPPED: forms of isolation are only tested as far as they are here (${forms.join(', ') || 'none'}): bubblewrap is ${findTools().bwrap === null ? 'not ' : ''}installed, and this is ${isRoot ? '' : 'not '}root\n`,
  );
}
const alice = termsOf({ id: 'alice', userId: 'alice' });
const bob = termsOf({ id: 'bob', userId: 'bob' });

/** Host pids of the children of an instance's number, their watchers included. */
const pidsOf = async (number: number): Promise<number[]> =>
  (await findMarkedIn(''))
    .filter(({ mark }) => mark.endsWith(`/${process.pid}-${mark.split('/')[2]?.split('-')[1]}/${number}`))
    .map(({ pid }) => pid);

(forms.length === 0 ? describe.skip : describe).each(forms.length === 0 ? (['bubblewrap'] as const) : forms)(
  'a child under %s',
  (form) => {
    it('F09 reaches no file of the gateway, neither its keys nor its sockets', async () => {
      const surroundings = laySurroundings();
      await using server = await listenAt(surroundings);
      expect(server.listening).toBe(true);
      const { upstream, secrets, stateDir, socket } = await anIsolatedUpstream(form, { surroundings });
      const child = await upstream.connect(alice, never);
      const paths = [...Object.values(secrets), join(stateDir, 'child-uids'), join(stateDir, 'spool')];
      const outcomes = await attempt(child, [
        ...paths.flatMap((path) => ['read', 'list', 'write', 'remove'].map((what) => ({ what, path }))),
        { what: 'connect', path: socket },
        { what: 'list', path: join(stateDir, 'pm2') },
      ]);
      expect(outcomes.filter((outcome) => 'got' in outcome)).toEqual([]);
      for (const path of Object.values(secrets)) expect(readFileSync(path, 'utf8')).toBe(canary);
    });

    it('F09 reaches nothing of its sibling: no file, no process, no temporary file', async () => {
      const { upstream, stateDir } = await anIsolatedUpstream(form);
      const [one, other] = [await upstream.connect(alice, never), await upstream.connect(bob, never)];
      const homeOf = (id: string): string => join(stateDir, 'instances', id);
      const kept = join(homeOf('bob'), 'kept');
      expect(await attemptOne(other, 'write', { path: kept })).toEqual({ got: 'written' });
      const temporary = (await attemptOne(other, 'temporary')) as { got: string };
      const siblings = await pidsOf(2);
      expect(siblings.length).toBeGreaterThan(0);
      const pids = [...siblings, process.pid];
      const outcomes = await attempt(one, [
        { what: 'read', path: kept },
        { what: 'write', path: kept },
        { what: 'list', path: homeOf('bob') },
        { what: 'read', path: temporary.got },
        { what: 'remove', path: temporary.got },
        ...pids.flatMap((pid) => [
          ...['environ', 'mem', 'maps'].map((name) => ({ what: 'read', path: `/proc/${pid}/${name}` })),
          { what: 'list', path: `/proc/${pid}/fd` },
          { what: 'link', path: `/proc/${pid}/cwd` },
          ...['SIGUSR1', 'SIGTERM', 0].map((signal) => ({ what: 'signal', pid, signal })),
        ]),
      ]);
      expect(outcomes.filter((outcome) => 'got' in outcome && outcome.got !== null)).toEqual([]);
      expect(await attemptOne(other, 'read', { path: kept })).toEqual({ got: 'x' });
      expect(statSync(homeOf('bob')).mode & 0o777).toBe(0o700);
    });

    it('F09 has no group, no capability and no way to more, and leaves no core dump', async () => {
      const { upstream } = await anIsolatedUpstream(form, { stdio: { tasksMax: 200 } });
      const child = await upstream.connect(alice, never);
      const [status, limits, user] = (await attempt(child, [
        { what: 'status' },
        { what: 'limits' },
        { what: 'user' },
      ])) as { got: string & { uid: number; homedir: string } }[];
      for (const name of ['CapInh', 'CapPrm', 'CapEff', 'CapBnd', 'CapAmb'])
        expect(status?.got).toMatch(new RegExp(`^${name}:\\s+0{16}$`, 'm'));
      expect(status?.got).toMatch(/^NoNewPrivs:\s+1$/m);
      expect(limits?.got).toMatch(/^Max core file size\s+0\s+0 /m);
      expect(limits?.got).toMatch(/^Max processes\s+200\s+200 /m);
      if (!isRoot) return;
      const uid = Number(/^Uid:\s+(\d+)/m.exec(status?.got ?? '')?.[1]);
      expect(uid).toBeGreaterThanOrEqual(uidRange.first);
      expect(status?.got).toMatch(/^Groups:\s*(?:\d+ )?$/m);
      // Who asks who it is hears its number, where the sandbox has a passwd of its own.
      expect(user?.got?.uid ?? uid).toBe(uid);
    });

    it('R10 starts no more processes than it may, and its sibling notices nothing', async () => {
      const { upstream } = await anIsolatedUpstream(form, { stdio: { tasksMax: 64 } });
      const [one, other] = [await upstream.connect(alice, never), await upstream.connect(bob, never)];
      const bomb = attemptOne(one, 'bomb', { wanted: 120 });
      const beside: unknown[] = [];
      for (let round = 0; round < 20; round += 1)
        beside.push(await attemptOne(other, 'exists', { path: '/tmp' }));
      const { started, refused } = ((await bomb) as { got: { started: number; refused: number } }).got;
      expect(started).toBeLessThan(64);
      expect(started + refused).toBe(120);
      expect(beside).toEqual(Array.from({ length: 20 }, () => ({ got: true })));
      expect(await attemptOne(other, 'run', { file: '/bin/echo', args: ['fine'] })).toEqual({
        got: 'fine\n',
      });
      upstream.forget('alice', null);
      await waitUntil('the bomb is gone', async () => (await pidsOf(1)).length === 0, 6_000);
    }, 30_000);

    it('F05 finds its own directory, a temporary one, names and certificates, and its files stay', async () => {
      const { upstream, stateDir } = await anIsolatedUpstream(form, { service: 'memory' });
      const child = await upstream.connect(alice, never);
      const entities = [{ name: 'Ada', entityType: 'person', observations: ['wrote a program'] }];
      expect(await call(child, 'create_entities', { entities })).toHaveProperty('result.content');
      expect(readFileSync(join(stateDir, 'instances', 'alice', 'memory.jsonl'), 'utf8')).toContain('Ada');
      upstream.forget('alice', null);
      await waitUntil('it is gone', () => upstream.counts().stopping === 0, 6_000);
      const again = await upstream.connect(
        termsOf({ id: 'alice', userId: 'alice', credentialRevision: 2 }),
        never,
      );
      expect(JSON.stringify(await call(again, 'read_graph'))).toContain('Ada');
    });

    it('F11 is ended with its whole tree, also where all of it ignores TERM, and gets its grace where not', async () => {
      const { upstream } = await anIsolatedUpstream(form);
      const [stubborn, other] = [await upstream.connect(alice, never), await upstream.connect(bob, never)];
      expect(await attemptOne(stubborn, 'stay')).toEqual({ got: 'staying' });
      upstream.forget('alice', null);
      await waitUntil('the tree is gone', async () => (await pidsOf(1)).length === 0, 8_000);
      expect(await attemptOne(other, 'exists', { path: '/' })).toEqual({ got: true });
      const startedAt = performance.now();
      upstream.forget('bob', null);
      await waitUntil('it ended at TERM', async () => (await pidsOf(2)).length === 0, 8_000);
      expect(performance.now() - startedAt).toBeLessThan(stopGraceMs);
    }, 30_000);

    it('R10 is left alone by what ends its sibling, whose next call starts it anew', async () => {
      const { upstream } = await anIsolatedUpstream(form);
      const [one, other] = [await upstream.connect(alice, never), await upstream.connect(bob, never)];
      const waiting = codeOf(attemptOne(one, 'wait'));
      for (const pid of await pidsOf(1)) process.kill(pid, 'SIGKILL');
      expect(await waiting).toBe('UPSTREAM_FAILED');
      expect(await attemptOne(other, 'exists', { path: '/' })).toEqual({ got: true });
      const again = await upstream.connect(alice, never);
      expect(await attemptOne(again, 'exists', { path: '/' })).toEqual({ got: true });
    });

    it('U02 says that a command is not there', async () => {
      for (const command of ['/nowhere/at-all', 'no-such-command']) {
        const { upstream } = await anIsolatedUpstream(form, { stdio: { command } });
        const refused: unknown = await upstream.connect(alice, never).catch((error: unknown) => error);
        expect(refused).toMatchObject({
          code: 'UPSTREAM_FAILED',
          options: { publicDetail: expect.stringContaining('not installed') },
        });
      }
    });

    it('takes over a directory that was another’s, and gives each instance its own', async () => {
      const first = await anIsolatedUpstream('none');
      const before = await first.upstream.connect(alice, never);
      const kept = join(first.stateDir, 'instances', 'alice', 'kept');
      expect(await attemptOne(before, 'write', { path: kept })).toEqual({ got: 'written' });
      const second = await anIsolatedUpstream(form, { surroundings: first });
      const after = await second.upstream.connect(alice, never);
      expect(await attemptOne(after, 'write', { path: kept })).toEqual({ got: 'written' });
      expect(readFileSync(kept, 'utf8')).toBe('xx');
    });
  },
);

(forms.includes('bubblewrap') ? describe : describe.skip)('a sandbox', () => {
  const outside = mkdtempSync(join(tmpdir(), 'outside-'));
  afterEach(() => rmSync(outside, { recursive: true, force: true }));

  it('F09 shows what its service names, and never the state directory', async () => {
    chmodSync(outside, 0o755);
    writeFileSync(join(outside, 'data'), 'data');
    const surroundings = laySurroundings(mkdtempSync(join(outside, 'state-')));
    const sandbox = { mode: 'auto', readPaths: [outside], writePaths: [], network: 'none' } as const;
    const { upstream, secrets } = await anIsolatedUpstream('bubblewrap', {
      surroundings,
      stdio: { sandbox },
    });
    const child = await upstream.connect(alice, never);
    const [read, wrote, ...hidden] = await attempt(child, [
      { what: 'read', path: join(outside, 'data') },
      { what: 'write', path: join(outside, 'data') },
      ...Object.values(secrets).map((path) => ({ what: 'read', path })),
      { what: 'fetch', url: 'http://127.0.0.1:1/' },
    ]);
    expect(read).toEqual({ got: 'data' });
    expect([wrote, ...hidden].filter((outcome) => outcome === undefined || 'got' in outcome)).toEqual([]);
    const interfaces = await attemptOne(child, 'read', { path: '/proc/net/dev' });
    expect(JSON.stringify(interfaces)).not.toMatch(/eth|ens|enp/);
  });
});

describe('the settings of a service', () => {
  it('start no child where isolation is required and there is none', async () => {
    const { upstream } = await anIsolatedUpstream('none', { isRequired: true });
    const refused: unknown = await upstream.connect(alice, never).catch((error: unknown) => error);
    expect(refused).toMatchObject({
      code: 'SERVICE_UNAVAILABLE',
      options: { publicDetail: expect.stringContaining('apt install bubblewrap') },
    });
    const sandbox = { mode: 'required', readPaths: [], writePaths: [], network: 'host' } as const;
    const strict = await anIsolatedUpstream('none', { stdio: { sandbox } });
    expect(await codeOf(strict.upstream.connect(alice, never))).toBe('SERVICE_UNAVAILABLE');
  });

  it('let an admin trust a program, unless isolation is required', async () => {
    const sandbox = { mode: 'off', readPaths: [], writePaths: [], network: 'host' } as const;
    for (const form of forms.slice(0, 1)) {
      expect((await anIsolatedUpstream(form, { stdio: { sandbox } })).isolation.form).toBe('none');
      expect((await anIsolatedUpstream(form, { stdio: { sandbox }, isRequired: true })).isolation.form).toBe(
        form,
      );
    }
  });
});
