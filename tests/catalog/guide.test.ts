import { readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { describe, expect, it } from '@jest/globals';
import { toConfigJsonSchema } from '../../backend/src/catalog/jsonSchema.js';
import { aPortsFolder, type Json } from './given.js';

const guide = readFileSync(join(import.meta.dirname, '..', '..', 'docs', 'adding-a-service.md'), 'utf8');
const examples = Array.from(
  guide.matchAll(/```json\n([^]*?)```/g),
  ([, text = '']) => JSON.parse(text) as Json,
);

describe('X05 the guide to adding a service', () => {
  it('has examples that load as they stand', () => {
    using ports = aPortsFolder();
    for (const example of examples) ports.write(String(example.name), example);
    writeFileSync(join(ports.dir, 'tickets', 'openapi.json'), '{}');
    const loaded = ports.load();
    expect(loaded.problems).toEqual([]);
    expect(loaded.warnings).toEqual([]);
    expect(loaded.services.map(({ name, enabled }) => [name, enabled])).toEqual([
      ['notes', true],
      ['tasks', true],
      ['tickets', true],
    ]);
  });

  it('names every field of the schema in its tables', () => {
    const schema = toConfigJsonSchema() as { $defs: Record<string, { properties?: object }> };
    const explained = [
      'apiService',
      'apiTool',
      'apiUpstream',
      'credentials',
      'field',
      'health',
      'limits',
      'method',
      'openapi',
      'process',
      'stdioService',
      'stdioUpstream',
      'toolPolicy',
      'userOverrides',
    ];
    const fields = explained.flatMap((name) => Object.keys(schema.$defs[name]?.properties ?? {}));
    expect(fields.length).toBeGreaterThan(100);
    const unexplained = fields.filter((name) => !new RegExp(`\\b${name.replace('$', '')}\\b`).test(guide));
    expect(unexplained).toEqual([]);
  });
});
