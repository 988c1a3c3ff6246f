/** The audit of this process's calls: its spool, and the shipper that moves it to the database. */
import { randomUUID } from 'node:crypto';
import { join } from 'node:path';
import type { ServiceDefinition } from '../../catalog/serviceDefinition.js';
import type { Config } from '../../config/config.js';
import { codeOf } from '../../database/databaseErrors.js';
import type { DatabasePool } from '../../database/pool.js';
import type { VaultGate } from '../../services/vaultKeys.js';
import { createCallChain } from '../../spool/callChain.js';
import { openCallSpool, type CallSpool } from '../../spool/callSpool.js';
import { createSpoolShipper } from '../../spool/spoolShipper.js';
import { findSpoolChain, forgetSpool, shipCallAudit } from '../../stores/callAuditStore.js';
import type { Logger } from '../../telemetry/logger.js';
import type { ServiceMetrics } from '../../telemetry/metrics.js';

export interface CallAudit {
  readonly spool: CallSpool;
  /** Writes and ships what is left. */
  close(): Promise<void>;
}

export interface CallAuditOptions {
  readonly config: Pick<Config, 'paths'>;
  readonly definition: Pick<ServiceDefinition, 'name' | 'audit'>;
  readonly pool: DatabasePool;
  /** While it is sealed nothing is shipped. */
  readonly vault: Pick<VaultGate, 'keys'>;
  readonly log: Logger;
  readonly metrics: Pick<ServiceMetrics, 'auditWriteFailures'>;
}

export function openCallAudit({
  config,
  definition,
  pool,
  vault,
  log,
  metrics,
}: CallAuditOptions): CallAudit {
  const { name: service } = definition;
  const dir = join(config.paths.spoolDir, service);
  const chain = createCallChain({
    kAudit: () => vault.keys().system.audit,
    findChain: (spoolId) => findSpoolChain(pool, spoolId),
    shipChained: (batch) => shipCallAudit(pool, { ...batch, service }),
    forgetSpool: (spoolId) => forgetSpool(pool, spoolId),
  });
  const spool = openCallSpool({
    dir,
    service,
    shipDirect: chain.ship,
    durability: definition.audit.durability,
    now: Date.now,
    newId: randomUUID,
    onDiskFailure: (error) => {
      metrics.auditWriteFailures.inc();
      log.error('the audit spool takes nothing', { error });
    },
  });
  const shipper = createSpoolShipper({
    spool,
    dir,
    ...chain,
    // Data exceptions and violated constraints (SQLSTATE classes 22 and 23) come again however often it is tried.
    isRecordFault: (error) => /^2[23]/.test(codeOf(error) ?? ''),
    now: Date.now,
    log,
    onFailure: () => metrics.auditWriteFailures.inc(),
  });
  return {
    spool,
    async close() {
      await spool.close();
      await shipper.close();
    },
  };
}
