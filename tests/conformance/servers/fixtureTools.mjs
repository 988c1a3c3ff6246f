// The tools of the fixture servers, told once for both eras: what the conformance suites ask a server for, and what the
// matrix checks besides. A tool is `run(args, call)`; `call` hides how an era logs, reports progress and asks its client:
//   log(level, data) · progress(done, total, message) · signal · closeStream() · declared (the client's capabilities)
//   ask(round, requests, { isStateful, isAnswer }) → the answers by key, or throws to end the round (modern era)
//   server: what lives as long as the process — changes(), and what was counted.
import { setTimeout as delay } from 'node:timers/promises';
import { audio, image, resourceOf } from './fixtureContent.mjs';

const text = (value) => ({ content: [{ type: 'text', text: String(value) }] });
const object = (properties = {}, required = []) => ({ type: 'object', properties, required });
const form = (message, properties, required) => ({
  method: 'elicitation/create',
  params: { mode: 'form', message, requestedSchema: object(properties, required) },
});
const sample = (prompt, maxTokens = 100) => ({
  method: 'sampling/createMessage',
  params: { messages: [{ role: 'user', content: { type: 'text', text: prompt } }], maxTokens },
});
const roots = { method: 'roots/list' };

/** The values of a form that the user accepted with this member of this type; undefined for anything else. */
const accepted = (answer, member, type) =>
  answer?.action === 'accept' && typeof answer.content?.[member] === type ? answer.content : undefined;
const sampled = (answer) => answer?.content?.text;

const askName = form('What is your name?', { name: { type: 'string' } }, ['name']);
const isName = (answer) => accepted(answer, 'name', 'string') !== undefined;
const askConfirmation = form('Please confirm', { ok: { type: 'boolean' } }, ['ok']);
const isConfirmation = (answer) => accepted(answer, 'ok', 'boolean') !== undefined;

const said = (answer) => `action=${answer.action}, content=${JSON.stringify(answer.content ?? {})}`;

