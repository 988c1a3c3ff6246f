/**
 * How many streams without an end of their own one instance, one user and one process may hold open (07 I02). A stream costs
 * a socket or two for as long as it stays, so whoever opens thousands is refused while the others still find room.
 */
import type { ServerResponse } from 'node:http';
import { AppError } from '../../../errors/appError.js';
import type { SealedInstance } from '../../../services/instanceResolver.js';

export interface StreamPlaces {
  /**
   * Takes a place until the answer is closed.
   * @throws AppError RATE_LIMIT_EXCEEDED for the instance or the user, SERVICE_UNAVAILABLE when the process is full.
   */
  take(instance: Pick<SealedInstance, 'id' | 'userId'>, response: ServerResponse): void;
}

/** A client has one to three; a team behind one URL has a few dozen. */
export const streamsMax = { instance: 100, user: 200, process: 5_000 } as const;

export function createStreamPlaces(onRefused: (scope: string) => void = () => {}): StreamPlaces {
  const held = new Map<string, number>();
  let all = 0;
  const countOf = (key: string): number => held.get(key) ?? 0;
  const leave = (key: string): void => {
    const left = countOf(key) - 1;
    if (left > 0) held.set(key, left);
    else held.delete(key);
  };
  const refuse = (scope: 'instance' | 'user'): never => {
    onRefused(`${scope}-streams`);
    throw new AppError('RATE_LIMIT_EXCEEDED', `the ${scope} has too many streams`, {
      publicDetail: `${streamsMax[scope]} streams are open already. Close one first.`,
      retryAfterSeconds: 5,
    });
  };

  return {
    take({ id, userId }, response) {
      const keys = [`instance/${id}`, `user/${userId}`] as const;
      if (countOf(keys[0]) >= streamsMax.instance) refuse('instance');
      if (countOf(keys[1]) >= streamsMax.user) refuse('user');
      if (all >= streamsMax.process) {
        onRefused('process-streams');
        throw new AppError('SERVICE_UNAVAILABLE', 'the process has too many streams', {
          retryAfterSeconds: 5,
        });
      }
      all += 1;
      for (const key of keys) held.set(key, countOf(key) + 1);
      response.once('close', () => {
        all -= 1;
        for (const key of keys) leave(key);
      });
    },
  };
}
