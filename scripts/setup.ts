/** `npm run setup`: prepares the state directory without starting anything. */
import { randomBytes, randomUUID } from 'node:crypto';
import { loadConfig } from '../backend/src/config/config.js';
import { readEnv } from '../backend/src/config/env.js';
import { findProjectRoot } from '../backend/src/config/projectRoot.js';
import { failWith } from './failWith.js';
import { prepareState } from './setup/prepareState.js';

try {
  const config = loadConfig(readEnv(), findProjectRoot());
  const { sealed } = await prepareState(config, { newId: randomUUID, randomBytes, log: print });
  console.log(`The state in ${config.paths.stateDir} is ready.`);
  if (sealed !== null)
    failWith(`The vault is sealed: ${sealed}. Put the right key ring back; nothing was changed.`);
} catch (error) {
  failWith(error);
}

function print(line: string): void {
  console.log(`  ${line}`);
}
