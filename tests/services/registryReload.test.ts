import { rmSync } from 'node:fs';
import { join } from 'node:path';
import { describe, expect, it, jest } from '@jest/globals';
import { startChangeFeed } from '../../backend/src/services/changeFeed.js';
import { openConnectedSite, writeService } from '../support/connectedSite.js';
import { waitUntil } from '../support/eventually.js';

jest.setTimeout(30_000);

describe('the registry of a running program', () => {
  it('P07 P01 learns of a new and of a removed service by NOTIFY, and keeps the last good of a broken one', async () => {
    await using bench = await openConnectedSite();
    const { registry, mcpPortsDir, site } = bench;
    const root = await site.db.superuser();
    await using feed = startChangeFeed({ connectionString: site.db.urls.api, applicationName: 'reload' });
    const stop = feed.onRegistryChange(() => void registry.reload());
    await waitUntil('the feed is up', () => feed.isUp);

    writeService(mcpPortsDir, 'fresh', {
      title: 'Fresh',
      kind: 'stdio',
      port: 1030,
      instancePrefix: 'frs',
      stdio: { command: 'node' },
    });
    rmSync(join(mcpPortsDir, 'off'), { recursive: true });
    writeService(mcpPortsDir, 'notes', { title: 'Notes', kind: 'no such kind' });
    expect(registry.find('fresh')).toBeNull();
    await root.query(`select pg_notify('portolan_registry', '')`);
    await waitUntil('the new service is known', () => registry.find('fresh') !== null);
    expect(registry.find('off')).toBeNull();
    expect(registry.find('notes')).toMatchObject({ enabled: true, title: 'Notes', kind: 'api' });
    expect(registry.problems().map(({ service }) => service)).toEqual(expect.arrayContaining(['notes']));
    stop();
  });
});
