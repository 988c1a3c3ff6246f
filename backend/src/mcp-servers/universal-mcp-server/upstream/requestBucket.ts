/** A bucket of requests that fills at a steady rate by the monotonic clock: two numbers, for it is asked on every call. */
export interface RequestBucket {
  /** Takes one request. @returns 0 when there was room, else the whole seconds until there is. */
  take(): number;
  /** Whether it has been left alone long enough to be full again: forgetting it changes nothing. */
  readonly isFull: boolean;
}

/** @param capacity requests that may come at once. */
export function createRequestBucket(
  perMinute: number,
  capacity: number,
  now: () => number = () => performance.now(),
): RequestBucket {
  const perMs = perMinute / 60_000;
  let left = capacity;
  let filledAt = now();

  const fill = (): void => {
    const at = now();
    left = Math.min(capacity, left + (at - filledAt) * perMs);
    filledAt = at;
  };

  return {
    take() {
      fill();
      if (left < 1) return Math.max(1, Math.ceil((1 - left) / perMs / 1_000));
      left -= 1;
      return 0;
    },
    get isFull() {
      fill();
      return left === capacity;
    },
  };
}

/** What a limit that is given as a rate alone lets through at once, as the loader's default for instances. */
export function defaultBurst(perMinute: number): number {
  return Math.min(120, perMinute);
}
