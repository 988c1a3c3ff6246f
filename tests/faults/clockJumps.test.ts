/**
 * The clock of the machine jumps under running programs, an hour and a day, back and forth (R16): libfaketime, which reads
 * its offset from a file, with the monotonic clock left alone.
 */
import { existsSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import jwt from 'jsonwebtoken';
import { describe, expect, it } from '@jest/globals';
import { waitUntil } from '../support/eventually.js';
import { createClient, goodPassword } from '../support/mainApi.js';
import { initialize } from '../support/mcpHttp.js';
import { addNote, connectTo, isDone, layPlant, type Program } from '../support/plant.js';
import { cloneDatabase } from '../support/testDatabase.js';

const library = '/usr/lib/x86_64-linux-gnu/faketime/libfaketimeMT.so.1';
const isThere = existsSync(library);
if (!isThere) console.warn('SKIPPED, no libfaketime: R16 (apt-get install faketime)');
const describeWithFaketime = isThere ? describe : describe.skip;

const ada = { email: 'ada@example.com', password: goodPassword };

/** The hours that a program is ahead, by the date of its answers. */
const aheadOf = async ({ url }: Program): Promise<number> => {
  const { headers } = await fetch(`${url}/livez`);
  return Math.round((Date.parse(headers.get('date') ?? '') - Date.now()) / 3_600_000);
};

describeWithFaketime('a clock that jumps', () => {
  it('R16 a clock that jumps an hour and a day resurrects nothing, locks nobody out and stops nothing', async () => {
    await using db = await cloneDatabase();
    await using plant = await layPlant(db.urls);
    const offset = join(plant.paths.stateDir, 'clock');
    writeFileSync(offset, '+0\n');
    const env = {
      LD_PRELOAD: library,
      FAKETIME_TIMESTAMP_FILE: offset,
      // Every look at the clock would read the file otherwise.
      FAKETIME_CACHE_DURATION: '1',
      DONT_FAKE_MONOTONIC: '1',
    };
    await using api = await plant.startApi({ env });
    await using service = await plant.startService({ env });
    const stranger = createClient(api.url, null);
    const setClock = async (hours: number): Promise<void> => {
      writeFileSync(offset, `${hours < 0 ? '' : '+'}${hours}h\n`);
      await waitUntil(
        `the clocks are ${hours} h ahead`,
        async () => (await aheadOf(api)) === hours && (await aheadOf(service)) === hours,
        20_000,
      );
    };
    const admin = await plant.signInFirstAdmin(api);
    await waitUntil(
      'the service is ready',
      async () => (await fetch(`${service.url}/readyz`)).status === 200,
    );
    const instance = await connectTo(admin);
    const revoked = await connectTo(admin);
    expect((await admin.delete(revoked.path)).status).toBeLessThan(300);

    // What is over before any jump: a session that was ended, a refresh token that was used, a personal key that is gone.
    const login = async () => (await stranger.post('/api/v1/auth/login', ada)).body;
    const ended = await login();
    expect((await createClient(api.url, ended.accessToken).post('/api/v1/auth/logout')).status).toBe(204);
    const used = await login();
    const refreshed = await stranger.post('/api/v1/auth/refresh', { refreshToken: used.refreshToken });
    expect(refreshed.status).toBe(200);
    const session = await initialize(`${service.url}/${instance.instanceId}/notes`);
    const stream = await session.stream();
    let isStreamOpen = true;
    void stream.ended.then(() => (isStreamOpen = false));

    let n = 0;
    const works = async (): Promise<void> => {
      expect(isDone(await addNote(service, instance, `n${(n += 1)}`))).toBe(true);
      expect((await fetch(`${service.url}/readyz`)).status).toBe(200);
      expect((await fetch(`${api.url}/readyz`)).status).toBe(200);
    };
    /** Nothing of it may work, whatever the clock says. */
    const staysOver = async (): Promise<void> => {
      const path = '/api/v1/users/me';
      expect((await createClient(api.url, ended.accessToken).get(path)).status).toBe(401);
      const again = await stranger.post('/api/v1/auth/refresh', { refreshToken: ended.refreshToken });
      expect(again.status).toBe(401);
      expect((await addNote(service, revoked, 'revoked')).status).toBe(404);
    };
    await works();
    await staysOver();

    const report: Record<string, unknown> = {};
    for (const jump of [1, -1, 0, 24, -24, 0]) {
      await setClock(jump);
      // Who signs in now can use what they get, and a wrong password is limited no longer than its window.
      const fresh = await login();
      const me = await createClient(api.url, fresh.accessToken).get('/api/v1/users/me');
      report[jump] = me.status;
      expect([jump, me.status]).toEqual([jump, 200]);
      const next = await stranger.post('/api/v1/auth/refresh', { refreshToken: fresh.refreshToken });
      expect([jump, next.status]).toEqual([jump, 200]);
      await works();
      await staysOver();
      expect(isStreamOpen).toBe(true);
      const another = await connectTo(createClient(api.url, next.body.accessToken));
      expect(isDone(await addNote(service, another, `other${n}`))).toBe(true);
    }
    // Used once before all jumps: still a reuse, which ends its family.
    const reuse = await stranger.post('/api/v1/auth/refresh', { refreshToken: used.refreshToken });
    expect(reuse.status).toBe(401);

    // A token made while the clock was a day ahead is none once it is right, and one that has ended does not come back.
    await setClock(24);
    const early = await login();
    await setClock(0);
    expect((await createClient(api.url, early.accessToken).get('/api/v1/users/me')).status).toBe(401);
    const { iat } = jwt.decode(early.accessToken) as { iat: number };
    expect(iat * 1_000 - Date.now()).toBeGreaterThan(23 * 3_600_000);
    const living = await login();
    await setClock(1);
    expect((await createClient(api.url, living.accessToken).get('/api/v1/users/me')).status).toBe(401);
    await setClock(0);

    // Limits: used up with the clock a day ahead, they are back after no more than their window.
    await setClock(24);
    const wrong = { ...ada, email: 'nobody@example.com', password: 'not the right password at all' };
    let limited = await stranger.post('/api/v1/auth/login', wrong);
    for (let tries = 0; tries < 8 && limited.status !== 429; tries += 1)
      limited = await stranger.post('/api/v1/auth/login', wrong);
    expect(limited.status).toBe(429);
    await setClock(-24);
    const after = await stranger.post('/api/v1/auth/login', wrong);
    expect([401, 429]).toContain(after.status);
    expect(Number(after.headers.get('retry-after') ?? 0)).toBeLessThanOrEqual(300);
    expect((await stranger.post('/api/v1/auth/login', ada)).status).toBe(200);
    await setClock(0);
    await works();
    stream.close();

    // Every call is in the audit, in whatever day it fell, and once.
    const superuser = await db.superuser();
    await waitUntil(
      'the audit has every call',
      async () => {
        const { rows } = await superuser.query<{ phase: string; count: string }>(
          "select phase, count(*) from audit_calls where name = 'add' and outcome is distinct from 'refused' group by phase",
        );
        return (
          rows.length === 2 &&
          rows.every(
            ({ count }) =>
              Number(count) === plant.upstream.requests.filter(({ method }) => method === 'POST').length,
          )
        );
      },
      10_000,
    );
    process.stdout.write(`R16 sign-ins after each jump: ${JSON.stringify(report)}\n`);
  }, 240_000);
});
