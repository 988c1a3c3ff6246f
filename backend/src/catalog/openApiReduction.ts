/**
 * What of an OpenAPI document tools are made of: operations, their parameters and bodies, and the components that those
 * lead to. A document is resolved in one go while the event loop stands (R28), so what only describes answers is left out
 * first, and one that would unfold without end is refused.
 */
type JsonMap = Readonly<Record<string, unknown>>;

/** Resolving takes some 2 µs for each. */
const partsMax = 500_000;
/** Of an operation, and of the components: whatever only answers refer to. */
const ofAnswers: ReadonlySet<string> = new Set(['responses', 'callbacks', 'headers', 'links', 'examples']);
const noAnswer = { default: { description: 'Any answer.' } };

export function reduceDocument(document: JsonMap): JsonMap {
  const paths = mapMembers(toMap(document['paths']), (item) =>
    mapMembers(toMap(item), (operation) =>
      Object.hasOwn(toMap(operation), 'responses')
        ? { ...without(toMap(operation), ofAnswers), responses: noAnswer }
        : operation,
    ),
  );
  const components = without(toMap(document['components']), ofAnswers);
  const reached = new Set<string>();
  const ahead: unknown[] = [paths];
  while (ahead.length > 0) {
    const value = ahead.pop();
    if (typeof value !== 'object' || value === null) continue;
    for (const member of Object.values(value)) ahead.push(member);
    const [, kind, name] = toNames(value);
    const target = kind === undefined || name === undefined ? undefined : toMap(components[kind])[name];
    if (target === undefined || reached.has(`${kind}/${name}`)) continue;
    reached.add(`${kind}/${name}`);
    ahead.push(target);
  }
  const { webhooks: _webhooks, ...rest } = document;
  return {
    ...rest,
    paths,
    components: mapMembers(components, (members, kind) =>
      // References never lead to security schemes, yet they are named.
      kind === 'securitySchemes'
        ? members
        : Object.fromEntries(
            Object.entries(toMap(members)).filter(([name]) => reached.has(`${kind}/${name}`)),
          ),
    ),
  };
}

/** Whether everything that is referred to, put in its place, would be too much. A circle counts once. */
export function unfoldsTooFar(document: JsonMap): boolean {
  const known = new Map<string, number>();
  const count = (value: unknown): number => {
    if (typeof value !== 'object' || value === null) return 0;
    const reference = '$ref' in value ? value.$ref : undefined;
    if (typeof reference === 'string') return countTarget(reference, value);
    let sum = 1;
    for (const member of Object.values(value)) sum = Math.min(partsMax + 1, sum + count(member));
    return sum;
  };
  const countTarget = (reference: string, from: object): number => {
    const counted = known.get(reference);
    if (counted !== undefined) return counted;
    known.set(reference, 0);
    const target = toNames(from).reduce<unknown>((value, name) => toMap(value)[name], document);
    const sum = 1 + count(target);
    known.set(reference, sum);
    return sum;
  };
  return count(document) > partsMax;
}

/** The steps of the pointer that a reference within the document is. */
function toNames(value: object): string[] {
  const reference = '$ref' in value ? value.$ref : undefined;
  if (typeof reference !== 'string' || !reference.startsWith('#/')) return [];
  return reference
    .slice(2)
    .split('/')
    .map((name) => decodeName(name).replaceAll('~1', '/').replaceAll('~0', '~'));
}

function decodeName(name: string): string {
  try {
    return decodeURIComponent(name);
  } catch {
    return name;
  }
}

function without(value: JsonMap, names: ReadonlySet<string>): JsonMap {
  return Object.fromEntries(Object.entries(value).filter(([name]) => !names.has(name)));
}

function mapMembers(value: JsonMap, change: (member: unknown, name: string) => unknown): JsonMap {
  return Object.fromEntries(Object.entries(value).map(([name, member]) => [name, change(member, name)]));
}

const toMap = (value: unknown): JsonMap =>
  typeof value === 'object' && value !== null ? (value as JsonMap) : {};
