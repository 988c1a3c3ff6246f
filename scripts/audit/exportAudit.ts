/** `audit export`: an audit as a stream, to standard output or into a file of mode 0600. */
import { createWriteStream } from 'node:fs';
import { Readable } from 'node:stream';
import { pipeline } from 'node:stream/promises';
import { AppError } from '../../backend/src/errors/appError.js';
import {
  callColumns,
  eventColumns,
  exportPageRows,
  toExport,
  type ExportFormat,
} from '../../backend/src/services/audit/auditExport.js';
import { createAuditReader } from '../../backend/src/services/audit/auditReader.js';
import type { Actor } from '../../backend/src/services/changeAudit.js';
import type { CallFilter, EventFilter } from '../../backend/src/stores/auditQueryStore.js';
import type { AuditTools } from './openAuditTools.js';

export type ExportWish = Partial<Readonly<Record<keyof EventFilter | keyof CallFilter, string>>> & {
  readonly format: ExportFormat;
  readonly out?: string;
  readonly from?: string;
  readonly to?: string;
};

/** Whoever runs the command has the machine; what is read is what an auditor may. */
const operator: Actor = {
  userId: '00000000-0000-0000-0000-000000000000',
  role: 'auditor',
  via: 'command',
  authenticatedAt: null,
  requestId: null,
  clientAddress: null,
};

export async function exportAudit(
  { api, record }: AuditTools,
  audit: 'events' | 'calls',
  { format, out, from, to, ...filter }: ExportWish,
): Promise<void> {
  const reader = createAuditReader({ pool: api });
  const page = { from: toTime(from), to: toTime(to), limit: exportPageRows };
  const text =
    audit === 'events'
      ? toExport(eventColumns, format, (after) =>
          reader.listEvents(operator, { ...page, after, filter: filter as EventFilter }),
        )
      : toExport(callColumns, format, (after) =>
          reader.listCalls(operator, { ...page, after, filter: filter as CallFilter }),
        );
  const sink = out === undefined ? process.stdout : createWriteStream(out, { flags: 'wx', mode: 0o600 });
  await record('audit.exported', audit, true, { format });
  await pipeline(Readable.from(text), sink, { end: out !== undefined });
}

/** @throws AppError INVALID_REQUEST for a text that is no time */
function toTime(text: string | undefined): string | undefined {
  if (text === undefined) return undefined;
  const ms = Date.parse(text);
  if (Number.isNaN(ms))
    throw new AppError('INVALID_REQUEST', `${text} is no time; write it as 2026-01-31T12:00:00Z`);
  return new Date(ms).toISOString();
}
