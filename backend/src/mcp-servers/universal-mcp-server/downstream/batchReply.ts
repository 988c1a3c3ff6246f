/**
 * The answers to the messages of a batch, in the one answer of its POST: an array as long as nothing came before the whole
 * of it, a stream from then on. Messages are served one after another, so one answer at a time is written.
 */
import type { ServerResponse } from 'node:http';
import { AppError } from '../../../errors/appError.js';
import type { ByteListener, ByteReply, Reply } from '../bridge/reply.js';
import type { JsonRpcResponse } from '../protocol/jsonRpc.js';
import { createHttpReply, sendJson, streamHeaders, watchReader, type HttpReplyOptions } from './httpReply.js';

/** Of answers that wait for the rest of their batch. */
const heldCharactersMax = 1024 * 1024;

export class BatchReply implements Reply {
  readonly #reply: Reply;
  readonly #response: ServerResponse;
  readonly #answers: JsonRpcResponse[] = [];
  #heldCharacters = 0;
  #isStream = false;

  constructor(options: HttpReplyOptions) {
    this.#reply = createHttpReply(options);
    this.#response = options.response;
  }

  get isGone(): boolean {
    return this.#reply.isGone;
  }

  get signal(): AbortSignal {
    return this.#reply.signal;
  }

  onGone(callback: () => void): () => void {
    return this.#reply.onGone(callback);
  }

  /** From now on answers are told as they come. */
  beginStream(): void {
    if (this.#isStream) return;
    this.#isStream = true;
    this.#response.writeHead(200, streamHeaders);
    this.#response.flushHeaders();
    for (const answer of this.#answers.splice(0)) this.#reply.send(answer);
  }

  send(message: Parameters<Reply['send']>[0]): void {
    this.beginStream();
    this.#reply.send(message);
  }

  /** Bytes of a stream of events, whole events in the end. */
  write(piece: Buffer | string): boolean {
    const response = this.#response;
    return response.destroyed || response.writableEnded || response.write(piece);
  }

  onceDrained(callback: () => void): void {
    watchReader(this.#response);
    this.#response.once('drain', callback);
  }

  finish(answer: JsonRpcResponse): void {
    if (this.#isStream) return this.#reply.send(answer);
    this.#answers.push(answer);
    this.#heldCharacters += JSON.stringify(answer).length;
    // A stream says the same as an array, and holds nothing back.
    if (this.#heldCharacters > heldCharactersMax) this.beginStream();
  }

  openStream(): never {
    throw new AppError('INVALID_REQUEST', 'a batch has no stream without an end');
  }

  /** Answers with what was collected: nothing for a batch that asked nothing. */
  end(): void {
    if (this.isGone) return;
    if (this.#isStream) this.#response.end();
    else if (this.#answers.length === 0) this.#response.writeHead(202, { 'content-length': '0' }).end();
    else sendJson(this.#response, this.#answers, {});
  }

  cut(): void {
    this.#response.destroy();
  }
}

/** The answer to one message whose bytes pass. */
export class BatchedByteReply implements ByteReply {
  listener: ByteListener | null = null;
  isFresh = true;
  /** Resolves when the message is done with, be it answered or given up. */
  readonly done: Promise<void>;
  readonly #batch: BatchReply;
  #pieces: Buffer[] | null = null;
  #resolve = (): void => undefined;

  constructor(batch: BatchReply) {
    this.#batch = batch;
    this.done = new Promise((resolve) => {
      const stopWatching = batch.onGone(() => {
        this.listener?.onGone();
        this.#resolve();
      });
      this.#resolve = () => {
        stopWatching();
        resolve();
      };
    });
  }

  get isGone(): boolean {
    return this.#batch.isGone;
  }

  sendWhole(_status: number, pieces: readonly Buffer[]): void {
    this.#finish(Buffer.concat(pieces).toString('utf8'));
  }

  sendEmpty(): void {
    this.#resolve();
  }

  sendMessage(message: JsonRpcResponse): void {
    this.isFresh = false;
    this.#batch.finish(message);
    this.#resolve();
  }

  beginJson(): void {
    this.isFresh = false;
    this.#pieces = [];
  }

  beginEvents(): void {
    this.isFresh = false;
    this.#batch.beginStream();
  }

  write(piece: Buffer | string): boolean {
    if (this.#pieces !== null) {
      this.#pieces.push(Buffer.from(piece));
      return true;
    }
    if (this.#batch.write(piece)) return true;
    this.#batch.onceDrained(() => this.listener?.onDrain());
    return false;
  }

  end(): void {
    if (this.#pieces === null) {
      // The next event begins on a line of its own, however the upstream ended this one.
      this.#batch.write('\n\n');
      return this.#resolve();
    }
    this.#finish(Buffer.concat(this.#pieces).toString('utf8'));
  }

  cut(): void {
    this.#batch.cut();
    this.#resolve();
  }

  #finish(text: string): void {
    this.isFresh = false;
    try {
      this.#batch.finish(JSON.parse(text) as JsonRpcResponse);
    } catch {
      // What came is no JSON: half an answer must not be taken for a whole one.
      this.#batch.cut();
    }
    this.#resolve();
  }
}
