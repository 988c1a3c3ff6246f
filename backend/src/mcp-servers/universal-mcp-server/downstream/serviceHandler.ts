/**
 * Every request of a service's port: guard, path, instance, then the endpoint. What is told about an instance that is not
 * there is told here, in one form (07, "404u").
 */
import type { IncomingMessage, RequestListener, ServerResponse } from 'node:http';
import { AppError, toAppError } from '../../../errors/appError.js';
import type { HostGuard } from '../../../lifecycle/hostGuard.js';
import type { InstanceResolver, SealedInstance } from '../../../services/instanceResolver.js';
import type { BridgeContext, RequestOrigin } from '../bridge/bridgeContext.js';
import { toFailureReply } from '../bridge/failureReply.js';
import { sendJson } from './httpReply.js';
import { isRefusal, setChallenge, type AccessGate } from './accessGate.js';
import { parseServicePath, type ServicePath } from './instancePath.js';
import type { AnswerMcp } from './mcpEndpoint.js';
import { answerNotFound } from './notFound.js';
import { sendProblem, type AnswerOperation } from './operations.js';
import type { AnswerInternal } from './probeEndpoint.js';
import type { RequestTurns } from './requestTurns.js';
import type { AnswerRest } from './restRoute.js';
import type { AnswerSse } from './sseTransport.js';
import type { StrangerLimits } from './strangerLimits.js';

export interface ServiceHandlerOptions {
  readonly ctx: BridgeContext;
  readonly resolver: Pick<InstanceResolver, 'resolve'>;
  readonly guard: HostGuard;
  readonly strangers: StrangerLimits;
  readonly gate: AccessGate;
  readonly turns: RequestTurns;
  readonly clientAddress: (request: IncomingMessage) => string | null;
  /** Origins whose pages may read the answers. */
  readonly allowedOrigins: readonly string[];
  readonly answerOperation: AnswerOperation;
  readonly answerInternal: AnswerInternal;
  readonly answerMcp: AnswerMcp;
  /** The transport of revision 2024-11-05. */
  readonly answerSse: { readonly sse: AnswerSse; readonly message: AnswerSse };
  /** Null for kinds without REST calls. */
  readonly answerRest: AnswerRest | null;
}

type InstancePath = Extract<ServicePath, { kind: 'instance' }>;

