/** Finds programs as execvp(3) would, so that one that is not there is told before anything is spawned. */
import { accessSync, constants, statSync } from 'node:fs';
import { join } from 'node:path';
import { AppError } from '../../../../../errors/appError.js';

const defaultPath = '/usr/local/bin:/usr/bin:/bin';

/** The absolute path of a command, or null. */
export function findCommand(file: string, path: string = defaultPath): string | null {
  const places = file.includes('/')
    ? [file]
    : path.split(':').map((directory) => join(directory || '.', file));
  return places.find(isExecutable) ?? null;
}

/** @throws AppError UPSTREAM_FAILED */
export function requireCommand(file: string, env: Readonly<Record<string, string>>): string {
  const found = findCommand(file, env['PATH']);
  if (found !== null) return found;
  throw new AppError('UPSTREAM_FAILED', 'the command of the service is not there (ENOENT)', {
    publicDetail: 'The program of this service is not installed on this machine. An admin can install it.',
  });
}

function isExecutable(path: string): boolean {
  try {
    accessSync(path, constants.X_OK);
    return statSync(path).isFile();
  } catch {
    return false;
  }
}
