/** Things under way stand in their list once, leave it once, and are found while they are in it. */
import { describe, expect, it } from '@jest/globals';
import { array, assert, boolean, nat, property, record } from 'fast-check';
import { UnderWay } from '../../backend/src/lifecycle/underWay.js';

describe('what is under way', () => {
  it('is what a Set would hold, whatever comes and goes', () => {
    const steps = array(record({ which: nat(7), adds: boolean() }));
    assert(
      property(steps, (taken) => {
        const things = Array.from({ length: 8 }, (_, name) => ({ name }));
        const list = new UnderWay<{ name: number }>(Symbol('place'));
        const set = new Set<{ name: number }>();
        for (const { which, adds } of taken) {
          const thing = things[which]!;
          const found = adds ? (list.add(thing), true) : list.delete(thing);
          const expected = adds ? (set.add(thing), true) : set.delete(thing);
          expect(found).toBe(expected);
          expect(list.size).toBe(set.size);
          expect(new Set(list)).toEqual(set);
        }
      }),
    );
  });

  it('takes nothing out of another list of the same key', () => {
    const key = Symbol('place');
    const [one, other] = [new UnderWay<object>(key), new UnderWay<object>(key)];
    const [first, second] = [{}, {}];
    one.add(first);
    other.add(second);
    expect(one.delete(second)).toBe(false);
    expect([one.size, other.size]).toEqual([1, 1]);
  });

  it('may change while it is gone through', () => {
    const list = new UnderWay<{ name: number }>(Symbol('place'));
    for (let name = 0; name < 4; name++) list.add({ name });
    for (const one of list) list.delete(one);
    expect(list.size).toBe(0);
  });
});
