/** The caller's account: who they are, their personal API keys, their password. */
import { call, forget } from './api.js';
import { field, form, h, say } from './dom.js';

export async function accountPage(reload) {
  const [me, { keys }] = await Promise.all([call('GET', 'users/me'), call('GET', 'users/me/keys')]);
  const shown = h('div', {});
  return [
    h('h1', {}, 'Account'),
    h('p', {}, `${me.email} · ${me.role}`),
    h('h2', {}, 'Personal API keys'),
    h('p', { class: 'soft' }, 'For scripts, and for the service “Portolan” itself. A key has your rights.'),
    keys.length === 0
      ? h('p', {}, 'None yet.')
      : h(
          'ul',
          {},
          keys.map((key) => keyItem(key, reload)),
        ),
    shown,
    form({
      fields: [field({ label: 'Name of the new key', name: 'name', autocomplete: 'off' })],
      button: 'Create a key',
      busy: 'Creating…',
      onSend: async ({ name }) => {
        const { key } = await call('POST', 'users/me/keys', { name });
        shown.replaceChildren(
          h('p', {}, 'This key is shown once. Copy it now:'),
          h('p', { class: 'url' }, key),
          h('button', { type: 'button', onclick: () => reload() }, 'I have it'),
        );
        say('The key is created.');
      },
    }),
    h('h2', {}, 'Password'),
    form({
      fields: [
        field({
          label: 'Current password',
          name: 'currentPassword',
          type: 'password',
          autocomplete: 'current-password',
        }),
        field({
          label: 'New password',
          name: 'newPassword',
          type: 'password',
          autocomplete: 'new-password',
          hint: 'At least 12 characters. Every session ends; sign in again.',
        }),
      ],
      button: 'Change the password',
      busy: 'Changing…',
      onSend: async (given) => {
        await call('POST', 'users/me/password', given);
        forget();
        location.hash = '#/';
        location.reload();
      },
    }),
  ];
}

function keyItem({ id, name, hint, lastUsedAt }, reload) {
  const used = lastUsedAt === null ? 'never used' : `last used ${new Date(lastUsedAt).toLocaleString()}`;
  const remove = async () => {
    if (!confirm(`Delete the key ${name}? What uses it stops working.`)) return;
    try {
      await call('DELETE', `users/me/keys/${id}`);
    } catch (problem) {
      return say(problem.message);
    }
    return reload();
  };
  return h(
    'li',
    {},
    `${name} · ${hint}… · ${used} `,
    h(
      'button',
      { type: 'button', class: 'danger', 'aria-label': `Delete the key ${name}`, onclick: remove },
      'Delete',
    ),
  );
}
