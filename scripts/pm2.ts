/** `npm run pm2 -- <command>`: the project's own PM2 (`ls`, `monit`, `logs`, `reload …`), in its home in the state directory. */
import { failWith } from './failWith.js';
import { findPm2, readConfig } from './fleet/openFleet.js';

try {
  const pm2 = findPm2(readConfig());
  if (pm2 === null) failWith('There is no fleet in this state directory; run npm run quickstart first.');
  else process.exitCode = await pm2.passOn(process.argv.slice(2));
} catch (error) {
  failWith(error);
}
