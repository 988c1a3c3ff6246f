/** The tools of services whose definitions are pinned, for admins: what waits, what differs, approve and reject. */
import { z } from 'zod';
import type { ToolReviews } from '../../services/toolPins/toolReviews.js';
import { defineRoute, type Route } from '../defineRoute.js';
import { serviceParams } from './instanceSchemas.js';

const tags = ['Tools'];
const path = '/api/v1/services/:serviceType/tools';

const toolParams = serviceParams.extend({
  tool: z.string().min(1).max(256).describe("The service's own name of the tool, percent-encoded."),
});
const digest = z
  .string()
  .regex(/^v1:[0-9a-f]{64}$/, 'must be the digest of a definition')
  .describe('Names one definition, byte for byte; `v1:` and the SHA-256 of its canonical form (RFC 8785).');
const decisionBody = z.strictObject({ digest });

const definition = z.object({
  digest,
  state: z.enum(['waiting', 'approved', 'rejected']),
  origin: z.enum(['first-use', 'admin']).nullable(),
  isNew: z.boolean().describe('Nothing was known of a tool of this name before it.'),
  firstSeenAt: z.iso.datetime(),
  seenAt: z.iso.datetime(),
  decidedBy: z.uuid().nullable(),
  decidedAt: z.iso.datetime().nullable(),
});
const pinnedTool = z.object({
  tool: z.string(),
  state: z
    .enum(['approved', 'changed', 'new', 'rejected'])
    .describe('`changed` and `new` wait; of a changed one the approved definition still counts.'),
  definitions: z.array(definition).readonly().describe('The newest first.'),
});
const pinnedTools = z.object({
  serviceType: z.string(),
  isPinned: z.boolean().describe('Whether the file of the service says `toolPolicy.pinDescriptions`.'),
  newTools: z.enum(['quarantine', 'approve']),
  pinnedSince: z.iso.datetime().nullable().describe('When the first list was trusted.'),
  waiting: z.int(),
  tools: z.array(pinnedTool).readonly(),
});
const change = definition.extend({
  comparedWith: digest.nullable().describe('The approved definition that it is compared with.'),
  differences: z
    .array(
      z.object({
        field: z.string(),
        change: z.enum(['added', 'removed', 'changed']),
        parts: z
          .array(z.object({ kind: z.enum(['same', 'removed', 'added']), text: z.string() }))
          .readonly()
          .describe('In reading order; what cannot be seen, or looks like another letter, is `\\u{…}`.'),
        oddities: z.array(z.string()).readonly(),
      }),
    )
    .readonly(),
});

export function createToolPinsRoutes({ toolReviews }: { readonly toolReviews: ToolReviews }): Route[] {
  return [
    defineRoute({
      method: 'get',
      path,
      operationId: 'list_pinned_tools',
      summary: "List a service's tools with what is approved of each and what waits",
      tags,
      auth: 'admin',
      problems: ['SERVICE_UNKNOWN'],
      request: { params: serviceParams },
      responses: { 200: { description: 'All that were ever listed.', schema: pinnedTools } },
      async handle({ actor, params }) {
        return { status: 200, body: await toolReviews.list(actor, params.serviceType) };
      },
    }),
    defineRoute({
      method: 'get',
      path: `${path}/:tool/changes`,
      operationId: 'show_tool_changes',
      summary: 'Show how the definitions of a tool that wait differ from the approved one',
      tags,
      auth: 'admin',
      problems: ['SERVICE_UNKNOWN', 'NOT_FOUND'],
      request: { params: toolParams },
      responses: {
        200: {
          description: 'Field by field.',
          schema: pinnedTool.extend({ serviceType: z.string(), changes: z.array(change).readonly() }),
        },
      },
      async handle({ actor, params }) {
        return { status: 200, body: await toolReviews.changes(actor, params.serviceType, params.tool) };
      },
    }),
    defineRoute({
      method: 'post',
      path: `${path}/:tool/approve`,
      operationId: 'approve_tool',
      summary: 'Approve the definition of a tool that you have seen',
      description:
        'It is shown and called within a second. The newest that waits, or one that was rejected; 409 when the tool ' +
        'changed again, or another admin decided.',
      tags,
      auth: 'admin',
      limit: 'write',
      problems: ['SERVICE_UNKNOWN', 'NOT_FOUND', 'VERSION_CONFLICT'],
      audit: { action: 'tool.approved', target: 'service' },
      request: { params: toolParams, body: decisionBody },
      responses: { 200: { description: 'The tool as it is now.', schema: pinnedTool } },
      async handle({ actor, params, body }) {
        return {
          status: 200,
          body: await toolReviews.approve(actor, params.serviceType, params.tool, body.digest),
        };
      },
    }),
    defineRoute({
      method: 'post',
      path: `${path}/:tool/reject`,
      operationId: 'reject_tool',
      summary: 'Reject a definition of a tool, or take its approval back',
      description: 'It is shown and called no more, within a second.',
      tags,
      auth: 'admin',
      limit: 'write',
      problems: ['SERVICE_UNKNOWN', 'NOT_FOUND', 'VERSION_CONFLICT'],
      audit: { action: 'tool.rejected', target: 'service' },
      request: { params: toolParams, body: decisionBody },
      responses: { 200: { description: 'The tool as it is now.', schema: pinnedTool } },
      async handle({ actor, params, body }) {
        return {
          status: 200,
          body: await toolReviews.reject(actor, params.serviceType, params.tool, body.digest),
        };
      },
    }),
  ];
}