export function createServiceHandler(options: ServiceHandlerOptions): RequestListener {
  const { ctx, resolver, guard, strangers, gate, answerRest } = options;
  const { name: service } = ctx.definition;

  const handle = async (request: IncomingMessage, response: ServerResponse): Promise<void> => {
    const refusal = guard(request.headers);
    if (refusal !== null) return sendFailure(response, refusal, ctx.log);
    const path = parseServicePath(request.url ?? '/');
    switch (path.kind) {
      case 'operation':
        return await options.answerOperation(path.name, request, response);
      case 'internal':
        return await options.answerInternal(path.rest, request, response);
      case 'unknown':
        return answerNotFound(response);
      case 'instance':
        return await handleInstance(path, request, response);
    }
  };

  const handleInstance = async (
    path: InstancePath,
    request: IncomingMessage,
    response: ServerResponse,
  ): Promise<void> => {
    allowOrigin(request, response, options.allowedOrigins);
    if (request.method === 'OPTIONS') return answerPreflight(response);
    const address = options.clientAddress(request) ?? undefined;
    const arrivedAt = performance.now();
    let origin: RequestOrigin = { requestId: ctx.newId(), clientAddress: address, via: null, arrivedAt };
    const isRest = answerRest !== null && isRestPath(path);
    const attempt = strangers.mayTry(address ?? '', path.instanceId);
    if (attempt === 'refused') {
      ctx.metrics.rateLimited('unknown-instance').inc();
      const tooMany = new AppError('RATE_LIMIT_EXCEEDED', 'too many unknown instance ids from one address', {
        retryAfterSeconds: 5,
      });
      return isRest ? sendProblem(response, tooMany) : sendFailure(response, tooMany, ctx.log);
    }
    const found = path.service === service ? await find(path, address, response, isRest) : nothing;
    if (found === null) return strangers.noteUnanswered(address ?? '', attempt);
    const { instance } = found;
    if (instance === null || !found.isInside || !(isRest || isTransportPath(path))) {
      if (instance === null || !found.isInside) {
        strangers.noteUnknown(address ?? '', attempt);
        refuse(origin, instance, isRest, new AppError('INVALID_INSTANCE', 'no such instance'));
      } else strangers.noteUnanswered(address ?? '', attempt);
      return isRest
        ? sendProblem(response, new AppError('INVALID_INSTANCE', 'no such instance'))
        : answerNotFound(response);
    }
    strangers.noteKnown(address ?? '', path.instanceId, attempt);
    if (!gate.isOpen(instance)) {
      try {
        const { via } = await gate.admit(instance, address, request, response);
        origin = { ...origin, via };
      } catch (error) {
        return turnAway(origin, instance, isRest, toAppError(error), response);
      }
    }
    const turn = takeTurn(instance, arrivedAt, response, isRest);
    if (turn === 'refused') return;
    if (turn !== null) {
      await turn;
      if (response.destroyed) return;
    }
    const [transport] = path.tail;
    if (transport === 'sse' || transport === 'message') {
      const from = { instance, origin, path: `/${path.instanceId}/${service}`, query: path.query };
      return await options.answerSse[transport](from, request, response);
    }
    if (!isRest) return await options.answerMcp({ instance, origin }, request, response);
    if (request.method !== 'GET') {
      response.setHeader('allow', 'GET');
      return sendProblem(
        response,
        new AppError('METHOD_NOT_ALLOWED', 'a REST call by another method than GET'),
      );
    }
    return await answerRest({ instance, origin, segments: path.tail, query: path.query }, response);
  };

  /** What is there; null when it cannot be told and the caller was answered. */
  const find = async (
    { instanceId }: InstancePath,
    address: string | undefined,
    response: ServerResponse,
    isRest: boolean,
  ): Promise<Found | null> => {
    const resolution = await resolver.resolve(instanceId, service, address);
    switch (resolution.kind) {
      case 'found':
        return { instance: resolution.instance, isInside: true };
      case 'outside':
        return { instance: resolution.instance, isInside: false };
      case 'unknown':
        return nothing;
      case 'unavailable':
        if (isRest) sendProblem(response, resolution.error);
        else sendFailure(response, resolution.error, ctx.log);
        return null;
    }
  };

  /** The user's turn; `refused` when there is none to wait for and the caller was told. */
  const takeTurn = (
    { userId }: SealedInstance,
    arrivedAt: number,
    response: ServerResponse,
    isRest: boolean,
  ): Promise<void> | null | 'refused' => {
    try {
      return options.turns.take(userId, arrivedAt);
    } catch (error) {
      ctx.metrics.rateLimited('waiting').inc();
      if (isRest) sendProblem(response, toAppError(error));
      else sendFailure(response, error, ctx.log);
      return 'refused';
    }
  };

  /** Answers somebody who knows the URL and may not use it all the same. */
  const turnAway = (
    origin: RequestOrigin,
    instance: SealedInstance,
    isRest: boolean,
    refusal: AppError,
    response: ServerResponse,
  ): void => {
    if (isRefusal(refusal)) refuse(origin, instance, isRest, refusal);
    if (refusal.code === 'RATE_LIMIT_EXCEEDED') ctx.metrics.rateLimited('bearer-token').inc();
    setChallenge(response, refusal);
    if (isRest) sendProblem(response, refusal);
    else sendFailure(response, refusal, ctx.log);
  };

  const refuse = (
    { requestId, clientAddress: address }: RequestOrigin,
    instance: SealedInstance | null,
    isRest: boolean,
    { code, form }: AppError,
  ): void => {
    ctx.metrics.authFailures.inc();
    ctx.spool.refusal(
      {
        callId: ctx.newId(),
        instanceId: instance?.id ?? null,
        userId: instance?.userId ?? null,
        method: isRest ? 'rest' : 'unknown',
        requestId,
        ...(address === undefined ? {} : { clientAddress: address }),
      },
      { httpStatus: code === 'INVALID_INSTANCE' && !isRest ? 404 : form.status, errorCode: code },
    );
  };

  return (request, response) => {
    handle(request, response).catch((error: unknown) => {
      ctx.log.error('a request could not be answered', { error });
      if (response.headersSent) response.destroy();
      else sendFailure(response, error, ctx.log);
    });
  };
}

/** `isInside`: asked for from where it may be used. */
interface Found {
  readonly instance: SealedInstance | null;
  readonly isInside: boolean;
}

const nothing: Found = { instance: null, isInside: false };

function sendFailure(response: ServerResponse, error: unknown, log: BridgeContext['log']): void {
  const failure = toFailureReply(error, null, log);
  sendJson(response, failure.response, failure.form);
}

const transportSegments = new Set(['mcp', 'sse', 'message']);

function isRestPath({ tail }: InstancePath): boolean {
  return tail.length > 0 && !transportSegments.has(tail[0] ?? '');
}

/** The instance URL itself, or one of the transports' names behind it and nothing more. */
function isTransportPath({ tail }: InstancePath): boolean {
  return tail.length === 0 || (tail.length === 1 && transportSegments.has(tail[0] ?? ''));
}

/** Pages of listed origins may read answers; the guard has refused all others already. */
function allowOrigin(
  { headers }: IncomingMessage,
  response: ServerResponse,
  origins: readonly string[],
): void {
  const { origin } = headers;
  if (origin === undefined || !origins.includes(origin)) return;
  response.setHeader('access-control-allow-origin', origin);
  response.setHeader('access-control-expose-headers', 'Mcp-Session-Id, Retry-After, WWW-Authenticate');
  response.setHeader('vary', 'Origin');
}

function answerPreflight(response: ServerResponse): void {
  response.writeHead(204, {
    'access-control-allow-methods': 'GET, POST, DELETE',
    'access-control-allow-headers':
      'Accept, Authorization, Content-Type, Mcp-Session-Id, MCP-Protocol-Version, Mcp-Method, Mcp-Name, Last-Event-ID',
    'access-control-max-age': '600',
  });
  response.end();
}
