/**
 * The paths of a service's port. Everything is compared byte for byte as it came, nothing is decoded: another spelling of
 * an instance id is another id (A07).
 */
export type ServicePath =
  | { readonly kind: 'operation'; readonly name: 'health' | 'livez' | 'readyz' | 'metrics' }
  | { readonly kind: 'internal'; readonly rest: string }
  /** `<instance id>/<service>` and what follows it, still percent-encoded. */
  | {
      readonly kind: 'instance';
      readonly instanceId: string;
      readonly service: string;
      readonly tail: readonly string[];
      readonly query: string;
    }
  | { readonly kind: 'unknown' };

const operations = ['health', 'livez', 'readyz', 'metrics'] as const;

export function parseServicePath(url: string): ServicePath {
  const mark = url.indexOf('?');
  const path = mark === -1 ? url : url.slice(0, mark);
  const query = mark === -1 ? '' : url.slice(mark + 1);
  const [, first = '', second = '', ...tail] = path.split('/');
  const operation = operations.find((name) => name === first);
  if (operation !== undefined && second === '' && tail.length === 0)
    return { kind: 'operation', name: operation };
  if (first === 'internal') return { kind: 'internal', rest: path.slice('/internal/'.length) };
  if (first === '' || second === '') return { kind: 'unknown' };
  const isSlashOnly = tail.length === 1 && tail[0] === '';
  return { kind: 'instance', instanceId: first, service: second, tail: isSlashOnly ? [] : tail, query };
}
