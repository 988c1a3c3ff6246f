/**
 * Waits for shared work no longer than one caller's signal lets it; the work itself goes on for the others.
 * Rejects with the signal's reason.
 */
export function abortable<T>(work: Promise<T>, signal: AbortSignal): Promise<T> {
  return new Promise((resolve, reject) => {
    const abandon = (): void => reject(toError(signal.reason));
    if (signal.aborted) return abandon();
    signal.addEventListener('abort', abandon, { once: true });
    work.then(resolve, reject).finally(() => signal.removeEventListener('abort', abandon));
  });
}

function toError(reason: unknown): Error {
  return reason instanceof Error ? reason : new Error('the caller gave up');
}
