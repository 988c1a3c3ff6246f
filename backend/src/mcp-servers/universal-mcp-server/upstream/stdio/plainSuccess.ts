import { isUtf8 } from 'node:buffer';

/**
 * Whether a line is, without being read, surely a response that says success: it begins as servers write one, so it is
 * neither a request nor an error, and nowhere does it say `isError`, which in text would be escaped. It is text that fits
 * into an event, too. False says nothing.
 *
 * The words that are searched for begin with what is rare in text, for a search stops at each candidate.
 */
export function isPlainSuccess(line: Buffer): boolean {
  const head = line.toString('latin1', 0, headBytes);
  return beginnings.test(head) && !line.includes('Error"') && !line.includes(carriageReturn) && isUtf8(line);
}

const headBytes = 64;
const beginnings = /^\{(?:"jsonrpc":"2\.0",)?(?:"id":\d+,)?(?:"jsonrpc":"2\.0",)?"result":\{/;
const carriageReturn = 0x0d;
