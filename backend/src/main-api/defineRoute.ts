/**
 * One declaration from which both the express handler and the OpenAPI operation are made, so that document and
 * behaviour cannot drift (row C11). A route is: auth, parse, one call, answer.
 *
 * What a request may hold is what its schemas name; what an answer holds is what its schema names, and no more: the
 * body passes through the schema on its way out.
 */
import type { z } from 'zod';
import type { ErrorCode } from '../errors/errorCodes.js';
import type { LimitName } from '../services/rateLimits.js';
import type { Actor } from '../services/changeAudit.js';

/** `auditor` lets admins in too; `admin` and `user` mean what they say (`user` is anybody signed in). */
export type RouteAuth = 'none' | 'user' | 'admin' | 'auditor';
export type RouteMethod = 'get' | 'post' | 'put' | 'patch' | 'delete';

export interface RouteResponse {
  readonly description: string;
  /** None: the answer has no body. */
  readonly schema?: z.ZodType;
  /** JSON unless said otherwise; other types take a string. */
  readonly contentType?: string;
  /** The body is text that is made while it is sent; a fault in the midst of it cuts the connection. */
  readonly isStream?: true;
}

type Responses = Readonly<Record<number, RouteResponse>>;
type Parsed<S> = S extends z.ZodType ? z.output<S> : undefined;

/** A status that the route declares, with the body that it declares for that status. */
export type RouteAnswer<R extends Responses> = {
  [S in keyof R & number]: R[S] extends { readonly isStream: true }
    ? { readonly status: S; readonly body: AsyncIterable<string>; readonly headers?: AnswerHeaders }
    : R[S] extends { readonly schema: infer Schema extends z.ZodType }
      ? { readonly status: S; readonly body: z.input<Schema>; readonly headers?: AnswerHeaders }
      : { readonly status: S; readonly body?: undefined; readonly headers?: AnswerHeaders };
}[keyof R & number];

type AnswerHeaders = Readonly<Record<string, string>>;

export interface RouteRequest<P, Q, B, A extends RouteAuth> extends ServedRequest {
  readonly params: Parsed<P>;
  readonly query: Parsed<Q>;
  readonly body: Parsed<B>;
  readonly actor: A extends 'none' ? null : Actor;
}

/** A request as mounting has parsed it by the route's schemas, whose types are known to the handler only. */
export interface ServedRequest {
  readonly params: unknown;
  readonly query: unknown;
  readonly body: unknown;
  readonly actor: Actor | null;
  readonly requestId: string;
  readonly clientAddress: string | null;
  readonly userAgent: string | null;
  /** By name; none of them signs anybody in. */
  readonly cookies: ReadonlyMap<string, string>;
  /** Aborted when the client goes away. */
  readonly signal: AbortSignal;
}

/** What a change is called in the audit; the target's id is the path's `id` or `serviceType` when it failed. */
export interface RouteAudit {
  /** Such as `user.created`. */
  readonly action: string;
  /** Such as `user`. */
  readonly target: string;
}

interface RouteDescription<A extends RouteAuth> {
  readonly method: RouteMethod;
  /** As express writes it: `/api/v1/users/:id`. */
  readonly path: `/${string}`;
  /** Snake case; it serves as the name of an MCP tool as well. */
  readonly operationId: string;
  readonly summary: string;
  readonly description?: string;
  readonly tags: readonly string[];
  readonly auth: A;
  /** False: only a session will do, a personal API key gets 403. */
  readonly personalKeys?: boolean;
  /** Counted per user, or per address where nobody is signed in. */
  readonly limit?: LimitName;
  /** Codes that the route may answer with beside those that follow from its auth and request. */
  readonly problems?: readonly ErrorCode[];
  /**
   * Every route that changes something names it. On success the service writes the row in the change's transaction; on
   * failure the row is written when the route answers, unless the error is marked as audited.
   */
  readonly audit?: RouteAudit;
}

export interface RouteSpec<P, Q, B, A extends RouteAuth, R extends Responses> extends RouteDescription<A> {
  readonly request?: { readonly params?: P; readonly query?: Q; readonly body?: B };
  readonly responses: R;
  readonly handle: (request: RouteRequest<P, Q, B, A>) => Promise<RouteAnswer<NoInfer<R>>>;
}

export interface ServedAnswer {
  readonly status: number;
  readonly body?: unknown;
  readonly headers?: Readonly<Record<string, string>>;
}

/** A declared route as mounting and the OpenAPI document see it. */
export interface Route extends RouteDescription<RouteAuth> {
  readonly request: {
    readonly params?: z.ZodType | undefined;
    readonly query?: z.ZodType | undefined;
    readonly body?: z.ZodType | undefined;
  };
  readonly responses: Responses;
  readonly handle: (request: ServedRequest) => Promise<ServedAnswer>;
}

export function defineRoute<
  const A extends RouteAuth,
  const R extends Responses,
  P extends z.ZodType | undefined = undefined,
  Q extends z.ZodType | undefined = undefined,
  B extends z.ZodType | undefined = undefined,
>(spec: RouteSpec<P, Q, B, A, R>): Route {
  const { request = {}, ...rest } = spec;
  // Mounting parses with these very schemas before it calls, so what the handler gets is what it declared.
  return { ...rest, request, handle: rest.handle as unknown as Route['handle'] };
}
