import { describe, expect, it } from '@jest/globals';
import { aPortsFolder, aStdioService, anApiService, problemsOf, type Json } from './given.js';

/** The problems of a service with this configuration, which has to be disabled by them. */
function refusalsOf(config: Json): string {
  using ports = aPortsFolder();
  ports.write('bad', config);
  const loaded = ports.load();
  expect(loaded.services.some(({ enabled }) => enabled)).toBe(false);
  return problemsOf(loaded, 'bad').join('\n');
}

const withTool = (request: Json, inputSchema: Json = {}): Json =>
  anApiService('bad', {
    tools: [
      {
        name: 'one',
        description: 'One.',
        inputSchema: { type: 'object', required: ['id'], properties: { id: {}, note: {} }, ...inputSchema },
        request,
      },
    ],
  });

const withField = (fallback: string) => ({
  ...anApiService('bad', { baseUrl: 'https://api.example.com' }),
  userOverrides: {
    allow: true,
    keys: ['site'],
    fields: [{ name: 'site', label: 'Site', type: 'url', required: false, default: fallback }],
  },
});

const refusalOf = (url: string): string => refusalsOf(anApiService('bad', { baseUrl: url }));

describe('environment names', () => {
  it.each([
    'LD_PRELOAD',
    'LD_LIBRARY_PATH',
    'NODE_OPTIONS',
    'NODE_PATH',
    'PATH',
    'BASH_ENV',
    'PYTHONPATH',
    'PYTHONSTARTUP',
    'DYLD_INSERT_LIBRARIES',
    'PERL5OPT',
    'GIT_SSH_COMMAND',
    'npm_config_registry',
    'ld_preload',
  ])('F06 refuses %s, from a user or from the file', (name) => {
    for (const value of ['literal', { $credential: '{{token}}' }, { $userToken: '{{token}}' }]) {
      expect(refusalsOf(aStdioService('bad', { stdio: { env: { [name]: value } } }))).toBe(
        `/stdio/env/${name}: would change what the process loads or runs; it cannot be set here`,
      );
    }
    const process = { process: { env: { [name]: 'x' } } };
    expect(refusalsOf(aStdioService('bad', process))).toContain(`/process/env/${name}: would change`);
  });

  it('F05 refuses to let a child inherit what is secret or steers the runtime', () => {
    for (const name of [
      'DATABASE_URL',
      'KEYRING_FILE',
      'GITHUB_TOKEN',
      'NODE_OPTIONS',
      'LD_PRELOAD',
      'PM2_HOME',
    ]) {
      const stdio = { inheritEnv: ['PATH', name] };
      expect(refusalsOf(aStdioService('bad', { stdio }))).toContain(
        '/stdio/inheritEnv/1: must not be inherited',
      );
    }
  });

  it("refuses a reference to Portolan's own secrets", () => {
    for (const $env of ['DATABASE_URL', 'KEYRING_FILE', 'PORTOLAN_STATE_DIR']) {
      expect(refusalsOf(aStdioService('bad', { stdio: { env: { X: { $env } } } }))).toContain(
        "/stdio/env/X: names a variable of Portolan's own",
      );
    }
  });
});

