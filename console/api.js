/**
 * The API as the console uses it. The access token lives in memory; the refresh token in this tab's session storage, so
 * that a reload does not sign out and closing the tab does.
 */
const refreshKey = 'portolan.refresh';
let accessToken = null;
let refreshing = null;

export class Problem extends Error {
  constructor(status, body) {
    super(body.detail ?? body.title ?? 'The server did not answer as expected.');
    this.status = status;
    this.code = body.code ?? '';
    this.fields = body.errors ?? [];
  }
}

export const isSignedIn = () => accessToken !== null || sessionStorage.getItem(refreshKey) !== null;

function keep({ accessToken: access, refreshToken }) {
  accessToken = access;
  sessionStorage.setItem(refreshKey, refreshToken);
}

export function forget() {
  accessToken = null;
  sessionStorage.removeItem(refreshKey);
}

async function send(method, path, body) {
  let response;
  try {
    response = await fetch(`api/v1/${path}`, {
      method,
      headers: {
        accept: 'application/json',
        ...(body === undefined ? {} : { 'content-type': 'application/json' }),
        ...(accessToken === null ? {} : { authorization: `Bearer ${accessToken}` }),
      },
      ...(body === undefined ? {} : { body: JSON.stringify(body) }),
    });
  } catch {
    throw new Problem(0, { title: 'The server cannot be reached. Is it running?' });
  }
  if (response.status === 204) return null;
  const answer = await response.json().catch(() => ({}));
  if (response.ok) return answer;
  const wait = response.headers.get('retry-after');
  if (response.status === 429 && wait !== null) {
    answer.detail = `Too many tries. Wait ${wait} seconds, then try again.`;
  }
  throw new Problem(response.status, answer);
}

/** One refresh for however many calls found the access token missing or expired; a refresh token works once. */
function refresh() {
  const refreshToken = sessionStorage.getItem(refreshKey);
  if (refreshToken === null) return Promise.reject(new Problem(401, { title: 'Sign in to continue' }));
  refreshing ??= send('POST', 'auth/refresh', { refreshToken })
    .then(keep)
    .finally(() => {
      refreshing = null;
    });
  return refreshing;
}

/** A call as the signed-in user. Throws `Problem`; after a 401 nobody is signed in any more. */
export async function call(method, path, body) {
  try {
    if (accessToken === null) await refresh();
    return await send(method, path, body).catch(async (problem) => {
      if (problem.status !== 401) throw problem;
      accessToken = null;
      await refresh();
      return send(method, path, body);
    });
  } catch (problem) {
    if (problem.status === 401) forget();
    throw problem;
  }
}

export const isSetupOpen = async () => (await send('GET', 'auth/setup')).isOpen;
export const setUp = (given) => send('POST', 'auth/setup', given);
export const register = (given) => send('POST', 'auth/register', given);
export const signIn = async (given) => keep(await send('POST', 'auth/login', given));
export const signOut = async () => {
  await call('POST', 'auth/logout').catch(() => null);
  forget();
};
