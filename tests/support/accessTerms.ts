/**
 * Terms of access of instances at a universal server, set as the main API sets them, and the bearer credentials that
 * people come with.
 */
import { randomBytes, randomUUID } from 'node:crypto';
import { withUser } from '../../backend/src/database/withUser.js';
import { createAccessTokens } from '../../backend/src/services/accessTokens.js';
import { createCredentialVault } from '../../backend/src/services/credentialVault.js';
import { createAccessKey, revokeAccessKey } from '../../backend/src/stores/accessKeysStore.js';
import { setAccess, type InstanceAccess } from '../../backend/src/stores/instanceAccessStore.js';
import { openSession, revokeSession } from '../../backend/src/stores/sessionsStore.js';
import type { MadeInstance } from './installation.js';
import type { UniversalServer } from './universalServer.js';

type Site = Pick<UniversalServer, 'site'>;

export async function setAccessOf(
  { site }: Site,
  { id, owner }: MadeInstance,
  terms: Partial<InstanceAccess>,
  cutsStreams = true,
): Promise<void> {
  const access = { accessMode: 'url', allowedCidrs: [], expiresAt: null, ...terms } as const;
  await withUser(site.api, { userId: owner, scope: 'self' }, (db) =>
    setAccess(db, { id, userId: owner }, access, { cutsStreams }),
  );
}

export interface HeldKey {
  readonly id: string;
  readonly key: string;
}

export async function anAccessKey(
  { site }: Site,
  { id, owner }: MadeInstance,
  expiresAt: Date | null = null,
): Promise<HeldKey> {
  const { key, hint, digest } = createCredentialVault(site.vault).createAccessKey();
  const made = await withUser(site.api, { userId: owner, scope: 'self' }, (db) =>
    createAccessKey(db, { id, userId: owner }, { id: randomUUID(), name: 'a key', hint, digest, expiresAt }),
  );
  return { id: made.id, key };
}

export async function revokeKey({ site }: Site, { id, owner }: MadeInstance, key: HeldKey): Promise<void> {
  await withUser(site.api, { userId: owner, scope: 'self' }, (db) =>
    revokeAccessKey(db, { id, userId: owner }, key.id),
  );
}

export interface SignedInSession {
  readonly id: string;
  readonly accessToken: string;
}

/** A login session of the user, with an access token as the main API signs them. */
export async function aSession(
  { site, signingKeys, config }: Pick<UniversalServer, 'site' | 'signingKeys' | 'config'>,
  userId: string,
): Promise<SignedInSession> {
  const id = randomUUID();
  const expiresAt = new Date(Date.now() + 3_600_000);
  await withUser(site.api, { userId, scope: 'self' }, (db) =>
    openSession(db, {
      id,
      userId,
      userAgent: null,
      expiresAt,
      refresh: { id: randomUUID(), digest: randomBytes(32), expiresAt },
    }),
  );
  const tokens = createAccessTokens({
    keys: signingKeys,
    issuer: config.publicUrl.origin,
    now: Date.now,
    newId: randomUUID,
  });
  return { id, accessToken: tokens.sign({ userId, sessionId: id }) };
}

export async function endSession({ site }: Site, userId: string, { id }: SignedInSession): Promise<void> {
  await withUser(site.api, { userId, scope: 'self' }, (db) => revokeSession(db, { userId, id }));
}

export const bearing = (credential: string): { readonly authorization: string } => ({
  authorization: `Bearer ${credential}`,
});
