/** A ring that changes, or goes bad, under a running program. */
import { randomBytes } from 'node:crypto';
import { describe, expect, it } from '@jest/globals';
import { Secret } from '../../backend/src/config/secrets.js';
import type { AppError } from '../../backend/src/errors/appError.js';
import { createCredentialOpener } from '../../backend/src/services/credentialOpener.js';
import { readInstallKeys } from '../../backend/src/services/installKeys.js';
import { createInstanceLookup } from '../../backend/src/services/instanceLookup.js';
import { startRingHeartbeat } from '../../backend/src/services/ringHeartbeat.js';
import { openVaultGate, type VaultGate } from '../../backend/src/services/vaultKeys.js';
import { listRingHeartbeats } from '../../backend/src/stores/keysStore.js';
import { fingerprint, newKeyRingFile, parseKeyRing, withNewKek } from '../../backend/src/vault/keyRing.js';
import { waitUntil } from '../support/eventually.js';
import { openInstallation, type Installation } from '../support/installation.js';

interface Held {
  readonly gate: VaultGate;
  /** The ring file; null is none. */
  text: string | null;
  readonly heard: (string | null)[];
}

async function aGate(site: Installation, lookMs = 20): Promise<Held> {
  const held = { text: site.ring as string | null, heard: [] as (string | null)[] };
  const gate = await openVaultGate({
    readRing: () => {
      if (held.text === null) throw new Error('no such file');
      return new Secret(held.text);
    },
    readInstallKeys: () => readInstallKeys(site.api),
    lookMs,
    onChange: (isOpen, reason) => held.heard.push(isOpen ? 'open' : (reason?.message ?? null)),
  });
  return Object.assign(held, { gate });
}

const codeOf = (work: () => unknown): string | null => {
  try {
    work();
    return null;
  } catch (error) {
    return (error as AppError).code;
  }
};

describe('the ring of a running program', () => {
  it('I12 is taken over from the file by itself, and told to the database at once', async () => {
    await using site = await openInstallation();
    const held = await aGate(site);
    using gate = held.gate;
    const db = site.db.pool('service');
    const faults: unknown[] = [];
    const told = async () => (await listRingHeartbeats(site.api, 60_000)).map((beat) => beat.fingerprint);
    {
      await using heartbeat = startRingHeartbeat({
        db,
        vault: gate,
        program: 'mcp-notes',
        onFault: (error) => faults.push(error),
        everyMs: 3_600_000,
      });
      expect(heartbeat).toBeDefined();
      await waitUntil('the first ring is told of', async () => (await told()).length === 1);
      const { text, id } = withNewKek(site.ring, randomBytes);
      held.text = text;
      const expected = fingerprint(parseKeyRing(text));
      await waitUntil('the second ring is told of', async () => (await told())[0] === expected);
      expect(gate.keys().ring.keks.get(id)?.state).toBe('decrypt');
    }
    // Nobody waits for a process that has ended.
    expect(await told()).toEqual([]);
    expect(faults).toEqual([]);
    expect(held.heard).toEqual(['open']);
  });

  it('I12 is read at once by who met a key of a newer ring, but only if it goes on from this one', async () => {
    await using site = await openInstallation();
    const held = await aGate(site, 3_600_000);
    using gate = held.gate;
    expect(gate.readAgain()).toBe(false);
    held.text = newKeyRingFile(randomBytes);
    expect(gate.readAgain()).toBe(false);
    expect(gate.keys().ring.keks.size).toBe(1);
    held.text = withNewKek(site.ring, randomBytes).text;
    expect(gate.readAgain()).toBe(true);
    expect(gate.keys().ring.keks.size).toBe(2);
  });

  it.each([
    ['gone', null, 'the key ring cannot be read'],
    ['half there', '[{"id":', 'key ring: the file is not JSON'],
    ['of another installation', newKeyRingFile(randomBytes), 'the key ring lacks the KEK of a wrapped key'],
  ])(
    'R21 G05 seals when it is %s, drops what was opened, and opens when it is back',
    async (_, text, why) => {
      await using site = await openInstallation();
      const made = await site.anInstance({ owner: await site.aUser(), fields: { token: 't' } });
      const row = await createInstanceLookup(site.db.pool('service')).byId(made.id, 'notes', {
        staged: false,
      });
      const held = await aGate(site);
      using gate = held.gate;
      const definition = {
        name: 'notes',
        credentials: { scope: 'per-user', methods: [], multiple: true, maxPerUser: 5 },
        adminConfig: {},
        userOverrides: { allow: false, keys: [], fields: [], merge: 'user-wins', allowTools: true },
      } as unknown as Parameters<typeof createCredentialOpener>[0]['definition'];
      const changes = { isUp: true, onChange: () => () => {} };
      using opener = createCredentialOpener({ definition, vault: gate, changes });
      expect(opener.open(row!).fields.get('token')).toBe('t');
      held.text = text;
      await waitUntil('it is sealed', () => !gate.isOpen);
      expect(codeOf(() => gate.keys())).toBe('SEALED');
      expect(codeOf(() => opener.open(row!))).toBe('SEALED');
      held.text = site.ring;
      await waitUntil('it is open again', () => gate.isOpen);
      expect(opener.open(row!).fields.get('token')).toBe('t');
      expect(held.heard).toEqual(['open', why, 'open']);
    },
  );

  it('R21 stays open through one bad look, as while somebody writes the file in place', async () => {
    await using site = await openInstallation();
    let isBad = false;
    let looks = 0;
    using gate = await openVaultGate({
      readRing: () => {
        looks += 1;
        if (!isBad) return new Secret(site.ring);
        isBad = false;
        throw new Error('half there');
      },
      readInstallKeys: () => readInstallKeys(site.api),
      lookMs: 10,
    });
    let wasSealed = 0;
    gate.onRing(() => (wasSealed += 1));
    isBad = true;
    const before = looks;
    await waitUntil('it was looked at three times', () => looks > before + 3);
    expect([gate.isOpen, wasSealed]).toEqual([true, 0]);
  });

  it('R01 keeps the ring that it has proven while the database cannot say anything of a new one', async () => {
    await using site = await openInstallation();
    let [isAway, asked] = [false, 0];
    let text = site.ring;
    using gate = await openVaultGate({
      readRing: () => new Secret(text),
      readInstallKeys: () => {
        asked += 1;
        return isAway
          ? site.db
              .pool('api', { connectionString: new Secret('postgres://127.0.0.1:1/none') })
              .query('select')
              .then(() => null)
          : readInstallKeys(site.api);
      },
      lookMs: 20,
    });
    isAway = true;
    text = withNewKek(site.ring, randomBytes).text;
    await waitUntil('the database was asked', () => asked > 3);
    expect([gate.isOpen, gate.keys().ring.keks.size]).toEqual([true, 1]);
    isAway = false;
    await waitUntil('the new ring is held', () => gate.keys().ring.keks.size === 2);
  });
});
