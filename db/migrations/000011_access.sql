-- Who may use an instance besides knowing its URL: access keys, the owner's own access token, and addresses (05, "Access
-- modes"; decision 0014).

-- Single addresses are blocks as well; empty: from anywhere. The texts are those of ipaddr.js, checked by the main API.
alter table instances
  add column allowed_cidrs text[] not null default '{}'
    check (cardinality(allowed_cidrs) <= 32 and array_position(allowed_cidrs, null) is null),
  add constraint instances_owner_key unique (id, user_id);

create or replace trigger notify_instance_changed after update on instances
  for each row when (
    (old.user_id, old.service, old.label, old.lookup, old.previous_lookup, old.previous_expires_at, old.is_active,
     old.access_mode, old.allowed_cidrs, old.epoch, old.credential_revision, old.sealed_credential, old.staged_revision,
     old.overrides_revision, old.sealed_overrides, old.identity_label, old.state, old.state_cause, old.expires_at,
     old.deleted_at)
    is distinct from
    (new.user_id, new.service, new.label, new.lookup, new.previous_lookup, new.previous_expires_at, new.is_active,
     new.access_mode, new.allowed_cidrs, new.epoch, new.credential_revision, new.sealed_credential, new.staged_revision,
     new.overrides_revision, new.sealed_overrides, new.identity_label, new.state, new.state_cause, new.expires_at,
     new.deleted_at)
  ) execute function notify_instance_changed();

create table access_keys (
  id uuid primary key,
  instance_id uuid not null,
  user_id uuid not null,
  name text not null check (char_length(name) between 1 and 100),
  hint text not null check (char_length(hint) <= 16),
  -- HMAC under the lookup key, so that a stolen dump neither holds a key nor can test a guess.
  digest bytea not null unique check (octet_length(digest) = 32),
  created_at timestamptz not null default now(),
  expires_at timestamptz,
  last_used_at timestamptz,
  revoked_at timestamptz,
  -- With the owner, so that nobody makes a key for an instance of somebody else.
  foreign key (instance_id, user_id) references instances (id, user_id) on delete cascade
);
comment on table access_keys is 'Bearer credentials of one instance each, for the access mode url+token.';
create index access_keys_of_instance on access_keys (instance_id, created_at);

alter table access_keys enable row level security;
alter table access_keys force row level security;
create policy owner_all on access_keys to portolan_owner using (true) with check (true);
create policy api_own on access_keys to portolan_api
  using (user_id = (select app_user_id()) or (select app_scope()) = 'admin')
  with check (user_id = (select app_user_id()) or (select app_scope()) = 'admin');
grant select, insert, update on access_keys to portolan_api;

-- Whoever keeps the outcome of a check, or holds open what came with the key, hears of it as of a change of the instance.
create function notify_access_key_revoked() returns trigger
language plpgsql set search_path = portolan, pg_temp as $$
begin
  perform pg_notify('portolan_instances', new.instance_id::text);
  return null;
end $$;
create trigger notify_access_key_revoked after update on access_keys
  for each row when (old.revoked_at is distinct from new.revoked_at) execute function notify_access_key_revoked();

create function revoke_keys_of_deleted() returns trigger
language plpgsql set search_path = portolan, pg_temp as $$
begin
  update access_keys k set revoked_at = now() where k.instance_id = new.id and k.revoked_at is null;
  return null;
end $$;
create trigger revoke_keys_of_deleted after update on instances
  for each row when (old.deleted_at is null and new.deleted_at is not null)
  execute function revoke_keys_of_deleted();

-- For service processes -----------------------------------------------------------------------------------------------

-- What `resolve_instance` gave, and the terms of access. It is a type of its own: a connection of the version before has
-- a prepared statement whose columns must not change under it (06 R30).
create type found_instance as (
  id uuid, user_id uuid, user_status text, service text, label text, is_active boolean, access_mode text,
  allowed_cidrs text[], epoch integer, version integer, state text, state_cause text, identity_label text,
  expires_at timestamptz,
  -- Until that end by this server's clock, so that the clock of a service process decides nothing (06 R16).
  expires_in_ms double precision,
  credential_method text, credential_revision integer, sealed_credential bytea,
  overrides_revision integer, sealed_overrides bytea, data_keys jsonb
);

create function ms_until(p_at timestamptz) returns double precision
language sql stable set search_path = portolan, pg_temp as $$
  select extract(epoch from p_at - clock_timestamp()) * 1000
$$;

-- Finds nothing but what may be served: a paused or ended instance, and one whose owner is disabled, take the same two
-- probes of an index as an id that nobody has (07 A01).
create function find_instance(p_lookup bytea, p_service text) returns setof found_instance
language plpgsql stable security definer set search_path = portolan, pg_temp as $$
begin
  return query
  select i.id, i.user_id, u.status, i.service, i.label, i.is_active, i.access_mode, i.allowed_cidrs, i.epoch, i.version,
         i.state, i.state_cause, i.identity_label, i.expires_at, ms_until(i.expires_at), i.credential_method,
         i.credential_revision, i.sealed_credential, i.overrides_revision, i.sealed_overrides, data_keys_of(i.user_id)
  from instances i join users u on u.id = i.user_id
  where i.lookup = p_lookup and i.service = p_service and i.deleted_at is null and i.is_active and u.status = 'active'
    and (i.expires_at is null or i.expires_at > clock_timestamp());
  if found then
    return;
  end if;
  return query
  select i.id, i.user_id, u.status, i.service, i.label, i.is_active, i.access_mode, i.allowed_cidrs, i.epoch, i.version,
         i.state, i.state_cause, i.identity_label, least(i.expires_at, i.previous_expires_at),
         ms_until(least(i.expires_at, i.previous_expires_at)), i.credential_method, i.credential_revision,
         i.sealed_credential, i.overrides_revision, i.sealed_overrides, data_keys_of(i.user_id)
  from instances i join users u on u.id = i.user_id
  where i.previous_lookup = p_lookup and i.service = p_service and i.deleted_at is null and i.is_active
    and u.status = 'active' and least(i.expires_at, i.previous_expires_at) > clock_timestamp();
