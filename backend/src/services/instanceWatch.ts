/**
 * Keeps what is open for an instance (streams, children, sessions) true to the instance: whoever holds something watches
 * it, and is told when the instance changed or is void, within 2 s of the change being committed (A04, R26).
 */
import type { ChangeSource, InstanceResolver, SealedInstance } from './instanceResolver.js';

export interface InstanceWatch extends Disposable {
  /**
   * Watches one instance. `onChange` hears the instance as it is now whenever its epoch, credential or overrides differ,
   * and null once it is void; after null it hears nothing more. The returned function ends the watch.
   */
  watch(instance: SealedInstance, onChange: (now: SealedInstance | null) => void): () => void;
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
  readonly onChange: (now: SealedInstance | null) => void;
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
      watched.onChange(null);
      return true;
    }
    watched.certainAt = now();
    watched.known = resolution.instance;
    if (differs(known, resolution.instance)) watched.onChange(resolution.instance);
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
