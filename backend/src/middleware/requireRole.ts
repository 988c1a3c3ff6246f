import { AppError } from '../errors/appError.js';
import type { Actor } from '../services/changeAudit.js';
import type { UserRole } from '../stores/usersStore.js';

/** Roles that pass where one is asked for: an admin may read what an auditor may. */
const passing = {
  user: new Set<UserRole>(['user', 'admin', 'auditor']),
  admin: new Set<UserRole>(['admin']),
  auditor: new Set<UserRole>(['auditor', 'admin']),
} as const;

/** @throws AppError ACCESS_DENIED */
export function requireRole(actor: Pick<Actor, 'role'>, needed: keyof typeof passing): void {
  if (passing[needed].has(actor.role)) return;
  throw new AppError('ACCESS_DENIED', `the role ${actor.role} is not enough`, {
    publicDetail: `This needs the role ${needed}.`,
  });
}

/** @throws AppError ACCESS_DENIED for a caller who came with a personal API key. */
export function requireSession(actor: Pick<Actor, 'via'>): void {
  if (actor.via.startsWith('session:')) return;
  throw new AppError('ACCESS_DENIED', 'a personal API key is not enough', {
    publicDetail: 'A personal API key cannot do this; sign in with your password.',
  });
}
