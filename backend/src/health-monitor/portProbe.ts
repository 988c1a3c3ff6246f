import { request } from 'undici';

/** What one probe of a port found. */
export interface ProbeResult {
  readonly isHealthy: boolean;
  /** Null when there was no answer. */
  readonly responseTimeMs: number | null;
  /** A short reason in our own words; null when healthy. */
  readonly error: string | null;
  /** Connected and silent until the time was up: it hangs, rather than being away. */
  readonly isSilent: boolean;
}

/** Asks one URL once and reads no body. Never throws. */
export async function probePort(url: string, timeoutMs: number): Promise<ProbeResult> {
  const startedAt = performance.now();
  const signal = AbortSignal.timeout(timeoutMs);
  try {
    // A connection of its own: one that hangs must not be taken for the next probe.
    const { statusCode, body } = await request(url, { signal, reset: true });
    await body.dump();
    const responseTimeMs = Math.round(performance.now() - startedAt);
    return statusCode === 200
      ? { isHealthy: true, responseTimeMs, error: null, isSilent: false }
      : { isHealthy: false, responseTimeMs, error: `answered ${statusCode}`, isSilent: false };
  } catch (error) {
    const code = error instanceof Error && 'code' in error ? String(error.code) : '';
    const isSilent = signal.aborted;
    return { isHealthy: false, responseTimeMs: null, error: toReason(isSilent, code, timeoutMs), isSilent };
  }
}

function toReason(isSilent: boolean, code: string, timeoutMs: number): string {
  if (isSilent) return `did not answer within ${timeoutMs / 1_000} s`;
  return code === 'ECONNREFUSED' ? 'nothing listens on its port' : 'broke the connection off';
}
