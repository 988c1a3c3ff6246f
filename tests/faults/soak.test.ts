/** The soak of `npm run soak`, for as long as CI has: a fleet under faults, clients and owners, by fixed seeds. */
import { describe, expect, it } from '@jest/globals';
import { faultTable, planFaults, type PlannedFault } from '../support/soak/faultTable.js';
import { toText } from '../support/soak/report.js';
import { soak } from '../support/soak/soak.js';

const toLine = ({ fault, detail, afterMs, lastsMs, isBesides }: PlannedFault): string =>
  [fault.id, detail, afterMs, lastsMs, isBesides].join(' ');

function take(seed: number, count: number): string[] {
  const plans = planFaults(seed);
  return Array.from({ length: count }, () => toLine(plans.next().value));
}

describe('the schedule', () => {
  it('is the same for the same seed, and another for another', () => {
    expect(take(7, 60)).toEqual(take(7, 60));
    expect(take(7, 60)).not.toEqual(take(8, 60));
  });

  it('has every fault of the table before it has one again', () => {
    const ids = take(7, faultTable.length).map((text) => text.split(' ')[0]);
    expect(new Set(ids)).toEqual(new Set(faultTable.map(({ id }) => id)));
  });
});

describe('a fleet under faults', () => {
  it('R01 R02 R03 R04 R11 R12 R13 R26 keeps every invariant for as long as the soak goes', async () => {
    const report = await soak({ seed: 20_261_121, minutes: 1.25 });
    process.stdout.write(toText(report));
    expect(report.violations).toEqual([]);
    // It saw something.
    expect(report.answered).toBeGreaterThan(100);
    expect(report.seenUpstream).toBeGreaterThan(100);
    expect(report.changes.acknowledged).toBeGreaterThan(5);
    expect(report.faults.length).toBeGreaterThan(3);
  }, 480_000);
});
