/** Verdicts on the eras of upstreams, with their real table (spec 04, "Era registry"; "Gotchas"). */
import { randomBytes, randomUUID } from 'node:crypto';
import { afterAll, beforeAll, beforeEach, describe, expect, it } from '@jest/globals';
import type { Client } from 'pg';
import type { DatabasePool } from '../../../backend/src/database/pool.js';
import { AppError } from '../../../backend/src/errors/appError.js';
import {
  createEraRegistry,
  type AskEra,
  type EraFacts,
  type EraKey,
  type EraRegistry,
} from '../../../backend/src/mcp-servers/universal-mcp-server/upstream/eraRegistry.js';
import type { Era } from '../../../backend/src/mcp-servers/universal-mcp-server/protocol/revisions.js';
import { purgeExpired } from '../../../backend/src/stores/retentionStore.js';
import { eventually, waitUntil } from '../../support/eventually.js';
import { cloneDatabase, type TestDatabase } from '../../support/testDatabase.js';

const hour = 3_600_000;
const quiet = { warn: () => {} };
const modernOnly: EraFacts = { modern: true, legacy: false, legacyTransport: null };
const legacyOnly: EraFacts = { modern: false, legacy: true, legacyTransport: 'streamable-http' };
const hangs: AskEra = () => new Promise(() => {});
const live = new AbortController().signal;

let db: TestDatabase;
let pool: DatabasePool;
let superuser: Client;
let service: string;
let clock: number;

beforeAll(async () => {
  db = await cloneDatabase();
  pool = db.pool('service');
  superuser = await db.superuser();
});
beforeEach(() => {
  service = `svc-${randomUUID()}`;
  clock = Date.now();
});
afterAll(() => db[Symbol.asyncDispose]());

const open = (): EraRegistry => createEraRegistry({ service, db: pool, log: quiet, now: () => clock });
const aKey = (upstream = randomBytes(32).toString('hex')): EraKey => ({
  upstream,
  authorization: randomBytes(32).toString('hex'),
});

/** An upstream that says the same whenever it is asked, and counts. */
function says(facts: EraFacts): AskEra & { asked: Era[] } {
  const asked: Era[] = [];
  return Object.assign(async (preferred: Era) => (asked.push(preferred), facts), { asked });
}

