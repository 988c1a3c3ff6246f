import { join } from 'node:path';

/**
 * Where this installation keeps what it must not lose, under one directory (`PORTOLAN_STATE_DIR`).
 * The names are fixed: scripts, PM2 apps and runbooks rely on them.
 */
export interface StatePaths {
  readonly stateDir: string;
  /** KEK ring, 0400. Lost with no copy, the vault is lost. */
  readonly keyRing: string;
  /** Private ES256 signing keys of the main API, 0400. */
  readonly jwtKeys: string;
  /** JWK set of the same keys, public halves only; service processes verify with it. */
  readonly jwtPublicKeys: string;
  /** Private ES256 key that the main API signs the audit's checkpoints with, 0400. */
  readonly auditKeys: string;
  /** JWK set of the keys that checkpoints are verified with, former ones too. A copy belongs elsewhere. */
  readonly auditPublicKeys: string;
  /** The signed checkpoints once more, a file a day, so that a database that lost its last ones is found out. */
  readonly auditCheckpointsDir: string;
  /** One connection string per database role, 0400 each. */
  readonly databaseUrl: (role: DatabaseRole) => string;
  /** 32 bytes, base64: the front signs the client's address for the inner hop with it. */
  readonly frontKey: string;
  readonly metricsToken: string;
  /** Secret variables that services' `{"$env"}` references name, as `NAME=value` lines, 0600; kept by the admin. */
  readonly serviceEnv: string;
  readonly setupCode: string;
  readonly spoolDir: string;
  /** Private directories of instances that keep files, one per instance uuid, 0700. */
  readonly instanceDataDir: string;
  /** Which uid was given to whose children; root's alone, 0700. */
  readonly childUidsDir: string;
  /** Packages of stdio services, installed ahead of their first call. */
  readonly packagesDir: string;
  readonly postgres: string;
  /** What `ecosystem.config.js` needs to run the embedded PostgreSQL; absent with `DATABASE_URL`. */
  readonly postgresApp: string;
  readonly pm2Home: string;
  readonly openApiDocument: string;
}

export type DatabaseRole = 'owner' | 'api' | 'service' | 'jobs';

export function toStatePaths(stateDir: string, keyRing = join(stateDir, 'keyring.json')): StatePaths {
  const at = (...parts: string[]): string => join(stateDir, ...parts);
  return {
    stateDir,
    keyRing,
    jwtKeys: at('jwt-keys.json'),
    jwtPublicKeys: at('jwt-public.json'),
    auditKeys: at('audit-keys.json'),
    auditPublicKeys: at('audit-public.json'),
    auditCheckpointsDir: at('audit-checkpoints'),
    databaseUrl: (role) => at('database-urls', role),
    frontKey: at('front-key'),
    metricsToken: at('metrics-token'),
    serviceEnv: at('service-env'),
    setupCode: at('setup-code'),
    spoolDir: at('spool'),
    instanceDataDir: at('instances'),
    childUidsDir: at('child-uids'),
    packagesDir: at('packages'),
    postgres: at('postgres'),
    postgresApp: at('postgres.json'),
    pm2Home: at('pm2'),
    openApiDocument: at('generated', 'portolan-openapi.json'),
  };
}
