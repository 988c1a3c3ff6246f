/** Opens every sealed record there is, and says which do not open. Nothing is changed and no plaintext is kept. */
import { findDeletedUsers, listRecords, type SealedRecordRow } from '../../stores/keyRotationStore.js';
import { createRecordOpener, type RecordOpenerParts } from './recordOpener.js';
import { firstId, toReason, type Unreadable } from './rotationReport.js';

export interface VerifiedTable {
  readonly table: SealedRecordRow['table'];
  readonly opened: number;
  /** Of deleted users, whose data keys are gone: they open nowhere again, as they should. */
  readonly shredded: number;
  readonly unreadable: readonly Unreadable[];
}

export const sealedTables = [
  'instances',
  'oauth_sign_ins',
  'oauth_clients',
  'service_settings',
] as const satisfies readonly SealedRecordRow['table'][];

const pageRows = 200;

export async function verifyRecords(
  parts: RecordOpenerParts,
  onProgress: (records: number) => void = () => {},
): Promise<readonly VerifiedTable[]> {
  const opener = createRecordOpener(parts);
  let records = 0;
  const verifyTable = async (table: SealedRecordRow['table']): Promise<VerifiedTable> => {
    let [opened, shredded] = [0, 0];
    const unreadable: Unreadable[] = [];
    let afterId = firstId;
    for (;;) {
      const page = await listRecords(parts.pool, table, afterId, pageRows);
      const last = page.at(-1);
      if (last === undefined) return { table, opened, shredded, unreadable };
      afterId = last.rowId;
      await opener.prepare(page);
      const failed = page.filter((row) => {
        try {
          opener.open(row, () => {});
          opened += 1;
          return false;
        } catch (error) {
          unreadable.push({ name: toName(row), why: toReason(error) });
          return true;
        }
      });
      const gone = await findDeletedUsers(
        parts.pool,
        failed.flatMap(({ userId }) => userId ?? []),
      );
      for (const row of failed.filter(({ userId }) => userId !== null && gone.has(userId))) {
        unreadable.splice(
          unreadable.findIndex(({ name }) => name === toName(row)),
          1,
        );
        shredded += 1;
      }
      records += page.length;
      onProgress(records);
    }
  };
  const tables: VerifiedTable[] = [];
  for (const table of sealedTables) tables.push(await verifyTable(table));
  return tables;
}

export function toName({
  table,
  column,
  rowId,
}: Pick<SealedRecordRow, 'table' | 'column' | 'rowId'>): string {
  return `${table}.${column} ${rowId}`;
}
