/** The services that are offered, with their live health, and connecting one. */
import { call } from './api.js';
import { field, form, h, outside } from './dom.js';
import { urlBox } from './connections.js';

function healthOf({ enabled, disabledReason, health }) {
  if (!enabled)
    return h('p', { class: 'state wait' }, `Switched off${disabledReason ? `: ${disabledReason}` : ''}`);
  if (health.lastCheck === null) return h('p', { class: 'state wait' }, 'Not checked yet');
  if (health.isAvailable)
    return h('p', { class: 'state good' }, `Running, answered in ${health.responseTimeMs} ms`);
  return h('p', { class: 'state bad' }, `Not working${health.error ? `: ${health.error}` : ''}`);
}

function needsOf({ credentials }) {
  if (credentials.scope === 'none' || credentials.scope === 'shared') return 'Needs nothing from you';
  const method = methodOf(credentials);
  if (isSignIn(method)) return 'Needs you to sign in with it';
  const names = method?.fields.filter(({ required }) => required).map(({ label }) => label) ?? [];
  return names.length === 0 ? 'Needs nothing from you' : `Needs: ${names.join(', ')}`;
}

function methodOf({ methods }) {
  const usable = methods.filter(({ unavailableReason }) => unavailableReason === null);
  return usable.find(({ recommended }) => recommended) ?? usable[0] ?? null;
}

/** Whether the user signs in with the service itself, so that there is no form to fill in. */
const isSignIn = (method) => method?.type === 'oauth2' || method?.type === 'mcp-oauth';

/** Returns the page and how to bring its health up to date. */
export async function catalogPage() {
  const { services } = await call('GET', 'catalog');
  const marks = new Map(services.map((service) => [service.name, h('div', {}, healthOf(service))]));
  const cards = services.map((service) =>
    h(
      'li',
      { class: 'card' },
      h('h2', {}, service.title),
      marks.get(service.name),
      h('p', {}, service.description ?? ''),
      h('p', { class: 'soft' }, [needsOf(service), toolsOf(service)].filter(Boolean).join(' · ')),
      service.enabled
        ? h(
            'a',
            { class: 'button', href: `#/connect/${service.name}`, 'aria-label': `Connect ${service.title}` },
            'Connect',
          )
        : null,
    ),
  );
  const page = [
    h('h1', {}, 'Catalog'),
    cards.length === 0
      ? h(
          'p',
          {},
          'No services yet. An admin adds a folder with a config.json to mcp-ports and runs generate-pm2-config.',
        )
      : h('ul', { class: 'cards' }, cards),
  ];
  const update = async () => {
    for (const service of (await call('GET', 'catalog')).services) {
      marks.get(service.name)?.replaceChildren(healthOf(service));
    }
  };
  return { page, update };
}

const toolsOf = ({ toolCount }) =>
  toolCount === null ? null : `${toolCount} ${toolCount === 1 ? 'tool' : 'tools'}`;

/** Connects a service, or replaces the credential of the connection that has this label. */
export async function connectPage(name, currentLabel, wantedMethod) {
  const service = await call('GET', `catalog/${encodeURIComponent(name)}`);
  const usable = service.credentials.methods.filter(({ unavailableReason }) => unavailableReason === null);
  const method = usable.find(({ id }) => id === wantedMethod) ?? methodOf(service.credentials);
  const result = h('div', {});
  const fields = (method?.fields ?? []).map(toField);
  const labelField = service.credentials.multiple
    ? [
        field({
          label: 'Name of this connection',
          name: 'label',
          value: currentLabel,
          hint: 'To tell several apart.',
        }),
      ]
    : [];
  const signIn = form({
    fields: labelField,
    button: method?.label ?? '',
    busy: `Going to ${service.title}…`,
    onSend: async ({ label }) => {
      const begun = await call('POST', `services/${encodeURIComponent(name)}/oauth/start`, {
        method: method.id,
        ...(label === undefined ? {} : { label }),
      });
      location.assign(begun.authorizationUrl);
    },
  });
  const connect = form({
    fields: [...fields, ...labelField],
    button: 'Connect',
    busy: `Checking with ${service.title}…`,
    onSend: async (values) => {
      const { label, ...given } = values;
      const known = new Set((method?.fields ?? []).map((one) => one.name));
      const additionalCredentials = Object.fromEntries(
        Object.entries(given).filter(([key, value]) => known.has(key) && value !== ''),
      );
      const answer = await call('POST', `services/${encodeURIComponent(name)}/authenticate`, {
        additionalCredentials,
        ...(method === null ? {} : { method: method.id }),
        ...(label === undefined ? {} : { label }),
      });
      connect.replaceWith(h('p', { class: 'state good' }, connectedAs(service, answer)));
      result.replaceChildren(urlBox(answer), h('p', {}, h('a', { href: '#/connections' }, 'My connections')));
    },
  });
  return [
    h('h1', {}, `Connect ${service.title}`),
    healthOf(service),
    method?.help ? h('p', {}, method.help) : null,
    outside('Where do I get this?', method?.helpUrl),
    method === null && service.credentials.methods.length > 0
      ? h('p', { class: 'problem' }, service.credentials.methods[0].unavailableReason)
      : isSignIn(method)
        ? signIn
        : connect,
    result,
    otherWays(name, currentLabel, usable, method),
  ];
}

