import { AppError } from '../errors/appError.js';

/**
 * Tells a database that cannot be used from a statement that was wrong. SQLSTATE codes: PostgreSQL documentation,
 * appendix A. The texts are those of `pg` and `pg-pool`, which give no code to their own timeouts.
 */
const unavailableStates = new Set([
  '25P03', // idle_in_transaction_session_timeout
  '25P04', // transaction_timeout
  '53000', // insufficient_resources
  '53100', // disk_full
  '53200', // out_of_memory
  '53300', // too_many_connections
  '55P03', // lock_not_available
  '57014', // query_canceled, which a statement timeout is
  '57P01', // admin_shutdown
  '57P02', // crash_shutdown
  '57P03', // cannot_connect_now
  '57P05', // idle_session_timeout
]);
const socketCodes = new Set([
  'ECONNREFUSED',
  'ECONNRESET',
  'EHOSTUNREACH',
  'ENETUNREACH',
  'ENOENT',
  'ENOTFOUND',
  'EAI_AGAIN',
  'EPIPE',
  'ETIMEDOUT',
]);
const driverTexts =
  /^(timeout expired$|timeout exceeded when trying to connect|Connection terminated|Query read timeout|Client has encountered a connection error|Client was closed|Cannot use a pool after calling end|Client has already been connected|The client was closed)/;

/** SQLSTATE or system error code of a thrown value, if it has one. */
export function codeOf(thrown: unknown): string | undefined {
  const code: unknown = thrown instanceof Error && 'code' in thrown ? thrown.code : undefined;
  return typeof code === 'string' ? code : undefined;
}

/** True when the connection itself broke or never came about: nothing more can be said on it. */
export function isConnectionLost(thrown: unknown): boolean {
  if (!(thrown instanceof Error)) return false;
  const code = codeOf(thrown);
  if (code === undefined) return driverTexts.test(thrown.message);
  return socketCodes.has(code) || code.startsWith('08') || code.startsWith('57P') || code.startsWith('25P0');
}

/** Gives a failure of the database the code DATABASE_UNAVAILABLE and leaves every other error as it is. */
export function toDatabaseError(thrown: unknown): unknown {
  const code = codeOf(thrown);
  if (!isConnectionLost(thrown) && (code === undefined || !unavailableStates.has(code))) return thrown;
  return new AppError('DATABASE_UNAVAILABLE', `the database cannot be used (${code ?? 'timeout'})`, {
    cause: thrown,
    retryAfterSeconds: 2,
  });
}

/** True for a violated unique constraint or index, of that name when one is given. */
export function isUniqueViolation(thrown: unknown, constraint?: string): boolean {
  if (codeOf(thrown) !== '23505') return false;
  return (
    constraint === undefined ||
    (thrown instanceof Error && 'constraint' in thrown && thrown.constraint === constraint)
  );
}
