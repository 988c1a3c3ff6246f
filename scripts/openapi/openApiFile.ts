/** The OpenAPI document as a file: the same routes always give the same bytes. */
import { randomUUID } from 'node:crypto';
import { existsSync, mkdirSync, readFileSync, renameSync, writeFileSync } from 'node:fs';
import { dirname } from 'node:path';
import { createServiceRegistry } from '../../backend/src/catalog/serviceRegistry.js';
import { loadConfig } from '../../backend/src/config/config.js';
import { Secret } from '../../backend/src/config/secrets.js';
import { createPool } from '../../backend/src/database/pool.js';
import { AppError } from '../../backend/src/errors/appError.js';
import { createContext } from '../../backend/src/main-api/context.js';
import { createRoutes } from '../../backend/src/main-api/routes.js';
import { newJwtKeysFiles, parseSigningKeys } from '../../backend/src/services/jwtKeys.js';
import type { VaultGate } from '../../backend/src/services/vaultKeys.js';
import { createLogger } from '../../backend/src/telemetry/logger.js';
import { createMainApiMetrics } from '../../backend/src/telemetry/metrics.js';

/** A vault of no installation: there is nothing that it could open. */
const sealed: VaultGate = {
  keys() {
    throw new AppError('SEALED', 'no key ring is read to describe routes');
  },
  isOpen: false,
  readAgain: () => false,
  onRing: () => () => {},
  [Symbol.dispose]() {},
};

/** The document as text, with a line break at its end. */
export function toOpenApiText(projectRoot: string): string {
  // A context that holds the real services; none of them is called, and the pool connects on first use only.
  const ctx = createContext({
    config: loadConfig({}, projectRoot),
    log: createLogger({ level: 'silent', program: 'openapi' }),
    metrics: createMainApiMetrics(),
    pool: createPool({
      connectionString: new Secret('postgres://localhost/none'),
      applicationName: 'openapi',
    }),
    vault: sealed,
    registry: createServiceRegistry(() => ({
      services: [],
      problems: [],
      warnings: [],
      lock: { services: {} },
    })),
    changes: { isUp: false, onChange: () => () => {} },
    signingKeys: parseSigningKeys(newJwtKeysFiles(randomUUID).privateText),
    isDraining: () => false,
  });
  return `${JSON.stringify(createRoutes(ctx).document(), null, 2)}\n`;
}

export function writeOpenApiDocument(projectRoot: string, path: string): void {
  const text = toOpenApiText(projectRoot);
  if (existsSync(path) && readFileSync(path, 'utf8') === text) return;
  mkdirSync(dirname(path), { recursive: true });
  const draft = `${path}.${process.pid}`;
  writeFileSync(draft, text);
  renameSync(draft, path);
}

/** Whether the file holds exactly what would be written. */
export function checkOpenApiDocument(projectRoot: string, path: string): boolean {
  return existsSync(path) && readFileSync(path, 'utf8') === toOpenApiText(projectRoot);
}
