/**
 * Keeps what is open for an instance (streams, children, sessions) true to the instance: whoever holds something watches
 * it, and is told when the instance changed or is void, within 2 s of the change being committed (A04, R26).
 */
import type { ChangeSource, InstanceResolver, SealedInstance } from './instanceResolver.js';

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
  readonly onChange: OnInstanceChange;
}

const checksAtOnce = 8;

export function createInstanceWatch(options: InstanceWatchOptions): InstanceWatch {
  const {
    resolver,
    changes,
    roundMs = 1_000,
    uncertainMsMax = 5_000,
    now = () => performance.now(),
  } = options;
  const all = new Set<Watched>();
  let timer: NodeJS.Timeout | undefined;
  let closed = false;

  const check = async (watched: Watched): Promise<boolean> => {
    const { known } = watched;
    const resolution = await resolver.resolveById(known.id, known.service);
    if (!all.has(watched)) return true;
    if (resolution.kind === 'unavailable' && now() - watched.certainAt < uncertainMsMax) return false;
    if (resolution.kind !== 'found') {
      all.delete(watched);
      watched.onChange(null, false);
      return true;
    }
    watched.certainAt = now();
    watched.known = resolution.instance;
    const isChanged = differs(known, resolution.instance);
    if (isChanged || toWraps(known) !== toWraps(resolution.instance))
      watched.onChange(resolution.instance, !isChanged);
    return true;
  };

  const checkAll = async (some: readonly Watched[]): Promise<void> => {
    const left = [...some];
    let certain = true;
    const worker = async (): Promise<void> => {
      for (let next = left.pop(); next !== undefined; next = left.pop())
        certain = (await check(next)) && certain;
    };
    await Promise.all(Array.from({ length: checksAtOnce }, worker));
    if (!certain || !changes.isUp) scheduleRound();
  };

  const scheduleRound = (): void => {
    if (closed || timer !== undefined) return;
    timer = setTimeout(() => {
      timer = undefined;
      void checkAll([...all]);
    }, roundMs).unref();
  };

  const stop = changes.onChange((change) => {
    switch (change.kind) {
      case 'instance':
        void checkAll([...all].filter(({ known }) => known.id === change.instanceId));
        return;
      case 'user':
        void checkAll([...all].filter(({ known }) => known.userId === change.userId));
        return;
      case 'service':
        void checkAll(
          [...all].filter(({ known }) => change.service === null || known.service === change.service),
        );
        return;
      case 'unknown':
        void checkAll([...all]);
    }
  });

  return {
    watch(instance, onChange) {
      const watched: Watched = { known: instance, certainAt: now(), onChange };
      all.add(watched);
      if (!changes.isUp) scheduleRound();
      return () => void all.delete(watched);
    },
    [Symbol.dispose]() {
      closed = true;
      clearTimeout(timer);
      stop();
      all.clear();
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