describe('a verdict', () => {
  it('is asked for once, and is known at once from then on', async () => {
    await using registry = open();
    const key = aKey();
    const ask = says(legacyOnly);
    expect(registry.known(key)).toBeNull();
    expect(await registry.find(key, 'modern', ask, live)).toBe('legacy');
    expect(await registry.find(key, 'modern', ask, live)).toBe('legacy');
    expect(await registry.find(key, 'legacy', ask, live)).toBe('legacy');
    expect(registry.known(key)).toEqual({ ...legacyOnly, askedAt: clock });
    expect(ask.asked).toEqual(['modern']);
  });

  it('is shared by all who ask at the same time', async () => {
    await using registry = open();
    const key = aKey();
    const ask = says(modernOnly);
    const eras = await Promise.all(
      Array.from({ length: 50 }, (_, i) => registry.find(key, i % 2 ? 'legacy' : 'modern', ask, live)),
    );
    expect(new Set(eras)).toEqual(new Set(['modern']));
    expect(ask.asked).toHaveLength(1);
  });

  it('outlives the process: the next one asks nothing', async () => {
    const key = aKey();
    {
      await using first = open();
      await first.find(key, 'modern', says(legacyOnly), live);
    }
    await using second = open();
    const ask = says(modernOnly);
    expect(await second.find(key, 'modern', ask, live)).toBe('legacy');
    expect(ask.asked).toEqual([]);
    expect(second.known(key)).toMatchObject(legacyOnly);
  });

  it('belongs to one authorization context and one service', async () => {
    const alice = aKey();
    const bob = aKey(alice.upstream);
    await using registry = open();
    await registry.find(alice, 'modern', says(legacyOnly), live);
    const ask = says(modernOnly);
    expect(await registry.find(bob, 'modern', ask, live)).toBe('modern');
    service = 'another-service';
    await using other = open();
    expect(await other.find(alice, 'modern', ask, live)).toBe('modern');
    expect(ask.asked).toHaveLength(2);
  });

  it('of one era leaves the other open until somebody prefers it', async () => {
    await using registry = open();
    const key = aKey();
    const both = { modern: true, legacy: true, legacyTransport: null };
    const first = says({ modern: true, legacy: null, legacyTransport: null });
    expect(await registry.find(key, 'modern', first, live)).toBe('modern');
    const second = says(both);
    expect(await registry.find(key, 'legacy', second, live)).toBe('legacy');
    expect(await registry.find(key, 'modern', second, live)).toBe('modern');
    expect([first.asked, second.asked]).toEqual([['modern'], ['legacy']]);
  });

  it('takes up what a connection learned by itself, and keeps that too', async () => {
    const key = aKey();
    {
      await using registry = open();
      await registry.find(key, 'legacy', says({ ...legacyOnly, legacyTransport: null }), live);
      registry.note(key, { legacyTransport: 'sse' });
      expect(registry.known(key)).toMatchObject({ legacy: true, legacyTransport: 'sse' });
    }
    await using next = open();
    await next.find(key, 'legacy', says(modernOnly), live);
    expect(next.known(key)).toMatchObject({ legacy: true, legacyTransport: 'sse' });
  });

  it('holds no name of anything in the database but digests', async () => {
    const key = aKey();
    {
      await using registry = open();
      await registry.find(key, 'modern', says(modernOnly), live);
    }
    const { rows } = await superuser.query('select * from era_verdicts where service = $1', [service]);
    expect(rows).toEqual([
      {
        service,
        upstream: Buffer.from(key.upstream, 'hex'),
        auth_context: Buffer.from(key.authorization, 'hex'),
        speaks_modern: true,
        speaks_legacy: false,
        legacy_transport: null,
        asked_at: new Date(clock),
        used_at: expect.any(Date),
      },
    ]);
  });

  it('is not formed by an upstream that speaks no era at all', async () => {
    await using registry = open();
    const key = aKey();
    const ask = says({ modern: false, legacy: false, legacyTransport: null });
    await expect(registry.find(key, 'modern', ask, live)).rejects.toMatchObject({ code: 'UPSTREAM_FAILED' });
    expect(registry.known(key)).toBeNull();
  });
});

describe('no evidence', () => {
  it('leaves no verdict: everybody who waited hears the fault, and the next one asks again', async () => {
    await using registry = open();
    const key = aKey();
    let asked = 0;
    const fails: AskEra = async () => {
      asked += 1;
      throw new AppError('UPSTREAM_FAILED', 'the upstream answered 503');
    };
    const tries = await Promise.allSettled([
      registry.find(key, 'modern', fails, live),
      registry.find(key, 'modern', fails, live),
    ]);
    expect(tries.map(({ status }) => status)).toEqual(['rejected', 'rejected']);
    expect(asked).toBe(1);
    expect(registry.known(key)).toBeNull();
    expect(await registry.find(key, 'modern', says(modernOnly), live)).toBe('modern');
  });

  it('comes of a question that hangs, after its time', async () => {
    await using registry = createEraRegistry({
      service,
      db: pool,
      log: quiet,
      now: () => clock,
      askTimeoutMs: 1,
    });
    await expect(registry.find(aKey(), 'modern', hangs, live)).rejects.toMatchObject({
      code: 'UPSTREAM_TIMEOUT',
    });
  });

  it('R23 a question that nobody waits for any more is given up, one that others wait for is not', async () => {
    await using registry = open();
    const key = aKey();
    const leaver = new AbortController();
    const signals: AbortSignal[] = [];
    let answer!: (facts: EraFacts) => void;
    const ask: AskEra = (_, signal) => {
      signals.push(signal);
      return new Promise((resolve) => (answer = resolve));
    };
    const waits = registry.find(key, 'modern', ask, leaver.signal);
    const stays = registry.find(key, 'modern', ask, live);
    await eventually(async () => ({ isDone: signals.length === 1, value: signals.length }));
    leaver.abort(new Error('gone'));
    await expect(waits).rejects.toThrow('gone');
    expect(signals[0]!.aborted).toBe(false);
    answer(modernOnly);
    expect(await stays).toBe('modern');

    const lone = new AbortController();
    const alone = registry.find(aKey(), 'modern', ask, lone.signal);
    await eventually(async () => ({ isDone: signals.length === 2, value: signals.length }));
    lone.abort(new Error('gone'));
    await expect(alone).rejects.toThrow('gone');
    expect(signals[1]!.aborted).toBe(true);
  });
});

