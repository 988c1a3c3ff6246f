/** How every program loads its services: from the folder, the lock and the environment of this installation. */
import { join } from 'node:path';
import type { Config } from '../config/config.js';
import { createServiceEnvLookup } from '../config/serviceEnv.js';
import { AppError } from '../errors/appError.js';
import { describeProblem } from './configProblem.js';
import { loadServiceDefinitions, type LoadedServices, type LoadOptions } from './loadServiceDefinitions.js';
import { portsLockFileName, readPortsLock } from './portsLock.js';
import type { ServiceDefinition } from './serviceDefinition.js';

type Where = Pick<Config, 'mcpPortsDir' | 'paths'>;

/** @throws AppError CONFIG_INVALID when the lock or the `service-env` file is unusable; bad services are reported. */
export function loadServices(
  { mcpPortsDir, paths }: Where,
  options: Pick<LoadOptions, 'allocate'> = {},
): LoadedServices {
  return loadServiceDefinitions({
    mcpPortsDir,
    lock: readPortsLock(join(mcpPortsDir, portsLockFileName)),
    env: createServiceEnvLookup(paths.serviceEnv),
    ...options,
  });
}

/**
 * The one service that a universal server runs.
 * @throws AppError CONFIG_INVALID that says why it cannot run: there is none of that name, or it is disabled.
 */
export function loadService({ mcpPortsDir, paths }: Where, name: string): ServiceDefinition {
  const { services, problems } = loadServiceDefinitions({
    mcpPortsDir,
    lock: readPortsLock(join(mcpPortsDir, portsLockFileName)),
    env: createServiceEnvLookup(paths.serviceEnv),
    only: name,
  });
  const [service] = services;
  if (service?.enabled === true) return service;
  const reasons = problems.map(describeProblem);
  if (reasons.length === 0)
    reasons.push(service?.disabledReason ?? `there is no mcp-ports/${name}/config.json`);
  throw new AppError('CONFIG_INVALID', `the service ${name} cannot run: ${reasons.join('; ')}`);
}
