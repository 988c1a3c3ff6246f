/** The caller's connections: what state each is in, its URL, and what can be done with it. */
import { call } from './api.js';
import { field, form, h, say } from './dom.js';

const states = {
  ready: ['good', 'Ready'],
  checking: ['wait', 'Stored; not seen working yet'],
  not_configured: ['wait', 'No credential yet'],
  paused: ['wait', 'Paused'],
  needs_reauth: ['bad', 'The service no longer accepts the credential'],
  rejected_by_service: ['bad', 'The service refuses the credential'],
  unreachable: ['bad', 'The service cannot be reached'],
};

const when = (time) => (time === null ? 'never' : new Date(time).toLocaleString());

/** The URL with a copy button; it is the key to the instance, and says so. */
export function urlBox({ instanceUrl, reveal }) {
  if (instanceUrl === null) return h('p', { class: 'soft' }, reveal ?? 'The URL is not shown.');
  const copy = async () => {
    try {
      await navigator.clipboard.writeText(instanceUrl);
      say('The URL is copied.');
    } catch {
      say('The browser did not allow to copy; select the URL and copy it yourself.');
    }
  };
  const isPlain = instanceUrl.startsWith('http://');
  return h(
    'div',
    {},
    h(
      'p',
      {},
      'Paste this URL into your MCP client. Whoever has it can use the service as you: keep it like a password.',
    ),
    h('p', { class: 'url' }, instanceUrl),
    isPlain
      ? h('p', { class: 'soft' }, 'It is plain http: use it on this machine or a network that you trust.')
      : null,
    h('button', { type: 'button', onclick: copy }, 'Copy the URL'),
  );
}

export async function connectionsPage(reload) {
  const { instances } = await call('GET', 'user/instances');
  if (instances.length === 0) {
    return [
      h('h1', {}, 'My connections'),
      h('p', {}, 'None yet. Three steps:'),
      h(
        'ol',
        {},
        h('li', {}, 'Pick a service in the ', h('a', { href: '#/catalog' }, 'catalog'), '.'),
        h('li', {}, 'Enter what it needs; it is checked with the service and stored sealed.'),
        h('li', {}, 'Paste your URL into your MCP client.'),
      ),
    ];
  }
  return [
    h('h1', {}, 'My connections'),
    h(
      'ul',
      { class: 'cards' },
      instances.map((instance) => connectionCard(instance, reload)),
    ),
  ];
}

function connectionCard(instance, reload) {
  const { serviceType, label, state, stateCause, nextAction, identity, isActive } = instance;
  const [kind, word] = states[isActive ? state : 'paused'] ?? ['wait', state];
  const path = `services/${encodeURIComponent(serviceType)}/instance`;
  const query = `?label=${encodeURIComponent(label)}`;
  const name = label === 'default' ? serviceType : `${serviceType} (${label})`;
  const place = h('div', {});

  const act = (button, work) => async () => {
    button.disabled = true;
    try {
      await work();
    } catch (problem) {
      place.replaceChildren(h('p', { class: 'problem', role: 'alert' }, problem.message));
    } finally {
      button.disabled = false;
    }
  };
  const action = (text, work, danger = false) => {
    const button = h(
      'button',
      { type: 'button', class: danger ? 'danger' : null, 'aria-label': `${text}: ${name}` },
      text,
    );
    button.addEventListener('click', act(button, work));
    return button;
  };
  const show = async () => {
    place.replaceChildren(urlBox(await call('POST', `${path}/reveal${query}`, {})));
  };
  const showOrAsk = () =>
    show().catch((problem) => {
      if (problem.code !== 'REAUTHENTICATION_REQUIRED') throw problem;
      place.replaceChildren(askPassword(show));
    });

  return h(
    'li',
    { class: 'card' },
    h('h2', {}, name),
    h('p', { class: `state ${kind}` }, word),
    stateCause ? h('p', {}, stateCause) : null,
    nextAction ? h('p', {}, nextAction) : null,
    h('p', { class: 'soft' }, `${identity ? `As ${identity} · ` : ''}last used ${when(instance.lastUsedAt)}`),
    place,
    action('Show the URL', showOrAsk),
    action('Test', async () => {
      await call('POST', `${path}/test${query}`, {});
      say(`${name} was tested.`);
      await reload();
    }),
    action('New URL', async () => {
      if (!confirm(`Give ${name} a new URL? The old one stops working at once.`)) return;
      place.replaceChildren(urlBox(await call('POST', `${path}/rotate${query}`, {})));
      say('The old URL no longer works.');
    }),
    action(isActive ? 'Pause' : 'Resume', async () => {
      await call('PATCH', path + query, { isActive: !isActive });
      await reload();
    }),
    h(
      'p',
      {},
      h('a', { href: `#/connect/${serviceType}/${encodeURIComponent(label)}` }, 'Replace the credential'),
    ),
    action(
      'Disconnect',
      async () => {
        if (!confirm(`Disconnect ${name}? Its credential and URL are deleted for good.`)) return;
        await call('DELETE', path + query);
        say(`${name} is disconnected.`);
        await reload();
      },
      true,
    ),
  );
}

function askPassword(then) {
  return form({
    fields: [
      h('p', {}, 'The URL is a secret: give your password again to see it.'),
      field({ label: 'Password', name: 'password', type: 'password', autocomplete: 'current-password' }),
    ],
    button: 'Show the URL',
    busy: 'Checking…',
    onSend: async ({ password }) => {
      await call('POST', 'auth/reauthenticate', { password });
      await then();
    },
  });
}
