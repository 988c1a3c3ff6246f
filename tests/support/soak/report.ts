import type { SoakReport } from './soak.js';

/** The report as a person reads it: what was done, how calls came out, and each violation with all that names it. */
export function toText(report: SoakReport): string {
  const { changes } = report;
  const lines = [
    `seed ${report.seed}, ${report.seconds} s: ${report.calls} calls, ${report.answered} answered, ` +
      `${report.seenUpstream} seen upstream; changes: ${changes.acknowledged} acknowledged, ` +
      `${changes.refused} refused, ${changes.unknown} without an answer`,
    '',
    ...report.faults.map(
      ({ id, detail, atSeconds, lastedMs, recoveredMs }) =>
        `  ${atSeconds.toFixed(1).padStart(6)} s  ${id}  ${detail}  lasted ${lastedMs} ms, well again after ${recoveredMs ?? '–'} ms`,
    ),
    '',
    ...Object.entries(report.outcomes).map(
      ([outcome, count]) => `  ${String(count).padStart(6)}  ${outcome}`,
    ),
    '',
    report.violations.length === 0 ? 'No violation.' : `${report.violations.length} violations:`,
    ...report.violations.map(({ invariant, text, atSeconds, faults, call, instance }) => {
      const during = faults.length === 0 ? '' : ` during ${faults.join(' and ')}`;
      const of = [call, instance].filter((one) => one !== undefined).join(', instance ');
      return `  [${invariant}] seed ${report.seed}, ${atSeconds} s${during}: ${text}${of === '' ? '' : ` (${of})`}`;
    }),
  ];
  return `${lines.join('\n')}\n`;
}
