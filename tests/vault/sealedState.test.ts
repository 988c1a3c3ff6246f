import { randomBytes } from 'node:crypto';
import { describe, expect, it } from '@jest/globals';
import * as fc from 'fast-check';
import { openState, sealState } from '../../backend/src/vault/sealedState.js';
import { everyBitFlip, keyOf } from './given.js';

const kState = keyOf('state');
const payload = Buffer.from('upstream-session-canary');
const bindings = ['instance-1', 'alice'];
const sealed = () => sealState(kState, 'session', payload, bindings, randomBytes);

describe('sealed state', () => {
  it('opens to the same bytes, and is fit for a header', () => {
    fc.assert(
      fc.property(fc.uint8Array({ maxLength: 200 }), fc.array(fc.string()), (bytes, places) => {
        const text = sealState(kState, 'session', bytes, places, randomBytes);
        expect(text).toMatch(/^[A-Za-z0-9_-]+$/);
        expect(openState(kState, 'session', text, places)?.equals(bytes)).toBe(true);
      }),
    );
  });

  it('G01 is refused with any bit flipped', () => {
    for (const flipped of everyBitFlip(Buffer.from(sealed(), 'base64url'))) {
      expect(openState(kState, 'session', flipped.toString('base64url'), bindings)).toBeNull();
    }
  });

  it('G03 is refused with any part cut off', () => {
    const text = sealed();
    for (let length = 0; length < text.length; length += 1) {
      expect(openState(kState, 'session', text.slice(0, length), bindings)).toBeNull();
    }
  });

  it.each([
    ['purpose', 'request', bindings],
    ['instance', 'session', ['instance-2', 'alice']],
    ['principal (D09)', 'session', ['instance-1', 'bob']],
    ['number of bindings', 'session', ['instance-1']],
    ['order of bindings', 'session', ['alice', 'instance-1']],
    ['split of the same text', 'session', ['instance-1a', 'lice']],
  ])('G02 is refused for another %s', (_what, purpose, places) => {
    expect(openState(kState, purpose, sealed(), places)).toBeNull();
  });

  it('is refused under another key', () => {
    expect(openState(keyOf('other'), 'session', sealed(), bindings)).toBeNull();
  });

  it('has one spelling', () => {
    const text = sealed();
    for (const variant of [`${text}=`, `${text}.`, ` ${text}`, `${text}\n`, `${text}AAAA`]) {
      expect(openState(kState, 'session', variant, bindings)).toBeNull();
    }
  });

  it('refuses whatever was not made here, and does not look at what is too long', () => {
    fc.assert(
      fc.property(fc.string({ maxLength: 200 }), (text) =>
        expect(openState(kState, 'session', text, [])).toBeNull(),
      ),
    );
    expect(openState(kState, 'session', 'A'.repeat(70_000), bindings)).toBeNull();
  });

  it('shows nothing of what it holds', () => {
    expect(Buffer.from(sealed(), 'base64url').includes('canary')).toBe(false);
  });
});
