/** Reads the catalog for one user: the services they may see, how each does and how many tools it last listed to them. */
import type { ServiceRegistry } from '../catalog/serviceRegistry.js';
import type { DatabasePool } from '../database/pool.js';
import { withUser } from '../database/withUser.js';
import { AppError } from '../errors/appError.js';
import { countListedTools } from '../stores/instanceProbesStore.js';
import type { Actor } from './changeAudit.js';
import { isVisibleTo, toPublicService, type PublicService } from './publicCatalog.js';
import type { ServiceAvailability, ServiceStatus } from './serviceAvailability.js';

export interface CatalogReader {
  list(actor: Actor): Promise<PublicService[]>;
  /** @throws AppError SERVICE_UNKNOWN */
  get(actor: Actor, name: string): Promise<PublicService>;
  health(actor: Actor): Promise<Record<string, ServiceStatus>>;
}

export interface CatalogReaderOptions {
  /** Role `portolan_api`. */
  readonly pool: DatabasePool;
  readonly registry: ServiceRegistry;
  readonly availability: ServiceAvailability;
}

export function createCatalogReader({ pool, registry, availability }: CatalogReaderOptions): CatalogReader {
  const list = async ({ userId, role }: Actor): Promise<PublicService[]> => {
    const [statuses, tools] = await Promise.all([
      availability.statuses(),
      withUser(pool, { userId, scope: 'self' }, (db) => countListedTools(db, userId), { readOnly: true }),
    ]);
    return registry.list().flatMap((definition) => {
      const status = statuses.get(definition.name);
      if (status === undefined || !isVisibleTo(definition, role)) return [];
      return [toPublicService(definition, status, tools.get(definition.name) ?? null, role)];
    });
  };

  return {
    list,
    async get(actor, name) {
      const found = (await list(actor)).find((service) => service.name === name);
      if (found === undefined) {
        throw new AppError('SERVICE_UNKNOWN', 'no such service in the registry for this user');
      }
      return found;
    },
    async health({ role }) {
      const statuses = await availability.statuses();
      const visible = registry.list().filter((definition) => isVisibleTo(definition, role));
      return Object.fromEntries(
        visible.flatMap(({ name }) => {
          const status = statuses.get(name);
          return status === undefined ? [] : [[name, status]];
        }),
      );
    },
  };
}
