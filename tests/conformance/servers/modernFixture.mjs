// The fixture of the modern era, on SDK v2: the same tools, prompts and resources as the legacy one. What a tool wants to
// know of its client it asks by ending the round with `input_required`; the retry runs the tool from its beginning, with
// the answers of earlier rounds in the sealed `requestState`.
import { randomBytes } from 'node:crypto';
import {
  CLIENT_CAPABILITIES_META_KEY,
  LOG_LEVEL_META_KEY,
  McpServer,
  ProtocolError,
  ProtocolErrorCode,
  ResourceNotFoundError,
  createRequestStateCodec,
  fromJsonSchema,
  inputRequired,
} from '@modelcontextprotocol/server';
import { complete, createState, prompts, readResource, resources, templates } from './fixtureContent.mjs';
import { inputSchemaOf, tools } from './fixtureTools.mjs';

const levels = ['debug', 'info', 'notice', 'warning', 'error', 'critical', 'alert', 'emergency'];

/** Thrown by `ask` to end a round; the handler answers with what it carries. */
class RoundEnd extends Error {
  constructor(result) {
    super('the round ended');
    this.result = result;
  }
}

/**
 * One process's fixture: `createServer` makes the server of a request or connection, which `addTools` brings in step with
 * the list; `announce` is set by who serves.
 */
export function createModernFixture() {
  const fixture = { announce: () => undefined, createServer: () => createServer(state, codec) };
  const state = createState((what) => fixture.announce(what));
  const codec = createRequestStateCodec({ key: randomBytes(32) });
  return fixture;
}

function createServer(state, codec) {
  const list = { listChanged: true };
  const capabilities = {
    tools: list,
    prompts: list,
    resources: { ...list, subscribe: true },
    logging: {},
    completions: {},
  };
  const mcp = new McpServer(
    { name: 'fixture-modern', version: '1.0.0' },
    { capabilities, requestState: { verify: codec.verify } },
  );
  const { server } = mcp;

  const run = async (work, ctx) => {
    try {
      return await work(toCall(ctx, state, codec));
    } catch (error) {
      if (error instanceof RoundEnd) return error.result;
      throw error;
    }
  };

  const known = new Set();
  /** Registers what is not there; the server itself tells its listeners of a tool that comes later. */
  const addTools = () => {
    const added = state.grown('tools', [], (name) => [
      name,
      { description: 'Added later', run: () => ({ content: [] }) },
    ]);
    for (const [name, tool] of [...Object.entries(tools), ...added]) {
      if (known.has(name)) continue;
      known.add(name);
      const { description, outputSchema } = tool;
      const settings = {
        description,
        inputSchema: fromJsonSchema(inputSchemaOf(tool)),
        ...(outputSchema === undefined ? {} : { outputSchema: fromJsonSchema(outputSchema) }),
      };
      mcp.registerTool(name, settings, (args, ctx) => run((call) => tool.run(args ?? {}, call), ctx));
    }
  };
  addTools();

  server.setRequestHandler('prompts/list', () => ({
    prompts: state.grown(
      'prompts',
      Object.entries(prompts).map(([name, { description, arguments: given = [] }]) => ({
        name,
        description,
        arguments: given,
      })),
      (name) => ({ name, description: 'Added later' }),
    ),
  }));
  server.setRequestHandler('prompts/get', async ({ params }, ctx) => {
    const prompt = prompts[params.name];
    if (prompt === undefined)
      throw new ProtocolError(ProtocolErrorCode.InvalidParams, `There is no prompt ${params.name}`);
    const args = params.arguments ?? {};
    return run(async (call) => ({ messages: await prompt.messages(args, call) }), ctx);
  });
  server.setRequestHandler('resources/list', () => ({
    resources: state.grown(
      'resources',
      Object.entries(resources).map(([uri, { name, mimeType }]) => ({
        uri,
        name,
        description: `The resource ${name}`,
        mimeType,
      })),
      (name) => ({ uri: `test://${name}`, name }),
    ),
  }));
  server.setRequestHandler('resources/templates/list', () => ({ resourceTemplates: templates }));
  server.setRequestHandler('resources/read', ({ params: { uri } }) => {
    const content = readResource(uri, state);
    if (content === null) throw new ResourceNotFoundError(uri);
    return content;
  });
  server.setRequestHandler('completion/complete', ({ params }) => complete(params));
  return { mcp, addTools };
}

function toCall(ctx, state, codec) {
  const { mcpReq } = ctx;
  const declared = mcpReq.envelope?.[CLIENT_CAPABILITIES_META_KEY] ?? {};
  return {
    signal: mcpReq.signal,
    server: state,
    declared,
    closeStream: () => undefined,
    async log(level, data) {
      const least = mcpReq.envelope?.[LOG_LEVEL_META_KEY];
      if (least === undefined || levels.indexOf(level) < levels.indexOf(least)) return;
      await mcpReq.notify({ method: 'notifications/message', params: { level, logger: 'fixture', data } });
    },
    async progress(progress, total, message) {
      const progressToken = mcpReq['_meta']?.progressToken;
      if (progressToken === undefined) return;
      await mcpReq.notify({
        method: 'notifications/progress',
        params: { progressToken, progress, total, message },
      });
    },
    async ask(round, requests, { isStateful = false, isAnswer = {} } = {}) {
      const earlier = mcpReq.requestState();
      const done = earlier?.answers ?? [];
      if (done.length >= round) return done[round - 1];
      const given = mcpReq.inputResponses;
      const isOurs = !isStateful || earlier?.round === round;
      const isWhole = Object.keys(requests).every(
        (key) => given?.[key] !== undefined && isAnswer[key]?.(given[key]) !== false,
      );
      if (isOurs && isWhole) {
        // What follows this round is told its answers by the state, for the client sends them once.
        done.push(given);
        return given;
      }
      const answers = done.slice(0, round - 1);
      const requestState = isStateful
        ? { requestState: await codec.mint({ round, answers, nonce: randomBytes(8).toString('hex') }) }
        : {};
      throw new RoundEnd(inputRequired({ inputRequests: requests, ...requestState }));
    },
  };
}
