import { afterAll, beforeAll, jest } from '@jest/globals';
import { eventually } from './eventually.js';

// On a CI machine two cores carry whole fleets: a test that fails is tried once more, and its first failure is printed.
if (process.env['CI'] === 'true') jest.retryTimes(1, { logErrorsBeforeRetry: true });

/** Kinds of handles that a test file must not leave behind, as Node names them. */
const watched = ['ProcessWrap', 'TCPServerWrap', 'PipeServerWrap', 'FSEventWrap'] as const;

function countHandles(): Map<string, number> {
  const counts = new Map<string, number>();
  for (const kind of process.getActiveResourcesInfo()) counts.set(kind, (counts.get(kind) ?? 0) + 1);
  return counts;
}

let before = new Map<string, number>();
beforeAll(() => {
  before = countHandles();
});

/** Fails a file that leaves a child process or a listening socket behind. */
afterAll(async () => {
  const left = await eventually(() => {
    const now = countHandles();
    const value = watched.filter((kind) => (now.get(kind) ?? 0) > (before.get(kind) ?? 0));
    return { isDone: value.length === 0, value };
  });
  if (left.length > 0) throw new Error(`left behind by this test file: ${left.join(', ')}`);
}, 10_000);
