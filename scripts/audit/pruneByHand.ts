/** `audit prune`: the retention job by hand. */
import { AppError } from '../../backend/src/errors/appError.js';
import { pruneAudit } from '../../backend/src/services/audit/pruneAudit.js';
import type { AuditTools } from './openAuditTools.js';

export interface PruneWish {
  /** `YYYY-MM-DD`; null: as `AUDIT_RETENTION_DAYS` says. */
  readonly before: string | null;
  readonly isDryRun: boolean;
  readonly isJson: boolean;
}

const dayForm = /^\d{4}-\d{2}-\d{2}$/;
const dayMs = 86_400_000;

export async function pruneByHand(
  { config, chain }: AuditTools,
  { before: wished, isDryRun, isJson }: PruneWish,
): Promise<void> {
  const ofRetention = new Date(Date.now() - config.auditRetentionDays * dayMs).toISOString().slice(0, 10);
  const before = wished ?? ofRetention;
  if (!dayForm.test(before) || Number.isNaN(Date.parse(before)))
    throw new AppError('INVALID_REQUEST', 'write the day as 2026-01-31');
  if (before > new Date().toISOString().slice(0, 10))
    throw new AppError('INVALID_REQUEST', 'that day is still to come');
  const gone = await pruneAudit({ ...chain(), before, dryRun: isDryRun, via: 'command' });
  if (isJson) return console.log(JSON.stringify({ before, isDryRun, partitions: gone }, null, 2));
  for (const { name, rows } of gone)
    console.log(`${name}: ${rows} rows ${isDryRun ? 'would go' : 'are gone'}`);
  if (gone.length === 0) console.log(`There is nothing from before ${before}.`);
}
