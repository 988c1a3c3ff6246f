/**
 * Runs work that is nobody's promise to be short: a pattern of somebody else's on a text of somebody else's, a schema on a
 * document. V8 ends it when its time is up, in a loop as in a regular expression, so that the event loop turns on (R28).
 * What is under way is cut off anywhere: it must own what it changes.
 */
import { createContext, Script, type Context } from 'node:vm';

const entry = new Script('work()');
let context: Context | null = null;

/**
 * Gives what `work` returns, or null when it took longer. It costs some 60 µs (a thread that watches), so it is for work
 * that may be long, not for all. Work must be synchronous; what it throws is thrown.
 */
export function withinTime<T extends object | string | number | boolean>(
  timeLimitMs: number,
  work: () => T,
): T | null {
  context ??= createContext(Object.create(null) as Context);
  context['work'] = work;
  try {
    return entry.runInContext(context, { timeout: timeLimitMs }) as T;
  } catch (thrown) {
    // Of this realm, since it is Node's own; an error of the work's is the work's.
    if (thrown instanceof Error && 'code' in thrown && thrown.code === 'ERR_SCRIPT_EXECUTION_TIMEOUT')
      return null;
    throw thrown;
  } finally {
    context['work'] = null;
  }
}
