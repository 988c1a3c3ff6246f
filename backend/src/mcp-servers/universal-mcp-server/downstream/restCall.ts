/**
 * `GET /<instance id>/<service>/<tool>/<segment>…`: a read-only tool of an `api` service called like a plain REST
 * resource (row U09, 12.16). It is done in two steps, so that the call can be audited between them: `planRestCall` says
 * what would be called with what, `runRestCall` calls it.
 */
import { AppError } from '../../../errors/appError.js';
import { isJsonObject, type JsonObject } from '../protocol/jsonRpc.js';
import type { ApiUpstream } from '../upstream/api/apiUpstream.js';
import type { CallTerms } from '../upstream/api/toolCaller.js';
import { toSentence, type ToolContent, type ToolOutcome } from '../upstream/api/toolOutcome.js';
import type { ToolPlan } from '../upstream/api/toolPlan.js';

export interface RestCallPlan {
  /** The upstream's own name for the tool, as `tools/call` has it. */
  readonly tool: string;
  readonly given: JsonObject;
  readonly plan: ToolPlan;
}

export interface RestAnswer {
  /** The HTTP status that the service answered with, 2xx. */
  readonly status: number;
  readonly data: unknown;
  readonly userId: string;
}

/**
 * @param segments what follows the service's name in the path, still percent-encoded: the tool, then its required
 * arguments in order. The query names the rest; `-` equals `_` in the names of tools and arguments.
 * @param show the service's tool policy: a tool as clients see it (renamed), or null when it is hidden.
 * @throws AppError NOT_FOUND for no such tool, ACCESS_DENIED for one that changes things, INVALID_PARAMS, INVALID_REQUEST
 */
export async function planRestCall(
  { tools }: Pick<ApiUpstream, 'tools'>,
  segments: readonly string[],
  query: URLSearchParams,
  show: (listed: JsonObject) => JsonObject | null,
): Promise<RestCallPlan> {
  const [name = '', ...values] = segments.filter((segment) => segment !== '').map(decodeSegment);
  let plan = findTool(tools.plans, name, show);
  if (plan === null) {
    await tools.refresh();
    plan = findTool(tools.plans, name, show);
  }
  if (plan === null) {
    throw new AppError('NOT_FOUND', 'no such tool', { publicDetail: 'There is no such tool.' });
  }
  if (!plan.isReadOnly) {
    throw new AppError('ACCESS_DENIED', 'a tool that is not read-only was asked for by GET', {
      publicDetail: 'This tool changes things, so that it can only be called by MCP.',
    });
  }
  if (values.length > plan.required.length) {
    throw new AppError('INVALID_PARAMS', 'too many path segments', {
      publicDetail: `The tool takes ${plan.required.length} arguments from the path; name others in the query.`,
    });
  }
  const given: Record<string, unknown> = {};
  values.forEach((value, index) => {
    const argument = plan.required[index] ?? '';
    given[argument] = coerce([value], plan.properties[argument]);
  });
  for (const key of new Set(query.keys())) {
    const argument = Object.keys(plan.properties).find((one) => plain(one) === plain(key));
    if (argument === undefined || Object.hasOwn(given, argument)) {
      throw new AppError('INVALID_PARAMS', 'a query parameter is not known or is given twice', {
        publicDetail: 'A parameter of the query is not known to the tool, or stands in the path already.',
        fields: [{ pointer: `/${key.slice(0, 64)}`, message: 'is not known, or is given twice' }],
      });
    }
    given[argument] = coerce(query.getAll(key), plan.properties[argument]);
  }
  return { tool: plan.name, given, plan };
}

/**
 * @throws AppError EXPIRED_CREDENTIALS, ACCESS_DENIED, RATE_LIMIT_EXCEEDED, SERVICE_UNAVAILABLE (the service is down or
 * failed), INVALID_PARAMS, NOT_FOUND, UPSTREAM_FAILED, UPSTREAM_TIMEOUT, CREDENTIAL_MISSING; or the signal's reason.
 */
export async function runRestCall(
  { call, toContext }: Pick<ApiUpstream, 'call' | 'toContext'>,
  { plan, given, tool }: RestCallPlan,
  terms: CallTerms,
  signal: AbortSignal,
): Promise<RestAnswer> {
  const outcome = await call(plan, given, terms, signal).catch((error: unknown) => {
    if (!(error instanceof AppError) || error.code !== 'UPSTREAM_UNREACHABLE') throw error;
    throw new AppError('SERVICE_UNAVAILABLE', error.message, { ...error.options, cause: error });
  });
  if (outcome.kind !== 'answered') throw toRefusal(outcome, toContext(tool));
  return { status: outcome.status, data: toData(outcome.content), userId: terms.instance.userId };
}

