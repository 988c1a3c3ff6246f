/** "Orphans" of the reliability promises, whole. */
import { expect, it } from '@jest/globals';
import { storm } from '../support/disconnectStorm.js';

it('R11 R23 after 10,000 clients that vanished, and a SIGKILL of the service itself, no child is left, memory and descriptors are flat', async () => {
  const report = await storm(10_000);
  process.stdout.write(`10,000 disconnects: ${JSON.stringify(report)}\n`);
  expect(report.childrenAtKill).toBeGreaterThan(0);
  expect(report.orphans).toBe(0);
  expect(report.after.rssMiB - report.before.rssMiB).toBeLessThan(50);
  expect(report.after.descriptors - report.before.descriptors).toBeLessThan(100);
}, 600_000);
