/**
 * A client of the legacy era (2024-11-05 … 2025-11-25) before an upstream of the modern era (2026-07-28): what its requests
 * become, and what comes back to it (spec 04, "Translation", C25→U26). Pure functions; nothing here waits or remembers.
 */
import { envelope } from '../../protocol/envelope.js';
import {
  isJsonObject,
  type JsonObject,
  type JsonRpcFailure,
  type JsonRpcNotification,
  type JsonRpcRequest,
} from '../../protocol/jsonRpc.js';
import { legacyRevisions, modernRevisions } from '../../protocol/revisions.js';
import type { ClientTerms, ServerTerms } from '../../upstream/upstream.js';
import { toLegacyOutputSchema } from './legacyOutputSchema.js';
import { isPassedMethod } from './modernToLegacy.js';

type RpcError = JsonRpcFailure['error'];

/** Either half of a response, before it has an id. */
export type Answer = { readonly result: JsonObject } | { readonly error: RpcError };

/**
 * How a request of a legacy client is served: `passed` to the upstream; `here`, by the session; or `unknown`, which has no
 * counterpart in the modern era, as tasks have none (−32601).
 */
export function routeOf(method: string): 'passed' | 'here' | 'unknown' {
  if (isPassedMethod(method)) return 'passed';
  return hereMethods.has(method) ? 'here' : 'unknown';
}

const hereMethods = new Set(['ping', 'logging/setLevel', 'resources/subscribe', 'resources/unsubscribe']);

/** What every request says of its client; tasks are hidden, and changed roots are told to nobody. */
export function toEnvelope(client: ClientTerms, logLevel: string | null): JsonObject {
  const { tasks: _tasks, roots, extensions, ...capabilities } = client.capabilities;
  return {
    [envelope.protocolVersion]: modernRevisions[0],
    [envelope.clientInfo]: client.clientInfo,
    [envelope.clientCapabilities]: {
      ...capabilities,
      ...(roots === undefined ? {} : { roots: {} }),
      ...withoutTasks(extensions),
    },
    ...(logLevel === null ? {} : { [envelope.logLevel]: logLevel }),
  };
}

/** The same request under the session's envelope; what only we may say in it is not taken from the client. */
export function toModernRequest(request: JsonRpcRequest, stamp: JsonObject): JsonRpcRequest {
  const {
    _meta,
    task: _task,
    inputResponses: _responses,
    requestState: _state,
    ...params
  } = request.params ?? {};
  return { ...request, params: { ...params, _meta: { ...withoutEnvelope(_meta), ...stamp } } };
}

/** A result without the members that the modern era added. */
export function toLegacyResult(method: string, result: JsonObject): JsonObject {
  const { resultType: _type, ttlMs: _ttl, cacheScope: _scope, _meta, ...rest } = result;
  const meta = withoutEnvelope(_meta);
  const shown = Object.keys(meta).length === 0 ? rest : { ...rest, _meta: meta };
  if (method === 'tools/call') return withObjectContent(shown);
  if (method === 'tools/list' && Array.isArray(shown['tools'])) {
    return { ...shown, tools: shown['tools'].map((tool: unknown) => toLegacyTool(tool)) };
  }
  return shown;
}

/** What a result that is not complete asks for; null for one that fits no form of the specification. */
export function parseInputRequired({ inputRequests, requestState }: JsonObject): InputRequired | null {
  if (requestState !== undefined && typeof requestState !== 'string') return null;
  if (inputRequests === undefined) return requestState === undefined ? null : { questions: [], requestState };
  if (!isJsonObject(inputRequests)) return null;
  const questions: Question[] = [];
  for (const [key, asked] of Object.entries(inputRequests)) {
    if (!isJsonObject(asked)) return null;
    const { method, params } = asked;
    if (!isQuestionMethod(method) || (params !== undefined && !isJsonObject(params))) return null;
    if (params === undefined && method !== 'roots/list') return null;
    questions.push({ key, method, params: params ?? {} });
  }
  return { questions, requestState };
}

export interface InputRequired {
  readonly questions: readonly Question[];
  /** To be given back exactly as it is; undefined when the next attempt must not carry one. */
  readonly requestState: string | undefined;
}

export interface Question {
  /** The upstream's name for it, under which it wants the answer. */
  readonly key: string;
  readonly method: (typeof questionMethods)[number];
  readonly params: JsonObject;
}

const questionMethods = ['sampling/createMessage', 'elicitation/create', 'roots/list'] as const;

const isQuestionMethod = (method: unknown): method is Question['method'] =>
  questionMethods.some((one) => one === method);

/** The methods whose results may ask for input (MCP 2026-07-28, "Multi Round-Trip Requests"). */
export function mayRequireInput(method: string): boolean {
  return method === 'tools/call' || method === 'prompts/get' || method === 'resources/read';
}

/** What a client would have had to declare to be asked this; null when it did. */
export function missingCapabilityOf({ method, params }: Question, capabilities: JsonObject): string | null {
  const [name = ''] = method.split('/');
  const declared = capabilities[name];
  if (declared === undefined) return name;
  const member = (key: string): unknown => (isJsonObject(declared) ? declared[key] : undefined);
  if (method === 'elicitation/create') {
    if (params['mode'] === 'url') return member('url') === undefined ? 'elicitation.url' : null;
    // An empty capability means forms (MCP "Elicitation", "Capabilities").
    return member('form') === undefined && member('url') !== undefined ? 'elicitation.form' : null;
  }
  const wantsTools = params['tools'] !== undefined || params['toolChoice'] !== undefined;
  return method === 'sampling/createMessage' && wantsTools && member('tools') === undefined
    ? 'sampling.tools'
    : null;
}

