/**
 * What a modern server may do, all of it: questions in several rounds, progress, logs, structured content, resources that
 * are watched, prompts, completion, lists that change. Served by HTTP (modernServer.ts) and over stdio
 * (modernFeaturesProgram.ts).
 */
import {
  inputRequired,
  MissingRequiredClientCapabilityError,
  ProtocolError,
  ResourceNotFoundError,
  Server,
  type CallToolResult,
  type InputRequiredResult,
  type ServerContext,
  type ServerNotifier,
} from '@modelcontextprotocol/server';

export interface FeatureHooks {
  /** Names of tools whose calls were cancelled while they ran. */
  readonly cancelled: string[];
  readonly changes: () => Pick<ServerNotifier, 'resourceUpdated' | 'toolsChanged'>;
}

/** A state with everything in it that a careless relay would change. */
export const oddState = '{"n": 1.0,"é\\u00e9":"\u2028\u0000 \\"=="}\t ';

type Answer = CallToolResult | InputRequiredResult;
type Tool = (
  ctx: ServerContext,
  args: Readonly<Record<string, unknown>>,
  hooks: FeatureHooks,
) => Answer | Promise<Answer>;

const text = (value: unknown): CallToolResult => ({
  content: [{ type: 'text', text: typeof value === 'string' ? value : JSON.stringify(value) }],
});

const form = (name: string) =>
  inputRequired.elicit({
    message: `Your ${name}?`,
    requestedSchema: { type: 'object', properties: { [name]: { type: 'string' } }, required: [name] },
  });

const sampling = inputRequired.createMessage({
  messages: [{ role: 'user', content: { type: 'text', text: 'Say hi' } }],
  maxTokens: 10,
});

/** Asks until it was answered, then says what the answer was. */
const asking =
  (
    question: NonNullable<Parameters<typeof inputRequired>[0]['inputRequests']>,
    requestState?: string,
  ): Tool =>
  (ctx) =>
    ctx.mcpReq.inputResponses === undefined
      ? inputRequired({ inputRequests: question, ...(requestState === undefined ? {} : { requestState }) })
      : text({ answers: ctx.mcpReq.inputResponses, state: ctx.mcpReq.requestState() ?? null });

const progress = async (ctx: ServerContext, values: readonly number[]): Promise<void> => {
  const { _meta: meta } = ctx.mcpReq;
  const progressToken = meta?.progressToken;
  if (progressToken === undefined) return;
  for (const value of values)
    await ctx.mcpReq.notify({ method: 'notifications/progress', params: { progressToken, progress: value } });
};

const tools: Readonly<Record<string, Tool>> = {
  echo: (_ctx, { text: said = '' }) => text(String(said)),
  meta: (ctx) => text({ ...ctx.mcpReq.envelope }),
  sum: () => ({ ...text('3'), structuredContent: { sum: 3 } }),
  list: () => ({ ...text('[1,2]'), structuredContent: [1, 2] }),
  either: () => ({ ...text('{}'), structuredContent: { a: 1 } }),
  nothing: () => ({ ...text('null'), structuredContent: null }),
  sample: asking({ said: sampling }),
  elicit: asking({ name: form('name') }, oddState),
  open: asking({ page: inputRequired.elicitUrl({ message: 'Open it', url: 'https://example.com/consent' }) }),
  roots: asking({ where: inputRequired.listRoots() }),
  askAll: asking({ said: sampling, name: form('name'), where: inputRequired.listRoots() }),
  twice: (ctx) => {
    const state = ctx.mcpReq.requestState<string>();
    if (state === undefined)
      return inputRequired({ inputRequests: { first: form('first') }, requestState: 'one' });
    const { inputResponses: answers } = ctx.mcpReq;
    if (state === 'one')
      return inputRequired({
        inputRequests: { second: form('second') },
        requestState: `two ${JSON.stringify(answers)}`,
      });
    return text({ state, answers });
  },
  later: (ctx) => {
    const state = ctx.mcpReq.requestState<string>();
    return state === undefined ? inputRequired({ requestState: 'again' }) : text(state);
  },
  forever: () => inputRequired({ inputRequests: { name: form('name') } }),
  progress: async (ctx) => {
    await progress(ctx, [1, 2, 3]);
    return text('done');
  },
  progressAndAsk: async (ctx) => {
    const isAnswered = ctx.mcpReq.inputResponses !== undefined;
    await progress(ctx, isAnswered ? [1, 2, 3, 4] : [1, 2]);
    return isAnswered ? text('done') : inputRequired({ inputRequests: { name: form('name') } });
  },
  log: async (ctx, { level = 'info' }) => {
    await ctx.mcpReq.log(level as 'info', 'said on the way');
    return text('done');
  },
  hang: (ctx, _args, { cancelled }) =>
    new Promise((resolve) => {
      ctx.mcpReq.signal.addEventListener('abort', () => {
        cancelled.push('hang');
        resolve(text('cancelled'));
      });
    }),
  demanding: () => {
    throw new MissingRequiredClientCapabilityError({ requiredCapabilities: { sampling: {} } });
  },
  mismatch: () => {
    throw new ProtocolError(-32020, 'Mcp-Param-Region is missing');
  },
  broken: () => {
    throw new ProtocolError(-32603, 'it broke', { at: 'the seam' });
  },
  touch: (_ctx, { uri = '' }, { changes }) => {
    changes().resourceUpdated(String(uri));
    return text('touched');
  },
  grow: (_ctx, _args, { changes }) => {
    changes().toolsChanged();
    return text('grown');
  },
  cancelled: (_ctx, _args, { cancelled }) => text(cancelled),
  failing: () => ({ ...text('no such city'), isError: true }),
};

