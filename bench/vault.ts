/**
 * What the vault costs: sealing and opening a credential of 300 bytes against the bare ciphers that it stands on, taking
 * turns on one core, and the rotation of the KEK over many data keys while the fleet runs.
 */
import { execFile } from 'node:child_process';
import {
  createCipheriv,
  createDecipheriv,
  createSecretKey,
  hkdfSync,
  randomBytes,
  randomUUID,
} from 'node:crypto';
import { join } from 'node:path';
import { promisify } from 'node:util';
import { Client } from 'pg';
import { readSecretFile } from '../backend/src/config/secrets.js';
import { createDek, wrapDek } from '../backend/src/vault/dataKey.js';
import { open, seal, type RecordBinding } from '../backend/src/vault/sealedRecord.js';
import { readConfig } from '../scripts/fleet/openFleet.js';
import { openKeys } from '../scripts/keys/openKeys.js';
import { median } from './load.js';

export interface VaultFigures {
  readonly lines: readonly VaultLine[];
  readonly rotation: {
    readonly dataKeys: number;
    readonly seconds: number;
    /** Of the command as a whole: distribution to all programs, rewrapping, verification. */
    readonly keysPerSecond: number;
  };
}

export interface VaultLine {
  readonly row: string;
  /** By CPU time of this process, which other load does not stretch as it does the clock. */
  readonly perSecondPerCore: number;
  /** Part of its yardstick's. */
  readonly shareOfBare: number;
}

const credentialBytes = 300;
const operationsPerRound = 5_000;
const dataKeys = 10_000;

export async function measureVault(rounds: number): Promise<VaultFigures> {
  return { lines: measureRecords(rounds), rotation: await measureRotation() };
}

function measureRecords(rounds: number): VaultLine[] {
  const dek = createDek(randomUUID(), randomBytes);
  const place: RecordBinding = {
    installId: randomUUID(),
    table: 'instances',
    column: 'sealed_credential',
    userId: randomUUID(),
    rowId: randomUUID(),
    revision: 1,
    schemaVersion: 1,
  };
  const plaintext = randomBytes(credentialBytes);
  const record = seal(dek, plaintext, place, randomBytes);
  const bare = bareCiphers(plaintext);
  const work = {
    'bare HKDF and AES-256-GCM, encrypting': bare.encrypt,
    seal: () => void seal(dek, plaintext, place, randomBytes),
    'bare HKDF and AES-256-GCM, decrypting': bare.decrypt,
    open: () => void open(dek, record, place),
  };
  const micros = new Map<string, number[]>(Object.keys(work).map((row) => [row, []]));
  for (let round = 0; round <= rounds; round += 1) {
    for (const [row, operation] of Object.entries(work)) {
      const took = cpuMicrosOf(operation);
      // The first round warms up.
      if (round > 0) micros.get(row)?.push(took);
    }
  }
  const rates = [...micros].map(([row, all]) => ({ row, rate: 1e6 / median(all) }));
  return rates.map(({ row, rate }, at) => {
    const yardstick = rates[at - (at % 2)]?.rate ?? rate;
    return { row, perSecondPerCore: rate, shareOfBare: rate / yardstick };
  });
}

function bareCiphers(plaintext: Buffer): { encrypt: () => void; decrypt: () => void } {
  const master = createSecretKey(randomBytes(32));
  const derive = (salt: Buffer): Buffer => Buffer.from(hkdfSync('sha256', master, salt, 'bare', 32));
  const [salt, iv] = [randomBytes(32), randomBytes(12)];
  const cipher = createCipheriv('aes-256-gcm', derive(salt), iv, { authTagLength: 16 });
  const ciphertext = Buffer.concat([cipher.update(plaintext), cipher.final()]);
  const tag = cipher.getAuthTag();
  return {
    encrypt() {
      const fresh = createCipheriv('aes-256-gcm', derive(randomBytes(32)), randomBytes(12), {
        authTagLength: 16,
      });
      fresh.update(plaintext);
      fresh.final();
      fresh.getAuthTag();
    },
    decrypt() {
      const decipher = createDecipheriv('aes-256-gcm', derive(salt), iv, { authTagLength: 16 });
      decipher.setAuthTag(tag);
      decipher.update(ciphertext);
      decipher.final();
    },
  };
}

function cpuMicrosOf(operation: () => void): number {
  const before = process.cpuUsage();
  for (let count = 0; count < operationsPerRound; count += 1) operation();
  const { user, system } = process.cpuUsage(before);
  return (user + system) / operationsPerRound;
}

/** In the fleet whose settings the environment holds. */
async function measureRotation(): Promise<VaultFigures['rotation']> {
  await addDataKeys();
  const { projectRoot } = readConfig();
  const command = join(projectRoot, 'dist/scripts/keys.js');
  const startedAt = performance.now();
  await promisify(execFile)(process.execPath, [command, 'rotate', '--settle', '0'], { env: process.env });
  const seconds = (performance.now() - startedAt) / 1_000;
  return { dataKeys, seconds, keysPerSecond: dataKeys / seconds };
}

/** Users with a data key each, and nothing sealed under it. */
async function addDataKeys(): Promise<void> {
  await using keys = await openKeys();
  const { ring, installId } = keys.vault;
  const rows = Array.from({ length: dataKeys }, () => {
    const userId = randomUUID();
    const dek = createDek(randomUUID(), randomBytes);
    return { userId, dekId: dek.id, ...wrapDek(ring, installId, dek, userId, randomBytes) };
  });
  const owner = readSecretFile(keys.config.paths.databaseUrl('owner'), 'the connection string of the owner');
  const client = new Client({ connectionString: owner.reveal() });
  await client.connect();
  try {
    await client.query('set search_path = portolan, pg_temp');
    await client.query(
      `insert into users (id, email, password_hash) select id, id || '@example.com', '-' from unnest($1::uuid[]) id`,
      [rows.map(({ userId }) => userId)],
    );
    await client.query(
      `insert into data_keys (id, user_id, kek_id, wrapped)
       select * from unnest($1::uuid[], $2::uuid[], $3::text[], $4::bytea[])`,
      [
        rows.map(({ dekId }) => dekId),
        rows.map(({ userId }) => userId),
        rows.map(({ kekId }) => kekId),
        rows.map(({ wrapped }) => wrapped),
      ],
    );
  } finally {
    await client.end();
  }
}

export function toVaultTable({ lines, rotation }: VaultFigures): string[] {
  const { dataKeys: keys, seconds, keysPerSecond } = rotation;
  return [
    '',
    '## Vault',
    '',
    `| ${credentialBytes} bytes | a second and core | of bare |`,
    '|---|---:|---:|',
    ...lines.map(
      ({ row, perSecondPerCore, shareOfBare }) =>
        `| ${row} | ${perSecondPerCore.toFixed(0)} | ${shareOfBare.toFixed(2)} |`,
    ),
    '',
    `The KEK over ${keys} data keys, with the fleet running: ${seconds.toFixed(1)} s, ${keysPerSecond.toFixed(0)} keys/s.`,
  ];
}
