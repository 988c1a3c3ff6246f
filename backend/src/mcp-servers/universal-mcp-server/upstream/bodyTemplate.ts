/** Request bodies: the template of the config filled with the values and the arguments of one call. */
import type { BodyTemplate } from '../../../catalog/serviceDefinition.js';
import { renderTemplate, type TemplateValues } from '../../../catalog/template.js';
import { isJsonObject, type JsonObject } from '../protocol/jsonRpc.js';

export type BodyForm = 'application/json' | 'application/x-www-form-urlencoded';

/**
 * Members whose argument is absent, or whose template is left out because it is empty, are left out themselves; array
 * items likewise.
 * @returns undefined when nothing is left.
 */
export function renderBody(template: BodyTemplate, values: TemplateValues, given: JsonObject): unknown {
  if (template === null || typeof template !== 'object') return template;
  switch (template.kind) {
    case 'template':
      return renderTemplate(template, values, 'body') ?? undefined;
    case 'argument':
      return Object.hasOwn(given, template.name) ? given[template.name] : undefined;
    case 'array':
      return template.items
        .map((item) => renderBody(item, values, given))
        .filter((item) => item !== undefined);
    case 'object': {
      const members = template.members
        .map(([name, member]) => [name, renderBody(member, values, given)] as const)
        .filter(([, member]) => member !== undefined);
      // `fromEntries` defines members, so that one called `__proto__` is an ordinary one.
      return Object.fromEntries(members);
    }
  }
}

/** A form takes the members of an object; lists repeat their name, anything deeper is written as JSON. */
export function encodeBody(body: unknown, form: BodyForm): string {
  if (form === 'application/json') return JSON.stringify(body);
  const pairs = new URLSearchParams();
  for (const [name, value] of Object.entries(isJsonObject(body) ? body : {})) {
    for (const item of Array.isArray(value) ? (value as readonly unknown[]) : [value]) {
      if (item !== null && item !== undefined) {
        pairs.append(name, typeof item === 'string' ? item : JSON.stringify(item));
      }
    }
  }
  return pairs.toString();
}