/** The methods beside the one that is shown. */
function otherWays(name, label, usable, shown) {
  const others = usable.filter(({ id }) => id !== shown?.id);
  if (others.length === 0) return null;
  const to = ({ id }) => `#/connect/${name}/${encodeURIComponent(label)}?method=${encodeURIComponent(id)}`;
  return h(
    'p',
    {},
    'Or: ',
    others.map((method) => h('a', { href: to(method) }, method.label)),
  );
}

/** What came of signing in with a service; its id is all that came back in the address. */
export async function signedInPage(id) {
  const found =
    id === 'unknown'
      ? null
      : await call('GET', `oauth/sign-ins/${encodeURIComponent(id)}`).catch((problem) => {
          if (problem.status !== 404) throw problem;
          return null;
        });
  if (found === null) {
    return [
      h('h1', {}, 'Signing in'),
      h(
        'p',
        { class: 'problem', role: 'alert' },
        'This sign-in is not known here: it was used already, took too long, or was begun by somebody else. Begin again.',
      ),
      h('p', {}, h('a', { href: '#/catalog' }, 'Catalog')),
    ];
  }
  const { serviceType, title, label, status, message } = found;
  const again = `#/connect/${serviceType}/${encodeURIComponent(label)}`;
  if (status !== 'connected') {
    return [
      h('h1', {}, `Connect ${title}`),
      h('p', { class: 'problem', role: 'alert' }, message ?? 'It was not finished. Begin again.'),
      h('p', {}, h('a', { class: 'button', href: again }, 'Begin again')),
    ];
  }
  const instance = await call(
    'GET',
    `services/${encodeURIComponent(serviceType)}/instance?label=${encodeURIComponent(label)}`,
  );
  return [
    h('h1', {}, `Connect ${title}`),
    h('p', { class: 'state good' }, message),
    urlBox(instance),
    h('p', {}, h('a', { href: '#/connections' }, 'My connections')),
  ];
}

/** Never “connected” without having seen it work: a service without a check says so. */
function connectedAs({ title }, { state, identity }) {
  if (state !== 'ready') return `Stored. ${title} has no check; whether it works shows with the first call.`;
  return identity ? `${title} accepted it: ${identity}` : `${title} accepted it.`;
}

function toField(one) {
  const shared = {
    label: one.required ? one.label : `${one.label} (optional)`,
    name: one.name,
    hint: one.description,
    placeholder: one.placeholder,
    required: one.required,
  };
  if (one.type === 'enum') return field({ ...shared, tag: 'select', options: one.enum });
  if (one.type === 'boolean') {
    const options = [
      { value: 'false', label: 'No' },
      { value: 'true', label: 'Yes' },
    ];
    return field({ ...shared, tag: 'select', options });
  }
  if (one.type === 'text' || one.type === 'json') return field({ ...shared, tag: 'textarea', rows: 4 });
  if (one.secret) return field({ ...shared, type: 'password', autocomplete: 'off' });
  const types = { number: 'number', url: 'url', email: 'email' };
  return field({ ...shared, type: types[one.type] ?? 'text', value: one.default, autocomplete: 'off' });
}
