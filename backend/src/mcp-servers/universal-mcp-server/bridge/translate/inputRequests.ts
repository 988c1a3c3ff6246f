/**
 * What a legacy server asks of its client while a call is under way, as the `inputRequests` of the modern era, and the
 * client's `inputResponses` as answers to it (MCP 2026-07-28, "Multi Round-Trip Requests"). Pure functions.
 */
import { isJsonObject, type JsonObject, type JsonRpcRequest } from '../../protocol/jsonRpc.js';

/** The requests that may be answered with `input_required`; nothing may be asked during any other. */
const askableMethods = new Set(['tools/call', 'prompts/get', 'resources/read']);

/** What may be asked, and the client capability that each needs. */
const capabilityOf: ReadonlyMap<string, string> = new Map([
  ['sampling/createMessage', 'sampling'],
  ['elicitation/create', 'elicitation'],
  ['roots/list', 'roots'],
]);

export function isAskable(method: string): boolean {
  return askableMethods.has(method);
}

/** Whether a server could ask such a client anything at all. */
export function canBeAsked(capabilities: JsonObject): boolean {
  for (const name of capabilityOf.values()) if (isJsonObject(capabilities[name])) return true;
  return false;
}

const capabilitiesBytesMax = 2_048;

/**
 * The capabilities of a client as a legacy `initialize` says them. Tasks are of a revision that is not spoken here, and
 * no client of the modern era tells that its roots changed. What is too long is shortened to what decides something.
 */
export function toLegacyCapabilities(declared: JsonObject): JsonObject {
  const { tasks: _tasks, roots, ...rest } = declared;
  const told = isJsonObject(roots) ? { ...rest, roots: {} } : rest;
  if (JSON.stringify(told).length <= capabilitiesBytesMax) return told;
  const { sampling, elicitation } = told as JsonObject;
  return {
    ...(isJsonObject(sampling) ? { sampling: pick(sampling, ['context', 'tools']) } : {}),
    ...(isJsonObject(elicitation) ? { elicitation: pick(elicitation, ['form', 'url']) } : {}),
    ...(isJsonObject(roots) ? { roots: {} } : {}),
  };
}

function pick(from: JsonObject, names: readonly string[]): JsonObject {
  return Object.fromEntries(names.filter((name) => isJsonObject(from[name])).map((name) => [name, {}]));
}

/** The capability that a question needs and the client did not declare, in the form of `requiredCapabilities`. */
export function findMissingCapability(question: JsonRpcRequest, declared: JsonObject): JsonObject | null {
  const name = capabilityOf.get(question.method);
  if (name === undefined) return { [question.method.split('/')[0] ?? '']: {} };
  const capability = declared[name];
  const members = neededMembers(question);
  const isDeclared =
    isJsonObject(capability) && members.every((member) => hasMember(name, capability, member));
  return isDeclared ? null : { [name]: Object.fromEntries(members.map((member) => [member, {}])) };
}

function neededMembers({ method, params }: JsonRpcRequest): readonly string[] {
  if (method === 'elicitation/create') return params?.['mode'] === 'url' ? ['url'] : ['form'];
  return method === 'sampling/createMessage' && params?.['tools'] !== undefined ? ['tools'] : [];
}

/** An `elicitation` that names no mode means forms (MCP "Elicitation"). */
function hasMember(name: string, capability: JsonObject, member: string): boolean {
  if (isJsonObject(capability[member])) return true;
  return name === 'elicitation' && member === 'form' && capability['url'] === undefined;
}

const bookkeeping = new Set(['progressToken', 'io.modelcontextprotocol/related-task']);

/** A question without what belongs to the legacy connection: its id, task, progress token and elicitation id. */
export function toInputRequest({ method, params }: JsonRpcRequest): JsonObject {
  if (params === undefined) return { method };
  const { _meta, task: _task, elicitationId: _id, ...rest } = params;
  const meta = isJsonObject(_meta) ? Object.entries(_meta).filter(([name]) => !bookkeeping.has(name)) : [];
  return { method, params: meta.length === 0 ? rest : { ...rest, _meta: Object.fromEntries(meta) } };
}

/** Whether a client's answer is one to this kind of question: a bare result, never wrapped. */
export function isAnswerTo(method: string, answer: unknown): answer is JsonObject {
  if (!isJsonObject(answer)) return false;
  switch (method) {
    case 'elicitation/create':
      return isElicitAction(answer['action']);
    case 'sampling/createMessage':
      return typeof answer['role'] === 'string' && isContent(answer['content']);
    case 'roots/list':
      return Array.isArray(answer['roots']);
    default:
      return false;
  }
}

const isElicitAction = (value: unknown): boolean =>
  value === 'accept' || value === 'decline' || value === 'cancel';

const isContent = (value: unknown): boolean => isJsonObject(value) || Array.isArray(value);

/**
 * The pages of a −32042 (MCP 2025-11-25, "URL Elicitation Required Error") as input requests; null when it names none.
 */
export function toPageRequests(data: unknown): Readonly<Record<string, JsonObject>> | null {
  const pages = isJsonObject(data) && Array.isArray(data['elicitations']) ? data['elicitations'] : [];
  const requests = pages
    .filter(isJsonObject)
    .filter(({ url }) => typeof url === 'string')
    .slice(0, pagesMax)
    .map(({ url, message }, index) => {
      const text = typeof message === 'string' ? message : 'The server wants a page to be opened first.';
      const params = { mode: 'url', message: text, url };
      return [`page-${index + 1}`, { method: 'elicitation/create', params }] as const;
    });
  return requests.length === 0 ? null : Object.fromEntries(requests);
}

const pagesMax = 16;

/** Whether the client said of any page that it was not opened. */
export function isPageRefused(responses: unknown): boolean {
  if (!isJsonObject(responses)) return false;
  return Object.values(responses).some((answer) => isJsonObject(answer) && answer['action'] !== 'accept');
}
