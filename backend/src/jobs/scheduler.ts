/**
 * The one scheduler of a program: named jobs that run again and again, each never twice at once, each measured, and all
 * of them drained before the program ends. There are no stray timers beside it.
 */

export interface Job {
  /** Lower case and hyphens; it names the job in the log and in metrics. */
  readonly name: string;
  /** From the end of one run to the begin of the next, in ms; up to a tenth is added at random (jitter). */
  readonly everyMs: number;
  /** Runs once as soon as the scheduler starts, instead of after the first interval. */
  readonly atStart?: boolean;
  /**
   * Does the work, in small steps; aborted when the program drains. It must be harmless to run it twice, or in two
   * programs at once. What it throws is reported and does not stop the job.
   */
  run(signal: AbortSignal): Promise<void>;
}

export interface JobRun {
  readonly job: string;
  readonly outcome: 'success' | 'failure' | 'aborted';
  readonly durationMs: number;
  readonly error: unknown;
}

export interface Scheduler extends AsyncDisposable {
  add(job: Job): void;
  /** Runs a job now, or joins the run that is under way. @throws what the job throws. */
  runNow(name: string): Promise<void>;
  /** Starts no more runs and waits for those under way. */
  drain(): Promise<void>;
}

export interface SchedulerOptions {
  readonly onRun: (run: JobRun) => void;
  /** From 0 up to 1. */
  readonly random?: () => number;
}

interface Scheduled {
  readonly job: Job;
  timer: NodeJS.Timeout | null;
  running: Promise<void> | null;
}

const jitterShare = 0.1;

export function createScheduler({ onRun, random = Math.random }: SchedulerOptions): Scheduler {
  const jobs = new Map<string, Scheduled>();
  const abort = new AbortController();

  const execute = async ({ job }: Scheduled): Promise<void> => {
    const startedAt = performance.now();
    const report = (outcome: JobRun['outcome'], error: unknown): void =>
      onRun({ job: job.name, outcome, durationMs: performance.now() - startedAt, error });
    try {
      await job.run(abort.signal);
      report('success', null);
    } catch (error) {
      report(abort.signal.aborted ? 'aborted' : 'failure', error);
      throw error;
    }
  };

  const run = (scheduled: Scheduled): Promise<void> => {
    if (scheduled.running !== null) return scheduled.running;
    if (scheduled.timer !== null) clearTimeout(scheduled.timer);
    scheduled.timer = null;
    const running = execute(scheduled).finally(() => {
      scheduled.running = null;
      plan(scheduled, scheduled.job.everyMs * (1 + jitterShare * random()));
    });
    scheduled.running = running;
    return running;
  };

  const plan = (scheduled: Scheduled, delayMs: number): void => {
    if (abort.signal.aborted) return;
    // Reported by `execute`; a job that failed is tried again at its next turn.
    scheduled.timer = setTimeout(() => void run(scheduled).catch(() => undefined), delayMs).unref();
  };

  const drain = async (): Promise<void> => {
    abort.abort();
    for (const { timer } of jobs.values()) if (timer !== null) clearTimeout(timer);
    await Promise.allSettled(
      [...jobs.values()].flatMap(({ running }) => (running === null ? [] : [running])),
    );
  };

  return {
    add(job) {
      if (jobs.has(job.name)) throw new Error(`there is a job named ${job.name} already`);
      const scheduled: Scheduled = { job, timer: null, running: null };
      jobs.set(job.name, scheduled);
      plan(scheduled, job.atStart === true ? 0 : job.everyMs * (1 + jitterShare * random()));
    },
    async runNow(name) {
      const scheduled = jobs.get(name);
      if (scheduled === undefined) throw new Error(`there is no job named ${name}`);
      abort.signal.throwIfAborted();
      await run(scheduled);
    },
    drain,
    [Symbol.asyncDispose]: drain,
  };
}
