/** Children that run with a credential which an admin shares (12.19). */
import { randomUUID } from 'node:crypto';
import { mkdirSync, mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { describe, expect, it, jest } from '@jest/globals';
import { loadServiceDefinitions } from '../../../backend/src/catalog/loadServiceDefinitions.js';
import type { ServiceDefinition } from '../../../backend/src/catalog/serviceDefinition.js';
import { withUser } from '../../../backend/src/database/withUser.js';
import { createCredentialVault } from '../../../backend/src/services/credentialVault.js';
import {
  findServiceSettings,
  removeSharedCredential,
  saveSharedCredential,
} from '../../../backend/src/stores/serviceSettingsStore.js';
import { hostileServer } from '../../support/aStdioService.js';
import { writeService } from '../../support/connectedSite.js';
import { waitUntil } from '../../support/eventually.js';
import type { Installation } from '../../support/installation.js';
import { initialize, type LegacyConversation } from '../../support/mcpHttp.js';
import { openUniversalServer } from '../../support/universalServer.js';

jest.setTimeout(60_000);

function aSharedService(): ServiceDefinition {
  const folder = mkdtempSync(join(tmpdir(), 'portolan-shared-'));
  try {
    mkdirSync(folder, { recursive: true });
    writeService(folder, 'team', {
      title: 'Team',
      kind: 'stdio',
      port: 4_901,
      instancePrefix: 'tem',
      stdio: {
        command: process.execPath,
        args: [hostileServer],
        // It is watched by its pid.
        sandbox: { mode: 'off' },
        env: { TEAM_KEY: { $userToken: '{{token}}' } },
      },
      credentials: {
        scope: 'shared',
        methods: [
          {
            id: 'key',
            type: 'fields',
            label: 'Key',
            tokenField: 'token',
            fields: [{ name: 'token', label: 'Key', type: 'secret' }],
          },
        ],
      },
    });
    const { services } = loadServiceDefinitions({
      mcpPortsDir: folder,
      lock: { services: {} },
      env: () => undefined,
      allocate: true,
    });
    return services[0]!;
  } finally {
    rmSync(folder, { recursive: true, force: true });
  }
}

/** Stores one as the main API does once the service accepted it. */
async function share({ api, vault }: Installation, admin: string, token: string): Promise<void> {
  await withUser(api, { userId: admin, scope: 'admin' }, async (db) => {
    const settings = await findServiceSettings(db, 'team');
    const id = settings?.id ?? randomUUID();
    const revision = (settings?.lastSharedRevision ?? 0) + 1;
    const sealed = await createCredentialVault(vault).sealShared(
      db,
      { id },
      revision,
      new Map([['token', token]]),
    );
    const credential = { method: 'key', revision, sealed, identityLabel: null, checkedAt: null };
    const version = settings?.version ?? 0;
    await saveSharedCredential(db, { id, service: 'team', credential, updatedBy: admin, version });
  });
}

/** What the child has in its environment, and its pid. */
async function childOf(conversation: LegacyConversation): Promise<{ key: string | undefined; pid: string }> {
  const textOf = async (name: string): Promise<string> =>
    String((await conversation.call(name)).json?.result?.content?.[0]?.text);
  const env = await textOf('env');
  return { key: /"TEAM_KEY":\s*"([^"]*)"/.exec(env)?.[1], pid: await textOf('pid') };
}

describe('a child with a shared credential', () => {
  it('12.19 is one for each instance, is replaced within 2 s with the credential, and ends with it', async () => {
    await using server = await openUniversalServer({ definition: aSharedService() });
    const { site } = server;
    const admin = await site.aUser('admin');
    await share(site, admin, 'team-key-1');
    // Connected by `{}`: a record without fields, by the method `none`.
    const [alice, bob] = [
      await server.aUrl({ fields: {}, method: 'none' }),
      await server.aUrl({ fields: {}, method: 'none' }),
    ];
    const [ofAlice, ofBob] = [await initialize(alice.url), await initialize(bob.url)];
    const [first, other] = [await childOf(ofAlice), await childOf(ofBob)];
    expect([first.key, other.key]).toEqual(['team-key-1', 'team-key-1']);
    expect(first.pid).not.toBe(other.pid);

    await share(site, admin, 'team-key-2');
    const replacedAt = performance.now();
    await waitUntil('the child is another one', async () => (await childOf(ofAlice)).key === 'team-key-2');
    expect(performance.now() - replacedAt).toBeLessThan(2_000);
    await waitUntil('the old child is gone', () => {
      try {
        process.kill(Number(first.pid), 0);
        return false;
      } catch {
        return true;
      }
    });

    await withUser(site.api, { userId: admin, scope: 'admin' }, (db) =>
      removeSharedCredential(db, 'team', admin),
    );
    await waitUntil('the model is told to ask an admin', async () => {
      const { json } = await ofAlice.call('pid');
      return /admin sets for everybody, and none is set/.test(String(json?.result?.content?.[0]?.text));
    });
  });
});
