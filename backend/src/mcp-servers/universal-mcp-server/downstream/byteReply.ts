/**
 * Answers of the pass-through on `node:http` itself: pieces are written as they come, as far as the client reads. The head
 * is ours, whatever the upstream's was (D08). One object a call, without closures over it: this is the hot path.
 */
import type { ServerResponse } from 'node:http';
import type { ByteListener, ByteReply, ReplyForm } from '../bridge/reply.js';
import type { JsonRpcResponse } from '../protocol/jsonRpc.js';
import { sendJson, streamHeaders, watchReader } from './httpReply.js';

export class HttpByteReply implements ByteReply {
  isGone = false;
  listener: ByteListener | null = null;
  readonly #response: ServerResponse;
  readonly #onStream: (response: ServerResponse) => void;
  #isCorked = false;

  constructor(response: ServerResponse, onStream: (response: ServerResponse) => void) {
    this.#response = response;
    this.#onStream = onStream;
    response.on('close', () => {
      this.isGone = true;
      if (!response.writableFinished) this.listener?.onGone();
    });
  }

  get isFresh(): boolean {
    return !this.#response.headersSent;
  }

  sendWhole(status: number, pieces: readonly Buffer[], bytes: number, sessionId: string | null): void {
    const response = this.#response;
    const head = [
      'content-type',
      'application/json',
      'content-length',
      String(bytes),
      'cache-control',
      'no-store',
    ];
    if (sessionId !== null) head.push('mcp-session-id', sessionId);
    response.writeHead(status, head);
    const [first] = pieces;
    if (pieces.length === 1 && first !== undefined && bytes <= joinedBytesMax) {
      // As text of one byte a character it leaves in the same write as the head, unchanged.
      response.end(first.toString('latin1'), 'latin1');
      return;
    }
    response.cork();
    for (const piece of pieces) response.write(piece);
    response.end();
    if (response.writableLength > watchAbove) watchReader(response);
  }

  sendEmpty(status: number): void {
    this.#response.writeHead(status, emptyHead).end();
  }

  sendMessage(message: JsonRpcResponse, form: ReplyForm): void {
    if (!this.#response.writableEnded) sendJson(this.#response, message, form);
  }

  beginJson(status: number, bytes: number | null): void {
    const head = ['content-type', 'application/json', 'cache-control', 'no-store'];
    if (bytes !== null) head.push('content-length', String(bytes));
    this.#response.writeHead(status, head);
  }

  beginEvents(sessionId: string | null, isEndless: boolean): void {
    const response = this.#response;
    response.writeHead(200, sessionId === null ? eventsHead : [...eventsHead, 'mcp-session-id', sessionId]);
    if (isEndless) {
      response.flushHeaders();
      this.#onStream(response);
      return;
    }
    // Head, event and end usually come in one read and leave in one write; a head alone leaves at the end of the tick.
    response.cork();
    response.flushHeaders();
    this.#isCorked = true;
    process.nextTick(uncork, this);
  }

  write(piece: Buffer | string): boolean {
    const response = this.#response;
    if (response.destroyed || response.writableEnded) return true;
    if (response.write(piece)) return true;
    if (this.#isCorked) return true;
    this.#waitForDrain();
    return false;
  }

  end(): void {
    this.#response.end();
  }

  cut(): void {
    this.#response.destroy();
  }

  #waitForDrain(): void {
    const response = this.#response;
    watchReader(response);
    response.once('drain', () => this.listener?.onDrain());
  }

  uncork(): void {
    this.#isCorked = false;
    if (!this.#response.writableEnded) this.#response.uncork();
  }
}

function uncork(reply: HttpByteReply): void {
  reply.uncork();
}

const joinedBytesMax = 8 * 1024;
/** What waits for a reader after a whole answer was given to the socket, before somebody looks whether it reads. */
const watchAbove = 1024 * 1024;
const emptyHead = ['content-length', '0'];
const eventsHead = Object.entries(streamHeaders).flat();
