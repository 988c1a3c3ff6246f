/**
 * Session ids of the legacy era: sealed, so that nothing has to be stored for an idle session, any process of the service
 * can take it up, and nobody else can use it (12.18). What `initialize` settled is in the id itself.
 */
import type { KeyObject } from 'node:crypto';
import { isJsonObject } from '../protocol/jsonRpc.js';
import type { ClientTerms } from '../upstream/upstream.js';
import { openState, sealState } from '../../../vault/sealedState.js';

export interface SettledSession {
  /** Names the session in the journal and to the upstream. */
  readonly uuid: string;
  readonly client: ClientTerms;
  /** Milliseconds since the epoch. */
  readonly createdAt: number;
  /** What the pass-through opened for it; absent where the upstream has yet to be joined, or is joined underneath. */
  readonly upstream?: UpstreamSession;
}

/** A session that an upstream keeps for one of ours. */
export interface UpstreamSession {
  /** Null for an upstream that keeps none. */
  readonly id: string | null;
  /** Under which credential and settings it was opened; under others it is void. */
  readonly revision: string;
}

/** Whose session it is; a session of an older epoch is void. */
export interface SessionBinding {
  readonly service: string;
  readonly instanceId: string;
  readonly epoch: number;
}

/** Beyond this a client has to initialize anew. */
export const sessionAgeMsMax = 7 * 24 * 60 * 60_000;
/** What a client says of itself is carried in a header, which has room for 16 KiB in all. */
const clientInfoBytesMax = 1_024;
const capabilitiesBytesMax = 2_048;
const purpose = 'session';
const renewedPurpose = 'session-renewed';

export function sealSession(
  kState: KeyObject,
  session: SettledSession,
  binding: SessionBinding,
  randomBytes: (size: number) => Buffer,
): string {
  const { uuid, client, createdAt, upstream } = session;
  const payload = {
    s: uuid,
    v: client.protocolVersion,
    c: client.capabilities,
    n: client.clientInfo,
    t: createdAt,
    ...(upstream === undefined ? {} : { u: upstream.id, r: upstream.revision }),
  };
  return sealState(kState, purpose, Buffer.from(JSON.stringify(payload)), toBindings(binding), randomBytes);
}

/** Null for what is garbled, foreign, of another epoch or too old. */
export function openSession(
  kState: KeyObject,
  text: string,
  binding: SessionBinding,
  now: number,
): SettledSession | null {
  const payload = openState(kState, purpose, text, toBindings(binding));
  if (payload === null) return null;
  const { s, v, c, n, t, u, r }: Record<string, unknown> = JSON.parse(payload.toString('utf8'));
  if (typeof s !== 'string' || typeof v !== 'string' || typeof t !== 'number') return null;
  if (!isJsonObject(c) || !isJsonObject(n) || now - t > sessionAgeMsMax) return null;
  const client = { protocolVersion: v, capabilities: c, clientInfo: n };
  if (typeof r !== 'string') return { uuid: s, client, createdAt: t };
  return { uuid: s, client, createdAt: t, upstream: { id: typeof u === 'string' ? u : null, revision: r } };
}

/** For the journal: the upstream's session that stands in the place of the one in a session's id. */
export function sealUpstream(
  kState: KeyObject,
  session: string,
  { id, revision }: UpstreamSession,
  binding: SessionBinding,
  randomBytes: (size: number) => Buffer,
): string {
  const payload = Buffer.from(JSON.stringify({ u: id, r: revision }));
  return sealState(kState, renewedPurpose, payload, [session, ...toBindings(binding)], randomBytes);
}

export function openUpstream(
  kState: KeyObject,
  session: string,
  text: string,
  binding: SessionBinding,
): UpstreamSession | null {
  const payload = openState(kState, renewedPurpose, text, [session, ...toBindings(binding)]);
  if (payload === null) return null;
  const { u, r }: Record<string, unknown> = JSON.parse(payload.toString('utf8'));
  return typeof r === 'string' ? { id: typeof u === 'string' ? u : null, revision: r } : null;
}

/** What of the client's own words fits into an id: too long ones are shortened to what decides something. */
export function toClientTerms(
  protocolVersion: string,
  params: Readonly<Record<string, unknown>>,
): ClientTerms {
  const { capabilities, clientInfo } = params;
  const info = isJsonObject(clientInfo) ? clientInfo : {};
  const declared = isJsonObject(capabilities) ? capabilities : {};
  const { name = 'unknown', version = '0' } = info;
  return {
    protocolVersion,
    capabilities:
      JSON.stringify(declared).length <= capabilitiesBytesMax
        ? declared
        : Object.fromEntries(
            ['sampling', 'elicitation', 'roots'].filter((one) => one in declared).map((one) => [one, {}]),
          ),
    clientInfo:
      JSON.stringify(info).length <= clientInfoBytesMax
        ? info
        : { name: String(name).slice(0, 128), version: String(version).slice(0, 64) },
  };
}

function toBindings({ service, instanceId, epoch }: SessionBinding): string[] {
  return [service, instanceId, String(epoch)];
}