describe('headers', () => {
  it.each([
    'Host',
    'TE',
    'Content-Length',
    'Connection',
    'transfer-encoding',
    'Upgrade',
    'Proxy-Authorization',
  ])('E09 refuses to set %s', (name) => {
    for (const value of ['literal', { $userToken: '{{token}}' }]) {
      const expected = 'is a header that Portolan sets itself; it cannot be configured';
      expect(refusalsOf(anApiService('bad', { headers: { [name]: value } }))).toBe(
        `/api/headers/${name}: ${expected}`,
      );
      expect(refusalsOf(withTool({ method: 'GET', path: '/x', headers: { [name]: value } }))).toContain(
        expected,
      );
    }
  });

  it('E09 refuses a name that is no header name', () => {
    for (const name of ['X Y', 'X:Y', 'X\r\nHost', 'ä', '']) {
      expect(refusalsOf(anApiService('bad', { headers: { [name]: 'x' } }))).toMatch(/is no header name/);
    }
  });

  it('E08 refuses a literal or a referenced value that no header can carry, and does not print it', () => {
    using ports = aPortsFolder();
    const headers = {
      'X-A': 'q7x\r\nX-Evil: 1',
      'X-B': { $env: 'SOME_VALUE' },
      'X-C': { $userToken: 'q7x€ {{token}}' },
    };
    ports.write('bad', anApiService('bad', { headers }));
    const loaded = ports.load({ env: () => 'q7x\n' });
    expect(problemsOf(loaded, 'bad').map((line) => line.split(':')[0])).toEqual([
      '/api/headers/X-A',
      '/api/headers/X-B',
      '/api/headers/X-C',
    ]);
    expect(JSON.stringify(loaded.problems)).not.toContain('q7x');
  });

  it('E08 marks the fields whose value goes into a header, so that it is checked when it is entered', () => {
    using ports = aPortsFolder();
    const headers = {
      Authorization: { $userToken: 'Bearer {{token}}' },
      'X-Region': { $credential: '{{region}}' },
    };
    ports.write('api', anApiService('api', { headers }));
    ports.write('stdio', aStdioService('stdio', { stdio: { env: { T: { $userToken: '{{token}}' } } } }));
    const [api, stdio] = ports.load().services;
    expect(api?.credentials.methods[0]?.fields.map(({ headerSafe }) => headerSafe)).toEqual([true, true]);
    expect(stdio?.credentials.methods[0]?.fields.map(({ headerSafe }) => headerSafe)).toEqual([false, false]);
  });
});

describe('addresses', () => {
  it.each([
    ['file:///etc/passwd', /http or https/],
    ['gopher://example.com/', /http or https/],
    ['ws://example.com/', /http or https/],
    ['https://user:q7x@example.com/', /user name or password|looks like a key/],
    ['https://user@example.com/', /user name or password/],
    ['not a URL q7x', /not an absolute URL/],
    ['https://example.com/#part', /fragment/],
    ['https://example.com:25/', /port/],
  ])('E06 refuses the address %s and does not print it', (url, reason) => {
    const said = refusalsOf(anApiService('bad', { baseUrl: url }));
    expect(said).toMatch(reason);
    expect(said).toMatch(/^\/api\/baseUrl: /);
    expect(said).not.toContain('q7x');
    expect(said).not.toContain(url);
  });

  it.each(['http://127.0.0.1:8000', 'http://localhost:3000/', 'http://[::1]/', 'https://printer.local/'])(
    'E01 refuses %s when the file is read, and says how it can be allowed',
    (url) => expect(refusalOf(url)).toMatch(/^\/api\/baseUrl: .*set egress\.allowPrivate/),
  );

  it.each(['http://10.1.2.3/', 'https://192.168.1.1/', 'https://100.64.0.1/', 'https://[fc00::1]/'])(
    'E02 refuses the private address %s when the file is read, and says how it can be allowed',
    (url) => expect(refusalOf(url)).toMatch(/^\/api\/baseUrl: .*set egress\.allowPrivate/),
  );

  it.each(['http://169.254.169.254/latest', 'http://0.0.0.0/', 'https://[fe80::1]/', 'https://224.0.0.1/'])(
    'E02 refuses %s, which no file can allow',
    (url) => {
      expect(refusalOf(url)).toMatch(/^\/api\/baseUrl: leads to an address that is not allowed$/);
      const allowed = anApiService('bad', { baseUrl: url, egress: { allowPrivate: true } });
      expect(refusalsOf(allowed)).toMatch(/leads to an address that is not allowed/);
    },
  );

  it.each([
    'http://0x7f.1/',
    'http://017700000001/',
    'http://2130706433/',
    'http://127.1/',
    'http://[::ffff:127.0.0.1]/',
    'http://localhost./',
    'https://①②⑦.0.0.1/',
    'https://EXAMPLE.com%2f@127.0.0.1/',
  ])('E03 refuses another spelling of an address when the file is read: %s', (url) => {
    const allowed = anApiService('bad', { baseUrl: url, egress: { allowPrivate: true } });
    expect(refusalOf(url)).toMatch(/^\/api\/baseUrl: /);
    expect(refusalsOf(allowed)).toMatch(/^\/api\/baseUrl: /);
  });

  it('E01 E06 holds the URL of a probe, of a document and the default of a field to the same', () => {
    const url = 'http://127.0.0.1:8009/q7x';
    const said = refusalsOf(
      anApiService('bad', {
        baseUrl: 'https://api.example.com',
        openapi: { source: url },
      }),
    );
    expect(said).toMatch(/^\/api\/openapi\/source: .*egress\.allowPrivate/);
    expect(said).not.toContain('q7x');
    expect(refusalsOf(withField(url))).toMatch(/^\/userOverrides\/fields\/0\/default: .*egress/);
    using ports = aPortsFolder();
    ports.write('bad', withField('https://site.example.com'));
    expect(ports.load().services[0]?.enabled).toBe(true);
  });

  it('E01 takes a private address when the admin allows it for the service', () => {
    using ports = aPortsFolder();
    ports.write(
      'inner',
      anApiService('inner', { baseUrl: 'http://127.0.0.1:8009/x/', egress: { allowPrivate: true } }),
    );
    expect(ports.load().services[0]).toMatchObject({
      enabled: true,
      api: { baseUrl: 'http://127.0.0.1:8009/x', egress: { allowHosts: ['127.0.0.1'], allowPrivate: true } },
    });
  });

  it('wants the allowed hosts listed when a credential gives the host', () => {
    const baseUrl = { $credential: 'https://{{region}}.example.com/api' };
    expect(refusalsOf(anApiService('bad', { baseUrl }))).toMatch(/list the hosts there may be/);
    expect(refusalsOf(anApiService('bad', { baseUrl: { $credential: '{{region}}/api' } }))).toMatch(
      /must begin with http|not an absolute URL/,
    );
    using ports = aPortsFolder();
    ports.write('good', anApiService('good', { baseUrl, egress: { allowHosts: ['*.example.com'] } }));
    expect(ports.load().services[0]?.enabled).toBe(true);
  });

  it('keeps an OpenAPI document in its own folder or below the state directory', () => {
    for (const source of [
      './../../other.json',
      'state:../keyring.json',
      'state:/etc/passwd',
      'file:///etc/passwd',
      '/etc/passwd',
    ]) {
      expect(refusalsOf(anApiService('bad', { tools: [], openapi: { source } }))).toMatch(
        /^\/api\/openapi\/source: /,
      );
    }
  });
});

