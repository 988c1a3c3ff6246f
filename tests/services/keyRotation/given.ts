/** A rotation in one process: the ring file is a text, and programs are gates that heartbeat. */
import { Secret } from '../../../backend/src/config/secrets.js';
import { readInstallKeys } from '../../../backend/src/services/installKeys.js';
import type { KekRotationParts } from '../../../backend/src/services/keyRotation/kekRotation.js';
import { startRingHeartbeat } from '../../../backend/src/services/ringHeartbeat.js';
import { openVaultGate, type VaultGate } from '../../../backend/src/services/vaultKeys.js';
import { parseKeyRing } from '../../../backend/src/vault/keyRing.js';
import type { Installation } from '../../support/installation.js';

export interface RingHolder extends AsyncDisposable {
  readonly vault: VaultGate;
}

export interface Rotating {
  /** The ring file. */
  text: string;
  readonly parts: KekRotationParts;
  readonly steps: string[];
  /** A program that holds the ring, as the file has it or as the given text. */
  aHolder(program: string, ring?: () => string): Promise<RingHolder>;
}

export function rotating(site: Installation, waitMsMax = 10_000): Rotating {
  const steps: string[] = [];
  const file: Rotating = {
    text: site.ring,
    steps,
    parts: {
      pool: site.db.pool('jobs'),
      ringFile: { read: () => file.text, replace: (text) => void (file.text = text) },
      installId: site.vault.keys().installId,
      report: { step: (what) => void steps.push(what), progress() {}, warn: (what) => void steps.push(what) },
      requireTurn: async () => {},
      waitMsMax,
      settleMs: 0,
    },
    async aHolder(program, ring = () => file.text) {
      const vault = await openVaultGate({
        readRing: () => new Secret(ring()),
        readInstallKeys: () => readInstallKeys(site.api),
        lookMs: 20,
      });
      const heartbeat = startRingHeartbeat({
        db: site.db.pool('service'),
        vault,
        program,
        onFault,
        everyMs: 50,
      });
      return {
        vault,
        async [Symbol.asyncDispose]() {
          await heartbeat[Symbol.asyncDispose]();
          vault[Symbol.dispose]();
        },
      };
    },
  };
  return file;
}

function onFault(error: unknown): never {
  throw error;
}

export const stateOf = (text: string, id: string): string | undefined =>
  parseKeyRing(text).keks.get(id)?.state;

/** The actions of the audit, in order. */
export async function auditedActions(site: Installation): Promise<string[]> {
  const root = await site.db.superuser();
  const { rows } = await root.query<{ action: string }>(
    `select action from audit_events where action like 'keys.%' and actor_kind = 'system' order by occurred_at, action`,
  );
  return rows.map(({ action }) => action);
}
