/** Passwords: argon2id at OWASP's floor, bounded, and no telling of who exists. */
import { describe, expect, it } from '@jest/globals';
import { createPasswords } from '../../backend/src/services/passwords.js';
import { goodPassword, openMainApi } from '../support/mainApi.js';

describe('passwords', () => {
  it('are kept as argon2id with m=19 MiB, t=2, p=1, salted anew each time', async () => {
    const passwords = createPasswords();
    const [one, two] = [await passwords.hash(goodPassword), await passwords.hash(goodPassword)];
    expect(one).toMatch(/^\$argon2id\$v=19\$m=19456,t=2,p=1\$[A-Za-z0-9+/]{22}\$[A-Za-z0-9+/]{43}$/);
    expect(one).not.toBe(two);
    expect(await passwords.verify(one, goodPassword)).toBe(true);
    expect(await passwords.verify(one, `${goodPassword} `)).toBe(false);
    expect(await passwords.verify(null, 'no user has this password')).toBe(false);
  });

  it('are hashed a few at a time, wait their turn, and are refused beyond the queue', async () => {
    const passwords = createPasswords({ concurrencyMax: 1, waitingMax: 2 });
    const results = await Promise.allSettled(Array.from({ length: 5 }, () => passwords.hash(goodPassword)));
    const refused = results.flatMap((one) => (one.status === 'rejected' ? [one.reason.code as string] : []));
    expect(refused).toEqual(['RATE_LIMIT_EXCEEDED', 'RATE_LIMIT_EXCEEDED']);
    expect(await passwords.verify(await passwords.hash('again possible'), 'again possible')).toBe(true);
  });

  it('B07 take as long for an unknown user as for a wrong password, with the same answer', async () => {
    await using api = await openMainApi();
    const { email } = await api.aPerson();
    const signIn = async (address: string) => {
      const startedAt = performance.now();
      const { status, body } = await api.post('/api/v1/auth/login', {
        email: address,
        password: 'a wrong password',
      });
      const { requestId: _varies, ...rest } = body as Record<string, unknown>;
      return { ms: performance.now() - startedAt, answer: { status, ...rest } };
    };
    await signIn('warm-up@example.com');
    /**
     * How much longer a known user takes, as a share of the whole: the median of the differences within pairs, of which
     * every second one is turned round. A busy machine slows both of a pair alike.
     */
    const compare = async (): Promise<number> => {
      const [differences, all]: [number[], number[]] = [[], []];
      for (let pair = 0; pair < 40; pair += 1) {
        const addresses = [email, `nobody-${pair}@example.com`];
        if (pair % 2 === 1) addresses.reverse();
        const [first, second] = [await signIn(addresses[0]!), await signIn(addresses[1]!)];
        expect(first.answer).toEqual(second.answer);
        const longer = first.ms - second.ms;
        differences.push(pair % 2 === 1 ? -longer : longer);
        all.push(first.ms, second.ms);
      }
      return median(differences) / median(all);
    };
    const first = await compare();
    const share = Math.abs(first) < 0.1 ? first : await compare();
    expect(Math.abs(share)).toBeLessThan(0.1);
  }, 60_000);
});

function median(numbers: readonly number[]): number {
  return numbers.toSorted((a, b) => a - b)[Math.floor(numbers.length / 2)]!;
}
