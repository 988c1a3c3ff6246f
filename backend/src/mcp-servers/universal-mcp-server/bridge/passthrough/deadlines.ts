/** One deadline for many calls that all may take equally long: a single timer does for all of them. */
import { UnderWay } from '../../../../lifecycle/underWay.js';

export interface Expiring {
  /** Of the monotonic clock, in ms. */
  deadlineAt: number;
  onDeadline(): void;
}

export interface Deadlines extends Disposable {
  add(call: Expiring): void;
  remove(call: Expiring): void;
}

const place = Symbol('deadline');

export function createDeadlines(timeoutMs: number): Deadlines {
  const calls = new UnderWay<Expiring>(place);
  let timer: NodeJS.Timeout | undefined;

  const expire = (): void => {
    timer = undefined;
    const now = performance.now();
    let next = Infinity;
    for (const call of calls) {
      if (call.deadlineAt > now) {
        next = Math.min(next, call.deadlineAt);
        continue;
      }
      calls.delete(call);
      call.onDeadline();
    }
    if (next < Infinity) timer ??= setTimeout(expire, Math.ceil(next - now)).unref();
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
      for (const call of calls) calls.delete(call);
    },
  };
}
