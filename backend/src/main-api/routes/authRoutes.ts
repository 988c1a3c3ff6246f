/** Signing in and out, first set-up, registering with an invite. */
import { z } from 'zod';
import type { FirstAdmin } from '../../services/firstAdmin.js';
import type { Invites } from '../../services/invites.js';
import type { Sessions } from '../../services/sessions.js';
import { defineRoute, type Route } from '../defineRoute.js';
import { displayName, email, knownPassword, newPassword, role } from './accountSchemas.js';

const tags = ['Sign-in'];

const sessionTokens = z
  .object({
    accessToken: z.string().meta({ description: 'Send it as Authorization: Bearer.' }),
    refreshToken: z.string().meta({ description: 'Good for one refresh, which gives the next one.' }),
    expiresIn: z.int().meta({ description: 'Seconds until the access token ends.' }),
  })
  .meta({ id: 'SessionTokens' });

export interface AuthRoutesParts {
  readonly sessions: Sessions;
  readonly firstAdmin: FirstAdmin;
  readonly invites: Invites;
}

export function createAuthRoutes({ sessions, firstAdmin, invites }: AuthRoutesParts): Route[] {
  return [
    defineRoute({
      method: 'get',
      path: '/api/v1/auth/setup',
      operationId: 'get_setup_state',
      summary: 'Tell whether set-up is still open',
      tags,
      auth: 'none',
      responses: {
        200: { description: 'Whether there is no admin yet.', schema: z.object({ isOpen: z.boolean() }) },
      },
      problems: ['DATABASE_UNAVAILABLE'],
      async handle() {
        return { status: 200, body: { isOpen: await firstAdmin.isOpen() } };
      },
    }),
    defineRoute({
      method: 'post',
      path: '/api/v1/auth/setup',
      operationId: 'set_up_first_admin',
      summary: 'Make the first admin with the set-up code',
      tags,
      auth: 'none',
      limit: 'setup',
      audit: { action: 'setup.first_admin', target: 'user' },
      request: {
        body: z.strictObject({ setupCode: z.string().min(1).max(200), email, password: newPassword }),
      },
      responses: { 201: { description: 'The first admin is made.', schema: z.object({ id: z.uuid() }) } },
      problems: ['SETUP_CLOSED', 'SETUP_CODE_INVALID'],
      async handle({ body, requestId, clientAddress, userAgent }) {
        return { status: 201, body: await firstAdmin.create(body, { requestId, clientAddress, userAgent }) };
      },
    }),
    defineRoute({
      method: 'post',
      path: '/api/v1/auth/register',
      operationId: 'register_with_invite',
      summary: 'Make an account with an invite code',
      tags,
      auth: 'none',
      limit: 'invite',
      audit: { action: 'invite.accepted', target: 'user' },
      request: {
        body: z.strictObject({
          inviteCode: z.string().min(1).max(200),
          email,
          password: newPassword,
          displayName: displayName.optional(),
        }),
      },
      responses: { 201: { description: 'The account is made.', schema: z.object({ id: z.uuid(), role }) } },
      problems: ['INVITE_INVALID'],
      async handle({ body, requestId, clientAddress, userAgent }) {
        return { status: 201, body: await invites.accept(body, { requestId, clientAddress, userAgent }) };
      },
    }),
    defineRoute({
      method: 'post',
      path: '/api/v1/auth/login',
      operationId: 'log_in',
      summary: 'Sign in',
      tags,
      auth: 'none',
      audit: { action: 'auth.login', target: 'session' },
      request: { body: z.strictObject({ email, password: knownPassword }) },
      responses: { 200: { description: 'A new session.', schema: sessionTokens } },
      problems: ['UNAUTHENTICATED', 'RATE_LIMIT_EXCEEDED'],
      async handle({ body, requestId, clientAddress, userAgent }) {
        return { status: 200, body: await sessions.login(body, { requestId, clientAddress, userAgent }) };
      },
    }),
    defineRoute({
      method: 'post',
      path: '/api/v1/auth/refresh',
      operationId: 'refresh_session',
      summary: 'Get a new access token',
      description:
        'Uses the refresh token up and gives the next. One that is used twice ends the whole session.',
      tags,
      auth: 'none',
      limit: 'refresh',
      audit: { action: 'auth.refresh', target: 'session' },
      request: { body: z.strictObject({ refreshToken: z.string().min(1).max(200) }) },
      responses: { 200: { description: 'The session goes on.', schema: sessionTokens } },
      problems: ['UNAUTHENTICATED'],
      async handle({ body, requestId, clientAddress, userAgent }) {
        const origin = { requestId, clientAddress, userAgent };
        return { status: 200, body: await sessions.refresh(body.refreshToken, origin) };
      },
    }),
    defineRoute({
      method: 'post',
      path: '/api/v1/auth/logout',
      operationId: 'log_out',
      summary: 'End this session',
      tags,
      auth: 'user',
      personalKeys: false,
      audit: { action: 'auth.logout', target: 'session' },
      responses: { 204: { description: 'The session has ended.' } },
      async handle({ actor }) {
        await sessions.logout(actor);
        return { status: 204 };
      },
    }),
    defineRoute({
      method: 'post',
      path: '/api/v1/auth/reauthenticate',
      operationId: 'confirm_my_password',
      summary: 'Give the password again, for what asks for a recent sign-in',
      tags,
      auth: 'user',
      personalKeys: false,
      audit: { action: 'auth.reauthenticated', target: 'session' },
      request: { body: z.strictObject({ password: knownPassword }) },
      responses: { 204: { description: 'For 15 minutes this session counts as recently signed in.' } },
      problems: ['RATE_LIMIT_EXCEEDED'],
      async handle({ actor, body }) {
        await sessions.reauthenticate(actor, body.password);
        return { status: 204 };
      },
    }),
  ];
}
