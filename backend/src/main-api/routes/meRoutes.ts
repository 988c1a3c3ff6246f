/** The caller's own account: profile, password, sessions, personal API keys. */
import { z } from 'zod';
import type { ApiKeys } from '../../services/apiKeys.js';
import { sessionIdOf, type Sessions } from '../../services/sessions.js';
import type { Users } from '../../services/users.js';
import type { ApiKey } from '../../stores/apiKeysStore.js';
import { defineRoute, type Route } from '../defineRoute.js';
import {
  displayName,
  idParams,
  knownPassword,
  newPassword,
  time,
  toUserBody,
  userShape,
} from './accountSchemas.js';

const tags = ['My account'];

const sessionShape = z
  .object({
    id: z.uuid(),
    isCurrent: z.boolean(),
    userAgent: z.string().nullable(),
    createdAt: time,
    lastSeenAt: time,
    authenticatedAt: time.meta({ description: 'When the password was last given.' }),
    expiresAt: time,
  })
  .meta({ id: 'LoginSession' });

const keyShape = z
  .object({
    id: z.uuid(),
    name: z.string(),
    hint: z.string().meta({ description: 'The first characters of the key.' }),
    createdAt: time,
    expiresAt: time.nullable(),
    lastUsedAt: time.nullable(),
  })
  .meta({ id: 'PersonalApiKey' });
const newKeyShape = keyShape.extend({
  key: z.string().meta({ description: 'Shown this once. Send it as Authorization: Bearer.' }),
});

export interface MeRoutesParts {
  readonly users: Users;
  readonly sessions: Sessions;
  readonly apiKeys: ApiKeys;
  /** Milliseconds since the epoch. */
  readonly now: () => number;
}

export function createMeRoutes({ users, sessions, apiKeys, now }: MeRoutesParts): Route[] {
  return [
    defineRoute({
      method: 'get',
      path: '/api/v1/users/me',
      operationId: 'get_my_account',
      summary: 'Show your account',
      tags,
      auth: 'user',
      responses: { 200: { description: 'Your account.', schema: userShape } },
      async handle({ actor }) {
        return { status: 200, body: toUserBody(await users.getOwn(actor)) };
      },
    }),
    defineRoute({
      method: 'patch',
      path: '/api/v1/users/me',
      operationId: 'change_my_account',
      summary: 'Change your name',
      tags,
      auth: 'user',
      limit: 'write',
      audit: { action: 'user.profile_updated', target: 'user' },
      request: { body: z.strictObject({ displayName }) },
      responses: { 200: { description: 'Your account as it is now.', schema: userShape } },
      problems: ['VERSION_CONFLICT'],
      async handle({ actor, body }) {
        return { status: 200, body: toUserBody(await users.changeOwn(actor, body)) };
      },
    }),
    defineRoute({
      method: 'post',
      path: '/api/v1/users/me/password',
      operationId: 'change_my_password',
      summary: 'Change your password and end all your sessions',
      tags,
      auth: 'user',
      personalKeys: false,
      audit: { action: 'user.password_changed', target: 'user' },
      request: { body: z.strictObject({ currentPassword: knownPassword, newPassword }) },
      responses: { 204: { description: 'It is changed; sign in again.' } },
      problems: ['RATE_LIMIT_EXCEEDED'],
      async handle({ actor, body }) {
        await users.changePassword(actor, body);
        return { status: 204 };
      },
    }),
    defineRoute({
      method: 'get',
      path: '/api/v1/users/me/sessions',
      operationId: 'list_my_sessions',
      summary: 'List your live sessions',
      tags,
      auth: 'user',
      personalKeys: false,
      responses: {
        200: { description: 'Newest first.', schema: z.object({ sessions: z.array(sessionShape) }) },
      },
      async handle({ actor }) {
        const current = sessionIdOf(actor);
        const live = await sessions.list(actor);
        return {
          status: 200,
          body: {
            sessions: live.map((session) => ({
              id: session.id,
              isCurrent: session.id === current,
              userAgent: session.userAgent,
              createdAt: session.createdAt.toISOString(),
              lastSeenAt: session.lastSeenAt.toISOString(),
              authenticatedAt: session.authenticatedAt.toISOString(),
              expiresAt: session.expiresAt.toISOString(),
            })),
          },
        };
      },
    }),
    defineRoute({
      method: 'delete',
      path: '/api/v1/users/me/sessions/:id',
      operationId: 'end_my_session',
      summary: 'End one of your sessions',
      tags,
      auth: 'user',
      personalKeys: false,
      audit: { action: 'session.revoked', target: 'session' },
      request: { params: idParams },
      responses: { 204: { description: 'It has ended.' } },
      problems: ['NOT_FOUND'],
      async handle({ actor, params }) {
        await sessions.revoke(actor, params.id);
        return { status: 204 };
      },
    }),
    defineRoute({
      method: 'post',
      path: '/api/v1/users/me/keys',
      operationId: 'create_my_api_key',
      summary: 'Create a personal API key',
      description:
        'The key acts with your rights, except where a sign-in is asked for. It is shown this once.',
      tags,
      auth: 'user',
      personalKeys: false,
      limit: 'write',
      audit: { action: 'api_key.created', target: 'api_key' },
      request: {
        body: z.strictObject({
          name: z.string().trim().min(1).max(100),
          expiresAt: z.iso
            .datetime({ offset: true })
            .refine((text) => Date.parse(text) > now(), 'must be a time in the future')
            .nullish()
            .meta({ description: 'None: until it is deleted.' }),
        }),
      },
      responses: { 201: { description: 'The key.', schema: newKeyShape } },
      problems: ['CONFLICT'],
      async handle({ actor, body }) {
        const expiresAt = body.expiresAt == null ? null : new Date(body.expiresAt);
        const created = await apiKeys.create(actor, { name: body.name, expiresAt });
        return { status: 201, body: { ...toKeyBody(created), key: created.key } };
      },
    }),
    defineRoute({
      method: 'get',
      path: '/api/v1/users/me/keys',
      operationId: 'list_my_api_keys',
      summary: 'List your personal API keys',
      tags,
      auth: 'user',
      responses: {
        200: {
          description: 'Newest first, without the keys themselves.',
          schema: z.object({ keys: z.array(keyShape) }),
        },
      },
      async handle({ actor }) {
        return { status: 200, body: { keys: (await apiKeys.list(actor)).map(toKeyBody) } };
      },
    }),
    defineRoute({
      method: 'delete',
      path: '/api/v1/users/me/keys/:id',
      operationId: 'delete_my_api_key',
      summary: 'Delete a personal API key',
      tags,
      auth: 'user',
      limit: 'write',
      audit: { action: 'api_key.revoked', target: 'api_key' },
      request: { params: idParams },
      responses: { 204: { description: 'It opens nothing any more.' } },
      problems: ['NOT_FOUND'],
      async handle({ actor, params }) {
        await apiKeys.revoke(actor, params.id);
        return { status: 204 };
      },
    }),
  ];
}

function toKeyBody(key: ApiKey): z.input<typeof keyShape> {
  return {
    id: key.id,
    name: key.name,
    hint: key.hint,
    createdAt: key.createdAt.toISOString(),
    expiresAt: key.expiresAt?.toISOString() ?? null,
    lastUsedAt: key.lastUsedAt?.toISOString() ?? null,
  };
}
