/**
 * Two parsers may read one message in two ways: of a member that stands twice some take the first and some the last, and
 * some take `Name` for `name`. Where bytes pass, what was judged here and what the upstream does would then differ, so such
 * a message is refused (RFC 8259 §4 calls its meaning unpredictable).
 */
import { AppError } from '../../../../errors/appError.js';
import { isJsonObject, type JsonRpcMessage } from '../../protocol/jsonRpc.js';

const decidingMembers: ReadonlySet<string> = new Set(['id', 'method', 'params', 'result', 'error']);
const decidingParams: ReadonlySet<string> = new Set(['name', 'uri', 'arguments', '_meta']);

/**
 * Looks at the message's own members and at those of what they hold: what is deeper decides nothing here. A member that
 * stands twice is one member of the parsed message, so counting tells it, escapes in names or not.
 * @param body the message's bytes, of which `message` is what they parse to.
 * @throws AppError INVALID_REQUEST
 */
export function refuseAmbiguous(body: Buffer, message: JsonRpcMessage): void {
  let outer = 0;
  let inner = 0;
  for (const value of Object.values(message) as unknown[]) {
    outer += 1;
    if (isJsonObject(value)) inner += Object.keys(value).length;
  }
  if (countMembers(body) !== outer + inner * innerWeight) throw ambiguous();
  refuseOtherCase(message, decidingMembers);
  if ('params' in message && message.params !== undefined) refuseOtherCase(message.params, decidingParams);
}

/** A message has fewer members than this, so that one number holds both counts. */
const innerWeight = 2 ** 26;

const quote = 0x22;
const backslash = 0x5c;
const colon = 0x3a;
const openBrace = 0x7b;
const closeBrace = 0x7d;
const openBracket = 0x5b;
const closeBracket = 0x5d;

/** Members at the first level, and those at the second by `innerWeight`, of bytes that are JSON. */
function countMembers(body: Buffer): number {
  let depth = 0;
  let count = 0;
  for (let at = 0; at < body.length; at += 1) {
    switch (body[at] ?? 0) {
      case quote:
        for (at += 1; body[at] !== quote && at < body.length; at += 1) if (body[at] === backslash) at += 1;
        break;
      case colon:
        if (depth === 1) count += 1;
        else if (depth === 2) count += innerWeight;
        break;
      case openBrace:
      case openBracket:
        depth += 1;
        break;
      case closeBrace:
      case closeBracket:
        depth -= 1;
    }
  }
  return count;
}

/** The letters beyond ASCII that fold to ASCII ones are as long as what they fold to. */
const longestName = 9;

function refuseOtherCase(members: object, deciding: ReadonlySet<string>): void {
  for (const name in members) {
    if (name.length > longestName || name === 'jsonrpc' || deciding.has(name)) continue;
    const folded = name.toUpperCase();
    for (const one of deciding) if (one.toUpperCase() === folded) throw ambiguous();
  }
}

function ambiguous(): AppError {
  return new AppError('INVALID_REQUEST', 'a member of the message stands twice', {
    publicDetail: 'A member of the message stands twice, or in letters of another case.',
  });
}
