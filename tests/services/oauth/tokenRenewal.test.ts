/**
 * Access tokens that end, over two real processes of one service and a real authorization server that rotates refresh
 * tokens (rows I10 and R20).
 */
import { setTimeout as sleep } from 'node:timers/promises';
import { afterAll, beforeAll, beforeEach, describe, expect, it, jest } from '@jest/globals';
import { waitUntil } from '../../support/eventually.js';
import type { Person } from '../../support/mainApi.js';
import { connectClient } from '../../support/mcpClients.js';
import { openOAuthSite, type OAuthSite } from '../../support/oauthSite.js';

jest.setTimeout(60_000);

interface RestAnswer {
  readonly status: number;
  // A test knows what it asked for.
  // oxlint-disable-next-line typescript/no-explicit-any
  readonly body: any;
}

const stateOf = async (person: Person) =>
  (await person.get('/api/v1/services/tracker/instance')).body as Record<string, unknown>;

/** Something that waits until the test lets it go. */
function aGate(): { readonly opened: Promise<void>; readonly open: () => void } {
  let open!: () => void;
  const opened = new Promise<void>((resolve) => {
    open = resolve;
  });
  return { opened, open };
}

describe('renewing access tokens', () => {
  let site: OAuthSite;
  beforeAll(async () => {
    site = await openOAuthSite();
    await site.addProcess();
  });
  afterAll(async () => {
    await site?.[Symbol.asyncDispose]();
  });
  beforeEach(() => {
    site.issuer.accessSeconds = 3_600;
    site.issuer.hold = null;
    site.restoreUpstream();
    site.upstream.clear();
  });

  const urlAt = (process: number, path: string): string =>
    `http://127.0.0.1:${site.processes[process]?.port}${path}`;

  const call = async (path: string, process = 0): Promise<RestAnswer> => {
    const response = await fetch(urlAt(process, `${path}/list_notes`));
    return { status: response.status, body: await response.json() };
  };

  /** Connected with a token that has ended by now. */
  const connectBriefly = async (person: Person): Promise<string> => {
    // It counts in whole seconds: of two, at least one is left.
    site.issuer.accessSeconds = 2;
    const path = await site.connect(person);
    const token = site.tokensSeen().at(-1) ?? '';
    site.issuer.accessSeconds = 3_600;
    await waitUntil('the token has ended', async () => (await site.issuer.ownerOf(token)) === null);
    site.upstream.clear();
    return path;
  };

  it('I10 R20 100 calls over two processes after the end of a token lead to one refresh', async () => {
    const ada = await site.api.aPerson();
    const path = await connectBriefly(ada);
    const before = site.issuer.countRefreshes();
    const answers = await Promise.all(Array.from({ length: 100 }, (_, at) => call(path, at % 2)));
    expect(new Set(answers.map(({ status }) => status))).toEqual(new Set([200]));
    expect(site.issuer.countRefreshes() - before).toBe(1);
    // One new token, and nothing was called with the old one.
    expect(new Set(site.tokensSeen()).size).toBe(1);
    expect(await stateOf(ada)).toMatchObject({ state: 'ready' });
  });

  it('I10 a refresh token that rotates goes on through several lives', async () => {
    const ada = await site.api.aPerson();
    const path = await connectBriefly(ada);
    for (const process of [0, 1, 0]) {
      site.issuer.accessSeconds = 2;
      expect((await call(path, process)).status).toBe(200);
      const token = site.tokensSeen().at(-1) ?? '';
      await waitUntil('the token has ended', async () => (await site.issuer.ownerOf(token)) === null);
    }
    expect(await stateOf(ada)).toMatchObject({ state: 'ready', identity: 'ada' });
  });

  it('I10 renews ahead of the end, so that a client that calls on and on never meets a refusal', async () => {
    const ada = await site.api.aPerson();
    site.issuer.accessSeconds = 4;
    const path = await site.connect(ada);
    const refusals: string[] = [];
    const until = performance.now() + 7_000;
    const before = site.issuer.countRefreshes();
    while (performance.now() < until) {
      const { status, body } = await call(path);
      if (status !== 200) refusals.push(JSON.stringify(body));
      await sleep(50);
    }
    expect(refusals).toEqual([]);
    expect(site.issuer.countRefreshes() - before).toBeGreaterThanOrEqual(2);
    expect(new Set(site.tokensSeen()).size).toBeGreaterThanOrEqual(3);
  });

  it('R20 a 401 in the middle of a life is answered by one refresh and one more try', async () => {
    const ada = await site.api.aPerson();
    const path = await site.connect(ada);
    await site.issuer.spoil(site.tokensSeen().at(-1) ?? '');
    site.upstream.clear();
    const before = site.issuer.countRefreshes();
    const answers = await Promise.all(Array.from({ length: 20 }, (_, at) => call(path, at % 2)));
    expect(answers.map(({ body }) => body.data)).toEqual(answers.map(() => ({ owner: 'ada' })));
    expect(site.issuer.countRefreshes() - before).toBe(1);
  });

  it('R20 a service that refuses every token is not asked for ever new ones', async () => {
    const ada = await site.api.aPerson();
    const path = await site.connect(ada);
    site.upstream.on('/notes', (response) => void response.writeHead(401).end('{}'));
    const before = site.issuer.countRefreshes();
    for (let count = 0; count < 5; count += 1) {
      expect(await call(path)).toMatchObject({ status: 401, body: { code: 'EXPIRED_CREDENTIALS' } });
    }
    expect(site.issuer.countRefreshes() - before).toBe(1);
    await waitUntil('the owner is told', async () => (await stateOf(ada))['state'] === 'needs_reauth');
  });

  it('R20 a refused refresh token is told to the owner with the way back, and never tried again', async () => {
    const ada = await site.api.aPerson();
    site.issuer.person = 'lea';
    const path = await connectBriefly(ada);
    await site.issuer.revokeGrantsOf('lea');
    const before = site.issuer.countRefreshes();
    const answers = await Promise.all(Array.from({ length: 20 }, (_, at) => call(path, at % 2)));
    const told = {
      status: 401,
      body: {
        code: 'EXPIRED_CREDENTIALS',
        detail: `Tracker no longer accepts the stored sign-in. Sign in again at ${consoleUrl}.`,
        reconnectUrl: consoleUrl,
      },
    };
    for (const answer of answers) expect(answer).toMatchObject(told);
    expect(site.issuer.countRefreshes() - before).toBe(1);
    expect(site.upstream.requests).toEqual([]);
    expect(await stateOf(ada)).toMatchObject({
      state: 'needs_reauth',
      stateCause: 'The service no longer renews the access that was granted: sign in again.',
    });
    await using client = await connectClient('SDK v1', urlAt(1, path));
    await expect(client.callTool('list_notes')).rejects.toThrow(`Sign in again at ${consoleUrl}`);
    // Signing in again is all it takes; the URL is the same.
    expect(await site.connect(ada)).toBe(path);
    site.issuer.person = 'ada';
    await waitUntil('the new grant is used', async () => (await call(path)).status === 200);
  });

  it('I10 a sign-in during a renewal wins over it', async () => {
    const ada = await site.api.aPerson();
    const path = await connectBriefly(ada);
    const gate = aGate();
    site.issuer.hold = gate.opened;
    const waiting = call(path);
    const root = await site.api.connected.site.db.superuser();
    await waitUntil('the turn is taken', async () => {
      const { rowCount } = await root.query('select from oauth_renewals where leased_until is not null');
      return (rowCount ?? 0) > 0;
    });
    site.issuer.hold = null;
    site.issuer.person = 'zoe';
    expect(await site.connect(ada)).toBe(path);
    site.issuer.person = 'ada';
    gate.open();
    expect(await waiting).toMatchObject({ status: 200, body: { data: { owner: 'zoe' } } });
    expect(await stateOf(ada)).toMatchObject({ state: 'ready', identity: 'zoe' });
  });

  it('I10 tells the owner why when a process was killed between the answer and the commit', async () => {
    const ada = await site.api.aPerson();
    const path = await connectBriefly(ada);
    const third = await site.addProcess();
    const root = await site.api.connected.site.db.superuser();
    const gate = aGate();
    site.issuer.hold = gate.opened;
    const cut = fetch(`http://127.0.0.1:${third.port}${path}/list_notes`).catch(() => null);
    const { id } = await stateOf(ada);
    await waitUntil('the turn is taken', async () => {
      const { rowCount } = await root.query('select from oauth_renewals where instance_id = $1', [id]);
      return rowCount === 1;
    });
    // The commit waits for this lock: the answer is there and the record is not.
    await root.query('begin');
    await root.query('select from instances where id = $1 for update', [id]);
    gate.open();
    const committing = `from pg_stat_activity where wait_event_type = 'Lock' and query like '%finish_oauth_renewal%'`;
    const isCommitting = async (): Promise<boolean> => {
      // Within a transaction it would say what it said first.
      await root.query('select pg_stat_clear_snapshot()');
      return (await root.query(`select ${committing}`)).rowCount === 1;
    };
    await waitUntil('the commit waits', isCommitting, 20_000);
    process.kill(third.pid, 'SIGKILL');
    await cut;
    // PostgreSQL would go on to commit for a client that is gone.
    await root.query(`select pg_terminate_backend(pid) ${committing}`);
    await root.query('rollback');
    site.issuer.hold = null;
    // Its turn has run out.
    await root.query('update oauth_renewals set leased_until = now() where instance_id = $1', [id]);
    expect(await call(path)).toMatchObject({ status: 401, body: { code: 'EXPIRED_CREDENTIALS' } });
    expect((await stateOf(ada))['stateCause']).toContain('was cut off while it renewed the access');
  });

  it('I10 the use of a refresh token is audited like a call', async () => {
    const ada = await site.api.aPerson();
    const path = await connectBriefly(ada);
    expect((await call(path)).status).toBe(200);
    const root = await site.api.connected.site.db.superuser();
    await waitUntil('the renewal is in the audit', async () => {
      const { rows } = await root.query<{ phase: string }>(
        `select phase from audit_calls where user_id = $1 and method = 'renewal' order by phase`,
        [ada.id],
      );
      return rows.map(({ phase }) => phase).join() === 'intent,outcome';
    });
  });
});

const consoleUrl = 'http://localhost:8080/console/connect/tracker';