describe('templates', () => {
  it.each(['{{constructor}}', '{{__proto__}}', '{{other.token}}', '{{nope}}', '{{dataDir}}'])(
    'F10 refuses %s when the service is loaded, with file and pointer',
    (text) => {
      expect(refusalsOf(aStdioService('bad', { stdio: { env: { X: { $credential: text } } } }))).toMatch(
        /^\/stdio\/env\/X\/\$credential: has an unknown placeholder; known here: \{\{token\}\}, \{\{region\}\}$/,
      );
      expect(refusalsOf(aStdioService('bad', { stdio: { args: [{ $userToken: text }] } }))).toMatch(
        /^\/stdio\/args\/0\/\$userToken: has an unknown placeholder/,
      );
    },
  );

  it('F10 refuses fields with names that objects have by themselves', () => {
    const methods = [{ id: 'k', type: 'fields', label: 'K', fields: [{ name: 'constructor', label: 'C' }] }];
    expect(refusalsOf(aStdioService('bad', { credentials: { methods } }))).toMatch(
      /JavaScript keeps for itself/,
    );
  });

  it('refuses user values where no user has any', () => {
    const credentials = { scope: 'none', methods: [{ id: 'none', type: 'none', label: 'None' }] };
    const stdio = { env: { X: { $userToken: '{{token}}' } } };
    expect(refusalsOf(aStdioService('bad', { credentials, stdio }))).toMatch(/known here: none/);
  });

  it('refuses one process for all users when it would hold what belongs to one', () => {
    for (const value of [{ $userToken: '{{token}}' }, { $credential: '{{region}}' }]) {
      const stdio = { isolation: 'shared', env: { X: value } };
      expect(refusalsOf(aStdioService('bad', { stdio }))).toMatch(/^\/stdio\/isolation: cannot be shared/);
    }
    const stdio = { isolation: 'shared', env: { X: { $instance: '{{dataDir}}' } } };
    expect(refusalsOf(aStdioService('bad', { stdio }))).toMatch(/unknown placeholder/);
  });

  it('gives the instance its directory in env, args and cwd of a child, and nowhere else', () => {
    using ports = aPortsFolder();
    const value = { $instance: '{{dataDir}}/x' };
    ports.write('good', aStdioService('good', { stdio: { env: { X: value }, args: [value], cwd: value } }));
    expect(ports.load().services[0]?.enabled).toBe(true);
    expect(refusalsOf(anApiService('bad', { headers: { 'X-Dir': value } }))).toMatch(/unknown placeholder/);
  });

  it('warns of a value among the arguments, which everybody on the machine can read', () => {
    using ports = aPortsFolder();
    const args = ['--key', { $userToken: '{{token}}' }, { $instance: '{{dataDir}}' }];
    ports.write('loud', aStdioService('loud', { stdio: { args } }));
    const loaded = ports.load();
    expect(loaded.services[0]?.enabled).toBe(true);
    expect(loaded.warnings.map(({ pointer }) => pointer)).toEqual(['/stdio/args/1']);
  });
});

