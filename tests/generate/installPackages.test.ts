import { execFileSync, spawn } from 'node:child_process';
import { createHash } from 'node:crypto';
import { once } from 'node:events';
import { existsSync, mkdirSync, readdirSync, readFileSync, writeFileSync } from 'node:fs';
import { createServer } from 'node:http';
import type { AddressInfo } from 'node:net';
import { join } from 'node:path';
import { describe, expect, it, jest } from '@jest/globals';
import { aPortsFolder, aStdioService, type PortsFolder } from '../catalog/given.js';
import { root } from './given.js';

// npm itself runs, several times.
jest.setTimeout(120_000);

/** A package whose install script would leave a mark beside it. */
function packArchive(ports: PortsFolder, name: string, version: string): Buffer {
  const folder = join(ports.dir, '.pack', 'package');
  mkdirSync(folder, { recursive: true });
  writeFileSync(
    join(folder, 'package.json'),
    JSON.stringify({
      name,
      version,
      bin: { 'a-command': 'index.js' },
      scripts: { postinstall: "node -e \"require('fs').writeFileSync('ran', '')\"" },
    }),
  );
  writeFileSync(join(folder, 'index.js'), '#!/usr/bin/env node\n');
  return execFileSync('tar', ['-czf', '-', '-C', join(ports.dir, '.pack'), 'package']);
}

/** A registry on the loopback that knows one package. */
async function aRegistry(name: string, version: string, archive: Buffer) {
  const asked: string[] = [];
  const server = createServer((request, response) => {
    asked.push(request.url ?? '');
    const origin = `http://127.0.0.1:${(server.address() as AddressInfo).port}`;
    if (request.url?.endsWith('.tgz')) return response.end(archive);
    if (decodeURIComponent(request.url ?? '') !== `/${name}`) return response.writeHead(404).end('{}');
    const integrity = `sha512-${createHash('sha512').update(archive).digest('base64')}`;
    const dist = { tarball: `${origin}/a-thing.tgz`, integrity };
    return response.setHeader('content-type', 'application/json').end(
      JSON.stringify({
        name,
        'dist-tags': { latest: version },
        versions: { [version]: { name, version, bin: { 'a-command': 'index.js' }, dist } },
      }),
    );
  });
  server.listen(0, '127.0.0.1');
  await once(server, 'listening');
  return {
    asked,
    url: `http://127.0.0.1:${(server.address() as AddressInfo).port}/`,
    async [Symbol.asyncDispose]() {
      server.closeAllConnections();
      server.close();
      await once(server, 'close');
    },
  };
}

async function install(ports: PortsFolder, registry: string): Promise<{ code: number; output: string }> {
  const child = spawn(process.execPath, [join(root, 'dist', 'scripts', 'install-packages.js')], {
    env: {
      PATH: process.env.PATH,
      HOME: ports.dir,
      MCP_PORTS_DIR: ports.dir,
      PORTOLAN_STATE_DIR: join(ports.dir, '.state'),
      npm_config_registry: registry,
      npm_config_cache: join(ports.dir, '.npm'),
    },
    stdio: ['ignore', 'pipe', 'pipe'],
  });
  let output = '';
  for (const stream of [child.stdout, child.stderr]) {
    stream.setEncoding('utf8').on('data', (text: string) => (output += text));
  }
  const [code] = (await once(child, 'close')) as [number];
  return { code, output };
}

const aPackage = (version: string, more: object = {}) => ({
  command: 'a-command',
  package: { registryType: 'npm', identifier: '@scope/a-thing', version, ...more },
});

describe('install-packages', () => {
  it('installs what is missing at the pinned version, runs nothing of it, and is done the second time', async () => {
    using ports = aPortsFolder();
    const archive = packArchive(ports, '@scope/a-thing', '1.2.3');
    await using registry = await aRegistry('@scope/a-thing', '1.2.3', archive);
    ports.write('thing', aStdioService('thing', { stdio: aPackage('1.2.3') }));
    ports.write('off', aStdioService('off', { enabled: false, stdio: aPackage('9.9.9') }));
    const first = await install(ports, registry.url);
    expect(first).toEqual({ code: 0, output: 'thing: @scope/a-thing 1.2.3 was installed\n' });
    const folder = join(
      ports.dir,
      '.state',
      'packages',
      'scope__a-thing@1.2.3',
      'node_modules',
      '@scope',
      'a-thing',
    );
    expect(JSON.parse(readFileSync(join(folder, 'package.json'), 'utf8'))).toMatchObject({
      version: '1.2.3',
    });
    expect(existsSync(join(folder, 'ran'))).toBe(false);
    const asked = registry.asked.length;
    expect(await install(ports, registry.url)).toEqual({
      code: 0,
      output: 'thing: @scope/a-thing 1.2.3 is there\n',
    });
    expect(registry.asked).toHaveLength(asked);
  });

  it('leaves what the project has already, fails for what there is not, and leaves nothing half done', async () => {
    using ports = aPortsFolder();
    const archive = packArchive(ports, '@scope/a-thing', '1.2.3');
    await using registry = await aRegistry('@scope/a-thing', '1.2.3', archive);
    const shipped = JSON.parse(
      readFileSync(join(root, 'mcp-ports', 'memory', 'config.json'), 'utf8'),
    ) as object;
    ports.write('memory', JSON.stringify(shipped));
    ports.write('missing', aStdioService('missing', { stdio: aPackage('4.0.0') }));
    const run = await install(ports, registry.url);
    expect(run.code).toBe(1);
    expect(run.output).toContain('memory: @modelcontextprotocol/server-memory 2026.8.31 is there');
    expect(run.output).toContain(
      'missing: @scope/a-thing 4.0.0 could not be installed: npm install ended with',
    );
    expect(readdirSync(join(ports.dir, '.state', 'packages'))).toEqual([]);
  });

  it('unpacks no archive but the one whose SHA-256 the config declares', async () => {
    using ports = aPortsFolder();
    const archive = packArchive(ports, '@scope/a-thing', '1.2.3');
    await using registry = await aRegistry('@scope/a-thing', '1.2.3', archive);
    const sha256 = createHash('sha256').update(archive).digest('hex');
    ports.write('thing', aStdioService('thing', { stdio: aPackage('1.2.3', { sha256: '0'.repeat(64) }) }));
    const refused = await install(ports, registry.url);
    expect(refused).toMatchObject({
      code: 1,
      output: expect.stringContaining(`has SHA-256 ${sha256}, not the declared`),
    });
    expect(readdirSync(join(ports.dir, '.state', 'packages'))).toEqual([]);
    ports.write('thing', aStdioService('thing', { stdio: aPackage('1.2.3', { sha256 }) }));
    expect(await install(ports, registry.url)).toMatchObject({ code: 0 });
  });
});