/** Name → description, schema of the arguments (none: no arguments), and what the tool does. */
export const tools = {
  test_simple_text: {
    description: 'Answers with one text',
    run: () => text('This is a simple text response for testing.'),
  },
  test_image_content: { description: 'Answers with an image', run: () => ({ content: [image] }) },
  test_audio_content: { description: 'Answers with a sound', run: () => ({ content: [audio] }) },
  test_embedded_resource: {
    description: 'Answers with a resource inside its content',
    run: () => ({
      content: [resourceOf('test://embedded-resource', 'This is an embedded resource content.')],
    }),
  },
  test_multiple_content_types: {
    description: 'Answers with text, image and resource together',
    run: () => ({
      content: [
        { type: 'text', text: 'Multiple content types test:' },
        image,
        resourceOf('test://mixed-content-resource', '{"test":"data","value":123}', 'application/json'),
      ],
    }),
  },
  test_structured_content: {
    description: 'Answers with structured content beside its text',
    inputSchema: object({ city: { type: 'string' } }, ['city']),
    outputSchema: object({ city: { type: 'string' }, degrees: { type: 'number' } }, ['city', 'degrees']),
    run: ({ city }) => {
      const structuredContent = { city, degrees: 21.5 };
      return { content: [{ type: 'text', text: JSON.stringify(structuredContent) }], structuredContent };
    },
  },
  test_tool_with_logging: {
    description: 'Writes three log messages while it works',
    run: async (_args, call) => {
      for (const line of ['Tool execution started', 'Tool processing data', 'Tool execution completed']) {
        await call.log('info', line);
        await delay(50);
      }
      return text('Three messages were logged');
    },
  },
  test_log_at: {
    description: 'Writes one log message at each level',
    run: async (_args, call) => {
      for (const level of ['debug', 'info', 'warning', 'error']) await call.log(level, `said at ${level}`);
      return text('Four levels were logged');
    },
  },
  test_logging_tool: {
    description: 'Logs once, which a request that named no level must not hear in the modern era',
    run: async (_args, call) => {
      await call.log('info', 'heard only where a level was asked for');
      return text('Logged once');
    },
  },
  test_tool_with_progress: {
    description: 'Reports its progress three times',
    run: async (_args, call) => {
      for (const done of [0, 50, 100]) {
        await call.progress(done, 100, `${done} of 100`);
        await delay(50);
      }
      return text('All of it is done');
    },
  },
  test_error_handling: {
    description: 'Fails always',
    run: () => ({ ...text('This tool intentionally returns an error for testing'), isError: true }),
  },
  test_reconnection: {
    description: 'Closes its stream and answers when the client has come back',
    run: async (_args, call) => {
      call.closeStream();
      await delay(100);
      return text('Answered after the stream was closed');
    },
  },
  test_wait: {
    description: 'Works until it is cancelled, and counts that it was',
    inputSchema: object({ key: { type: 'string' } }, ['key']),
    run: async ({ key }, call) => {
      call.server.count(`started ${key}`);
      await call.progress(1, 2, 'begun');
      await delay(60_000, null, { signal: call.signal, ref: false }).catch(() => undefined);
      if (call.signal.aborted) call.server.count(`cancelled ${key}`);
      return text('Waited');
    },
  },
  test_counted: {
    description: 'Says what was counted under a key',
    inputSchema: object({ key: { type: 'string' } }, ['key']),
    run: ({ key }, call) => text(call.server.counted(key)),
  },
  test_trigger_tool_change: {
    description: 'Changes the list of tools',
    run: (_args, call) => {
      call.server.change('tools');
      return text('The tools have changed');
    },
  },
  test_trigger_prompt_change: {
    description: 'Changes the list of prompts',
    run: (_args, call) => {
      call.server.change('prompts');
      return text('The prompts have changed');
    },
  },
  test_trigger_resource_change: {
    description: 'Changes the list of resources',
    run: (_args, call) => {
      call.server.change('resources');
      return text('The resources have changed');
    },
  },
  test_touch_resource: {
    description: 'Changes a resource',
    inputSchema: object({ uri: { type: 'string' } }, ['uri']),
    run: ({ uri }, call) => {
      call.server.touch(uri);
      return text(`Touched ${uri}`);
    },
  },

  // ── What asks the client ────────────────────────────────────────────────────────────────────────────────────────
  test_sampling: {
    description: 'Asks the client’s model',
    inputSchema: object({ prompt: { type: 'string' } }, ['prompt']),
    run: async ({ prompt }, call) => {
      const { answer } = await call.ask(1, { answer: sample(prompt) });
      return text(`LLM response: ${sampled(answer)}`);
    },
  },
  test_elicitation: {
    description: 'Asks the user for a name and an address',
    inputSchema: object({ message: { type: 'string' } }, ['message']),
    run: async ({ message }, call) => {
      const properties = {
        username: { type: 'string', description: 'User’s response' },
        email: { type: 'string', description: 'User’s email address' },
      };
      const { user } = await call.ask(1, { user: form(message, properties, ['username', 'email']) });
      return text(`User response: ${said(user)}`);
    },
  },
  test_list_roots: {
    description: 'Asks the client for its roots',
    run: async (_args, call) => {
      const answers = await call.ask(1, { roots });
      return text(`Roots: ${answers.roots.roots.map(({ uri }) => uri).join(' ')}`);
    },
  },
  test_elicitation_sep1034_defaults: {
    description: 'Asks the user with a default for each kind of value',
    run: async (_args, call) => {
      const properties = {
        name: { type: 'string', default: 'John Doe' },
        age: { type: 'integer', default: 30 },
        score: { type: 'number', default: 95.5 },
        status: { type: 'string', enum: ['active', 'inactive', 'pending'], default: 'active' },
        verified: { type: 'boolean', default: true },
      };
      const { user } = await call.ask(1, { user: form('Please look through these values', properties) });
      return text(`Elicitation completed: ${said(user)}`);
    },
  },
  test_elicitation_sep1330_enums: {
    description: 'Asks the user with each kind of choice',
    run: async (_args, call) => {
      const titled = ['value1', 'value2', 'value3'].map((value) => ({
        const: value,
        title: `Title of ${value}`,
      }));
      const options = ['option1', 'option2', 'option3'];
      const properties = {
        untitledSingle: { type: 'string', enum: options },
        titledSingle: { type: 'string', oneOf: titled },
        legacyEnum: { type: 'string', enum: ['opt1', 'opt2'], enumNames: ['Option One', 'Option Two'] },
        untitledMulti: { type: 'array', minItems: 1, maxItems: 3, items: { type: 'string', enum: options } },
        titledMulti: { type: 'array', minItems: 1, maxItems: 3, items: { anyOf: titled } },
      };
      const { user } = await call.ask(1, { user: form('Please choose', properties) });
      return text(`Elicitation completed: ${said(user)}`);
    },
  },
  test_missing_capability: {
    description: 'Cannot work without the client’s model',
    run: async (_args, call) => {
      const { answer } = await call.ask(1, { answer: sample('Say pong', 16) });
      return text(sampled(answer));
    },
  },
  test_streaming_elicitation: {
    description: 'Answers at once; its stream carries no request',
    run: () => text('Nothing was asked'),
  },
  test_input_required_result_elicitation: {
    description: 'Asks the user for a name',
    run: async (_args, call) => {
      const answers = await call.ask(1, { user_name: askName }, { isAnswer: { user_name: isName } });
      return text(`Hello, ${answers.user_name.content.name}!`);
    },
  },
  test_input_required_result_sampling: {
    description: 'Asks the client’s model for a capital',
    run: async (_args, call) => {
      const answers = await call.ask(1, { capital_question: sample('What is the capital of France?') });
      return text(`The model says: ${sampled(answers.capital_question)}`);
    },
  },
  test_input_required_result_list_roots: {
    description: 'Asks for the roots and counts them',
    run: async (_args, call) => {
      const answers = await call.ask(1, { client_roots: roots });
      return text(`Roots: ${answers.client_roots.roots.map(({ uri }) => uri).join(' ')}`);
    },
  },
  test_input_required_result_request_state: {
    description: 'Asks for a confirmation and wants its state back',
    run: async (_args, call) => {
      const isAnswer = { confirm: isConfirmation };
      await call.ask(1, { confirm: askConfirmation }, { isStateful: true, isAnswer });
      return text('state-ok: confirmed, and the state came back whole');
    },
  },
  test_input_required_result_multiple_inputs: {
    description: 'Asks the user, the model and for roots in one round',
    run: async (_args, call) => {
      const requests = { user_name: askName, greeting: sample('Greet somebody', 50), client_roots: roots };
      const isAnswer = { user_name: isName };
      const answers = await call.ask(1, requests, { isStateful: true, isAnswer });
      const { content } = answers.user_name;
      const count = answers.client_roots.roots.length;
      return text(`${sampled(answers.greeting)} ${content.name}, with ${count} roots`);
    },
  },
  test_input_required_result_multi_round: {
    description: 'Asks twice, the second time knowing the first answer',
    run: async (_args, call) => {
      const askColour = form('Which colour do you like?', { color: { type: 'string' } }, ['color']);
      const { step1 } = await call.ask(1, { step1: askName }, { isStateful: true });
      const { step2 } = await call.ask(2, { step2: askColour }, { isStateful: true });
      return text(`${step1.content?.name} likes ${step2.content?.color}`);
    },
  },
  test_input_required_result_tampered_state: {
    description: 'Asks for a confirmation and refuses a state that is not its own',
    run: async (_args, call) => {
      const isAnswer = { confirm: isConfirmation };
      await call.ask(1, { confirm: askConfirmation }, { isStateful: true, isAnswer });
      return text('The state is whole');
    },
  },
  test_input_required_result_capabilities: {
    description: 'Asks for what the client can do, and for nothing else',
    run: async (_args, call) => {
      const { declared } = call;
      const requests = {
        ...(declared.elicitation === undefined ? {} : { user_name: askName }),
        ...(declared.sampling === undefined ? {} : { greeting: sample('Greet somebody', 50) }),
        ...(declared.roots === undefined ? {} : { client_roots: roots }),
      };
      if (Object.keys(requests).length === 0) return text('The client can be asked for nothing');
      const answers = await call.ask(1, requests);
      return text(`The client answered: ${Object.keys(answers).join(' ')}`);
    },
  },

  // ── Schemas that must arrive as they are ────────────────────────────────────────────────────────────────────────
  json_schema_2020_12_tool: {
    description: 'Has a schema of the 2020-12 dialect',
    inputSchema: {
      $schema: 'https://json-schema.org/draft/2020-12/schema',
      type: 'object',
      $defs: {
        address: {
          $anchor: 'addressDef',
          type: 'object',
          properties: { street: { type: 'string' }, city: { type: 'string' } },
        },
      },
      properties: {
        name: { type: 'string' },
        address: { $ref: '#/$defs/address' },
        contactMethod: { type: 'string', enum: ['phone', 'email'] },
        phone: { type: 'string' },
        email: { type: 'string' },
      },
      allOf: [{ anyOf: [{ required: ['phone'] }, { required: ['email'] }] }],
      if: { properties: { contactMethod: { const: 'phone' } }, required: ['contactMethod'] },
      // oxlint-disable-next-line unicorn/no-thenable -- a word of JSON Schema
      then: { required: ['phone'] },
      else: { required: ['email'] },
      additionalProperties: false,
    },
    run: (args) => text(JSON.stringify(args)),
  },
  test_x_mcp_header: {
    description: 'Has an argument that clients repeat in a header',
    inputSchema: object({ region: { type: 'string', 'x-mcp-header': 'Region' }, level: { type: 'integer' } }),
    run: ({ region }) => text(`region=${region}`),
  },
};

/** Gives the schema that stands in the list; a tool without arguments accepts none. */
export const inputSchemaOf = ({ inputSchema }) => inputSchema ?? object();
