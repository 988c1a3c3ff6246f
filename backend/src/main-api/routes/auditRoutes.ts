/** The audits: who changed what, and which calls were made (C06). Admins and auditors read all, others their own. */
import { z } from 'zod';
import { AppError } from '../../errors/appError.js';
import type { Actor } from '../../services/changeAudit.js';
import { callColumns, eventColumns, exportPageRows, toExport } from '../../services/audit/auditExport.js';
import type { AuditReader } from '../../services/audit/auditReader.js';
import type { CallFilter, EventFilter, RowKey } from '../../stores/auditQueryStore.js';
import { defineRoute, type Route } from '../defineRoute.js';
import { time } from './accountSchemas.js';

const tags = ['Audit'];

const instant = z.iso.datetime({ offset: true });
const word = z.string().min(1).max(128);
const range = {
  from: instant.optional().meta({ description: 'From this time on.' }),
  to: instant.optional().meta({ description: 'Before this time.' }),
};
const eventFilter = {
  actorId: z.uuid().optional(),
  subjectUserId: z.uuid().optional(),
  action: word.optional().meta({ examples: ['instance.created'] }),
  targetId: word.optional().meta({ description: 'What was changed, such as the uuid of an instance.' }),
  service: word.optional(),
  outcome: z.enum(['success', 'denied', 'failure']).optional(),
  errorCode: word.optional(),
  requestId: word.optional(),
};
const callOutcome = z.enum(['ok', 'tool_error', 'error', 'timeout', 'cancelled', 'refused', 'unknown']);
const callFilter = {
  userId: z.uuid().optional(),
  instanceId: z.uuid().optional(),
  service: word.optional(),
  method: word.optional().meta({ examples: ['tools/call'] }),
  name: z.string().min(1).max(256).optional().meta({ description: 'The tool or prompt.' }),
  outcome: z
    .union([callOutcome, z.literal('failed')])
    .optional()
    .meta({ description: '`failed`: everything but `ok`.' }),
  errorCode: word.optional(),
  requestId: z.string().min(1).max(256).optional(),
};
const paging = {
  limit: z.coerce.number().int().min(1).max(200).default(50),
  cursor: z.string().max(200).optional().meta({ description: 'The `nextCursor` of the page before.' }),
};

const eventShape = z
  .object({
    id: z.uuid(),
    occurredAt: time,
    actorKind: z.enum(['user', 'system', 'anonymous']),
    actorId: z.string().nullable(),
    actorVia: z.string().nullable(),
    subjectUserId: z.string().nullable(),
    action: z.string(),
    targetKind: z.string().nullable(),
    targetId: z.string().nullable(),
    service: z.string().nullable(),
    outcome: z.enum(['success', 'denied', 'failure']),
    errorCode: z.string().nullable(),
    requestId: z.string().nullable(),
    clientAddress: z.string().nullable(),
    details: z.record(z.string(), z.unknown()),
  })
  .meta({ id: 'AuditEvent' });

const callShape = z
  .object({
    id: z.uuid(),
    startedAt: time.nullable().meta({ description: 'Null for a call that was refused before any intent.' }),
    endedAt: time,
    instanceId: z.string().nullable(),
    userId: z.string().nullable(),
    service: z.string(),
    method: z.string(),
    name: z.string().nullable(),
    era: z.string().nullable(),
    requestId: z.string().nullable(),
    clientAddress: z.string().nullable(),
    argumentsDigest: z.string().nullable().meta({ description: 'Equal arguments have equal digests.' }),
    argumentsBytes: z.int().nullable(),
    outcome: callOutcome,
    httpStatus: z.int().nullable(),
    jsonRpcCode: z.int().nullable(),
    isError: z.boolean().nullable(),
    errorCode: z.string().nullable(),
    durationMs: z.number().nullable(),
    resultBytes: z.number().nullable(),
  })
  .meta({ id: 'AuditCall' });

