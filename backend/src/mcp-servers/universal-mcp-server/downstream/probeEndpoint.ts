/**
 * `POST /internal/v1/instances/<uuid>/probe`: the main API has a credential checked where upstreams live (12.10). It
 * comes over the loopback with a token of seconds for this service and this instance; no credential travels.
 * `POST /internal/v1/shared-credentials/<uuid>/probe` is the same for one that an admin is about to share: it comes
 * sealed for the row and revision that it will have, since only what was accepted is stored (12.19).
 * `POST /internal/v1/instances/<uuid>/changed` says that an instance was changed; its answer, 204, that nothing of what it
 * was before is kept here any more.
 */
import type { IncomingMessage, ServerResponse } from 'node:http';
import { AppError } from '../../../errors/appError.js';
import type { SealedInstance } from '../../../services/instanceResolver.js';
import type { InstanceResolver } from '../../../services/instanceResolver.js';
import type { CredentialValues } from '../../../services/credentialValues.js';
import type { WrappedDataKey } from '../../../stores/instanceLookupStore.js';
import type { BridgeContext } from '../bridge/bridgeContext.js';
import { bridgeTerms } from '../bridge/modernLane.js';
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
  /** The system's data keys, wrapped. */
  readonly readSystemDataKeys: () => Promise<readonly WrappedDataKey[]>;
  /** Opens what is being checked, and keeps nothing. */
  readonly openOnce: (instance: SealedInstance) => CredentialValues;
  /** Drops what is kept of an instance, at once. */
  readonly onChanged: (instanceId: string) => void;
  /** The main API's public keys; read on each call, so that rotated ones count at once. */
  readonly jwtPublicKeys: string;
}

export type AnswerInternal = (
  rest: string,
  request: IncomingMessage,
  response: ServerResponse,
) => Promise<void>;

const pathPattern = /^v1\/(instances|shared-credentials)\/([0-9a-f-]{36})\/(probe|changed)$/;
const bodyBytesMax = 1_024;
/** Room for a sealed record, which holds 1 MiB at most, in base64. */
const sharedBodyBytesMax = 2 * 1_048_576;

export function createProbeEndpoint(options: ProbeEndpointOptions): AnswerInternal {
  const { bridge, resolver, readSystemDataKeys, openOnce, onChanged, jwtPublicKeys } = options;
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

  /** What is staged is taken as it is: only a credential in use is kept, and renewed. */
  const openProbed = (
    instance: SealedInstance,
    isStaged: boolean,
  ): ReturnType<BridgeContext['openValues']> => (isStaged ? openOnce(instance) : bridge.openValues(instance));

  const probeStored = async (id: string, request: IncomingMessage): Promise<ProbeOutcome> => {
    const body = await readJsonBody(request, bodyBytesMax);
    const staged = isJsonObject(body) && body['staged'] === true;
    const resolution = await resolver.resolveById(id, definition.name, { staged });
    switch (resolution.kind) {
      case 'unavailable':
        throw resolution.error;
      case 'unknown':
        throw new AppError('NOT_FOUND', 'the instance to probe is not there');
      case 'found':
        return probeInstance(bridge, resolution.instance, await openProbed(resolution.instance, staged));
    }
  };

  const probeShared = async (id: string, request: IncomingMessage): Promise<ProbeOutcome> => {
    if (definition.credentials.scope !== 'shared') {
      throw new AppError('NOT_FOUND', 'the service shares no credential');
    }
    const candidate = toCandidate(id, definition.name, await readJsonBody(request, sharedBodyBytesMax));
    const instance = { ...candidate, sharedRow: { id, dataKeys: await readSystemDataKeys() } };
    return probeInstance(bridge, instance, openOnce(instance));
  };

  return async (rest, request, response) => {
    try {
      const [, collection, id, verb] = pathPattern.exec(rest) ?? [];
      if (
        id === undefined ||
        request.method !== 'POST' ||
        `${collection} ${verb}` === 'shared-credentials changed'
      )
        throw new AppError('NOT_FOUND', 'no such internal path');
      await authorize(request, id);
      if (verb === 'changed') {
        onChanged(id);
        return void response.writeHead(204).end();
      }
      const probe = collection === 'instances' ? probeStored : probeShared;
      sendJsonBody(response, 200, await probe(id, request));
    } catch (error) {
      bridge.log.debug('an internal call was refused', { error });
      sendProblem(response, error);
    }
  };
}

/** The credential as an instance would use it that had it; its id is that of the settings. */
function toCandidate(id: string, service: string, body: unknown): SealedInstance {
  const { method, revision, sealed, userId } = isJsonObject(body) ? body : {};
  if (
    typeof method !== 'string' ||
    typeof revision !== 'number' ||
    typeof sealed !== 'string' ||
    typeof userId !== 'string'
  ) {
    throw new AppError('INVALID_REQUEST', 'the shared credential to probe is not told of completely');
  }
  return {
    id,
    userId,
    service,
    label: 'shared',
    epoch: 0,
    state: 'checking',
    isActive: true,
    endsAtMs: Infinity,
    accessMode: 'url',
    isFrom: null,
    credentialMethod: method,
    credentialRevision: revision,
    sealedCredential: Buffer.from(sealed, 'base64'),
    overridesRevision: 0,
    sealedOverrides: null,
    dataKeys: [],
  };
}

/** Uses the credential, so it is audited like a call. */
async function probeInstance(
  { definition, upstream, spool, metrics, newId }: ProbeEndpointOptions['bridge'],
  instance: SealedInstance,
  values: CredentialValues,
): Promise<ProbeOutcome> {
  const callId = newId();
  const startedAt = performance.now();
  const intent = { callId, instanceId: instance.id, userId: instance.userId, method: 'probe' } as const;
  await spool.intent(intent);
  const method = definition.credentials.methods.find(({ id }) => id === instance.credentialMethod);
  const timeoutMs =
    method === undefined || method.probe.type === 'none' ? probeMsMax : method.probe.timeoutMs;
  let outcome: ProbeOutcome;
  try {
    const terms = { instance, values, client: bridgeTerms, sessionId: null, preferredEra: 'legacy' } as const;
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
