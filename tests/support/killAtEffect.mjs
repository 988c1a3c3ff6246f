// Preloaded into a program of ours (`node --import`): counts what it does to the world, statements to PostgreSQL and changes
// of files, and kills it with SIGKILL at the one that KILL_AT names: at odd numbers before it, at even ones after it. With
// EFFECTS_FILE it writes down, at its end, how many there were.
import fs from 'node:fs';
import { createRequire, syncBuiltinESMExports } from 'node:module';

const killAt = Number(process.env.KILL_AT ?? 0);
let effects = 0;

const die = () => process.kill(process.pid, 'SIGKILL');
const begin = () => {
  effects += 1;
  if (effects === killAt && killAt % 2 === 1) die();
  return effects === killAt;
};

for (const name of ['writeFileSync', 'fsyncSync', 'renameSync', 'rmSync']) {
  const real = fs[name];
  fs[name] = (...args) => {
    const isLast = begin();
    const answer = real(...args);
    if (isLast) die();
    return answer;
  };
}
syncBuiltinESMExports();

const { Client } = createRequire(new URL('../../package.json', import.meta.url))('pg');
const { query } = Client.prototype;
Client.prototype.query = function counted(...args) {
  const isLast = begin();
  const answer = query.apply(this, args);
  if (isLast && typeof answer?.then === 'function') return answer.finally(die);
  return answer;
};

process.on('exit', () => {
  const file = process.env.EFFECTS_FILE;
  if (file !== undefined) fs.appendFileSync(file, `${effects}\n`);
});
