/**
 * Kinds `streamable-http` and `sse`: MCP servers at a URL (rows U03, U04, U08). Which era is spoken follows the client
 * where the server speaks both; who shares a session with it is decided here: never two instances nor two
 * credentials (an access token that was renewed is the same one), and within an instance only where the file says so and nobody can be asked anything by the server.
 */
import { readFileSync } from 'node:fs';
import { LRUCache } from 'lru-cache';
import type { ServiceDefinition } from '../../../../catalog/serviceDefinition.js';
import { createEgressStreams } from '../../../../egress/egressStream.js';
import type { ResolveHost } from '../../../../egress/guardedConnector.js';
import { AppError } from '../../../../errors/appError.js';
import type { MayGoOn } from '../../../../services/oauth/sameGrant.js';
import type { Logger } from '../../../../telemetry/logger.js';
import { createCredentialRecheck, saysForbiddenOnly } from '../credentialRecheck.js';
import type { AuditUse } from '../credentialUses.js';
import type { CredentialRenewal } from '../credentialRenewal.js';
import type { Circuits } from '../circuits.js';
import type { EraKeys } from '../eraKeys.js';
import type { EraRegistry } from '../eraRegistry.js';
import { createHttpProber } from '../httpProbe.js';
import { probeByListing } from '../probeByListing.js';
import { createRequestBudget } from '../requestBudget.js';
import { createStateNotes, type StateNote } from '../stateNotes.js';
import { connectOwner } from '../stdio/childConnection.js';
import type {
  ClientTerms,
  ConnectionTerms,
  ProbeOutcome,
  Upstream,
  UpstreamConnection,
} from '../upstream.js';
import { connectModern, discover, type ModernConnection, type ModernKnowledge } from './modernConnection.js';
import { goOnAs, ownerOf } from './messageOwners.js';
import { ownTerms } from './ownTerms.js';
import { createRawUpstream } from './createRawUpstream.js';
import type { MessageOwner } from './rawCall.js';
import type { OpenValues, RawUpstream } from './rawUpstream.js';
import { createRemoteEras, type RemoteEras, type SpokenEra } from './remoteEras.js';
import type { RemoteParts } from './remoteParts.js';
import { createRemoteTargets, userAgent } from './remoteTarget.js';
import { WrongEra } from './serverTerms.js';
import { SessionPool, toRevision, type RemoteSession } from './sessionPool.js';
import { SseSession } from './sseSession.js';
import { StreamableSession } from './streamableSession.js';

export interface RemoteUpstreamOptions {
  /** Of kind `streamable-http` or `sse`. */
  readonly definition: ServiceDefinition;
  readonly openValues: OpenValues;
  readonly mayGoOn: MayGoOn;
  readonly eras: EraRegistry;
  readonly eraKeys: EraKeys;
  readonly circuits: Circuits;
  /** Hears what calls show about instances; it must not throw. */
  readonly recordState: (note: StateNote) => void;
  readonly renewal: CredentialRenewal | null;
  readonly auditUse: AuditUse;
  readonly log: Logger;
  /** The operating system's resolver unless a test says otherwise. */
  readonly resolveHost?: ResolveHost;
}

export interface RemoteUpstream extends Upstream {
  /** Null where bytes cannot be passed: over HTTP+SSE. */
  readonly raw: RawUpstream | null;
  /** What is held and under way, for the metrics. */
  counts(): { readonly sessions: number; readonly calls: number; readonly streams: number };
}

const knowledgeMs = 300_000;

