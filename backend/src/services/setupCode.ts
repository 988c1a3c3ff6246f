/**
 * The set-up code: who can read a file of mode 0600 in the state directory may make the first admin. A code lives for 30
 * minutes by the file's own time and is issued anew while there is no admin (12.26). Several processes may share the
 * file: what it holds at the time of asking is what counts.
 */
import { timingSafeEqual } from 'node:crypto';
import { readFileSync, renameSync, rmSync, statSync, writeFileSync } from 'node:fs';
import type { RandomBytes } from '../vault/keyRing.js';
import { digestOf } from './opaqueSecret.js';

const codeMinutes = 30;
const codeMs = codeMinutes * 60_000;
/** A code is replaced a little early, so that one that was just read stays good for a while. */
const renewalMs = 5 * 60_000;
const skewMs = 60_000;
const codeForm = /^[0-9A-HJKMNP-TV-Z]{4}(-[0-9A-HJKMNP-TV-Z]{4}){4}$/;

export interface SetupCode {
  /** Writes a new code unless there is a fresh one; answers whether it did. */
  issue(): boolean;
  matches(given: string): boolean;
  /** Set-up is over: the file goes. */
  withdraw(): void;
}

export interface SetupCodeOptions {
  readonly path: string;
  readonly randomBytes: RandomBytes;
  readonly now: () => number;
}

export function createSetupCode({ path, randomBytes, now }: SetupCodeOptions): SetupCode {
  /** Age in ms of the file; null when there is none. A time in the future counts as too old. */
  const ageMs = (): number | null => {
    const stat = statSync(path, { throwIfNoEntry: false });
    if (stat === undefined) return null;
    const age = now() - stat.mtimeMs;
    return age < -skewMs ? Number.POSITIVE_INFINITY : age;
  };

  return {
    issue() {
      const age = ageMs();
      if (age !== null && age < codeMs - renewalMs) return false;
      const draft = `${path}.${process.pid}`;
      writeFileSync(draft, `${toCode(randomBytes)}\n`, { mode: 0o600 });
      renameSync(draft, path);
      return true;
    },
    matches(given) {
      const age = ageMs();
      if (age === null || age >= codeMs) return false;
      // Digests have one length, so comparing them tells nothing of the code's.
      const code = readFileSync(path, 'utf8').trim();
      return codeForm.test(code) && timingSafeEqual(digestOf(code), digestOf(given.trim()));
    },
    withdraw: () => rmSync(path, { force: true }),
  };
}

/** 100 random bits in five groups that can be read out and typed: Crockford's base 32, without I, L, O and U. */
function toCode(randomBytes: RandomBytes): string {
  const characters = [...randomBytes(20)].map((byte) => '0123456789ABCDEFGHJKMNPQRSTVWXYZ'[byte & 31]);
  return [0, 4, 8, 12, 16].map((at) => characters.slice(at, at + 4).join('')).join('-');
}
