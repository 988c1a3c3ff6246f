/**
 * Very many clients at once, each with an instance URL and a credential of its own, that send one call and come back when
 * they are told to. They are bare sockets, so that the herd costs the machine little.
 */
import { randomBytes, randomUUID } from 'node:crypto';
import { createConnection } from 'node:net';
import { toRecordBinding } from '../../backend/src/services/recordBindings.js';
import { encodeFieldValues } from '../../backend/src/services/sealedValues.js';
import { createDek, wrapDek } from '../../backend/src/vault/dataKey.js';
import { createInstanceId, lookupDigest } from '../../backend/src/vault/instanceId.js';
import { seal } from '../../backend/src/vault/sealedRecord.js';
import type { Installation, MadeInstance } from './installation.js';

export interface Sheep extends MadeInstance {
  /** The credential that its upstream has to see. */
  readonly token: string;
}

/** Instances of so many users, `perUser` each, sealed as the main API seals them and laid down by the thousand. */
export async function aHerd(
  site: Installation,
  wish: {
    readonly users: number;
    readonly perUser: number;
    readonly service: string;
    readonly prefix: string;
  },
): Promise<Sheep[]> {
  const { service, prefix } = wish;
  const { ring, installId, system } = site.vault.keys();
  const herd: Sheep[] = [];
  const users: object[] = [];
  const keys: object[] = [];
  const instances: object[] = [];
  for (let user = 0; user < wish.users; user += 1) {
    const owner = randomUUID();
    const dek = createDek(randomUUID(), randomBytes);
    const wrapped = wrapDek(ring, installId, dek, owner, randomBytes);
    users.push({ id: owner, email: `${owner}@example.com` });
    keys.push({ id: dek.id, user_id: owner, kek_id: wrapped.kekId, wrapped: hex(wrapped.wrapped) });
    for (let at = 0; at < wish.perUser; at += 1) {
      const row = { id: randomUUID(), userId: owner };
      const token = `token-${herd.length}-${owner}`;
      const instanceId = createInstanceId(prefix, randomBytes);
      const sealAt = (column: 'sealed_url' | 'sealed_credential', text: Buffer): string =>
        hex(seal(dek, text, toRecordBinding(installId, column, row, 1), randomBytes));
      instances.push({
        id: row.id,
        user_id: owner,
        service,
        label: `l${at}`,
        lookup: hex(lookupDigest(system.lookup, instanceId)),
        sealed_url: sealAt('sealed_url', Buffer.from(instanceId)),
        sealed_credential: sealAt('sealed_credential', encodeFieldValues(new Map([['token', token]]))),
      });
      herd.push({ id: row.id, owner, instanceId, token });
    }
  }
  const superuser = await site.db.superuser();
  await superuser.query("begin; select set_config('app.scope', 'admin', true)");
  await superuser.query(
    `insert into users (id, email, role, password_hash)
     select id, email, 'user', '$argon2id$v=19$m=8,t=1,p=1$AA$AA'
     from jsonb_to_recordset($1) as u (id uuid, email text)`,
    [JSON.stringify(users)],
  );
  await superuser.query(
    `insert into data_keys (id, user_id, kek_id, wrapped)
     select id, user_id, kek_id, decode(wrapped, 'hex')
     from jsonb_to_recordset($1) as k (id uuid, user_id uuid, kek_id text, wrapped text)`,
    [JSON.stringify(keys)],
  );
  for (let at = 0; at < instances.length; at += 1_000) {
    await superuser.query(
      `insert into instances (id, user_id, service, label, lookup, sealed_url, state, credential_method,
                              credential_revision, sealed_credential, last_credential_revision)
       select id, user_id, service, label, decode(lookup, 'hex'), decode(sealed_url, 'hex'), 'ready', 'key', 1,
              decode(sealed_credential, 'hex'), 1
       from jsonb_to_recordset($1) as i (id uuid, user_id uuid, service text, label text, lookup text,
                                         sealed_url text, sealed_credential text)`,
      [JSON.stringify(instances.slice(at, at + 1_000))],
    );
  }
  await superuser.query('commit');
  return herd;
}

