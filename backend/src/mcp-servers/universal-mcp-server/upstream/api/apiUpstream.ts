/**
 * Kind `api`: an MCP server inside this process whose tools are requests to a REST API (row U01). It keeps nothing of a
 * caller between calls but answers that were declared to be kept, under their owner's name.
 */
import type { ServiceDefinition } from '../../../../catalog/serviceDefinition.js';
import { createEgressClient } from '../../../../egress/egressClient.js';
import type { ResolveHost } from '../../../../egress/guardedConnector.js';
import { AppError } from '../../../../errors/appError.js';
import { toJsonRpcError } from '../../../../errors/jsonRpcError.js';
import { toRenewal, toSetupInstructions } from '../../../../services/setupInstructions.js';
import type { Logger } from '../../../../telemetry/logger.js';
import type { JsonObject, JsonRpcRequest, JsonRpcResponse } from '../../protocol/jsonRpc.js';
import { legacyRevisions } from '../../protocol/revisions.js';
import type { Circuits } from '../circuits.js';
import { createCredentialRecheck, saysForbiddenOnly } from '../credentialRecheck.js';
import { createHttpProber } from '../httpProbe.js';
import {
  toFailure,
  type ConnectionTerms,
  type ProbeOutcome,
  type Upstream,
  type UpstreamConnection,
} from '../upstream.js';
import { createAnswerCache } from './answerCache.js';
import type { CredentialRenewal } from '../credentialRenewal.js';
import { createStateNotes, type StateNote } from '../stateNotes.js';
import { createFairPlaces } from '../fairPlaces.js';
import { createToolCaller, type CallTerms, type CallTool } from './toolCaller.js';
import { toCallToolResult, type OutcomeContext } from './toolOutcome.js';
import { toToolPlan } from './toolPlan.js';
import { createToolSet, type ToolSet } from './toolSet.js';

export interface ApiUpstreamOptions {
  /** Of kind `api`. */
  readonly definition: ServiceDefinition;
  readonly stateDir: string;
  readonly publicUrl: URL;
  /** Hears what calls show about instances; it must not throw. */
  readonly recordState: (note: StateNote) => void;
  readonly circuits: Circuits;
  /** Null where no credential can be renewed without its owner. */
  readonly renewal?: CredentialRenewal | null;
  readonly log: Pick<Logger, 'warn' | 'info'>;
  /** The operating system's resolver unless a test says otherwise. */
  readonly resolveHost?: ResolveHost;
}

export interface ApiUpstream extends Upstream {
  readonly tools: ToolSet;
  readonly call: CallTool;
  /** The words around an outcome of that tool. */
  readonly toContext: (tool: string) => OutcomeContext;
}

const userAgent = 'Portolan';

/** @throws AppError CONFIG_INVALID when the definition is of another kind, EGRESS_DENIED when its base URL may not be called. */
export async function createApiUpstream(options: ApiUpstreamOptions): Promise<ApiUpstream> {
  const { definition, recordState, resolveHost } = options;
  const { api, credentials } = definition;
  if (api === null) throw new AppError('CONFIG_INVALID', 'the service is not of kind api');
  const network = resolveHost === undefined ? {} : { resolveHost };
  const egress = createEgressClient({ rules: api.egress, connections: api.connections, ...network });
  if (typeof api.baseUrl === 'string') egress.parse(api.baseUrl);
  const prober = createHttpProber({ credentials, userAgent, ...network });
  const answers = createAnswerCache();
  const context = {
    api,
    userAgent,
    parse: (url: string) => egress.parse(url),
    timeoutMs: definition.limits.timeoutMs,
  };
  const tools = createToolSet({
    declared: api.tools,
    openapi: api.openapi,
    stateDir: options.stateDir,
    toPlan: (tool) => toToolPlan(tool, context),
    egress,
    log: options.log,
  });
  // A document is read while the process starts to listen; whoever needs its tools before waits for it.
  void tools.refresh();
  const probe = ({ instance, values }: CallTerms, signal: AbortSignal): Promise<ProbeOutcome> =>
    prober.probe(instance.credentialMethod, values, signal);
  const call = createToolCaller({
    definition,
    retry: api.retry,
    egress,
    places: createFairPlaces({ places: api.connections }),
    answers,
    circuits: options.circuits,
    notes: createStateNotes(recordState),
    renewal: options.renewal ?? null,
    isStillAccepted: saysForbiddenOnly(definition) ? createCredentialRecheck(probe) : null,
  });
  const setup = toSetupInstructions(definition, options.publicUrl);
  const { consoleUrl } = setup;
  const renewal = toRenewal(definition, setup);
  const toContext = (tool: string): OutcomeContext => ({
    service: definition.title,
    tool,
    consoleUrl,
    renewal,
  });
  const server = {
    protocolVersion: legacyRevisions[0],
    capabilities: { tools: {} },
    serverInfo: { name: definition.name, title: definition.title, version: definition.version ?? '1.0.0' },
    ...(definition.description === null ? {} : { instructions: definition.description }),
  };

  const upstream: ApiUpstream = {
    tools,
    call,
    toContext,
    async connect(terms, signal) {
      signal.throwIfAborted();
      return createConnection(upstream, terms, server);
    },
    probe,
    forget: (instanceId) => answers.forget(instanceId),
    async [Symbol.asyncDispose]() {
      await Promise.all([egress[Symbol.asyncDispose](), prober[Symbol.asyncDispose]()]);
    },
  };
  return upstream;
}

function createConnection(
  upstream: ApiUpstream,
  terms: ConnectionTerms,
  server: UpstreamConnection['server'],
): UpstreamConnection {
  return {
    era: 'legacy',
    server,
    async request(request, _listener, signal) {
      switch (request.method) {
        case 'ping':
          return { jsonrpc: '2.0', id: request.id, result: {} };
        case 'tools/list':
          return listTools(upstream, request);
        case 'tools/call':
          return callTool(upstream, terms, request, signal);
        default:
          return toFailure(request, { code: -32601, message: 'Method not found' });
      }
    },
    // Cancellation comes by the signal of the request; the rest concerns servers that keep a conversation.
    notify: () => undefined,
    listen: () => () => undefined,
    release: () => undefined,
  };
}

async function listTools({ tools }: ApiUpstream, request: JsonRpcRequest): Promise<JsonRpcResponse> {
  if (request.params?.cursor !== undefined) {
    return toFailure(request, { code: -32602, message: 'Invalid cursor' });
  }
  await tools.refresh();
  return { jsonrpc: '2.0', id: request.id, result: { tools: tools.listed } };
}

/** MCP "Tools", "Error Handling": an unknown tool is a protocol error, wrong arguments are a result to learn from. */
async function callTool(
  { tools, call, toContext }: ApiUpstream,
  terms: ConnectionTerms,
  request: JsonRpcRequest,
  signal: AbortSignal,
): Promise<JsonRpcResponse> {
  const { name, arguments: given }: JsonObject = request.params ?? {};
  if (typeof name !== 'string') {
    return toFailure(request, toJsonRpcError(new AppError('INVALID_PARAMS', 'tools/call without a name')));
  }
  let plan = tools.find(name);
  if (plan === undefined) {
    await tools.refresh();
    plan = tools.find(name);
  }
  if (plan === undefined) {
    return toFailure(request, { code: -32602, message: `Unknown tool: ${name.slice(0, 128)}` });
  }
  const outcome = await call(plan, given, terms, signal);
  return { jsonrpc: '2.0', id: request.id, result: toCallToolResult(outcome, toContext(name)) };
}
