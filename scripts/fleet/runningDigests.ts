/** Remembers, beside the fleet, from what each running app was started, so that a second start leaves it alone. */
import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import type { StatePaths } from '../../backend/src/config/statePaths.js';
import { replaceFile } from '../setup/secretFiles.js';

export type Digests = Readonly<Record<string, string>>;

const fileOf = (paths: StatePaths): string => join(paths.stateDir, 'fleet-running.json');

/** Empty when nothing was remembered; what cannot be read counts as that, and costs a reload. */
export function readRunningDigests(paths: StatePaths): Digests {
  try {
    const read: unknown = JSON.parse(readFileSync(fileOf(paths), 'utf8'));
    return typeof read === 'object' && read !== null ? (read as Digests) : {};
  } catch {
    return {};
  }
}

export function writeRunningDigests(paths: StatePaths, digests: Digests): void {
  replaceFile(fileOf(paths), 0o600, `${JSON.stringify(digests, null, 2)}\n`);
}
