/**
 * The roles of the database. `portolan_owner` owns everything and cannot log in; `portolan_api`, `portolan_service` and
 * `portolan_jobs` log in and own nothing, so that row policies bind them. None is a superuser, none bypasses policies.
 * Roles belong to the server, not to the database: one server serves one fleet.
 */
import type { Client } from 'pg';
import type { Secret } from '../config/secrets.js';
import type { DatabaseRole } from '../config/statePaths.js';
import { codeOf } from './databaseErrors.js';
import { toScramVerifier } from './scramVerifier.js';

export const ownerRole = 'portolan_owner';
export const schemaName = 'portolan';
/** Any number that only this step uses. */
const rolesLock = 4_419_870_226_513_094;

export type LoginRole = Exclude<DatabaseRole, 'owner'>;
export const loginRoles: readonly LoginRole[] = ['api', 'service', 'jobs'];

/** The name of a role in the database. */
export const toRoleName = (role: LoginRole): string => `portolan_${role}`;

/**
 * Makes the roles that are missing, and the schema. The client is logged in as somebody who may: a superuser, or an
 * account with CREATEROLE that owns the database. It has become `portolan_owner` afterwards. Of parallel callers on one
 * database one works and the others find it done.
 */
export async function ensureRoles(client: Client): Promise<void> {
  await client.query('select pg_advisory_lock($1)', [rolesLock]);
  try {
    await makeRoles(client);
    await makeSchema(client);
  } finally {
    await client.query('select pg_advisory_unlock($1)', [rolesLock]);
  }
}

async function makeRoles(client: Client): Promise<void> {
  await client.query('reset role');
  for (const role of [ownerRole, ...loginRoles.map(toRoleName)]) {
    const login = role === ownerRole ? 'nologin' : 'login';
    await client.query(`
      do $$ begin
        create role ${role} ${login} nosuperuser nocreatedb nocreaterole noinherit noreplication;
      exception when duplicate_object or unique_violation then null;
      end $$`);
  }
  for (const role of loginRoles.map(toRoleName)) {
    await client.query(`
      do $$ begin
        if not exists (
          select from pg_db_role_setting s join pg_roles r on r.oid = s.setrole
          where r.rolname = '${role}' and s.setdatabase = 0 and 'search_path=${schemaName}, pg_temp' = any (s.setconfig)
        ) then
          alter role ${role} set search_path = ${schemaName}, pg_temp;
        end if;
        execute format('grant connect on database %I to ${role}', current_database());
      end $$`);
  }
}

async function makeSchema(client: Client): Promise<void> {
  await becomeOwner(client);
  const { rowCount } = await client.query('select from pg_namespace where nspname = $1', [schemaName]);
  if (rowCount === 0) {
    // Making it takes a right on the database that the owner role does not have.
    await client.query('reset role');
    await client.query(`create schema ${schemaName} authorization ${ownerRole}`);
    await becomeOwner(client);
  }
}

/** Works as `portolan_owner` from here on; an account that is no superuser is made a member first. */
export async function becomeOwner(client: Client): Promise<void> {
  try {
    await client.query(`set role ${ownerRole}`);
  } catch (thrown) {
    if (codeOf(thrown) !== '42501') throw thrown;
    await client.query(`grant ${ownerRole} to current_user`);
    await client.query(`set role ${ownerRole}`);
  }
  await client.query(`set search_path = ${schemaName}, pg_temp`);
}

/** Gives a login role its password. The client is logged in as in `ensureRoles`. */
export async function setRolePassword(
  client: Client,
  role: LoginRole,
  password: Secret,
  salt: Buffer,
): Promise<void> {
  await client.query('reset role');
  await client.query(`alter role ${toRoleName(role)} password '${toScramVerifier(password.reveal(), salt)}'`);
  await becomeOwner(client);
}
