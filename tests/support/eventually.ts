/**
 * Asks again until the answer is done or the deadline passed, and gives the last answer: for what another process does
 * and nobody announces. Where there is an event, await the event.
 */
export async function eventually<T>(
  ask: () => Promise<{ isDone: boolean; value: T }> | { isDone: boolean; value: T },
  withinMs = 5_000,
): Promise<T> {
  const deadline = performance.now() + withinMs;
  for (;;) {
    const { isDone, value } = await ask();
    if (isDone || performance.now() > deadline) return value;
    await new Promise((resolve) => setTimeout(resolve, 20));
  }
}

/** Waits until it is true. @throws when the deadline passes, naming what was waited for. */
export async function waitUntil(
  what: string,
  isTrue: () => boolean | Promise<boolean>,
  withinMs = 5_000,
): Promise<void> {
  const answer = await eventually(async () => {
    const value = await isTrue();
    return { isDone: value, value };
  }, withinMs);
  if (!answer) throw new Error(`waited ${withinMs} ms in vain: ${what}`);
}
