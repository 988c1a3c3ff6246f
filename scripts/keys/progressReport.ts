/** Tells of a rotation: with a bar on a terminal, in plain lines elsewhere. All of it on stderr; stdout is for results. */
import { SingleBar, Presets } from 'cli-progress';
import type { RotationReport } from '../../backend/src/services/keyRotation/rotationReport.js';

export interface ProgressReport extends RotationReport, Disposable {}

/** Between two plain lines of one step, as a part of it. */
const plainShare = 0.1;

export function createProgressReport(stream: NodeJS.WriteStream = process.stderr): ProgressReport {
  return stream.isTTY ? createBar(stream) : createLines(stream);
}

function createBar(stream: NodeJS.WriteStream): ProgressReport {
  let bar: SingleBar | null = null;
  const stop = (): void => {
    bar?.stop();
    bar = null;
  };
  const say = (line: string): void => {
    stop();
    stream.write(`${line}\n`);
  };
  return {
    step: say,
    warn: (what) => say(`! ${what}`),
    progress(done, total) {
      if (bar === null) {
        bar = new SingleBar({ stream, hideCursor: true, clearOnComplete: false }, Presets.shades_classic);
        bar.start(total, done);
        return;
      }
      bar.setTotal(total);
      bar.update(done);
    },
    [Symbol.dispose]: stop,
  };
}

function createLines(stream: NodeJS.WriteStream): ProgressReport {
  let shown = 0;
  return {
    step(what) {
      shown = 0;
      stream.write(`${what}\n`);
    },
    warn: (what) => void stream.write(`! ${what}\n`),
    progress(done, total) {
      const share = total === 0 ? 1 : done / total;
      if (share < 1 && share - shown < plainShare) return;
      if (share === shown) return;
      shown = share;
      stream.write(`  ${done} of ${total}\n`);
    },
    [Symbol.dispose]() {},
  };
}
