/** Shapes that the routes of accounts and sign-in share. Bodies are strict: a member that is not named is refused. */
import { z } from 'zod';
import { passwordBytesMax, passwordBytesMin } from '../../services/passwords.js';
import type { User } from '../../stores/usersStore.js';

/** Lower-case letters are not forced: addresses are compared without regard to case and kept as given. */
export const email = z
  .email()
  .max(320)
  .meta({ examples: ['ada@example.com'] });

export const newPassword = z
  .string()
  .refine((text) => {
    const bytes = Buffer.byteLength(text, 'utf8');
    return bytes >= passwordBytesMin && bytes <= passwordBytesMax;
  }, `must be ${passwordBytesMin} to ${passwordBytesMax} bytes long`)
  .meta({ description: `${passwordBytesMin} to ${passwordBytesMax} bytes.`, format: 'password' });

/** One that exists: whatever it is, it is compared and not judged. */
export const knownPassword = z.string().min(1).max(passwordBytesMax).meta({ format: 'password' });

export const displayName = z.string().trim().min(1).max(200);
export const role = z.enum(['user', 'admin', 'auditor']);
export const idParams = z.strictObject({ id: z.uuid() });
export const time = z.iso.datetime().meta({ examples: ['2026-01-31T12:00:00.000Z'] });

export const userShape = z
  .object({
    id: z.uuid(),
    email: z.string(),
    displayName: z.string().nullable(),
    role,
    status: z.enum(['active', 'disabled']),
    createdAt: time,
    updatedAt: time,
    lastLoginAt: time.nullable(),
    passwordChangedAt: time,
    version: z
      .int()
      .meta({ description: 'Send it back with a change, so that nobody’s change is overwritten.' }),
  })
  .meta({ id: 'User' });

export function toUserBody(user: User): z.input<typeof userShape> {
  return {
    id: user.id,
    email: user.email,
    displayName: user.displayName,
    role: user.role,
    status: user.status,
    createdAt: user.createdAt.toISOString(),
    updatedAt: user.updatedAt.toISOString(),
    lastLoginAt: user.lastLoginAt?.toISOString() ?? null,
    passwordChangedAt: user.passwordChangedAt.toISOString(),
    version: user.version,
  };
}
