/** `npm run setup`: prepares the state directory without starting anything. */
import { randomBytes, randomUUID } from 'node:crypto';
import { failWith } from './failWith.js';
import { readConfig } from './fleet/openFleet.js';
import { generateAll } from './setup/generateAll.js';
import { prepareState } from './setup/prepareState.js';

try {
  const config = readConfig();
  const { sealed } = await prepareState(config, { newId: randomUUID, randomBytes, log: print });
  await generateAll(config, print);
  console.log(`The state in ${config.paths.stateDir} is ready.`);
  if (sealed !== null)
    failWith(`The vault is sealed: ${sealed}. Put the right key ring back; nothing was changed.`);
} catch (error) {
  failWith(error);
}

function print(line: string): void {
  console.log(`  ${line}`);
}
