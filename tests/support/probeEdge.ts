/**
 * The internal endpoint of a service process, for tests of the main API: real HTTP on the loopback, the real check of the
 * caller's signature, the real database role of a service process and the real opening of what was staged. What stands in
 * for the world outside is the answer of the "real service", which goes by the credential:
 *
 *   good-<name> is accepted as <name>, anything else is rejected; `behave` says otherwise.
 */
import { once } from 'node:events';
import { createServer, type IncomingMessage } from 'node:http';
import type { AddressInfo } from 'node:net';
import type { ServiceDefinition } from '../../backend/src/catalog/serviceDefinition.js';
import { createCredentialOpener } from '../../backend/src/services/credentialOpener.js';
import { createInstanceLookup } from '../../backend/src/services/instanceLookup.js';
import type { ChangeSource, SealedInstance } from '../../backend/src/services/instanceResolver.js';
import { verifyInternalCall } from '../../backend/src/services/internalCalls.js';
import type { VerificationKeys } from '../../backend/src/services/jwtKeys.js';
import type { ProbeAnswer } from '../../backend/src/services/probeClient.js';
import { readSystemDataKeys } from '../../backend/src/stores/serviceSettingsStore.js';
import type { Installation } from './installation.js';

export interface SeenProbe {
  readonly instanceId: string;
  readonly staged: boolean;
  readonly fields: ReadonlyMap<string, string>;
}

export interface ProbeEdge extends AsyncDisposable {
  readonly port: number;
  readonly seen: readonly SeenProbe[];
  /** How the service answers from now on. */
  behave(answer: (probe: SeenProbe) => Promise<ProbeAnswer> | ProbeAnswer): void;
}

const neverUp: ChangeSource = { isUp: false, onChange: () => () => undefined };

export async function startProbeEdge(
  site: Installation,
  keys: VerificationKeys,
  getDefinition: () => ServiceDefinition,
): Promise<ProbeEdge> {
  const pool = site.db.pool('service');
  const seen: SeenProbe[] = [];
  let behaviour: (probe: SeenProbe) => Promise<ProbeAnswer> | ProbeAnswer = byCredential;

  const answer = async (request: IncomingMessage): Promise<{ status: number; body: unknown }> => {
    const definition = getDefinition();
    const [, kind, id] = /^\/internal\/v1\/([a-z-]+)\/([0-9a-f-]{36})\/probe$/.exec(request.url ?? '') ?? [];
    const bearer = request.headers.authorization?.replace('Bearer ', '') ?? '';
    const { instanceId } = verifyInternalCall(keys, bearer, definition.name);
    if (id !== instanceId || request.method !== 'POST') return { status: 404, body: {} };
    const body = JSON.parse(await readText(request)) as ProbeBody;
    const { staged = false } = body;
    const lookup = createInstanceLookup(pool, definition.credentials.scope);
    const sealed =
      kind === 'instances'
        ? await lookup.byId(instanceId, definition.name, { staged })
        : toCandidate(instanceId, definition.name, body, await readSystemDataKeys(pool));
    if (sealed === null) return { status: 404, body: {} };
    const probe = { instanceId, staged, fields: openFields(site, definition, sealed) };
    seen.push(probe);
    return { status: 200, body: await behaviour(probe) };
  };

  const server = createServer((request, response) => {
    const send = ({ status, body }: { status: number; body: unknown }): void =>
      void response.writeHead(status, { 'content-type': 'application/json' }).end(JSON.stringify(body));
    answer(request).then(send, () => send({ status: 401, body: {} }));
  });
  server.listen(0, '127.0.0.1');
  await once(server, 'listening');
  return {
    port: (server.address() as AddressInfo).port,
    seen,
    behave: (next) => void (behaviour = next),
    async [Symbol.asyncDispose]() {
      server.closeAllConnections();
      server.close();
      await once(server, 'close');
    },
  };
}

/** What the main API tells: whether the staged one is meant, or the whole of a credential to share. */
interface ProbeBody {
  readonly staged?: boolean;
  readonly method?: string;
  readonly revision?: number;
  readonly sealed?: string;
  readonly userId?: string;
}

function toCandidate(
  id: string,
  service: string,
  { method, revision, sealed, userId }: ProbeBody,
  dataKeys: Awaited<ReturnType<typeof readSystemDataKeys>>,
): SealedInstance {
  return {
    id,
    userId: userId ?? '',
    service,
    label: 'shared',
    epoch: 0,
    state: 'checking',
    isActive: true,
    endsAtMs: Infinity,
    accessMode: 'url',
    isFrom: null,
    credentialMethod: method ?? null,
    credentialRevision: revision ?? 0,
    sealedCredential: Buffer.from(sealed ?? '', 'base64'),
    overridesRevision: 0,
    sealedOverrides: null,
    dataKeys: [],
    sharedRow: { id, dataKeys },
  };
}

function byCredential({ fields }: SeenProbe): ProbeAnswer {
  const key = fields.get('token');
  if (key === undefined) return { outcome: 'accepted' };
  const name = /^good-(.+)$/.exec(key)?.[1];
  return name === undefined
    ? { outcome: 'rejected', reason: 'Notes did not accept this key. Check that it was copied whole.' }
    : { outcome: 'accepted', identity: { id: '7', label: name } };
}

function openFields(
  site: Installation,
  definition: ServiceDefinition,
  sealed: SealedInstance,
): ReadonlyMap<string, string> {
  using opener = createCredentialOpener({ definition, vault: site.vault, changes: neverUp });
  return opener.openOnce(sealed).fields;
}

async function readText(request: IncomingMessage): Promise<string> {
  const chunks: Buffer[] = [];
  for await (const chunk of request) chunks.push(chunk as Buffer);
  return Buffer.concat(chunks).toString('utf8');
}
