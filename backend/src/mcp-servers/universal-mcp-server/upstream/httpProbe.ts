/**
 * Checks a credential with the request that its method declares, before it is stored (03 rule 6). It serves every kind
 * of upstream: a stdio service may have a REST API that tells faster whether a key works.
 */
import type { CredentialMethod, CredentialPolicy, HttpProbe } from '../../../catalog/serviceDefinition.js';
import { renderValue } from '../../../catalog/template.js';
import { createEgressClient, type EgressClient } from '../../../egress/egressClient.js';
import type { EgressResponse } from '../../../egress/egressCall.js';
import type { ResolveHost } from '../../../egress/guardedConnector.js';
import { AppError } from '../../../errors/appError.js';
import type { CredentialValues } from '../../../services/credentialValues.js';
import { encodeBody, renderBody } from './bodyTemplate.js';
import { followPointer, parseJsonPointer } from '../../../catalog/jsonPointer.js';
import type { ProbeIdentity, ProbeOutcome } from './upstream.js';

export interface HttpProber extends AsyncDisposable {
  /**
   * Sends the probe of that method. A method without an HTTP probe is `unverified`; so is an unknown one.
   * Aborting rejects with the signal's reason; nothing else is thrown.
   */
  probe(methodId: string | null, values: CredentialValues, signal: AbortSignal): Promise<ProbeOutcome>;
}

const answerBytesMax = 1_048_576;
const identityLengthMax = 200;

export function createHttpProber(options: {
  readonly credentials: Pick<CredentialPolicy, 'methods'>;
  readonly userAgent: string;
  readonly resolveHost?: ResolveHost;
}): HttpProber {
  const { credentials, userAgent, resolveHost } = options;
  const clients = new Map<CredentialMethod, EgressClient>();
  const clientFor = (method: CredentialMethod, probe: HttpProbe): EgressClient => {
    let client = clients.get(method);
    if (client === undefined) {
      const network = resolveHost === undefined ? {} : { resolveHost };
      client = createEgressClient({ rules: probe.egress, connections: 4, requestsMax: 64, ...network });
      clients.set(method, client);
    }
    return client;
  };

  return {
    async probe(methodId, values, signal) {
      const method = credentials.methods.find(({ id }) => id === methodId);
      if (method?.probe.type !== 'http') return { outcome: 'unverified' };
      const { probe } = method;
      try {
        const response = await sendProbe(clientFor(method, probe), probe, values, userAgent, signal);
        return judgeAnswer(probe, response);
      } catch (error) {
        if (error instanceof AppError) return toUnsentOutcome(error);
        throw error;
      }
    },
    async [Symbol.asyncDispose]() {
      await Promise.all([...clients.values()].map((client) => client[Symbol.asyncDispose]()));
      clients.clear();
    },
  };
}

function sendProbe(
  client: EgressClient,
  probe: HttpProbe,
  values: CredentialValues,
  userAgent: string,
  signal: AbortSignal,
): Promise<EgressResponse> {
  const { request } = probe;
  const destination = client.parse(renderValue(request.url, values, 'url') ?? '');
  const headers = ['user-agent', userAgent];
  for (const [name, value] of Object.entries(request.headers)) {
    const text = renderValue(value, values, 'header');
    if (text !== null) headers.push(name, text);
  }
  const sets = (wanted: string): boolean =>
    Object.keys(request.headers).some((name) => name.toLowerCase() === wanted);
  if (!sets('accept')) headers.push('accept', 'application/json');
  const body = request.body === undefined ? undefined : renderBody(request.body, values, {});
  if (body !== undefined && !sets('content-type')) headers.push('content-type', 'application/json');
  return client.send(
    {
      method: request.method,
      destination,
      target: destination.pathname + destination.search,
      headers,
      body: body === undefined ? null : encodeBody(body, 'application/json'),
      maxBytes: answerBytesMax,
      totalTimeoutMs: probe.timeoutMs,
    },
    signal,
  );
}

/** Too many requests and faults of the service say nothing about the credential; any other refusal does. */
function judgeAnswer(probe: HttpProbe, { status, body }: EgressResponse): ProbeOutcome {
  const words = probe.reject[String(status)];
  if (words !== undefined) return { outcome: 'rejected', reason: words };
  const { expect } = probe;
  if (!expect.status.includes(status)) {
    return status === 429 || status >= 500
      ? { outcome: 'unreachable', reason: `The service answered with status ${status}. Try again later.` }
      : { outcome: 'rejected', reason: `The service did not accept the credential (status ${status}).` };
  }
  const document = parseJson(body);
  if (expect.jsonPointer !== null) {
    const found = followPointer(document, parseJsonPointer(expect.jsonPointer));
    if (JSON.stringify(found) !== JSON.stringify(expect.equals)) {
      return { outcome: 'rejected', reason: 'The service did not accept the credential.' };
    }
  }
  const identity = readIdentity(probe, document);
  return identity === null ? { outcome: 'accepted' } : { outcome: 'accepted', identity };
}

function readIdentity({ identity }: HttpProbe, document: unknown): ProbeIdentity | null {
  const read = (pointer: string | null): string | null => {
    if (pointer === null) return null;
    const found = followPointer(document, parseJsonPointer(pointer));
    return typeof found === 'string' || typeof found === 'number'
      ? String(found).slice(0, identityLengthMax)
      : null;
  };
  const id = read(identity.id);
  const label = read(identity.label);
  const avatarUrl = read(identity.avatarUrl);
  const found: ProbeIdentity = {
    ...(id === null ? {} : { id }),
    ...(label === null ? {} : { label }),
    ...(avatarUrl !== null && avatarUrl.startsWith('https://') ? { avatarUrl } : {}),
  };
  return Object.keys(found).length === 0 ? null : found;
}

/** Nothing came back: either the credential cannot even be sent, or the service was not reached. */
function toUnsentOutcome(error: AppError): ProbeOutcome {
  const reason = error.options.publicDetail ?? error.form.title;
  const isTheCredential = error.code === 'INVALID_REQUEST' || error.code === 'CREDENTIAL_MISSING';
  return { outcome: isTheCredential ? 'rejected' : 'unreachable', reason };
}

function parseJson(body: Buffer): unknown {
  try {
    return JSON.parse(body.toString('utf8'));
  } catch {
    return undefined;
  }
}
