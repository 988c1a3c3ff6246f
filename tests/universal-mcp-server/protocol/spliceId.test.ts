import { describe, expect, it } from '@jest/globals';
import * as fc from 'fast-check';
import {
  endOfValue,
  findMember,
} from '../../../backend/src/mcp-servers/universal-mcp-server/protocol/jsonScan.js';
import { readId, spliceId } from '../../../backend/src/mcp-servers/universal-mcp-server/protocol/spliceId.js';

const id = fc.oneof(fc.integer(), fc.string(), fc.constantFrom('"', '\\', '\\"', '}', ',"id":1}', 'ünï'));
/** Text that looks like what is searched for. */
const trap = fc.constantFrom('"id":', '{"id":1}', '\\"id\\":2}', ',"id":"x"}', '\\', '"', 'id');
const anything = fc.oneof(
  fc.jsonValue(),
  trap,
  fc.array(trap),
  fc.dictionary(fc.oneof(trap, fc.string()), fc.jsonValue()),
);
const spacing = fc.constantFrom(undefined, 1, '\t');
const members = fc.dictionary(
  fc.oneof(trap, fc.string({ maxLength: 6 })).filter((key) => key !== 'id'),
  anything,
);

const message = fc
  .record({ before: members, after: members, id, spacing })
  .map(({ before, after, id: one, spacing: space }) => {
    const value = { ...before, id: one, ...after };
    return { value, bytes: Buffer.from(JSON.stringify(value, null, space)) };
  });

describe('the id of a message in its bytes', () => {
  it('is replaced as parsing and serialising would, wherever it stands and whatever looks like it', () => {
    fc.assert(
      fc.property(message, id, ({ value, bytes }, next) => {
        const spliced = spliceId(bytes, next);
        expect(JSON.parse(String(spliced))).toEqual(JSON.parse(JSON.stringify({ ...value, id: next })));
        expect(readId(bytes)).toBe(value.id);
      }),
      { numRuns: 1_000 },
    );
  });

  it('is not found where there is none', () => {
    fc.assert(
      fc.property(members, spacing, (value, space) => {
        expect(spliceId(Buffer.from(JSON.stringify(value, null, space)), 1)).toBeNull();
      }),
      { numRuns: 500 },
    );
  });

  it('is found under a key written with escapes, and not behind a key that ends like it', () => {
    expect(String(spliceId(Buffer.from('{"\\u0069d":1,"a":{"id":2}}'), 9))).toBe(
      '{"\\u0069d":9,"a":{"id":2}}',
    );
    expect(spliceId(Buffer.from('{"a\\"id":1}'), 9)).toBeNull();
    expect(String(spliceId(Buffer.from('{"id":"a","x,\\"id":1}'), 9))).toBe('{"id":9,"x,\\"id":1}');
  });

  it('leaves what is no object alone, and never throws on bytes of any kind', () => {
    for (const text of ['', '[]', '[{"id":1}]', '1', '"id":1}', '{"id"', '{"id":', '}'])
      expect([text, spliceId(Buffer.from(text), 1)]).toEqual([text, null]);
    fc.assert(
      fc.property(fc.uint8Array(), (raw) => {
        spliceId(Buffer.from(raw), 1);
        readId(Buffer.from(raw));
      }),
    );
  });
});

describe('a member of an object in its bytes', () => {
  it('is found as parsing would find it', () => {
    fc.assert(
      fc.property(fc.dictionary(fc.oneof(trap, fc.string()), anything), spacing, (value, space) => {
        const bytes = Buffer.from(JSON.stringify(value, null, space));
        expect(endOfValue(bytes, 0)).toBe(bytes.length);
        for (const [name, member] of Object.entries(value)) {
          const span = findMember(bytes, name);
          expect(JSON.parse(bytes.toString('utf8', span?.start, span?.end))).toEqual(
            JSON.parse(JSON.stringify(member)),
          );
        }
        expect(findMember(bytes, 'a name that no member has')).toBeNull();
      }),
      { numRuns: 500 },
    );
  });
});
