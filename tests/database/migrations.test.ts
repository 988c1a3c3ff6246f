import { expect, it } from '@jest/globals';
import { cloneDatabase } from '../support/testDatabase.js';
it('works', async () => {
  await using db = await cloneDatabase();
  const { rows } = await db.pool('service').query<{ v: string }>('select schema_version() as v');
  expect(rows[0]?.v).toBe('000005_operations');
});
