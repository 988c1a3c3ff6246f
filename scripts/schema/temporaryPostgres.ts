/** A PostgreSQL with nothing in it, of binaries that are installed on this machine, gone when it is disposed of. */
import { randomBytes } from 'node:crypto';
import { chmodSync, chownSync, existsSync, mkdirSync, mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { Secret } from '../../backend/src/config/secrets.js';
import { toPostgresArgs } from '../../backend/src/database/embeddedPostgres.js';
import { initialiseCluster, superuserName } from '../../backend/src/database/initialiseCluster.js';
import { choosePostgresUser } from '../../backend/src/database/postgresUser.js';
import { runPostgres } from '../../backend/src/database/runPostgres.js';
import { toSocketUrl } from '../../backend/src/database/urlFiles.js';

export interface TemporaryPostgres extends AsyncDisposable {
  /** The superuser's connection to the database `postgres`. */
  readonly url: Secret;
}

/** Where Debian's PostgreSQL 15 keeps its programs; null where it is not installed. */
export function findDebianPostgres(): string | null {
  const binDir = '/usr/lib/postgresql/15/bin';
  return existsSync(join(binDir, 'initdb')) && existsSync(join(binDir, 'pg_dump')) ? binDir : null;
}

/** What is in it need not outlive a loss of power unless `fsync` says so. */
export async function startTemporaryPostgres(
  binDir: string,
  { fsync = 'off' }: { readonly fsync?: 'on' | 'off' } = {},
): Promise<TemporaryPostgres> {
  const user = choosePostgresUser();
  const home = mkdtempSync(join(tmpdir(), 'portolan-pg-'));
  chmodSync(home, 0o755);
  const [dataDir, socketDir] = [join(home, 'data'), join(home, 'run')];
  mkdirSync(socketDir, { mode: 0o700 });
  if (user !== null) for (const directory of [home, socketDir]) chownSync(directory, user.uid, user.gid);
  const remove = (): void => rmSync(home, { recursive: true, force: true });
  try {
    const password = new Secret(randomBytes(18).toString('base64url'));
    initialiseCluster({ binDir, dataDir, user, password, isThrowaway: true });
    const at = { dataDir, socketDir, port: 5432 };
    const running = await runPostgres(
      { bin: join(binDir, 'postgres'), args: toPostgresArgs(at), user, ...at },
      { fsync },
    );
    return {
      url: toSocketUrl({ user: superuserName, password, database: 'postgres', ...at }),
      async [Symbol.asyncDispose]() {
        await running.stop();
        remove();
      },
    };
  } catch (thrown) {
    remove();
    throw thrown;
  }
}
