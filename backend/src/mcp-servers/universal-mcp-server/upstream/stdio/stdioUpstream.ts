/**
 * MCP servers as child processes. Who may share a child is decided here: never two instances nor two credential
 * revisions (but for a service that declares one child for all), and within an instance only conversations that cannot
 * be asked anything by the server, since nobody could tell whom it asks (spec 04, "Sharing a stdio child").
 */
import { rmSync } from 'node:fs';
import { join } from 'node:path';
import type { ServiceDefinition } from '../../../../catalog/serviceDefinition.js';
import type { StdioDefinition } from '../../../../catalog/mcpServerDefinitions.js';
import type { ServiceMode } from '../../../../config/config.js';
import { AppError } from '../../../../errors/appError.js';
import type { Logger } from '../../../../telemetry/logger.js';
import { abortable } from '../../protocol/abortable.js';
import { legacyRevisions, type Era } from '../../protocol/revisions.js';
import type { ResolvedInstance } from '../../../../services/resolvedInstance.js';
import { LRUCache } from 'lru-cache';
import type {
  ClientTerms,
  ConnectionTerms,
  ProbeOutcome,
  Upstream,
  UpstreamConnection,
} from '../upstream.js';
import { probeByListing } from '../probeByListing.js';
import { createRequestBudget } from '../requestBudget.js';
import { createChildEras, type RememberedEras } from './childEras.js';
import { createChildPool, type ChildKey, type ChildPool } from './childPool.js';
import { openDataDir, toChildCommand, type CommandPlaces } from './childCommand.js';
import { lockDataDir } from './dataDirLock.js';
import type { ServiceIsolation } from './isolation/serviceIsolation.js';
import { startMcpChild, type McpChild } from './mcpChild.js';
import { orSaturated } from './outOfResources.js';
import { createOwnershipMarks } from './ownershipMark.js';

export interface StdioUpstreamOptions {
  readonly definition: ServiceDefinition;
  readonly mode: ServiceMode;
  readonly places: CommandPlaces & { readonly stateDir: string };
  readonly log: Logger;
  /** How its children are kept apart; found once, at start. */
  readonly isolation: ServiceIsolation;
  /** Where verdicts on the service's command are kept; absent: in memory. */
  readonly eras?: RememberedEras;
}

export interface StdioUpstream extends Upstream {
  readonly isolation: ServiceIsolation;
  /** Children by state, for the metrics. */
  counts(): ReturnType<ChildPool['counts']>;
  /** Kills what an earlier process of this service left behind; to be called once, at start. @returns how many. */
  sweepOrphans(): Promise<number>;
}

/** Far above what one instance may have under way; it only keeps a broken caller from filling the pipe. */
const inFlightMaxPerChild = 256;

