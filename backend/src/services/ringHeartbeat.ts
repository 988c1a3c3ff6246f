/**
 * Tells the database which key ring this process holds: every few seconds, and at once when the ring changed. A rotation
 * waits until all live processes hold the new KEK (05, "Online rotation" 1 and 2). A sealed process holds none and says
 * nothing; one that ends says so.
 */
import { hostname } from 'node:os';
import type { Queryable } from '../database/queryable.js';
import { beatRing, endRingBeat } from '../stores/keysStore.js';
import { fingerprint } from '../vault/keyRing.js';
import type { VaultGate } from './vaultKeys.js';

export interface RingHeartbeatOptions {
  readonly db: Queryable;
  readonly vault: Pick<VaultGate, 'keys' | 'isOpen' | 'onRing'>;
  /** Such as `main-api` or `mcp-github`. */
  readonly program: string;
  readonly onFault: (error: unknown) => void;
  readonly everyMs?: number;
}

/** Who was not heard of for this long is dead, and nobody waits for it. */
export const ringBeatAgeMsMax = 20_000;

export function startRingHeartbeat(options: RingHeartbeatOptions): AsyncDisposable {
  const { db, vault, program, onFault, everyMs = 5_000 } = options;
  const processId = `${program}@${hostname()}/${process.pid}`;
  let beating: Promise<void> = Promise.resolve();
  let isBeating = false;
  let wasTold = false;

  const beat = async (): Promise<void> => {
    if (!vault.isOpen) {
      if (wasTold) await endRingBeat(db, processId);
      wasTold = false;
      return;
    }
    const { ring } = vault.keys();
    await beatRing(db, {
      processId,
      program,
      fingerprint: fingerprint(ring),
      primaryKekId: ring.primary.id,
    });
    wasTold = true;
  };
  /** One after the other, so that the last that is said is what is so. */
  const say = (): void => {
    beating = beating.then(beat).catch(onFault);
  };
  const sayAgain = (): void => {
    if (isBeating) return;
    isBeating = true;
    say();
    void beating.finally(() => (isBeating = false));
  };
  const stop = vault.onRing(say);
  const timer = setInterval(sayAgain, everyMs).unref();
  sayAgain();

  return {
    async [Symbol.asyncDispose]() {
      clearInterval(timer);
      stop();
      await beating;
      if (wasTold) await endRingBeat(db, processId).catch(onFault);
    },
  };
}
