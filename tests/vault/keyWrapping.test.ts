import { randomBytes, randomUUID } from 'node:crypto';
import { describe, expect, it } from '@jest/globals';
import { createDek, unwrapDek, wrapDek } from '../../backend/src/vault/dataKey.js';
import { parseKeyRing, type KeyRing } from '../../backend/src/vault/keyRing.js';
import { systemOwner, unwrapKey, wrapKey } from '../../backend/src/vault/keyWrapping.js';
import {
  createSystemKeys,
  openSystemKeys,
  rewrapSystemKey,
  systemKeyNames,
} from '../../backend/src/vault/systemKeys.js';
import { alice, bob, bytesOf, codeOf, everyBitFlip, installId, keyOf } from './given.js';

type States = Readonly<Record<string, 'primary' | 'decrypt' | 'disabled'>>;

function ringOf(states: States): KeyRing {
  const entries = Object.entries(states).map(([id, state]) => ({
    id,
    key: bytesOf(id).toString('base64'),
    state,
  }));
  return parseKeyRing(JSON.stringify(entries));
}

const ring = ringOf({ a: 'primary' });
const binding = { purpose: 'dek', ownerId: alice, keyId: 'key-1' } as const;

describe('wrapped keys', () => {
  it('I12 gives a DEK back to its owner', () => {
    const dek = createDek(randomUUID(), randomBytes);
    const row = { id: dek.id, ownerId: alice, ...wrapDek(ring, installId, dek, alice, randomBytes) };
    expect(unwrapDek(ring, installId, row).key.equals(dek.key)).toBe(true);
  });

  it('I12 wraps under the primary, and opens what a former primary wrapped', () => {
    const old = wrapKey(ring, installId, keyOf('k'), binding, randomBytes);
    const turned = ringOf({ a: 'decrypt', b: 'primary' });
    expect(old.kekId).toBe('a');
    expect(wrapKey(turned, installId, keyOf('k'), binding, randomBytes).kekId).toBe('b');
    expect(unwrapKey(turned, installId, old, binding).equals(keyOf('k'))).toBe(true);
  });

  it('G01 refuses a wrapped key with any bit flipped', () => {
    const { kekId, wrapped } = wrapKey(ring, installId, keyOf('k'), binding, randomBytes);
    for (const flipped of everyBitFlip(wrapped)) {
      const opened = () => unwrapKey(ring, installId, { kekId, wrapped: flipped }, binding);
      expect(codeOf(opened)).toBe('CREDENTIAL_UNREADABLE');
    }
  });

  it.each([
    ['owner', { ...binding, ownerId: bob }],
    ['id', { ...binding, keyId: 'key-2' }],
    ['shape of owner and id', { ...binding, ownerId: `${alice}k`, keyId: 'ey-1' }],
    ['owner, the installation', { ...binding, ownerId: systemOwner }],
  ])('G02 does not open for another %s', (_what, other) => {
    const wrapped = wrapKey(ring, installId, keyOf('k'), binding, randomBytes);
    expect(codeOf(() => unwrapKey(ring, installId, wrapped, other))).toBe('CREDENTIAL_UNREADABLE');
  });

  it('G02 does not open for another purpose or in another installation', () => {
    const wrapped = wrapKey(ring, installId, keyOf('k'), binding, randomBytes);
    const asState = { ...binding, purpose: 'k_state' } as const;
    expect(codeOf(() => unwrapKey(ring, installId, wrapped, asState))).toBe('SEALED');
    expect(codeOf(() => unwrapKey(ring, randomUUID(), wrapped, binding))).toBe('CREDENTIAL_UNREADABLE');
  });

  it('G03 refuses a wrapped key of another length', () => {
    const { kekId, wrapped } = wrapKey(ring, installId, keyOf('k'), binding, randomBytes);
    for (let length = 0; length < wrapped.length; length += 1) {
      const cut = { kekId, wrapped: wrapped.subarray(0, length) };
      expect(codeOf(() => unwrapKey(ring, installId, cut, binding))).toBe('CREDENTIAL_UNREADABLE');
    }
    const longer = { kekId, wrapped: Buffer.concat([wrapped, Buffer.alloc(1)]) };
    expect(codeOf(() => unwrapKey(ring, installId, longer, binding))).toBe('CREDENTIAL_UNREADABLE');
  });

  it('G04 is sealed when the ring lacks the KEK, or has it disabled', () => {
    const wrapped = wrapKey(ring, installId, keyOf('k'), binding, randomBytes);
    expect(codeOf(() => unwrapKey(ringOf({ b: 'primary' }), installId, wrapped, binding))).toBe('SEALED');
    const disabled = ringOf({ a: 'disabled', b: 'primary' });
    expect(codeOf(() => unwrapKey(disabled, installId, wrapped, binding))).toBe('SEALED');
  });
});

describe('system keys', () => {
  it('I12 are three different keys that open again', () => {
    const wrapped = createSystemKeys(ring, installId, randomBytes);
    const [one, again] = [openSystemKeys(ring, installId, wrapped), openSystemKeys(ring, installId, wrapped)];
    expect(one.lookup.equals(again.lookup)).toBe(true);
    const bytes = [one.lookup, one.audit, one.state].map((key) => key.export().toString('hex'));
    expect(new Set(bytes).size).toBe(3);
  });

  it('G02 do not open in each other’s place', () => {
    const wrapped = createSystemKeys(ring, installId, randomBytes);
    const swapped = { ...wrapped, k_lookup: wrapped.k_state, k_state: wrapped.k_lookup };
    expect(codeOf(() => openSystemKeys(ring, installId, swapped))).toBe('SEALED');
  });

  it('G05 are sealed under a wrong KEK of the same id, and open when it is back', () => {
    const wrapped = createSystemKeys(ring, installId, randomBytes);
    const wrong = parseKeyRing(
      JSON.stringify([{ id: 'a', key: bytesOf('wrong').toString('base64'), state: 'primary' }]),
    );
    expect(codeOf(() => openSystemKeys(wrong, installId, wrapped))).toBe('SEALED');
    expect(openSystemKeys(ring, installId, wrapped).state.symmetricKeySize).toBe(32);
  });

  it('I12 stay the same when they move under a new KEK', () => {
    const wrapped = createSystemKeys(ring, installId, randomBytes);
    const turned = ringOf({ a: 'decrypt', b: 'primary' });
    const before = openSystemKeys(ring, installId, wrapped);
    const [lookup, audit, state] = systemKeyNames.map((name) =>
      rewrapSystemKey(turned, installId, name, wrapped[name], randomBytes),
    );
    if (!lookup || !audit || !state) throw new Error('three keys are rewrapped');
    const moved = { k_lookup: lookup, k_audit: audit, k_state: state };
    const after = openSystemKeys(ringOf({ a: 'disabled', b: 'primary' }), installId, moved);
    expect(after.lookup.equals(before.lookup)).toBe(true);
    expect(after.audit.equals(before.audit)).toBe(true);
    expect(after.state.equals(before.state)).toBe(true);
  });
});
