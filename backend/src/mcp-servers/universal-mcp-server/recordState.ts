/** Writes down how an upstream took an instance's credential. What cannot be written is told to the log: the next call tells again. */
import type { Queryable } from '../../database/queryable.js';
import { recordInstanceState } from '../../stores/instanceLookupStore.js';
import type { Logger } from '../../telemetry/logger.js';
import type { StateNote } from './upstream/stateNotes.js';

/** Never rejects. */
export async function recordState(
  db: Queryable,
  service: string,
  { instanceId, state, cause, credentialRevision }: StateNote,
  log: Pick<Logger, 'warn'>,
): Promise<void> {
  try {
    // The revision is looked at by the database: an older credential's fate changes nothing.
    await recordInstanceState(db, { id: instanceId, service, credentialRevision, state, cause });
  } catch (error) {
    log.warn('the state of an instance could not be recorded', { instance: instanceId, error });
  }
}
