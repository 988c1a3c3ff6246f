/**
 * One deadline for many calls that all may take equally long: the oldest comes first, so a single timer does for all of
 * them, and a call costs an entry in a set.
 */
export interface Expiring {
  /** Of the monotonic clock, in ms. */
  deadlineAt: number;
  onDeadline(): void;
}

export interface Deadlines extends Disposable {
  add(call: Expiring): void;
  remove(call: Expiring): void;
}

export function createDeadlines(timeoutMs: number): Deadlines {
  const calls = new Set<Expiring>();
  let timer: NodeJS.Timeout | undefined;

  const expire = (): void => {
    timer = undefined;
    const now = performance.now();
    for (const call of calls) {
      if (call.deadlineAt > now) {
        timer = setTimeout(expire, Math.ceil(call.deadlineAt - now)).unref();
        return;
      }
      calls.delete(call);
      call.onDeadline();
    }
  };

  return {
    add(call) {
      call.deadlineAt = performance.now() + timeoutMs;
      calls.add(call);
      timer ??= setTimeout(expire, timeoutMs).unref();
    },
    remove: (call) => void calls.delete(call),
    [Symbol.dispose]() {
      clearTimeout(timer);
      calls.clear();
    },
  };
}
