import { randomUUID } from 'node:crypto';
import { existsSync, mkdirSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, describe, expect, it, jest } from '@jest/globals';
import { withUser } from '../../backend/src/database/withUser.js';
import { removeInstanceData } from '../../backend/src/jobs/removeInstanceData.js';
import { deleteInstance } from '../../backend/src/stores/instancesStore.js';
import { openInstallation } from '../support/installation.js';

jest.setTimeout(30_000);

const never = new AbortController().signal;

describe('removing the data of deleted instances', () => {
  let directory: string;
  beforeEach(() => {
    directory = mkdtempSync(join(tmpdir(), 'portolan-data-'));
  });
  afterEach(() => {
    rmSync(directory, { recursive: true, force: true });
  });

  const keep = (name: string): string => {
    mkdirSync(join(directory, name, 'deep'), { recursive: true });
    writeFileSync(join(directory, name, 'deep', 'memory.jsonl'), 'kept');
    return join(directory, name);
  };

  it('I04 takes the directory of a deleted instance and leaves every other', async () => {
    await using site = await openInstallation();
    const alice = await site.aUser();
    const [gone, lives] = [
      await site.anInstance({ owner: alice, label: 'gone' }),
      await site.anInstance({ owner: alice, label: 'lives' }),
    ];
    const [dirOfGone, dirOfLiving, foreign, other] = [
      keep(gone.id),
      keep(lives.id),
      keep(randomUUID()),
      keep('notes'),
    ];
    await withUser(site.api, { userId: alice, scope: 'self' }, (db) =>
      deleteInstance(db, { userId: alice, id: gone.id }),
    );
    const patient = removeInstanceData({ pool: site.api, instanceDataDir: directory, olderThanMs: 60_000 });
    await patient.run(never);
    expect(existsSync(dirOfGone)).toBe(true);
    await removeInstanceData({ pool: site.api, instanceDataDir: directory, olderThanMs: 0 }).run(never);
    expect([dirOfGone, dirOfLiving, foreign, other].map((path) => existsSync(path))).toEqual([
      false,
      true,
      true,
      true,
    ]);
  });

  it('has nothing to do where nothing was ever kept', async () => {
    await using site = await openInstallation();
    const job = removeInstanceData({ pool: site.api, instanceDataDir: join(directory, 'none') });
    await expect(job.run(never)).resolves.toBeUndefined();
  });
});
