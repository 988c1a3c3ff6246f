-- Instances, the lists last seen for them, and an admin's settings of a service.

create table instances (
  id uuid primary key,
  user_id uuid not null references users (id),
  service text not null check (service ~ '^[a-z0-9][a-z0-9_-]{0,63}$'),
  label text not null default 'default' check (char_length(label) between 1 and 64),

  -- HMAC of the instance id; null once deleted. The previous one works for a grace after a rotation.
  lookup bytea check (octet_length(lookup) = 32),
  previous_lookup bytea check (octet_length(previous_lookup) = 32),
  previous_expires_at timestamptz,
  sealed_url bytea,
  url_revision integer not null default 1,

  is_active boolean not null default true,
  access_mode text not null default 'url' check (access_mode in ('url', 'url+token', 'oauth')),
  epoch integer not null default 1,

  credential_method text,
  credential_revision integer,
  sealed_credential bytea,
  staged_method text,
  staged_revision integer,
  sealed_staged bytea,
  staged_at timestamptz,
  last_credential_revision integer not null default 0,
  overrides_revision integer not null default 0,
  sealed_overrides bytea,

  identity_label text check (char_length(identity_label) <= 200),
  state text not null default 'not_configured' check (state in (
    'not_configured', 'checking', 'ready', 'needs_reauth', 'rejected_by_service', 'unreachable', 'paused'
  )),
  state_cause text check (char_length(state_cause) <= 500),
  last_checked_at timestamptz,
  last_success_at timestamptz,
  last_used_at timestamptz,
  expires_at timestamptz,
  version integer not null default 1,
  created_at timestamptz not null default now(),
  updated_at timestamptz not null default now(),
  deleted_at timestamptz,

  constraint credential_is_whole check (
    num_nonnulls(credential_method, credential_revision, sealed_credential) in (0, 3)
  ),
  constraint staged_is_whole check (
    num_nonnulls(staged_method, staged_revision, sealed_staged, staged_at) in (0, 4)
  ),
  constraint previous_is_whole check (num_nonnulls(previous_lookup, previous_expires_at) in (0, 2)),
  constraint deleted_is_wiped check (
    deleted_at is null
    or num_nonnulls(lookup, previous_lookup, sealed_url, sealed_credential, sealed_staged, sealed_overrides) = 0
  )
);
create unique index instances_lookup_key on instances (lookup);
create unique index instances_previous_lookup_key on instances (previous_lookup);
create unique index instances_label_key on instances (user_id, service, label) where deleted_at is null;
create index instances_staged on instances (staged_at) where staged_at is not null;
create index instances_deleted on instances (deleted_at) where deleted_at is not null;

alter table instances enable row level security;
alter table instances force row level security;
create policy owner_all on instances to portolan_owner using (true) with check (true);
create policy api_own on instances to portolan_api
  using (user_id = (select app_user_id()) or (select app_scope()) = 'admin')
  with check (user_id = (select app_user_id()) or (select app_scope()) = 'admin');
grant select, insert, update, delete on instances to portolan_api;

-- Times of use and of checks are left out: they change often and nobody caches them.
create function notify_instance_changed() returns trigger
language plpgsql set search_path = portolan, pg_temp as $$
begin
  perform pg_notify('portolan_instances', case when tg_op = 'DELETE' then old.id else new.id end::text);
  return null;
end $$;
create trigger notify_instance_made after insert or delete on instances
  for each row execute function notify_instance_changed();
create trigger notify_instance_changed after update on instances
  for each row when (
    (old.user_id, old.service, old.label, old.lookup, old.previous_lookup, old.previous_expires_at, old.is_active,
     old.access_mode, old.epoch, old.credential_revision, old.sealed_credential, old.staged_revision,
     old.overrides_revision, old.sealed_overrides, old.identity_label, old.state, old.state_cause, old.expires_at,
     old.deleted_at)
    is distinct from
    (new.user_id, new.service, new.label, new.lookup, new.previous_lookup, new.previous_expires_at, new.is_active,
     new.access_mode, new.epoch, new.credential_revision, new.sealed_credential, new.staged_revision,
     new.overrides_revision, new.sealed_overrides, new.identity_label, new.state, new.state_cause, new.expires_at,
     new.deleted_at)
  ) execute function notify_instance_changed();

