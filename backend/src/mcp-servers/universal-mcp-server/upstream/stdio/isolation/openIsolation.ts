/** The isolation of this process's children, found once at start and said once in the log. */
import type { ServiceDefinition } from '../../../../../catalog/serviceDefinition.js';
import type { Config } from '../../../../../config/config.js';
import { AppError } from '../../../../../errors/appError.js';
import type { Logger } from '../../../../../telemetry/logger.js';
import { findIsolation } from './findIsolation.js';
import { findTools, plainForm } from './forms.js';
import { describeIsolation, toServiceIsolation, type ServiceIsolation } from './serviceIsolation.js';

/** @throws AppError CONFIG_INVALID for a service that has no children. */
export async function openIsolation({
  config,
  definition,
  log,
}: {
  readonly config: Pick<Config, 'paths' | 'projectRoot' | 'requireIsolation'>;
  readonly definition: ServiceDefinition;
  readonly log: Logger;
}): Promise<ServiceIsolation> {
  const { stdio } = definition;
  if (stdio === null) throw new AppError('CONFIG_INVALID', `${definition.name} is no stdio service`);
  const places = { ...config.paths, projectRoot: config.projectRoot };
  const isolation = toServiceIsolation({
    found: await findIsolation({ places }),
    plain: plainForm(findTools()),
    sandbox: stdio.sandbox,
    isRequired: config.requireIsolation,
  });
  const fields = { isolation: describeIsolation(isolation) };
  if (isolation.isRefused) log.error('no child is started: isolation is required and there is none', fields);
  else if (isolation.form === 'none') log.warn('children can read what the gateway can read', fields);
  else log.info('children are kept apart', fields);
  return isolation;
}
