/** Looks for secrets in everything that a fleet leaves behind: files, processes, metrics, the whole database. */
import { lstatSync, readdirSync, readFileSync } from 'node:fs';
import { join, relative } from 'node:path';
import { Client } from 'pg';
import { readSecretFile } from '../../backend/src/config/secrets.js';
import { findPm2Home } from '../../backend/src/supervisor/pm2Home.js';
import type { Fleet } from '../support/fleet.js';

/** The forms in which a text may hide: as it is, in UTF-16, in hex, in base64 at each of its three places. */
export function formsOf(text: string): Buffer[] {
  const bytes = Buffer.from(text);
  const hex = bytes.toString('hex');
  const base64 = [0, 1, 2].map((before) => {
    const whole = Buffer.concat([Buffer.alloc(before), bytes])
      .toString('base64')
      .replaceAll('=', '');
    // Without what its neighbours decide.
    return whole.slice(Math.ceil((before * 8) / 6), Math.floor(((before + bytes.length) * 8) / 6) - 1);
  });
  const forms = [
    text,
    hex,
    hex.toUpperCase(),
    ...base64,
    ...base64.map((one) => one.replaceAll('+', '-').replaceAll('/', '_')),
  ];
  return [...new Set(forms)].map((form) => Buffer.from(form)).concat(Buffer.from(text, 'utf16le'));
}

export interface Searched {
  /** `where: what` for each that was found. */
  readonly hits: readonly string[];
  /** Places that were looked at, so that a search of nothing does not pass. */
  readonly places: readonly string[];
}

/** @param secrets by what they are called in a report. */
export function createSearch(secrets: Readonly<Record<string, string>>) {
  const needles = Object.entries(secrets).map(([name, text]) => ({ name, forms: formsOf(text) }));
  const hits = new Set<string>();
  const places: string[] = [];
  return {
    look(place: string, content: Buffer | string): void {
      const bytes = Buffer.isBuffer(content) ? content : Buffer.from(content);
      places.push(place);
      for (const { name, forms } of needles)
        if (forms.some((form) => bytes.includes(form))) hits.add(`${place}: ${name}`);
    },
    result: (): Searched => ({ hits: [...hits].sort(), places }),
  };
}
type Search = ReturnType<typeof createSearch>;

/** Files of the state directory that hold keys and are meant to. */
const keyFiles = new Set(['keyring.json', 'jwt-keys.json', 'front-key', 'metrics-token', 'setup-code']);

function filesUnder(dir: string): string[] {
  return readdirSync(dir).flatMap((name) => {
    const path = join(dir, name);
    const info = lstatSync(path, { throwIfNoEntry: false });
    if (info?.isDirectory() === true) return filesUnder(path);
    return info?.isFile() === true ? [path] : [];
  });
}

function readOrNothing(path: string): Buffer {
  try {
    return readFileSync(path);
  } catch {
    // A file of PostgreSQL's or a spool's that is gone meanwhile, or a process that ended.
    return Buffer.alloc(0);
  }
}

/** Logs, spools, journals, generated files, PM2's own, and PostgreSQL's data and write-ahead log as they lie on the disk. */
export function searchFiles({ config }: Fleet, search: Search): void {
  const { stateDir } = config.paths;
  const pm2Home = findPm2Home(config.paths);
  const dataDir = (JSON.parse(readFileSync(config.paths.postgresApp, 'utf8')) as { dataDir?: string })
    .dataDir;
  const roots = new Set([
    stateDir,
    ...(pm2Home === null ? [] : [pm2Home]),
    ...(dataDir === undefined ? [] : [dataDir]),
  ]);
  for (const root of roots) {
    for (const path of filesUnder(root)) {
      const name = relative(root, path);
      if (
        root === stateDir &&
        (keyFiles.has(name) || name.startsWith('database-urls') || name.startsWith('packages'))
      )
        continue;
      search.look(`file ${name}`, readOrNothing(path));
    }
  }
}

/** Arguments and environment of every program of the fleet, and what PM2 tells of them. Children are their users' own. */
export async function searchProcesses(fleet: Fleet, search: Search): Promise<void> {
  const apps = await fleet.apps();
  search.look('pm2 list', JSON.stringify(apps));
  const pm2 = await fleet.run('pm2', 'jlist');
  search.look('pm2 jlist', pm2.output);
  for (const { name, pid } of apps) {
    for (const part of ['environ', 'cmdline'])
      search.look(`${part} of ${name}`, readOrNothing(`/proc/${pid}/${part}`));
  }
}

export async function searchMetrics(
  fleet: Fleet,
  services: readonly string[],
  search: Search,
): Promise<void> {
  const { config } = fleet;
  const token = readFileSync(config.paths.metricsToken, 'utf8').trim();
  const origins: Record<string, string> = {
    'main-api': fleet.apiOrigin,
    front: fleet.origin,
    'health-monitor': `http://127.0.0.1:${config.ports.monitor}`,
    ...Object.fromEntries(services.map((service) => [service, fleet.serviceOrigin(service)])),
  };
  for (const [name, origin] of Object.entries(origins)) {
    const answer = await fetch(`${origin}/metrics`, { headers: { authorization: `Bearer ${token}` } });
    if (answer.status !== 200) throw new Error(`metrics of ${name}: ${answer.status}`);
    search.look(`metrics of ${name}`, await answer.text());
  }
}

/** Every row of every table as text, and what the server itself remembers of statements. */
export async function searchDatabase({ config }: Fleet, search: Search): Promise<void> {
  const owner = readSecretFile(config.paths.databaseUrl('owner'), 'the owner of the database');
  const client = new Client({ connectionString: owner.reveal() });
  await client.connect();
  try {
    const tables = await client.query<{ name: string }>(
      `select format('%I.%I', schemaname, tablename) as name from pg_tables where schemaname in ('portolan', 'public')`,
    );
    for (const { name } of [...tables.rows, { name: 'pg_stat_activity' }]) {
      const { rows } = await client.query<{ row: string }>(`select t::text as row from ${name} t`);
      search.look(`table ${name}`, rows.map(({ row }) => row).join('\n'));
    }
  } finally {
    await client.end();
  }
}
