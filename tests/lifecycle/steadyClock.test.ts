/** What is over does not begin again because somebody sets the clock back (R16). */
import { randomUUID } from 'node:crypto';
import { describe, expect, it } from '@jest/globals';
import { createSteadyClock } from '../../backend/src/lifecycle/steadyClock.js';
import { createAccessTokens } from '../../backend/src/services/accessTokens.js';
import { newJwtKeysFiles, parseSigningKeys } from '../../backend/src/services/jwtKeys.js';

const hour = 3_600_000;
const dayStart = Date.parse('2026-01-01T00:00:00Z');

/** Two clocks of a machine, which go on together until one is set. */
function aMachine() {
  let elapsed = 5;
  let offset = 0;
  return {
    wall: () => dayStart + elapsed + offset,
    monotonic: () => elapsed,
    pass: (ms: number) => void (elapsed += ms),
    set: (ms: number) => void (offset = ms),
  };
}

describe('the steady clock', () => {
  it('R16 follows the clock forward and back to where it was, and never further back', () => {
    const machine = aMachine();
    const now = createSteadyClock(machine.wall, machine.monotonic);
    const right = (): number => dayStart + machine.monotonic();
    for (const [offset, ahead] of [
      [0, 0],
      [hour, hour],
      [0, 0],
      [-hour, 0],
      [24 * hour, 24 * hour],
      [-24 * hour, 0],
      [0, 0],
    ] as const) {
      machine.set(offset);
      machine.pass(1_000);
      expect(now() - right()).toBe(ahead);
    }
  });

  it.each([1, 24])('R16 no access token comes back or lives longer when the clock jumps %s h', (hours) => {
    const machine = aMachine();
    const keys = parseSigningKeys(newJwtKeysFiles(randomUUID).privateText);
    const now = createSteadyClock(machine.wall, machine.monotonic);
    const tokens = createAccessTokens({ keys, issuer: 'https://x.example', now, newId: randomUUID });
    const claims = { userId: randomUUID(), sessionId: randomUUID() };
    const refused = expect.objectContaining({ code: 'UNAUTHENTICATED' }) as unknown as Error;

    const first = tokens.sign(claims);
    expect(tokens.verify(first)).toEqual(claims);
    machine.pass(hours * hour);
    expect(() => tokens.verify(first)).toThrow(refused);
    machine.set(-hours * hour);
    expect(() => tokens.verify(first)).toThrow(refused);
    // Nobody is locked out by it.
    expect(tokens.verify(tokens.sign(claims))).toEqual(claims);

    machine.set(hours * hour);
    const early = tokens.sign(claims);
    expect(tokens.verify(early)).toEqual(claims);
    machine.set(0);
    expect(() => tokens.verify(early)).toThrow(refused);
    expect(tokens.verify(tokens.sign(claims))).toEqual(claims);
  });
});
