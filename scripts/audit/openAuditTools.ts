/** What the audit's commands work with: both roles' connections, the key of the MACs and the keys of the checkpoints. */
import { randomUUID } from 'node:crypto';
import type { Config } from '../../backend/src/config/config.js';
import { readSecretFile } from '../../backend/src/config/secrets.js';
import { createPool, type DatabasePool } from '../../backend/src/database/pool.js';
import type { AuditChainParts } from '../../backend/src/services/audit/auditSealer.js';
import { openCheckpointFiles } from '../../backend/src/services/audit/checkpointFiles.js';
import { writeAudit } from '../../backend/src/services/changeAudit.js';
import { readInstallKeys } from '../../backend/src/services/installKeys.js';
import { loadSigningKeys } from '../../backend/src/services/jwtKeys.js';
import { readVaultKeys, type VaultKeys } from '../../backend/src/services/vaultKeys.js';
import { eventMac } from '../../backend/src/vault/auditMacs.js';

export interface AuditTools extends AsyncDisposable {
  readonly config: Config;
  /** Role `portolan_api`; it reads in the scope `auditor`. */
  readonly api: DatabasePool;
  readonly vault: VaultKeys;
  /** For what changes the chain; role `portolan_jobs`. */
  readonly chain: () => AuditChainParts;
  /** Writes that a command was run. */
  readonly record: (
    action: string,
    targetId: string,
    isSuccess: boolean,
    details: Record<string, unknown>,
  ) => Promise<void>;
}

/** A row group may be sorted before its first row comes. */
const statementTimeoutMs = 60 * 60_000;

/** @throws AppError SEALED without the key ring: nothing can be verified then. */
export async function openAuditTools(config: Config): Promise<AuditTools> {
  const { paths } = config;
  const open = (role: 'api' | 'jobs'): DatabasePool =>
    createPool({
      connectionString: readSecretFile(paths.databaseUrl(role), `the connection string of the role ${role}`),
      applicationName: 'portolan-audit',
      connectionsMax: 2,
      statementTimeoutMs,
      auditMac: (text) => eventMac(vault.system.audit, text),
    });
  const [api, jobs] = [open('api'), open('jobs')];
  const close = async (): Promise<void> => {
    await api.close();
    await jobs.close();
  };
  let vault: VaultKeys;
  try {
    vault = await readVaultKeys(
      () => readSecretFile(paths.keyRing, 'the key ring (KEYRING_FILE)'),
      () => readInstallKeys(api),
    );
  } catch (error) {
    await close();
    throw error;
  }
  return {
    config,
    api,
    vault,
    chain: () => ({
      pool: jobs,
      keys: () => vault,
      signing: loadSigningKeys(paths.auditKeys),
      files: openCheckpointFiles(paths.auditCheckpointsDir),
      now: Date.now,
      newId: randomUUID,
    }),
    record: (action, targetId, isSuccess, details) =>
      jobs.transaction((db) =>
        writeAudit(db, {
          actorKind: 'system',
          actorId: null,
          actorVia: 'command',
          subjectUserId: null,
          action,
          targetKind: 'audit',
          targetId,
          service: null,
          outcome: isSuccess ? 'success' : 'failure',
          errorCode: null,
          requestId: null,
          clientAddress: null,
          details,
        }),
      ),
    [Symbol.asyncDispose]: close,
  };
}
