import {
  chmodSync,
  mkdtempSync,
  readdirSync,
  readFileSync,
  renameSync,
  rmSync,
  statSync,
  writeFileSync,
} from 'node:fs';
import { randomBytes, randomUUID } from 'node:crypto';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, it } from '@jest/globals';
import { loadConfig, type Config } from '../../backend/src/config/config.js';
import { findProjectRoot } from '../../backend/src/config/projectRoot.js';
import { newKeyRingFile } from '../../backend/src/vault/keyRing.js';
import { prepareState } from '../../scripts/setup/prepareState.js';

const parent = mkdtempSync(join(tmpdir(), 'portolan-setup-'));
const stateDir = join(parent, 'state');
const config: Config = loadConfig({ PORTOLAN_STATE_DIR: stateDir }, findProjectRoot());
const lines: string[] = [];
const prepare = () =>
  prepareState(config, { newId: randomUUID, randomBytes, log: (line) => void lines.push(line) });

// The account that PostgreSQL runs as must be able to pass.
beforeAll(() => chmodSync(parent, 0o711));
afterAll(() => rmSync(parent, { recursive: true, force: true }));

/** Name, mode, time and content of every file outside of the database's own. */
function snapshot(): Record<string, string> {
  const files = readdirSync(stateDir, { recursive: true, withFileTypes: true }).filter(
    (entry) => entry.isFile() && !entry.parentPath.startsWith(config.paths.postgres),
  );
  return Object.fromEntries(
    files.map((entry) => {
      const path = join(entry.parentPath, entry.name);
      const { mode, mtimeMs } = statSync(path);
      return [path, `${(mode & 0o777).toString(8)} ${mtimeMs} ${readFileSync(path, 'base64')}`];
    }),
  );
}

const modeOf = (path: string): string => (statSync(path).mode & 0o777).toString(8);

describe('setting up a state directory', () => {
  it('makes everything once, however many set-ups run at the same time', async () => {
    const [first, ...others] = await Promise.all([prepare(), prepare(), prepare()]);
    expect(first).toEqual({ embeddedDatabase: true, sealed: null });
    expect(others).toEqual([first, first]);
    expect(lines.filter((line) => line.startsWith('making the database'))).toHaveLength(1);
  }, 60_000);

  it('gives each file and directory its exact mode', () => {
    const { paths } = config;
    const secrets = [paths.keyRing, paths.jwtKeys, paths.jwtPublicKeys, paths.frontKey, paths.metricsToken];
    for (const role of ['owner', 'api', 'service', 'jobs'] as const) secrets.push(paths.databaseUrl(role));
    expect(secrets.map((path) => [path, modeOf(path)])).toEqual(secrets.map((path) => [path, '400']));
    const hidden = [paths.spoolDir, paths.childUidsDir, paths.pm2Home, join(stateDir, 'database-urls')];
    expect(hidden.map((path) => [path, modeOf(path)])).toEqual(hidden.map((path) => [path, '700']));
    // A child with a uid of its own passes through to its own directory, and cannot list the others.
    expect(modeOf(paths.instanceDataDir)).toBe('711');
  });

  it('keeps the private half of the JWT keys out of the file that services read', () => {
    const text = readFileSync(config.paths.jwtPublicKeys, 'utf8');
    const { keys } = JSON.parse(text) as { keys: Record<string, unknown>[] };
    expect(keys).toHaveLength(1);
    expect(Object.keys(keys[0] ?? {}).sort()).toEqual(['alg', 'crv', 'kid', 'kty', 'use', 'x', 'y']);
  });

  it('changes nothing when it runs again', async () => {
    const before = snapshot();
    lines.length = 0;
    await prepare();
    expect(snapshot()).toEqual(before);
    expect(lines).toEqual([]);
  }, 60_000);

  it('G06 R21 reports a missing ring over data as sealed, and makes no new one', async () => {
    const away = `${config.paths.keyRing}.away`;
    renameSync(config.paths.keyRing, away);
    const before = snapshot();
    await expect(prepare()).resolves.toMatchObject({ sealed: expect.stringContaining('is missing') });
    expect(snapshot()).toEqual(before);
    renameSync(away, config.paths.keyRing);
    await expect(prepare()).resolves.toMatchObject({ sealed: null });
  }, 60_000);

  it('G05 reports a ring that does not fit as sealed, and leaves it and the data alone', async () => {
    const right = `${config.paths.keyRing}.right`;
    renameSync(config.paths.keyRing, right);
    writeFileSync(config.paths.keyRing, newKeyRingFile(randomBytes), { mode: 0o400 });
    const before = snapshot();
    const { sealed } = await prepare();
    expect(sealed).not.toBeNull();
    expect(snapshot()).toEqual(before);
    renameSync(right, config.paths.keyRing);
    await expect(prepare()).resolves.toMatchObject({ sealed: null });
  }, 60_000);
});
