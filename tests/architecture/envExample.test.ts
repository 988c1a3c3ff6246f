import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { describe, expect, it } from '@jest/globals';
import { loadConfig } from '../../backend/src/config/config.js';
import { envNames, readEnv } from '../../backend/src/config/env.js';
import { projectRoot } from './sourceFiles.js';

const lines = readFileSync(join(projectRoot, '.env.example'), 'utf8').split('\n');
const settings = lines.flatMap((line) => {
  const [, name, value] = /^#?([A-Z][A-Z0-9_]*)=(.*)$/.exec(line) ?? [];
  return name === undefined ? [] : [[name, value ?? ''] as const];
});

describe('.env.example', () => {
  it('lists exactly the variables that are read', () => {
    expect(settings.map(([name]) => name).sort()).toEqual([...envNames].sort());
  });

  it('shows the defaults: setting all of them changes nothing', () => {
    const asShown = loadConfig(readEnv(Object.fromEntries(settings)), projectRoot);
    const unset = loadConfig(readEnv({}), projectRoot);
    const plain = (config: typeof unset) => JSON.parse(JSON.stringify(config)) as unknown;
    expect(plain(asShown)).toEqual(plain(unset));
  });
});
