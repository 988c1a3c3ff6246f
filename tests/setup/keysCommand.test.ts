/** `npm run keys` as an operator runs it. */
import { statSync } from 'node:fs';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, it } from '@jest/globals';
import { parseKeyRing } from '../../backend/src/vault/keyRing.js';
import { rotating } from '../services/keyRotation/given.js';
import { openInstallation, type Installation } from '../support/installation.js';
import { aStateDir, keysCommand, type KeysCommand } from '../support/keysCommand.js';
import { everythingOf } from '../support/sealedRows.js';

describe('npm run keys', () => {
  let site: Installation;
  let stateDir: ReturnType<typeof aStateDir>;
  let keys: KeysCommand;
  beforeAll(async () => {
    site = await openInstallation();
    stateDir = aStateDir();
    keys = keysCommand(site, stateDir.path);
    await everythingOf(site, await site.aUser());
  });
  afterAll(async () => {
    stateDir[Symbol.dispose]();
    await site[Symbol.asyncDispose]();
  });
  const secretsOf = (): string[] => (JSON.parse(keys.ring()) as { key: string }[]).map(({ key }) => key);

  it('I12 status tells ids, states, counts and who holds the ring, and never a key', async () => {
    const id = site.vault.keys().ring.primary.id;
    await using holder = await rotating(site).aHolder('mcp-notes');
    expect(holder.vault.isOpen).toBe(true);
    const text = await keys.run(['status']);
    const { ended, stdout } = await keys.run(['status', '--json']);
    expect([text.ended, ended]).toEqual([0, 0]);
    expect(JSON.parse(stdout)).toMatchObject({
      keks: [{ id, state: 'primary', keys: 5, wraps: 5, isWornOut: false }],
      wrappingKeks: null,
      processes: [{ id: expect.stringMatching(/^mcp-notes@/) as unknown, isCurrent: true }],
      keysUnderOtherKeks: 0,
      rotation: null,
    });
    expect(text.stdout).toContain(`${id}  primary`);
    for (const secret of secretsOf()) expect(stdout + text.stdout + text.stderr).not.toContain(secret);
  });

  it('I12 status warns of a KEK that is worn out', async () => {
    const root = await site.db.superuser();
    const setWraps = (wraps: number) => root.query('update kek_usage set wraps = $1', [wraps]);
    await setWraps(2 ** 31);
    const { ended, stdout } = await keys.run(['status']);
    expect([ended, stdout.includes('worn out')]).toEqual([1, true]);
    await setWraps(5);
  });

  it('I12 lets one command change keys at a time, and tells wrong calls from failures', async () => {
    const root = await site.db.superuser();
    await root.query(`select pg_advisory_lock(hashtextextended('portolan.keys', 7))`);
    expect(await keys.run(['add'])).toMatchObject({
      ended: 1,
      stderr: 'CONFLICT: another command is changing keys now\n',
    });
    await root.query(`select pg_advisory_unlock(hashtextextended('portolan.keys', 7))`);
    expect(await keys.run(['rotate', '--wait', 'soon'])).toMatchObject({ ended: 2 });
    expect(await keys.run(['rotate', '--deks', '--user', 'nobody@example.com'])).toMatchObject({ ended: 1 });
    expect(parseKeyRing(keys.ring()).keks.size).toBe(1);
  });

  it('I12 adds a KEK that unwraps only, and keeps the file its owner’s alone', async () => {
    const added = await keys.run(['add']);
    expect(added.ended).toBe(0);
    const ring = parseKeyRing(keys.ring());
    expect(ring.keks.get(added.stdout.trim())?.state).toBe('decrypt');
    expect(ring.primary.id).toBe(site.vault.keys().ring.primary.id);
    expect(statSync(join(stateDir.path, 'keyring.json')).mode & 0o777).toBe(0o400);
  });

  it('R21 changes nothing while the ring does not open the keys of the database', async () => {
    using other = aStateDir();
    const stranger = keysCommand({ ...site, ring: (await openAnother()).ring }, other.path);
    const before = stranger.ring();
    for (const args of [['add'], ['rotate'], ['verify'], ['status']]) {
      expect(await stranger.run(args)).toMatchObject({
        ended: 1,
        stderr: expect.stringContaining('SEALED') as unknown,
      });
    }
    expect(stranger.ring()).toBe(before);
  });
});

async function openAnother(): Promise<{ ring: string }> {
  await using another = await openInstallation();
  return { ring: another.ring };
}
