/**
 * The first exchange with a child, which settles its era. Where the server may speak either, the era that the first
 * client wants is tried first and the other one over the same pipe, so that no second process is started to find out.
 * A server of the legacy era may do anything with a request before `initialize`, also end: that is no evidence against
 * the legacy era, and the caller starts it once more.
 */
import { AppError } from '../../../../errors/appError.js';
import { envelope, toEnvelope } from '../../protocol/envelope.js';
import { isJsonObject, type JsonObject, type JsonRpcResponse } from '../../protocol/jsonRpc.js';
import { eraOf, modernRevisions, type Era } from '../../protocol/revisions.js';
import type { ClientTerms, RequestListener, ServerTerms } from '../upstream.js';
import type { ChildRouter } from './childRouter.js';
import type { Owner } from './requestTable.js';

export interface HandshakeOptions {
  readonly router: ChildRouter;
  readonly client: ClientTerms;
  /** In the order in which they are tried; not empty. */
  readonly eras: readonly Era[];
  /** Ends the whole of it. */
  readonly signal: AbortSignal;
}

export interface Handshake {
  readonly era: Era;
  readonly server: ServerTerms;
  /** Eras that the server refused to speak. */
  readonly refused: readonly Era[];
}

/** How long a server that may be of the other era is given for its first answer. */
const discoverMsMax = 3_000;

/**
 * @throws AppError UPSTREAM_FAILED when the server speaks none of the eras, or what ended the child or the signal.
 */
export async function shakeHands({ router, client, eras, signal }: HandshakeOptions): Promise<Handshake> {
  let refusal: AppError | null = null;
  for (const [at, era] of eras.entries()) {
    const isLast = at === eras.length - 1;
    router.era = era;
    const answer =
      era === 'modern'
        ? await discover(router, client, signal, isLast)
        : await initialize(router, client, signal);
    if ('server' in answer) return { era, server: answer.server, refused: eras.slice(0, at) };
    refusal = answer.refusal;
  }
  throw refusal ?? new AppError('UPSTREAM_FAILED', 'no era was tried');
}

type Answer = { readonly server: ServerTerms } | { readonly refusal: AppError };

async function initialize(router: ChildRouter, client: ClientTerms, signal: AbortSignal): Promise<Answer> {
  const request = { jsonrpc: '2.0', id: 'initialize', method: 'initialize', params: { ...client } } as const;
  const response = await router.request(request, nobody(), deaf, signal);
  const server = toLegacyTerms(response);
  if ('server' in server) router.notify({ jsonrpc: '2.0', method: 'notifications/initialized' });
  return server;
}

async function discover(
  router: ChildRouter,
  client: ClientTerms,
  signal: AbortSignal,
  isLast: boolean,
): Promise<Answer> {
  const request = {
    jsonrpc: '2.0',
    id: 'discover',
    method: 'server/discover',
    params: { _meta: toEnvelope(client) },
  } as const;
  const own = new AbortController();
  const onAbort = (): void => own.abort(signal.reason);
  signal.addEventListener('abort', onAbort, { once: true });
  const silence = new AppError('UPSTREAM_FAILED', 'the child does not answer server/discover');
  // The last resort may take the whole time that the service gives its start.
  const timer = isLast ? undefined : setTimeout(() => own.abort(silence), discoverMsMax);
  try {
    return toModernTerms(await router.request(request, nobody(), deaf, own.signal));
  } catch (error) {
    if (error === silence) return { refusal: silence };
    throw error;
  } finally {
    clearTimeout(timer);
    signal.removeEventListener('abort', onAbort);
  }
}

function toLegacyTerms(response: JsonRpcResponse): Answer {
  if ('error' in response) return refused(`the child refused initialize with code ${response.error.code}`);
  const { protocolVersion, capabilities, serverInfo, instructions } = response.result;
  if (typeof protocolVersion !== 'string' || eraOf(protocolVersion) !== 'legacy')
    return refused('the child answered initialize with an unknown revision');
  return { server: toTerms(protocolVersion, capabilities, serverInfo, instructions) };
}

function toModernTerms(response: JsonRpcResponse): Answer {
  if ('error' in response)
    return refused(`the child refused server/discover with code ${response.error.code}`);
  const { supportedVersions, capabilities, instructions, _meta } = response.result;
  const revision = modernRevisions.find(
    (one) => Array.isArray(supportedVersions) && supportedVersions.includes(one),
  );
  if (revision === undefined) return refused('the child supports no modern revision that is spoken here');
  const serverInfo = isJsonObject(_meta) ? _meta[envelope.serverInfo] : undefined;
  return { server: toTerms(revision, capabilities, serverInfo, instructions) };
}

function toTerms(
  protocolVersion: string,
  capabilities: unknown,
  serverInfo: unknown,
  instructions: unknown,
): ServerTerms {
  return {
    protocolVersion,
    capabilities: objectOf(capabilities),
    serverInfo: objectOf(serverInfo),
    ...(typeof instructions === 'string' ? { instructions } : {}),
  };
}

function refused(why: string): Answer {
  const publicDetail = 'The server behind refused to begin: it speaks no revision that is spoken here.';
  return { refusal: new AppError('UPSTREAM_FAILED', why, { publicDetail }) };
}

function objectOf(value: unknown): JsonObject {
  return isJsonObject(value) ? value : {};
}

function nobody(): Owner {
  return { listeners: new Set(), subscriptions: new Set(), logLevel: null };
}

const deaf: RequestListener = {
  onNotification() {},
  onServerRequest: ({ id }) =>
    Promise.resolve({
      jsonrpc: '2.0',
      id,
      error: { code: -32601, message: 'not before the first exchange is done' },
    }),
};
