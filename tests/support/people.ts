/** People who use a running fleet over its HTTP API, told like a story: `anAdmin`, `aUser`, `connect`. */
import { randomBytes } from 'node:crypto';
import type { Fleet } from './fleet.js';

export interface Answer {
  readonly status: number;
  readonly headers: Headers;
  readonly body: Record<string, unknown>;
}

export interface Person {
  readonly email: string;
  readonly password: string;
  /** A call of the API as this person. */
  call(method: string, path: string, body?: unknown): Promise<Answer>;
}

export interface Connected {
  readonly id: string;
  readonly instanceId: string;
  readonly instanceUrl: string;
}

/** One call; a body that is no JSON object comes as `{text}`. */
export async function callApi(
  origin: string,
  method: string,
  path: string,
  { body, bearer }: { body?: unknown; bearer?: string } = {},
): Promise<Answer> {
  const response = await fetch(`${origin}${path}`, {
    method,
    headers: {
      ...(body === undefined ? {} : { 'content-type': 'application/json' }),
      ...(bearer === undefined ? {} : { authorization: `Bearer ${bearer}` }),
    },
    ...(body === undefined ? {} : { body: JSON.stringify(body) }),
  });
  const text = await response.text();
  let parsed: unknown;
  try {
    parsed = text === '' ? {} : JSON.parse(text);
  } catch {
    parsed = { text };
  }
  return { status: response.status, headers: response.headers, body: parsed as Record<string, unknown> };
}

/** Uses the set-up code. */
export async function anAdmin(fleet: Fleet): Promise<Person> {
  const account = { email: 'ada@example.com', password: newPassword() };
  const made = await callApi(fleet.origin, 'POST', '/api/v1/auth/setup', {
    body: { setupCode: fleet.setupCode(), ...account },
  });
  if (made.status !== 201) throw new Error(`set-up: ${made.status} ${JSON.stringify(made.body)}`);
  return await signIn(fleet, account);
}

export async function aUser(fleet: Fleet, admin: Person, name: string): Promise<Person> {
  const account = { email: `${name}@example.com`, password: newPassword() };
  const made = await admin.call('POST', '/api/v1/users', { ...account, role: 'user' });
  if (made.status !== 201) throw new Error(`adding ${name}: ${made.status} ${JSON.stringify(made.body)}`);
  return await signIn(fleet, account);
}

async function signIn(fleet: Fleet, account: { email: string; password: string }): Promise<Person> {
  const { status, body } = await callApi(fleet.origin, 'POST', '/api/v1/auth/login', { body: account });
  const bearer = body.accessToken;
  if (status !== 200 || typeof bearer !== 'string')
    throw new Error(`login: ${status} ${JSON.stringify(body)}`);
  return {
    ...account,
    call: (method, path, sent) =>
      callApi(fleet.origin, method, path, sent === undefined ? { bearer } : { body: sent, bearer }),
  };
}

/** Authenticates to a service; the answer's instance URL is what goes into an MCP client. */
export async function connect(person: Person, service: string, body: object = {}): Promise<Connected> {
  const answer = await person.call('POST', `/api/v1/services/${service}/authenticate`, body);
  if (answer.status !== 201 && answer.status !== 200) {
    throw new Error(`authenticate ${service}: ${answer.status} ${JSON.stringify(answer.body)}`);
  }
  return answer.body as unknown as Connected;
}

/** A personal API key: the credential of the service `portolan`. */
export async function aPersonalKey(person: Person): Promise<string> {
  const { status, body } = await person.call('POST', '/api/v1/users/me/keys', { name: 'for portolan' });
  if (status !== 201 || typeof body.key !== 'string')
    throw new Error(`key: ${status} ${JSON.stringify(body)}`);
  return body.key;
}

const newPassword = (): string => `correct horse ${randomBytes(9).toString('base64url')}`;
