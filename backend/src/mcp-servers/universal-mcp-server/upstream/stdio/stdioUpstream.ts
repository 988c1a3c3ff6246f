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
import { legacyRevisions } from '../../protocol/revisions.js';
import type { ClientTerms, ConnectionTerms, ProbeOutcome, Upstream } from '../upstream.js';
import { probeByListing } from '../probeByListing.js';
import { createRequestBudget } from '../requestBudget.js';
import { createChildPool, type ChildKey, type ChildPool } from './childPool.js';
import { openDataDir, toChildCommand, type CommandPlaces } from './childCommand.js';
import { lockDataDir } from './dataDirLock.js';
import { startMcpChild, type McpChild } from './mcpChild.js';
import { createOwnershipMarks } from './ownershipMark.js';

export interface StdioUpstreamOptions {
  readonly definition: ServiceDefinition;
  readonly mode: ServiceMode;
  readonly places: CommandPlaces & { readonly stateDir: string };
  readonly log: Logger;
}

export interface StdioUpstream extends Upstream {
  /** Children by state, for the metrics. */
  counts(): ReturnType<ChildPool['counts']>;
  /** Kills what an earlier process of this service left behind; to be called once, at start. @returns how many. */
  sweepOrphans(): Promise<number>;
}

/** Far above what one instance may have under way; it only keeps a broken caller from filling the pipe. */
const inFlightMaxPerChild = 256;

export function createStdioUpstream(options: StdioUpstreamOptions): StdioUpstream {
  const { definition, mode, places, log } = options;
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
  const takeRequest = createRequestBudget(definition.limits);

  const keepsFiles = usesDataDir(stdio) && isolation !== 'per-session';

  const start = async (terms: ConnectionTerms, isShared: boolean, directory: string): Promise<McpChild> => {
    const { instance } = terms;
    const dataDir = openDataDir(places.instanceDataDir, directory);
    const command = toChildCommand(stdio, terms.values, dataDir, places);
    const lock = keepsFiles ? await lockDataDir(dataDir, stdio.startupTimeoutMs) : null;
    try {
      const child = await startMcpChild({
        command,
        mark: marks.markOf(++childCount),
        client: isShared ? sharedTerms : terms.client,
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

  const connect = async (terms: ConnectionTerms, signal: AbortSignal) => {
    if (stdio.protocol === 'modern') {
      throw new AppError('UPSTREAM_FAILED', `${definition.name} asks for a modern stdio upstream`, {
        publicDetail: 'A server that speaks only revision 2026-07-28 over stdio is not supported yet.',
      });
    }
    // Two children must not write the same files, so a service that keeps some has one child for an instance, whatever
    // its clients declare; the server is told of no client capability then, and asks nothing.
    const isShared = isolation !== 'per-session' && (keepsFiles || !canBeAsked(terms.client));
    const key = toKey(terms, isShared, isolation === 'shared');
    const directory = isolation === 'shared' ? `shared-${definition.name}` : terms.instance.id;
    const child = await abortable(
      pool.get(key, () => start(terms, isShared, directory)),
      signal,
    );
    return child.connect();
  };

  return {
    connect,
    async probe(terms, signal) {
      const { instance } = terms;
      const declared = definition.credentials.methods.find(
        ({ id }) => id === instance.credentialMethod,
      )?.probe;
      if (declared?.type === 'http') return await probeByHttp(definition, terms, signal);
      // A directory of its own: a probe must neither wait for the instance's child nor touch what it keeps.
      const name = `probe-${instance.id}-${++childCount}`;
      const key: ChildKey = { key: name, instanceId: instance.id, userId: instance.userId };
      const connectOnce = async () => {
        const child = await abortable(
          pool.get(key, () => start(terms, true, name)),
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
    forget(instanceId) {
      const reason = new AppError('UPSTREAM_FAILED', 'the instance changed or was revoked');
      void pool.end((key) => key.instanceId === instanceId, reason);
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

function toKey({ instance, sessionId }: ConnectionTerms, isShared: boolean, isForAll: boolean): ChildKey {
  if (isShared && isForAll) return { key: 'shared', instanceId: null, userId: null };
  const { id, epoch, userId, credentialRevision, overridesRevision } = instance;
  const revision = `${id}/${epoch}/${credentialRevision}/${overridesRevision}`;
  const key = isShared ? revision : `${revision}/${sessionId ?? 'requests'}`;
  return { key, instanceId: id, userId };
}

function usesDataDir({ env, args }: StdioDefinition): boolean {
  return [...Object.values(env), ...args].some(
    (value) => typeof value !== 'string' && value.source === 'instance',
  );
}