export function createAuditRoutes({ auditReader }: { readonly auditReader: AuditReader }): Route[] {
  return [
    defineRoute({
      method: 'get',
      path: '/api/v1/audit/events',
      operationId: 'list_audit_events',
      summary: 'List what was changed, newest first',
      tags,
      auth: 'user',
      request: { query: z.strictObject({ ...range, ...eventFilter, ...paging }) },
      responses: {
        200: {
          description: 'A page of changes.',
          schema: z.object({ events: z.array(eventShape), nextCursor: z.string().nullable() }),
        },
      },
      async handle({ actor, query: { limit, cursor, from, to, ...filter } }) {
        const { rows, next } = await auditReader.listEvents(actor, {
          filter,
          ...toRange(from, to),
          limit,
          after: parseCursor(cursor),
        });
        const events = rows.map((row) => ({ ...row, occurredAt: row.occurredAt.toISOString() }));
        return { status: 200, body: { events, nextCursor: toCursor(next) } };
      },
    }),
    defineRoute({
      method: 'get',
      path: '/api/v1/audit/calls',
      operationId: 'list_audit_calls',
      summary: 'List calls of tools and other methods, newest first',
      description: 'A call is listed when it has ended, with what was known before it was made.',
      tags,
      auth: 'user',
      request: { query: z.strictObject({ ...range, ...callFilter, ...paging }) },
      responses: {
        200: {
          description: 'A page of calls.',
          schema: z.object({ calls: z.array(callShape), nextCursor: z.string().nullable() }),
        },
      },
      async handle({ actor, query: { limit, cursor, from, to, ...filter } }) {
        const { rows, next } = await auditReader.listCalls(actor, {
          filter,
          ...toRange(from, to),
          limit,
          after: parseCursor(cursor),
        });
        const calls = rows.map((row) => ({
          ...row,
          startedAt: row.startedAt?.toISOString() ?? null,
          endedAt: row.endedAt.toISOString(),
        }));
        return { status: 200, body: { calls, nextCursor: toCursor(next) } };
      },
    }),
    defineRoute({
      method: 'get',
      path: '/api/v1/audit/export',
      operationId: 'export_audit',
      summary: 'Download an audit, newest first',
      description:
        'The filters are those of the two lists; one that the chosen audit does not have is refused. Cells that a spreadsheet would take for a formula begin with an apostrophe. The export itself is audited.',
      tags,
      auth: 'user',
      limit: 'export',
      audit: { action: 'audit.exported', target: 'audit' },
      request: {
        query: z.strictObject({
          audit: z.enum(['events', 'calls']),
          format: z.enum(['ndjson', 'csv']).default('ndjson'),
          ...range,
          ...eventFilter,
          ...callFilter,
          outcome: word.optional(),
        }),
      },
      responses: {
        200: {
          description: 'A line for each row, as NDJSON or CSV.',
          schema: z.string(),
          contentType: 'application/x-ndjson',
          isStream: true,
        },
      },
      async handle({ actor, query: { audit, format, from, to, ...given }, signal }) {
        const page = { ...toRange(from, to), limit: exportPageRows };
        const rows =
          audit === 'events'
            ? eventsOf(actor, page, parseFilter(eventFilter, given), format)
            : callsOf(actor, page, parseFilter(callFilter, given), format);
        await auditReader.recordExport(actor, { audit, format });
        return {
          status: 200,
          body: whileHeard(rows, signal),
          headers: {
            'content-disposition': `attachment; filename="audit-${audit}.${format}"`,
            'content-type': format === 'csv' ? 'text/csv; charset=utf-8' : 'application/x-ndjson',
          },
        };
      },
    }),
    defineRoute({
      method: 'get',
      path: '/api/v1/audit/verification',
      operationId: 'get_audit_verification',
      summary: 'How far the audit is proven',
      description: '`npm run audit -- verify` verifies it; the last time that was done is shown here.',
      tags,
      auth: 'auditor',
      responses: {
        200: {
          description: 'The last checkpoint and what the last verification found.',
          schema: z.object({
            checkpoint: z.object({ number: z.int(), issuedAt: time }).nullable(),
            verification: z.object({ at: time, rows: z.number(), problems: z.number() }).nullable(),
          }),
        },
      },
      async handle({ actor }) {
        const { checkpoint, verification } = await auditReader.proof(actor);
        return {
          status: 200,
          body: {
            checkpoint: checkpoint && {
              number: checkpoint.number,
              issuedAt: checkpoint.issuedAt.toISOString(),
            },
            verification: verification && {
              at: verification.at.toISOString(),
              rows: verification.rows,
              problems: verification.problems,
            },
          },
        };
      },
    }),
  ];

  type Page = Pick<Parameters<AuditReader['listEvents']>[1], 'from' | 'to' | 'limit'>;

  function eventsOf(actor: Actor, page: Page, filter: EventFilter, format: 'ndjson' | 'csv') {
    return toExport(eventColumns, format, (after) =>
      auditReader.listEvents(actor, { ...page, filter, after }),
    );
  }

  function callsOf(actor: Actor, page: Page, filter: CallFilter, format: 'ndjson' | 'csv') {
    return toExport(callColumns, format, (after) => auditReader.listCalls(actor, { ...page, filter, after }));
  }
}

/** Reads no further page for a client that is gone. */
async function* whileHeard(pages: AsyncGenerator<string>, signal: AbortSignal): AsyncGenerator<string> {
  for await (const text of pages) {
    if (signal.aborted) return;
    yield text;
  }
}

/** @throws AppError INVALID_REQUEST for a filter that the other audit has */
function parseFilter<S extends z.ZodRawShape>(shape: S, given: object): z.output<z.ZodObject<S>> {
  const parsed = z.strictObject(shape).safeParse(given);
  if (parsed.success) return parsed.data;
  throw new AppError('INVALID_REQUEST', 'a filter that the chosen audit does not have', {
    publicDetail: `The chosen audit has these filters: ${Object.keys(shape).join(', ')}.`,
  });
}

function toRange(from: string | undefined, to: string | undefined) {
  return { from, to };
}

function toCursor(key: RowKey | null): string | null {
  return key === null ? null : Buffer.from(`${key.time} ${key.id}`, 'utf8').toString('base64url');
}

const cursorForm =
  /^(\d{4}-\d{2}-\d{2}T\d{2}:\d{2}:\d{2}\.\d{6}Z) ([0-9a-f]{8}(?:-[0-9a-f]{4}){3}-[0-9a-f]{12})$/;

/** @throws AppError INVALID_REQUEST for what is no cursor of ours. */
function parseCursor(cursor: string | undefined): RowKey | null {
  if (cursor === undefined) return null;
  const [, time_, id] = cursorForm.exec(Buffer.from(cursor, 'base64url').toString('utf8')) ?? [];
  if (time_ !== undefined && id !== undefined && !Number.isNaN(Date.parse(time_))) return { time: time_, id };
  throw new AppError('INVALID_REQUEST', 'a cursor that is none of ours', {
    publicDetail: 'Send the nextCursor of the page before, or none.',
  });
}