create function publish_instance_state() returns trigger
language plpgsql set search_path = portolan, pg_temp as $$
begin
  perform pg_notify('portolan_events', jsonb_build_object(
    'type', 'INSTANCE_STATE_CHANGED',
    'userId', new.user_id,
    'payload', jsonb_build_object(
      'instanceId', new.id, 'service', new.service, 'label', new.label, 'oldState', old.state,
      'newState', new.state, 'cause', new.state_cause, 'timestamp', now()
    )
  )::text);
  return null;
end $$;
create trigger publish_instance_state after update on instances
  for each row when (old.state is distinct from new.state) execute function publish_instance_state();

create table last_known_lists (
  instance_id uuid not null references instances (id) on delete cascade,
  kind text not null check (kind in ('tools', 'prompts', 'resources', 'resource_templates', 'initialize', 'discover')),
  user_id uuid not null references users (id),
  body text not null check (octet_length(body) <= 4194304),
  stored_at timestamptz not null default now(),
  primary key (instance_id, kind)
);
alter table last_known_lists enable row level security;
alter table last_known_lists force row level security;
create policy owner_all on last_known_lists to portolan_owner using (true) with check (true);
create policy api_own on last_known_lists for select to portolan_api using (user_id = (select app_user_id()));
grant select on last_known_lists to portolan_api;

create table service_settings (
  id uuid not null unique,
  service text primary key,
  is_enabled boolean not null default true,
  admin_config_revision integer not null default 0,
  sealed_admin_config bytea,
  shared_method text,
  shared_revision integer not null default 0,
  sealed_shared_credential bytea,
  version integer not null default 1,
  updated_by uuid references users (id),
  updated_at timestamptz not null default now(),
  constraint shared_is_whole check (num_nonnulls(shared_method, sealed_shared_credential) in (0, 2))
);
alter table service_settings enable row level security;
alter table service_settings force row level security;
create policy owner_all on service_settings to portolan_owner using (true) with check (true);
create policy api_read on service_settings for select to portolan_api using (true);
create policy api_admin on service_settings to portolan_api
  using ((select app_scope()) = 'admin') with check ((select app_scope()) = 'admin');
grant select, insert, update on service_settings to portolan_api;

create function notify_registry_changed() returns trigger
language plpgsql set search_path = portolan, pg_temp as $$
begin
  perform pg_notify('portolan_registry', case when tg_op = 'DELETE' then old.service else new.service end);
  return null;
end $$;
create trigger notify_registry_changed after insert or update or delete on service_settings
  for each row execute function notify_registry_changed();

-- For service processes -----------------------------------------------------------------------------------------------

create type resolved_instance as (
  id uuid, user_id uuid, user_status text, service text, label text, is_active boolean, access_mode text,
  epoch integer, version integer, state text, state_cause text, identity_label text, expires_at timestamptz,
  credential_method text, credential_revision integer, sealed_credential bytea,
  overrides_revision integer, sealed_overrides bytea, data_keys jsonb
);

create function data_keys_of(p_user_id uuid) returns jsonb
language sql stable set search_path = portolan, pg_temp as $$
  select coalesce(jsonb_agg(jsonb_build_object(
    'id', k.id, 'kek_id', k.kek_id, 'wrapped', translate(encode(k.wrapped, 'base64'), E'\n', '')
  ) order by k.created_at desc), '[]'::jsonb)
  from data_keys k where k.user_id = p_user_id
$$;

-- plpgsql keeps the plan for the session. Each of the two lookups is one probe of a unique index, and the second is made
-- only when the first found nothing.
create function resolve_instance(p_lookup bytea, p_service text) returns setof resolved_instance
language plpgsql stable security definer set search_path = portolan, pg_temp as $$
begin
  return query
  select i.id, i.user_id, u.status, i.service, i.label, i.is_active, i.access_mode, i.epoch, i.version, i.state,
         i.state_cause, i.identity_label, i.expires_at, i.credential_method, i.credential_revision,
         i.sealed_credential, i.overrides_revision, i.sealed_overrides, data_keys_of(i.user_id)
  from instances i join users u on u.id = i.user_id
  where i.lookup = p_lookup and i.service = p_service and i.deleted_at is null;
  if found then
    return;
  end if;
  return query
  select i.id, i.user_id, u.status, i.service, i.label, i.is_active, i.access_mode, i.epoch, i.version, i.state,
         i.state_cause, i.identity_label, least(i.expires_at, i.previous_expires_at), i.credential_method,
         i.credential_revision, i.sealed_credential, i.overrides_revision, i.sealed_overrides, data_keys_of(i.user_id)
  from instances i join users u on u.id = i.user_id
  where i.previous_lookup = p_lookup and i.previous_expires_at > now() and i.service = p_service
    and i.deleted_at is null;
