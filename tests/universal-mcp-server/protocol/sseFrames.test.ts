import { describe, expect, it } from '@jest/globals';
import * as fc from 'fast-check';
import {
  readFrame,
  SseFrames,
} from '../../../backend/src/mcp-servers/universal-mcp-server/protocol/sseFrames.js';

const frameBytesMax = 1_000_000;

/** Cuts a text at the given places, as a network does. */
function cut(bytes: Buffer, places: readonly number[]): Buffer[] {
  const marks = [0, ...places.map((place) => place % (bytes.length + 1)), bytes.length].sort((a, b) => a - b);
  return marks.slice(1).map((mark, at) => bytes.subarray(marks[at], mark));
}

function framesOf(pieces: readonly Buffer[]): { frames: Buffer[]; rest: Buffer } {
  const frames: Buffer[] = [];
  const splitter = new SseFrames({ frameBytesMax, onFrame: (frame) => frames.push(Buffer.from(frame)) });
  for (const piece of pieces) splitter.push(piece);
  return { frames, rest: splitter.takeRest() };
}

const read = (text: string, ...places: number[]) =>
  framesOf(cut(Buffer.from(text), places)).frames.map((frame) => {
    const { data, ...fields } = readFrame(frame);
    return { ...fields, data: data?.toString('utf8') ?? null };
  });

const small = () => new SseFrames({ frameBytesMax: 100, onFrame: () => undefined });

const lineEnd = fc.constantFrom('\n', '\r\n', '\r');
const lineText = fc.stringMatching(/^[^\r\n]{0,20}$/u);
const line = fc.oneof(
  lineText.map((text) => `data: ${text}`),
  lineText.map((text) => `data:${text}`),
  lineText.map((text) => `: ${text}`),
  fc.stringMatching(/^[a-z0-9/]{0,8}$/).map((text) => `id: ${text}`),
  fc.nat(100_000).map((ms) => `retry: ${ms}`),
  fc.constantFrom('event: message', 'data', 'unknown: field', 'id', 'datamore: x'),
);
const places = fc.array(fc.nat(), { maxLength: 12 });

/** The same stream, decided line by line as the standard words it. */
function readSlowly(text: string): { data: string | null; id: string | null }[] {
  const found: { data: string | null; id: string | null }[] = [];
  let data: string[] = [];
  let id: string | null = null;
  for (const one of text.split(/\r\n|\r|\n/).slice(0, -1)) {
    if (one === '') {
      found.push({ data: data.length === 0 ? null : data.join('\n'), id });
      data = [];
      id = null;
      continue;
    }
    const [, name = '', value = ''] = /^([^:]*)(?:: ?(.*))?$/su.exec(one) ?? [];
    if (name === 'data') data.push(value);
    if (name === 'id') id = value;
  }
  return found;
}

describe('an SSE stream in frames', () => {
  it('is the stream, byte for byte, however it is cut and whatever it holds', () => {
    fc.assert(
      fc.property(fc.uint8Array({ maxLength: 300 }), places, (raw, where) => {
        const bytes = Buffer.from(raw);
        const { frames, rest } = framesOf(cut(bytes, where));
        expect(Buffer.concat([...frames, rest]).equals(bytes)).toBe(true);
      }),
    );
  });

  it('says the same however it is cut, with CR, LF and CRLF, comments and characters of several bytes', () => {
    fc.assert(
      fc.property(
        fc.array(fc.tuple(fc.option(line, { freq: 3 }), lineEnd), { maxLength: 30 }),
        places,
        (lines, where) => {
          const text = lines.map(([content, end]) => `${content ?? ''}${end}`).join('');
          const seen = read(text, ...where).map(({ data, id }) => ({ data, id }));
          expect(seen).toEqual(readSlowly(text));
        },
      ),
      { numRuns: 500 },
    );
  });

  it('keeps id, event, retry and comments for whoever asks, and passes over a byte order mark', () => {
    const text =
      '\ufeffid: 7\nevent: message\nretry: 1500\n: a comment\ndata: {"a":\ndata:  1}\n\n: alone\n\n';
    expect(read(text, 1, 2, 9)).toEqual([
      { data: '{"a":\n 1}', event: 'message', id: '7', retryMs: 1_500 },
      { data: null, event: null, id: null, retryMs: null },
    ]);
  });

  it('gives a frame that ends in CR at once, and takes the LF behind it for the same line end', () => {
    const frames: string[] = [];
    const splitter = new SseFrames({ frameBytesMax, onFrame: (frame) => frames.push(frame.toString()) });
    splitter.push(Buffer.from('data: 1\r\n\r'));
    expect(frames).toEqual(['data: 1\r\n\r']);
    splitter.push(Buffer.from('\ndata: 2\r\r'));
    expect(frames).toEqual(['data: 1\r\n\r', '\ndata: 2\r\r']);
    expect(readFrame(Buffer.from(frames[1] ?? '')).data?.toString()).toBe('2');
  });

  it('gives what an upstream never ended as the rest', () => {
    const { frames, rest } = framesOf([Buffer.from('data: 1\n\ndata: 2')]);
    expect(frames.map(String)).toEqual(['data: 1\n\n']);
    expect(readFrame(rest).data?.toString()).toBe('2');
  });

  it('R08 refuses a frame beyond its bound, in one piece or many', () => {
    expect(() => small().push(Buffer.alloc(101, 'x'))).toThrow(
      expect.objectContaining({ code: 'PAYLOAD_TOO_LARGE' }),
    );
    const splitter = small();
    splitter.push(Buffer.alloc(90, 'x'));
    expect(() => splitter.push(Buffer.from('12345678\n\n\n'))).not.toThrow();
    splitter.push(Buffer.alloc(90, 'x'));
    expect(() => splitter.push(Buffer.alloc(20, 'x'))).toThrow(
      expect.objectContaining({ code: 'PAYLOAD_TOO_LARGE' }),
    );
  });
});
