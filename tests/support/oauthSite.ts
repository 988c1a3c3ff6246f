/**
 * The main API and the process of a service whose users sign in with it, over an authorization server and a REST service
 * that takes its tokens:
 *
 *   await using site = await openOAuthSite();
 *   const ada = await site.api.aPerson();
 *   const url = await site.connect(ada);
 */
import { mkdirSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { startAuthorizationServer, type AuthorizationServer } from './authorizationServer.js';
import { aBrowser, type Browser } from './browser.js';
import { writeService } from './connectedSite.js';
import { aFreePort } from './freePorts.js';
import { openMainApi, type Answer, type OpenedMainApi, type Person } from './mainApi.js';
import { json, startRecordingUpstream, type Behaviour, type RecordingUpstream } from './recordingUpstream.js';
import { startServiceProcess, type ServiceProcess } from './spawnedService.js';

export const clientSecret = 'canary-client-secret-of-this-installation';

export interface OAuthSite extends AsyncDisposable {
  readonly api: OpenedMainApi;
  readonly issuer: AuthorizationServer;
  readonly upstream: RecordingUpstream;
  readonly processes: readonly ServiceProcess[];
  readonly stateDir: string;
  readonly redirectUri: string;
  /** Bearer tokens that reached the REST service, in order. */
  tokensSeen(): string[];
  /** Begins a sign-in as that person, in that browser. */
  start(person: Person, browser: Browser, body?: object): Promise<Answer>;
  /** The whole way; the path of the instance URL. */
  connect(person: Person, body?: object): Promise<string>;
  /** The REST service answers by the token again. */
  restoreUpstream(): void;
  /** Another process of the same service, on a port of its own. */
  addProcess(): Promise<ServiceProcess>;
}

/** @param changes to the service's file. */
export async function openOAuthSite(
  changes: { readonly oauth2?: object; readonly service?: object } = {},
): Promise<OAuthSite> {
  const closers: (() => unknown)[] = [];
  const close = async (): Promise<void> => {
    for (const one of closers.toReversed()) await one();
  };
  try {
    const port = await aFreePort();
    const publicUrl = `http://127.0.0.1:${port}`;
    const redirectUri = `${publicUrl}/api/v1/oauth/callback`;
    const api = await openMainApi({
      port,
      env: { PUBLIC_URL: publicUrl },
      limits: { authenticate: 1_000 },
    });
    closers.push(() => api[Symbol.asyncDispose]());
    const issuer = await startAuthorizationServer({
      clients: [{ id: 'portolan', secret: clientSecret, redirectUri }],
    });
    closers.push(() => issuer[Symbol.asyncDispose]());
    const upstream = await startRecordingUpstream();
    closers.push(() => upstream[Symbol.asyncDispose]());
    const restoreUpstream = (): void => {
      for (const path of ['/notes', '/me']) upstream.on(path, tellOwner(issuer));
    };
    restoreUpstream();

    const { connected } = api;
    const folder = mkdtempSync(join(tmpdir(), 'portolan-oauth-'));
    closers.push(() => rmSync(folder, { recursive: true, force: true }));
    const stateDir = join(folder, 'state');
    mkdirSync(join(stateDir, 'database-urls'), { recursive: true });
    writeFileSync(join(stateDir, 'database-urls', 'service'), connected.site.db.urls.service.reveal());
    writeFileSync(join(stateDir, 'keyring.json'), connected.site.ring);
    writeFileSync(join(stateDir, 'jwt-public.json'), connected.jwtPublicText);
    writeFileSync(join(stateDir, 'metrics-token'), 'metrics-token-of-the-test');
    const servicePort = await aFreePort();
    writeService(connected.mcpPortsDir, 'tracker', {
      ...trackerConfig(issuer.origin, upstream.origin, servicePort, changes.oauth2),
      ...changes.service,
    });
    connected.registry.reload();
    const processes: ServiceProcess[] = [];
    const addProcess = async (at?: number): Promise<ServiceProcess> => {
      const started = await startServiceProcess({
        stateDir,
        mcpPortsDir: connected.mcpPortsDir,
        service: 'tracker',
        port: at ?? (await aFreePort()),
      });
      processes.push(started);
      closers.push(() => started[Symbol.asyncDispose]());
      return started;
    };
    await addProcess(servicePort);

    const site: OAuthSite = {
      api,
      issuer,
      upstream,
      processes,
      stateDir,
      redirectUri,
      tokensSeen: () =>
        upstream.requests
          .map(({ headers }) => headers.authorization?.replace('Bearer ', ''))
          .filter((token): token is string => token !== undefined),
      async start(person, browser, body = {}) {
        const path = '/api/v1/services/tracker/oauth/start';
        const answer = await person.post(path, body);
        browser.keep(api.url + path, answer.headers);
        return answer;
      },
      async connect(person, body) {
        const browser = aBrowser();
        const begun = await site.start(person, browser, body);
        const page = await browser.open(begun.body.authorizationUrl, (url) => url.includes('/#/'));
        const { body: outcome } = await person.get(`/api/v1/oauth/sign-ins/${page.url.split('/').at(-1)}`);
        if (outcome.status !== 'connected') throw new Error(JSON.stringify(outcome));
        const query = new URLSearchParams({ label: outcome.label });
        const shown = await person.get(`/api/v1/services/tracker/instance?${query.toString()}`);
        return new URL(shown.body.instanceUrl).pathname;
      },
      restoreUpstream,
      addProcess: () => addProcess(),
      [Symbol.asyncDispose]: close,
    };
    return site;
  } catch (error) {
    await close();
    throw error;
  }
}

/** A REST service that asks the authorization server about each token. */
function tellOwner(issuer: AuthorizationServer): Behaviour {
  return (response, request) => {
    const token = request.headers.authorization?.replace('Bearer ', '') ?? '';
    void issuer.ownerOf(token).then((owner) => {
      const answer = owner === null ? json(401, { message: 'bad token' }) : json(200, { owner });
      return answer(response, request);
    });
  };
}

function trackerConfig(issuer: string, upstream: string, port: number, oauth2: object = {}): object {
  return {
    title: 'Tracker',
    kind: 'api',
    port,
    instancePrefix: 'trk',
    api: {
      baseUrl: upstream,
      headers: { Authorization: { $userToken: 'Bearer {{token}}' } },
      egress: { allowPrivate: true },
      tools: [
        {
          name: 'list_notes',
          description: 'Lists notes.',
          annotations: { readOnlyHint: true },
          inputSchema: { type: 'object' },
          request: { method: 'GET', path: '/notes' },
        },
      ],
    },
    credentials: {
      scope: 'per-user',
      methods: [
        {
          id: 'sign-in',
          type: 'oauth2',
          label: 'Sign in with Tracker',
          recommended: true,
          oauth2: {
            authorizationUrl: `${issuer}/auth`,
            tokenUrl: `${issuer}/token`,
            revocationUrl: `${issuer}/token/revocation`,
            issuer,
            clientId: 'portolan',
            clientSecret,
            scopes: ['openid', 'notes', 'offline_access'],
            extraAuthParams: { prompt: 'consent', state: 'not-ours', redirect_uri: 'http://evil.example' },
            ...oauth2,
          },
          probe: {
            request: { path: '/me', headers: { Authorization: { $userToken: 'Bearer {{token}}' } } },
            identity: { label: '/owner' },
            reject: { 401: 'Tracker did not accept the access that it granted.' },
          },
        },
      ],
    },
    limits: { requestsPerMinute: 100000, burst: 100000, concurrency: 200 },
  };
}
