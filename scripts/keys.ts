/**
 * `npm run keys -- <command>`: the keys of this installation, looked at and changed while everything runs.
 * Exit codes: 0 done; 1 not done, or something does not open; 2 called wrongly.
 */
import { randomUUID } from 'node:crypto';
import { Command, CommanderError, InvalidArgumentError } from 'commander';
import type { DatabasePool } from '../backend/src/database/pool.js';
import { AppError } from '../backend/src/errors/appError.js';
import { migrateRecords, rotateDataKeys } from '../backend/src/services/keyRotation/dataKeyRotation.js';
import {
  addKek,
  readmitKek,
  retireKek,
  rotateKek,
  type KekRotationParts,
} from '../backend/src/services/keyRotation/kekRotation.js';
import { verifyWraps } from '../backend/src/services/keyRotation/rewrapKeys.js';
import { verifyRecords } from '../backend/src/services/keyRotation/verifyRecords.js';
import { recordSystemChange } from '../backend/src/services/changeAudit.js';
import { findKeyOwner } from '../backend/src/stores/keyRotationStore.js';
import { listDataKeyOwners } from '../backend/src/stores/keysStore.js';
import { failWith } from './failWith.js';
import { readKeysStatus, toStatusText } from './keys/keysStatus.js';
import { openKeys, takeKeysTurn, type OpenedKeys } from './keys/openKeys.js';
import { createProgressReport, type ProgressReport } from './keys/progressReport.js';

interface Waiting {
  readonly wait: number;
  readonly settle?: number;
}

/**
 * Twice as long as a process may keep a row, in seconds; and longer than a credential may be on its way from its sealing to
 * its row: the renewal of an access token, or the check of a shared one.
 */
const settleSeconds = { kek: 10, deks: 35 };

const program = new Command('keys')
  .description('Looks at the keys of this installation, and changes them while it runs.')
  .exitOverride();

program
  .command('status')
  .description('the ring, what each KEK wraps, who holds which ring; never a key')
  .option('--json', 'print JSON')
  .action(async ({ json }: { json?: true }) => {
    await using keys = await openKeys();
    const status = await readKeysStatus(keys);
    console.log(json === true ? JSON.stringify(status, null, 2) : toStatusText(status));
    if (status.keks.some(({ isWornOut, state }) => isWornOut || state === 'missing')) process.exitCode = 1;
  });

program
  .command('add')
  .description('put a new KEK into the ring, to unwrap only; rotate makes it the primary one')
  .action(() => changing({ wait: 0 }, async (parts) => console.log(await addKek(parts))));

withWaiting(program.command('rotate'))
  .description('rotate the KEK, or with --deks the data keys; run it again to go on after an interruption')
  .option(
    '--to <kek>',
    'a KEK of the ring that is in the state decrypt; else one that was added, or a new one',
  )
  .option('--deks', 'give everybody, and the system, a new data key and move all records to it')
  .option('--user <address or id>', 'with --deks: this user alone')
  .option('--older-than <hours>', 'with --deks: leave alone who got a new one since', toNumber, 0)
  .action(async (options: Waiting & { to?: string; deks?: true; user?: string; olderThan: number }) => {
    if (options.deks === true) return await rotateDeks(options);
    await changing(options, async (parts) => {
      const { fromKek, toKek, rewrapped } = await rotateKek(parts, options.to ?? null);
      console.log(
        `The KEK is ${toKek} now, in the place of ${fromKek}; ${rewrapped} keys were wrapped anew.`,
      );
    });
  });

withWaiting(program.command('migrate'))
  .description('move records that are under an older data key, or in an older form, to the newest')
  .action((options: Waiting) =>
    changing(options, async (parts, { pool, vault }, report) => {
      const owners = await listDataKeyOwners(pool, new Date());
      const { resealed, unreadable } = await migrateRecords({ ...parts, ...vault, report }, owners);
      for (const { name, why } of unreadable) report.warn(`${name}: ${why}`);
      console.log(`${resealed} records were moved.`);
      if (unreadable.length > 0) process.exitCode = 1;
    }),
  );

program
  .command('retire <kek>')
  .description('disable a KEK under which no key is any more')
  .action((kek: string) =>
    changing({ wait: 0 }, async (parts) => {
      await retireKek(parts, kek);
      console.log(`${kek} is disabled.`);
    }),
  );

program
  .command('readmit <kek>')
  .description('let a disabled KEK unwrap again, for a dump of the time when it was in use')
  .action((kek: string) =>
    changing({ wait: 0 }, async (parts) => {
      await readmitKek(parts, kek);
      console.log(`${kek} unwraps again.`);
    }),
  );

