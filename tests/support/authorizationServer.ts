/**
 * A real authorization server (npm's oidc-provider) on a loopback port: discovery, registration, PKCE, rotating refresh
 * tokens, revocation. People sign in and consent by themselves; what it granted and refused is kept for the test.
 *
 *   await using issuer = await startAuthorizationServer({ clients: [{ id, secret, redirectUri }] });
 *   issuer.accessSeconds = 1;
 */
import { once } from 'node:events';
import { createServer } from 'node:http';
import type { AddressInfo } from 'node:net';
import { randomUUID } from 'node:crypto';
import { Provider } from 'oidc-provider';

export interface TokenRequest {
  readonly route: string;
  readonly grantType: string | null;
  readonly status: number;
}

export interface AuthorizationServer extends AsyncDisposable {
  readonly origin: string;
  /** Requests to the token, revocation and registration endpoints, in order. */
  readonly requests: readonly TokenRequest[];
  /** Lifetime of what is granted from now on. */
  accessSeconds: number;
  /** Who signs in from now on; null: says no. */
  person: string | null;
  /** Lets the token endpoint wait before it answers. */
  hold: Promise<void> | null;
  countRefreshes(): number;
  /** Whose token it is, or null when it is not good (any more). */
  ownerOf(accessToken: string): Promise<string | null>;
  /** Makes one access token bad before its time. */
  spoil(accessToken: string): Promise<void>;
  /** Ends everything that was granted to a person, as they would at the service. */
  revokeGrantsOf(person: string): Promise<void>;
}

export interface KnownClient {
  readonly id: string;
  readonly secret: string;
  readonly redirectUri: string;
}

export async function startAuthorizationServer(wish: {
  readonly clients?: readonly KnownClient[];
  /** Resources for which tokens are granted, with the scopes that each knows. */
  readonly resources?: readonly string[];
}): Promise<AuthorizationServer> {
  const server = createServer();
  server.listen(0, '127.0.0.1');
  await once(server, 'listening');
  const origin = `http://127.0.0.1:${(server.address() as AddressInfo).port}`;
  const requests: TokenRequest[] = [];
  const grants = new Map<string, string[]>();
  const state = {
    accessSeconds: 3_600,
    person: 'ada' as string | null,
    hold: null as Promise<void> | null,
  };

  const provider = new Provider(origin, {
    clients: (wish.clients ?? []).map(({ id, secret, redirectUri }) => ({
      client_id: id,
      client_secret: secret,
      redirect_uris: [redirectUri],
      grant_types: ['authorization_code', 'refresh_token'],
      response_types: ['code'],
    })),
    cookies: { keys: [randomUUID()] },
    scopes: ['openid', 'offline_access', 'notes'],
    pkce: { required: () => true },
    rotateRefreshToken: true,
    issueRefreshToken: () => true,
    ttl: { AccessToken: () => state.accessSeconds, RefreshToken: 86_400, Session: 600, Grant: 86_400 },
    findAccount: (_ctx: unknown, id: string) => ({ accountId: id, claims: () => ({ sub: id }) }),
    interactions: { url: (_ctx: unknown, interaction: { uid: string }) => `/sign-in/${interaction.uid}` },
    features: {
      devInteractions: { enabled: false },
      revocation: { enabled: true },
      registration: { enabled: true },
      resourceIndicators: {
        enabled: true,
        defaultResource: () => undefined,
        getResourceServerInfo: (_ctx: unknown, resource: string) => {
          if (!(wish.resources ?? []).includes(resource)) throw new Error('an unknown resource');
          return { scope: 'notes', accessTokenTTL: state.accessSeconds };
        },
        useGrantedResource: () => true,
      },
    },
  });
  provider.use(async (ctx, next) => {
    if (ctx.method === 'POST' && ctx.path === '/token' && state.hold !== null) await state.hold;
    await next();
    if (ctx.method !== 'POST' || !['/token', '/token/revocation', '/reg'].includes(ctx.path)) return;
    const grantType: unknown = ctx.oidc?.params?.['grant_type'];
    requests.push({
      route: ctx.path,
      grantType: typeof grantType === 'string' ? grantType : null,
      status: ctx.status,
    });
  });

  const handle = provider.callback();
  server.on('request', (request, response) => {
    if (request.url?.startsWith('/sign-in/') !== true) return void handle(request, response);
    void (async () => {
      const { prompt, params, grantId, session } = await provider.interactionDetails(request, response);
      const { person } = state;
      if (person === null) {
        await provider.interactionFinished(request, response, { error: 'access_denied' });
      } else if (prompt.name === 'login') {
        await provider.interactionFinished(request, response, { login: { accountId: person } });
      } else {
        const accountId = session?.accountId ?? person;
        const known = grantId === undefined ? undefined : await provider.Grant.find(grantId);
        const grant = known ?? new provider.Grant({ accountId, clientId: String(params['client_id']) });
        const { scope } = params;
        grant.addOIDCScope(typeof scope === 'string' ? scope : 'openid');
        for (const resource of wish.resources ?? []) grant.addResourceScope(resource, 'notes');
        const id = await grant.save();
        grants.set(accountId, [...(grants.get(accountId) ?? []), id]);
        await provider.interactionFinished(request, response, { consent: { grantId: id } });
      }
    })().catch((error: unknown) => response.writeHead(500).end(String(error)));
  });

  return {
    origin,
    requests,
    get accessSeconds() {
      return state.accessSeconds;
    },
    set accessSeconds(seconds) {
      state.accessSeconds = seconds;
    },
    get person() {
      return state.person;
    },
    set person(name) {
      state.person = name;
    },
    get hold() {
      return state.hold;
    },
    set hold(until) {
      state.hold = until;
    },
    countRefreshes: () => requests.filter(({ grantType }) => grantType === 'refresh_token').length,
    async ownerOf(accessToken) {
      const token = await provider.AccessToken.find(accessToken);
      return token === undefined || token.isExpired ? null : token.accountId;
    },
    async spoil(accessToken) {
      await (await provider.AccessToken.find(accessToken))?.destroy();
    },
    async revokeGrantsOf(person) {
      for (const id of grants.get(person) ?? []) {
        await provider.RefreshToken.revokeByGrantId(id);
        await provider.AccessToken.revokeByGrantId(id);
        await (await provider.Grant.find(id))?.destroy();
      }
    },
    async [Symbol.asyncDispose]() {
      server.closeAllConnections();
      server.close();
      await once(server, 'close');
    },
  };
}
