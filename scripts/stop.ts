/** `npm run stop`: stops the fleet, the programs first (they finish what is under way), then PostgreSQL, then PM2. */
import { failWith } from './failWith.js';
import { postgresAppName } from './fleet/desiredApps.js';
import { findPm2, readConfig } from './fleet/openFleet.js';
import { endOrphanPostgres } from './fleet/orphanPostgres.js';

try {
  const config = readConfig();
  const pm2 = findPm2(config);
  const apps = (await pm2?.list()) ?? [];
  await pm2?.remove(apps.map(({ name }) => name).filter((name) => name !== postgresAppName));
  await pm2?.kill();
  await endOrphanPostgres(config.paths);
  console.log(apps.length === 0 ? 'Nothing was running.' : `Stopped ${apps.length} programs.`);
} catch (error) {
  failWith(error);
}
