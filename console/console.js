/** The console: which page is shown, and who may see it. The page's name is in the address after `#`. */
import * as api from './api.js';
import { accountPage } from './account.js';
import { catalogPage, connectPage, signedInPage } from './catalog.js';
import { connectionsPage } from './connections.js';
import { h } from './dom.js';
import { registerPage, signInPage } from './signIn.js';

const refreshMs = 10_000;
const pages = [
  ['#/connections', 'My connections'],
  ['#/catalog', 'Catalog'],
  ['#/account', 'Account'],
];
let shownPage = 0;
let timer;

/** The page of the current address: its parts, and how to bring it up to date while it is shown. */
async function build(hash) {
  if (!api.isSignedIn())
    return { parts: hash === '#/register' ? registerPage(show) : await signInPage(show) };
  const connect = /^#\/connect\/([a-z0-9-]+)(?:\/([^?]+))?(?:\?method=([a-z0-9-]+))?$/.exec(hash);
  if (connect) {
    const label = decodeURIComponent(connect[2] ?? 'default');
    return { parts: await connectPage(connect[1], label, connect[3]) };
  }
  const signedIn = /^#\/sign-in\/([a-z0-9-]+)$/.exec(hash);
  if (signedIn) return { parts: await signedInPage(signedIn[1]) };
  if (hash === '#/catalog') {
    const { page, update } = await catalogPage();
    return { parts: page, update };
  }
  if (hash === '#/account') return { parts: await accountPage(show) };
  return { parts: await connectionsPage(show) };
}

async function show() {
  const turn = (shownPage += 1);
  clearTimeout(timer);
  const main = document.getElementById('main');
  main.setAttribute('aria-busy', 'true');
  let built;
  try {
    built = await build(location.hash);
  } catch (problem) {
    if (problem.status === 401) return show();
    built = {
      parts: [
        h('h1', {}, 'This page cannot be shown'),
        h('p', { class: 'problem', role: 'alert' }, problem.message),
        h('button', { type: 'button', onclick: show }, 'Try again'),
      ],
    };
  }
  // A slower page that was asked for before must not replace this one.
  if (turn !== shownPage) return;
  main.replaceChildren(...built.parts.filter(Boolean));
  main.removeAttribute('aria-busy');
  showNavigation();
  document.title = `${main.querySelector('h1')?.textContent ?? ''} · Portolan`;
  main.focus();
  if (built.update) keepUpToDate(turn, built.update);
}

function keepUpToDate(turn, update) {
  timer = setTimeout(async () => {
    await update().catch(() => null);
    if (turn === shownPage) keepUpToDate(turn, update);
  }, refreshMs);
}

function showNavigation() {
  const nav = document.getElementById('nav');
  if (!api.isSignedIn()) return nav.replaceChildren();
  const here = location.hash || '#/connections';
  nav.replaceChildren(
    ...pages.map(([href, text]) => h('a', { href, 'aria-current': here === href ? 'page' : null }, text)),
    h('a', { href: 'api/v1/docs' }, 'API'),
    h(
      'button',
      {
        type: 'button',
        onclick: async () => {
          await api.signOut();
          location.hash = '#/';
          show();
        },
      },
      'Sign out',
    ),
  );
}

// The address after `#` names the page, so the skip link moves the focus by itself.
document.getElementById('skip').addEventListener('click', (event) => {
  event.preventDefault();
  document.getElementById('main').focus();
});

// The setup instructions of a service link to console/connect/<service>; pages live behind `#`. Nothing is asked of the
// API before the move: a refresh whose answer this page does not live to see would use up the refresh token.
const deep = /\/console\/(connect\/[a-z0-9-]+|catalog|connections|account)\/?$/.exec(location.pathname);
if (deep) location.replace(`${document.baseURI}#/${deep[1]}`);
else {
  addEventListener('hashchange', show);
  show();
}
