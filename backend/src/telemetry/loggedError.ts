/**
 * What the log may say of an error: its class, its code and its stack frames. Messages stay out, because libraries put
 * values into them (undici a header's, spawn its arguments, URL the address); so do all other members of an error. The
 * exception is `AppError`, whose message this project wrote for the log.
 */
import { AppError } from '../errors/appError.js';
import { redact } from './redact.js';

export interface LoggedError {
  readonly class: string;
  readonly code?: string;
  /** Only of an `AppError`, and redacted. */
  readonly reason?: string;
  readonly frames?: readonly string[];
  readonly cause?: LoggedError;
}

/** Reduces any thrown value; causes are followed four deep. */
export function toLoggedError(thrown: unknown, depth = 0): LoggedError {
  if (!(thrown instanceof Error)) return { class: thrown === null ? 'null' : typeof thrown };
  const code = readCode(thrown);
  const frames = readFrames(thrown);
  return {
    class: readClass(thrown),
    ...(code === null ? {} : { code }),
    ...(thrown instanceof AppError ? { reason: redact(thrown.message) } : {}),
    ...(frames.length === 0 ? {} : { frames }),
    ...(thrown.cause === undefined || depth === causesMax
      ? {}
      : { cause: toLoggedError(thrown.cause, depth + 1) }),
  };
}

const causesMax = 4;
const framesMax = 20;

function readClass(error: Error): string {
  const name = error.constructor.name;
  return /^[A-Za-z][A-Za-z0-9_]{0,63}$/.test(name) ? name : 'Error';
}

/** System (`ECONNREFUSED`), Node (`ERR_…`), SQLSTATE and our own codes; anything longer or freer is no code. */
function readCode(error: Error): string | null {
  if (!('code' in error)) return null;
  const { code } = error;
  if (typeof code === 'number') return String(code);
  return typeof code === 'string' && /^[A-Z0-9_]{1,64}$/.test(code) ? code : null;
}

/**
 * A stack repeats the message, and a message may hold lines that look like frames. So frames are read only where the
 * stack begins with exactly this message, and only in the shape that V8 gives to a place in a file.
 */
function readFrames({ stack, message }: Error): readonly string[] {
  if (typeof stack !== 'string') return [];
  const name = /^[\w$]+(?: \[\w+\])?/.exec(stack)?.[0];
  if (name === undefined) return [];
  const head = message === '' ? name : `${name}: ${message}`;
  if (!stack.startsWith(`${head}\n`)) return [];
  const lines = stack.slice(head.length + 1).split('\n', framesMax);
  return lines.filter((line) => framePattern.test(line)).map((line) => line.trim());
}

const framePattern = /^ {4}at (?:[\w$.<>#[\] ]{1,120} \()?(?:node:|file:\/\/)?[\w@./+-]{1,300}:\d+:\d+\)?$/;
