/**
 * Cuts a stream of bytes into SSE frames and reads one where somebody wants to know what it says (WHATWG HTML, "Server-sent
 * events"). The frames together are the stream, byte for byte, so a relay that writes them changes nothing: ids, retry
 * times, comments and line ends of whichever kind stay as they came. Bytes are searched, not decoded: a character that is
 * split over two pieces is of no concern here.
 */
import { AppError } from '../../../errors/appError.js';

/** What a frame says. Null is what it does not say. */
export interface SseFields {
  /** UTF-8; several `data` lines are joined by LF. */
  readonly data: Buffer | null;
  readonly event: string | null;
  readonly id: string | null;
  readonly retryMs: number | null;
}

export interface SseFramesOptions {
  /** Of one frame, as it came. */
  readonly frameBytesMax: number;
  /** A frame with the blank line that ends it; a line end that was cut in two may stand at its beginning. */
  readonly onFrame: (frame: Buffer) => void;
}

const lf = 0x0a;
const cr = 0x0d;

export class SseFrames {
  readonly #options: SseFramesOptions;
  /** The beginning of a frame whose end has not come. */
  #pieces: Buffer[] = [];
  #heldBytes = 0;
  /** Nothing stands in the current line so far. */
  #isLineEmpty = true;
  /** The last byte was a CR; a LF that follows belongs to the same line end. */
  #isAfterCr = false;

  constructor(options: SseFramesOptions) {
    this.#options = options;
  }

  /** Whether a frame was begun and not ended. */
  get isWithin(): boolean {
    return this.#heldBytes > 0;
  }

  /** @throws AppError PAYLOAD_TOO_LARGE; nothing can be pushed after that. */
  push(piece: Buffer): void {
    let frameStart = 0;
    let lineStart = 0;
    let nextLf = piece.indexOf(lf);
    let nextCr = piece.indexOf(cr);
    if (this.#isAfterCr && nextLf === 0) {
      lineStart = 1;
      nextLf = piece.indexOf(lf, 1);
    }
    this.#isAfterCr = piece.length === 0 && this.#isAfterCr;
    while (nextLf >= 0 || nextCr >= 0) {
      const isCr = nextCr >= 0 && (nextLf < 0 || nextCr < nextLf);
      const end = isCr ? nextCr : nextLf;
      let after = end + 1;
      if (isCr && after === nextLf) after += 1;
      else if (isCr && after === piece.length) this.#isAfterCr = true;
      if (end === lineStart && this.#isLineEmpty) {
        this.#emit(piece.subarray(frameStart, after));
        frameStart = after;
      }
      this.#isLineEmpty = true;
      lineStart = after;
      if (nextLf >= 0 && nextLf < after) nextLf = piece.indexOf(lf, after);
      if (nextCr >= 0 && nextCr < after) nextCr = piece.indexOf(cr, after);
    }
    if (lineStart < piece.length) this.#isLineEmpty = false;
    if (frameStart < piece.length) this.#hold(frameStart === 0 ? piece : piece.subarray(frameStart));
  }

  /** What came after the last blank line: nothing, or a frame that its sender never ended. */
  takeRest(): Buffer {
    const rest = Buffer.concat(this.#pieces);
    this.#pieces = [];
    this.#heldBytes = 0;
    return rest;
  }

  #emit(last: Buffer): void {
    this.#refuseAbove(this.#heldBytes + last.length);
    if (this.#heldBytes === 0) return this.#options.onFrame(last);
    this.#pieces.push(last);
    this.#options.onFrame(this.takeRest());
  }

  #hold(piece: Buffer): void {
    this.#refuseAbove(this.#heldBytes + piece.length);
    this.#pieces.push(piece);
    this.#heldBytes += piece.length;
  }

  #refuseAbove(bytes: number): void {
    if (bytes <= this.#options.frameBytesMax) return;
    throw new AppError('PAYLOAD_TOO_LARGE', `a frame of more than ${this.#options.frameBytesMax} bytes`);
  }
}

const colon = 0x3a;
const space = 0x20;
const byteOrderMark = Buffer.from([0xef, 0xbb, 0xbf]);
const data = Buffer.from('data');
const event = Buffer.from('event');
const id = Buffer.from('id');
const retry = Buffer.from('retry');

/** Reads a frame as `SseFrames` gives it. A byte order mark is passed over at its beginning. */
export function readFrame(frame: Buffer): SseFields {
  let first: Buffer | null = null;
  let more: Buffer[] | null = null;
  let eventName: string | null = null;
  let idText: string | null = null;
  let retryMs: number | null = null;
  let start = frame.subarray(0, 3).equals(byteOrderMark) ? 3 : 0;
  while (start < frame.length) {
    const end = endOfLine(frame, start);
    const fieldEnd = frame.indexOf(colon, start);
    const nameEnd = fieldEnd < 0 || fieldEnd > end ? end : fieldEnd;
    let valueStart = Math.min(nameEnd + 1, end);
    if (frame[valueStart] === space && valueStart < end) valueStart += 1;
    if (isName(frame, start, nameEnd, data)) {
      const value = frame.subarray(valueStart, end);
      if (first === null) first = value;
      else (more ??= [first]).push(newLine, value);
    } else if (isName(frame, start, nameEnd, event)) {
      eventName = frame.toString('utf8', valueStart, end);
    } else if (isName(frame, start, nameEnd, id)) {
      const value = frame.toString('utf8', valueStart, end);
      if (!value.includes('\0')) idText = value;
    } else if (isName(frame, start, nameEnd, retry)) {
      const value = frame.toString('latin1', valueStart, end);
      if (/^\d{1,15}$/.test(value)) retryMs = Number(value);
    }
    start = end + (frame[end] === cr && frame[end + 1] === lf ? 2 : 1);
  }
  return { data: more === null ? first : Buffer.concat(more), event: eventName, id: idText, retryMs };
}

const newLine = Buffer.from('\n');

function endOfLine(frame: Buffer, start: number): number {
  const nextLf = frame.indexOf(lf, start);
  const until = nextLf < 0 ? frame.length : nextLf;
  const nextCr = frame.subarray(start, until).indexOf(cr);
  return nextCr < 0 ? until : start + nextCr;
}

function isName(frame: Buffer, start: number, end: number, name: Buffer): boolean {
  return end - start === name.length && frame.compare(name, 0, name.length, start, end) === 0;
}
