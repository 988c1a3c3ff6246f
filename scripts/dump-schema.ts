/** `npm run dump-schema`: writes `db/schema.sql` anew, with Debian's PostgreSQL 15 in a temporary directory. */
import { writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { findProjectRoot } from '../backend/src/config/projectRoot.js';
import { failWith } from './failWith.js';
import { dumpMigratedSchema } from './schema/dumpSchema.js';
import { findDebianPostgres, startTemporaryPostgres } from './schema/temporaryPostgres.js';

try {
  const binDir = findDebianPostgres();
  if (binDir === null) throw new Error('PostgreSQL 15 is not installed: apt install postgresql-15');
  const projectRoot = findProjectRoot();
  await using server = await startTemporaryPostgres(binDir);
  writeFileSync(
    join(projectRoot, 'db', 'schema.sql'),
    await dumpMigratedSchema(server.url, binDir, projectRoot),
  );
  console.log('db/schema.sql is written.');
} catch (error) {
  failWith(error);
}