const outputSchemas: Readonly<Record<string, Record<string, unknown>>> = {
  sum: { type: 'object', properties: { sum: { type: 'number' } }, required: ['sum'] },
  list: {
    type: 'array',
    items: { $ref: '#/$defs/one' },
    $defs: { one: { type: 'number' } },
  },
  either: { anyOf: [{ type: 'object' }, { type: 'string' }] },
};

const listed = Object.keys(tools).map((name) => ({
  name,
  description: `Does ${name}`,
  inputSchema: { type: 'object' as const },
  annotations: { readOnlyHint: name === 'echo' },
  ...(name in outputSchemas ? { outputSchema: outputSchemas[name] } : {}),
}));

export function createModernFeatures(hooks: FeatureHooks): Server {
  const server = new Server(
    { name: 'modern-fixture', version: '3.1.4', title: 'A modern server' },
    {
      capabilities: {
        tools: { listChanged: true },
        prompts: { listChanged: true },
        resources: { listChanged: true, subscribe: true },
        completions: {},
        logging: {},
        extensions: { 'io.modelcontextprotocol/tasks': {}, 'com.example/maps': { zoom: 3 } },
      },
      instructions: 'Ask it anything.',
    },
  );
  server.setRequestHandler('tools/list', () => ({ tools: listed }));
  server.setRequestHandler('tools/call', async ({ params }, ctx) => {
    const tool = Object.hasOwn(tools, params.name) ? tools[params.name] : undefined;
    if (tool === undefined) throw new ProtocolError(-32602, `Unknown tool: ${params.name}`);
    return await tool(ctx, params.arguments ?? {}, hooks);
  });
  server.setRequestHandler('prompts/list', () => ({
    prompts: [
      { name: 'greet', arguments: [{ name: 'who', required: true }] },
      { name: 'asking' },
      { name: 'demanding' },
    ],
  }));
  server.setRequestHandler('prompts/get', ({ params }, ctx) => {
    if (params.name === 'demanding')
      throw new MissingRequiredClientCapabilityError({ requiredCapabilities: { elicitation: {} } });
    const answers = ctx.mcpReq.inputResponses;
    if (params.name === 'asking' && answers === undefined)
      return inputRequired({ inputRequests: { name: form('name') } });
    const said = params.name === 'asking' ? JSON.stringify(answers) : `Hello ${params.arguments?.['who']}`;
    return { messages: [{ role: 'user' as const, content: { type: 'text' as const, text: said } }] };
  });
  server.setRequestHandler('resources/list', ({ params }) =>
    params?.cursor === undefined
      ? { resources: [{ uri: 'test://one', name: 'one' }], nextCursor: 'second page' }
      : { resources: [{ uri: 'test://two', name: 'two' }] },
  );
  server.setRequestHandler('resources/templates/list', () => ({
    resourceTemplates: [{ uriTemplate: 'test://{name}', name: 'any' }],
  }));
  server.setRequestHandler('resources/read', ({ params }, ctx) => {
    if (params.uri === 'test://none') throw new ResourceNotFoundError(params.uri);
    const answers = ctx.mcpReq.inputResponses;
    if (params.uri === 'test://asking' && answers === undefined)
      return inputRequired({ inputRequests: { where: inputRequired.listRoots() } });
    const said = params.uri === 'test://asking' ? JSON.stringify(answers) : 'content';
    return { contents: [{ uri: params.uri, text: said }] };
  });
  server.setRequestHandler('completion/complete', ({ params }) => ({
    completion: { values: [`${params.argument.value}-completed`], total: 1, hasMore: false },
  }));
  return server;
}