/** A question as a request of the legacy era; a page to open has an id there, which the modern era dropped. */
export function toLegacyQuestion(
  { method, params }: Question,
  revision: string,
  newId: () => string,
): Pick<JsonRpcRequest, 'method' | 'params'> {
  if (method === 'roots/list') return Object.keys(params).length === 0 ? { method } : { method, params };
  if (method !== 'elicitation/create') return { method, params };
  const { mode, ...rest } = params;
  if (mode === 'url') return { method, params: { elicitationId: newId(), ...params } };
  // Modes came with 2025-11-25; before that, every elicitation is a form.
  return { method, params: revision === legacyRevisions[0] ? params : rest };
}

/** The next attempt: the request as it was, this round's answers, and the upstream's state as it came. */
export function toRetry(
  request: JsonRpcRequest,
  answers: JsonObject,
  requestState: string | undefined,
): JsonRpcRequest {
  return {
    ...request,
    params: {
      ...request.params,
      ...(Object.keys(answers).length === 0 ? {} : { inputResponses: answers }),
      ...(requestState === undefined ? {} : { requestState }),
    },
  };
}

/** A call that could not go on: for tools a result that the model reads, for all else an error. */
export function toHaltedAnswer(method: string, code: number, message: string): Answer {
  if (method !== 'tools/call') return { error: { code, message } };
  return { result: { content: [{ type: 'text', text: message }], isError: true } };
}

export function toMissingCapabilityAnswer(method: string, names: readonly string[]): Answer {
  const wanted = names.length === 0 ? 'more than this client declared' : names.join(' and ');
  const message = `The server behind needs a client that supports ${wanted}; this client did not declare that.`;
  return toHaltedAnswer(method, -32602, message);
}

/** An upstream's error in the legacy era's codes; what is between us and the upstream is never told (−32020, −32022). */
export function toLegacyError({ method, params }: JsonRpcRequest, error: RpcError): Answer {
  const data = isJsonObject(error.data) ? error.data : {};
  switch (error.code) {
    case -32021: {
      const { requiredCapabilities } = data;
      const names = isJsonObject(requiredCapabilities) ? Object.keys(requiredCapabilities) : [];
      return toMissingCapabilityAnswer(method, names);
    }
    case -32020:
    case -32022:
      return { error: { code: -32603, message: 'The server behind did not understand the request.' } };
    case -32602: {
      const { uri } = data;
      const isNotFound = method === 'resources/read' && typeof uri === 'string' && uri === params?.['uri'];
      return { error: isNotFound ? { ...error, code: -32002 } : error };
    }
    default:
      return { error };
  }
}

/** A notification as the legacy era knows it; null for what belongs to the modern era alone. */
export function toLegacyNotification({ method, params }: JsonRpcNotification): JsonRpcNotification | null {
  if (method === 'notifications/subscriptions/acknowledged' || method === 'notifications/cancelled')
    return null;
  if (params === undefined) return { jsonrpc: '2.0', method };
  const { _meta, ...rest } = params;
  const meta = withoutEnvelope(_meta);
  const shown = Object.keys(meta).length === 0 ? rest : { ...rest, _meta: meta };
  return Object.keys(shown).length === 0
    ? { jsonrpc: '2.0', method }
    : { jsonrpc: '2.0', method, params: shown };
}

/** What a discovered server says of itself, in the words of an `initialize` result of our newest legacy revision. */
export function toLegacyServerTerms(server: ServerTerms): ServerTerms {
  const { tasks: _tasks, extensions, ...capabilities } = server.capabilities;
  return {
    ...server,
    protocolVersion: legacyRevisions[0],
    capabilities: { ...capabilities, ...withoutTasks(extensions) },
  };
}

/** What to hear from the upstream outside any request, by what it offers; null when that is nothing. */
export function toListenFilter(capabilities: JsonObject, subscriptions: Iterable<string>): JsonObject | null {
  const can = (kind: string, member: string): boolean => {
    const capability = capabilities[kind];
    return isJsonObject(capability) && capability[member] === true;
  };
  const uris = [...subscriptions];
  const filter: JsonObject = {
    ...(can('tools', 'listChanged') ? { toolsListChanged: true } : {}),
    ...(can('prompts', 'listChanged') ? { promptsListChanged: true } : {}),
    ...(can('resources', 'listChanged') ? { resourcesListChanged: true } : {}),
    ...(can('resources', 'subscribe') && uris.length > 0 ? { resourceSubscriptions: uris } : {}),
  };
  return Object.keys(filter).length === 0 ? null : filter;
}

const tasksExtension = 'io.modelcontextprotocol/tasks';

function withoutTasks(extensions: unknown): JsonObject {
  if (!isJsonObject(extensions)) return {};
  const { [tasksExtension]: _tasks, ...rest } = extensions;
  return Object.keys(rest).length === 0 ? {} : { extensions: rest };
}

function withoutEnvelope(meta: unknown): JsonObject {
  if (!isJsonObject(meta)) return {};
  const own: readonly string[] = Object.values(envelope);
  return Object.fromEntries(Object.entries(meta).filter(([name]) => !own.includes(name)));
}

/** The legacy era knows only objects as structured content; anything else becomes the member `result` of one. */
function withObjectContent(result: JsonObject): JsonObject {
  const { structuredContent } = result;
  if (structuredContent === undefined || isJsonObject(structuredContent)) return result;
  return { ...result, structuredContent: { result: structuredContent } };
}

function toLegacyTool(tool: unknown): unknown {
  if (!isJsonObject(tool)) return tool;
  const { outputSchema, ...rest } = tool;
  if (!isJsonObject(outputSchema)) return tool;
  const schema = toLegacyOutputSchema(outputSchema);
  return schema === null ? rest : { ...rest, outputSchema: schema };
}
