/**
 * Makes an express handler of each declared route: limit, auth, parse, call, answer, in that order. A mutation that
 * fails is audited here, once; one that succeeds was audited by its service in the transaction of the change.
 */
import { Readable } from 'node:stream';
import { pipeline } from 'node:stream/promises';
import express, { type Express, type Request, type Response } from 'express';
import type { z } from 'zod';
import { AppError, toAppError } from '../errors/appError.js';
import type { Authenticate } from '../middleware/authenticate.js';
import type { FailedMutation } from '../middleware/auditFailures.js';
import { contextOf } from '../middleware/requestContext.js';
import { requireRole, requireSession } from '../middleware/requireRole.js';
import { toInvalidFields } from '../middleware/invalidFields.js';
import { isAudited } from '../services/auditedError.js';
import type { Actor } from '../services/changeAudit.js';
import type { RateLimits } from '../services/rateLimits.js';
import type { Route, RouteResponse, ServedAnswer } from './defineRoute.js';

export interface MountParts {
  readonly authenticate: Authenticate;
  readonly rateLimits: Pick<RateLimits, 'consume'>;
  /** Hears of every sign-in, set-up code or invite that was not accepted. */
  readonly onSignInRefused: () => void;
  /** Writes the audit row of a mutation that failed; never throws. */
  readonly recordFailure: (failed: FailedMutation) => Promise<void>;
}

export function mountRoutes(app: Express, routes: readonly Route[], parts: MountParts): void {
  const router = express.Router({ caseSensitive: true, strict: true });
  for (const route of routes) {
    router[route.method](route.path, (request, response) => serve(route, parts, request, response));
  }
  for (const path of new Set(routes.map((route) => route.path))) {
    const allowed = routes.filter((route) => route.path === path).map(({ method }) => method.toUpperCase());
    router.all(path, (request, response, next) => {
      contextOf(request).route = path;
      response.setHeader('allow', [...allowed, ...(allowed.includes('GET') ? ['HEAD'] : [])].join(', '));
      if (request.method === 'OPTIONS') return void response.status(204).end();
      next(new AppError('METHOD_NOT_ALLOWED', 'the path exists for other methods'));
    });
  }
  app.use(router);
}

const signInRefusals: ReadonlySet<string> = new Set([
  'UNAUTHENTICATED',
  'SETUP_CODE_INVALID',
  'INVITE_INVALID',
]);

async function serve(route: Route, parts: MountParts, request: Request, response: Response): Promise<void> {
  const context = contextOf(request);
  context.route = route.path;
  let actor: Actor | null = null;
  try {
    actor = route.auth === 'none' ? null : await parts.authenticate(request);
    if (actor !== null && route.auth !== 'none') requireRole(actor, route.auth);
    if (actor !== null && route.personalKeys === false) requireSession(actor);
    if (route.limit !== undefined) {
      await parts.rateLimits.consume(route.limit, actor?.userId ?? context.clientAddress ?? 'unknown');
    }
    const { requestId, clientAddress, userAgent } = context;
    const answer = await route.handle({
      ...parseRequest(route, request),
      actor,
      requestId,
      clientAddress,
      userAgent,
      cookies: readCookies(request.headers.cookie),
      signal: abortedWith(response),
    });
    await send(route, response, answer);
  } catch (thrown) {
    if (route.auth === 'none' && signInRefusals.has(toAppError(thrown).code)) parts.onSignInRefused();
    // Without a sign-in nothing was attempted: that is counted and logged, and no change to tell of.
    const isAttempt = actor !== null || route.auth === 'none';
    if (route.audit !== undefined && isAttempt && !isAudited(thrown)) {
      const { requestId, clientAddress, userAgent } = context;
      await parts.recordFailure({
        audit: route.audit,
        actor,
        error: toAppError(thrown),
        targetId: targetOf(request),
        requestId,
        clientAddress,
        userAgent,
      });
    }
    throw thrown;
  }
}

function parseRequest(
  { request: schemas }: Route,
  request: Request,
): { readonly params: unknown; readonly query: unknown; readonly body: unknown } {
  const wrong: z.core.$ZodIssue[] = [];
  const parse = (schema: z.ZodType | undefined, value: unknown, place: string): unknown => {
    if (schema === undefined) return undefined;
    const parsed = schema.safeParse(value);
    if (parsed.success) return parsed.data;
    wrong.push(
      ...parsed.error.issues.map((issue) => ({
        ...issue,
        path: [...(place === '' ? [] : [place]), ...issue.path],
      })),
    );
    return undefined;
  };
  const params = parse(schemas.params, request.params, 'path');
  const query = parse(schemas.query, request.query, 'query');
  const body = parse(schemas.body, request.body ?? {}, '');
  if (wrong.length > 0) {
    throw new AppError('INVALID_REQUEST', `${wrong.length} wrong members in the request`, {
      publicDetail: 'See `errors` for what to change.',
      fields: toInvalidFields(wrong),
    });
  }
  return { params, query, body };
}

async function send(route: Route, response: Response, answer: ServedAnswer): Promise<void> {
  const declared: RouteResponse | undefined = route.responses[answer.status];
  if (declared === undefined)
    throw new Error(`${route.operationId} answers ${answer.status}, which it does not declare`);
  response.setHeader('cache-control', 'no-store');
  for (const [name, value] of Object.entries(answer.headers ?? {})) response.setHeader(name, value);
  response.status(answer.status);
  if (declared.schema === undefined) return void response.end();
  if (declared.isStream === true) {
    // From here on the stream has control; what breaks it destroys the response, and there is nobody left to tell.
    return await pipeline(Readable.from(answer.body as AsyncIterable<string>), response).catch(
      () => undefined,
    );
  }
  // What the schema does not name does not leave.
  const body = declared.schema.parse(answer.body);
  const { contentType = 'application/json' } = declared;
  response.setHeader('content-type', contentType);
  response.end(typeof body === 'string' && contentType !== 'application/json' ? body : JSON.stringify(body));
}

/** RFC 6265 §5.4; values of ours are never quoted, and of two with one name the first counts. */
function readCookies(header: string | undefined): ReadonlyMap<string, string> {
  const cookies = new Map<string, string>();
  for (const pair of header?.split(';') ?? []) {
    const at = pair.indexOf('=');
    const name = pair.slice(0, Math.max(at, 0)).trim();
    if (name !== '' && !cookies.has(name)) cookies.set(name, pair.slice(at + 1).trim());
  }
  return cookies;
}

function abortedWith(response: Response): AbortSignal {
  const abort = new AbortController();
  response.once('close', () => {
    if (!response.writableFinished) abort.abort();
  });
  return abort.signal;
}

const targetForm = /^[A-Za-z0-9_.-]{1,64}$/;

/** The path's own name for the target, for the audit of a failure; nothing else that the request says. */
function targetOf({ params }: Request): string | null {
  const given = params['id'] ?? params['serviceType'];
  return typeof given === 'string' && targetForm.test(given) ? given : null;
}
