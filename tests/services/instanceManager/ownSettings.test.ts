import { rmSync } from 'node:fs';
import { join } from 'node:path';
import { describe, expect, it, jest } from '@jest/globals';
import { openConnectedSite } from '../../support/connectedSite.js';
import { refusalOf } from './refusal.js';

jest.setTimeout(30_000);

const notes = { service: 'notes', label: 'default' };

describe('overrides', () => {
  it('I08 lays the user over the admin over the defaults, shows no secret and takes marked keys only', async () => {
    await using bench = await openConnectedSite();
    const alice = await bench.anActor();
    await bench.manager.authenticate(alice, notes, { apiKey: 'good-alice' });
    expect(await bench.manager.getOverrides(alice, notes)).toMatchObject({
      allowed: true,
      values: {},
      adminKeys: ['region'],
    });
    const stored = await bench.manager.putOverrides(alice, notes, { region: 'us', pin: '4711' });
    expect(stored).toMatchObject({ values: { region: 'us' }, setKeys: ['region', 'pin'] });
    expect(JSON.stringify(await bench.manager.getOverrides(alice, notes))).not.toContain('4711');
    await bench.manager.probe(alice, notes);
    expect(bench.edges.notes.seen.at(-1)?.fields).toEqual(
      new Map([
        ['region', 'us'],
        ['pin', '4711'],
        ['token', 'good-alice'],
      ]),
    );
    expect(await bench.manager.putOverrides(alice, notes, {})).toMatchObject({ setKeys: [] });
    await bench.manager.probe(alice, notes);
    expect(bench.edges.notes.seen.at(-1)?.fields.get('region')).toBe('eu');
    expect(
      await refusalOf(bench.manager.putOverrides(alice, notes, { command: 'sh', region: 'us' })),
    ).toMatchObject({ code: 'INVALID_REQUEST', options: { fields: [{ pointer: '/values/command' }] } });
    expect((await bench.manager.getOverrides(alice, notes)).setKeys).toEqual([]);
  });

  it('I08 says no where the service allows none', async () => {
    await using bench = await openConnectedSite();
    const alice = await bench.anActor();
    const plain = { service: 'plain', label: 'default' };
    await bench.manager.authenticate(alice, plain, {});
    expect(await refusalOf(bench.manager.putOverrides(alice, plain, { region: 'us' }))).toMatchObject({
      code: 'ACCESS_DENIED',
    });
    expect(await bench.manager.getOverrides(alice, plain)).toMatchObject({ allowed: false, fields: [] });
  });

  it.each(['LD_PRELOAD', 'NODE_OPTIONS', 'PATH', 'BASH_ENV', 'PYTHONPATH', 'ld_preload'])(
    'F06 refuses the name %s, whatever a service marks',
    async (name) => {
      await using bench = await openConnectedSite();
      const alice = await bench.anActor();
      await bench.manager.authenticate(alice, notes, { apiKey: 'good-alice' });
      expect(await refusalOf(bench.manager.putOverrides(alice, notes, { [name]: '/tmp/x' }))).toMatchObject({
        code: 'INVALID_REQUEST',
        options: { fields: [{ message: 'may not be set' }] },
      });
    },
  );
});

describe('credentials by service', () => {
  it('I06 says for every service whether it is configured, and which fields are set, never their values', async () => {
    await using bench = await openConnectedSite();
    const alice = await bench.anActor();
    await bench.manager.authenticate(alice, notes, {
      apiKey: 'good-alice',
      additionalCredentials: { workspace: 'space-9' },
    });
    const list = await bench.manager.listCredentials(alice);
    expect(list.map(({ serviceType, configured }) => [serviceType, configured])).toEqual([
      ['away', false],
      ['common', false],
      ['maybe', false],
      ['notes', true],
      ['off', false],
      ['plain', false],
    ]);
    const one = await bench.manager.getCredential(alice, notes);
    expect(one).toMatchObject({
      configured: true,
      requiresSetup: false,
      setup: null,
      method: 'key',
      identity: 'alice',
      fields: [
        { name: 'token', isSet: true },
        { name: 'workspace', isSet: true },
      ],
    });
    expect(JSON.stringify([list, one])).not.toMatch(/good-alice|space-9/);
  });

  it('I06 I07 deletes the credential, keeps the URL and says how to set it up again', async () => {
    await using bench = await openConnectedSite();
    const alice = await bench.anActor();
    const { url } = await bench.manager.authenticate(alice, notes, { apiKey: 'good-alice' });
    await bench.manager.deleteCredential(alice, notes);
    expect(await bench.manager.getCredential(alice, notes)).toMatchObject({
      configured: false,
      requiresSetup: true,
      setup: { displayName: 'Notes' },
      state: 'not_configured',
    });
    expect(await refusalOf(bench.manager.probe(alice, notes))).toMatchObject({
      code: 'CREDENTIAL_MISSING',
      options: { extensions: { requiresSetup: true } },
    });
    expect(await refusalOf(bench.manager.deleteCredential(alice, notes))).toMatchObject({
      code: 'NOT_FOUND',
    });
    const again = await bench.manager.authenticate(alice, notes, { apiKey: 'good-bob' });
    expect(again).toMatchObject({ isNew: false, url, view: { identity: 'bob' } });
  });

  it('I06 keeps the instance when the next credential after a deleted one is bad', async () => {
    await using bench = await openConnectedSite();
    const alice = await bench.anActor();
    await bench.manager.authenticate(alice, notes, { apiKey: 'good-alice' });
    await bench.manager.deleteCredential(alice, notes);
    await refusalOf(bench.manager.authenticate(alice, notes, { apiKey: 'bad!' }));
    expect(await bench.manager.list(alice)).toMatchObject([{ state: 'not_configured' }]);
  });

  it('I06 still ends an instance whose service left the registry', async () => {
    await using bench = await openConnectedSite();
    const alice = await bench.anActor();
    await bench.manager.authenticate(alice, notes, { apiKey: 'good-alice' });
    rmSync(join(bench.mcpPortsDir, 'notes'), { recursive: true });
    expect(bench.registry.reload().removed).toEqual(['notes']);
    await bench.manager.disconnect(alice, notes);
    expect(await bench.manager.list(alice)).toEqual([]);
  });
});
