// Takes the settings of `.env` in the checkout into the environment of this command and of what it starts.
import { existsSync } from 'node:fs';
import { join } from 'node:path';
import { root } from './child.mjs';

/** What is set in the environment already stays as it is; without the file nothing happens. `ecosystem.cjs` reads the same. */
export function loadEnvFile() {
  const file = join(root, '.env');
  if (existsSync(file)) process.loadEnvFile(file);
}
