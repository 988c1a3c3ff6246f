/** Puts together what asks for more than an instance's URL, and what cuts its answers when that is void. */
import type { ServiceDefinition } from '../../catalog/serviceDefinition.js';
import type { Config } from '../../config/config.js';
import type { Queryable } from '../../database/queryable.js';
import { toMinimumMode } from '../../services/accessModes.js';
import { createGrantWatch } from '../../services/grantWatch.js';
import { createInstanceAccess } from '../../services/instanceAccess.js';
import type { ChangeSource } from '../../services/instanceResolver.js';
import type { VaultGate } from '../../services/vaultKeys.js';
import { createAccessGate, type AccessGate } from './downstream/accessGate.js';

export function openAccess(options: {
  readonly config: Config;
  readonly definition: ServiceDefinition;
  readonly pool: Queryable;
  readonly vault: VaultGate;
  readonly changes: ChangeSource;
}): { readonly gate: AccessGate } & Disposable {
  const { config, definition, pool, vault, changes } = options;
  const access = createInstanceAccess({
    db: pool,
    vault,
    changes,
    issuer: config.publicUrl.origin,
    jwtPublicKeys: config.paths.jwtPublicKeys,
  });
  const grants = createGrantWatch({ access, changes });
  return {
    gate: createAccessGate({ access, grants, minimum: toMinimumMode(config, definition) }),
    [Symbol.dispose]() {
      grants[Symbol.dispose]();
      access[Symbol.dispose]();
    },
  };
}
