/**
 * `POST /internal/v1/instances/<uuid>/probe`: the main API has a credential checked where upstreams live (12.10). It
 * comes over the loopback with a token of seconds for this service and this instance; no credential travels.
 */
import type { IncomingMessage, ServerResponse } from 'node:http';
import { AppError } from '../../../errors/appError.js';
import type { SealedInstance } from '../../../services/instanceResolver.js';
import type { InstanceResolver } from '../../../services/instanceResolver.js';
import type { BridgeContext } from '../bridge/bridgeContext.js';
import { bridgeTerms } from '../bridge/modernConversation.js';
import { isJsonObject } from '../protocol/jsonRpc.js';
import type { ProbeOutcome } from '../upstream/upstream.js';
import { sendJsonBody, sendProblem } from './operations.js';
import { readJsonBody } from './readJsonBody.js';

export interface ProbeEndpointOptions {
  readonly bridge: Pick<
    BridgeContext,
    'definition' | 'upstream' | 'openValues' | 'spool' | 'metrics' | 'newId' | 'log'
  >;
  readonly resolver: Pick<InstanceResolver, 'resolveById'>;
  /** The main API's public keys; read on each call, so that rotated ones count at once. */
  readonly jwtPublicKeys: string;
}

export type AnswerInternal = (
  rest: string,
  request: IncomingMessage,
  response: ServerResponse,
) => Promise<void>;

const pathPattern = /^v1\/instances\/([0-9a-f-]{36})\/probe$/;
const bodyBytesMax = 1_024;

export function createProbeEndpoint(options: ProbeEndpointOptions): AnswerInternal {
  const { bridge, resolver, jwtPublicKeys } = options;
  const { definition } = bridge;

  const authorize = async (request: IncomingMessage, id: string): Promise<void> => {
    // Loaded with the first probe: most processes are started far more often than they are asked for one.
    const [{ verifyInternalCall }, { loadVerificationKeys }] = await Promise.all([
      import('../../../services/internalCalls.js'),
      import('../../../services/jwtKeys.js'),
    ]);
    const bearer = /^Bearer (\S+)$/.exec(request.headers.authorization ?? '')?.[1] ?? '';
    const { instanceId } = verifyInternalCall(loadVerificationKeys(jwtPublicKeys), bearer, definition.name);
    if (instanceId !== id) throw new AppError('UNAUTHENTICATED', 'the internal call is for another instance');
  };

  return async (rest, request, response) => {
    try {
      const id = pathPattern.exec(rest)?.[1];
      if (id === undefined || request.method !== 'POST')
        throw new AppError('NOT_FOUND', 'no such internal path');
      await authorize(request, id);
      const body = await readJsonBody(request, bodyBytesMax);
      const staged = isJsonObject(body) && body['staged'] === true;
      const resolution = await resolver.resolveById(id, definition.name, { staged });
      switch (resolution.kind) {
        case 'unavailable':
          throw resolution.error;
        case 'unknown':
          throw new AppError('NOT_FOUND', 'the instance to probe is not there');
        case 'found':
          return sendJsonBody(response, 200, await probeInstance(bridge, resolution.instance));
      }
    } catch (error) {
      bridge.log.debug('an internal call was refused', { error });
      sendProblem(response, error);
    }
  };
}

/** Uses the credential, so it is audited like a call. */
async function probeInstance(
  { definition, upstream, openValues, spool, metrics, newId }: ProbeEndpointOptions['bridge'],
  instance: SealedInstance,
): Promise<ProbeOutcome> {
  const values = openValues(instance);
  const callId = newId();
  const startedAt = performance.now();
  const intent = { callId, instanceId: instance.id, userId: instance.userId, method: 'probe' } as const;
  await spool.intent(intent);
  const method = definition.credentials.methods.find(({ id }) => id === instance.credentialMethod);
  const timeoutMs =
    method === undefined || method.probe.type === 'none' ? probeMsMax : method.probe.timeoutMs;
  let outcome: ProbeOutcome;
  try {
    const terms = { instance, values, client: bridgeTerms, sessionId: null };
    outcome = await upstream.probe(terms, AbortSignal.timeout(timeoutMs));
  } catch (error) {
    if (!(error instanceof DOMException || error instanceof AppError)) throw error;
    outcome = { outcome: 'unreachable', reason: 'The service did not answer in time.' };
  } finally {
    metrics.upstream.observe((performance.now() - startedAt) / 1_000, { method: 'probe' });
  }
  const isGood = outcome.outcome === 'accepted' || outcome.outcome === 'unverified';
  spool.outcome({
    callId,
    outcome: isGood ? 'ok' : 'error',
    durationMs: Math.round(performance.now() - startedAt),
    ...(isGood ? {} : { errorCode: outcome.outcome.toUpperCase() }),
  });
  return outcome;
}

const probeMsMax = 30_000;
