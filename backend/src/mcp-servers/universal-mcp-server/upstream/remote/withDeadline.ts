import { AppError } from '../../../../errors/appError.js';

/**
 * Does something under a deadline of its own besides the caller's signal.
 * @throws AppError UPSTREAM_TIMEOUT; the signal's reason.
 */
export async function withDeadline<T>(
  deadlineMs: number,
  signal: AbortSignal,
  work: (signal: AbortSignal) => Promise<T>,
): Promise<T> {
  const controller = new AbortController();
  const follow = (): void => controller.abort(signal.reason);
  if (signal.aborted) follow();
  signal.addEventListener('abort', follow, { once: true });
  const timer = setTimeout(
    () =>
      controller.abort(
        new AppError('UPSTREAM_TIMEOUT', `the remote server was not ready in ${deadlineMs} ms`),
      ),
    deadlineMs,
  );
  try {
    return await work(controller.signal);
  } finally {
    clearTimeout(timer);
    signal.removeEventListener('abort', follow);
  }
}

/** Resolves when the time is over, or at once when the signal aborts: whoever goes on looks at the signal. */
export function pause(ms: number, signal: AbortSignal): Promise<void> {
  return new Promise((resolve) => {
    if (signal.aborted) return resolve();
    const done = (): void => {
      clearTimeout(timer);
      signal.removeEventListener('abort', done);
      resolve();
    };
    const timer = setTimeout(done, Math.min(ms, pauseMsMax));
    signal.addEventListener('abort', done, { once: true });
  });
}

const pauseMsMax = 30_000;
