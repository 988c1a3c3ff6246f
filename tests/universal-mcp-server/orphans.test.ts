import { expect, it } from '@jest/globals';
import { storm } from '../support/disconnectStorm.js';

it('R11 R23 after 200 clients that vanished, and a SIGKILL of the service itself, no child is left', async () => {
  const report = await storm(200);
  expect(report.childrenAtKill).toBeGreaterThan(0);
  expect(report.orphans).toBe(0);
  expect(report.after.descriptors - report.before.descriptors).toBeLessThan(60);
}, 60_000);
