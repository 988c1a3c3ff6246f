/**
 * A Unix uid for each owner of children, from a range that nothing else uses, given once and kept: who it belongs to stands
 * in a file of its number. The file is a line of passwd(5), which a child in a file system of its own sees as /etc/passwd,
 * for programs that ask who they are.
 */
import { createHash } from 'node:crypto';
import {
  chmodSync,
  lchownSync,
  linkSync,
  lstatSync,
  mkdirSync,
  readdirSync,
  readFileSync,
  rmSync,
  writeFileSync,
} from 'node:fs';
import { join } from 'node:path';
import { AppError } from '../../../../../errors/appError.js';

export interface ChildUid {
  readonly uid: number;
  /** The file that says so, as a passwd(5). */
  readonly passwdFile: string;
}

/** Above the container ranges and below the ranges that systemd reserves ("Users, Groups, UIDs and GIDs on systemd systems"). */
export const uidRange = { first: 0x7000_0000, count: 2 ** 24 } as const;
/** Owners whose numbers begin at the same place are told apart within so many steps. */
const stepsMax = 64;

/**
 * The uid of an owner; two owners never share one, in whichever process they ask.
 * @param owner an instance's uuid, or the name of a shared directory.
 * @throws AppError SERVICE_UNAVAILABLE when all numbers near its place are given.
 */
export function assignUid(directory: string, owner: string, homes: string): ChildUid {
  mkdirSync(directory, { recursive: true, mode: 0o700 });
  const start = createHash('sha256').update(owner).digest().readUInt32BE() % uidRange.count;
  for (let step = 0; step < stepsMax; step += 1) {
    const uid = uidRange.first + ((start + step) % uidRange.count);
    const passwdFile = join(directory, String(uid));
    const line = `child:x:${uid}:${uid}:${owner}:${join(homes, owner)}:/bin/sh\n`;
    if (isWritten(passwdFile, line)) return { uid, passwdFile };
  }
  throw new AppError('SERVICE_UNAVAILABLE', 'no uid is free for a child', { retryAfterSeconds: 60 });
}

/** A link, unlike a rename, refuses to replace what somebody else made meanwhile, and is there whole or not at all. */
function isWritten(path: string, line: string): boolean {
  const known = readOwner(path);
  if (known !== null) return known === ownerOf(line);
  const draft = `${path}.${process.pid}.draft`;
  writeFileSync(draft, line, { mode: 0o644 });
  try {
    chmodSync(draft, 0o644);
    linkSync(draft, path);
    return true;
  } catch (error) {
    if (!(error instanceof Error && 'code' in error && error.code === 'EEXIST')) throw error;
    return readOwner(path) === ownerOf(line);
  } finally {
    rmSync(draft, { force: true });
  }
}

const ownerOf = (line: string): string | undefined => line.split(':')[4];

function readOwner(path: string): string | null {
  try {
    return ownerOf(readFileSync(path, 'utf8')) ?? null;
  } catch {
    return null;
  }
}

/**
 * Gives a directory to a uid, once: when it belongs to it already nothing is touched. What is in it first and itself last,
 * so that what was cut off is done again, and so that no child of that uid runs in it meanwhile. Links are not followed.
 */
export function giveDirectory(directory: string, uid: number): void {
  if (lstatSync(directory).uid === uid) return;
  const give = (path: string): void => {
    if (lstatSync(path).isDirectory()) for (const name of readdirSync(path)) give(join(path, name));
    lchownSync(path, uid, uid);
  };
  give(directory);
}