/** @throws AppError CONFIG_INVALID when the definition is of another kind or its `caFile` cannot be read. */
export function createRemoteUpstream(options: RemoteUpstreamOptions): RemoteUpstream {
  const { definition, resolveHost, renewal, log } = options;
  const { remote, credentials } = definition;
  if (remote === null) throw new AppError('CONFIG_INVALID', 'the service is of no remote kind');
  const network = resolveHost === undefined ? {} : { resolveHost };
  const ca = remote.caFile === null ? {} : { ca: readCa(remote.caFile) };
  const streams = createEgressStreams({ rules: remote.egress, ...network, ...ca });
  if (typeof remote.url === 'string') streams.parse(remote.url);
  const prober = createHttpProber({ credentials, userAgent, ...network });
  const probeDeclared = (
    { instance, values }: Pick<ConnectionTerms, 'instance' | 'values'>,
    signal: AbortSignal,
  ): Promise<ProbeOutcome> => prober.probe(instance.credentialMethod, values, signal);
  const parts: RemoteParts = {
    definition,
    remote,
    streams,
    toTarget: createRemoteTargets(remote, (url) => streams.parse(url)),
    openValues: options.openValues,
    eras: options.eras,
    eraKeys: options.eraKeys,
    circuits: options.circuits,
    doubtEra: (owner, target) => eras.doubt(owner, target),
    notes: createStateNotes(options.recordState),
    takeRequest: createRequestBudget(definition.limits),
    renewal,
    auditUse: options.auditUse,
    isStillAccepted: saysForbiddenOnly(definition) ? createCredentialRecheck(probeDeclared) : null,
    log,
  };
  const eras = createRemoteEras(parts);
  const sessions = new SessionPool(remote.session === 'per-instance');
  const knowledge = new LRUCache<string, ModernKnowledge>({ max: 5_000, ttl: knowledgeMs });
  const modern = new Map<ModernConnection, MessageOwner>();

  const open = async (
    spoken: SpokenEra,
    { client }: Pick<ConnectionTerms, 'client'>,
    owner: MessageOwner,
    signal: AbortSignal,
  ): Promise<UpstreamConnection> => {
    if (spoken.era === 'modern') {
      const key = toRevision(owner.instance);
      const known = knowledge.get(key) ?? (await discover(parts, owner, signal));
      knowledge.set(key, known);
      const connection = connectModern(parts, owner, known, () => void modern.delete(connection));
      modern.set(connection, owner);
      return connection;
    }
    const Session = spoken.transport === 'sse' ? SseSession : StreamableSession;
    const begin = (terms: ClientTerms, until: AbortSignal): Promise<RemoteSession> =>
      Session.begin(parts, owner, terms, until);
    const { session, leave } = await sessions.join({ owner, client, begin }, signal);
    return connectSession(session, leave);
  };

  /** What the registry remembers may be of yesterday: a server that speaks otherwise now is asked anew, once. */
  const openInEra = async (
    terms: Pick<ConnectionTerms, 'client' | 'preferredEra'>,
    owner: MessageOwner,
    signal: AbortSignal,
  ): Promise<UpstreamConnection> => {
    const spoken = await eras.find(owner, terms.preferredEra, signal);
    try {
      return await open(spoken, terms, owner, signal);
    } catch (error) {
      if (!(error instanceof WrongEra) || !(await eras.refute(owner))) throw error;
      return await open(await eras.find(owner, terms.preferredEra, signal), terms, owner, signal);
    }
  };

  return {
    raw: definition.kind === 'sse' || remote.fallbackSse ? null : createRawUpstream(parts, eras),
    connect: (terms, signal) => openInEra(terms, ownerOf(terms), signal),
    async probe(terms, signal) {
      const declared = credentials.methods.find(({ id }) => id === terms.instance.credentialMethod)?.probe;
      if (declared?.type === 'http') return await probeDeclared(terms, signal);
      // With the very values that are probed, and nothing is noted of an instance whose credential is not in use yet.
      return await probeOnce(parts, eras, terms, signal);
    },
    forget(instanceId, now) {
      const reason = new AppError('UPSTREAM_FAILED', 'the instance changed or was revoked');
      sessions.forget(instanceId, now, options.mayGoOn, reason);
      for (const [connection, owner] of Array.from(modern)) {
        if (owner.instance.id !== instanceId || goOnAs(owner, now, options.mayGoOn)) continue;
        connection.close(reason);
      }
      for (const key of Array.from(knowledge.keys()))
        if (key.startsWith(instanceId) && (now === null || key !== toRevision(now))) knowledge.delete(key);
    },
    counts: () => ({ sessions: sessions.size, ...streams.counts() }),
    async [Symbol.asyncDispose]() {
      const reason = new AppError('SERVICE_UNAVAILABLE', 'the service is stopping');
      for (const connection of Array.from(modern.keys())) connection.close(reason);
      await sessions.close(reason);
      await Promise.all([streams[Symbol.asyncDispose](), prober[Symbol.asyncDispose]()]);
    },
  };
}

/** One conversation's part of a session that it may share. */
function connectSession(session: RemoteSession, leave: () => void): UpstreamConnection {
  // Each message is counted as it leaves.
  const connection = connectOwner(session, session.server, () => {});
  return {
    era: connection.era,
    server: connection.server,
    attribution: session instanceof SseSession ? 'none' : 'exact',
    get isLost() {
      return session.isClosed;
    },
    request: (request, listener, signal) => connection.request(request, listener, signal),
    notify: (notification) => connection.notify(notification),
    listen(listener) {
      session.listen();
      return connection.listen(listener);
    },
    release() {
      connection.release();
      leave();
    },
  };
}

/** The probe of services that declare none: the server is joined and lists its tools (12.10). */
async function probeOnce(
  parts: RemoteParts,
  eras: RemoteEras,
  { instance, values }: ConnectionTerms,
  signal: AbortSignal,
): Promise<ProbeOutcome> {
  const owner: MessageOwner = { instance, values };
  const silent = { ...parts, renewal: null, notes: { noteReady() {}, noteRefused() {} } };
  let session: RemoteSession | null = null;
  const connect = async (): Promise<UpstreamConnection> => {
    const spoken = await eras.find(owner, 'legacy', signal);
    if (spoken.era === 'modern')
      return connectModern(silent, owner, await discover(silent, owner, signal), () => {});
    const Session = spoken.transport === 'sse' ? SseSession : StreamableSession;
    session = await Session.begin(silent, owner, ownTerms, signal);
    return connectSession(session, () => {});
  };
  try {
    return await probeByListing(connect, signal);
  } finally {
    const opened = session as RemoteSession | null;
    await opened?.close(new AppError('UPSTREAM_FAILED', 'the probe is over'));
  }
}

function readCa(path: string): string {
  try {
    return readFileSync(path, 'utf8');
  } catch (error) {
    throw new AppError('CONFIG_INVALID', `remote.tls.caFile cannot be read`, { cause: error });
  }
}
