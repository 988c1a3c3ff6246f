/**
 * What an admin does about the tools of a service whose definitions are pinned (decision 0016): sees which wait, reads what
 * differs, approves or rejects. Each decision is about a digest, so that nothing is approved that was not read.
 */
import { withUser } from '../../database/withUser.js';
import { AppError } from '../../errors/appError.js';
import {
  decideTool,
  findBaselineTime,
  findToolSightings,
  listToolSightings,
  type DefinedSighting,
  type ToolPinState,
  type ToolSighting,
} from '../../stores/toolPinsStore.js';
import { recordActorChange, type Actor } from '../changeAudit.js';
import { getVisibleService, type InstanceParts } from '../instanceManager/instanceParts.js';
import { toDefinitionDifference, type FieldDifference } from './definitionDifference.js';

export interface DefinitionView {
  readonly digest: string;
  readonly state: ToolPinState;
  /** Trusted on first use, decided by an admin, or not decided. */
  readonly origin: 'first-use' | 'admin' | null;
  readonly isNew: boolean;
  readonly firstSeenAt: string;
  readonly seenAt: string;
  readonly decidedBy: string | null;
  readonly decidedAt: string | null;
}

export interface PinnedToolView {
  readonly tool: string;
  /** `changed` and `new` wait for an admin; `changed` has another definition that is approved. */
  readonly state: 'approved' | 'changed' | 'new' | 'rejected';
  /** The newest first. */
  readonly definitions: readonly DefinitionView[];
}

export interface PinnedToolsView {
  readonly serviceType: string;
  /** Whether the service's file says `toolPolicy.pinDescriptions`; without it nothing here has an effect. */
  readonly isPinned: boolean;
  readonly newTools: 'quarantine' | 'approve';
  /** When the first list was trusted; null before there was one. */
  readonly pinnedSince: string | null;
  readonly waiting: number;
  readonly tools: readonly PinnedToolView[];
}

export interface ChangeView extends DefinitionView {
  /** The approved definition that it is compared with; null where none is. */
  readonly comparedWith: string | null;
  readonly differences: readonly FieldDifference[];
}

export interface ToolChangesView extends PinnedToolView {
  readonly serviceType: string;
  /** Of all that wait, the newest first. */
  readonly changes: readonly ChangeView[];
}

export interface ToolReviews {
  /** @throws AppError SERVICE_UNKNOWN */
  list(actor: Actor, service: string): Promise<PinnedToolsView>;
  /** @throws AppError SERVICE_UNKNOWN, NOT_FOUND */
  changes(actor: Actor, service: string, tool: string): Promise<ToolChangesView>;
  /**
   * Approves what was seen: the newest that waits, or one that was rejected.
   * @throws AppError SERVICE_UNKNOWN, NOT_FOUND, VERSION_CONFLICT when it changed or was decided meanwhile.
   */
  approve(actor: Actor, service: string, tool: string, digest: string): Promise<PinnedToolView>;
  /**
   * Rejects it, or takes an approval back; it is shown and called no more.
   * @throws AppError SERVICE_UNKNOWN, NOT_FOUND, VERSION_CONFLICT when it is rejected already.
   */
  reject(actor: Actor, service: string, tool: string, digest: string): Promise<PinnedToolView>;
}

/** How many of what waits is compared for one answer. */
const comparedMax = 20;

