/** `npm run soak -- --minutes N [--seed S] [--only R01,R11] [--json]` (`scripts/soak.ts` starts it from source). */
import { randomInt } from 'node:crypto';
import { Command } from 'commander';
import { toText } from './report.js';
import { soak } from './soak.js';

const command = new Command('npm run soak --')
  .description('Puts faults into a fleet of its own while clients call it, and checks what may not happen.')
  .option('--minutes <n>', 'how long faults come', Number, 2)
  .option(
    '--seed <n>',
    'makes the schedule; the same again for the same number',
    Number,
    randomInt(1_000_000),
  )
  .option('--only <ids>', 'faults, such as R01,R11', (text: string) => text.split(','))
  .option('--owners <n>', 'each has an instance of every service, and a client for each', Number, 3)
  .option('--patience <n>', 'times on how long recovery may take, for a busy machine', Number, 1)
  .option('--json', 'print the report as JSON', false)
  .parse();
const { minutes, seed, only, owners, patience, json } = command.opts<{
  minutes: number;
  seed: number;
  only?: string[];
  owners: number;
  patience: number;
  json: boolean;
}>();

const stop = new AbortController();
for (const signal of ['SIGINT', 'SIGTERM'] as const) process.on(signal, () => stop.abort());
const report = await soak({
  seed,
  minutes,
  owners,
  patience,
  signal: stop.signal,
  ...(only === undefined ? {} : { only }),
  log: (line) => void process.stderr.write(`${line}\n`),
});
process.stdout.write(json ? `${JSON.stringify(report, null, 2)}\n` : toText(report));
process.exitCode = report.violations.length > 0 ? 1 : 0;
