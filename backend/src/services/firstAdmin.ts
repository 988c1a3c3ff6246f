/** First set-up: whoever holds the set-up code becomes the first admin; of many at once exactly one (07 B09). */
import type { DatabasePool } from '../database/pool.js';
import { withUser } from '../database/withUser.js';
import { AppError } from '../errors/appError.js';
import { createFirstAdmin, hasAdmin } from '../stores/usersStore.js';
import type { Passwords } from './passwords.js';
import { recordStrangerChange, type RequestOrigin } from './requestOrigin.js';
import type { SetupCode } from './setupCode.js';

export interface FirstAdmin {
  /** Whether there is no admin yet. */
  isOpen(): Promise<boolean>;
  /** Writes the set-up code while there is no admin, and takes it away afterwards; to be called again and again. */
  keepCode(): Promise<void>;
  /** @throws AppError SETUP_CLOSED, SETUP_CODE_INVALID */
  create(
    given: { readonly setupCode: string; readonly email: string; readonly password: string },
    origin: RequestOrigin,
  ): Promise<{ readonly id: string }>;
}

export interface FirstAdminOptions {
  readonly pool: DatabasePool;
  readonly passwords: Passwords;
  readonly setupCode: SetupCode;
  readonly newId: () => string;
  /** Told when a new code was written. */
  readonly onIssued: () => void;
}

export function createFirstAdminSetup(options: FirstAdminOptions): FirstAdmin {
  const { pool, passwords, setupCode, newId, onIssued } = options;

  return {
    isOpen: async () => !(await hasAdmin(pool)),

    async keepCode() {
      if (await hasAdmin(pool)) setupCode.withdraw();
      else if (setupCode.issue()) onIssued();
    },

    async create({ setupCode: given, email, password }, origin) {
      if (await hasAdmin(pool)) throw closed();
      if (!setupCode.matches(given)) {
        // A parallel set-up that has just succeeded takes the code away; then set-up is closed rather than the code bad.
        if (await hasAdmin(pool)) throw closed();
        throw new AppError('SETUP_CODE_INVALID', 'the set-up code is wrong or too old', {
          publicDetail:
            'Read the code again from the file setup-code in the state directory; it lives for 30 minutes.',
        });
      }
      const passwordHash = await passwords.hash(password);
      const id = newId();
      const isFirst = await withUser(pool, { userId: null, scope: 'self' }, async (db) => {
        if (!(await createFirstAdmin(db, { id, email, passwordHash }))) return false;
        await recordStrangerChange(db, origin, {
          action: 'setup.first_admin',
          target: { kind: 'user', id },
          outcome: 'success',
          subjectUserId: id,
        });
        return true;
      });
      if (!isFirst) throw closed();
      setupCode.withdraw();
      return { id };
    },
  };
}

function closed(): AppError {
  return new AppError('SETUP_CLOSED', 'there is an admin already');
}
