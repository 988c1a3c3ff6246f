/**
 * `npm run quickstart`, after install and build: prepares the state, generates the PM2 configuration, starts the fleet
 * and waits until every port is healthy. Run again it changes nothing but what changed meanwhile.
 */
import { randomBytes, randomUUID } from 'node:crypto';
import { existsSync } from 'node:fs';
import { join } from 'node:path';
import type { Config } from '../backend/src/config/config.js';
import { failWith } from './failWith.js';
import { readDesiredFleet } from './fleet/desiredApps.js';
import { readLogTail } from './fleet/logTail.js';
import { askHealth } from './fleet/health.js';
import { findPm2, readConfig } from './fleet/openFleet.js';
import type { Pm2 } from '../backend/src/supervisor/pm2.js';
import { startFleet, type StartOutcome } from './fleet/startFleet.js';
import { generateAll } from './setup/generateAll.js';
import { prepareState } from './setup/prepareState.js';

const healthDeadlineMs = 60_000;
/** A sealed program answers, and does not become healthy however long one waits. */
const sealedDeadlineMs = 10_000;
const startedAt = performance.now();

try {
  await quickstart(readConfig());
} catch (error) {
  failWith(error);
}

async function quickstart(config: Config): Promise<void> {
  const { sealed } = await prepareState(config, { newId: randomUUID, randomBytes, log: print });
  if (sealed !== null) {
    print(`The vault is sealed: ${sealed}.`);
    print(
      'The programs start and answer, but open nothing. Put the right key ring back; nothing was changed.',
    );
  }
  await generateAll(config, print);
  const pm2 = findPm2(config);
  if (pm2 === null) throw new Error(`there is no home for PM2 in ${config.paths.stateDir}`);
  const fleet = readDesiredFleet(config);
  const deadlineMs = sealed === null ? healthDeadlineMs : sealedDeadlineMs;
  const outcome = await startFleet({ config, pm2, fleet, deadlineMs, log: print });
  await report(config, pm2, outcome);
}

async function report(config: Config, pm2: Pm2, outcome: StartOutcome): Promise<void> {
  switch (outcome.kind) {
    case 'ports-taken':
      for (const { name, url, variable } of outcome.taken) {
        print(`${name}: port ${new URL(url).port} is taken by another program; set ${variable} to move it`);
      }
      return failWith('Nothing was started.');
    case 'unhealthy':
      for (const { name, detail } of outcome.programs) await explain(pm2, name, detail);
      print(`The logs are in ${join(config.paths.stateDir, 'logs')}.`);
      return failWith(
        'Not every program is healthy. Mend what is said above, then run npm run quickstart again.',
      );
    case 'running': {
      const { start, reload, remove } = outcome.plan;
      const parts = [
        ...(start.length > 0 ? [`${start.length} started`] : []),
        ...(reload.length > 0 ? [`${reload.length} reloaded`] : []),
        ...(remove.length > 0 ? [`${remove.length} removed`] : []),
      ];
      const seconds = ((performance.now() - startedAt) / 1000).toFixed(1);
      print(`${parts.length === 0 ? 'everything runs already' : parts.join(', ')} (${seconds} s)`);
      await sayIsolation(config);
      console.log(`\nPortolan runs at ${config.publicUrl.href.replace(/\/$/, '')}/`);
      if (existsSync(config.paths.setupCode)) {
        console.log(`There is no admin yet. The set-up code is in ${config.paths.setupCode}`);
      }
      console.log('npm run status shows the fleet, npm run stop stops it.');
    }
  }
}

/** Once for all services: what their children could reach, and what to do about it. */
async function sayIsolation(config: Config): Promise<void> {
  const urls = readDesiredFleet(config).apps.flatMap(({ healthUrl }) => healthUrl ?? []);
  const answers = await Promise.all(urls.map(askHealth));
  const forms = new Set(answers.flatMap(({ isolation }) => isolation ?? []));
  for (const form of forms) print(`children of stdio services are kept apart by: ${form}`);
  if ([...forms].some((form) => form.startsWith('none')))
    print(
      'They can read what Portolan can read. Install bubblewrap (apt install bubblewrap) and start again.',
    );
}

async function explain(pm2: Pm2, name: string, detail: string): Promise<void> {
  const app = (await pm2.list()).find((one) => one.name === name);
  print(
    `${name} is not healthy (${app?.status ?? 'not started'}, ${app?.restarts ?? 0} restarts): ${detail}`,
  );
  const lines = app === undefined ? [] : [...readLogTail(app.errorLog, 8), ...readLogTail(app.outLog, 8)];
  for (const line of lines) print(`    ${line}`);
}

function print(line: string): void {
  console.log(`  ${line}`);
}
