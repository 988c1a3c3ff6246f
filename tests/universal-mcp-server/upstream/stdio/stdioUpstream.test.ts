import { afterEach, describe, expect, it } from '@jest/globals';
import { readFileSync, statSync, existsSync } from 'node:fs';
import { join } from 'node:path';
import type { StdioDefinition } from '../../../../backend/src/catalog/mcpServerDefinitions.js';
import { parseTemplate } from '../../../../backend/src/catalog/template.js';
import { startTicksOf } from '../../../../backend/src/mcp-servers/universal-mcp-server/upstream/stdio/ownershipMark.js';
import { aHostileService, aStdioService } from '../../../support/aStdioService.js';
import {
  aListener,
  anUpstream,
  call,
  closeUpstreams,
  codeOf,
  never,
  termsOf,
  textOf,
  type Who,
} from '../../../support/aStdioUpstream.js';
import { waitUntil } from '../../../support/eventually.js';

afterEach(closeUpstreams);

const isAlive = (pid: number): boolean => startTicksOf(pid) !== null;
/** How connecting with these settings ends. */
const attempt = (stdio: Partial<StdioDefinition>): Promise<unknown> =>
  codeOf(anUpstream(stdio).upstream.connect(termsOf(), never));

describe('a stdio upstream', () => {
  it('U02 starts the real memory server from its package, with its file in the instance’s own directory', async () => {
    const { upstream, stateDir } = anUpstream({}, { service: aStdioService('memory') });
    const connection = await upstream.connect(termsOf(), never);
    expect(connection.server.serverInfo['name']).toBe('memory-server');
    const entities = [{ name: 'Ada', entityType: 'person', observations: ['wrote a program'] }];
    const made = await call(connection, 'create_entities', { entities });
    expect(made).toHaveProperty('result.content');
    const directory = join(stateDir, 'instances', 'instance-a');
    expect(statSync(directory).mode & 0o777).toBe(0o700);
    expect(readFileSync(join(directory, 'memory.jsonl'), 'utf8')).toContain('Ada');
  });

  it('F05 gives a child the allow-listed and declared names only, and its own HOME', async () => {
    const { upstream, stateDir } = anUpstream(
      {
        inheritEnv: ['PATH', 'LANG', 'HOME'],
        env: { GREETING: parseTemplate('credential', '{{greeting}}', new Set(['greeting'])), FIXED: 'yes' },
      },
      { env: { LANG: 'C', SECRET_OF_THE_GATEWAY: 'canary', HOME: '/root' } },
    );
    const connection = await upstream.connect(termsOf({ fields: { greeting: '$(id) {{token}}' } }), never);
    const env = JSON.parse(textOf(await call(connection, 'env'))) as Record<string, string>;
    const { PORTOLAN_CHILD_OF: mark, ...rest } = env;
    expect(rest).toEqual({
      PATH: process.env['PATH'],
      LANG: 'C',
      HOME: join(stateDir, 'instances', 'instance-a'),
      GREETING: '$(id) {{token}}',
      FIXED: 'yes',
    });
    expect(mark).toMatch(/^[0-9a-f]{16}\/everything\/\d+-\d+\/\d+$/);
  });

  it('I09 starts one child for many that ask at once, and one for each instance and credential revision', async () => {
    const { upstream } = anUpstream({ maxPerUser: 10 });
    const pidOf = async (who: Who): Promise<string> =>
      textOf(await call(await upstream.connect(termsOf(who), never), 'pid'));
    const same = await Promise.all(Array.from({ length: 8 }, (_, at) => pidOf({ sessionId: `s${at}` })));
    expect(new Set(same).size).toBe(1);
    const others = await Promise.all([
      pidOf({ id: 'instance-b', userId: 'user-b' }),
      pidOf({ credentialRevision: 2 }),
      pidOf({ capabilities: { sampling: {} } }),
      pidOf({ capabilities: { sampling: {} }, sessionId: 'session-b' }),
    ]);
    expect(new Set([...same, ...others]).size).toBe(5);
  });

  it('I09 ends a child that is idle, and the least recently used one when there is no room', async () => {
    const { upstream } = anUpstream({ idleTimeoutMs: 200 });
    const pid = Number(textOf(await call(await upstream.connect(termsOf(), never), 'pid')));
    await waitUntil('the idle child is gone', () => !isAlive(pid));
    expect(upstream.counts()).toMatchObject({ idle: 0, busy: 0 });

    const { upstream: small } = anUpstream({ maxProcesses: 2, maxPerUser: 2 });
    const start = async (id: string): Promise<number> =>
      Number(textOf(await call(await small.connect(termsOf({ id, userId: id }), never), 'pid')));
    const [first, second] = [await start('a'), await start('b')];
    await start('a');
    await start('c');
    await waitUntil('the least recently used child is gone', () => !isAlive(second));
    expect(isAlive(first)).toBe(true);
  });

  it('I09 refuses with a code of its own when every child is busy, for the service and for one user', async () => {
    const { upstream } = anUpstream({ maxProcesses: 2, maxPerUser: 1 });
    const busy = async (id: string, userId: string): Promise<AbortController> => {
      const controller = new AbortController();
      const connection = await upstream.connect(termsOf({ id, userId }), never);
      call(connection, 'hang', {}, { signal: controller.signal }).catch(() => {});
      return controller;
    };
    await busy('a', 'user-a');
    expect(await codeOf(upstream.connect(termsOf({ id: 'a2', userId: 'user-a' }), never))).toBe(
      'SERVICE_SATURATED',
    );
    await busy('b', 'user-b');
    expect(await codeOf(upstream.connect(termsOf({ id: 'c', userId: 'user-c' }), never))).toBe(
      'SERVICE_SATURATED',
    );
  });

  it('U07 keeps the type of a request’s id and maps progress back to the caller’s own progress token', async () => {
    const { upstream } = anUpstream();
    const connection = await upstream.connect(termsOf(), never);
    for (const id of [7, '7', 0, 'x'] as const) {
      const response = await connection.request({ jsonrpc: '2.0', id, method: 'ping' }, aListener(), never);
      expect(response.id).toBe(id);
    }
    const [one, two] = [aListener(), aListener()];
    await Promise.all([
      call(connection, 'progress', {}, { listener: one, meta: { progressToken: 'mine' } }),
      call(connection, 'progress', {}, { listener: two, meta: { progressToken: 5 } }),
    ]);
    expect(one.heard.map(({ params }) => params?.['progressToken'])).toEqual(['mine', 'mine']);
    expect(two.heard.map(({ params }) => params?.['progressToken'])).toEqual([5, 5]);
  });

  it('U07 asks the one conversation in flight, and nobody when it cannot tell whose the request is', async () => {
    const { upstream } = anUpstream();
    const terms = termsOf({ capabilities: { sampling: {}, elicitation: {}, roots: {} } });
    const connection = await upstream.connect(terms, never);
    const listener = aListener({ role: 'assistant', content: { type: 'text', text: 'hi' }, model: 'm' });
    expect(textOf(await call(connection, 'sample', {}, { listener }))).toContain('"model":"m"');
    expect(listener.asked.map(({ method }) => method)).toEqual(['sampling/createMessage']);
    expect(textOf(await call(connection, 'ping'))).toBe('{}');

    const shared = anUpstream().upstream;
    const [alice, bob] = [await shared.connect(termsOf(), never), await shared.connect(termsOf(), never)];
    const [asksAlice, asksBob] = [aListener(), aListener()];
    const bobsCall = new AbortController();
    call(bob, 'hang', {}, { listener: asksBob, signal: bobsCall.signal }).catch(() => {});
    expect(textOf(await call(alice, 'elicit', {}, { listener: asksAlice }))).toContain('-32601');
    expect([...asksAlice.asked, ...asksBob.asked]).toEqual([]);
    bobsCall.abort();
  });

  it('R23 tells the child that a call was given up, only its owner’s, and drops the late answer', async () => {
    const { upstream, stateDir } = anUpstream();
    const connection = await upstream.connect(termsOf(), never);
    const controller = new AbortController();
    const cancelFile = join(stateDir, 'cancelled');
    const hanging = call(connection, 'hang', { cancelFile }, { signal: controller.signal });
    const reason = new Error('gone');
    controller.abort(reason);
    await expect(hanging).rejects.toBe(reason);
    await waitUntil('the child heard of it', () => existsSync(cancelFile));
    expect(textOf(await call(connection, 'twice'))).toBe('first');
    expect(textOf(await call(connection, 'echo', { text: 'still there' }))).toBe('still there');
  });

  it('R06 fails what is under way once when the child dies, tries nothing again, and starts anew for the next', async () => {
    const { upstream } = anUpstream();
    const connection = await upstream.connect(termsOf(), never);
    let closed = 0;
    connection.listen({ ...aListener(), onClosed: () => void (closed += 1) });
    const other = call(connection, 'hang');
    expect(await codeOf(call(connection, 'crash'))).toBe('UPSTREAM_FAILED');
    expect(await codeOf(other)).toBe('UPSTREAM_FAILED');
    expect(closed).toBe(1);
    expect(await codeOf(call(connection, 'echo'))).toBe('UPSTREAM_UNREACHABLE');
    const again = await upstream.connect(termsOf(), never);
    expect(textOf(await call(again, 'count'))).toBe('1');
  });

  it.each(['garbage', 'binary'])(
    'R07 recycles a child that writes %s; another instance notices nothing',
    async (tool) => {
      const { upstream } = anUpstream({ args: [...(aHostileService().stdio?.args ?? []), '--banner'] });
      const victim = await upstream.connect(termsOf(), never);
      const other = await upstream.connect(termsOf({ id: 'instance-b', userId: 'user-b' }), never);
      expect(await codeOf(call(victim, tool))).toBe('UPSTREAM_FAILED');
      expect(textOf(await call(other, 'echo', { text: 'fine' }))).toBe('fine');
      expect(textOf(await call(await upstream.connect(termsOf(), never), 'echo', { text: 'new' }))).toBe(
        'new',
      );
    },
  );

  it('R08 cuts a line of more than 10 MB and does not grow with it', async () => {
    const { upstream } = anUpstream();
    const connection = await upstream.connect(termsOf(), never);
    const before = process.memoryUsage().rss;
    expect(await codeOf(call(connection, 'hugeLine', { megabytes: 200 }))).toBe('UPSTREAM_FAILED');
    expect(process.memoryUsage().rss - before).toBeLessThan(100 * 1024 * 1024);
  });

  it('U02 drains a child that floods stderr', async () => {
    const { upstream } = anUpstream();
    const connection = await upstream.connect(termsOf(), never);
    expect(textOf(await call(connection, 'floodStderr', { megabytes: 8 }))).toBe('flooded');
  });

  it('F11 ends the whole tree of a child that forked twice and ignores TERM', async () => {
    const { upstream, stateDir } = anUpstream();
    const connection = await upstream.connect(termsOf(), never);
    const pidFile = join(stateDir, 'grandchild');
    const child = Number(textOf(await call(connection, 'doubleFork', { pidFile })));
    await waitUntil('the grandchild runs', () => existsSync(pidFile) && readFileSync(pidFile, 'utf8') !== '');
    const grandchild = Number(readFileSync(pidFile, 'utf8'));
    expect([isAlive(child), isAlive(grandchild)]).toEqual([true, true]);
    upstream.forget('instance-a', null);
    await waitUntil('child and grandchild are gone', () => !isAlive(child) && !isAlive(grandchild), 6_000);
  });

  it('F11 A03 ends one child alone, also where the numbers of others begin with its number', async () => {
    const { upstream } = anUpstream({ maxProcesses: 20 });
    const children = await Promise.all(
      Array.from({ length: 12 }, async (_, at) => {
        const id = `instance-${at}`;
        const connection = await upstream.connect(termsOf({ id, userId: id }), never);
        const env = JSON.parse(textOf(await call(connection, 'env'))) as Record<string, string>;
        return { id, connection, number: env['PORTOLAN_CHILD_OF']?.split('/').at(-1) };
      }),
    );
    expect(children.map(({ number }) => number)).toEqual(expect.arrayContaining(['1', '10', '11', '12']));
    const first = children.find(({ number }) => number === '1');
    upstream.forget(first?.id ?? '', null);
    await waitUntil('the first is gone', () => upstream.counts().stopping === 0, 6_000);
    const others = children.filter((child) => child !== first);
    const said = others.map(async ({ id, connection }) =>
      textOf(await call(connection, 'echo', { text: id })),
    );
    expect(await Promise.all(said)).toEqual(others.map(({ id }) => id));
  });

  it('U02 says what is wrong with a child that never answers, ends at once, refuses or is not there', async () => {
    const args = aHostileService().stdio?.args ?? [];
    expect(await attempt({ args: [...args, '--silent'], startupTimeoutMs: 300 })).toBe('UPSTREAM_TIMEOUT');
    expect(await attempt({ args: [...args, '--crash'] })).toBe('UPSTREAM_FAILED');
    expect(await attempt({ args: [...args, '--refuse'] })).toBe('UPSTREAM_FAILED');
    expect(await attempt({ command: '/nowhere/at-all' })).toBe('UPSTREAM_FAILED');
    expect(await attempt({ protocol: 'modern' })).toBe('UPSTREAM_FAILED');
  });

  it('R10 ends a child alone that wants more memory than it may have', async () => {
    const { upstream } = anUpstream({ memoryBytes: 256 * 1024 * 1024 });
    const hungry = await upstream.connect(termsOf(), never);
    const sibling = await upstream.connect(termsOf({ id: 'instance-b', userId: 'user-b' }), never);
    const [eaten, ...echoed] = await Promise.all([
      codeOf(call(hungry, 'eat')),
      ...['a', 'b', 'c'].map(async (text) => textOf(await call(sibling, 'echo', { text }))),
    ]);
    expect([eaten, ...echoed]).toEqual(['UPSTREAM_FAILED', 'a', 'b', 'c']);
    const again = await upstream.connect(termsOf(), never);
    expect(textOf(await call(again, 'echo', { text: 'anew' }))).toBe('anew');
  });

  it('R10 leaves a child alone for a while that crashed five times within a minute', async () => {
    const { upstream } = anUpstream({ args: [...(aHostileService().stdio?.args ?? []), '--crash'] });
    for (let crash = 0; crash < 5; crash += 1) await codeOf(upstream.connect(termsOf(), never));
    const started = performance.now();
    const refused: unknown = await upstream.connect(termsOf(), never).catch((error: unknown) => error);
    expect(performance.now() - started).toBeLessThan(20);
    expect(refused).toMatchObject({
      code: 'UPSTREAM_FAILED',
      options: { retryAfterSeconds: expect.any(Number) },
    });
    expect(await codeOf(upstream.connect(termsOf({ id: 'b', userId: 'b' }), never))).toBe('UPSTREAM_FAILED');
  });

  it('A05 keeps the child that starts under the revision of now, and starts none under an older one', async () => {
    const { upstream } = anUpstream();
    const before = await upstream.connect(termsOf({ credentialRevision: 1 }), never);
    const starting = upstream.connect(termsOf({ credentialRevision: 2 }), never);
    await waitUntil('it starts', () => upstream.counts().starting === 1);
    upstream.forget('instance-a', termsOf({ credentialRevision: 2 }).instance);
    const now = await starting;
    expect(textOf(await call(now, 'echo', { text: 'lives' }))).toBe('lives');
    expect(await codeOf(call(before, 'echo'))).not.toBe('resolved');
    expect(await codeOf(upstream.connect(termsOf({ credentialRevision: 1 }), never))).toBe(
      'SERVICE_UNAVAILABLE',
    );
  });

  it('A05 gives nobody a child that was ended while it started', async () => {
    const { upstream } = anUpstream();
    const starting = codeOf(upstream.connect(termsOf(), never));
    await waitUntil('it starts', () => upstream.counts().starting === 1);
    upstream.forget('instance-a', null);
    expect(await starting).toBe('UPSTREAM_UNREACHABLE');
    expect(textOf(await call(await upstream.connect(termsOf(), never), 'echo', { text: 'new' }))).toBe('new');
  });

  it('U02 probes by listing the tools, with a child of its own that is gone afterwards', async () => {
    const { upstream } = anUpstream();
    expect(await upstream.probe(termsOf(), never)).toEqual({ outcome: 'accepted' });
    await waitUntil('the child of the probe is gone', () =>
      Object.values(upstream.counts()).every((count) => count === 0),
    );
    const broken = anUpstream({ command: '/nowhere/at-all' }).upstream;
    expect(await broken.probe(termsOf(), never)).toMatchObject({ outcome: 'unreachable' });
  });
});
