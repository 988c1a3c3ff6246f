/**
 * `npm run audit -- verify | export | prune`: the audits of this installation, proven, copied and shortened.
 *
 *   audit verify                              every row against its MAC, every shard against the signed checkpoints
 *   audit export calls --format csv --out f   newest first, with the filters of the API
 *   audit prune --before 2026-01-01           what the retention job does, by hand; --dry-run only says what would go
 *
 * Exit codes: 0 done, and the audit is intact; 1 something is wrong with the audit or the installation; 2 wrong usage.
 */
import { Command, CommanderError, Option } from 'commander';
import { loadConfig } from '../backend/src/config/config.js';
import { readEnv } from '../backend/src/config/env.js';
import { findProjectRoot } from '../backend/src/config/projectRoot.js';
import { exportAudit, type ExportWish } from './audit/exportAudit.js';
import { openAuditTools } from './audit/openAuditTools.js';
import { pruneByHand } from './audit/pruneByHand.js';
import { runVerification } from './audit/runVerification.js';
import { failWith } from './failWith.js';

const tools = () => openAuditTools(loadConfig(readEnv(), findProjectRoot()));

const program = new Command('audit')
  .description('Proves, exports and shortens the audits of this installation.')
  .exitOverride();

program
  .command('verify')
  .description('verify both audits; names each row that was edited, deleted, inserted or moved')
  .option('--json', 'print the result as JSON')
  .option('--no-record', 'do not write the result into the audit')
  .action(async (options: { json?: boolean; record: boolean }) => {
    await using opened = await tools();
    process.exitCode = await runVerification(opened, {
      isJson: options.json === true,
      isRecorded: options.record,
    });
  });

const exporting = program
  .command('export')
  .description('write an audit to standard output or a file, newest first')
  .argument('<audit>', 'events or calls')
  .addOption(new Option('--format <format>', 'how').choices(['ndjson', 'csv']).default('ndjson'))
  .option('--out <file>', 'write to this file, which must not exist');
for (const [flag, what] of [
  ['--from <time>', 'from this time on (ISO 8601)'],
  ['--to <time>', 'before this time'],
  ['--service <name>', 'of this service'],
  ['--outcome <outcome>', 'with this outcome'],
  ['--error-code <code>', 'with this error code'],
  ['--request-id <id>', 'of this request'],
  ['--actor-id <uuid>', 'events: done by this user'],
  ['--subject-user-id <uuid>', 'events: about this user'],
  ['--action <action>', 'events: of this kind'],
  ['--target-id <id>', 'events: of this target'],
  ['--user-id <uuid>', 'calls: of this user'],
  ['--instance-id <uuid>', 'calls: of this instance'],
  ['--method <method>', 'calls: of this method'],
  ['--name <name>', 'calls: of this tool or prompt'],
] as const)
  exporting.option(flag, what);
exporting.action(async (audit: string, options: ExportWish) => {
  if (audit !== 'events' && audit !== 'calls')
    return exporting.error('the audit is events or calls', { exitCode: 2 });
  await using opened = await tools();
  await exportAudit(opened, audit, options);
});

program
  .command('prune')
  .description('drop whole days that are older than retention, or than a day of your choice')
  .option('--before <day>', 'the first day that stays (YYYY-MM-DD, UTC)')
  .option('--dry-run', 'say what would go, and change nothing')
  .option('--json', 'print the result as JSON')
  .action(async (options: { before?: string; dryRun?: boolean; json?: boolean }) => {
    await using opened = await tools();
    await pruneByHand(opened, {
      before: options.before ?? null,
      isDryRun: options.dryRun === true,
      isJson: options.json === true,
    });
  });

try {
  await program.parseAsync();
} catch (error) {
  if (error instanceof CommanderError) process.exitCode = error.exitCode === 0 ? 0 : 2;
  else failWith(error);
}
