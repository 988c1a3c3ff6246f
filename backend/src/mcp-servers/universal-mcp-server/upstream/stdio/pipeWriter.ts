/**
 * Writes lines to a child's stdin. While the pipe is full they wait here, joined, until it drains; lines of one turn of
 * the loop go out together. In-flight caps bound what can wait.
 */
import type { Writable } from 'node:stream';

export interface PipeWriter {
  readonly write: (line: string) => void;
}

export function createPipeWriter(stdin: Writable): PipeWriter {
  let waiting = '';
  let isFull = false;
  let isScheduled = false;

  const flush = (): void => {
    isScheduled = false;
    if (isFull || waiting === '' || !stdin.writable) return;
    const text = waiting;
    waiting = '';
    isFull = !stdin.write(text);
  };
  stdin.on('drain', () => {
    isFull = false;
    flush();
  });

  return {
    write(line) {
      waiting += `${line}\n`;
      if (isScheduled || isFull) return;
      isScheduled = true;
      process.nextTick(flush);
    },
  };
}
