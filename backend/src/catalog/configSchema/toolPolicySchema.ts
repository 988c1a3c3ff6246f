/** Which tools of a service are shown and called, and under which names and descriptions. */
import { z } from 'zod';
import { toolName } from './upstreamSchemas.js';
import { globsSchema } from './valueSchemas.js';

const text = (max: number) => z.string().min(1).max(max);

export const toolPolicySchema = z
  .strictObject({
    allow: globsSchema.default([]),
    deny: globsSchema.default([]),
    readOnlyDefault: z.boolean().default(false),
    rename: z.record(text(200), toolName).default({}),
    describe: z.record(text(200), text(2_000)).default({}),
    pinDescriptions: z
      .boolean()
      .default(false)
      .describe(
        'Show and call only tools whose definition is as it was first seen, or as an admin approved it.',
      ),
    newTools: z
      .enum(['quarantine', 'approve'])
      .default('quarantine')
      .describe(
        'With pinDescriptions: what becomes of a tool that appears after the first list of the service.',
      ),
  })
  .meta({ id: 'toolPolicy' });