end $$;

create function resolve_instance_by_id(p_id uuid, p_service text, p_staged boolean) returns setof resolved_instance
language plpgsql stable security definer set search_path = portolan, pg_temp as $$
begin
  return query
  select i.id, i.user_id, u.status, i.service, i.label, i.is_active, i.access_mode, i.epoch, i.version, i.state,
         i.state_cause, i.identity_label, i.expires_at,
         case when p_staged then i.staged_method else i.credential_method end,
         case when p_staged then i.staged_revision else i.credential_revision end,
         case when p_staged then i.sealed_staged else i.sealed_credential end,
         i.overrides_revision, i.sealed_overrides, data_keys_of(i.user_id)
  from instances i join users u on u.id = i.user_id
  where i.id = p_id and i.service = p_service and i.deleted_at is null;
end $$;

-- Rows are locked in the order of their ids, so that two batches cannot wait for each other.
create function mark_instances_used(p_ids uuid[], p_at timestamptz[]) returns void
language sql security definer set search_path = portolan, pg_temp as $$
  with uses as (
    select used.id, max(used.at) as at from unnest(p_ids, p_at) as used (id, at) group by used.id
  ), locked as (
    select i.id, uses.at from instances i join uses using (id)
    where i.last_used_at is null or i.last_used_at < uses.at
    order by i.id for no key update of i
  )
  update instances i set last_used_at = locked.at from locked where i.id = locked.id
$$;

create function record_instance_state(
  p_id uuid, p_service text, p_credential_revision integer, p_state text, p_cause text
) returns boolean
language plpgsql security definer set search_path = portolan, pg_temp as $$
declare
  old_state text;
  old_cause text;
begin
  if p_state not in ('checking', 'ready', 'needs_reauth', 'rejected_by_service', 'unreachable') then
    raise exception 'a service process cannot set the state %', p_state using errcode = 'check_violation';
  end if;
  select i.state, i.state_cause into old_state, old_cause from instances i
  where i.id = p_id and i.service = p_service and i.is_active and i.deleted_at is null
    and i.credential_revision is not distinct from p_credential_revision
  for no key update;
  if not found then
    return false;
  end if;
  update instances i set state = p_state, state_cause = p_cause, last_checked_at = now(),
    last_success_at = case when p_state = 'ready' then now() else i.last_success_at end
  where i.id = p_id;
  return (old_state, old_cause) is distinct from (p_state, p_cause);
end $$;

create function store_last_list(p_instance_id uuid, p_service text, p_kind text, p_body text) returns boolean
language plpgsql security definer set search_path = portolan, pg_temp as $$
begin
  insert into last_known_lists as l (instance_id, kind, user_id, body)
  select i.id, p_kind, i.user_id, p_body from instances i
  where i.id = p_instance_id and i.service = p_service and i.deleted_at is null
  on conflict (instance_id, kind) do update set body = excluded.body, stored_at = now();
  return found;
end $$;

create function read_last_list(p_instance_id uuid, p_service text, p_kind text)
returns table (body text, stored_at timestamptz)
language sql stable security definer set search_path = portolan, pg_temp as $$
  select l.body, l.stored_at from last_known_lists l join instances i on i.id = l.instance_id
  where l.instance_id = p_instance_id and l.kind = p_kind and i.service = p_service and i.deleted_at is null
$$;

create function read_service_settings(p_service text) returns setof service_settings
language sql stable security definer set search_path = portolan, pg_temp as $$
  select * from service_settings s where s.service = p_service
$$;

create function read_system_data_keys() returns table (id uuid, kek_id text, wrapped bytea)
language sql stable security definer set search_path = portolan, pg_temp as $$
  select k.id, k.kek_id, k.wrapped from data_keys k where k.user_id is null order by k.created_at desc
$$;

grant execute on function resolve_instance(bytea, text), resolve_instance_by_id(uuid, text, boolean),
  mark_instances_used(uuid[], timestamptz[]), record_instance_state(uuid, text, integer, text, text),
  store_last_list(uuid, text, text, text), read_last_list(uuid, text, text), read_service_settings(text),
  read_system_data_keys() to portolan_service;
