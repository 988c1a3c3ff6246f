import { readFileSync } from 'node:fs';
import { AppError } from '../errors/appError.js';

/**
 * Text that must not be printed. It shows itself as `[secret]` to `String`, `JSON.stringify`, `util.inspect` and
 * template strings; only `reveal` gives it out, at the place of use.
 */
export class Secret {
  readonly #value: string;

  constructor(value: string) {
    this.#value = value;
  }

  reveal(): string {
    return this.#value;
  }

  toString(): string {
    return '[secret]';
  }

  toJSON(): string {
    return '[secret]';
  }

  [Symbol.for('nodejs.util.inspect.custom')](): string {
    return '[secret]';
  }
}

/**
 * Reads a secret from its file; the trailing newline that editors add is dropped.
 * @throws AppError CONFIG_INVALID that names what the file is for and where it was looked for.
 */
export function readSecretFile(path: string, what: string): Secret {
  try {
    return new Secret(readFileSync(path, 'utf8').trimEnd());
  } catch (cause) {
    throw new AppError('CONFIG_INVALID', `cannot read ${what} at ${path}; run the set-up first`, { cause });
  }
}
