/**
 * Hands an upstream's events on to a client as the bytes that they came in, whole frames only: an upstream that breaks off
 * in the middle leaves room for a last event of ours, and nobody reads half a message. What an event says is shown to
 * whoever watches, who may put other data in its place. The client's pace is the upstream's.
 */
import { readFrame, SseFrames, type SseFields } from '../../protocol/sseFrames.js';
import type { RawExchange } from '../../upstream/remote/rawUpstream.js';
import type { ByteReply } from '../reply.js';

/** @returns the data to send: the given one where nothing is to be changed, null to send nothing at all. */
export type WatchData = (data: Buffer) => Buffer | null;

export class FrameRelay {
  /** Whether an event bore an id: its stream can be resumed at the upstream. */
  hasIds = false;
  /** Whether something was written since somebody last looked. */
  isLively = true;
  exchange: RawExchange | null = null;
  readonly #reply: ByteReply;
  readonly #watch: WatchData;
  readonly #frames: SseFrames;

  constructor(reply: ByteReply, frameBytesMax: number, watch: WatchData) {
    this.#reply = reply;
    this.#watch = watch;
    this.#frames = new SseFrames({ frameBytesMax, onFrame: (frame) => this.#pass(frame) });
  }

  /** @throws AppError PAYLOAD_TOO_LARGE */
  push(piece: Buffer): void {
    this.#frames.push(piece);
  }

  /** Completes a last event that its sender never ended, where it holds a whole message. */
  finish(): void {
    const rest = this.#frames.takeRest();
    const { data } = readFrame(rest);
    if (data !== null && isJson(data)) this.#pass(Buffer.concat([rest, frameEnd]));
  }

  /** The client took what waited for it. */
  onDrain(): void {
    this.exchange?.resume();
  }

  /** Sends something of our own between two frames. */
  send(text: string): void {
    if (!this.#reply.write(text)) this.exchange?.pause();
  }

  #pass(frame: Buffer): void {
    const fields = readFrame(frame);
    if (fields.id !== null) this.hasIds = true;
    const { data } = fields;
    // An event with an id and without a message is where a stream begins (MCP 2025-11-25, "Resumability").
    const shown = data === null || data.length === 0 ? data : this.#watch(data);
    if (data !== null && shown === null) return;
    this.isLively = true;
    if (!this.#reply.write(shown === data ? frame : toFrame(fields, shown))) this.exchange?.pause();
  }
}

const frameEnd = Buffer.from('\n\n');

function toFrame({ event, id, retryMs }: SseFields, data: Buffer | null): Buffer {
  const head =
    (event === null ? '' : `event: ${event}\n`) +
    (id === null ? '' : `id: ${id}\n`) +
    (retryMs === null ? '' : `retry: ${retryMs}\n`);
  return Buffer.concat([Buffer.from(`${head}data: `), toDataLines(data ?? Buffer.alloc(0)), frameEnd]);
}

const lineFeed = 0x0a;

/** Text of several lines is a field for each: a line without a name would be another field, or end the frame. */
function toDataLines(data: Buffer): Buffer {
  if (!data.includes(lineFeed)) return data;
  return Buffer.from(data.toString('latin1').replaceAll('\n', '\ndata: '), 'latin1');
}

function isJson(data: Buffer): boolean {
  try {
    JSON.parse(data.toString('utf8'));
    return true;
  } catch {
    return false;
  }
}
