/** First set-up over HTTP: who holds the code becomes the admin, once. */
import { readFileSync, utimesSync, writeFileSync } from 'node:fs';
import { describe, expect, it } from '@jest/globals';
import { goodPassword, modeOf, openMainApi } from '../support/mainApi.js';

describe('first set-up', () => {
  it('B09 makes exactly one admin out of 20 parallel set-ups, then answers 404', async () => {
    await using api = await openMainApi();
    await api.ctx.firstAdmin.keepCode();
    expect(modeOf(api.config.paths.setupCode)).toBe(0o600);
    const setupCode = readFileSync(api.config.paths.setupCode, 'utf8').trim();
    expect((await api.get('/api/v1/auth/setup')).body).toEqual({ isOpen: true });
    const answers = await Promise.all(
      Array.from({ length: 20 }, (_, at) =>
        api.post('/api/v1/auth/setup', {
          setupCode,
          email: `admin${at}@example.com`,
          password: goodPassword,
        }),
      ),
    );
    const statuses = answers.map(({ status }) => status);
    expect(statuses.toSorted((a, b) => a - b)).toEqual([201, ...Array<number>(19).fill(404)]);
    const superuser = await api.connected.site.db.superuser();
    const { rows } = await superuser.query("select count(*)::int as n from users where role = 'admin'");
    expect(rows[0].n).toBe(1);
    expect((await api.get('/api/v1/auth/setup')).body).toEqual({ isOpen: false });
    const late = await api.post('/api/v1/auth/setup', {
      setupCode,
      email: 'x@example.com',
      password: goodPassword,
    });
    expect(late.body.code).toBe('SETUP_CLOSED');
    await api.ctx.firstAdmin.keepCode();
    expect(() => readFileSync(api.config.paths.setupCode)).toThrow('ENOENT');
  });

  it('refuses a wrong code and one older than 30 minutes, and issues it anew while there is no admin', async () => {
    await using api = await openMainApi();
    const { setupCode: path } = api.config.paths;
    const setUp = (setupCode: string) =>
      api.post('/api/v1/auth/setup', { setupCode, email: 'admin@example.com', password: goodPassword });
    expect((await setUp('anything')).body.code).toBe('SETUP_CODE_INVALID');
    await api.ctx.firstAdmin.keepCode();
    const first = readFileSync(path, 'utf8').trim();
    expect((await setUp(`${first}x`)).body.code).toBe('SETUP_CODE_INVALID');
    await api.ctx.firstAdmin.keepCode();
    expect(readFileSync(path, 'utf8').trim()).toBe(first);
    const tooOld = new Date(Date.now() - 31 * 60_000);
    utimesSync(path, tooOld, tooOld);
    expect((await setUp(first)).body.code).toBe('SETUP_CODE_INVALID');
    await api.ctx.firstAdmin.keepCode();
    const second = readFileSync(path, 'utf8').trim();
    expect(second).not.toBe(first);
    expect((await setUp(first)).body.code).toBe('SETUP_CODE_INVALID');
    writeFileSync(path, '');
    expect((await setUp(' ')).body.code).toBe('SETUP_CODE_INVALID');
    writeFileSync(path, `${second}\n`);
    expect((await setUp(second)).status).toBe(201);
  });
});
