/** A process that adopts what it finds when told to, says what it took, and lives until its standard input ends. */
import { once } from 'node:events';
import { adoptDeadOrigins, processMark } from '../../backend/src/spool/spoolFiles.js';

const [dir = ''] = process.argv.slice(2);
process.stdout.write('ready\n');
await once(process.stdin, 'data');
const taken = adoptDeadOrigins(dir, processMark(), new Set());
process.stdout.write(JSON.stringify(taken.flat().map(({ origin }) => origin)));
process.stdin.resume();
await once(process.stdin, 'end');
