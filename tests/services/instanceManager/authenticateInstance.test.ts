import { describe, expect, it, jest } from '@jest/globals';
import type { AppError } from '../../../backend/src/errors/appError.js';
import { refusalOf } from './refusal.js';
import { openConnectedSite, type ConnectedSite } from '../../support/connectedSite.js';

jest.setTimeout(30_000);

const notes = { service: 'notes', label: 'default' };

async function rowsOf(bench: ConnectedSite, table: string): Promise<Record<string, unknown>[]> {
  const root = await bench.site.db.superuser();
  return (await root.query<Record<string, unknown>>(`select * from ${table}`)).rows;
}

describe('connecting a service', () => {
  it('I01 checks the credential by the process of the service, then makes the instance and shows its URL', async () => {
    await using bench = await openConnectedSite();
    const alice = await bench.anActor();
    const made = await bench.manager.authenticate(alice, notes, { apiKey: 'good-alice' });
    expect(made.isNew).toBe(true);
    expect(made.message).toBe('Connected to Notes as alice.');
    expect(made.view).toMatchObject({
      serviceType: 'notes',
      label: 'default',
      state: 'ready',
      identity: 'alice',
    });
    expect(made.url.instanceUrl).toBe(`https://ports.example.com/${made.url.instanceId}/notes`);
    expect(made.url.instanceId).toMatch(/^nts_[0-9A-Za-z]{33}$/);
    expect(bench.edges.notes.seen).toEqual([
      {
        instanceId: made.view.id,
        staged: true,
        fields: new Map([
          ['region', 'eu'],
          ['token', 'good-alice'],
        ]),
      },
    ]);
  });

  it('I01 refuses a bad key in the declared words and leaves no trace of it but the audit row', async () => {
    await using bench = await openConnectedSite();
    const alice = await bench.anActor();
    const refusal = await refusalOf(bench.manager.authenticate(alice, notes, { apiKey: 'stolen' }));
    expect(refusal.code).toBe('CREDENTIAL_REJECTED');
    expect(refusal.form.status).toBe(400);
    expect(refusal.options.publicDetail).toContain('did not accept this key');
    expect(await rowsOf(bench, 'instances')).toEqual([]);
    expect(await rowsOf(bench, 'audit_events')).toMatchObject([
      {
        action: 'credential.refused',
        outcome: 'failure',
        error_code: 'CREDENTIAL_REJECTED',
        actor_id: alice.userId,
      },
    ]);
  });

  it('I01 replaces the credential under the same URL, and keeps the good one when the new one is bad', async () => {
    await using bench = await openConnectedSite();
    const alice = await bench.anActor();
    const first = await bench.manager.authenticate(alice, notes, { apiKey: 'good-one' });
    const second = await bench.manager.authenticate(alice, notes, { apiKey: 'good-two' });
    expect(second.isNew).toBe(false);
    expect(second.url).toEqual(first.url);
    expect(second.view).toMatchObject({ id: first.view.id, identity: 'two' });
    await refusalOf(bench.manager.authenticate(alice, notes, { apiKey: 'bad' }));
    const [row] = await rowsOf(bench, 'instances');
    expect(row).toMatchObject({ credential_revision: 2, staged_method: null, state: 'ready' });
    await bench.manager.probe(alice, notes);
    expect(bench.edges.notes.seen.at(-1)).toMatchObject({ staged: false });
    expect(bench.edges.notes.seen.at(-1)?.fields.get('token')).toBe('good-two');
  });

  it('I01 says what is wrong with a form by field, with the setup instructions, and asks nobody', async () => {
    await using bench = await openConnectedSite();
    const alice = await bench.anActor();
    const wrong = async (given: Parameters<typeof bench.manager.authenticate>[2]) => {
      const refusal = await refusalOf(bench.manager.authenticate(alice, notes, given));
      expect(refusal.code).toBe('INVALID_REQUEST');
      expect(JSON.stringify([refusal.message, refusal.options])).not.toContain('Evil');
      return refusal.options;
    };
    expect(await wrong({})).toMatchObject({
      fields: [{ pointer: '/additionalCredentials/token', message: 'Key is required' }],
      extensions: {
        requiresSetup: true,
        setup: { displayName: 'Notes', helpUrl: 'https://notes.example.com/keys' },
      },
    });
    expect((await wrong({ apiKey: 'abc\r\nEvil: 1' })).fields?.[0]?.pointer).toBe('/apiKey');
    expect((await wrong({ apiKey: 'Evil\u4f60\u597d' })).fields?.[0]?.pointer).toBe('/apiKey');
    expect((await wrong({ apiKey: 'good-a', additionalCredentials: { other: 'Evil' } })).fields).toHaveLength(
      1,
    );
    expect(
      (await wrong({ apiKey: 'good-a', additionalCredentials: { token: 'good-b' } })).fields,
    ).toHaveLength(1);
    expect((await wrong({ apiKey: 'good-a', method: 'oauth' })).fields?.[0]?.pointer).toBe('/method');
    expect(bench.edges.notes.seen).toEqual([]);
  });

  it('I01 stores nothing when the process of the service is away, and says what to do', async () => {
    await using bench = await openConnectedSite();
    const alice = await bench.anActor();
    const name = { service: 'away', label: 'default' };
    const refusal = await refusalOf(bench.manager.authenticate(alice, name, { apiKey: 'good-alice' }));
    expect(refusal.code).toBe('SERVICE_UNAVAILABLE');
    expect(refusal.options.publicDetail).toContain('try again');
    expect(await rowsOf(bench, 'instances')).toEqual([]);
  });

  it('I01 tells an unreachable service from a bad key, and keeps a credential that nothing can check as checking', async () => {
    await using bench = await openConnectedSite();
    const alice = await bench.anActor();
    bench.edges.notes.behave(() => ({ outcome: 'unreachable', reason: 'No answer in time.' }));
    const refusal = await refusalOf(bench.manager.authenticate(alice, notes, { apiKey: 'good-alice' }));
    expect(refusal.code).toBe('UPSTREAM_UNREACHABLE');
    expect(await rowsOf(bench, 'instances')).toEqual([]);
    bench.edges.notes.behave(() => ({ outcome: 'unverified' }));
    const made = await bench.manager.authenticate(alice, notes, { apiKey: 'good-alice' });
    expect(made.view.state).toBe('checking');
    expect(made.message).toContain('the first call will tell');
  });

  it('I01 connects services that ask for nothing with an empty body, and keeps nothing that they do not want', async () => {
    await using bench = await openConnectedSite();
    const alice = await bench.anActor();
    const plain = await bench.manager.authenticate(alice, { service: 'plain', label: 'default' }, {});
    expect(plain.view).toMatchObject({ state: 'ready', credentialMethod: 'none' });
    const again = { apiKey: 'good-but-unwanted' };
    await bench.manager.authenticate(alice, { service: 'plain', label: 'default' }, again);
    expect(bench.edges.plain.seen.map(({ fields }) => fields.size)).toEqual([0, 0]);
    const maybe = await bench.manager.authenticate(alice, { service: 'maybe', label: 'default' }, {});
    expect(maybe).toMatchObject({ isNew: true, view: { state: 'ready' } });
  });

  it('I04 keeps to the limits of a service: one instance, or as many as it allows', async () => {
    await using bench = await openConnectedSite();
    const alice = await bench.anActor();
    await bench.manager.authenticate(alice, { service: 'plain', label: 'default' }, {});
    const second = await refusalOf(
      bench.manager.authenticate(alice, { service: 'plain', label: 'work' }, {}),
    );
    expect(second).toMatchObject({ code: 'CONFLICT' });
    const outcomes = await Promise.allSettled(
      Array.from({ length: 12 }, (_, at) =>
        bench.manager.authenticate(alice, { service: 'notes', label: `n${at}` }, { apiKey: 'good-alice' }),
      ),
    );
    expect(outcomes.filter(({ status }) => status === 'fulfilled')).toHaveLength(3);
    expect(await rowsOf(bench, 'instances')).toHaveLength(4);
  });

  it('I01 makes one instance of 20 parallel requests for one label, and one key for their owner', async () => {
    await using bench = await openConnectedSite();
    const alice = await bench.anActor();
    const outcomes = await Promise.allSettled(
      Array.from({ length: 20 }, (_, at) =>
        bench.manager.authenticate(alice, notes, { apiKey: `good-${at}` }),
      ),
    );
    const done = outcomes.flatMap((outcome) => (outcome.status === 'fulfilled' ? [outcome.value] : []));
    const refused = outcomes.flatMap((outcome) =>
      outcome.status === 'rejected' ? [(outcome.reason as AppError).code] : [],
    );
    expect(done.length).toBeGreaterThan(0);
    expect(done.filter(({ isNew }) => isNew)).toHaveLength(1);
    expect(new Set(done.map(({ url }) => url.instanceId)).size).toBe(1);
    expect([...new Set(refused)].filter((code) => code !== 'VERSION_CONFLICT')).toEqual([]);
    expect(await rowsOf(bench, 'instances')).toHaveLength(1);
    expect(await rowsOf(bench, 'data_keys where user_id is not null')).toHaveLength(1);
  });

  it('I01 refuses an unknown, a hidden and a disabled service before anything is written', async () => {
    await using bench = await openConnectedSite();
    const alice = await bench.anActor();
    const codeFor = async (service: string) =>
      (
        await refusalOf(
          bench.manager.authenticate(alice, { service, label: 'default' }, { apiKey: 'good-a' }),
        )
      ).code;
    expect(await codeFor('nothing')).toBe('SERVICE_UNKNOWN');
    expect(await codeFor('ledger')).toBe('SERVICE_UNKNOWN');
    expect(await codeFor('off')).toBe('SERVICE_UNAVAILABLE');
    expect(await rowsOf(bench, 'instances')).toEqual([]);
  });
});
