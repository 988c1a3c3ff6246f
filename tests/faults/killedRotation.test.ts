/** The rotation of keys, killed again and again (06 R22, 07 G08). */
import { readFileSync, statSync } from 'node:fs';
import { join } from 'node:path';
import { expect, it } from '@jest/globals';
import { countUnderOthers } from '../../backend/src/stores/keyRotationStore.js';
import { parseKeyRing } from '../../backend/src/vault/keyRing.js';
import { openInstallation } from '../support/installation.js';
import { aStateDir, keysCommand } from '../support/keysCommand.js';
import { manyDataKeys } from '../support/manyDataKeys.js';
import { everythingOf, everythingOfSystem, plaintextDigests } from '../support/sealedRows.js';
import { rotating } from '../services/keyRotation/given.js';

const points = 20;
const killer = new URL('../support/killAtEffect.mjs', import.meta.url).pathname;
const nodeArgs = ['--import', killer];

it(`R22 G08 killed at ${points} points from its first to its last effect, the rotation goes on to its end, and every plaintext is as before`, async () => {
  await using site = await openInstallation();
  for (let user = 0; user < 5; user += 1) await everythingOf(site, await site.aUser());
  await everythingOfSystem(site);
  // More than two batches.
  await manyDataKeys(site, 450);
  using stateDir = aStateDir();
  const keys = keysCommand(site, stateDir.path);
  const { installId } = site.vault.keys();
  const before = await plaintextDigests(site, site.vault.keys());
  expect(before.size).toBe(28);
  // A program that runs all the while, for which the rotation has to wait.
  const file = rotating(site);
  await using holder = await file.aHolder('mcp-notes', () => keys.ring());

  const effectsFile = join(stateDir.path, 'effects');
  const whole = await keys.run(['rotate', '--settle', '0'], { nodeArgs, env: { EFFECTS_FILE: effectsFile } });
  expect(whole).toMatchObject({ ended: 0 });
  const effects = Number(readFileSync(effectsFile, 'utf8'));
  expect(effects).toBeGreaterThan(points * 2);

  const phases = new Set<string>();
  const root = await site.db.superuser();
  for (let point = 0; point < points; point += 1) {
    // Before and after effects in turn.
    const at = Math.floor(1 + (point * (effects - 2)) / (points - 1));
    const killed = await keys.run(['rotate', '--settle', '0'], { nodeArgs, env: { KILL_AT: String(at) } });
    expect([at, killed.ended]).toEqual([at, 'SIGKILL']);
    // Whatever it left: the ring file is whole, its owner's alone, and everything opens with it.
    expect(statSync(join(stateDir.path, 'keyring.json')).mode & 0o777).toBe(0o400);
    expect(await plaintextDigests(site, { ring: parseKeyRing(keys.ring()), installId })).toEqual(before);
    const { rows } = await root.query<{ phase: string }>(
      'select phase from key_rotations where finished_at is null',
    );
    phases.add(rows[0]?.phase ?? 'none');

    const resumed = await keys.run(['rotate', '--settle', '0']);
    expect([at, resumed]).toEqual([at, expect.objectContaining({ ended: 0 })]);
    const ring = parseKeyRing(keys.ring());
    expect(await countUnderOthers(file.parts.pool, ring.primary.id)).toBe(0);
    expect([...ring.keks.values()].filter(({ state }) => state !== 'disabled')).toEqual([ring.primary]);
    expect(await plaintextDigests(site, { ring, installId })).toEqual(before);
  }
  expect([...phases].sort()).toEqual(
    expect.arrayContaining(['distributing', 'none', 'promoting', 'rewrapping', 'settling']),
  );
  expect(holder.vault.keys().ring.primary.id).toBe(parseKeyRing(keys.ring()).primary.id);
  const verified = await keys.run(['verify', '--json']);
  expect(verified).toMatchObject({ ended: 0 });
  expect(JSON.parse(verified.stdout)).toMatchObject({ keys: 459, unreadable: [] });
}, 900_000);