export function createStdioUpstream(options: StdioUpstreamOptions): StdioUpstream {
  const { definition, mode, places, log, isolation: kept } = options;
  const { stdio } = definition;
  if (stdio === null) throw new AppError('CONFIG_INVALID', `${definition.name} is no stdio service`);
  const marks = createOwnershipMarks(places.stateDir, definition.name);
  const pool = createChildPool({
    childrenMax: stdio.maxProcesses,
    perUserMax: stdio.maxPerUser,
    idleTimeoutMs: stdio.idleTimeoutMs,
  });
  const isolation = mode === 'dynamic' && stdio.isolation === 'shared' ? 'per-instance' : stdio.isolation;
  let childCount = 0;
  const eras = createChildEras(stdio.protocol, options.eras ?? null);
  /** What instances became a moment ago, for calls that still come with what they were. */
  const revisions = new LRUCache<string, ResolvedInstance>({ max: 10_000, ttl: revisionMsMax });
  const takeRequest = createRequestBudget(definition.limits);

  const keepsFiles = usesDataDir(stdio) && isolation !== 'per-session';

  const startNow = async (
    terms: ConnectionTerms,
    isShared: boolean,
    directory: string,
    erasToTry: readonly Era[],
  ): Promise<McpChild> => {
    const { instance } = terms;
    const dataDir = openDataDir(places.instanceDataDir, directory);
    const owner = isolation === 'shared' ? `shared-${definition.name}` : instance.id;
    const command = toChildCommand(stdio, terms.values, { dataDir, owner }, places);
    const lock = keepsFiles ? await lockDataDir(dataDir, stdio.startupTimeoutMs) : null;
    try {
      const child = await startMcpChild({
        launch: kept.launch(command),
        mark: marks.markOf(++childCount),
        client: isShared ? sharedTerms : terms.client,
        eras: erasToTry,
        startupTimeoutMs: stdio.startupTimeoutMs,
        inFlightMax: inFlightMaxPerChild,
        responseBytesMax: definition.limits.maxResponseBytes,
        takeRequest,
        log: log.child({ instance: instance.id }),
      });
      void child.ended.then(() => lock?.release());
      return child;
    } catch (error) {
      lock?.release();
      throw error;
    }
  };

  const start: typeof startNow = async (...wish) => {
    try {
      return await startNow(...wish);
    } catch (error) {
      throw orSaturated(error);
    }
  };

  const connect = async (terms: ConnectionTerms, signal: AbortSignal) => {
    if (eras.choose(terms.preferredEra) === null) await eras.recall();
    signal.throwIfAborted();
    refuseOldRevision(terms.instance, revisions.get(terms.instance.id));
    // Two children must not write the same files, so a service that keeps some has one child for an instance, whatever
    // its clients declare; the server is told of no client capability then, and asks nothing.
    const { preferredEra } = terms;
    const isForAll = isolation === 'shared';
    const directory = isForAll ? `shared-${definition.name}` : terms.instance.id;
    const placeFor = (era: Era | null): { key: ChildKey; isShared: boolean } => {
      const isShared =
        isolation !== 'per-session' && (keepsFiles || era === 'modern' || !canBeAsked(terms.client));
      // A client finds its own era where the server speaks both, unless there can be one child only.
      const suffix = keepsFiles || isForAll ? '' : (era ?? `asked-in-${preferredEra}`);
      return { key: toKey(terms, isShared, isForAll, suffix), isShared };
    };
    const known = eras.choose(preferredEra);
    const { key, isShared } = placeFor(known);
    const child = await abortable(
      pool.get(key, () => start(terms, isShared, directory, eras.toTry(preferredEra))),
      signal,
    );
    // What a child asks names none of the requests that it has: there is one pipe.
    const joinChild = (one: McpChild): UpstreamConnection =>
      isShared ? one.connect() : Object.assign(one.connect(), { attribution: 'none' as const });
    if (known === child.era) return joinChild(child);
    eras.learn({ [child.era]: true, ...Object.fromEntries(child.refusedEras.map((era) => [era, false])) });
    const place = placeFor(child.era);
    // A child that was told of one client's capabilities stays that client's.
    if (place.isShared !== isShared) return joinChild(child);
    return joinChild(pool.file(key.key, place.key) ?? child);
  };

  return {
    isolation: kept,
    connect,
    async probe(terms, signal) {
      const { instance } = terms;
      const declared = definition.credentials.methods.find(
        ({ id }) => id === instance.credentialMethod,
      )?.probe;
      if (declared?.type === 'http') return await probeByHttp(definition, terms, signal);
      // A directory of its own: a probe must neither wait for the instance's child nor touch what it keeps.
      const name = `probe-${instance.id}-${++childCount}`;
      const revision = toRevision(instance);
      const key: ChildKey = { key: name, instanceId: instance.id, userId: instance.userId, revision };
      const connectOnce = async () => {
        const child = await abortable(
          pool.get(key, () => start(terms, true, name, eras.toTry(terms.preferredEra))),
          signal,
        );
        return child.connect();
      };
      try {
        return await probeByListing(connectOnce, signal);
      } finally {
        await pool.end((one) => one.key === name, new AppError('UPSTREAM_FAILED', 'the probe is over'));
        rmSync(join(places.instanceDataDir, name), { recursive: true, force: true });
      }
    },
    forget(instanceId, now) {
      if (now !== null) revisions.set(instanceId, now);
      const reason = new AppError('UPSTREAM_FAILED', 'the instance changed or was revoked');
      const current = now === null ? null : toRevision(now);
      void pool.end((key) => key.instanceId === instanceId && key.revision !== current, reason);
    },
    counts: () => pool.counts(),
    sweepOrphans: () => marks.sweepOrphans(),
    [Symbol.asyncDispose]: () => pool[Symbol.asyncDispose](),
  };
}

/** A service whose API tells faster than its server whether a key works. */
async function probeByHttp(
  { credentials }: ServiceDefinition,
  { instance, values }: ConnectionTerms,
  signal: AbortSignal,
): Promise<ProbeOutcome> {
  const { createHttpProber } = await import('../httpProbe.js');
  await using prober = createHttpProber({ credentials, userAgent: 'Portolan' });
  return await prober.probe(instance.credentialMethod, values, signal);
}

/** Whether the server could send requests to such a client, so that its child must be its own. */
function canBeAsked({ capabilities }: ClientTerms): boolean {
  return ['sampling', 'elicitation', 'roots'].some((name) => capabilities[name] !== undefined);
}

/** A child that several conversations share is initialized by none of them in particular. */
const sharedTerms: ClientTerms = {
  protocolVersion: legacyRevisions[0],
  capabilities: {},
  clientInfo: { name: 'portolan', version: '0.1.0' },
};

/** Longer than a call may carry the instance as it was resolved at its beginning, and a row may be kept. */
const revisionMsMax = 10_000;

/** No child is started with a credential that was replaced while the call was on its way. */
function refuseOldRevision(instance: ResolvedInstance, now: ResolvedInstance | undefined): void {
  if (now === undefined || toRevision(now) === toRevision(instance)) return;
  const isOld =
    instance.epoch < now.epoch ||
    instance.credentialRevision < now.credentialRevision ||
    instance.overridesRevision < now.overridesRevision;
  if (!isOld) return;
  throw new AppError('SERVICE_UNAVAILABLE', 'the instance changed while a call was on its way', {
    publicDetail: 'The settings of this instance changed a moment ago. Try again.',
    retryAfterSeconds: 1,
  });
}

function toRevision({ id, epoch, credentialRevision, overridesRevision }: ResolvedInstance): string {
  return `${id}/${epoch}/${credentialRevision}/${overridesRevision}`;
}

function toKey(
  { instance, sessionId }: ConnectionTerms,
  isShared: boolean,
  isForAll: boolean,
  suffix: string,
): ChildKey {
  if (isShared && isForAll) return { key: 'shared', instanceId: null, userId: null, revision: null };
  const { id, userId } = instance;
  const revision = toRevision(instance);
  const key = `${revision}/${suffix}${isShared ? '' : `/${sessionId ?? 'requests'}`}`;
  return { key, instanceId: id, userId, revision };
}

function usesDataDir({ env, args }: StdioDefinition): boolean {
  return [...Object.values(env), ...args].some(
    (value) => typeof value !== 'string' && value.source === 'instance',
  );
}
