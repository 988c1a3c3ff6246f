/**
 * What this process has open for each instance: its conversations, its calls under way, its limits. It is all dropped
 * within 2 s of the instance being revoked, paused or rotated (A04, A05), and when nobody has used it for a while.
 */
import { AppError } from '../../../errors/appError.js';
import { UnderWay } from '../../../lifecycle/underWay.js';
import type { SealedInstance } from '../../../services/instanceResolver.js';
import { createRequestBucket, defaultBurst, type RequestBucket } from '../upstream/requestBucket.js';
import type { UpstreamConnection } from '../upstream/upstream.js';
import type { BridgeContext } from './bridgeContext.js';
import { createInstanceLimits, type InstanceLimits } from './instanceLimits.js';
import { listAllTools } from './listAllTools.js';
import { isReadOnly } from './toolPolicy.js';

/** A conversation or stream that is open for an instance. */
export interface OpenThing {
  /** Milliseconds of the monotonic clock; `Infinity` while it is in use. */
  readonly usedAt: number;
  /**
   * The instance is another one now: void what hangs on its credential. Null when this may not go on at all; `onlyKeys`
   * when nothing changed but how its keys are wrapped.
   */
  onInstanceChange(now: SealedInstance | null, onlyKeys: boolean): void;
  /** Another list of tools is shown now than before; whoever can tells its client. */
  onToolsChange?(): void;
  close(): void;
  /** How long it may be idle, in ms, where that is another time than a conversation's. */
  readonly idleMs?: number;
  /** Called instead of `close` when it was idle for too long. */
  expire?(): void;
}

/** A call under way, as far as it can be ended from elsewhere. */
export interface Abortable {
  abort(reason: Error): void;
}

const callPlace = Symbol('call');

export class InstanceRoom {
  readonly limits: InstanceLimits;
  readonly calls = new UnderWay<Abortable>(callPlace);
  /** By the name under which it is found again. */
  readonly open = new Map<string, OpenThing>();
  usedAt = performance.now();
  #readOnlyTools: Set<string> | null = null;

  constructor(
    { definition, metrics }: Pick<BridgeContext, 'definition' | 'metrics'>,
    ofUser: RequestBucket | null,
  ) {
    this.limits = createInstanceLimits(definition.limits, ofUser, (scope) =>
      metrics.rateLimited(scope).inc(),
    );
  }

  noteTools(readOnly: readonly string[], isWhole: boolean): void {
    this.#readOnlyTools = new Set(isWhole ? readOnly : [...(this.#readOnlyTools ?? []), ...readOnly]);
  }

  /** Whether the upstream lists the tool as read-only; asks for the list when it is not known yet. */
  async isReadOnlyTool(
    name: string,
    connection: Pick<UpstreamConnection, 'era' | 'request'>,
    signal: AbortSignal,
  ): Promise<boolean> {
    if (this.#readOnlyTools?.has(name) === true) return true;
    const tools = await listAllTools(connection, signal);
    if (tools === null) return false;
    const found = tools.filter(isReadOnly).map((tool) => String(tool['name']));
    this.noteTools(found, true);
    return found.includes(name);
  }

  abortCalls(reason: AppError): void {
    for (const call of this.calls) call.abort(reason);
  }
}

export interface InstanceRooms extends Disposable {
  /** The room of an instance; made, and watched, with its first use. */
  of(instance: SealedInstance): InstanceRoom;
  readonly size: number;
}

const sweepMs = 5_000;
/** A conversation that is not used leaves memory after this; its session id brings it back. */
const idleMs = 60_000;

export function createInstanceRooms(ctx: BridgeContext): InstanceRooms {
  const rooms = new Map<string, { room: InstanceRoom; userId: string; unwatch: () => void }>();
  // Of users rather than rooms: an instance that is revoked and made anew brings its owner no fresh bucket.
  const buckets = new Map<string, RequestBucket>();
  const { perUserRequestsPerMinute: perUser } = ctx.definition.limits;

  const bucketOf = (userId: string): RequestBucket | null => {
    if (perUser === null) return null;
    const bucket = buckets.get(userId) ?? createRequestBucket(perUser, defaultBurst(perUser));
    buckets.set(userId, bucket);
    return bucket;
  };

  const drop = (id: string, why: AppError): void => {
    const held = rooms.get(id);
    if (held === undefined) return;
    rooms.delete(id);
    held.unwatch();
    held.room.abortCalls(why);
    for (const thing of Array.from(held.room.open.values())) thing.close();
    held.room.open.clear();
  };

  const onChange = (before: SealedInstance, now: SealedInstance | null, onlyKeys: boolean): void => {
    const gone = new AppError('NOT_FOUND', 'the instance was revoked, paused or rotated');
    ctx.upstream.forget(before.id, now);
    if (now === null) return drop(before.id, gone);
    const room = rooms.get(before.id)?.room;
    // Whoever came under an older epoch has no right to the answer any more.
    if (now.epoch !== before.epoch) room?.abortCalls(gone);
    for (const thing of Array.from(room?.open.values() ?? [])) thing.onInstanceChange(now, onlyKeys);
  };

  ctx.pins?.onChange(() => {
    for (const { room } of Array.from(rooms.values()))
      for (const thing of Array.from(room.open.values())) thing.onToolsChange?.();
  });

  /** A bucket leaves when no room holds it and it is full: one made anew is the same. */
  const sweepBuckets = (): void => {
    if (buckets.size === 0) return;
    const present = new Set(Array.from(rooms.values(), ({ userId }) => userId));
    for (const [userId, bucket] of Array.from(buckets))
      if (bucket.isFull && !present.has(userId)) buckets.delete(userId);
  };

  const sweep = setInterval(() => {
    const now = performance.now();
    for (const [id, { room }] of Array.from(rooms)) {
      for (const [name, thing] of Array.from(room.open)) {
        if (thing.usedAt > now - (thing.idleMs ?? idleMs)) continue;
        room.open.delete(name);
        if (thing.expire === undefined) thing.close();
        else thing.expire();
      }
      const keepMs = Math.max(ctx.definition.stdio?.idleTimeoutMs ?? 0, idleMs) + sweepMs;
      const isIdle = room.open.size === 0 && room.calls.size === 0;
      if (isIdle && performance.now() - room.usedAt > keepMs) {
        drop(id, new AppError('UPSTREAM_FAILED', 'the instance was idle'));
      }
    }
    sweepBuckets();
  }, sweepMs).unref();

  return {
    of(instance) {
      const held = rooms.get(instance.id);
      if (held !== undefined) {
        held.room.usedAt = performance.now();
        return held.room;
      }
      const room = new InstanceRoom(ctx, bucketOf(instance.userId));
      let known = instance;
      const unwatch = ctx.watch.watch(instance, (now, onlyKeys) => {
        const before = known;
        known = now ?? known;
        onChange(before, now, onlyKeys);
      });
      rooms.set(instance.id, { room, userId: instance.userId, unwatch });
      return room;
    },
    get size() {
      return rooms.size;
    },
    [Symbol.dispose]() {
      clearInterval(sweep);
      for (const id of Array.from(rooms.keys()))
        drop(id, new AppError('SERVICE_UNAVAILABLE', 'the service stops'));
    },
  };
}
