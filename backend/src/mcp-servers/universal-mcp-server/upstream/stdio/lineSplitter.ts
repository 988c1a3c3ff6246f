/**
 * Cuts a child's stdout into lines without ever holding more than one line's bytes beyond the chunk at hand (stdio
 * transport: messages are delimited by newlines and contain none).
 */
export interface LineSplitter {
  /** Takes the next bytes. @returns false when a line grew past the cap; nothing more is taken then. */
  push(chunk: Buffer): boolean;
}

/** `onLine` gets the bytes from `start` to `end` of a buffer that is only valid during the call. Empty lines are left out. */
export function createLineSplitter(
  lineBytesMax: number,
  onLine: (bytes: Buffer, start: number, end: number) => void,
): LineSplitter {
  const parts: Buffer[] = [];
  let heldBytes = 0;
  let isOver = false;

  const emit = (bytes: Buffer, start: number, end: number): void => {
    const last = end > start && bytes[end - 1] === carriageReturn ? end - 1 : end;
    if (last > start) onLine(bytes, start, last);
  };

  return {
    push(chunk) {
      if (isOver) return false;
      let from = 0;
      for (let at = chunk.indexOf(newline); at !== -1; at = chunk.indexOf(newline, from)) {
        if (heldBytes + at - from > lineBytesMax) return !(isOver = true);
        if (heldBytes === 0) {
          emit(chunk, from, at);
        } else {
          parts.push(chunk.subarray(from, at));
          const line = Buffer.concat(parts, heldBytes + at - from);
          parts.length = 0;
          heldBytes = 0;
          emit(line, 0, line.length);
        }
        from = at + 1;
      }
      const rest = chunk.length - from;
      if (heldBytes + rest > lineBytesMax) {
        parts.length = 0;
        return !(isOver = true);
      }
      if (rest > 0) {
        parts.push(from === 0 ? chunk : chunk.subarray(from));
        heldBytes += rest;
      }
      return true;
    },
  };
}

const newline = 0x0a;
const carriageReturn = 0x0d;
