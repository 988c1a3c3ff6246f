import { chmodSync, lstatSync, mkdirSync, mkdtempSync, realpathSync, rmSync, statSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, describe, expect, it } from '@jest/globals';
import { ensurePm2Home, findPm2Home } from '../../backend/src/supervisor/pm2Home.js';

let folder: string;
beforeEach(() => {
  folder = realpathSync(mkdtempSync(join(tmpdir(), 'portolan-home-')));
});
afterEach(() => rmSync(folder, { recursive: true, force: true }));

/** A state directory whose PM2 sockets have no room in a Unix socket's path. */
function deepState(): { pm2Home: string } {
  const deep = join(folder, 'a'.repeat(60), 'b'.repeat(60));
  mkdirSync(deep, { recursive: true });
  return { pm2Home: join(deep, 'pm2') };
}

describe('the home of PM2', () => {
  it('lies in the state directory, for its owner alone', () => {
    const paths = { pm2Home: join(folder, 'pm2') };
    expect(findPm2Home(paths)).toBeNull();
    expect(ensurePm2Home(paths)).toBe(paths.pm2Home);
    expect(statSync(paths.pm2Home).mode & 0o777).toBe(0o700);
    expect(findPm2Home(paths)).toBe(paths.pm2Home);
  });

  it('moves to a short directory, and is found again, where the state directory is too deep', () => {
    const paths = deepState();
    const home = ensurePm2Home(paths, folder);
    expect(Buffer.byteLength(join(home, 'interactor.sock'))).toBeLessThan(100);
    expect(statSync(home).mode & 0o777).toBe(0o700);
    expect(ensurePm2Home(paths, folder)).toBe(home);
    expect(findPm2Home(paths)).toBe(home);
  });

  it('is made anew when the machine cleared its temporary files', () => {
    const paths = deepState();
    const first = ensurePm2Home(paths, folder);
    rmSync(first, { recursive: true });
    expect(findPm2Home(paths)).toBeNull();
    const second = ensurePm2Home(paths, folder);
    expect(second).not.toBe(first);
    expect(lstatSync(paths.pm2Home).isSymbolicLink()).toBe(true);
  });

  it('is refused when others may write into it', () => {
    const paths = { pm2Home: join(folder, 'pm2') };
    mkdirSync(paths.pm2Home);
    chmodSync(paths.pm2Home, 0o777);
    expect(() => ensurePm2Home(paths)).toThrow('must belong to this user alone');
  });
});
