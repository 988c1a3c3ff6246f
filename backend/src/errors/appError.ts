import { errorCodes, type ErrorCode, type ErrorForm } from './errorCodes.js';

/** One wrong place in what the caller sent: a JSON pointer (RFC 6901) into it and what to do about it. */
export interface InvalidField {
  readonly pointer: string;
  readonly message: string;
}

export interface AppErrorOptions {
  readonly cause?: unknown;
  /** A sentence for the caller: what is wrong and what to do. Never a secret, a URL of an instance or an internal. */
  readonly publicDetail?: string;
  readonly fields?: readonly InvalidField[];
  /** For 429 and 503: whole seconds until another try makes sense. */
  readonly retryAfterSeconds?: number;
  /** Further members of the problem body (RFC 9457 §3.2), such as `setup` instructions. */
  readonly extensions?: Readonly<Record<string, unknown>>;
}

/**
 * The one error that crosses rooms. `message` is for the log and may name ids; what goes on the wire is the code's
 * public title and the `publicDetail`, nothing else.
 */
export class AppError extends Error {
  override readonly name = 'AppError';
  readonly code: ErrorCode;
  readonly options: AppErrorOptions;

  constructor(code: ErrorCode, message: string, options: AppErrorOptions = {}) {
    super(message, options.cause === undefined ? undefined : { cause: options.cause });
    this.code = code;
    this.options = options;
  }

  get form(): ErrorForm {
    return errorCodes[this.code];
  }
}

/** Gives any thrown value the form of an `AppError`; what is unknown becomes `INTERNAL` with the original as its cause. */
export function toAppError(thrown: unknown): AppError {
  return thrown instanceof AppError
    ? thrown
    : new AppError('INTERNAL', 'unexpected error', { cause: thrown });
}