end $$;

create function find_instance_by_id(p_id uuid, p_service text, p_staged boolean) returns setof found_instance
language plpgsql stable security definer set search_path = portolan, pg_temp as $$
begin
  return query
  select i.id, i.user_id, u.status, i.service, i.label, i.is_active, i.access_mode, i.allowed_cidrs, i.epoch, i.version,
         i.state, i.state_cause, i.identity_label, i.expires_at, ms_until(i.expires_at),
         case when p_staged then i.staged_method else i.credential_method end,
         case when p_staged then i.staged_revision else i.credential_revision end,
         case when p_staged then i.sealed_staged else i.sealed_credential end,
         i.overrides_revision, i.sealed_overrides, data_keys_of(i.user_id)
  from instances i join users u on u.id = i.user_id
  where i.id = p_id and i.service = p_service and i.deleted_at is null;
end $$;

-- Processes of the version before know nothing of terms, so they are not given what has any: they answer 404 for it. To go
-- with the version after this one.
create or replace function resolve_instance(p_lookup bytea, p_service text) returns setof resolved_instance
language plpgsql stable security definer set search_path = portolan, pg_temp as $$
begin
  return query
  select i.id, i.user_id, u.status, i.service, i.label, i.is_active, i.access_mode, i.epoch, i.version, i.state,
         i.state_cause, i.identity_label, i.expires_at, i.credential_method, i.credential_revision,
         i.sealed_credential, i.overrides_revision, i.sealed_overrides, data_keys_of(i.user_id)
  from instances i join users u on u.id = i.user_id
  where i.lookup = p_lookup and i.service = p_service and i.deleted_at is null
    and i.access_mode = 'url' and i.allowed_cidrs = '{}';
  if found then
    return;
  end if;
  return query
  select i.id, i.user_id, u.status, i.service, i.label, i.is_active, i.access_mode, i.epoch, i.version, i.state,
         i.state_cause, i.identity_label, least(i.expires_at, i.previous_expires_at), i.credential_method,
         i.credential_revision, i.sealed_credential, i.overrides_revision, i.sealed_overrides, data_keys_of(i.user_id)
  from instances i join users u on u.id = i.user_id
  where i.previous_lookup = p_lookup and i.previous_expires_at > now() and i.service = p_service
    and i.deleted_at is null and i.access_mode = 'url' and i.allowed_cidrs = '{}';
end $$;

-- Whether this is a live key of this very instance. Nothing tells whose key it is otherwise.
create function check_access_key(p_digest bytea, p_instance_id uuid, p_service text)
returns table (id uuid, expires_in_ms double precision)
language plpgsql security definer set search_path = portolan, pg_temp as $$
begin
  -- A key in use would otherwise write a row with every check.
  update access_keys k set last_used_at = now()
  where k.digest = p_digest and k.instance_id = p_instance_id and k.revoked_at is null
    and (k.last_used_at is null or k.last_used_at < now() - interval '1 minute');
  return query
  select k.id, ms_until(k.expires_at)
  from access_keys k join instances i on i.id = k.instance_id
  where k.digest = p_digest and k.instance_id = p_instance_id and k.revoked_at is null
    and (k.expires_at is null or k.expires_at > clock_timestamp())
    and i.service = p_service and i.deleted_at is null;
end $$;

-- The same by the key's own id, for what is open already; it counts as no use.
create function is_access_key_live(p_id uuid, p_instance_id uuid) returns boolean
language sql stable security definer set search_path = portolan, pg_temp as $$
  select exists (
    select from access_keys k
    where k.id = p_id and k.instance_id = p_instance_id and k.revoked_at is null
      and (k.expires_at is null or k.expires_at > clock_timestamp())
  )
$$;

-- Less than `check_session` tells: whether this is a live login session of this user, who is not disabled.
create function is_session_live(p_id uuid, p_user_id uuid) returns boolean
language sql stable security definer set search_path = portolan, pg_temp as $$
  select exists (
    select from login_sessions s join users u on u.id = s.user_id
    where s.id = p_id and s.user_id = p_user_id and s.revoked_at is null and s.expires_at > clock_timestamp()
      and u.status = 'active' and u.deleted_at is null
  )
$$;

grant execute on function find_instance(bytea, text), find_instance_by_id(uuid, text, boolean),
  check_access_key(bytea, uuid, text), is_access_key_live(uuid, uuid), is_session_live(uuid, uuid)
  to portolan_service;

-- Called beside `purge_expired`.
create function purge_access_keys() returns bigint
language plpgsql security definer set search_path = portolan, pg_temp as $$
declare
  purged bigint;
begin
  delete from access_keys k
  where k.revoked_at < now() - interval '30 days' or k.expires_at < now() - interval '30 days';
  get diagnostics purged = row_count;
  return purged;
end $$;
grant execute on function purge_access_keys() to portolan_jobs;
