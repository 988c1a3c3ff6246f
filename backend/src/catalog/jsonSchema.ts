/** The JSON Schema that editors complete config files with, generated from the one zod schema. */
import { z } from 'zod';
import { configSchema } from './configSchema/configSchema.js';

/** What may be written in a file (defaults are optional), JSON Schema 2020-12. */
export function toConfigJsonSchema(): object {
  return z.toJSONSchema(configSchema, { target: 'draft-2020-12', io: 'input' });
}
