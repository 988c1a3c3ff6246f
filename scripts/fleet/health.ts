/** Waits until programs answer `/health`, and says of each how long it took. */
import { setTimeout as delay } from 'node:timers/promises';

export interface HealthTarget {
  readonly name: string;
  readonly url: string;
}

export interface HealthAnswer {
  readonly isHealthy: boolean;
  /** The answer's own words, or why there was none; for a person to read. */
  readonly detail: string;
  /** How a service with children keeps them apart; null for programs without. */
  readonly isolation: string | null;
}

const tryTimeoutMs = 2_000;
const pauseMs = 100;

/** Asks once. A program that does not answer in 2 s is not healthy. */
export async function askHealth(url: string): Promise<HealthAnswer> {
  try {
    const response = await fetch(url, { signal: AbortSignal.timeout(tryTimeoutMs), redirect: 'manual' });
    const text = (await response.text()).slice(0, 2_000);
    const isHealthy = response.status === 200;
    return { isHealthy, detail: `${response.status} ${text}`, isolation: readIsolation(text) };
  } catch (error) {
    const { code, message } = toCause(error);
    const detail = code === 'ECONNREFUSED' ? 'nothing listens there' : message;
    return { isHealthy: false, detail, isolation: null };
  }
}

function readIsolation(text: string): string | null {
  try {
    const { checks } = JSON.parse(text) as { checks?: { isolation?: { reason?: string } } };
    return checks?.isolation?.reason ?? null;
  } catch {
    return null;
  }
}

export interface WaitOptions {
  readonly deadlineMs: number;
  /** Called when a program has become healthy, in ms since the start of the wait. */
  readonly onHealthy: (name: string, afterMs: number) => void;
  /** Ends the wait early: names of programs that will not come any more. */
  readonly findLost: () => Promise<readonly string[]>;
}

/** Resolves with those that are not healthy in the end, and their last answer; an empty list is success. */
export async function waitForHealth(
  targets: readonly HealthTarget[],
  { deadlineMs, onHealthy, findLost }: WaitOptions,
): Promise<{ readonly name: string; readonly detail: string }[]> {
  const startedAt = performance.now();
  const elapsed = (): number => performance.now() - startedAt;
  const lost = new Set<string>();
  const last = new Map<string, string>();

  const waitFor = async ({ name, url }: HealthTarget): Promise<void> => {
    while (elapsed() < deadlineMs && !lost.has(name)) {
      const { isHealthy, detail } = await askHealth(url);
      if (isHealthy) {
        last.delete(name);
        return onHealthy(name, elapsed());
      }
      last.set(name, detail);
      await delay(pauseMs);
    }
  };
  const all = Promise.all(targets.map(waitFor)).then(() => true);
  const look = async (): Promise<boolean> => {
    for (const name of await findLost()) lost.add(name);
    return false;
  };
  while (!(await Promise.race([all, delay(2_000, null, { ref: false }).then(look)])));
  return [...last].map(([name, detail]) => ({ name, detail }));
}

function toCause(error: unknown): { code: string | undefined; message: string } {
  const cause = error instanceof Error && error.cause instanceof Error ? error.cause : error;
  if (!(cause instanceof Error)) return { code: undefined, message: String(cause) };
  return { code: (cause as NodeJS.ErrnoException).code, message: cause.message };
}
