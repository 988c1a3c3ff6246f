import type { AppError } from '../../../backend/src/errors/appError.js';

/** The error with which the work was refused. @throws when it was not. */
export async function refusalOf(work: Promise<unknown>): Promise<AppError> {
  const outcome = await work.then(
    () => null,
    (error: unknown) => error as AppError,
  );
  if (outcome === null) throw new Error('nothing was refused');
  return outcome;
}
