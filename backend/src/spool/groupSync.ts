/**
 * Group commit: however many wait for a file to be synced, one fdatasync runs at a time, and the next serves all who came
 * meanwhile.
 */
import type { AppendFile } from './appendFile.js';

export interface GroupSync {
  /** Resolves when all that was appended to the file before now outlives a loss of power. */
  wait(file: AppendFile): Promise<void>;
  /** Resolves when no sync is under way. */
  idle(): Promise<void>;
}

export function createGroupSync(): GroupSync {
  const running = new Map<AppendFile, Promise<void>>();
  const next = new Map<AppendFile, Promise<void>>();

  const start = (file: AppendFile): Promise<void> => {
    const sync = file.datasync().finally(() => running.delete(file));
    running.set(file, sync);
    return sync;
  };

  return {
    wait(file) {
      const former = running.get(file);
      if (former === undefined) return start(file);
      // What was appended after the running sync began is not surely in it.
      const planned = next.get(file) ?? planAfter(former, file);
      next.set(file, planned);
      return planned;
    },
    async idle() {
      while (running.size + next.size > 0) {
        await Promise.allSettled([...running.values(), ...next.values()]);
      }
    },
  };

  async function planAfter(former: Promise<void>, file: AppendFile): Promise<void> {
    await former.catch(() => undefined);
    next.delete(file);
    return start(file);
  }
}