export function createToolReviews(parts: Pick<InstanceParts, 'pool' | 'registry'>): ToolReviews {
  const asAdmin = <T>({ userId }: Actor, work: Parameters<typeof withUser<T>>[2]): Promise<T> =>
    withUser(parts.pool, { userId, scope: 'admin' }, work);

  const decide = (
    actor: Actor,
    service: string,
    tool: string,
    digest: string,
    state: 'approved' | 'rejected',
  ): Promise<PinnedToolView> => {
    getVisibleService(parts, service, actor);
    return asAdmin(actor, async (db) => {
      const before = await findToolSightings(db, { service, tool }, { forUpdate: true });
      const seen = before.find((one) => one.digest === digest);
      if (seen === undefined) throw noTool(service);
      requireDecidable(before, seen, state);
      await decideTool(db, { service, tool, digest, state, decidedBy: actor.userId });
      await recordActorChange(db, actor, {
        action: `tool.${state}`,
        target: { kind: 'tool', id: tool },
        service,
        details: { digest, before: seen.state },
      });
      return toToolView(tool, await findToolSightings(db, { service, tool }));
    });
  };

  return {
    async list(actor, service) {
      const { toolPolicy } = getVisibleService(parts, service, actor);
      return asAdmin(actor, async (db) => {
        const since = await findBaselineTime(db, service);
        const tools = groupByTool(await listToolSightings(db, service));
        return {
          serviceType: service,
          isPinned: toolPolicy.pinDescriptions,
          newTools: toolPolicy.newTools,
          pinnedSince: since?.toISOString() ?? null,
          waiting: tools.filter(({ state }) => state === 'changed' || state === 'new').length,
          tools,
        };
      });
    },
    async changes(actor, service, tool) {
      getVisibleService(parts, service, actor);
      return asAdmin(actor, async (db) => {
        const sightings = await findToolSightings(db, { service, tool });
        if (sightings.length === 0) throw noTool(service);
        const approved = sightings.find(({ state }) => state === 'approved') ?? null;
        const waiting = sightings.filter(({ state }) => state === 'waiting').slice(0, comparedMax);
        return {
          serviceType: service,
          ...toToolView(tool, sightings),
          changes: waiting.map((one) => ({
            ...toDefinitionView(one),
            comparedWith: approved?.digest ?? null,
            differences: toDefinitionDifference(approved?.definition ?? null, one.definition),
          })),
        };
      });
    },
    approve: (actor, service, tool, digest) => decide(actor, service, tool, digest, 'approved'),
    reject: (actor, service, tool, digest) => decide(actor, service, tool, digest, 'rejected'),
  };
}

/** @param all the newest first. */
function requireDecidable(
  all: readonly DefinedSighting[],
  seen: DefinedSighting,
  state: 'approved' | 'rejected',
): void {
  const newest = all.find((one) => one.state === 'waiting');
  const isOutdated = state === 'approved' && seen.state === 'waiting' && newest !== seen;
  if (seen.state !== state && !isOutdated) return;
  throw new AppError('VERSION_CONFLICT', 'a definition was decided about or followed by another', {
    publicDetail: isOutdated
      ? 'The tool changed again after this definition; look at the newest one first.'
      : `This definition is ${state} already.`,
  });
}

function groupByTool(sightings: readonly ToolSighting[]): PinnedToolView[] {
  const byTool = new Map<string, ToolSighting[]>();
  for (const one of sightings) byTool.set(one.tool, [...(byTool.get(one.tool) ?? []), one]);
  return Array.from(byTool, ([tool, ofTool]) => toToolView(tool, ofTool));
}

function toToolView(tool: string, sightings: readonly ToolSighting[]): PinnedToolView {
  const has = (state: ToolPinState): boolean => sightings.some((one) => one.state === state);
  const waits = has('approved') ? 'changed' : 'new';
  const decided = has('approved') ? 'approved' : 'rejected';
  return { tool, state: has('waiting') ? waits : decided, definitions: sightings.map(toDefinitionView) };
}

function toDefinitionView(sighting: ToolSighting): DefinitionView {
  const { digest, state, isNew, firstSeenAt, seenAt, decidedBy, decidedAt } = sighting;
  const decided = decidedBy === null ? 'first-use' : 'admin';
  return {
    digest,
    state,
    origin: state === 'waiting' ? null : decided,
    isNew,
    firstSeenAt: firstSeenAt.toISOString(),
    seenAt: seenAt.toISOString(),
    decidedBy,
    decidedAt: decidedAt?.toISOString() ?? null,
  };
}

function noTool(service: string): AppError {
  return new AppError('NOT_FOUND', `no such definition of a tool of ${service}`, {
    publicDetail: 'No such definition of this tool was seen.',
  });
}
