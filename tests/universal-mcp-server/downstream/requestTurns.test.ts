import { describe, expect, it } from '@jest/globals';
import type { AppError } from '../../../backend/src/errors/appError.js';
import {
  createRequestTurns,
  type RequestTurnsOptions,
} from '../../../backend/src/mcp-servers/universal-mcp-server/downstream/requestTurns.js';

/** Turns whose rounds the test calls, with what began in the order in which it began. */
function turnsByHand(options: Omit<RequestTurnsOptions, 'nextRound'> = {}) {
  const rounds: (() => void)[] = [];
  const begun: string[] = [];
  const turns = createRequestTurns({ ...options, nextRound: (round) => rounds.push(round) });
  return {
    turns,
    begun,
    ask: (user: string, now = 0): void => {
      const turn = turns.take(user, now);
      if (turn === null) begun.push(user);
      else void turn.then(() => begun.push(user));
    },
    /** One round of the event loop. @returns whether another one was asked for. */
    round: async (): Promise<boolean> => {
      rounds.shift()?.();
      await Promise.resolve();
      await Promise.resolve();
      return rounds.length > 0;
    },
  };
}

const failure = (act: () => unknown): AppError => {
  try {
    act();
  } catch (error) {
    return error as AppError;
  }
  throw new Error('it succeeded');
};

describe('createRequestTurns', () => {
  it('makes nobody wait who is alone', async () => {
    const { ask, begun, round } = turnsByHand();
    ask('a', 0);
    for (let at = 0; at < 50; at += 1) ask('a', 2_000);
    await round();
    expect(begun).toHaveLength(51);
  });

  it('begins with whoever has less waiting, when one user sends ten times as much', async () => {
    const { ask, begun, round } = turnsByHand({ startsPerRound: 2 });
    for (let at = 0; at < 10; at += 1) ask('heavy');
    ask('light');
    expect(begun).toEqual(['heavy', 'light']);
    ask('light');
    await round();
    expect(begun.slice(2)).toEqual(['heavy', 'light']);
    while (await round());
    expect(begun.slice(4)).toEqual(Array.from({ length: 8 }, () => 'heavy'));
  });

  it('begins a few in a round and no more, and forgets nobody', async () => {
    const { ask, begun, round, turns } = turnsByHand({ startsPerRound: 3 });
    const users = Array.from({ length: 10 }, (_, at) => `user-${at}`);
    for (const user of users) ask(user);
    const sizes = [begun.length];
    while (await round()) sizes.push(begun.length);
    expect(sizes).toEqual([3, 6, 9, 10]);
    expect([...begun].sort()).toEqual(users);
    expect(turns.waiting).toBe(0);
  });

  it('R19 refuses what would wait too long: of one user, and of all together', () => {
    const { ask, turns } = turnsByHand({
      startsPerRound: 1,
      waitingPerUserMax: 2,
      waitingMax: 4,
      random: () => 0.99,
    });
    for (let at = 0; at < 3; at += 1) ask('a');
    ask('b');
    const ofOne = failure(() => turns.take('a', 0));
    expect([ofOne.code, ofOne.options.retryAfterSeconds]).toEqual(['RATE_LIMIT_EXCEEDED', 1]);
    ask('c');
    const ofAll = failure(() => turns.take('d', 0));
    expect([ofAll.code, ofAll.options.retryAfterSeconds]).toEqual(['SERVICE_SATURATED', 5]);
    expect(turns.waiting).toBe(4);
  });
});
