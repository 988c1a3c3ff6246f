/** Accounts and invitations, for admins. */
import { z } from 'zod';
import { AppError } from '../../errors/appError.js';
import type { Invites } from '../../services/invites.js';
import type { Users, UsersPage } from '../../services/users.js';
import type { Invite } from '../../stores/invitesStore.js';
import { defineRoute, type Route } from '../defineRoute.js';
import {
  displayName,
  email,
  idParams,
  newPassword,
  role,
  time,
  toUserBody,
  userShape,
} from './accountSchemas.js';

const tags = ['Accounts'];

const inviteShape = z
  .object({
    id: z.uuid(),
    email: z.string().nullable().meta({ description: 'Only this address may use it; null: any.' }),
    role,
    createdAt: time,
    expiresAt: time,
  })
  .meta({ id: 'Invite' });
const newInviteShape = inviteShape.extend({ code: z.string().meta({ description: 'Shown this once.' }) });

export interface UsersRoutesParts {
  readonly users: Users;
  readonly invites: Invites;
}

export function createUsersRoutes({ users, invites }: UsersRoutesParts): Route[] {
  return [
    defineRoute({
      method: 'post',
      path: '/api/v1/users',
      operationId: 'create_user',
      summary: 'Create an account',
      tags,
      auth: 'admin',
      limit: 'write',
      audit: { action: 'user.created', target: 'user' },
      request: {
        body: z.strictObject({
          email,
          password: newPassword,
          role: role.default('user'),
          displayName: displayName.optional(),
        }),
      },
      responses: { 201: { description: 'The new account.', schema: userShape } },
      problems: ['CONFLICT'],
      async handle({ actor, body }) {
        return { status: 201, body: toUserBody(await users.create(actor, body)) };
      },
    }),
    defineRoute({
      method: 'get',
      path: '/api/v1/users',
      operationId: 'list_users',
      summary: 'List accounts, oldest first',
      tags,
      auth: 'admin',
      request: {
        query: z.strictObject({
          limit: z.coerce.number().int().min(1).max(200).default(50),
          cursor: z
            .string()
            .max(200)
            .optional()
            .meta({ description: 'The `nextCursor` of the page before.' }),
        }),
      },
      responses: {
        200: {
          description: 'A page of accounts.',
          schema: z.object({ users: z.array(userShape), nextCursor: z.string().nullable() }),
        },
      },
      async handle({ actor, query }) {
        const after = query.cursor === undefined ? null : parseCursor(query.cursor);
        const page = await users.list(actor, { limit: query.limit, after });
        return { status: 200, body: { users: page.users.map(toUserBody), nextCursor: toCursor(page.next) } };
      },
    }),
    defineRoute({
      method: 'get',
      path: '/api/v1/users/:id',
      operationId: 'get_user',
      summary: 'Show an account',
      tags,
      auth: 'admin',
      request: { params: idParams },
      responses: { 200: { description: 'The account.', schema: userShape } },
      problems: ['NOT_FOUND'],
      async handle({ actor, params }) {
        return { status: 200, body: toUserBody(await users.get(actor, params.id)) };
      },
    }),
    defineRoute({
      method: 'patch',
      path: '/api/v1/users/:id',
      operationId: 'change_user',
      summary: 'Change an account’s role, status or name',
      description:
        'Disabling an account ends its sessions; its instances answer nobody until it is enabled again.',
      tags,
      auth: 'admin',
      limit: 'write',
      audit: { action: 'user.updated', target: 'user' },
      request: {
        params: idParams,
        body: z
          .strictObject({
            role: role.optional(),
            status: z.enum(['active', 'disabled']).optional(),
            displayName: displayName.optional(),
            version: z.int().positive().optional().meta({ description: 'Refuse when it was changed since.' }),
          })
          .refine(
            (change) =>
              change.role !== undefined || change.status !== undefined || change.displayName !== undefined,
            'name at least one of role, status, displayName',
          ),
      },
      responses: { 200: { description: 'The account as it is now.', schema: userShape } },
      problems: ['NOT_FOUND', 'VERSION_CONFLICT', 'CONFLICT'],
      async handle({ actor, params, body }) {
        return { status: 200, body: toUserBody(await users.change(actor, params.id, body)) };
      },
    }),
    defineRoute({
      method: 'delete',
      path: '/api/v1/users/:id',
      operationId: 'delete_user',
      summary: 'Delete an account for good',
      description:
        'Ends its sessions, keys and instances, and destroys the keys that its credentials were sealed under.',
      tags,
      auth: 'admin',
      limit: 'write',
      audit: { action: 'user.deleted', target: 'user' },
      request: { params: idParams },
      responses: { 204: { description: 'It is gone.' } },
      problems: ['NOT_FOUND', 'CONFLICT'],
      async handle({ actor, params }) {
        await users.delete(actor, params.id);
        return { status: 204 };
      },
    }),
    defineRoute({
      method: 'post',
      path: '/api/v1/invites',
      operationId: 'create_invite',
      summary: 'Invite somebody to register',
      tags,
      auth: 'admin',
      personalKeys: false,
      limit: 'write',
      audit: { action: 'invite.created', target: 'invite' },
      request: { body: z.strictObject({ email: email.nullish(), role: role.default('user') }) },
      responses: { 201: { description: 'The invite, with its code.', schema: newInviteShape } },
      async handle({ actor, body }) {
        const invite = await invites.create(actor, { email: body.email ?? null, role: body.role });
        return { status: 201, body: { ...toInviteBody(invite), code: invite.code } };
      },
    }),
    defineRoute({
      method: 'get',
      path: '/api/v1/invites',
      operationId: 'list_invites',
      summary: 'List invites that can still be used',
      tags,
      auth: 'admin',
      responses: {
        200: { description: 'Newest first.', schema: z.object({ invites: z.array(inviteShape) }) },
      },
      async handle({ actor }) {
        return { status: 200, body: { invites: (await invites.list(actor)).map(toInviteBody) } };
      },
    }),
    defineRoute({
      method: 'delete',
      path: '/api/v1/invites/:id',
      operationId: 'delete_invite',
      summary: 'Withdraw an invite',
      tags,
      auth: 'admin',
      limit: 'write',
      audit: { action: 'invite.deleted', target: 'invite' },
      request: { params: idParams },
      responses: { 204: { description: 'It cannot be used any more.' } },
      problems: ['NOT_FOUND'],
      async handle({ actor, params }) {
        await invites.delete(actor, params.id);
        return { status: 204 };
      },
    }),
  ];
}

function toInviteBody(invite: Invite): z.input<typeof inviteShape> {
  return {
    id: invite.id,
    email: invite.email,
    role: invite.role,
    createdAt: invite.createdAt.toISOString(),
    expiresAt: invite.expiresAt.toISOString(),
  };
}

const cursorShape = z.tuple([z.iso.datetime(), z.uuid()]);

function toCursor(next: UsersPage['next']): string | null {
  if (next === null) return null;
  return Buffer.from(JSON.stringify([next.createdAt.toISOString(), next.id])).toString('base64url');
}

/** @throws AppError INVALID_REQUEST */
function parseCursor(text: string): NonNullable<UsersPage['next']> {
  try {
    const [createdAt, id] = cursorShape.parse(JSON.parse(Buffer.from(text, 'base64url').toString('utf8')));
    return { createdAt: new Date(createdAt), id };
  } catch (cause) {
    throw new AppError('INVALID_REQUEST', 'the cursor is not one of ours', {
      cause,
      fields: [{ pointer: '/query/cursor', message: 'must be the nextCursor of the page before' }],
    });
  }
}
