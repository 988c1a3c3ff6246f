/**
 * Passwords: argon2id (RFC 9106) with parameters at OWASP's floor. Hashing is bounded, so that a flood of sign-ins
 * costs the attacker waiting and the process neither its memory nor its thread pool. An unknown user costs as much time
 * as a wrong password (07 B07).
 */
import { hash, verify } from '@node-rs/argon2';
import { AppError } from '../errors/appError.js';

export const passwordBytesMin = 12;
export const passwordBytesMax = 1024;

export interface Passwords {
  /** A PHC string. @throws AppError RATE_LIMIT_EXCEEDED when too many wait. */
  hash(password: string): Promise<string>;
  /** Takes equally long whether or not there is a hash to compare with; without one the answer is false. */
  verify(passwordHash: string | null, password: string): Promise<boolean>;
}

export interface PasswordsOptions {
  /** Hashes at the same time; each takes 19 MiB and a thread of Node's pool of four. */
  readonly concurrencyMax?: number;
  /** Callers that may wait; the next is refused at once. */
  readonly waitingMax?: number;
}

/** OWASP Password Storage Cheat Sheet: argon2id with m=19 MiB, t=2, p=1. */
const parameters = {
  /** `Algorithm.Argon2id`, a const enum that isolated modules cannot read. */
  algorithm: 2,
  memoryCost: 19_456,
  timeCost: 2,
  parallelism: 1,
  outputLen: 32,
} as const;

export function createPasswords({ concurrencyMax = 2, waitingMax = 64 }: PasswordsOptions = {}): Passwords {
  const waiting: (() => void)[] = [];
  let running = 0;
  let decoy: Promise<string> | null = null;

  const takeTurn = async (): Promise<void> => {
    if (running < concurrencyMax) {
      running += 1;
      return;
    }
    if (waiting.length >= waitingMax) {
      throw new AppError('RATE_LIMIT_EXCEEDED', `${waitingMax} callers already wait for a hash`, {
        publicDetail: 'Too many people are signing in at this moment; try again shortly.',
        retryAfterSeconds: 2,
      });
    }
    // Whoever is done hands its place over, so `running` stays as it is.
    await new Promise<void>((resolve) => waiting.push(resolve));
  };
  const inTurn = async <T>(work: () => Promise<T>): Promise<T> => {
    await takeTurn();
    try {
      return await work();
    } finally {
      const next = waiting.shift();
      if (next === undefined) running -= 1;
      else next();
    }
  };

  return {
    hash: (password) => inTurn(() => hash(password, parameters)),
    verify: (passwordHash, password) =>
      inTurn(async () => {
        decoy ??= hash('no user has this password', parameters);
        const matches = await verify(passwordHash ?? (await decoy), password);
        return matches && passwordHash !== null;
      }),
  };
}
