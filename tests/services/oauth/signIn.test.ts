/**
 * Signing in with a service (row I10): the main API over HTTP, a browser with cookies, a real authorization server, and the
 * service's own process.
 */
import { afterAll, beforeAll, describe, expect, it, jest } from '@jest/globals';
import { aBrowser, type Browser } from '../../support/browser.js';
import type { Person } from '../../support/mainApi.js';
import { openOAuthSite, type OAuthSite } from '../../support/oauthSite.js';

jest.setTimeout(60_000);

const toConsole = (url: string): boolean => url.includes('/#/');
const toCallback = (url: string): boolean => url.includes('/api/v1/oauth/callback');
const unknown = (site: OAuthSite): string => `${site.api.url}/#/sign-in/unknown`;

const outcomeOf = async (person: Person, id: string) =>
  (await person.get(`/api/v1/oauth/sign-ins/${id}`)).body;

const expectNothingStored = async (person: Person): Promise<void> => {
  const { status } = await person.get('/api/v1/services/tracker/instance');
  expect(status).toBe(404);
};

describe('signing in with a service', () => {
  let site: OAuthSite;
  beforeAll(async () => {
    site = await openOAuthSite();
  });
  afterAll(async () => {
    await site?.[Symbol.asyncDispose]();
  });

  /** Up to the moment before the browser comes back. */
  const comeBack = async (person: Person, browser: Browser) => {
    const begun = await site.start(person, browser);
    const { url } = await browser.open(begun.body.authorizationUrl, toCallback);
    return { id: String(begun.body.id), callback: url };
  };

  it('I10 goes from start to the service and back, and ends with a working instance', async () => {
    const ada = await site.api.aPerson();
    const browser = aBrowser();
    const begun = await site.start(ada, browser);
    expect(begun).toMatchObject({ status: 200, body: { expiresAt: expect.any(String) } });
    const authorization = new URL(begun.body.authorizationUrl);
    expect(Object.fromEntries(authorization.searchParams)).toMatchObject({
      response_type: 'code',
      client_id: 'portolan',
      redirect_uri: site.redirectUri,
      code_challenge_method: 'S256',
      scope: 'openid notes offline_access',
      prompt: 'consent',
    });
    expect(authorization.searchParams.get('state')).not.toBe('not-ours');
    const page = await browser.open(begun.body.authorizationUrl, toConsole);
    expect(page.url).toBe(`${site.api.url}/#/sign-in/${begun.body.id}`);
    expect(await outcomeOf(ada, begun.body.id)).toEqual({
      id: begun.body.id,
      serviceType: 'tracker',
      title: 'Tracker',
      label: 'default',
      status: 'connected',
      code: null,
      message: 'Connected to Tracker as ada.',
    });
    const shown = await ada.get('/api/v1/services/tracker/instance');
    expect(shown.body).toMatchObject({ state: 'ready', identity: 'ada', credentialMethod: 'sign-in' });
    const { pathname } = new URL(shown.body.instanceUrl);
    const called = await fetch(`http://127.0.0.1:${site.processes[0]?.port}${pathname}/list_notes`);
    expect(await called.json()).toMatchObject({ status: 200, data: { owner: 'ada' }, userId: ada.id });
    expect(browser.cookies.filter(({ name }) => name.includes('portolan'))).toEqual([]);
  });

  it('I10 12.13 signing in again under the same label replaces the credential and keeps the URL', async () => {
    const bea = await site.api.aPerson();
    const first = await site.connect(bea, { label: 'work' });
    site.issuer.person = 'bea';
    expect(await site.connect(bea, { label: 'work' })).toBe(first);
    site.issuer.person = 'ada';
    const { body } = await bea.get('/api/v1/services/tracker/instance?label=work');
    expect(body).toMatchObject({ identity: 'bea', state: 'ready' });
  });

  it('I10 a state that was used is not known a second time, and changes nothing', async () => {
    const ada = await site.api.aPerson();
    const browser = aBrowser();
    const { id, callback } = await comeBack(ada, browser);
    const cookie = browser.cookieHeader(callback);
    await browser.open(callback, toConsole);
    const again = await fetch(callback, { redirect: 'manual', headers: { cookie } });
    expect([again.status, again.headers.get('location')]).toEqual([303, unknown(site)]);
    expect(await outcomeOf(ada, id)).toMatchObject({ status: 'connected' });
  });

  it.each([
    ['made up', 'A'.repeat(43)],
    ['of another form', '../../etc'],
    ['missing', null],
  ])('I10 a state that is %s leads nowhere', async (_what, state) => {
    const query = new URLSearchParams({ code: 'a-code', ...(state === null ? {} : { state }) });
    const answer = await fetch(`${site.redirectUri}?${query.toString()}`, { redirect: 'manual' });
    expect([answer.status, answer.headers.get('location')]).toEqual([303, unknown(site)]);
    expect(answer.headers.get('set-cookie')).toBeNull();
  });

  it('I10 the answer counts in no other browser, though that one has a sign-in of its own', async () => {
    const ada = await site.api.aPerson();
    const mallory = await site.api.aPerson();
    const [ofAda, ofMallory] = [aBrowser(), aBrowser()];
    const { id, callback } = await comeBack(ada, ofAda);
    const own = await comeBack(mallory, ofMallory);
    const page = await ofMallory.open(callback, toConsole);
    expect(page.url).toBe(`${site.api.url}/#/sign-in/${id}`);
    expect(await outcomeOf(ada, id)).toMatchObject({ status: 'failed', code: 'SIGN_IN_INVALID' });
    expect((await mallory.get(`/api/v1/oauth/sign-ins/${id}`)).status).toBe(404);
    await expectNothingStored(ada);
    await expectNothingStored(mallory);
    // It is used up for the right browser too; the other sign-in is untouched.
    expect((await ofAda.open(callback, toConsole)).url).toBe(unknown(site));
    await ofMallory.open(own.callback, toConsole);
    expect(await outcomeOf(mallory, own.id)).toMatchObject({ status: 'connected' });
  });

  it('I10 a link that somebody else began puts nothing into the account of who follows it', async () => {
    const mallory = await site.api.aPerson();
    const begun = await site.start(mallory, aBrowser());
    const victim = aBrowser();
    site.issuer.person = 'victim';
    await victim.open(begun.body.authorizationUrl, toConsole);
    site.issuer.person = 'ada';
    expect(await outcomeOf(mallory, begun.body.id)).toMatchObject({ code: 'SIGN_IN_INVALID' });
    await expectNothingStored(mallory);
  });

  it('I10 a sign-in that took longer than ten minutes is over', async () => {
    const ada = await site.api.aPerson();
    const browser = aBrowser();
    const { id, callback } = await comeBack(ada, browser);
    const root = await site.api.connected.site.db.superuser();
    await root.query(`update oauth_sign_ins set expires_at = now() - interval '1 second' where id = $1`, [
      id,
    ]);
    await browser.open(callback, toConsole);
    expect(await outcomeOf(ada, id)).toMatchObject({
      status: 'failed',
      message: expect.stringContaining('longer than 10 minutes'),
    });
    await expectNothingStored(ada);
  });

  it('I10 a sign-in ends with the session in which it was begun', async () => {
    const ada = await site.api.aPerson();
    const browser = aBrowser();
    const { id, callback } = await comeBack(ada, browser);
    await ada.post('/api/v1/auth/logout');
    await browser.open(callback, toConsole);
    const root = await site.api.connected.site.db.superuser();
    const { rows } = await root.query(
      'select outcome, error_code, sealed_context from oauth_sign_ins where id = $1',
      [id],
    );
    expect(rows).toEqual([{ outcome: 'failed', error_code: 'SIGN_IN_INVALID', sealed_context: null }]);
  });

  it('I10 RFC 9207: an answer in the name of another issuer is not used', async () => {
    const ada = await site.api.aPerson();
    const browser = aBrowser();
    const { id, callback } = await comeBack(ada, browser);
    const url = new URL(callback);
    expect(url.searchParams.get('iss')).toBe(site.issuer.origin);
    url.searchParams.set('iss', 'https://evil.example');
    const before = site.issuer.requests.length;
    await browser.open(url.href, toConsole);
    expect(await outcomeOf(ada, id)).toMatchObject({ code: 'SIGN_IN_INVALID' });
    expect(site.issuer.requests.length).toBe(before);
  });

  it('I10 says in plain words that the user or the service said no', async () => {
    const ada = await site.api.aPerson();
    const browser = aBrowser();
    site.issuer.person = null;
    const begun = await site.start(ada, browser);
    await browser.open(begun.body.authorizationUrl, toConsole);
    site.issuer.person = 'ada';
    expect(await outcomeOf(ada, begun.body.id)).toMatchObject({
      status: 'failed',
      code: 'SIGN_IN_DENIED',
      message: 'Tracker was not allowed to share your account: either you said no, or Tracker did.',
    });
    const rows = await auditOf(site, begun.body.id);
    expect(rows.map(({ action, outcome }) => [action, outcome])).toEqual([
      ['credential.sign_in_begun', 'success'],
      ['credential.sign_in_failed', 'failure'],
    ]);
  });

  it('I10 stores nothing and gives the grant back when the service then refuses it', async () => {
    const ada = await site.api.aPerson();
    site.issuer.accessSeconds = 3_600;
    const browser = aBrowser();
    const { id, callback } = await comeBack(ada, browser);
    site.upstream.on('/me', (response) => void response.writeHead(401).end());
    const before = site.issuer.requests.length;
    await browser.open(callback, toConsole);
    site.restoreUpstream();
    expect(await outcomeOf(ada, id)).toMatchObject({
      code: 'CREDENTIAL_REJECTED',
      message: 'Tracker did not accept the access that it granted.',
    });
    expect(site.issuer.requests.slice(before).map(({ route }) => route)).toEqual([
      '/token',
      '/token/revocation',
    ]);
    await expectNothingStored(ada);
  });

  it('I10 a personal API key cannot begin one, and a form cannot stand in for it', async () => {
    const ada = await site.api.aPerson();
    const key = await ada.post('/api/v1/users/me/keys', { name: 'ci' });
    const script = site.api.as(key.body.key);
    const path = '/api/v1/services/tracker';
    expect((await script.post(`${path}/oauth/start`)).status).toBe(403);
    const form = await ada.post(`${path}/authenticate`, { method: 'sign-in' });
    expect(form).toMatchObject({ status: 400, body: { errors: [{ pointer: '/method' }] } });
    const wrong = await ada.post(`${path}/oauth/start`, { method: 'none-such' });
    expect(wrong).toMatchObject({ status: 400, body: { errors: [{ pointer: '/method' }] } });
  });

  it('I10 disconnecting gives the grant back to the service', async () => {
    const ada = await site.api.aPerson();
    await site.connect(ada);
    const token = site.tokensSeen().at(-1) ?? '';
    expect(await site.issuer.ownerOf(token)).toBe('ada');
    expect((await ada.delete('/api/v1/services/tracker/instance')).status).toBe(204);
    expect(await site.issuer.ownerOf(token)).toBeNull();
    const routes = site.issuer.requests.slice(-2).map(({ route, status }) => [route, status]);
    expect(routes).toEqual([
      ['/token/revocation', 200],
      ['/token/revocation', 200],
    ]);
  });

  it('I10 keeps tokens, codes, states and secrets out of logs, audit, addresses and plain columns', async () => {
    const ada = await site.api.aPerson();
    const browser = aBrowser();
    const { callback } = await comeBack(ada, browser);
    const cookie = browser.cookieHeader(callback);
    await browser.open(callback, toConsole);
    const { searchParams } = new URL(callback);
    const secrets = [
      ...new Set(site.tokensSeen()),
      searchParams.get('code') ?? '',
      searchParams.get('state') ?? '',
      cookie.split('=').at(-1) ?? '',
      'canary-client-secret-of-this-installation',
    ];
    const root = await site.api.connected.site.db.superuser();
    const dump: string[] = [];
    for (const table of ['audit_events', 'audit_calls', 'oauth_sign_ins', 'instances', 'oauth_renewals']) {
      const { rows } = await root.query(`select to_jsonb(t)::text as row from ${table} t`);
      dump.push(...rows.map(({ row }) => String(row)));
    }
    const places = {
      log: site.api.logText() + site.processes.map((one) => one.output()).join(''),
      database: dump.join('\n'),
      console: browser.visited.filter(toConsole).join('\n'),
    };
    expect(secrets.every((secret) => secret.length > 20)).toBe(true);
    for (const [place, text] of Object.entries(places)) {
      expect({ place, found: secrets.filter((secret) => text.includes(secret)).length }).toEqual({
        place,
        found: 0,
      });
    }
  });
});

async function auditOf(site: OAuthSite, signIn: string) {
  const root = await site.api.connected.site.db.superuser();
  const { rows } = await root.query<{ action: string; outcome: string }>(
    `select action, outcome from audit_events where details ->> 'signIn' = $1 order by occurred_at`,
    [signIn],
  );
  return rows;
}
