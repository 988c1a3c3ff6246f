/**
 * Asks again about what is open whenever something changed that may concern it, and about all of it in rounds while it
 * cannot be told or nobody would tell of a change (R26).
 */
import type { ChangeSource, InstanceChange } from './instanceResolver.js';

export interface RecheckRounds<Item> extends Disposable {
  /** Asks about these now. */
  recheck(items: readonly Item[]): void;
  /** To be called with each item that is new: while nobody tells of changes, rounds begin with it. */
  begin(): void;
}

export interface RecheckRoundsOptions<Item> {
  readonly changes: ChangeSource;
  readonly items: () => Iterable<Item>;
  /** Whether a change of one instance, user or service may be one of this item. */
  readonly isConcerned: (item: Item, change: Exclude<InstanceChange, { kind: 'unknown' }>) => boolean;
  /** Answers whether it could be told. */
  readonly check: (item: Item) => Promise<boolean>;
  /** Time between two rounds, in ms. */
  readonly roundMs: number;
}

const checksAtOnce = 8;

export function createRecheckRounds<Item>(options: RecheckRoundsOptions<Item>): RecheckRounds<Item> {
  const { changes, items, isConcerned, check, roundMs } = options;
  let timer: NodeJS.Timeout | undefined;
  let isClosed = false;

  const checkAll = async (some: readonly Item[]): Promise<void> => {
    const left = [...some];
    let isCertain = true;
    const worker = async (): Promise<void> => {
      for (let next = left.pop(); next !== undefined; next = left.pop())
        isCertain = (await check(next)) && isCertain;
    };
    await Promise.all(Array.from({ length: Math.min(checksAtOnce, left.length) }, worker));
    if (!isCertain || !changes.isUp) schedule();
  };

  const schedule = (): void => {
    if (isClosed || timer !== undefined) return;
    timer = setTimeout(() => {
      timer = undefined;
      void checkAll([...items()]);
    }, roundMs).unref();
  };

  const stop = changes.onChange((change) => {
    const all = [...items()];
    void checkAll(change.kind === 'unknown' ? all : all.filter((item) => isConcerned(item, change)));
  });

  return {
    recheck: (some) => void checkAll(some),
    begin() {
      if (!changes.isUp) schedule();
    },
    [Symbol.dispose]() {
      isClosed = true;
      clearTimeout(timer);
      stop();
    },
  };
}
