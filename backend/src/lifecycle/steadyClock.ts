/**
 * The time of day by which a process judges whether something has ended. A machine's clock is set back now and then; what
 * was over must not begin again by that (R16). So time goes on from where it was by the monotonic clock, and the clock of
 * the machine can only be ahead of it: set forward, it is followed as long as it stays there.
 *
 * Two processes that were started before and after the clock was set back differ by that much until they are restarted;
 * what travels between processes within seconds is therefore judged by the machine's clock.
 *
 * @returns milliseconds since the epoch
 */
export function createSteadyClock(
  wall: () => number = Date.now,
  monotonic: () => number = () => performance.now(),
): () => number {
  const startedAt = wall() - monotonic();
  return () => Math.max(wall(), Math.floor(startedAt + monotonic()));
}
