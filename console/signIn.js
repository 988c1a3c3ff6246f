/** Before anybody is signed in: first set-up, signing in, registering with an invite. */
import * as api from './api.js';
import { field, form, h } from './dom.js';

const email = () =>
  field({ label: 'Email', name: 'email', type: 'email', autocomplete: 'username', required: true });
const newPassword = () =>
  field({
    label: 'Password',
    name: 'password',
    type: 'password',
    autocomplete: 'new-password',
    hint: 'At least 12 characters.',
    required: true,
  });

/** The page for a stranger; `done` is called once they are signed in. */
export async function signInPage(done) {
  if (await api.isSetupOpen()) return setupPage(done);
  return [
    h('h1', {}, 'Sign in'),
    form({
      fields: [
        email(),
        field({ label: 'Password', name: 'password', type: 'password', autocomplete: 'current-password' }),
      ],
      button: 'Sign in',
      busy: 'Signing in…',
      onSend: async (given) => {
        await api.signIn(given);
        done();
      },
    }),
    h('p', {}, h('a', { href: '#/register' }, 'I have an invite code')),
  ];
}

function setupPage(done) {
  return [
    h('h1', {}, 'Set up Portolan'),
    h('p', {}, 'There is no account yet. The first one becomes the admin.'),
    form({
      fields: [
        field({
          label: 'Set-up code',
          name: 'setupCode',
          autocomplete: 'off',
          hint: 'It is in the file setup-code of the state directory (var/ unless said otherwise) and lives for 30 minutes.',
        }),
        email(),
        newPassword(),
      ],
      button: 'Make the admin account',
      busy: 'Making it…',
      onSend: async ({ setupCode, ...account }) => {
        await api.setUp({ setupCode, ...account });
        await api.signIn(account);
        done();
      },
    }),
  ];
}

export function registerPage(done) {
  return [
    h('h1', {}, 'Use an invite'),
    form({
      fields: [
        field({ label: 'Invite code', name: 'inviteCode', autocomplete: 'off' }),
        email(),
        newPassword(),
      ],
      button: 'Make my account',
      busy: 'Making it…',
      onSend: async ({ inviteCode, ...account }) => {
        await api.register({ inviteCode, ...account });
        await api.signIn(account);
        done();
      },
    }),
    h('p', {}, h('a', { href: '#/' }, 'I have an account')),
  ];
}
