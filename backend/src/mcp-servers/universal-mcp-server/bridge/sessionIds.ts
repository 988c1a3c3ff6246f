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

export function sealSession(
  kState: KeyObject,
  session: SettledSession,
  binding: SessionBinding,
  randomBytes: (size: number) => Buffer,
): string {
  const { uuid, client, createdAt } = session;
  const payload = {
    s: uuid,
    v: client.protocolVersion,
    c: client.capabilities,
    n: client.clientInfo,
    t: createdAt,
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
  const { s, v, c, n, t }: Record<string, unknown> = JSON.parse(payload.toString('utf8'));
  if (typeof s !== 'string' || typeof v !== 'string' || typeof t !== 'number') return null;
  if (!isJsonObject(c) || !isJsonObject(n) || now - t > sessionAgeMsMax) return null;
  return { uuid: s, client: { protocolVersion: v, capabilities: c, clientInfo: n }, createdAt: t };
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
