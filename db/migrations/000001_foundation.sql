-- The ground that the other migrations stand on: who may do what by default, whose rows a transaction sees, and the
-- keys. Runs as portolan_owner in the schema portolan; the roles and the schema are made before (database/roles.ts).

-- A function of ours is callable by nobody until it is granted.
alter default privileges revoke execute on functions from public;

grant usage on schema portolan to portolan_api, portolan_service, portolan_jobs;

-- Set by withUser for one transaction. A setting that was once set and reset reads as '', hence nullif.
create function app_user_id() returns uuid
language sql stable parallel safe
return nullif(pg_catalog.current_setting('app.user_id', true), '')::pg_catalog.uuid;

create function app_scope() returns text
language sql stable parallel safe
return pg_catalog.current_setting('app.scope', true);

grant execute on function app_user_id(), app_scope() to portolan_api, portolan_service, portolan_jobs;

create table install (
  is_only boolean primary key default true check (is_only),
  install_id uuid not null,
  created_at timestamptz not null default now()
);
comment on table install is 'One row: the id that every seal and wrap of this installation is bound to.';
grant select, insert on install to portolan_api;
grant select on install to portolan_jobs;

create table system_keys (
  name text primary key check (name in ('lookup', 'audit', 'state')),
  kek_id text not null,
  wrapped bytea not null,
  created_at timestamptz not null default now(),
  updated_at timestamptz not null default now()
);
comment on table system_keys is 'Keys of the installation, wrapped by a KEK.';
grant select, insert, update on system_keys to portolan_api;
grant select, update on system_keys to portolan_jobs;

create table kek_usage (
  kek_id text primary key,
  wraps bigint not null
);
comment on table kek_usage is 'How often each KEK wrapped a key, ever; kept by triggers.';
grant select on kek_usage to portolan_api, portolan_jobs;

create function count_wrap() returns trigger
language plpgsql security definer set search_path = portolan, pg_temp as $$
begin
  insert into kek_usage as u (kek_id, wraps) values (new.kek_id, 1)
  on conflict (kek_id) do update set wraps = u.wraps + 1;
  return null;
end $$;

create trigger count_wrap_of_new after insert on system_keys
  for each row execute function count_wrap();
create trigger count_wrap_of_changed after update on system_keys
  for each row when (old.wrapped is distinct from new.wrapped) execute function count_wrap();

create table ring_heartbeats (
  process_id text primary key,
  program text not null,
  fingerprint text not null,
  primary_kek_id text not null,
  seen_at timestamptz not null default now()
);
comment on table ring_heartbeats is 'Which key ring each live process holds; a rotation waits until all hold the new KEK.';
grant select on ring_heartbeats to portolan_api, portolan_jobs;

create function ring_heartbeat(p_process_id text, p_program text, p_fingerprint text, p_primary_kek_id text)
returns void
language sql security definer set search_path = portolan, pg_temp as $$
  insert into ring_heartbeats (process_id, program, fingerprint, primary_kek_id)
  values (p_process_id, p_program, p_fingerprint, p_primary_kek_id)
  on conflict (process_id) do update set program = excluded.program, fingerprint = excluded.fingerprint,
    primary_kek_id = excluded.primary_kek_id, seen_at = now()
$$;

create function read_system_keys()
returns table (install_id uuid, name text, kek_id text, wrapped bytea)
language sql stable security definer set search_path = portolan, pg_temp as $$
  select i.install_id, k.name, k.kek_id, k.wrapped from install i cross join system_keys k order by k.name
$$;

-- The newest migration that was run; the table is node-pg-migrate's.
create function schema_version() returns text
language sql stable security definer set search_path = portolan, pg_temp as $$
  select max(m.name) from migrations m
$$;

grant execute on function schema_version(), ring_heartbeat(text, text, text, text), read_system_keys()
  to portolan_api, portolan_service, portolan_jobs;
