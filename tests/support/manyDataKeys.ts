/** Users by the thousand, each with a data key that is really wrapped; no record is under most of them. */
import { randomBytes, randomUUID } from 'node:crypto';
import { createDek, wrapDek } from '../../backend/src/vault/dataKey.js';
import type { Installation } from './installation.js';

export async function manyDataKeys(site: Installation, count: number): Promise<void> {
  const { ring, installId } = site.vault.keys();
  const rows = Array.from({ length: count }, () => {
    const userId = randomUUID();
    const dek = createDek(randomUUID(), randomBytes);
    return { userId, dekId: dek.id, ...wrapDek(ring, installId, dek, userId, randomBytes) };
  });
  const root = await site.db.superuser();
  const users = rows.map(({ userId }) => userId);
  await root.query(
    `insert into users (id, email, password_hash) select id, id || '@example.test', '$argon2id$' from unnest($1::uuid[]) id`,
    [users],
  );
  await root.query(
    `insert into data_keys (id, user_id, kek_id, wrapped)
     select * from unnest($1::uuid[], $2::uuid[], $3::text[], $4::bytea[])`,
    [
      rows.map(({ dekId }) => dekId),
      users,
      rows.map(({ kekId }) => kekId),
      rows.map(({ wrapped }) => wrapped),
    ],
  );
}
