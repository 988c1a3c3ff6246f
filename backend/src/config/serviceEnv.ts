/**
 * The variables that `{"$env"}` references of services name. They come from the process environment, and those that are
 * secret from `<state>/service-env`: PM2 keeps an app's environment on disk and prints it, so that none goes through it.
 */
import { readFileSync, statSync } from 'node:fs';
import { parseEnv } from 'node:util';
import { AppError } from '../errors/appError.js';
import { readReferencedEnv } from './env.js';

export type EnvLookup = (name: string) => string | undefined;

/**
 * Reads the file once; without it only the process environment counts.
 * @throws AppError CONFIG_INVALID when others may read the file, or it cannot be read.
 */
export function createServiceEnvLookup(file: string, environment: EnvLookup = readReferencedEnv): EnvLookup {
  const kept = readServiceEnvFile(file);
  return (name) => environment(name) || (Object.hasOwn(kept, name) ? kept[name] : undefined);
}

function readServiceEnvFile(file: string): Readonly<Record<string, string | undefined>> {
  try {
    if ((statSync(file).mode & 0o077) !== 0) {
      throw new AppError('CONFIG_INVALID', `others may read ${file}; run chmod 600 on it`);
    }
    return parseEnv(readFileSync(file, 'utf8'));
  } catch (error) {
    if (error instanceof AppError) throw error;
    if (error instanceof Error && 'code' in error && error.code === 'ENOENT') return {};
    // The cause of a parse error could quote the file.
    throw new AppError('CONFIG_INVALID', `cannot read ${file}`);
  }
}
