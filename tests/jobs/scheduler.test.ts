import { EventEmitter, once } from 'node:events';
import { afterEach, describe, expect, it } from '@jest/globals';
import { createScheduler, type JobRun, type Scheduler } from '../../backend/src/jobs/scheduler.js';
import { waitUntil } from '../support/eventually.js';

const runs: JobRun[] = [];
const made: Scheduler[] = [];

function aScheduler(): Scheduler {
  const scheduler = createScheduler({ onRun: (run) => runs.push(run), random: () => 0 });
  made.push(scheduler);
  return scheduler;
}

afterEach(async () => {
  for (const scheduler of made.splice(0)) await scheduler.drain();
  runs.length = 0;
});

describe('the scheduler', () => {
  it('runs a job again and again, and measures each run', async () => {
    const scheduler = aScheduler();
    let count = 0;
    scheduler.add({
      name: 'count',
      everyMs: 5,
      atStart: true,
      async run() {
        count += 1;
      },
    });
    await waitUntil('three runs', () => count >= 3);
    expect(runs[0]).toMatchObject({ job: 'count', outcome: 'success', error: null });
    expect(runs[0]!.durationMs).toBeGreaterThanOrEqual(0);
  });

  it('never runs one job twice at once, and lets whoever asks meanwhile join the run under way', async () => {
    const scheduler = aScheduler();
    const gate = new EventEmitter();
    let running = 0;
    let most = 0;
    scheduler.add({
      name: 'slow',
      everyMs: 1,
      atStart: true,
      async run() {
        running += 1;
        most = Math.max(most, running);
        await once(gate, 'open');
        running -= 1;
      },
    });
    await waitUntil('it runs', () => running === 1);
    const joined = [scheduler.runNow('slow'), scheduler.runNow('slow')];
    gate.emit('open');
    await Promise.all(joined);
    expect(most).toBe(1);
    expect(runs.filter(({ job }) => job === 'slow').length).toBeLessThan(3);
  });

  it('goes on with a job that failed, and reports why', async () => {
    const scheduler = aScheduler();
    let count = 0;
    scheduler.add({
      name: 'failing',
      everyMs: 5,
      async run() {
        count += 1;
        if (count === 1) throw new Error('the first time');
      },
    });
    await waitUntil('a second run', () => count >= 2);
    expect(runs[0]).toMatchObject({ outcome: 'failure', error: new Error('the first time') });
  });

  it('drains: aborts the run under way, waits for its end and starts nothing more', async () => {
    const scheduler = aScheduler();
    const events: string[] = [];
    scheduler.add({
      name: 'long',
      everyMs: 1,
      atStart: true,
      async run(signal) {
        events.push('begin');
        await new Promise((resolve) => signal.addEventListener('abort', resolve, { once: true }));
        events.push('end');
        signal.throwIfAborted();
      },
    });
    await waitUntil('it runs', () => events.length === 1);
    await scheduler.drain();
    expect(events).toEqual(['begin', 'end']);
    expect(runs).toMatchObject([{ outcome: 'aborted' }]);
    await expect(scheduler.runNow('long')).rejects.toThrow('aborted');
    expect(events).toEqual(['begin', 'end']);
  });

  it('refuses a second job of the same name', () => {
    const scheduler = aScheduler();
    const job = { name: 'one', everyMs: 1_000, run: async () => undefined };
    scheduler.add(job);
    expect(() => scheduler.add(job)).toThrow('already');
  });
});
