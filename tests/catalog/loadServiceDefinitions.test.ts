import { chmodSync, mkdirSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { describe, expect, it } from '@jest/globals';
import { aPortsFolder, aStdioService, anApiService, problemsOf, type Json } from './given.js';

describe('loading services', () => {
  it('P01 loads every folder, by name, complete and frozen', () => {
    using ports = aPortsFolder();
    ports.write('zeta', aStdioService('zeta'));
    ports.write('alpha', anApiService('alpha'));
    mkdirSync(join(ports.dir, 'no-config-in-it'));
    const { services, problems } = ports.load();
    expect(problems).toEqual([]);
    expect(services.map(({ name, enabled }) => [name, enabled])).toEqual([
      ['alpha', true],
      ['zeta', true],
    ]);
    const [alpha, zeta] = services;
    expect(alpha?.limits).toMatchObject({
      requestsPerMinute: 3_600,
      burst: 120,
      concurrency: 20,
      timeoutMs: 30_000,
      maxRequestBytes: 4_194_304,
    });
    expect(alpha?.api).toMatchObject({ connections: 50, egress: { allowHosts: ['api.example.com'] } });
    expect(zeta?.limits.timeoutMs).toBe(60_000);
    expect(zeta?.stdio).toMatchObject({ isolation: 'per-instance', maxPerUser: 3, idleTimeoutMs: 300_000 });
    expect(zeta?.process).toMatchObject({ maxMemoryRestart: '500M', minUptimeMs: 10_000, maxRestarts: 5 });
    expect(zeta?.credentials.methods[0]).toMatchObject({ tokenField: 'token', probe: { type: 'mcp' } });
    expect(alpha?.credentials.methods[0]?.probe).toEqual({ type: 'none' });
    expect(Object.isFrozen(zeta?.credentials.methods[0]?.fields)).toBe(true);
    expect(() => Object.assign(zeta?.stdio ?? {}, { command: 'other' })).toThrow(TypeError);
  });

  it.each<[string, string | Buffer, RegExp]>([
    [
      'a truncated file',
      '{"schemaVersion": 1, "name": "bad", "stdio": {',
      /ends on line 1 with 2 brackets open/,
    ],
    ['a byte order mark', `\ufeff${JSON.stringify(aStdioService('bad'))}`, /byte order mark/],
    ['UTF-16', Buffer.from(`\ufeff${JSON.stringify(aStdioService('bad'))}`, 'utf16le'), /byte order mark/],
    ['bytes that are no UTF-8', Buffer.from([0x7b, 0xc3, 0x28, 0x7d]), /not UTF-8/],
    ['an empty file', '', /is empty/],
    ['a comment', '{} // nothing', /not valid JSON/],
    ['an array', '[]', /must be of type object/],
    ['a file above 1 MiB', JSON.stringify(aStdioService('bad')) + ' '.repeat(1_048_576), /larger than 1 MiB/],
    ['nesting without end', '['.repeat(100_000) + ']'.repeat(100_000), /nested deeper/],
    ['a repeated key', '{"name":"bad","stdio":{"env":{"A":"1","A":"2"}}}', /\/stdio\/env\/A: stands twice/],
    ['an escaped repeated key', '{"name":"bad","\\u006eame":"bad"}', /\/name: stands twice/],
    ['__proto__', '{"name":"bad","stdio":{"__proto__":{"x":1}}}', /\/stdio\/__proto__: is a key that is not/],
  ])('R17 skips %s with its reason while the others start', (_what, content, reason) => {
    using ports = aPortsFolder();
    ports.write('bad', content);
    ports.write('good', aStdioService('good'));
    const loaded = ports.load();
    expect(loaded.services.map(({ name, enabled }) => [name, enabled])).toEqual([['good', true]]);
    expect(problemsOf(loaded, 'bad').join('\n')).toMatch(reason);
    expect(loaded.problems[0]?.file).toBe(join(ports.dir, 'bad', 'config.json'));
  });

  it('R17 survives a config.json that is a folder, or that it may not read', () => {
    using ports = aPortsFolder();
    mkdirSync(join(ports.dir, 'folder', 'config.json'), { recursive: true });
    ports.write('good', aStdioService('good'));
    const loaded = ports.load();
    expect(loaded.services.map(({ name }) => name)).toEqual(['good']);
    expect(problemsOf(loaded, 'folder')).toEqual([': cannot be read']);
  });

  it.each<[string, Json, string[]]>([
    ['an unknown key', { tools: 1 }, ['/tools: is a key that is not known here']],
    ['a missing title', { title: undefined }, ['/title: is missing']],
    ['a wrong type', { enabled: 'yes' }, ['/enabled: must be of type boolean']],
    ['an unknown kind', { kind: 'grpc' }, ['/kind: must be api, stdio, sse, streamable-http or docker']],
    ['the form of another kind', { api: {} }, ['/api: is a key that is not known here']],
    ['another name than its folder', { name: 'other' }, ['/name: must be the name of its folder, bad']],
    ['another schema version', { schemaVersion: 2 }, ['/schemaVersion: must be one of 1']],
    ['a port below 1024', { port: 80 }, ['/port: must be >=1024']],
    [
      'a kill timeout below the drain',
      { process: { killTimeoutMs: 10_000 } },
      ['/process/killTimeoutMs: must be at least 26000: calls under way have 25 s to finish'],
    ],
    [
      'several things at once',
      { port: 'x', limits: { burst: 0 }, extra: 1 },
      [
        '/port: must be of type number',
        '/limits/burst: must be >=1',
        '/extra: is a key that is not known here',
      ],
    ],
  ])('names file and pointer of %s', (_what, changes, expected) => {
    using ports = aPortsFolder();
    ports.write('bad', aStdioService('bad', changes));
    const loaded = ports.load();
    expect(loaded.services).toEqual([]);
    expect(problemsOf(loaded, 'bad').toSorted()).toEqual(expected.toSorted());
  });

  it('lists every missing variable and file at once, and disables only that service', () => {
    using ports = aPortsFolder();
    const env = {
      FIRST: { $env: 'FIRST_NAME' },
      SECOND: { $env: 'SECOND_NAME' },
      GIVEN: { $env: 'GIVEN_NAME' },
      EMPTY: { $env: 'EMPTY_NAME' },
      DEFAULTED: { $env: 'UNSET_NAME', default: 'a $HOME {{x}} literal' },
      OPTIONAL: { $env: 'OTHER_UNSET', optional: true },
      FILE: { $file: '/nowhere/at-all' },
    };
    ports.write('needy', aStdioService('needy', { stdio: { env } }));
    ports.write('good', aStdioService('good'));
    const values: Record<string, string> = { GIVEN_NAME: '{{constructor}} $PATH', EMPTY_NAME: '' };
    const loaded = ports.load({ env: (name) => values[name] });
    const needy = loaded.services.find(({ name }) => name === 'needy');
    expect(needy).toMatchObject({
      enabled: false,
      disabledReason:
        'It needs FIRST_NAME and SECOND_NAME and EMPTY_NAME and /nowhere/at-all, which this installation does not have.',
    });
    expect(problemsOf(loaded, 'needy')).toHaveLength(4);
    expect(loaded.problems.every(({ isMissingReference }) => isMissingReference)).toBe(true);
    expect(loaded.services.find(({ name }) => name === 'good')?.enabled).toBe(true);
    expect(needy?.references.env).toContainEqual({ name: 'OTHER_UNSET', required: false });
    // A value is never expanded, nor looked at for placeholders.
    expect(needy?.stdio?.env).toMatchObject({
      GIVEN: '{{constructor}} $PATH',
      DEFAULTED: 'a $HOME {{x}} literal',
    });
    expect(needy?.stdio?.env).not.toHaveProperty('OPTIONAL');
  });

  it('asks nothing of a service that is switched off', () => {
    using ports = aPortsFolder();
    ports.write('off', aStdioService('off', { enabled: false, stdio: { env: { A: { $env: 'NOT_SET' } } } }));
    const loaded = ports.load();
    expect(loaded.problems).toEqual([]);
    expect(loaded.services[0]).toMatchObject({
      enabled: false,
      disabledReason: 'It is switched off in its config.json.',
    });
  });

  it('reads {"$file"} once, trimmed unless told otherwise', () => {
    using ports = aPortsFolder();
    const secret = join(ports.dir, 'secret');
    writeFileSync(secret, 'from the file\n');
    chmodSync(secret, 0o600);
    const env = { A: { $file: secret }, B: { $file: secret, trim: false } };
    ports.write('filed', aStdioService('filed', { stdio: { env } }));
    const [service] = ports.load().services;
    expect(service?.stdio?.env).toEqual({ A: 'from the file', B: 'from the file\n' });
  });

  it('shows a service of kind docker as disabled with the reason, until it has an upstream', () => {
    using ports = aPortsFolder();
    const { stdio: _, ...rest } = aStdioService('later');
    ports.write('later', { ...rest, kind: 'docker', docker: { image: 'mcp/thing:1' } });
    const loaded = ports.load();
    expect(loaded.problems).toEqual([]);
    expect(loaded.services[0]).toMatchObject({
      kind: 'docker',
      enabled: false,
      disabledReason: 'Services of kind docker cannot run in this release yet.',
    });
  });

  it.each(['sse', 'streamable-http'])('U03 U04 U08 reads a service of kind %s, ready to run', (kind) => {
    using ports = aPortsFolder();
    const { stdio: _, ...rest } = aStdioService('far');
    ports.write('far', { ...rest, kind, remote: { url: 'https://mcp.example.com/mcp' } });
    const [service] = ports.load().services;
    expect(service).toMatchObject({
      kind,
      enabled: true,
      remote: { session: 'per-client', protocol: 'auto', fallbackSse: false },
    });
  });

  it('reads one service alone, and leaves its neighbours what the lock gives them', () => {
    using ports = aPortsFolder();
    ports.write('mine', aStdioService('mine'));
    ports.write(
      'other',
      aStdioService('other', { port: 4_400, stdio: { env: { A: { $env: 'OF_THE_OTHER' } } } }),
    );
    const { lock } = ports.load();
    const asked: string[] = [];
    const env = (name: string): undefined => void asked.push(name);
    const loaded = ports.load({ only: 'mine', env, lock, allocate: false });
    expect(loaded.services.map(({ name, enabled }) => [name, enabled])).toEqual([['mine', true]]);
    expect({ problems: loaded.problems, asked }).toEqual({ problems: [], asked: [] });
    ports.write('mine', aStdioService('mine', { port: 4_400 }));
    expect(problemsOf(ports.load({ only: 'mine', lock, allocate: false }), 'mine')).toEqual([
      '/port: is the port of other; choose another or leave it out',
    ]);
  });

  it('gives no port to a service that the lock does not know, unless it is the generator', () => {
    using ports = aPortsFolder();
    ports.write('fresh', aStdioService('fresh'));
    const loaded = ports.load({ allocate: false });
    expect(loaded.services[0]?.enabled).toBe(false);
    expect(problemsOf(loaded, 'fresh')).toEqual([': has no port yet; run npm run generate-pm2-config']);
    const { lock } = ports.load();
    expect(ports.load({ allocate: false, lock }).services[0]?.enabled).toBe(true);
  });
});
