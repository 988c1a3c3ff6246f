/**
 * An export of an audit, as text that is made while it is read: a page after the other, none of them in a transaction that
 * a slow reader would hold open. NDJSON, or CSV (RFC 4180) in which no cell begins a formula of a spreadsheet.
 */
import { stringify } from 'csv-stringify/sync';
import type { ListedCall, ListedEvent, RowKey } from '../../stores/auditQueryStore.js';
import type { AuditPage } from './auditReader.js';

export type ExportFormat = 'ndjson' | 'csv';

export const exportPageRows = 1_000;

export const eventColumns = [
  'id',
  'occurredAt',
  'actorKind',
  'actorId',
  'actorVia',
  'subjectUserId',
  'action',
  'targetKind',
  'targetId',
  'service',
  'outcome',
  'errorCode',
  'requestId',
  'clientAddress',
  'details',
] as const satisfies readonly (keyof ListedEvent)[];

export const callColumns = [
  'id',
  'startedAt',
  'endedAt',
  'instanceId',
  'userId',
  'service',
  'method',
  'name',
  'era',
  'requestId',
  'clientAddress',
  'argumentsDigest',
  'argumentsBytes',
  'outcome',
  'httpStatus',
  'jsonRpcCode',
  'isError',
  'errorCode',
  'durationMs',
  'resultBytes',
] as const satisfies readonly (keyof ListedCall)[];

/** All rows from the newest on, as text. `readPage` is asked for the page behind a key. */
export async function* toExport<Row extends object>(
  columns: readonly (keyof Row & string)[],
  format: ExportFormat,
  readPage: (after: RowKey | null) => Promise<AuditPage<Row>>,
): AsyncGenerator<string> {
  if (format === 'csv') yield stringify([columns]);
  for (let after: RowKey | null = null; ;) {
    const { rows, next } = await readPage(after);
    const shown = rows.map((row) => columns.map((column) => toCell(row[column])));
    if (shown.length > 0) yield format === 'csv' ? toCsv(shown) : toLines(columns, shown);
    if (next === null) return;
    after = next;
  }
}

type Cell = string | number | boolean | null | object;

function toCell(value: unknown): Cell {
  return value instanceof Date ? value.toISOString() : (value ?? null);
}

function toCsv(rows: readonly (readonly Cell[])[]): string {
  const cells = rows.map((row) =>
    row.map((cell) => (typeof cell === 'object' && cell !== null ? JSON.stringify(cell) : cell)),
  );
  return stringify(cells, { escape_formulas: true, cast: { boolean: String } });
}

function toLines(columns: readonly string[], rows: readonly (readonly Cell[])[]): string {
  return rows
    .map((row) => `${JSON.stringify(Object.fromEntries(columns.map((column, at) => [column, row[at]])))}\n`)
    .join('');
}
