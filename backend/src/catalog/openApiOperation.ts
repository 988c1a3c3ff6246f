/** One operation of a dereferenced OpenAPI document as a tool. */
import { isDeniedHeaderName } from './headerNames.js';
import { toToolSchema, type SchemaOptions } from './openApiSchema.js';
import type { ApiTool, BodyTemplate, HttpMethod } from './serviceDefinition.js';
import { isReservedName, parseArgumentTemplate, TemplateError, type ArgumentTemplate } from './template.js';

type JsonMap = Readonly<Record<string, unknown>>;

export interface OperationSource {
  readonly name: string;
  readonly method: HttpMethod;
  readonly path: string;
  readonly operation: JsonMap;
  /** Parameters of the path item, which the operation's own override by name and place. */
  readonly shared: unknown;
  /** What a reference leads to that was left in place. */
  readonly find: SchemaOptions['find'];
}

const descriptionCharsMax = 1_024;

/** @returns the reason, in words for an admin, when it cannot be one. */
export function toOperationTool(
  source: OperationSource,
): { readonly tool: ApiTool } | { readonly reason: string } {
  const { name, method, path, operation } = source;
  const parameters = readParameters(source);
  const hidden = parameters.find(({ place, required }) => required && place !== 'path' && place !== 'query');
  if (hidden !== undefined) return { reason: `needs the ${hidden.place} parameter ${hidden.name}` };

  const properties: Record<string, unknown> = {};
  const required: string[] = [];
  const query: Record<string, ArgumentTemplate> = {};
  const add = (argument: string, schema: JsonMap, isRequired: boolean): void => {
    properties[argument] = schema;
    if (isRequired) required.push(argument);
  };
  for (const parameter of parameters.filter(({ place }) => place === 'path')) {
    if (isReservedName(parameter.name)) return { reason: `has a parameter called ${parameter.name}` };
    add(parameter.name, parameter.schema, true);
  }
  for (const parameter of parameters.filter(({ place }) => place === 'query')) {
    if (isReservedName(parameter.name)) return { reason: `has a parameter called ${parameter.name}` };
    const argument = parameter.name in properties ? `query_${parameter.name}` : parameter.name;
    add(argument, parameter.schema, parameter.required);
    query[parameter.name] = { kind: 'argumentTemplate', parts: [{ placeholder: argument }] };
  }

  const body = readBody(operation.requestBody, source.find);
  if (body !== null && 'reason' in body) return body;
  const flat = body !== null && canSpread(body, properties);
  let template: BodyTemplate | undefined;
  if (body !== null) {
    if (flat) {
      for (const [member, schema] of Object.entries(toMap(body.schema.properties))) {
        add(member, toMap(schema), listOf(body.schema.required).includes(member));
      }
    } else {
      const argument = 'body' in properties ? 'request_body' : 'body';
      add(argument, body.schema, body.required);
      template = { kind: 'argument', name: argument };
    }
  }

  let pathTemplate: ArgumentTemplate;
  try {
    pathTemplate = parseArgumentTemplate(path, new Set(Object.keys(properties)));
  } catch (error) {
    if (!(error instanceof TemplateError)) throw error;
    return { reason: `its path ${error.message}` };
  }
  const isOpen =
    flat && body.schema.additionalProperties !== undefined && body.schema.additionalProperties !== false;
  return {
    tool: {
      name,
      title: textOf(operation.summary)?.slice(0, 200) ?? null,
      description: describe(operation, method, path),
      inputSchema: {
        type: 'object',
        properties,
        ...(required.length === 0 ? {} : { required }),
        additionalProperties: isOpen,
      },
      outputSchema: null,
      annotations: annotate(method),
      request: {
        method,
        path: pathTemplate,
        query,
        headers: {},
        body: template,
        bodyFrom: flat ? 'rest' : null,
        contentType: body?.contentType ?? 'application/json',
      },
      response: { pick: null, maxBytes: null, format: 'json', okPath: null, errorPath: null },
      scopes: [],
      timeoutMs: null,
      cacheTtlMs: 0,
    },
  };
}

interface Parameter {
  readonly name: string;
  readonly place: string;
  readonly required: boolean;
  readonly schema: JsonMap;
}

function readParameters({ operation, shared, find }: OperationSource): Parameter[] {
  const found = new Map<string, Parameter>();
  for (const raw of [...listOf(shared), ...listOf(operation.parameters)]) {
    const parameter = toMap(raw);
    const name = textOf(parameter.name);
    const place = textOf(parameter.in);
    if (name === null || place === null) continue;
    // A header that the caller has no business with, such as an idempotency key of the transport, is left to its default.
    if (place === 'header' && isDeniedHeaderName(name)) continue;
    const content = Object.values(toMap(parameter.content))[0];
    const schema = toToolSchema(parameter.schema ?? toMap(content).schema ?? {}, { find });
    const description = textOf(parameter.description);
    found.set(`${place} ${name}`, {
      name,
      place,
      required: parameter.required === true,
      schema: description === null || 'description' in schema ? schema : { ...schema, description },
    });
  }
  return [...found.values()];
}

interface Body {
  readonly contentType: ApiTool['request']['contentType'];
  readonly schema: JsonMap;
  readonly required: boolean;
}

function readBody(raw: unknown, find: SchemaOptions['find']): Body | { readonly reason: string } | null {
  if (raw === undefined) return null;
  const body = toMap(raw);
  const content = toMap(body.content);
  for (const contentType of ['application/json', 'application/x-www-form-urlencoded'] as const) {
    const type = Object.keys(content).find((one) => one.split(';')[0]?.trim().toLowerCase() === contentType);
    if (type === undefined) continue;
    const schema = toToolSchema(toMap(content[type]).schema ?? {}, { forRequest: true, find });
    return { contentType, schema, required: body.required === true };
  }
  return body.required === true ? { reason: 'takes a body that is neither JSON nor a form' } : null;
}

/** Whether the members of the body can be arguments beside the parameters. */
function canSpread({ schema, required }: Body, taken: JsonMap): boolean {
  const members = Object.keys(toMap(schema.properties));
  const combined = ['allOf', 'anyOf', 'oneOf', 'not', 'if', '$ref'].some((keyword) => keyword in schema);
  return (
    required &&
    !combined &&
    members.length > 0 &&
    !members.some((member) => member in taken || isReservedName(member))
  );
}

/** RFC 9110 §9.2: which methods are safe, and which may be repeated. */
function annotate(method: HttpMethod): Readonly<Record<string, boolean>> {
  switch (method) {
    case 'GET':
      return { readOnlyHint: true, openWorldHint: true };
    case 'PUT':
      return { readOnlyHint: false, idempotentHint: true, destructiveHint: true, openWorldHint: true };
    case 'DELETE':
      return { readOnlyHint: false, idempotentHint: true, destructiveHint: true, openWorldHint: true };
    case 'POST':
    case 'PATCH':
      return { readOnlyHint: false, openWorldHint: true };
  }
}

function describe(operation: JsonMap, method: HttpMethod, path: string): string {
  const words = [textOf(operation.summary), textOf(operation.description)].filter((text) => text !== null);
  return (words.length === 0 ? `${method} ${path}` : [...new Set(words)].join('\n\n')).slice(
    0,
    descriptionCharsMax,
  );
}

const toMap = (value: unknown): JsonMap =>
  typeof value === 'object' && value !== null ? (value as JsonMap) : {};
const listOf = (value: unknown): readonly unknown[] =>
  Array.isArray(value) ? (value as readonly unknown[]) : [];
const textOf = (value: unknown): string | null => (typeof value === 'string' && value !== '' ? value : null);
