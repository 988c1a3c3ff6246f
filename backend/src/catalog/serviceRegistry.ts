/**
 * The services that this process knows, by name and by instance prefix (P01). Reloading keeps the last good definition
 * of a service whose file went bad (R17).
 */
import { AppError } from '../errors/appError.js';
import type { ConfigProblem } from './configProblem.js';
import type { LoadedServices } from './loadServiceDefinitions.js';
import { portsLockFileName } from './portsLock.js';
import type { ServiceDefinition } from './serviceDefinition.js';

export interface RegistryChange {
  readonly added: readonly string[];
  readonly changed: readonly string[];
  readonly removed: readonly string[];
}

export interface ServiceRegistry {
  /** @throws AppError SERVICE_UNKNOWN */
  get(name: string): ServiceDefinition;
  find(name: string): ServiceDefinition | null;
  /** The service whose instance ids begin so. */
  findByPrefix(instancePrefix: string): ServiceDefinition | null;
  /** All of them, by name; disabled ones too. */
  list(): readonly ServiceDefinition[];
  /** What is wrong in the files as they are now, whether or not a last good definition stands in. */
  problems(): readonly ConfigProblem[];
  /** Takes up what changed; where the lock itself became unreadable, everything stays as it was, and `problems` says so. */
  reload(): RegistryChange;
}

const nothing: RegistryChange = { added: [], changed: [], removed: [] };

export function createServiceRegistry(load: () => LoadedServices): ServiceRegistry {
  let services = new Map<string, ServiceDefinition>();
  let byPrefix = new Map<string, ServiceDefinition>();
  let problems: readonly ConfigProblem[] = [];

  const take = (loaded: LoadedServices): RegistryChange => {
    const bad = new Set(loaded.problems.map((problem) => problem.service));
    const next = new Map<string, ServiceDefinition>();
    for (const service of loaded.services) next.set(service.name, service);
    for (const [name, lastGood] of services) {
      if (bad.has(name) && lastGood.enabled) next.set(name, lastGood);
    }
    const before = services;
    services = new Map([...next].sort(([a], [b]) => (a < b ? -1 : 1)));
    byPrefix = new Map([...services.values()].map((service) => [service.instancePrefix, service]));
    problems = loaded.problems;
    return {
      added: [...services.keys()].filter((name) => !before.has(name)),
      changed: [...services.values()]
        .filter((service) => differs(before.get(service.name), service))
        .map(({ name }) => name),
      removed: [...before.keys()].filter((name) => !services.has(name)),
    };
  };
  take(load());

  return {
    get: (name) => {
      const service = services.get(name);
      if (service === undefined) throw new AppError('SERVICE_UNKNOWN', 'no such service in the registry');
      return service;
    },
    find: (name) => services.get(name) ?? null,
    findByPrefix: (instancePrefix) => byPrefix.get(instancePrefix) ?? null,
    list: () => [...services.values()],
    problems: () => problems,
    reload() {
      try {
        return take(load());
      } catch (thrown) {
        if (!(thrown instanceof AppError)) throw thrown;
        problems = [{ service: '', file: portsLockFileName, pointer: '', message: thrown.message }];
        return nothing;
      }
    },
  };
}

/** The digest covers the file; port, prefix and the reason come from outside it. */
function differs(before: ServiceDefinition | undefined, now: ServiceDefinition): boolean {
  return (
    before !== undefined &&
    (before.source.digest !== now.source.digest ||
      before.port !== now.port ||
      before.instancePrefix !== now.instancePrefix ||
      before.disabledReason !== now.disabledReason)
  );
}
