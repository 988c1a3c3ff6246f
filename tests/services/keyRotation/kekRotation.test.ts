import { randomBytes, randomUUID } from 'node:crypto';
import { describe, expect, it } from '@jest/globals';
import { withUser } from '../../../backend/src/database/withUser.js';
import { createCredentialVault } from '../../../backend/src/services/credentialVault.js';
import {
  addKek,
  readmitKek,
  retireKek,
  rotateKek,
} from '../../../backend/src/services/keyRotation/kekRotation.js';
import { verifyWraps } from '../../../backend/src/services/keyRotation/rewrapKeys.js';
import { countUnderOthers, findOpenRotation } from '../../../backend/src/stores/keyRotationStore.js';
import { countByKek, insertDataKey } from '../../../backend/src/stores/keysStore.js';
import { parseKeyRing } from '../../../backend/src/vault/keyRing.js';
import { openInstallation } from '../../support/installation.js';
import { everythingOf, everythingOfSystem, plaintextDigests } from '../../support/sealedRows.js';
import { auditedActions, rotating, stateOf } from './given.js';

const newKey = { method: 'key', prefix: 'nts' };

describe('the rotation of the KEK', () => {
  it('I12 leaves no key under the old KEK, opens every record as before, and writes each step down', async () => {
    await using site = await openInstallation();
    await everythingOf(site, await site.aUser());
    await everythingOf(site, await site.aUser());
    await everythingOfSystem(site);
    const old = site.vault.keys().ring.primary.id;
    const { installId } = site.vault.keys();
    const before = await plaintextDigests(site, site.vault.keys());
    expect([...before.values()]).not.toContain(null);
    const file = rotating(site);
    await using one = await file.aHolder('main-api');
    await using two = await file.aHolder('mcp-notes');
    const rotation = await rotateKek(file.parts);
    expect(rotation).toMatchObject({ fromKek: old, phase: 'finished', rewrapped: 6 });
    const ring = parseKeyRing(file.text);
    expect([ring.primary.id, stateOf(file.text, old)]).toEqual([rotation.toKek, 'disabled']);
    expect(await countUnderOthers(file.parts.pool, ring.primary.id)).toBe(0);
    expect(await countByKek(file.parts.pool)).toEqual(
      expect.arrayContaining([
        { kekId: old, keys: 0, wraps: 6 },
        { kekId: ring.primary.id, keys: 6, wraps: 6 },
      ]),
    );
    expect(await plaintextDigests(site, { ring, installId })).toEqual(before);
    for (const { vault } of [one, two]) expect(vault.keys().ring.primary.id).toBe(ring.primary.id);
    expect(await auditedActions(site)).toEqual([
      'keys.kek_added',
      'keys.rotation_started',
      'keys.kek_distributed',
      'keys.kek_promoting',
      'keys.kek_promoted',
      'keys.rewrapped',
      'keys.kek_disabled',
      'keys.kek_rotated',
    ]);
    // And once more, to a KEK that was put there before.
    const next = await addKek(file.parts);
    expect(await rotateKek(file.parts)).toMatchObject({
      fromKek: rotation.toKek,
      toKek: next,
      phase: 'finished',
    });
  });

  it('I12 waits for every live process, and goes on where it stopped for one that is behind', async () => {
    await using site = await openInstallation();
    const old = site.vault.keys().ring.primary.id;
    const file = rotating(site, 300);
    let frozen: string | null = site.ring;
    await using quick = await file.aHolder('main-api');
    await using slow = await file.aHolder('mcp-slow', () => frozen ?? file.text);
    await expect(rotateKek(file.parts)).rejects.toMatchObject({
      code: 'CONFLICT',
      message: expect.stringMatching(/mcp-slow@.+\/\d+$/) as unknown,
    });
    // It has the new KEK nowhere, so nothing may be under it.
    expect(parseKeyRing(file.text).primary.id).toBe(old);
    expect(await findOpenRotation(file.parts.pool)).toMatchObject({ phase: 'distributing', rewrapped: 0 });
    // Once it has, it takes no part in the next step.
    const withBoth = file.text;
    frozen = withBoth;
    await expect(rotateKek({ ...file.parts, waitMsMax: 2_000 })).rejects.toMatchObject({ code: 'CONFLICT' });
    expect(await findOpenRotation(file.parts.pool)).toMatchObject({ phase: 'promoting', rewrapped: 0 });
    expect(await countUnderOthers(file.parts.pool, old)).toBe(0);
    frozen = null;
    const { toKek } = await rotateKek({ ...file.parts, waitMsMax: 10_000 });
    for (const { vault } of [quick, slow]) expect(vault.keys().ring.primary.id).toBe(toKek);
  });

  it('I12 refuses what a process would wrap that was left behind, until it has read the ring again', async () => {
    await using site = await openInstallation();
    const file = rotating(site);
    // It holds the ring of before, beats no more, and comes back after the rotation.
    let ring = site.ring;
    const left = await file.aHolder('mcp-stopped', () => ring);
    await left[Symbol.asyncDispose]();
    await rotateKek(file.parts);
    const owner = await site.aUser();
    const seal = () =>
      withUser(site.api, { userId: owner, scope: 'self' }, (db) =>
        createCredentialVault(left.vault).createInstanceId(
          db,
          { id: randomUUID(), userId: owner },
          newKey.prefix,
          1,
        ),
      );
    await expect(seal()).rejects.toMatchObject({ code: 'SEALED' });
    ring = file.text;
    await expect(seal()).resolves.toHaveProperty('sealedUrl');
    expect(await countUnderOthers(file.parts.pool, parseKeyRing(file.text).primary.id)).toBe(0);
    // And the database itself, whoever asks and however.
    const insert = withUser(site.api, { userId: owner, scope: 'self' }, (db) =>
      insertDataKey(db, { id: randomUUID(), userId: owner, kekId: 'kek-old', wrapped: randomBytes(64) }),
    );
    await expect(insert).rejects.toMatchObject({ code: 'PTK01' });
  });

  it('I12 disables nothing while a key does not open, names it, and ends when it is mended', async () => {
    await using site = await openInstallation();
    const owner = await site.aUser();
    await everythingOf(site, owner);
    const old = site.vault.keys().ring.primary.id;
    const file = rotating(site);
    const root = await site.db.superuser();
    // As a disk does it, past every trigger.
    await root.query('set session_replication_role = replica');
    const flip = () =>
      root.query<{ id: string }>(
        `update data_keys set wrapped = set_byte(wrapped, 30, get_byte(wrapped, 30) # 1) where user_id = $1 returning id`,
        [owner],
      );
    const id = (await flip()).rows[0]?.id ?? '';
    await expect(rotateKek(file.parts)).rejects.toMatchObject({
      code: 'CONFLICT',
      message: expect.stringContaining(`data_keys ${id}`) as unknown,
    });
    expect(stateOf(file.text, old)).toBe('decrypt');
    await expect(retireKek(file.parts, old)).rejects.toMatchObject({ code: 'CONFLICT' });
    await flip();
    expect(await rotateKek(file.parts)).toMatchObject({ phase: 'finished', rewrapped: 5 });
    expect(stateOf(file.text, old)).toBe('disabled');
  });

  it('I12 retires no KEK that is in use, and readmits one for an older dump', async () => {
    await using site = await openInstallation();
    const file = rotating(site);
    const old = site.vault.keys().ring.primary.id;
    await expect(retireKek(file.parts, old)).rejects.toMatchObject({ code: 'CONFLICT' });
    await expect(retireKek(file.parts, 'kek-none')).rejects.toMatchObject({ code: 'CONFLICT' });
    const { toKek } = await rotateKek(file.parts);
    await readmitKek(file.parts, old);
    expect(stateOf(file.text, old)).toBe('decrypt');
    await expect(readmitKek(file.parts, toKek)).rejects.toMatchObject({ code: 'CONFLICT' });
    await retireKek(file.parts, old);
    expect(stateOf(file.text, old)).toBe('disabled');
    const ring = parseKeyRing(file.text);
    const { keys, unreadable } = await verifyWraps({ ...file.parts, ring });
    expect([keys, unreadable]).toEqual([4, []]);
  });
});
