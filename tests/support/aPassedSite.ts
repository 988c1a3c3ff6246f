import {
  openLegacyHttpServer,
  type LegacyHttpServer,
  type LegacyHttpServerWish,
} from './legacyHttpServer.js';
import { aRemoteService } from './aRemoteUpstream.js';
import { openUniversalServer, type InstanceUrl, type UniversalServer } from './universalServer.js';

export interface PassedSite extends AsyncDisposable {
  readonly upstream: LegacyHttpServer;
  readonly server: UniversalServer;
  /** Alice's instance. */
  readonly alice: InstanceUrl;
  readonly url: string;
}

/** A service before a legacy server, and an instance of it with the token `token-of-alice`. */
export async function openPassedSite(
  wish: LegacyHttpServerWish = {},
  changes: Readonly<Record<string, unknown>> = {},
): Promise<PassedSite> {
  const upstream = await openLegacyHttpServer(wish);
  const server = await openUniversalServer({ definition: aRemoteService(upstream.url, {}, changes) });
  const alice = await server.aUrl({ fields: { token: 'token-of-alice' } });
  return {
    upstream,
    server,
    alice,
    url: alice.url,
    async [Symbol.asyncDispose]() {
      await server[Symbol.asyncDispose]();
      await upstream[Symbol.asyncDispose]();
    },
  };
}
