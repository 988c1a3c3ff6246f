/** `npm run migrate`: brings the database to this version, embedded or `DATABASE_URL`. Harmless when it is there. */
import { randomBytes } from 'node:crypto';
import { mkdirSync } from 'node:fs';
import { loadConfig } from '../backend/src/config/config.js';
import { readEnv } from '../backend/src/config/env.js';
import { findProjectRoot } from '../backend/src/config/projectRoot.js';
import { prepareDatabase } from '../backend/src/database/prepare.js';
import { failWith } from './failWith.js';
import { inStateTurn } from './setup/stateTurn.js';

try {
  const config = loadConfig(readEnv(), findProjectRoot());
  const { stateDir } = config.paths;
  mkdirSync(stateDir, { recursive: true, mode: 0o711 });
  const { migrated } = await inStateTurn(stateDir, () =>
    prepareDatabase(config, { randomBytes, log: print }),
  );
  console.log(migrated.length === 0 ? 'The database is up to date.' : 'The database is up to date now.');
} catch (error) {
  failWith(error);
}

function print(line: string): void {
  console.log(`  ${line}`);
}
