/**
 * A process for tests to kill: makes calls as fast as it can, says each call's id on standard output once its intent is
 * in the spool, and ends each a round later.
 */
import { randomUUID } from 'node:crypto';
import { writeSync } from 'node:fs';
import { anIntent, anOutcome, aSpool } from './given.js';

const [dir = '', durability] = process.argv.slice(2);
const spool = aSpool(dir, { fileBytesMax: 40_000, durability: durability === 'fsync' ? 'fsync' : 'spool' });

/** The pipe may be full while its reader is slow. */
function say(line: string): void {
  const bytes = Buffer.from(line);
  for (let said = 0; said < bytes.length;) {
    try {
      said += writeSync(1, bytes, said);
    } catch (error) {
      if (!(error instanceof Error && 'code' in error && error.code === 'EAGAIN')) throw error;
    }
  }
}

let former: readonly string[] = [];
for (;;) {
  const intents = Array.from({ length: 10 }, () => anIntent({ requestId: randomUUID() }));
  await Promise.all(
    intents.map(async (intent) => {
      await spool.intent(intent);
      say(`${intent.callId}\n`);
    }),
  );
  for (const callId of former) spool.outcome(anOutcome(callId));
  former = intents.map(({ callId }) => callId);
  await new Promise(setImmediate);
}
