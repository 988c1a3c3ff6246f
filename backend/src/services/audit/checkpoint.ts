/**
 * Checkpoints of the audit: signed statements (JWS, ES256) of how far each shard had come and what all of it folds to.
 * Each names the one before it by its digest, so that the newest one vouches for all; each is kept twice, in the database
 * and in the state directory.
 */
import { createHash } from 'node:crypto';
import jwt from 'jsonwebtoken';
import { z } from 'zod';
import { jwtAlgorithm, type SigningKeys, type VerificationKeys } from '../jwtKeys.js';

const audit = z.enum(['audit_events', 'audit_calls']);
const digest = z.string().regex(/^[0-9a-f]{64}$/);
const number = z.int().min(1);

const checkpointForm = z.strictObject({
  /** The installation's id. */
  iss: z.string(),
  n: number,
  at: z.iso.datetime(),
  /** SHA-256 of the statement before, in hex; null for the first. */
  prev: digest.nullable(),
  /** Audit, shard, number of its last row and head (hex) of those that moved, or of all. */
  shards: z.array(z.tuple([audit, z.string(), number, digest])),
  isWhole: z.boolean(),
  /** Since when there are checkpoints. */
  began: z.iso.datetime(),
  /** The statement that counts what was written before there was a chain; null until it is made. */
  settled: number.nullable(),
  /** Audit, day (YYYYMMDD) and count of rows without a MAC, in the statement that `settled` names. */
  unchained: z.array(z.tuple([audit, z.string(), z.int()])).optional(),
  /** The oldest statement that is kept. */
  from: number,
  /** What retention removed with it: partitions with their rows, and the runs of numbers that lay in them. */
  pruned: z
    .object({
      partitions: z.array(z.tuple([z.string(), z.int()])),
      runs: z.array(z.tuple([audit, z.string(), number, number])),
    })
    .optional(),
  /** The database had lost statements that the state directory still has: numbers before this one are missing there. */
  gap: z.literal(true).optional(),
});

export type Checkpoint = z.output<typeof checkpointForm>;

const type = 'audit-checkpoint+jwt';

export function signCheckpoint({ kid, privateKey }: SigningKeys, checkpoint: Checkpoint): string {
  return jwt.sign(checkpoint, privateKey, {
    algorithm: jwtAlgorithm,
    keyid: kid,
    header: { alg: jwtAlgorithm, typ: type },
    noTimestamp: true,
  });
}

/** Whether one of our keys signed it, as a checkpoint. The key is chosen by `kid` from our own; the algorithm is pinned. */
export function isSigned(keys: VerificationKeys, statement: string): boolean {
  const header = jwt.decode(statement, { complete: true })?.header;
  const key = typeof header?.kid === 'string' ? keys.get(header.kid) : undefined;
  if (key === undefined || header?.typ !== type) return false;
  try {
    jwt.verify(statement, key, { algorithms: [jwtAlgorithm] });
    return true;
  } catch {
    return false;
  }
}

/** What it says, whoever said it; null when it is none. */
export function readCheckpoint(statement: string): Checkpoint | null {
  const body = statement.split('.')[1] ?? '';
  try {
    return checkpointForm.parse(JSON.parse(Buffer.from(body, 'base64url').toString('utf8')));
  } catch {
    return null;
  }
}

export function digestOf(statement: string): string {
  return createHash('sha256').update(statement).digest('hex');
}
