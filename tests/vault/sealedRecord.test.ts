import { randomBytes, randomUUID } from 'node:crypto';
import { describe, expect, it } from '@jest/globals';
import * as fc from 'fast-check';
import { open, plaintextBytesMax, readDekId, seal } from '../../backend/src/vault/sealedRecord.js';
import { aBinding, aDek, bob, bytesOf, caught, codeOf, everyBitFlip, keyOf } from './given.js';

const plaintext = Buffer.from('{"fields":{"token":"canary-7261"}}');
const headerBytes = 4 + 1 + 16 + 32 + 32 + 12 + 4;

describe('a sealed record', () => {
  it('I12 opens to the same bytes at its own place, whatever they are', () => {
    fc.assert(
      fc.property(fc.uint8Array({ maxLength: 400 }), (bytes) => {
        const record = seal(aDek(), bytes, aBinding(), randomBytes);
        expect(open(aDek(), record, aBinding()).equals(bytes)).toBe(true);
      }),
    );
  });

  it('I12 tells only the 64-byte bucket of its plaintext', () => {
    const lengths = [0, 1, 63, 64, 127].map(
      (size) => seal(aDek(), Buffer.alloc(size), aBinding(), randomBytes).length,
    );
    expect(lengths).toEqual([64, 64, 64, 128, 128].map((padded) => headerBytes + padded + 16));
  });

  it('I12 names its DEK in the clear, and nothing of its plaintext or place', () => {
    const record = seal(aDek(), plaintext, aBinding(), randomBytes);
    expect(readDekId(record)).toBe(aDek().id);
    for (const hidden of ['canary', aBinding().userId, aBinding().rowId, 'instances']) {
      expect(record.includes(hidden)).toBe(false);
    }
  });

  it('G01 refuses a sealed record with any bit flipped', () => {
    const record = seal(aDek(), plaintext, aBinding(), randomBytes);
    let flips = 0;
    for (const flipped of everyBitFlip(record)) {
      // Where the DEK's id is flipped a caller would fetch that DEK: give the same key under that id.
      const named = flipped[0] === record[0] && safeDekId(flipped);
      const dek = named ? aDek({ id: named }) : aDek();
      expect(codeOf(() => open(dek, flipped, aBinding()))).toBe('CREDENTIAL_UNREADABLE');
      flips += 1;
    }
    expect(flips).toBe(record.length * 8);
  });

  it('G01 says nothing of the plaintext in its error', () => {
    const record = seal(aDek(), plaintext, aBinding(), randomBytes);
    record[headerBytes] = (record[headerBytes] ?? 0) ^ 1;
    const error = caught(() => open(aDek(), record, aBinding()));
    expect(JSON.stringify([error, error.message, String(error.cause)])).not.toContain('canary');
  });

  it.each([
    ['installation', { installId: randomUUID() }],
    ['table', { table: 'services' }],
    ['column', { column: 'sealed_overrides' }],
    ['user', { userId: bob }],
    ['instance', { rowId: randomUUID() }],
    ['revision', { revision: 8 }],
    ['schema version', { schemaVersion: 2 }],
  ])('G02 does not open as another %s', (_place, elsewhere) => {
    const record = seal(aDek(), plaintext, aBinding(), randomBytes);
    expect(codeOf(() => open(aDek(), record, aBinding(elsewhere)))).toBe('CREDENTIAL_UNREADABLE');
    expect(open(aDek(), record, aBinding()).equals(plaintext)).toBe(true);
  });

  it('G02 does not confuse two places whose parts join to the same text', () => {
    const record = seal(aDek(), plaintext, aBinding({ table: 'ab', column: 'c' }), randomBytes);
    const other = aBinding({ table: 'a', column: 'bc' });
    expect(codeOf(() => open(aDek(), record, other))).toBe('CREDENTIAL_UNREADABLE');
  });

  it('G02 refuses any binding that differs from its own', () => {
    const binding = fc.record({
      installId: fc.string(),
      table: fc.string(),
      column: fc.string(),
      userId: fc.string(),
      rowId: fc.string(),
      revision: fc.maxSafeNat(),
      schemaVersion: fc.nat(),
    });
    fc.assert(
      fc.property(binding, binding, (one, other) => {
        fc.pre(JSON.stringify(one) !== JSON.stringify(other));
        const record = seal(aDek(), plaintext, one, randomBytes);
        expect(codeOf(() => open(aDek(), record, other))).toBe('CREDENTIAL_UNREADABLE');
      }),
    );
  });

  it.each([4, 8, 12])('G03 refuses a tag cut to %i bytes', (tagBytes) => {
    const record = seal(aDek(), plaintext, aBinding(), randomBytes);
    const cut = record.subarray(0, record.length - 16 + tagBytes);
    expect(codeOf(() => open(aDek(), cut, aBinding()))).toBe('CREDENTIAL_UNREADABLE');
  });

  it('G03 refuses every cut and every addition', () => {
    const record = seal(aDek(), plaintext, aBinding(), randomBytes);
    for (let length = 0; length < record.length; length += 1) {
      expect(codeOf(() => open(aDek(), record.subarray(0, length), aBinding()))).toBe(
        'CREDENTIAL_UNREADABLE',
      );
    }
    const longer = Buffer.concat([record, Buffer.alloc(64)]);
    expect(codeOf(() => open(aDek(), longer, aBinding()))).toBe('CREDENTIAL_UNREADABLE');
  });

  it('G04 refuses an unknown magic, suite or DEK id, each by name', () => {
    const record = seal(aDek(), plaintext, aBinding(), randomBytes);
    const withByte = (at: number, value: number) => Buffer.from(record).fill(value, at, at + 1);
    const faults = [withByte(0, 0x51), withByte(4, 2), withByte(4, 0)].map((changed) =>
      caught(() => open(aDek(), changed, aBinding())),
    );
    expect(faults.map(({ code }) => code)).toEqual(Array(3).fill('CREDENTIAL_UNREADABLE'));
    expect(faults[0]?.message).toContain('magic');
    expect(faults[1]?.message).toContain('suite');
    const otherDek = caught(() => open(aDek({ id: randomUUID() }), record, aBinding()));
    expect([otherDek.code, otherDek.message]).toEqual([
      'CREDENTIAL_UNREADABLE',
      expect.stringContaining('another DEK'),
    ]);
  });

  it('G04 refuses bytes that no vault made', () => {
    fc.assert(
      fc.property(fc.uint8Array({ maxLength: 400 }), (bytes) => {
        expect(codeOf(() => open(aDek(), Buffer.from(bytes), aBinding()))).toBe('CREDENTIAL_UNREADABLE');
      }),
    );
  });

  it('G09 does not open under another key with the same id', () => {
    const record = seal(aDek(), plaintext, aBinding(), randomBytes);
    const error = caught(() => open(aDek({ key: keyOf('another dek') }), record, aBinding()));
    expect([error.code, error.message]).toEqual([
      'CREDENTIAL_UNREADABLE',
      expect.stringContaining('commitment'),
    ]);
  });

  it('refuses a plaintext above its bound', () => {
    const tooMuch = Buffer.alloc(plaintextBytesMax + 1);
    expect(codeOf(() => seal(aDek(), tooMuch, aBinding(), randomBytes))).toBe('PAYLOAD_TOO_LARGE');
  });

  it('leaves the caller its plaintext', () => {
    const mine = Buffer.from(bytesOf('mine'));
    seal(aDek(), mine, aBinding(), randomBytes);
    expect(mine.equals(bytesOf('mine'))).toBe(true);
  });
});

function safeDekId(record: Buffer): string | false {
  try {
    return readDekId(record);
  } catch {
    return false;
  }
}