const hex = (bytes: Buffer): string => bytes.toString('hex');

export interface HerdAnswer {
  readonly status: number;
  readonly retryAfterSeconds: number;
  readonly text: string;
}

/** One POST over a connection of its own. Status 0: the connection broke. */
export function postOnce(
  port: number,
  path: string,
  headers: Readonly<Record<string, string>>,
  body: string,
): Promise<HerdAnswer> {
  const head = Object.entries(headers).map(([name, value]) => `${name}: ${value}`);
  const text = [
    `POST ${path} HTTP/1.1`,
    `host: 127.0.0.1:${port}`,
    'content-type: application/json',
    'accept: application/json, text/event-stream',
    'connection: close',
    `content-length: ${Buffer.byteLength(body)}`,
    ...head,
    '',
    body,
  ].join('\r\n');
  return new Promise((resolve) => {
    const socket = createConnection({ port, host: '127.0.0.1' });
    let answer = '';
    socket.setEncoding('utf8');
    socket.on('connect', () => socket.write(text));
    socket.on('data', (chunk: string) => (answer += chunk));
    socket.on('error', () => undefined);
    socket.on('close', () => {
      const [first = '', ...rest] = answer.split('\r\n\r\n');
      resolve({
        status: Number(/^HTTP\/1\.1 (\d+)/.exec(first)?.[1] ?? 0),
        retryAfterSeconds: Number(/^retry-after: (\d+)/im.exec(first)?.[1] ?? 0),
        text: rest.join('\r\n\r\n'),
      });
    });
  });
}

export interface HerdReport {
  /** How often each status was answered. */
  readonly statuses: Readonly<Record<number, number>>;
  /** Until everybody had been answered once, in ms. */
  readonly answeredMs: number;
  /** Until everybody had what they came for, in ms; those who were told to come back did. */
  readonly drainedMs: number;
  /** Answers with status 200 that were not the caller's own, and statuses that may not be. */
  readonly wrong: readonly string[];
}

/** Lets them all go at once. Who gets 429 or 503 comes back after `Retry-After`. */
export async function letGo(
  herd: readonly Sheep[],
  port: number,
  ask: {
    readonly service: string;
    readonly headers?: Readonly<Record<string, string>>;
    readonly body: (at: number) => string;
    /** Whether the text of an answer is that of the caller's own credential. */
    readonly isOwn: (text: string, sheep: Sheep, at: number) => boolean;
  },
): Promise<HerdReport> {
  const startedAt = performance.now();
  const statuses: Record<number, number> = {};
  const wrong: string[] = [];
  let answeredMs = 0;
  let firstAnswers = 0;
  const one = async (sheep: Sheep, at: number): Promise<void> => {
    for (let attempt = 0; ; attempt += 1) {
      const path = `/${sheep.instanceId}/${ask.service}`;
      const { status, retryAfterSeconds, text } = await postOnce(port, path, ask.headers ?? {}, ask.body(at));
      statuses[status] = (statuses[status] ?? 0) + 1;
      if (attempt === 0 && (firstAnswers += 1) === herd.length) answeredMs = performance.now() - startedAt;
      if (status === 200) {
        if (!ask.isOwn(text, sheep, at)) wrong.push(text.slice(0, 200));
        return;
      }
      if (status !== 429 && status !== 503) return void wrong.push(`${status} ${text.slice(0, 200)}`);
      if (attempt > 60) return void wrong.push('never answered');
      await new Promise((resolve) => setTimeout(resolve, Math.max(1, retryAfterSeconds) * 1_000));
    }
  };
  await Promise.all(herd.map(one));
  return { statuses, answeredMs, drainedMs: performance.now() - startedAt, wrong };
}
