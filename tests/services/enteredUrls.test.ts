import { describe, expect, it, jest } from '@jest/globals';
import { openConnectedSite, writeService, type ConnectedSite } from '../support/connectedSite.js';
import { refusalOf } from './instanceManager/refusal.js';

jest.setTimeout(30_000);

const hosted = { service: 'hosted', label: 'default' };

/** A service of which each user has a site of their own. */
function addHosted(bench: ConnectedSite, egress: { readonly allowPrivate: boolean }): void {
  const site = { label: 'Site', type: 'url', required: false };
  writeService(bench.mcpPortsDir, 'hosted', {
    title: 'Hosted',
    kind: 'stdio',
    port: 1040,
    instancePrefix: 'hst',
    stdio: { command: 'node', env: { SITE: { $credential: '{{site}}' } }, egress },
    userOverrides: { allow: true, keys: ['mirror'], fields: [{ name: 'mirror', ...site }] },
    credentials: {
      scope: 'per-user',
      methods: [
        {
          id: 'key',
          type: 'fields',
          label: 'Key and site',
          tokenField: 'token',
          fields: [
            { name: 'token', label: 'Key', type: 'secret' },
            { name: 'site', ...site },
          ],
        },
      ],
    },
  });
  bench.registry.reload();
}

describe('URLs that users enter', () => {
  it.each([
    ['E01', 'https://localhost/q7x'],
    ['E01', 'https://[::1]:8443/q7x'],
    ['E02', 'https://169.254.169.254/q7x'],
    ['E02', 'https://10.0.0.7/q7x'],
    ['E03', 'https://0x7f.1/q7x'],
    ['E03', 'https://2130706433/q7x'],
    ['E06', 'file:///q7x'],
    ['E06', 'https://u:q7x@example.com/'],
    ['E06', 'http://example.com/q7x'],
  ])('%s refuses %s at save, with its place and without showing it', async (_case, url) => {
    await using bench = await openConnectedSite();
    addHosted(bench, { allowPrivate: false });
    const alice = await bench.anActor();
    const given = { apiKey: 'good-alice', additionalCredentials: { site: url } };
    const refusal = await refusalOf(bench.manager.authenticate(alice, hosted, given));
    expect(refusal).toMatchObject({
      code: 'INVALID_REQUEST',
      options: { fields: [{ pointer: '/additionalCredentials/site' }] },
    });
    // The overrides are read before anything is looked up, so that no instance is needed here.
    const override = await refusalOf(bench.manager.putOverrides(alice, hosted, { mirror: url }));
    expect(override).toMatchObject({
      code: 'INVALID_REQUEST',
      options: { fields: [{ pointer: '/values/mirror' }] },
    });
    expect(JSON.stringify([refusal.options, override.options])).not.toContain('q7x');
  });

  it('E01 takes private ones where the file of the service allows them, and nowhere else', async () => {
    await using bench = await openConnectedSite();
    addHosted(bench, { allowPrivate: true });
    const alice = await bench.anActor();
    const enter = (site: string) =>
      refusalOf(bench.manager.authenticate(alice, hosted, { apiKey: 'k', additionalCredentials: { site } }));
    // Nothing listens for this service: what passes the form gets as far as its process.
    expect(await enter('http://10.0.0.7:8080/')).toMatchObject({ code: 'SERVICE_UNAVAILABLE' });
    expect(await enter('https://notes.example.com/')).toMatchObject({ code: 'SERVICE_UNAVAILABLE' });
    expect(await enter('http://169.254.169.254/')).toMatchObject({ code: 'INVALID_REQUEST' });
    expect(
      await refusalOf(bench.manager.putOverrides(alice, hosted, { mirror: 'http://localhost/' })),
    ).toMatchObject({
      code: 'NOT_FOUND',
    });
  });
});
