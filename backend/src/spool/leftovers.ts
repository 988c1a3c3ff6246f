/**
 * Ends what a dead process left behind (R11). For each call that was open its last file gets an outcome `unknown`: not in
 * the file, whose disk may be full, but behind it, at the positions where the lines would stand. The same files always
 * give the same positions, so that ending them again, after another crash, adds nothing.
 */
import { readFileSync } from 'node:fs';
import { encodeOutcome, toOpenCall, type CallIntent, type OpenCall } from './callRecord.js';
import type { PlacedLine } from './spoolBatch.js';
import type { SpoolFile } from './spoolFiles.js';

export interface Leftover extends SpoolFile {
  /**
   * Bytes of whole lines. A torn last line, as a SIGKILL or a loss of power leaves it, is no record: its call was not
   * made, for its write never returned.
   */
  readonly size: number;
  /** Records that are to follow those of the file. */
  readonly ending: readonly PlacedLine[];
}

/** Reads the files of one dead origin, given in order. */
export function readLeftovers(files: readonly SpoolFile[], now: () => number): readonly Leftover[] {
  const occurredAt = new Date(now()).toISOString();
  return files.map((file, at) => {
    const bytes = readFileSync(file.path);
    const size = bytes.lastIndexOf(0x0a) + 1;
    if (at < files.length - 1) return { ...file, size, ending: [] };
    const lines = findOpenCalls(bytes.toString('utf8', 0, size)).map((call) =>
      encodeOutcome(call, { outcome: 'unknown' }, occurredAt),
    );
    let position = size;
    const ending = lines.map((line) => ({ position: (position += Buffer.byteLength(line)), line }));
    return { ...file, size, ending };
  });
}

/** The calls of a file that have no outcome in it: what it carried from the file before, and its own intents. */
function findOpenCalls(text: string): readonly OpenCall[] {
  const open = new Map<string, OpenCall>();
  for (const line of text.split('\n')) {
    const record = parseLine(line);
    if (record === null) continue;
    const { carried, phase, ...call } = record;
    if (carried !== undefined) open.set(carried.callId, toOpenCall(carried.service, carried));
    else if (phase === 'intent') open.set(call.callId, toOpenCall(call.service, call));
    else if (phase === 'outcome') open.delete(call.callId);
  }
  return Array.from(open.values());
}

type SpooledCall = CallIntent & { readonly service: string };
type SpooledLine = SpooledCall & { readonly phase?: string; readonly carried?: SpooledCall };

function parseLine(line: string): SpooledLine | null {
  try {
    return JSON.parse(line);
  } catch {
    // The empty end of the text, or bytes that a failing disk made of a line.
    return null;
  }
}
