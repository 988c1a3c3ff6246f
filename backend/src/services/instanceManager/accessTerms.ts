/**
 * New terms of access for an instance: mode, addresses, end. What narrows them needs the owner's word alone, and what is
 * open under older ones is cut where they would not let it in again; what widens them wants a recent sign-in, as a reveal
 * does, since an access token of ten minutes must not open an instance for good.
 */
import { toAddressBlock } from '../../addresses/addressBlocks.js';
import { AppError } from '../../errors/appError.js';
import type { InstanceAccess } from '../../stores/instanceAccessStore.js';
import type { AccessMode, Instance } from '../../stores/instancesStore.js';
import { stricterMode } from '../accessModes.js';
import type { Actor } from '../changeAudit.js';
import { hasRecentSignIn, minimumModeOf, type InstanceParts } from './instanceParts.js';

/** What is absent stays as it is. */
export interface AccessChange {
  readonly accessMode?: AccessMode;
  /** Addresses and CIDR blocks; empty: from anywhere. */
  readonly allowedCidrs?: readonly string[];
  /** Null: no end. */
  readonly expiresAt?: Date | null;
}

export interface NewAccess extends InstanceAccess {
  readonly cutsStreams: boolean;
}

/**
 * Null when nothing changes.
 * @throws AppError INVALID_REQUEST for a mode below the admin's minimum, a block that is none, an end that is over;
 * REAUTHENTICATION_REQUIRED.
 */
export function toNewAccess(
  parts: Pick<InstanceParts, 'registry' | 'accessModeMinimum' | 'now'>,
  actor: Actor,
  before: Instance,
  change: AccessChange,
): NewAccess | null {
  const accessMode = toMode(parts, before, change);
  const allowedCidrs =
    change.allowedCidrs === undefined ? before.allowedCidrs : toBlocks(change.allowedCidrs);
  const expiresAt = change.expiresAt === undefined ? before.expiresAt : change.expiresAt;
  if (change.expiresAt != null && change.expiresAt.getTime() <= parts.now())
    throw refused('/expiresAt', 'must be a time in the future');

  const isModeNew = accessMode !== before.accessMode;
  const areBlocksNew = allowedCidrs.join() !== before.allowedCidrs.join();
  const isEndNew = expiresAt?.getTime() !== before.expiresAt?.getTime();
  if (!isModeNew && !areBlocksNew && !isEndNew) return null;

  const isWider =
    (isModeNew && accessMode === 'url') ||
    (areBlocksNew && isWiderList(before.allowedCidrs, allowedCidrs)) ||
    (isEndNew && isLater(before.expiresAt, expiresAt));
  if (isWider && !hasRecentSignIn(actor, parts.now())) {
    throw new AppError('REAUTHENTICATION_REQUIRED', 'wider terms of access without a recent sign-in', {
      publicDetail:
        'Who may use an instance is widened after a sign-in of the last 15 minutes: sign in again.',
    });
  }
  const cutsStreams = (isModeNew && accessMode !== 'url') || (areBlocksNew && allowedCidrs.length > 0);
  return { accessMode, allowedCidrs, expiresAt, cutsStreams };
}

/** What the audit says of it: names and numbers, no address. */
export function toAccessDetails({ accessMode, allowedCidrs, expiresAt }: InstanceAccess): {
  readonly accessMode: string;
  readonly allowedBlocks: number;
  readonly expiresAt: string | null;
} {
  return {
    accessMode,
    allowedBlocks: allowedCidrs.length,
    expiresAt: expiresAt === null ? null : expiresAt.toISOString(),
  };
}

function toMode(
  parts: Pick<InstanceParts, 'registry' | 'accessModeMinimum'>,
  before: Instance,
  { accessMode }: AccessChange,
): Instance['accessMode'] {
  if (accessMode === undefined) return before.accessMode;
  if (accessMode === 'oauth')
    throw refused('/accessMode', 'oauth comes with a later release; use url or url+token');
  if (stricterMode(accessMode, minimumModeOf(parts, before.service)) === accessMode) return accessMode;
  throw refused('/accessMode', 'is less than an admin asks of every instance of this service');
}

function toBlocks(texts: readonly string[]): string[] {
  const blocks = texts.map((text, at) => {
    const block = toAddressBlock(text.trim());
    if (block === null) throw refused(`/allowedCidrs/${at}`, 'must be an IP address or a CIDR block');
    return block;
  });
  return [...new Set(blocks)];
}

/** Whether somebody may come in who was kept out; a list in which nothing is new lets in fewer. */
function isWiderList(before: readonly string[], after: readonly string[]): boolean {
  if (before.length === 0) return false;
  return after.length === 0 || after.some((block) => !before.includes(block));
}

function isLater(before: Date | null, after: Date | null): boolean {
  return before !== null && (after === null || after.getTime() > before.getTime());
}

function refused(pointer: string, message: string): AppError {
  return new AppError('INVALID_REQUEST', `terms of access: ${pointer} ${message}`, {
    fields: [{ pointer, message }],
  });
}
