/**
 * The ring file, changed in place for a running fleet: whoever reads it sees the old ring or the new one, whole, and what
 * is there outlives a power failure. No copy of the old one is kept: a changed ring holds every key of the one before, so a
 * copy would save nothing and be one more file to guard.
 */
import {
  chmodSync,
  chownSync,
  closeSync,
  fsyncSync,
  openSync,
  readFileSync,
  renameSync,
  rmSync,
  statSync,
  writeFileSync,
} from 'node:fs';
import { dirname } from 'node:path';
import { readSecretFile } from '../../backend/src/config/secrets.js';
import { AppError } from '../../backend/src/errors/appError.js';
import type { RingFile } from '../../backend/src/services/keyRotation/kekRotation.js';
import { parseKeyRing } from '../../backend/src/vault/keyRing.js';

export function openRingFile(path: string): RingFile {
  return {
    read: () => readSecretFile(path, 'the key ring (KEYRING_FILE)').reveal(),
    replace(text) {
      requireSuccessor(text, readSecretFile(path, 'the key ring (KEYRING_FILE)').reveal());
      const { uid, gid } = statSync(path);
      const draft = `${path}.draft`;
      // One that a killed run left behind is not to be written into: it may be open to somebody.
      rmSync(draft, { force: true });
      try {
        writeFileSync(draft, text, { mode: 0o400, flag: 'wx' });
        chmodSync(draft, 0o400);
        // The command may run as root, the fleet as somebody else.
        if (statSync(draft).uid !== uid || statSync(draft).gid !== gid) chownSync(draft, uid, gid);
        flush(draft);
        if (readFileSync(draft, 'utf8') !== text) throw new Error('the new key ring did not reach the disk');
        renameSync(draft, path);
        flush(dirname(path));
      } finally {
        rmSync(draft, { force: true });
      }
    },
  };
}

/** @throws AppError INTERNAL when a key of the ring would be lost. */
function requireSuccessor(text: string, before: string): void {
  const { keks } = parseKeyRing(text);
  for (const { id, key } of parseKeyRing(before).keks.values()) {
    if (keks.get(id)?.key.equals(key) !== true) throw new AppError('INTERNAL', `the ring would lose ${id}`);
  }
}

function flush(path: string): void {
  const handle = openSync(path, 'r');
  try {
    fsyncSync(handle);
  } finally {
    closeSync(handle);
  }
}
