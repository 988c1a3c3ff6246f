// The fixture of the legacy era, on SDK v1: tools, prompts, resources and completions of fixtureTools and fixtureContent,
// asked for by real requests to the client while a call is under way.
import { Server } from '@modelcontextprotocol/sdk/server/index.js';
import {
  CallToolRequestSchema,
  CompleteRequestSchema,
  CreateMessageResultSchema,
  ElicitResultSchema,
  ErrorCode,
  GetPromptRequestSchema,
  ListPromptsRequestSchema,
  ListResourceTemplatesRequestSchema,
  ListResourcesRequestSchema,
  ListRootsResultSchema,
  ListToolsRequestSchema,
  McpError,
  ReadResourceRequestSchema,
  SetLevelRequestSchema,
  SubscribeRequestSchema,
  UnsubscribeRequestSchema,
} from '@modelcontextprotocol/sdk/types.js';
import { complete, createState, prompts, readResource, resources, templates } from './fixtureContent.mjs';
import { inputSchemaOf, tools } from './fixtureTools.mjs';

const levels = ['debug', 'info', 'notice', 'warning', 'error', 'critical', 'alert', 'emergency'];
const resultSchemas = {
  'sampling/createMessage': CreateMessageResultSchema,
  'elicitation/create': ElicitResultSchema,
  'roots/list': ListRootsResultSchema,
};

/** One process's fixture: `connect(transport)` joins one more client to it. */
export function createLegacyFixture() {
  const sessions = new Set();
  const state = createState((what) => {
    for (const session of sessions) void session.announce(what).catch(() => undefined);
  });
  return {
    async connect(transport) {
      const session = createSession(state);
      sessions.add(session);
      Object.assign(session.server, { onclose: () => sessions.delete(session) });
      await session.server.connect(transport);
    },
  };
}

function createSession(state) {
  const list = { listChanged: true };
  const capabilities = {
    tools: list,
    prompts: list,
    resources: { ...list, subscribe: true },
    logging: {},
    completions: {},
  };
  const server = new Server({ name: 'fixture-legacy', version: '1.0.0' }, { capabilities });
  const subscribed = new Set();
  let level = 'debug';

  const toCall = (extra) => ({
    signal: extra.signal,
    server: state,
    declared: server.getClientCapabilities() ?? {},
    closeStream: () => extra.closeSSEStream?.(),
    async log(at, data) {
      if (levels.indexOf(at) < levels.indexOf(level)) return;
      await extra.sendNotification({
        method: 'notifications/message',
        params: { level: at, logger: 'fixture', data },
      });
    },
    async progress(progress, total, message) {
      const progressToken = extra['_meta']?.progressToken;
      if (progressToken === undefined) return;
      await extra.sendNotification({
        method: 'notifications/progress',
        params: { progressToken, progress, total, message },
      });
    },
    async ask(_round, requests, { isAnswer = {} } = {}) {
      const answers = {};
      for (const [key, request] of Object.entries(requests)) {
        answers[key] = await extra.sendRequest(request, resultSchemas[request.method]);
        if (isAnswer[key]?.(answers[key]) === false) throw new Error(`The answer to ${key} is of no use`);
      }
      return answers;
    },
  });

  server.setRequestHandler(ListToolsRequestSchema, () => ({
    tools: state.grown('tools', Object.entries(tools).map(toListedTool), (name) => ({
      name,
      description: 'Added later',
      inputSchema: { type: 'object' },
    })),
  }));
  server.setRequestHandler(CallToolRequestSchema, async ({ params }, extra) => {
    const tool = tools[params.name];
    if (tool === undefined) throw new McpError(ErrorCode.InvalidParams, `There is no tool ${params.name}`);
    try {
      return await tool.run(params.arguments ?? {}, toCall(extra));
    } catch (error) {
      return { content: [{ type: 'text', text: error.message }], isError: true };
    }
  });
  server.setRequestHandler(ListPromptsRequestSchema, () => ({
    prompts: state.grown('prompts', Object.entries(prompts).map(toListedPrompt), (name) => ({
      name,
      description: 'Added later',
    })),
  }));
  server.setRequestHandler(GetPromptRequestSchema, async ({ params }, extra) => {
    const prompt = prompts[params.name];
    if (prompt === undefined)
      throw new McpError(ErrorCode.InvalidParams, `There is no prompt ${params.name}`);
    return { messages: await prompt.messages(params.arguments ?? {}, toCall(extra)) };
  });
  server.setRequestHandler(ListResourcesRequestSchema, () => ({
    resources: state.grown('resources', Object.entries(resources).map(toListedResource), (name) => ({
      uri: `test://${name}`,
      name,
    })),
  }));
  server.setRequestHandler(ListResourceTemplatesRequestSchema, () => ({ resourceTemplates: templates }));
  server.setRequestHandler(ReadResourceRequestSchema, ({ params: { uri } }) => {
    const content = readResource(uri, state);
    if (content === null) throw new McpError(-32002, 'Resource not found', { uri });
    return content;
  });
  server.setRequestHandler(CompleteRequestSchema, ({ params }) => complete(params));
  server.setRequestHandler(SetLevelRequestSchema, ({ params }) => {
    level = params.level;
    return {};
  });
  server.setRequestHandler(SubscribeRequestSchema, ({ params: { uri } }) => {
    subscribed.add(uri);
    return {};
  });
  server.setRequestHandler(UnsubscribeRequestSchema, ({ params: { uri } }) => {
    subscribed.delete(uri);
    return {};
  });

  return {
    server,
    async announce({ list: changed, uri }) {
      if (changed !== undefined)
        await server.notification({ method: `notifications/${changed}/list_changed` });
      else if (subscribed.has(uri)) await server.sendResourceUpdated({ uri });
    },
  };
}

const toListedTool = ([name, tool]) => ({
  name,
  description: tool.description,
  inputSchema: inputSchemaOf(tool),
  ...(tool.outputSchema === undefined ? {} : { outputSchema: tool.outputSchema }),
});
const toListedPrompt = ([name, { description, arguments: given = [] }]) => ({
  name,
  description,
  arguments: given,
});
const toListedResource = ([uri, { name, mimeType }]) => ({
  uri,
  name,
  description: `The resource ${name}`,
  mimeType,
});
