/** Holds the JSON Schemas of declared tools to the meta-schema, so that a wrong one is found before a call needs it. */
import { Ajv2020 } from 'ajv/dist/2020.js';
import type { FoundProblem } from './configProblem.js';
import type { ServiceDefinition } from './serviceDefinition.js';

export function findToolSchemaProblems(service: Pick<ServiceDefinition, 'api'>): FoundProblem[] {
  const tools = service.api?.tools ?? [];
  if (tools.length === 0) return [];
  const ajv = new Ajv2020({ strict: false, validateFormats: false, logger: false });
  return tools.flatMap((tool, index) =>
    (['inputSchema', 'outputSchema'] as const).flatMap((name) => {
      const schema = tool[name];
      if (schema === null || ajv.validateSchema(schema) === true) return [];
      const [first] = ajv.errors ?? [];
      const within = first?.instancePath ?? '';
      return [
        {
          pointer: `/api/tools/${index}/${name}${within}`,
          message: `${first?.message ?? 'is no JSON Schema'} (JSON Schema)`,
        },
      ];
    }),
  );
}
