/**
 * Signing in with a service itself (row I10). The user's browser goes from `start` to the service and comes back to
 * `callback`, where no bearer token is: a cookie of the browser says that it is the one that began. What came of it is
 * read by its owner; nothing but the sign-in's id goes into an address.
 */
import { z } from 'zod';
import { signInMinutesMax } from '../../services/oauth/beginSignIn.js';
import type { SignIns } from '../../services/oauth/signIns.js';
import { defineRoute, type Route } from '../defineRoute.js';
import { label, noStore, serviceParams } from './instanceSchemas.js';
import { toName } from './instancesRoutes.js';

const tags = ['Credentials'];

const answerText = z.string().max(8_192).optional();

const signIn = z.object({
  id: z.uuid(),
  serviceType: z.string(),
  title: z.string(),
  label: z.string(),
  status: z.enum(['open', 'connected', 'failed']),
  code: z.string().nullable(),
  message: z.string().nullable().describe('What came of it, in plain words.'),
});

export function createOAuthRoutes({
  signIns,
  config,
}: {
  readonly signIns: SignIns;
  readonly config: { readonly publicUrl: URL };
}): Route[] {
  const cookies = createSignInCookies(config.publicUrl);
  return [
    defineRoute({
      method: 'post',
      path: '/api/v1/services/:serviceType/oauth/start',
      operationId: 'begin_service_sign_in',
      summary: 'Begin to sign in with a service',
      description:
        'Answers with the address of the service at which the user signs in. The same browser has to come back within ' +
        `${signInMinutesMax} minutes; a cookie of this answer says that it is the same.`,
      tags,
      auth: 'user',
      personalKeys: false,
      limit: 'authenticate',
      problems: [
        'SERVICE_UNKNOWN',
        'SERVICE_UNAVAILABLE',
        'UPSTREAM_UNREACHABLE',
        'UPSTREAM_TIMEOUT',
        'UPSTREAM_FAILED',
        'EGRESS_DENIED',
        'SEALED',
      ],
      audit: { action: 'credential.sign_in_begun', target: 'service' },
      request: {
        params: serviceParams,
        body: z
          .strictObject({
            label: label.optional(),
            method: z
              .string()
              .max(64)
              .optional()
              .describe('Id of a method of type oauth2 or mcp-oauth, when it is not the usual one.'),
          })
          .optional(),
      },
      responses: {
        200: {
          description: 'Where to send the browser.',
          schema: z.object({
            id: z.uuid().describe('Names the sign-in, to ask what came of it.'),
            authorizationUrl: z.url(),
            expiresAt: z.iso.datetime(),
          }),
        },
      },
      async handle({ actor, params, body }) {
        const begun = await signIns.begin(actor, toName(params, {}, body), body?.method);
        const { id, authorizationUrl, expiresAt, browserSecret } = begun;
        return {
          status: 200,
          headers: { ...noStore, 'set-cookie': cookies.give(id, browserSecret) },
          body: { id, authorizationUrl, expiresAt: expiresAt.toISOString() },
        };
      },
    }),
    defineRoute({
      method: 'get',
      path: '/api/v1/oauth/callback',
      operationId: 'finish_service_sign_in',
      summary: 'Come back from signing in with a service',
      description: 'For browsers that a service sends back (RFC 6749 §4.1.2); they go on to the console.',
      tags,
      auth: 'none',
      limit: 'authenticate',
      problems: ['DATABASE_UNAVAILABLE'],
      request: {
        query: z.object({ state: answerText, code: answerText, error: answerText, iss: answerText }),
      },
      responses: { 303: { description: 'To the page of the console that says what came of it.' } },
      async handle({ query, cookies: given, requestId, clientAddress, userAgent }) {
        const origin = { requestId, clientAddress, userAgent };
        const { id } = await signIns.finish(query, (of) => given.get(cookies.nameOf(of)), origin);
        return {
          status: 303,
          headers: {
            location: `${cookies.base}/#/sign-in/${id ?? 'unknown'}`,
            ...(id === null ? {} : { 'set-cookie': cookies.take(id) }),
          },
        };
      },
    }),
    defineRoute({
      method: 'get',
      path: '/api/v1/oauth/sign-ins/:id',
      operationId: 'get_service_sign_in',
      summary: 'Show what came of a sign-in with a service',
      tags,
      auth: 'user',
      problems: ['NOT_FOUND'],
      request: { params: z.object({ id: z.uuid() }) },
      responses: { 200: { description: 'The sign-in; it is kept for a day.', schema: signIn } },
      async handle({ actor, params }) {
        return { status: 200, body: { ...(await signIns.show(actor, params.id)) } };
      },
    }),
  ];
}

/**
 * One cookie for each sign-in. It comes with a navigation from another site (`Lax`), never to a script, and on https to
 * this host alone (`__Host-`); plain http knows no such promise (12.24).
 */
function createSignInCookies(publicUrl: URL) {
  const isHttps = publicUrl.protocol === 'https:';
  const base = publicUrl.origin + publicUrl.pathname.replace(/\/$/, '');
  const path = isHttps ? '/' : `${publicUrl.pathname.replace(/\/$/, '')}/api/v1/oauth/callback`;
  const nameOf = (id: string): string => `${isHttps ? '__Host-' : ''}portolan-sign-in-${id.slice(0, 8)}`;
  const attributes = `Path=${path}; HttpOnly; SameSite=Lax${isHttps ? '; Secure' : ''}`;
  return {
    base,
    nameOf,
    give: (id: string, value: string) =>
      `${nameOf(id)}=${value}; Max-Age=${signInMinutesMax * 60}; ${attributes}`,
    take: (id: string) => `${nameOf(id)}=; Max-Age=0; ${attributes}`,
  };
}
