/**
 * The chain of the call audit: as a batch is shipped, each record gets its number in its spool and a MAC that binds it
 * there, and the spool's head is folded on. A spool has one shipper at a time; where its chain stands is asked of the
 * database when a spool comes into hand and after every failure, since what was sent may have been added.
 */
import type { KeyObject } from 'node:crypto';
import { codeOf } from '../database/databaseErrors.js';
import type { ChainedBatch, SpoolChain } from '../stores/callAuditStore.js';
import { callRecordMac, firstHead, foldHead } from '../vault/auditMacs.js';
import type { PlacedLine, ShipBatch, SpoolBatch } from './spoolBatch.js';

export interface CallChainOptions {
  /** @throws AppError SEALED: nothing is shipped then, and the spool keeps what it has. */
  readonly kAudit: () => KeyObject;
  readonly findChain: (spoolId: string) => Promise<SpoolChain>;
  readonly shipChained: (batch: Omit<ChainedBatch, 'service'>) => Promise<unknown>;
  readonly forgetSpool: (spoolId: string) => Promise<void>;
}

export interface CallChain {
  readonly ship: ShipBatch;
  readonly findPosition: (spoolId: string) => Promise<number>;
  readonly forgetSpool: (spoolId: string) => Promise<void>;
}

export function createCallChain({
  kAudit,
  findChain,
  shipChained,
  forgetSpool,
}: CallChainOptions): CallChain {
  /** Of the spools in hand, as the database surely has them. */
  const chains = new Map<string, SpoolChain>();

  const shipOnce = async ({ spoolId, lines }: SpoolBatch): Promise<void> => {
    const chain = chains.get(spoolId) ?? (await findChain(spoolId));
    chains.delete(spoolId);
    const fresh = lines.filter(({ position }) => position > chain.position);
    const last = fresh.at(-1);
    if (last === undefined) return void chains.set(spoolId, chain);
    const { records, head } = toChained(kAudit(), spoolId, chain, fresh);
    const { position } = last;
    await shipChained({ spoolId, records, firstSeq: chain.seq + 1, position, head });
    chains.set(spoolId, { position, seq: chain.seq + fresh.length, head });
  };

  return {
    async ship(batch) {
      try {
        await shipOnce(batch);
      } catch (error) {
        // An earlier attempt whose answer was lost was committed after all; now it can be seen.
        if (codeOf(error) !== outOfStep) throw error;
        await shipOnce(batch);
      }
    },
    async findPosition(spoolId) {
      const chain = await findChain(spoolId);
      chains.set(spoolId, chain);
      return chain.position;
    },
    async forgetSpool(spoolId) {
      chains.delete(spoolId);
      await forgetSpool(spoolId);
    },
  };
}

/** SQLSTATE with which the database says that the records do not follow what it has. */
const outOfStep = '40001';

function toChained(
  key: KeyObject,
  spoolId: string,
  { seq: before, head: from }: SpoolChain,
  lines: readonly PlacedLine[],
): { readonly records: string; readonly head: Buffer } {
  let head = from ?? firstHead('audit_calls', spoolId);
  let seq = before;
  const records = lines.map(({ position, line }) => {
    seq += 1;
    const text = line.trimEnd();
    const mac = callRecordMac(key, { spoolId, seq, position }, text);
    head = foldHead(head, mac);
    return `{"position":${position},"seq":${seq},"mac":"${mac.toString('base64')}",${text.slice(1)}`;
  });
  return { records: `[${records.join(',')}]`, head };
}
