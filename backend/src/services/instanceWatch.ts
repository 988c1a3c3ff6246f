/**
 * Keeps what is open for an instance (streams, children, sessions) true to the instance: whoever holds something watches
 * it, and is told when the instance changed or is void, within 2 s of the change being committed (A04, R26), and at its
 * end.
 */
import type { ChangeSource, InstanceResolver, SealedInstance } from './instanceResolver.js';
import { createRecheckRounds } from './recheckRounds.js';

/** `onlyKeys`: nothing of the instance changed but how the keys are wrapped that its records need. */
export type OnInstanceChange = (now: SealedInstance | null, onlyKeys: boolean) => void;

export interface InstanceWatch extends Disposable {
  /**
   * Watches one instance. `onChange` hears the instance as it is now whenever its epoch, credential, overrides or wrapped
   * data keys differ, and null once it is void; after null it hears nothing more. The returned function ends the watch.
   */
  watch(instance: SealedInstance, onChange: OnInstanceChange): () => void;
}

export interface InstanceWatchOptions {
  readonly resolver: Pick<InstanceResolver, 'resolveById'>;
  readonly changes: ChangeSource;
  /** Time between two rounds while the LISTEN connection is down, in ms. */
  readonly roundMs?: number;
  /** How long what is open may outlive the last certain answer, in ms. */
  readonly uncertainMsMax?: number;
  /** A monotonic clock in ms. */
  readonly now?: () => number;
}

interface Watched {
  known: SealedInstance;
  /** When the instance was last known to be as it is. */
  certainAt: number;
  /** Asks again at the instance's end. */
  timer: NodeJS.Timeout | undefined;
  readonly onChange: OnInstanceChange;
}

/** Node's timers take no longer ones; an end that is further away is waited for in several. */
const timerMsMax = 2 ** 31 - 1;
/** The database's answer may come a moment before the end that it states. */
const timerMsMin = 5;

export function createInstanceWatch(options: InstanceWatchOptions): InstanceWatch {
  const {
    resolver,
    changes,
    roundMs = 1_000,
    uncertainMsMax = 5_000,
    now = () => performance.now(),
  } = options;
  const all = new Set<Watched>();

  const leave = (watched: Watched): void => {
    clearTimeout(watched.timer);
    all.delete(watched);
  };

  const check = async (watched: Watched): Promise<boolean> => {
    const { known } = watched;
    const resolution = await resolver.resolveById(known.id, known.service);
    if (!all.has(watched)) return true;
    if (resolution.kind === 'unavailable' && now() - watched.certainAt < uncertainMsMax) return false;
    if (resolution.kind !== 'found') {
      leave(watched);
      watched.onChange(null, false);
      return true;
    }
    watched.certainAt = now();
    watched.known = resolution.instance;
    awaitEnd(watched);
    const isChanged = differs(known, resolution.instance);
    if (isChanged || toWraps(known) !== toWraps(resolution.instance))
      watched.onChange(resolution.instance, !isChanged);
    return true;
  };

  const rounds = createRecheckRounds<Watched>({
    changes,
    items: () => all,
    isConcerned({ known }, change) {
      switch (change.kind) {
        case 'instance':
          return known.id === change.instanceId;
        case 'user':
          return known.userId === change.userId;
        case 'service':
          return change.service === null || known.service === change.service;
      }
    },
    check,
    roundMs,
  });

  /** The timer is monotonic and the end was told by the database: no clock of this process decides (R16). */
  const awaitEnd = (watched: Watched): void => {
    clearTimeout(watched.timer);
    const leftMs = watched.known.endsAtMs - now();
    if (leftMs === Infinity) return;
    const waitMs = Math.min(Math.max(leftMs, timerMsMin), timerMsMax);
    watched.timer = setTimeout(() => rounds.recheck([watched]), waitMs).unref();
  };

  return {
    watch(instance, onChange) {
      const watched: Watched = { known: instance, certainAt: now(), timer: undefined, onChange };
      all.add(watched);
      awaitEnd(watched);
      rounds.begin();
      return () => leave(watched);
    },
    [Symbol.dispose]() {
      rounds[Symbol.dispose]();
      for (const watched of Array.from(all)) leave(watched);
    },
  };
}

function differs(before: SealedInstance, after: SealedInstance): boolean {
  return (
    before.epoch !== after.epoch ||
    before.credentialRevision !== after.credentialRevision ||
    before.overridesRevision !== after.overridesRevision
  );
}

/** Which keys under which KEKs; what is held open for long needs them as they are, or a rotation leaves it behind. */
function toWraps({ dataKeys, sharedRow }: SealedInstance): string {
  return [...dataKeys, ...(sharedRow?.dataKeys ?? [])].map(({ id, kekId }) => `${id}/${kekId}`).join();
}
