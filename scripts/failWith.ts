import { AppError } from '../backend/src/errors/appError.js';

/**
 * Ends a program with exit code 1 and one message on stderr. Errors that were meant to be told come without a stack;
 * the message of their cause, such as the database's, comes along.
 */
export function failWith(thrown: unknown): void {
  process.exitCode = 1;
  if (typeof thrown === 'string') return console.error(thrown);
  if (!(thrown instanceof AppError)) return console.error(thrown);
  console.error(`${thrown.code}: ${thrown.message}`);
  for (const { pointer, message } of thrown.options.fields ?? []) console.error(`  ${pointer}: ${message}`);
  if (thrown.cause instanceof Error) console.error(`  because of ${thrown.cause.message}`);
}
