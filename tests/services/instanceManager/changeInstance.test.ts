import { describe, expect, it, jest } from '@jest/globals';
import type { AppError } from '../../../backend/src/errors/appError.js';
import { createInstanceLookup } from '../../../backend/src/services/instanceLookup.js';
import { createInstanceManager } from '../../../backend/src/services/instanceManager/instanceManager.js';
import { createInstanceResolver } from '../../../backend/src/services/instanceResolver.js';
import { openConnectedSite, type ConnectedSite } from '../../support/connectedSite.js';
import { refusalOf } from './refusal.js';

jest.setTimeout(30_000);

const notes = { service: 'notes', label: 'default' };

/** Resolves like a service process that keeps nothing between calls. */
async function resolves(bench: ConnectedSite, instanceId: string | null): Promise<boolean> {
  using resolver = createInstanceResolver({
    vault: bench.site.vault,
    lookup: createInstanceLookup(bench.site.db.pool('service')),
    changes: { isUp: false, onChange: () => () => undefined },
  });
  return (await resolver.resolve(instanceId ?? '', 'notes')).kind === 'found';
}

async function actionsOf(bench: ConnectedSite): Promise<string[]> {
  const root = await bench.site.db.superuser();
  const { rows } = await root.query<{ action: string }>(
    'select action from audit_events order by occurred_at',
  );
  return rows.map(({ action }) => action);
}

/** The details of the rows that tell of a reveal. */
async function revealsOf(bench: ConnectedSite): Promise<unknown[]> {
  const root = await bench.site.db.superuser();
  const { rows } = await root.query<{ details: unknown }>(
    `select details from audit_events where action in ('instance.url_revealed', 'instance.urls_revealed')
     order by occurred_at`,
  );
  return rows.map(({ details }) => details);
}

describe('changing an instance', () => {
  it('A05 rotates to a new URL and kills the old one with the commit', async () => {
    await using bench = await openConnectedSite();
    const alice = await bench.anActor();
    const { url: before } = await bench.manager.authenticate(alice, notes, { apiKey: 'good-alice' });
    const after = await bench.manager.rotate(alice, notes, { graceSeconds: 0 });
    expect(after.instanceId).not.toBe(before.instanceId);
    expect(await resolves(bench, before.instanceId)).toBe(false);
    expect(await resolves(bench, after.instanceId)).toBe(true);
    expect(await actionsOf(bench)).toEqual(['instance.created', 'instance.url_rotated']);
  });

  it('I04 lets the old URL live through a grace, and only the one before', async () => {
    await using bench = await openConnectedSite();
    const alice = await bench.anActor();
    const { url: first } = await bench.manager.authenticate(alice, notes, { apiKey: 'good-alice' });
    const second = await bench.manager.rotate(alice, notes, { graceSeconds: 3_600 });
    expect(second.previousUrlExpiresAt).not.toBeNull();
    expect(await resolves(bench, first.instanceId)).toBe(true);
    expect(await resolves(bench, second.instanceId)).toBe(true);
    const third = await bench.manager.rotate(alice, notes, { graceSeconds: 3_600 });
    expect(await resolves(bench, first.instanceId)).toBe(false);
    expect(await resolves(bench, second.instanceId)).toBe(true);
    expect(await resolves(bench, third.instanceId)).toBe(true);
  });

  it('I04 pauses, resumes and renames; a paused instance answers like none', async () => {
    await using bench = await openConnectedSite();
    const alice = await bench.anActor();
    const { url } = await bench.manager.authenticate(alice, notes, { apiKey: 'good-alice' });
    expect(await bench.manager.change(alice, notes, { isActive: false })).toMatchObject({
      isActive: false,
      state: 'paused',
      nextAction: 'Resume it.',
    });
    expect(await resolves(bench, url.instanceId)).toBe(false);
    expect(await refusalOf(bench.manager.probe(alice, notes))).toMatchObject({ code: 'CONFLICT' });
    expect(await refusalOf(bench.manager.authenticate(alice, notes, { apiKey: 'good-other' }))).toMatchObject(
      { code: 'CONFLICT' },
    );
    expect(await bench.manager.change(alice, notes, { isActive: true, label: 'work' })).toMatchObject({
      isActive: true,
      label: 'work',
    });
    expect(await resolves(bench, url.instanceId)).toBe(true);
    expect(await refusalOf(bench.manager.show(alice, notes))).toMatchObject({ code: 'NOT_FOUND' });
    await bench.manager.authenticate(alice, notes, { apiKey: 'good-alice' });
    expect(await refusalOf(bench.manager.change(alice, notes, { label: 'work' }))).toMatchObject({
      code: 'CONFLICT',
    });
    expect(await actionsOf(bench)).toEqual([
      'instance.created',
      'instance.paused',
      'instance.resumed',
      'instance.created',
    ]);
  });

  it('I04 deletes for good: the URL is dead and no ciphertext is left', async () => {
    await using bench = await openConnectedSite();
    const alice = await bench.anActor();
    const { url } = await bench.manager.authenticate(alice, notes, { apiKey: 'good-alice' });
    await bench.manager.putOverrides(alice, notes, { region: 'us' });
    await bench.manager.disconnect(alice, notes);
    expect(await resolves(bench, url.instanceId)).toBe(false);
    expect(await bench.manager.list(alice)).toEqual([]);
    const root = await bench.site.db.superuser();
    const { rows } = await root.query<Record<string, unknown>>('select * from instances');
    const sealed = Object.entries(rows[0] ?? {}).filter(([, value]) => Buffer.isBuffer(value));
    expect(sealed).toEqual([]);
    expect(await refusalOf(bench.manager.disconnect(alice, notes))).toMatchObject({
      code: 'NOT_FOUND',
      options: { extensions: { requiresSetup: true } },
    });
    const again = await bench.manager.authenticate(alice, notes, { apiKey: 'good-alice' });
    expect(again.isNew).toBe(true);
  });

  it('I04 lets exactly one win of a rotation and a deletion, and leaves no living URL behind a deletion', async () => {
    await using bench = await openConnectedSite();
    const alice = await bench.anActor();
    for (let round = 0; round < 8; round += 1) {
      const { url } = await bench.manager.authenticate(alice, notes, { apiKey: 'good-alice' });
      const [rotated, deleted] = await Promise.allSettled([
        bench.manager.rotate(alice, notes, { graceSeconds: 3_600 }),
        bench.manager.disconnect(alice, notes),
      ]);
      expect(deleted.status).toBe('fulfilled');
      expect(await resolves(bench, url.instanceId)).toBe(false);
      const late =
        rotated.status === 'fulfilled' ? await resolves(bench, rotated.value.instanceId) : rotated.reason;
      expect([false, 'NOT_FOUND']).toContain(late === false ? false : (late as AppError).code);
    }
  });

  it('I01 keeps nothing of a credential whose instance is deleted while it is being checked', async () => {
    await using bench = await openConnectedSite();
    const alice = await bench.anActor();
    await bench.manager.authenticate(alice, notes, { apiKey: 'good-alice' });
    bench.edges.notes.behave(async () => {
      await bench.manager.disconnect(alice, notes);
      return { outcome: 'accepted' };
    });
    const refusal = await refusalOf(bench.manager.authenticate(alice, notes, { apiKey: 'good-other' }));
    expect(refusal.code).toBe('VERSION_CONFLICT');
    expect(await bench.manager.list(alice)).toEqual([]);
  });
});