function toRefusal(
  outcome: Exclude<ToolOutcome, { kind: 'answered' }>,
  context: ReturnType<ApiUpstream['toContext']>,
): AppError {
  const publicDetail = toSentence(outcome, context);
  switch (outcome.kind) {
    case 'invalidArguments':
      return new AppError('INVALID_PARAMS', 'the arguments do not fit the tool', {
        publicDetail: 'The arguments are not valid for this tool; nothing was sent.',
        fields: outcome.problems,
      });
    case 'credentialRefused':
      return new AppError('EXPIRED_CREDENTIALS', 'the service refused the credential', {
        publicDetail,
        extensions: { reconnectUrl: context.consoleUrl },
      });
    case 'denied':
      return new AppError('ACCESS_DENIED', 'the service denied the request', { publicDetail });
    case 'rateLimited':
      return new AppError('RATE_LIMIT_EXCEEDED', 'the service limits its rate', {
        publicDetail,
        ...(outcome.retryAfterSeconds === null ? {} : { retryAfterSeconds: outcome.retryAfterSeconds }),
      });
    case 'refused':
      return new AppError(
        codeOfRefusal(outcome.status),
        `the service answered with status ${outcome.status}`,
        {
          publicDetail,
        },
      );
  }
}

function codeOfRefusal(
  status: number,
): 'NOT_FOUND' | 'INVALID_PARAMS' | 'SERVICE_UNAVAILABLE' | 'UPSTREAM_FAILED' {
  if (status === 404 || status === 410) return 'NOT_FOUND';
  if (status === 400 || status === 422) return 'INVALID_PARAMS';
  return status >= 500 ? 'SERVICE_UNAVAILABLE' : 'UPSTREAM_FAILED';
}

function toData(content: ToolContent): unknown {
  switch (content.form) {
    case 'text':
      return content.text;
    case 'image':
      return { mimeType: content.mimeType, base64: content.base64 };
    case 'json':
      if (content.value !== undefined) return content.value;
      try {
        return JSON.parse(content.text);
      } catch (error) {
        throw new AppError('UPSTREAM_FAILED', 'an answer that called itself JSON is none', { cause: error });
      }
  }
}

function findTool(
  plans: readonly ToolPlan[],
  name: string,
  show: (listed: JsonObject) => JsonObject | null,
): ToolPlan | null {
  const shown = (plan: ToolPlan): unknown => show(plan.listed)?.name;
  return (
    plans.find((plan) => shown(plan) === name) ??
    plans.find((plan) => {
      const other = shown(plan);
      return typeof other === 'string' && plain(other) === plain(name);
    }) ??
    null
  );
}

const plain = (name: string): string => name.replaceAll('-', '_');

/** Text as the argument's schema wants it; what does not fit stays text, and the validator says so. */
function coerce(texts: readonly string[], schema: unknown): unknown {
  const types = typesOf(schema);
  const text = texts.at(-1) ?? '';
  if (types.includes('array')) {
    const items = texts.length > 1 ? texts : text.split(',').filter((item) => item !== '');
    const itemSchema = isJsonObject(schema) ? schema.items : undefined;
    return items.map((item) => coerce([item], itemSchema));
  }
  if ((types.includes('integer') || types.includes('number')) && /^-?(?:0|[1-9]\d*)(?:\.\d+)?$/.test(text)) {
    const number = Number(text);
    // Digits that a number cannot hold would come out as others.
    if (!types.includes('string') && (Number.isSafeInteger(number) || text.includes('.'))) return number;
  }
  if (types.includes('boolean') && (text === 'true' || text === 'false')) return text === 'true';
  if (types.includes('null') && text === 'null') return null;
  if (types.includes('object')) {
    try {
      return JSON.parse(text);
    } catch {
      return text;
    }
  }
  return text;
}

function typesOf(schema: unknown): readonly unknown[] {
  const type = isJsonObject(schema) ? schema.type : undefined;
  return Array.isArray(type) ? (type as readonly unknown[]) : [type];
}

function decodeSegment(segment: string): string {
  try {
    return decodeURIComponent(segment);
  } catch {
    throw new AppError('INVALID_REQUEST', 'a path segment is not percent-encoded UTF-8');
  }
}
