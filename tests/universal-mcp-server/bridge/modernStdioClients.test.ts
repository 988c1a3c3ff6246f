/** Clients of every era before stdio servers of every era, through the service. */
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, it, jest } from '@jest/globals';
import { aHostileService, stdioServersDir } from '../../support/aStdioService.js';
import { waitUntil } from '../../support/eventually.js';
import { openInstallation, type Installation } from '../../support/installation.js';
import { clientKinds, connectClient } from '../../support/mcpClients.js';
import { initialize } from '../../support/mcpHttp.js';
import { openUniversalServer } from '../../support/universalServer.js';

jest.setTimeout(60_000);

const aService = (...flags: string[]) =>
  aHostileService({ args: [join(stdioServersDir, 'modernServer.mjs'), ...flags] });

describe('a stdio server on the v2 SDK', () => {
  let site: Installation;
  beforeAll(async () => {
    site = await openInstallation();
  });
  afterAll(async () => {
    await site[Symbol.asyncDispose]();
  });

  it.each([
    ['of both eras', [], { legacy: 'legacy', modern: 'modern' }],
    ['of the modern era only', ['--modern-only'], { legacy: 'modern', modern: 'modern' }],
    ['of the legacy era only', ['--brittle'], { legacy: 'legacy', modern: 'legacy' }],
  ])('U02 U07 one %s serves the clients of both', async (_name, flags, eras) => {
    await using server = await openUniversalServer({ definition: aService(...flags), site });
    const { url } = await server.aUrl();
    for (const kind of clientKinds) {
      await using client = await connectClient(kind, url);
      expect(await client.toolNames()).toContain('echo');
      expect(await client.callTool('echo', { said: 'ahoy' })).toBe('ahoy');
      expect(await client.callTool('era')).toBe(kind.includes('modern') ? eras.modern : eras.legacy);
    }
    // Two eras, a child for each; one era, one child, whoever came first.
    const metrics = async (): Promise<string> =>
      (
        await fetch(`${server.origin}/metrics`, {
          headers: { authorization: `Bearer ${server.metricsToken}` },
        })
      ).text();
    const count = async (): Promise<number> => {
      const found = [...(await metrics()).matchAll(/^portolan_child_processes\{[^}]*\} (\d+)$/gm)];
      return found.reduce((sum, [, number]) => sum + Number(number), 0);
    };
    const wanted = new Set(Object.values(eras)).size;
    await waitUntil('there is a child for each era that is spoken', async () => (await count()) === wanted);
  });

  it('U02 a server whose package is not installed says so, once and clearly', async () => {
    const definition = aHostileService({
      command: 'nowhere',
      package: { registryType: 'npm', identifier: '@nobody/nowhere', version: '1.0.0', sha256: null },
    });
    await using server = await openUniversalServer({ definition, site });
    const { url } = await server.aUrl();
    await expect(initialize(url)).rejects.toThrow(
      /package of this service is not installed.*install-packages/,
    );
  });
});
