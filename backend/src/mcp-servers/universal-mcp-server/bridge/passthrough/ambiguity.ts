/**
 * Two parsers may read one message in two ways: of a member that stands twice some take the first and some the last, and
 * some take `Name` for `name`. Where bytes pass, what was judged here and what the upstream does would then differ, so such
 * a message is refused (RFC 8259 §4 calls its meaning unpredictable).
 */
import { AppError } from '../../../../errors/appError.js';
import type { JsonRpcMessage } from '../../protocol/jsonRpc.js';
import { findMember, namesOf } from '../../protocol/jsonScan.js';

const decidingMembers: ReadonlySet<string> = new Set(['id', 'method', 'params', 'result', 'error']);
const decidingParams: ReadonlySet<string> = new Set(['name', 'uri', 'arguments', '_meta']);

/**
 * @param body the message's bytes, of which `message` is what they parse to.
 * @throws AppError INVALID_REQUEST
 */
export function refuseAmbiguous(body: Buffer, message: JsonRpcMessage): void {
  refuseDoubles(namesOf(body, 0), decidingMembers);
  if (!('params' in message) || message.params === undefined) return;
  const params = findMember(body, 'params');
  refuseDoubles(params === null ? null : namesOf(body, params.start), decidingParams);
}

function refuseDoubles(names: readonly string[] | null, deciding: ReadonlySet<string>): void {
  const seen: string[] = [];
  for (const name of names ?? []) {
    const plain = deciding.has(name) ? name : toPlain(name, deciding);
    if (plain === null) continue;
    if (plain !== name || seen.includes(plain)) throw ambiguous();
    seen.push(plain);
  }
  if (names === null) throw ambiguous();
}

/** The deciding name that a parser without regard for case would take this one for. */
function toPlain(name: string, deciding: ReadonlySet<string>): string | null {
  // The letters beyond ASCII that fold to ASCII ones are as long as what they fold to.
  if (name.length > longestName) return null;
  const folded = name.toUpperCase();
  for (const one of deciding) if (one.toUpperCase() === folded) return one;
  return null;
}

const longestName = 9;

function ambiguous(): AppError {
  return new AppError('INVALID_REQUEST', 'a member of the message stands twice', {
    publicDetail: 'A member of the message stands twice, or in letters of another case.',
  });
}
