/**
 * Where the front sends a request: an instance URL to its service's port, everything else to the main API. Only the first
 * two path segments are looked at, undecoded: whoever spells an instance URL in another way is answered by the service's
 * port like anybody whose instance does not exist (07 A07).
 */
import type { ServiceDefinition } from '../catalog/serviceDefinition.js';

export type FrontTarget =
  | { readonly kind: 'service'; readonly service: string; readonly port: number }
  | { readonly kind: 'disabledService'; readonly service: string }
  /** It has the form of an instance URL, and no service is behind it. */
  | { readonly kind: 'unknownInstance' }
  | { readonly kind: 'mainApi' };

/** What the front knows of the services; `ServiceRegistry` has it. */
export interface ServicePorts {
  find(name: string): RoutedService | null;
  findByPrefix(instancePrefix: string): RoutedService | null;
}

type RoutedService = Pick<ServiceDefinition, 'name' | 'port' | 'enabled'>;

/** First segments that are the main API's own, whatever comes after them. */
const mainApiSegments = new Set(['api', 'assets', 'internal', 'o']);
const mainApi: FrontTarget = { kind: 'mainApi' };
const unknownInstance: FrontTarget = { kind: 'unknownInstance' };

/** @param path as it came, with or without a query. @param portOffset `SERVICE_PORT_OFFSET`. */
export function routeRequest(path: string, services: ServicePorts, portOffset: number): FrontTarget {
  const end = path.indexOf('?');
  const [, first = '', second = ''] = (end === -1 ? path : path.slice(0, end)).split('/', 3);
  if (first === '' || mainApiSegments.has(first)) return mainApi;
  const underscore = first.indexOf('_');
  const byPrefix = underscore > 0 ? services.findByPrefix(first.slice(0, underscore)) : null;
  const service = byPrefix ?? services.find(second);
  if (service !== null) {
    return service.enabled
      ? { kind: 'service', service: service.name, port: service.port + portOffset }
      : { kind: 'disabledService', service: service.name };
  }
  return underscore > 0 ? unknownInstance : mainApi;
}
