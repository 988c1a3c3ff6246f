/**
 * Writes lines to a child's stdin. While the pipe is full they wait here, joined, until it drains; lines of one turn of
 * the loop go out together. How much may wait is bounded, for a child that never reads must cost nobody else memory
 * (R08). Which lines never left is known, so that a request that no child can have read may be sent to another.
 */
import type { Writable } from 'node:stream';

export interface PipeWriter {
  /** @returns the batch that the line leaves with. */
  readonly write: (line: string) => number;
  /** Whether a batch is still here: the child has read nothing of it. */
  readonly isWaiting: (batch: number) => boolean;
  /** So much waits already that nothing more may be written; what is written all the same is dropped. */
  readonly isCongested: () => boolean;
}

const waitingCharsMax = 16 * 1024 * 1024;

export function createPipeWriter(stdin: Writable): PipeWriter {
  let waiting = '';
  let isFull = false;
  let isScheduled = false;
  /** Of what waits now; everything before it was handed to the pipe. */
  let batch = 1;

  const flush = (): void => {
    isScheduled = false;
    if (isFull || waiting === '' || !stdin.writable) return;
    const text = waiting;
    waiting = '';
    batch += 1;
    isFull = !stdin.write(text);
  };
  stdin.on('drain', () => {
    isFull = false;
    flush();
  });

  return {
    write(line) {
      if (waiting.length > waitingCharsMax) return batch;
      waiting += `${line}\n`;
      if (!isScheduled && !isFull) {
        isScheduled = true;
        process.nextTick(flush);
      }
      return batch;
    },
    isWaiting: (one) => one === batch && waiting !== '',
    isCongested: () => waiting.length > waitingCharsMax,
  };
}