describe('a verdict that is old or wrong', () => {
  it('is examined again after a day, behind a call that goes on with the old one', async () => {
    await using registry = open();
    const key = aKey();
    await registry.find(key, 'modern', says(legacyOnly), live);
    clock += 23 * hour;
    const upgraded = says(modernOnly);
    expect(registry.known(key, upgraded)).toMatchObject(legacyOnly);
    expect(upgraded.asked).toEqual([]);
    clock += 2 * hour;
    expect(registry.known(key, upgraded)).toMatchObject(legacyOnly);
    await eventually(async () => {
      const verdict = registry.known(key, upgraded);
      return { isDone: verdict!.modern === true, value: verdict };
    });
    expect(registry.known(key, upgraded)).toEqual({ ...modernOnly, askedAt: clock });
    // One question, and one more for the era that was known before only when the first did not tell.
    expect(upgraded.asked).toEqual(['modern']);
  });

  it('stays while the examination brings no evidence, which is not tried at every call', async () => {
    await using registry = open();
    const key = aKey();
    await registry.find(key, 'modern', says(legacyOnly), live);
    clock += 25 * hour;
    let asked = 0;
    const away: AskEra = async () => {
      asked += 1;
      throw new AppError('UPSTREAM_UNREACHABLE', 'refused');
    };
    for (let i = 0; i < 5; i++) expect(await registry.find(key, 'modern', away, live)).toBe('legacy');
    await eventually(async () => ({ isDone: asked === 1, value: asked }));
    for (let i = 0; i < 5; i++) expect(await registry.find(key, 'modern', away, live)).toBe('legacy');
    expect(asked).toBe(1);
  });

  it('is voided once, also in the database, and asked for anew', async () => {
    const key = aKey();
    {
      await using registry = open();
      await registry.find(key, 'modern', says(legacyOnly), live);
      clock += 1;
      expect(registry.refute(key)).toBe(true);
      expect(registry.known(key)).toBeNull();
      expect(await registry.find(key, 'modern', says(modernOnly), live)).toBe('modern');
      // Asking again this soon would tell the same.
      expect(registry.refute(key)).toBe(false);
      expect(registry.known(key)).toMatchObject(modernOnly);
    }
    await using next = open();
    const ask = says(legacyOnly);
    expect(await next.find(key, 'modern', ask, live)).toBe('modern');
    expect(ask.asked).toEqual([]);
  });

  it('is examined behind the call when an answer makes it doubtful, twice a minute at most', async () => {
    await using registry = open();
    const key = aKey();
    const upgraded = says(modernOnly);
    registry.doubt(key, upgraded);
    expect(upgraded.asked).toEqual([]);
    await registry.find(key, 'modern', says(legacyOnly), live);
    for (let i = 0; i < 5; i++) registry.doubt(key, upgraded);
    await waitUntil('the answer is taken', () => registry.known(key)!.modern === true);
    registry.doubt(key, upgraded);
    expect(upgraded.asked).toEqual(['modern']);
    clock += 31_000;
    registry.doubt(key, upgraded);
    await waitUntil('it was asked again', () => upgraded.asked.length === 2);
  });

  it('that nobody used for 30 days is purged', async () => {
    const [old, used] = [aKey(), aKey()];
    {
      await using registry = open();
      await registry.find(old, 'modern', says(modernOnly), live);
      await registry.find(used, 'modern', says(modernOnly), live);
    }
    await superuser.query(
      `update era_verdicts set used_at = now() - interval '31 days' where upstream in ($1, $2)`,
      [Buffer.from(old.upstream, 'hex'), Buffer.from(used.upstream, 'hex')],
    );
    {
      await using registry = open();
      await registry.find(used, 'modern', says(legacyOnly), live);
    }
    expect((await purgeExpired(db.pool('jobs'))).get('era_verdicts')).toBe(1);
    const { rows } = await superuser.query<{ upstream: Buffer }>(
      'select upstream from era_verdicts where service = $1',
      [service],
    );
    expect(rows.map(({ upstream }) => upstream.toString('hex'))).toEqual([used.upstream]);
  });
});
