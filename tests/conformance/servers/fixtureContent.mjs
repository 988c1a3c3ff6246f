// What the fixture servers of both eras hold besides tools: prompts, resources, templates and completions, and what is
// counted and changed for as long as a server's process lives.

const pixel =
  'iVBORw0KGgoAAAANSUhEUgAAAAEAAAABCAYAAAAfFcSJAAAADUlEQVR42mP8z8DwHwAFBQIAX8jx0gAAAABJRU5ErkJggg==';
const silence = 'UklGRiQAAABXQVZFZm10IBAAAAABAAEAQB8AAEAfAAABAAgAZGF0YQAAAAA=';

export const image = { type: 'image', data: pixel, mimeType: 'image/png' };
export const audio = { type: 'audio', data: silence, mimeType: 'audio/wav' };

export function resourceOf(uri, content, mimeType = 'text/plain') {
  return { type: 'resource', resource: { uri, mimeType, text: content } };
}

const fromUser = (content) => ({ role: 'user', content });
const spoken = (text) => fromUser({ type: 'text', text });
const argument = (name, description) => ({ name, description, required: true });

/** Name → description, arguments, and the messages; `ask` as a tool has it. */
export const prompts = {
  test_simple_prompt: {
    description: 'Has no arguments',
    messages: () => [spoken('This is a simple prompt for testing.')],
  },
  test_prompt_with_arguments: {
    description: 'Repeats its two arguments',
    arguments: [argument('arg1', 'The first'), argument('arg2', 'The second')],
    messages: ({ arg1, arg2 }) => [spoken(`Prompt with arguments: arg1='${arg1}', arg2='${arg2}'`)],
  },
  test_prompt_with_embedded_resource: {
    description: 'Has a resource in its messages',
    arguments: [argument('resourceUri', 'Which resource')],
    messages: ({ resourceUri }) => [
      fromUser(resourceOf(resourceUri, 'Embedded resource content for testing.')),
      spoken('Please process the embedded resource above.'),
    ],
  },
  test_prompt_with_image: {
    description: 'Has an image in its messages',
    messages: () => [fromUser(image), spoken('Please analyze the image above.')],
  },
  test_input_required_result_prompt: {
    description: 'Asks the user for a context first',
    messages: async (_args, call) => {
      const request = {
        method: 'elicitation/create',
        params: {
          mode: 'form',
          message: 'Which context?',
          requestedSchema: {
            type: 'object',
            properties: { context: { type: 'string' } },
            required: ['context'],
          },
        },
      };
      const { user_context: user } = await call.ask(1, { user_context: request });
      return [spoken(`In this context: ${user.content?.context}`)];
    },
  },
};

const textOf = (uri, text, mimeType = 'text/plain') => ({ contents: [{ uri, mimeType, text }] });

/** URI → what the list says, and what a read gives. */
export const resources = {
  'test://static-text': {
    name: 'static-text',
    mimeType: 'text/plain',
    read: (uri) => textOf(uri, 'This is the content of the static text resource.'),
  },
  'test://static-binary': {
    name: 'static-binary',
    mimeType: 'image/png',
    read: (uri) => ({ contents: [{ uri, mimeType: 'image/png', blob: pixel }] }),
  },
  'test://watched-resource': {
    name: 'watched-resource',
    mimeType: 'text/plain',
    read: (uri, state) => textOf(uri, `Touched ${state.counted(`touched ${uri}`)} times`),
  },
};

export const templates = [
  {
    uriTemplate: 'test://template/{id}/data',
    name: 'template',
    description: 'A resource for each id',
    mimeType: 'application/json',
  },
];

/** The content of a resource, or null when there is none. */
export function readResource(uri, state) {
  const id = /^test:\/\/template\/([^/]+)\/data$/.exec(uri)?.[1];
  if (id === undefined) return resources[uri]?.read(uri, state) ?? null;
  const data = { id, templateTest: true, data: `Data for ID: ${id}` };
  return textOf(uri, JSON.stringify(data), 'application/json');
}

/** The fruits that begin with what was typed; for templates the numbers. */
export function complete({ ref, argument: { value } }) {
  const all = ref.type === 'ref/prompt' ? ['apple', 'apricot', 'banana', 'cherry'] : ['100', '101', '200'];
  const values = all.filter((one) => one.startsWith(value));
  return { completion: { values, total: values.length, hasMore: false } };
}

/**
 * What lasts as long as the process: counters by key, and a number in each list that grows with every change.
 * `announce` tells the clients that listen: a kind of list, or the URI of a resource.
 */
export function createState(announce) {
  const counts = new Map();
  const count = (key) => void counts.set(key, (counts.get(key) ?? 0) + 1);
  return {
    count,
    counted: (key) => counts.get(key) ?? 0,
    change(list) {
      count(`changes of ${list}`);
      announce({ list });
    },
    touch(uri) {
      count(`touched ${uri}`);
      announce({ uri });
    },
    /** The list as it stands after the changes so far, each of which added an entry. */
    grown(list, entries, entryOf) {
      const added = counts.get(`changes of ${list}`) ?? 0;
      return [...entries, ...Array.from({ length: added }, (_, at) => entryOf(`test_added_${at + 1}`))];
    },
  };
}
