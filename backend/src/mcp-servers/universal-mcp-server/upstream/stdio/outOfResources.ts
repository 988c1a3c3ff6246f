/** What the system says when it has no room for another child: no descriptors, no processes, no memory (R27). */
import { constants } from 'node:os';
import { AppError } from '../../../../errors/appError.js';

const { EMFILE, ENFILE, EAGAIN, ENOMEM } = constants.errno;
const numbers: ReadonlySet<unknown> = new Set([EMFILE, ENFILE, EAGAIN, ENOMEM].map((number) => -number));

/** The reason of a start that Node gave a child without pipes for: there is no descriptor left for them. */
export const outOfDescriptors = (): Error =>
  Object.assign(new Error('there is no descriptor left for a child'), { errno: -EMFILE });

/** The error of such a start in our words; any other as it is. */
export function orSaturated(error: unknown): unknown {
  // Told by number: some of Node's errors have a code of their own in its place (`ERR_SYSTEM_ERROR`).
  const number = error instanceof Error ? (error as NodeJS.ErrnoException).errno : undefined;
  if (error instanceof AppError || !numbers.has(number)) return error;
  return new AppError('SERVICE_SATURATED', `the system has no room for another child (errno ${number})`, {
    publicDetail: 'The machine of this service has no room for another process now. Try again in a moment.',
    retryAfterSeconds: 5,
  });
}
