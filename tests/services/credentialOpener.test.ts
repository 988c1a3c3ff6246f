import { describe, expect, it } from '@jest/globals';
import type { InputField } from '../../backend/src/catalog/serviceDefinition.js';
import { createCredentialOpener } from '../../backend/src/services/credentialOpener.js';
import { createInstanceLookup } from '../../backend/src/services/instanceLookup.js';
import type { SealedInstance } from '../../backend/src/services/instanceResolver.js';
import { openInstallation, type Installation, type MadeInstance } from '../support/installation.js';

type Definition = Parameters<typeof createCredentialOpener>[0]['definition'];

const noChanges = { isUp: false, onChange: () => () => {} };

/** A service with one method, whose form has the field `key`, and one override `region`. */
function aService(change: Partial<Definition['credentials']> = {}): Definition {
  const method = {
    id: 'key',
    type: 'fields',
    label: 'API key',
    tokenField: 'key',
    fields: [],
  } as unknown as Definition['credentials']['methods'][number];
  return {
    name: 'notes',
    credentials: { scope: 'per-user', methods: [method], multiple: true, maxPerUser: 5, ...change },
    adminConfig: { region: 'north', flavour: 'plain' },
    userOverrides: { allow: true, keys: ['region'], fields: [], merge: 'user-wins', allowTools: true },
  };
}

const field = (name: string, value: string | null, showIf = {}) =>
  ({ name, default: value, showIf }) as InputField;

async function sealedRow(site: Installation, made: MadeInstance): Promise<SealedInstance> {
  const found = await createInstanceLookup(site.db.pool('service')).byId(made.id, 'notes', { staged: false });
  if (found === null) throw new Error('the instance is not there');
  return found;
}

describe('opening a credential for a call', () => {
  it("I08 I12 gives the owner's own fields over the admin's, and of the overrides only marked keys", async () => {
    await using site = await openInstallation();
    const made = await site.anInstance({
      owner: await site.aUser(),
      fields: { key: 'k-alice' },
      overrides: { region: 'south', flavour: 'stolen' },
    });
    using opener = createCredentialOpener({ definition: aService(), vault: site.vault, changes: noChanges });
    const values = opener.open(await sealedRow(site, made));
    expect(values.token).toBe('k-alice');
    expect(Object.fromEntries(values.fields)).toEqual({ key: 'k-alice', region: 'south', flavour: 'plain' });
  });

  it('I08 lets the admin win where the service says so, and ignores overrides where it allows none', async () => {
    await using site = await openInstallation();
    const made = await site.anInstance({
      owner: await site.aUser(),
      fields: { key: 'k' },
      overrides: { region: 'south' },
    });
    const row = await sealedRow(site, made);
    for (const change of [{ merge: 'admin-wins' }, { allow: false }] as const) {
      const service = aService();
      const definition = { ...service, userOverrides: { ...service.userOverrides, ...change } };
      using opener = createCredentialOpener({ definition, vault: site.vault, changes: noChanges });
      expect(opener.open(row).fields.get('region')).toBe('north');
    }
  });

  it('A09 stops with CREDENTIAL_MISSING when a per-user service has none, and never falls back to the admin', async () => {
    await using site = await openInstallation();
    const row = await sealedRow(site, await site.anInstance({ owner: await site.aUser() }));
    const service = { ...aService(), adminConfig: { key: 'admin-default' } };
    using opener = createCredentialOpener({ definition: service, vault: site.vault, changes: noChanges });
    expect(() => opener.open(row)).toThrow(expect.objectContaining({ code: 'CREDENTIAL_MISSING' }));
  });

  it('A09 stops as well when what is stored is of the time when the service asked for none', async () => {
    await using site = await openInstallation();
    const made = await site.anInstance({ owner: await site.aUser(), fields: {}, method: 'none' });
    using opener = createCredentialOpener({ definition: aService(), vault: site.vault, changes: noChanges });
    const row = await sealedRow(site, made);
    expect(() => opener.open(row)).toThrow(expect.objectContaining({ code: 'CREDENTIAL_MISSING' }));
  });

  it('I08 fills in the defaults of the file where neither admin nor user said anything', async () => {
    await using site = await openInstallation();
    const owner = await site.aUser();
    const stored = await sealedRow(site, await site.anInstance({ owner, fields: { key: 'k' } }));
    const service = aService();
    const [method] = service.credentials.methods;
    const definition: Definition = {
      ...service,
      credentials: {
        ...service.credentials,
        methods: [
          {
            ...method!,
            fields: [
              field('key', null),
              field('kind', 'cloud'),
              field('site', 'eu', { kind: 'cloud' }),
              field('host', 'https://notes.example.com', { kind: 'server' }),
            ],
          },
        ],
      },
      userOverrides: {
        ...service.userOverrides,
        keys: ['region', 'depth', 'page'],
        fields: [field('region', 'west'), field('depth', '3'), field('page', null)],
      },
    };
    using opener = createCredentialOpener({ definition, vault: site.vault, changes: noChanges });
    // `region` is the admin's, `host` does not apply, `page` has no default.
    expect(Object.fromEntries(opener.open(stored).fields)).toEqual({
      key: 'k',
      kind: 'cloud',
      site: 'eu',
      region: 'north',
      flavour: 'plain',
      depth: '3',
    });
    const other = await site.anInstance({
      owner,
      label: 'server',
      fields: { key: 'k', kind: 'server' },
      overrides: { depth: '9' },
    });
    expect(Object.fromEntries(opener.open(await sealedRow(site, other)).fields)).toMatchObject({
      kind: 'server',
      host: 'https://notes.example.com',
      depth: '9',
    });
    expect(opener.open(await sealedRow(site, other)).fields.has('site')).toBe(false);
  });

  it("G02 refuses another user's record, another instance's, and one of another revision", async () => {
    await using site = await openInstallation();
    const [alice, bob] = [await site.aUser(), await site.aUser()];
    const mine = await sealedRow(site, await site.anInstance({ owner: alice, fields: { key: 'k-alice' } }));
    const second = await sealedRow(
      site,
      await site.anInstance({ owner: alice, label: 'second', fields: { key: 'k-second' } }),
    );
    const theirs = await sealedRow(site, await site.anInstance({ owner: bob, fields: { key: 'k-bob' } }));
    using opener = createCredentialOpener({ definition: aService(), vault: site.vault, changes: noChanges });
    const swapped: SealedInstance[] = [
      { ...mine, sealedCredential: theirs.sealedCredential },
      { ...mine, sealedCredential: theirs.sealedCredential, dataKeys: theirs.dataKeys },
      { ...mine, sealedCredential: second.sealedCredential },
      { ...mine, credentialRevision: mine.credentialRevision + 1 },
      { ...mine, sealedOverrides: mine.sealedCredential, overridesRevision: 1 },
    ];
    for (const row of swapped) {
      expect(() => opener.open(row)).toThrow(expect.objectContaining({ code: 'CREDENTIAL_UNREADABLE' }));
    }
    expect(opener.open(mine).token).toBe('k-alice');
  });

  it('G09 cannot open a record whose DEK is gone', async () => {
    await using site = await openInstallation();
    const made = await site.anInstance({ owner: await site.aUser(), fields: { key: 'k' } });
    const row = await sealedRow(site, made);
    using opener = createCredentialOpener({ definition: aService(), vault: site.vault, changes: noChanges });
    expect(() => opener.open({ ...row, dataKeys: [] })).toThrow(
      expect.objectContaining({ code: 'CREDENTIAL_UNREADABLE' }),
    );
  });
});
