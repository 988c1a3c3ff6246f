/**
 * One row of a user in every table that can hold one, so that tests which list the tables find something in each. A new
 * table wants its row here; the test that lists them says so.
 */
import { randomBytes, randomUUID } from 'node:crypto';
import type { Client } from 'pg';

/** What the rows hang on; the user and the instance are there already. */
export interface Owner {
  readonly userId: string;
  readonly instanceId: string;
  readonly sessionId: string;
}

type Insert = (owner: Owner) => readonly [columns: string, values: readonly unknown[]];

const tomorrow = (): Date => new Date(Date.now() + 86_400_000);

/** In the order in which they hang on each other. `users` and `instances` have rows by then. */
const inserts: Readonly<Record<string, Insert>> = {
  data_keys: ({ userId }) => ['id, user_id, kek_id, wrapped', [randomUUID(), userId, 'k1', randomBytes(60)]],
  login_sessions: ({ userId, sessionId }) => ['id, user_id, expires_at', [sessionId, userId, tomorrow()]],
  refresh_tokens: ({ userId, sessionId }) => [
    'id, session_id, user_id, digest, expires_at',
    [randomUUID(), sessionId, userId, randomBytes(32), tomorrow()],
  ],
  api_keys: ({ userId }) => [
    'id, user_id, name, hint, digest',
    [randomUUID(), userId, 'key', 'ptk', randomBytes(32)],
  ],
  invites: ({ userId }) => [
    'id, role, digest, created_by, expires_at',
    [randomUUID(), 'user', randomBytes(32), userId, tomorrow()],
  ],
  last_known_lists: ({ userId, instanceId }) => [
    'instance_id, kind, user_id, body',
    [instanceId, 'tools', userId, '{}'],
  ],
  oauth_sign_ins: ({ userId, sessionId }) => [
    'id, user_id, session_id, service, label, method, state_digest, browser_digest, expires_at',
    [
      randomUUID(),
      userId,
      sessionId,
      'figma',
      'default',
      'sign-in',
      randomBytes(32),
      randomBytes(32),
      tomorrow(),
    ],
  ],
  service_settings: ({ userId }) => ['id, service, updated_by', [randomUUID(), `of-${userId}`, userId]],
  tool_baselines: ({ userId, instanceId }) => ['service, instance_id', [`of-${userId}`, instanceId]],
  tool_pins: ({ userId }) => [
    'service, tool, digest, definition, state, is_new, decided_by, decided_at',
    [
      `of-${userId}`,
      'read',
      `v1:${randomBytes(32).toString('hex')}`,
      '{}',
      'approved',
      true,
      userId,
      new Date(),
    ],
  ],
  oauth_renewals: ({ instanceId }) => [
    'instance_id, revision, next_revision, holder',
    [instanceId, 1, 2, randomUUID()],
  ],
  access_keys: ({ userId, instanceId }) => [
    'id, instance_id, user_id, name, hint, digest',
    [randomUUID(), instanceId, userId, 'key', 'ptk', randomBytes(32)],
  ],
  daily_calls: ({ userId, instanceId }) => [
    'instance_id, day, user_id, service, leased',
    [instanceId, new Date(), userId, 'figma', 5],
  ],
  audit_events: ({ userId }) => [
    'id, actor_kind, actor_id, subject_user_id, action, outcome',
    [randomUUID(), 'user', userId, userId, 'test', 'success'],
  ],
  audit_calls: ({ userId, instanceId }) => [
    'occurred_at, call_id, phase, user_id, instance_id, service, method, spool_id, spool_position',
    [new Date(), randomUUID(), 'intent', userId, instanceId, 'figma', 'tools/call', 's', 1],
  ],
};

/** @param superuser with the schema in its path */
export async function insertRowsOf(superuser: Client, owner: Owner): Promise<void> {
  for (const [table, insert] of Object.entries(inserts)) {
    const [columns, values] = insert(owner);
    const places = values.map((_value, at) => `$${at + 1}`).join(', ');
    await superuser.query(`insert into ${table} (${columns}) values (${places}) on conflict do nothing`, [
      ...values,
    ]);
  }
}

export interface OwnedTable {
  readonly name: string;
  /** A condition on the user `$1`, true for the rows of theirs. */
  readonly isTheirs: string;
  /** The columns that name a user. */
  readonly userColumns: readonly string[];
}

/**
 * Every table with something of a user in it, told from the catalogue: what has a column for a user, refers to `users`, or
 * names an instance. Partitions are left out: they are reached through their parent or not at all.
 */
export async function listOwnedTables(superuser: Client): Promise<OwnedTable[]> {
  const { rows } = await superuser.query<{ name: string; users: string[]; hasInstance: boolean }>(
    `select c.relname as name,
       array(
         select a.attname::text from pg_attribute a
         where a.attrelid = c.oid and a.attnum > 0 and not a.attisdropped and a.atttypid = 'uuid'::regtype and (
           a.attname ~ '(^|_)(user|owner|actor)_id$' or (c.relname = 'users' and a.attname = 'id')
           or exists (
             select from pg_constraint k
             where k.conrelid = c.oid and k.confrelid = 'portolan.users'::regclass and a.attnum = any (k.conkey)
           )
         ) order by a.attnum
       ) as users,
       exists (
         select from pg_attribute a
         where a.attrelid = c.oid and a.attname = 'instance_id' and not a.attisdropped and a.atttypid = 'uuid'::regtype
       ) as "hasInstance"
     from pg_class c
     where c.relnamespace = 'portolan'::regnamespace and c.relkind in ('r', 'p') and not c.relispartition
     order by 1`,
  );
  return rows
    .filter(({ users, hasInstance }) => users.length > 0 || hasInstance)
    .map(({ name, users, hasInstance }) => ({
      name,
      userColumns: users,
      isTheirs: [
        ...users.map((column) => `${name}.${column} = $1`),
        ...(hasInstance
          ? [`${name}.instance_id in (select i.id from portolan.instances i where i.user_id = $1)`]
          : []),
      ].join(' or '),
    }));
}