program
  .command('verify')
  .description('open every wrapped key and every sealed record; change nothing')
  .option('--json', 'print JSON')
  .action(async ({ json }: { json?: true }) => {
    await using keys = await openKeys();
    using report = createProgressReport();
    const { pool, vault } = keys;
    report.step('Opening wrapped keys');
    const wraps = await verifyWraps({ pool, ...vault, report });
    report.step('Opening sealed records');
    const tables = await verifyRecords({ pool, ...vault });
    const unreadable = [...wraps.unreadable, ...tables.flatMap((table) => table.unreadable)];
    await record(pool, {
      action: 'keys.verified',
      target: { kind: 'vault', id: vault.installId },
      outcome: unreadable.length === 0 ? 'success' : 'failure',
      details: {
        keys: wraps.keys,
        unreadable: unreadable.length,
        tables: tables.map(({ table, opened, shredded }) => ({ table, opened, shredded })),
      },
    });
    if (json === true) console.log(JSON.stringify({ keys: wraps.keys, tables, unreadable }, null, 2));
    else {
      console.log(`wrapped keys: ${wraps.keys} open`);
      for (const { table, opened, shredded } of tables)
        console.log(`${table}: ${opened} records open${shredded === 0 ? '' : `, ${shredded} are shredded`}`);
      for (const { name, why } of unreadable) console.log(`! ${name}: ${why}`);
    }
    if (unreadable.length > 0) process.exitCode = 1;
  });

try {
  await program.parseAsync();
} catch (error) {
  if (error instanceof CommanderError) process.exitCode = error.exitCode === 0 ? 0 : 2;
  else failWith(error);
}

async function rotateDeks(options: Waiting & { user?: string; olderThan: number }): Promise<void> {
  const { user, olderThan, settle = settleSeconds.deks } = options;
  await changing({ ...options, settle }, async (parts, { pool, vault }, report) => {
    const owner = user === undefined ? null : await findKeyOwner(pool, user);
    if (user !== undefined && owner === null) throw new AppError('NOT_FOUND', 'there is no such user');
    const owners =
      owner === null ? await listDataKeyOwners(pool, new Date(Date.now() - olderThan * 3_600_000)) : [owner];
    const runId = randomUUID();
    const target = { kind: 'data_keys', id: runId };
    await record(pool, {
      action: 'keys.data_keys_rotation_started',
      target,
      details: { owners: owners.length },
    });
    const { resealed, dropped, unreadable } = await rotateDataKeys({ ...parts, ...vault, report }, owners);
    await record(pool, {
      action: 'keys.data_keys_rotated',
      target,
      outcome: unreadable.length === 0 ? 'success' : 'failure',
      details: { owners: owners.length, resealed, dropped, unreadable: unreadable.length },
    });
    for (const { name, why } of unreadable) report.warn(`${name}: ${why}`);
    console.log(`${owners.length} owners: ${resealed} records were moved, ${dropped} old data keys removed.`);
    if (unreadable.length > 0) process.exitCode = 1;
  });
}

function record(pool: DatabasePool, change: Parameters<typeof recordSystemChange>[2]): Promise<void> {
  return pool.transaction((db) => recordSystemChange(db, 'cli:keys', change));
}

/** Runs what changes keys, in its turn. */
async function changing(
  { wait, settle = settleSeconds.kek }: Waiting,
  work: (parts: KekRotationParts, keys: OpenedKeys, report: ProgressReport) => Promise<void>,
): Promise<void> {
  await using keys = await openKeys();
  await using turn = await takeKeysTurn(keys.config);
  using report = createProgressReport();
  const { pool, ringFile, vault } = keys;
  const parts: KekRotationParts = {
    pool,
    ringFile,
    installId: vault.installId,
    report,
    requireTurn: () => turn.require(),
    waitMsMax: wait * 1_000,
    settleMs: settle * 1_000,
  };
  await work(parts, keys, report);
}

function withWaiting(command: Command): Command {
  return command
    .option('--wait <seconds>', 'how long programs may take to hold a changed ring', toNumber, 60)
    .option('--settle <seconds>', 'how long what is on its way under an old key is given', toNumber);
}

function toNumber(text: string): number {
  const value = Number(text);
  if (text.trim() === '' || !Number.isFinite(value) || value < 0)
    throw new InvalidArgumentError('not a number');
  return value;
}
