import { describe, expect, it } from '@jest/globals';
import * as fc from 'fast-check';
import { FairQueue } from '../../backend/src/lifecycle/fairQueue.js';

describe('FairQueue', () => {
  it('serves tenants in turn, and each in the order in which their things came', () => {
    const queue = new FairQueue<string>();
    for (const thing of ['a1', 'a2', 'a3', 'b1', 'c1', 'c2']) queue.push(thing.slice(0, 1), thing);
    const served: (string | undefined)[] = [];
    while (queue.size > 0) served.push(queue.shift());
    expect(served).toEqual(['a1', 'b1', 'c1', 'a2', 'c2', 'a3']);
    expect(queue.shift()).toBeUndefined();
  });

  it('lets a newcomer wait for one turn of each tenant at most, whatever waits', () => {
    fc.assert(
      fc.property(
        fc.array(fc.record({ tenant: fc.integer({ min: 0, max: 5 }), shifts: fc.nat(2) }), {
          maxLength: 200,
        }),
        (steps) => {
          const queue = new FairQueue<{ tenant: number; at: number }>();
          const last = new Map<number, number>();
          steps.forEach(({ tenant, shifts }, at) => {
            queue.push(String(tenant), { tenant, at });
            for (let n = 0; n < shifts; n += 1) {
              const served = queue.shift();
              if (served === undefined) continue;
              expect(served.at).toBeGreaterThan(last.get(served.tenant) ?? -1);
              last.set(served.tenant, served.at);
            }
          });
          queue.push('newcomer', { tenant: -1, at: steps.length });
          const before: number[] = [];
          for (let served = queue.shift(); served?.tenant !== -1; served = queue.shift())
            before.push(served?.tenant ?? -2);
          expect(new Set(before).size).toBe(before.length);
        },
      ),
    );
  });

  it('skips who may have no turn, and forgets who waits no more', () => {
    const queue = new FairQueue<number>();
    queue.push('a', 1);
    queue.push('b', 2);
    queue.push('b', 3);
    expect(queue.shift((tenant) => tenant !== 'a')).toBe(2);
    expect([queue.remove('b', 3), queue.remove('b', 3), queue.remove('a', 9)]).toEqual([true, false, false]);
    expect([queue.size, queue.sizeOf('a'), queue.sizeOf('b')]).toEqual([1, 1, 0]);
    expect(queue.shift(() => false)).toBeUndefined();
    expect(queue.shift()).toBe(1);
  });
});
