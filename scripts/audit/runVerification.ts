/** `audit verify`: how far it is on a terminal, what it found, and the result in the audit itself. */
import { SingleBar } from 'cli-progress';
import { withUser } from '../../backend/src/database/withUser.js';
import type { AuditProblem } from '../../backend/src/services/audit/auditProblems.js';
import { openCheckpointFiles } from '../../backend/src/services/audit/checkpointFiles.js';
import { verifyAudit, type AuditVerification } from '../../backend/src/services/audit/verifyAudit.js';
import { loadVerificationKeys } from '../../backend/src/services/jwtKeys.js';
import { estimateAuditRows } from '../../backend/src/stores/auditProofStore.js';
import type { AuditTools } from './openAuditTools.js';

export interface VerificationWish {
  readonly isJson: boolean;
  readonly isRecorded: boolean;
}

/** @returns the exit code: 0 when all is as it was written, 1 otherwise */
export async function runVerification(
  { config, api, vault, record }: AuditTools,
  { isJson, isRecorded }: VerificationWish,
): Promise<number> {
  const auditor = { userId: null, scope: 'auditor' } as const;
  const bar =
    process.stderr.isTTY && !isJson ? startBar(await withUser(api, auditor, estimateAuditRows)) : null;
  const result = await withUser(
    api,
    auditor,
    (db) =>
      verifyAudit(db, {
        installId: vault.installId,
        kAudit: vault.system.audit,
        keys: loadVerificationKeys(config.paths.auditPublicKeys),
        files: openCheckpointFiles(config.paths.auditCheckpointsDir),
        ...(bar === null ? {} : { onRows: (count) => bar.increment(count) }),
      }),
    { readOnly: true },
  );
  bar?.stop();
  if (isRecorded) {
    await record('audit.verified', 'all', result.isIntact, {
      problems: result.problemCount,
      rows: result.rows.audit_events + result.rows.audit_calls,
    });
  }
  console.log(isJson ? JSON.stringify(result, null, 2) : toReport(result));
  return result.isIntact ? 0 : 1;
}

function startBar(rows: number): SingleBar {
  const bar = new SingleBar({
    format: 'verifying {bar} {value} of about {total} rows',
    stream: process.stderr,
    hideCursor: true,
  });
  bar.start(Math.round(rows), 0);
  return bar;
}

function toReport(result: AuditVerification): string {
  const { rows, unchained, unsealed, notYetVouched, checkpoints, lastCheckpointAt, problems, problemCount } =
    result;
  const lines = [
    `${rows.audit_events} events and ${rows.audit_calls} records of calls were read.`,
    `${checkpoints} checkpoints vouch for them, the last of ${lastCheckpointAt ?? 'never'}; ${notYetVouched} rows came after it.`,
    ...(unchained > 0
      ? [`${unchained} rows were written before there was a chain: nothing proves them.`]
      : []),
    ...(unsealed > 0 ? [`${unsealed} events wait for their number.`] : []),
    ...problems.map(toLine),
    ...(problems.length < problemCount ? [`… ${problemCount} in all`] : []),
    problemCount === 0
      ? 'The audit is intact.'
      : `The audit is NOT intact: ${problemCount} rows or statements.`,
  ];
  return lines.join('\n');
}

function toLine({ kind, audit, shard, seq, lastSeq, id, at, detail }: AuditProblem): string {
  const numbers = lastSeq === undefined || lastSeq === seq ? `number ${seq}` : `numbers ${seq} to ${lastSeq}`;
  const place = [
    audit,
    ...(id === null ? [] : [id]),
    ...(at === null ? [] : [kind === 'deleted' ? `after ${at}` : at]),
    ...(shard === null ? [] : [`shard ${shard}`]),
    ...(seq === null ? [] : [numbers]),
  ];
  return `${kind}: ${place.join(', ')}: ${detail}`;
}