describe('api tools', () => {
  it.each<[string, Json, RegExp]>([
    ['an argument that is not declared', { path: '/x/{nope}' }, /does not declare/],
    ['an argument of the path that is not required', { path: '/x/{note}' }, /does not require/],
    ['a query in the path', { path: '/x?y=1' }, /plain path/],
    ['a climbing path', { path: '/x/../y' }, /plain path/],
    ['an encoded climbing path', { path: '/x/%2e%2e/y' }, /plain path/],
    ['a path that leaves the host', { path: '//evil.example.com/' }, /plain path/],
    ['a body of a GET', { path: '/x', body: {} }, /GET cannot carry/],
    [
      'an unknown argument in the body',
      { method: 'POST', path: '/x', body: { a: { $arg: 'nope' } } },
      /does not declare/,
    ],
    [
      'an unknown mark in the body',
      { method: 'POST', path: '/x', body: { a: { $shell: 'x' } } },
      /no reference/,
    ],
  ])('E07 refuses %s', (_what, request, reason) => {
    expect(refusalsOf(withTool({ method: 'GET', ...request }))).toMatch(reason);
  });

  it('refuses two tools of one name, and names that instance URLs use', () => {
    const tool = {
      name: 'one',
      description: 'x',
      inputSchema: { type: 'object' },
      request: { method: 'GET', path: '/' },
    };
    expect(refusalsOf(anApiService('bad', { tools: [tool, tool] }))).toBe(
      '/api/tools/1/name: is there already',
    );
    for (const name of ['mcp', 'sse', 'message']) {
      expect(refusalsOf(anApiService('bad', { tools: [{ ...tool, name }] }))).toMatch(
        /word of the instance URL/,
      );
    }
  });
});

describe('commands and containers', () => {
  it.each([
    ['a relative path', { command: '../x' }],
    ['an option', { command: '-e' }],
    ['a shell line', { command: './run.sh; x' }],
  ])('F02 refuses %s as the command', (_what, stdio) => {
    expect(refusalsOf(aStdioService('bad', { stdio }))).toMatch(/^\/stdio\/command: /);
  });

  it.each([
    ['a tag instead of a version', { version: 'latest' }],
    ['a range', { version: '^1.0.0' }],
    ['a climbing name', { identifier: '../../x' }],
    ['an option as name', { identifier: '--global' }],
  ])('refuses %s of a package', (_what, change) => {
    const reference = { registryType: 'npm', identifier: 'thing', version: '1.0.0', ...change };
    expect(refusalsOf(aStdioService('bad', { stdio: { package: reference } }))).toMatch(
      /^\/stdio\/package\//,
    );
  });

  it.each<[string, Json]>([
    ['privileged', { privileged: true }],
    ['the host network', { network: 'host' }],
    ['added capabilities', { capAdd: ['SYS_ADMIN'] }],
    ['kept capabilities', { capDrop: [] }],
    ['no seccomp', { securityOpt: ['no-new-privileges:true', 'seccomp=unconfined'] }],
    ['new privileges', { securityOpt: [] }],
    ['the socket of Docker', { volumes: [{ source: '/var/run/docker.sock', target: '/s' }] }],
    ['the socket by a detour', { volumes: [{ source: '/srv/../var/run/docker.sock', target: '/s' }] }],
    ['the host itself', { volumes: [{ source: '//', target: '/h' }] }],
    ['the settings of the host', { volumes: [{ source: '/etc', target: '/h' }] }],
    ['root', { user: '0' }],
  ])('F08 refuses a container with %s', (_what, docker) => {
    const { stdio: _, ...rest } = aStdioService('bad');
    const said = refusalsOf({ ...rest, kind: 'docker', docker: { image: 'mcp/x:1', ...docker } });
    expect(said).toMatch(/^\/docker\//);
  });
});