describe('showing an instance', () => {
  it('I02 I03 shows the URL after a recent sign-in only', async () => {
    await using bench = await openConnectedSite();
    const alice = await bench.anActor();
    const { url } = await bench.manager.authenticate(alice, notes, { apiKey: 'good-alice' });
    await bench.manager.authenticate(alice, { ...notes, label: 'work' }, { apiKey: 'good-alice' });
    expect(await bench.manager.show(alice, notes)).toMatchObject({ ...url, serviceType: 'notes' });
    expect(await bench.manager.list(alice)).toHaveLength(2);
    expect(await bench.manager.reveal(alice, notes)).toMatchObject(url);
    const revealedBefore = await revealsOf(bench);

    const later = { ...alice, authenticatedAt: new Date(Date.now() - 15 * 60_000 - 1_000) };
    const withKey = { ...alice, authenticatedAt: null, via: 'key:1' };
    for (const actor of [later, withKey]) {
      const shown = await bench.manager.show(actor, notes);
      expect(shown).toMatchObject({ instanceId: null, instanceUrl: null });
      expect('reveal' in shown && shown.reveal).toContain('sign in again');
      expect(JSON.stringify(await bench.manager.list(actor))).not.toContain('nts_');
      expect(await refusalOf(bench.manager.reveal(actor, notes))).toMatchObject({
        code: 'REAUTHENTICATION_REQUIRED',
      });
      expect(
        (await bench.manager.authenticate(actor, notes, { apiKey: 'good-alice' })).url.instanceUrl,
      ).toBeNull();
    }
    expect(await revealsOf(bench)).toEqual(revealedBefore);
  });

  it('I03 H05 audits a listing with one row, again after a minute, and each session and instance for itself', async () => {
    await using bench = await openConnectedSite();
    const alice = await bench.anActor();
    let now = Date.now();
    const manager = createInstanceManager({
      pool: bench.site.api,
      registry: bench.registry,
      vault: bench.vault,
      probes: bench.probes,
      notices: bench.notices,
      publicUrl: bench.publicUrl,
      accessModeMinimum: 'url',
      now: () => now,
    });
    const work = { ...notes, label: 'work' };
    const first = await manager.authenticate(alice, notes, { apiKey: 'good-alice' });
    const second = await manager.authenticate(alice, work, { apiKey: 'good-alice' });
    const ids = [first.view.id, second.view.id];
    const listings = [
      expect.objectContaining({ count: 2, instances: expect.arrayContaining(ids) as unknown }),
    ];
    await manager.list(alice);
    await manager.list(alice);
    await manager.show(alice, work);
    expect(await revealsOf(bench)).toEqual(listings);

    // Another session of the same person is another reveal, and so is an instance that no row has named yet.
    await manager.show({ ...alice, via: 'session:other' }, work);
    const third = await manager.authenticate(alice, { ...notes, label: 'third' }, { apiKey: 'good-alice' });
    await manager.list(alice);
    expect(await revealsOf(bench)).toEqual([
      ...listings,
      { label: 'work' },
      expect.objectContaining({
        count: 3,
        instances: expect.arrayContaining([...ids, third.view.id]) as unknown,
      }),
    ]);

    now += 61_000;
    await manager.list(alice);
    expect(await revealsOf(bench)).toHaveLength(4);
    // Asking for one outright is told of each time.
    await manager.reveal(alice, notes);
    await manager.reveal(alice, notes);
    expect((await revealsOf(bench)).slice(4)).toEqual([{ label: 'default' }, { label: 'default' }]);
  });

  it('I03 H02 shows nothing when the row cannot be written, and does not take it for told afterwards', async () => {
    await using bench = await openConnectedSite();
    const alice = await bench.anActor();
    await bench.manager.authenticate(alice, notes, { apiKey: 'good-alice' });
    const root = await bench.site.db.superuser();
    await root.query('revoke insert on audit_events from portolan_api');
    expect(await refusalOf(bench.manager.list(alice))).toMatchObject({ code: 'AUDIT_UNAVAILABLE' });
    await root.query('grant insert on audit_events to portolan_api');
    expect(await revealsOf(bench)).toEqual([]);
    await bench.manager.list(alice);
    expect(await revealsOf(bench)).toHaveLength(1);
  });

  it('I03 lists the others when one URL cannot be opened, and says why that one is missing', async () => {
    await using bench = await openConnectedSite();
    const alice = await bench.anActor();
    const broken = await bench.manager.authenticate(alice, notes, { apiKey: 'good-alice' });
    const whole = await bench.manager.authenticate(
      alice,
      { ...notes, label: 'work' },
      { apiKey: 'good-alice' },
    );
    const root = await bench.site.db.superuser();
    await root.query(
      `update instances set sealed_url = set_byte(sealed_url, 120, get_byte(sealed_url, 120) # 1) where id = $1`,
      [broken.view.id],
    );
    const listed = await bench.manager.list(alice);
    expect(listed).toHaveLength(2);
    expect(listed.find(({ id }) => id === whole.view.id)).toMatchObject(whole.url);
    const unreadable = {
      instanceId: null,
      instanceUrl: null,
      reveal: expect.stringContaining('rotate') as unknown,
    };
    expect(listed.find(({ id }) => id === broken.view.id)).toMatchObject(unreadable);
    expect(await bench.manager.show(alice, notes)).toMatchObject(unreadable);
    expect(await revealsOf(bench)).toEqual([{ label: 'work' }]);
    expect(await refusalOf(bench.manager.reveal(alice, notes))).toMatchObject({
      code: 'CREDENTIAL_UNREADABLE',
    });
    await bench.manager.rotate(alice, notes, { graceSeconds: 0 });
    expect((await bench.manager.list(alice)).every(({ instanceUrl }) => instanceUrl !== null)).toBe(true);
  });

  it('I02 says for a service without an instance how to set it up', async () => {
    await using bench = await openConnectedSite();
    const alice = await bench.anActor();
    expect(await refusalOf(bench.manager.show(alice, notes))).toMatchObject({
      code: 'NOT_FOUND',
      options: {
        extensions: {
          requiresSetup: true,
          setup: {
            displayName: 'Notes',
            instructions: expect.stringContaining('Enter: Key') as unknown,
            helpUrl: 'https://notes.example.com/keys',
            consoleUrl: expect.stringMatching(/^https:\/\/ports\.example\.com\/.*notes$/) as unknown,
          },
        },
      },
    });
  });
});

describe('testing a connection', () => {
  it('I06 tells the owner when the service no longer accepts the credential, and when it does again', async () => {
    await using bench = await openConnectedSite();
    const alice = await bench.anActor();
    await bench.manager.authenticate(alice, notes, { apiKey: 'good-alice' });
    bench.edges.notes.behave(() => ({ outcome: 'rejected', reason: 'The key was revoked.' }));
    expect(await bench.manager.probe(alice, notes)).toMatchObject({
      outcome: 'rejected',
      view: {
        state: 'needs_reauth',
        stateCause: 'The key was revoked.',
        nextAction: 'Replace the credential.',
      },
    });
    bench.edges.notes.behave(() => ({ outcome: 'accepted', identity: { label: 'alice\u0000\u0007!' } }));
    expect(await bench.manager.probe(alice, notes)).toMatchObject({
      outcome: 'accepted',
      view: { state: 'ready', stateCause: null, identity: 'alice  !' },
    });
  });
});
