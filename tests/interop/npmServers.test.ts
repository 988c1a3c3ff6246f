/** What npm's stdio servers say of themselves arrives unchanged by every client, through an instance URL (U02, U06). */
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, it } from '@jest/globals';
import { openInstallation, type Installation } from '../support/installation.js';
import { clientKinds } from '../support/mcpClients.js';
import { openUniversalServer } from '../support/universalServer.js';
import { commandOf, npmServers, serviceOf } from './npmServers.js';
import { accountDirectly, accountThrough, type ServerAccount } from './serverAccount.js';

/** Tasks as 2025-11-25 has them are no part of the modern revision. */
const withoutTasks = (account: ServerAccount): ServerAccount => ({
  ...account,
  tools: account.tools.map((tool) =>
    Object.fromEntries(Object.entries(tool).filter(([name]) => name !== 'execution')),
  ),
});

let site: Installation;
let home: string;

beforeAll(async () => {
  site = await openInstallation();
  home = mkdtempSync(join(tmpdir(), 'interop-'));
});
afterAll(async () => {
  await site?.[Symbol.asyncDispose]();
  rmSync(home, { recursive: true, force: true });
});

describe('npm’s stdio servers', () => {
  it('three of them at least speak the first revision', () => {
    expect(npmServers.filter(({ revision }) => revision === '2024-11-05').length).toBeGreaterThanOrEqual(3);
    expect(npmServers.length).toBeGreaterThanOrEqual(10);
  });

  it.each(npmServers)(
    'U02 U06 $bin ($revision) says the same to the SDKs’ clients through an instance URL as directly',
    async (server) => {
      const direct = await accountDirectly(commandOf(server, home), server.call);
      expect(direct.revision).toBe(server.revision);
      expect(direct.account.tools.length).toBeGreaterThan(0);
      await using universal = await openUniversalServer({ definition: serviceOf(server), site });
      for (const kind of clientKinds) {
        const expected = kind === 'SDK v2, modern era' ? withoutTasks(direct.account) : direct.account;
        const { url } = await universal.aUrl();
        expect([kind, await accountThrough(kind, url, server.call)]).toEqual([kind, expected]);
      }
    },
    90_000,
  );
});
