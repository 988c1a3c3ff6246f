/** Rows that tests begin with, written as a story: `anInstance(db, { owner: alice })`. */
import { randomBytes, randomUUID } from 'node:crypto';
import { withUser } from '../../backend/src/database/withUser.js';
import type { DatabasePool } from '../../backend/src/database/pool.js';
import { createInstance, type Instance } from '../../backend/src/stores/instancesStore.js';
import {
  promoteStagedCredential,
  stageCredential,
} from '../../backend/src/stores/instanceCredentialsStore.js';
import { insertDataKey } from '../../backend/src/stores/keysStore.js';
import { createUser, type User, type UserRole } from '../../backend/src/stores/usersStore.js';

/** A user with a data key, made by an admin. `api` is a pool of the role `api`. */
export async function aUser(
  api: DatabasePool,
  { email = `${randomUUID()}@example.test`, role = 'user' }: { email?: string; role?: UserRole } = {},
): Promise<User> {
  const id = randomUUID();
  return withUser(api, { userId: null, scope: 'admin' }, async (db) => {
    const user = await createUser(db, { id, email, role, passwordHash: '$argon2id$test' });
    await insertDataKey(db, { id: randomUUID(), userId: id, kekId: 'k1', wrapped: randomBytes(60) });
    return user;
  });
}

export interface TestInstance {
  readonly instance: Instance;
  /** The digest by which the instance is found. */
  readonly lookup: Buffer;
}

/** A ready instance with a sealed credential of random bytes, revision 1. */
export async function anInstance(
  api: DatabasePool,
  { owner, service = 'figma', label = 'default' }: { owner: User; service?: string; label?: string },
): Promise<TestInstance> {
  const key = { userId: owner.id, id: randomUUID() };
  const lookup = randomBytes(32);
  const instance = await withUser(api, { userId: owner.id, scope: 'self' }, async (db) => {
    await createInstance(db, { ...key, service, label, lookup, sealedUrl: randomBytes(100) });
    await stageCredential(db, key, { method: 'key', revision: 1, sealed: randomBytes(150) });
    return promoteStagedCredential(db, key, { revision: 1, state: 'ready', identityLabel: null });
  });
  return { instance: instance!, lookup };
}
