-- Rotation of keys while everything runs (05, "Online rotation"): which KEKs may wrap, the rotation under way, every
-- sealed record as one list, and what keeps a record from outliving the data key that it needs.

create table key_ring_state (
  is_only boolean primary key default true check (is_only),
  wrapping_keks text[] not null check (cardinality(wrapping_keks) > 0),
  updated_at timestamptz not null default now()
);
comment on table key_ring_state is 'One row once a KEK was ever rotated: the KEKs that may wrap a key; none, and any may.';
alter table key_ring_state enable row level security;
alter table key_ring_state force row level security;
create policy owner_all on key_ring_state to portolan_owner using (true) with check (true);
create policy api_read on key_ring_state for select to portolan_api using (true);
create policy jobs_all on key_ring_state to portolan_jobs using (true) with check (true);
grant select on key_ring_state to portolan_api;
grant select, insert, update on key_ring_state to portolan_jobs;

create table key_rotations (
  id uuid primary key,
  from_kek text not null,
  to_kek text not null check (to_kek <> from_kek),
  phase text not null check (phase in ('distributing', 'promoting', 'rewrapping', 'settling', 'finished')),
  rewrapped integer not null default 0,
  started_at timestamptz not null default now(),
  updated_at timestamptz not null default now(),
  constraint finished_says_so check ((phase = 'finished') = (finished_at is not null)),
  finished_at timestamptz
);
comment on table key_rotations is 'Rotations of the KEK, one row each; at most one is under way.';
create unique index key_rotations_open on key_rotations ((finished_at is null)) where finished_at is null;
alter table key_rotations enable row level security;
alter table key_rotations force row level security;
create policy owner_all on key_rotations to portolan_owner using (true) with check (true);
create policy api_admin on key_rotations for select to portolan_api using ((select app_scope()) = 'admin');
create policy jobs_all on key_rotations to portolan_jobs using (true) with check (true);
grant select on key_rotations to portolan_api;
grant select, insert, update on key_rotations to portolan_jobs;

-- A process whose ring is behind would wrap a new key under a KEK that is on its way out, where nobody looks for it any
-- more. The row is locked until the caller's transaction ends: who narrows the list waits for all that were let through.
create function may_wrap(p_kek_id text) returns boolean
language plpgsql security definer set search_path = portolan, pg_temp as $$
declare
  wrapping text[];
begin
  select s.wrapping_keks into wrapping from key_ring_state s for share;
  return coalesce(p_kek_id = any (wrapping), true);
end $$;
grant execute on function may_wrap(text) to portolan_api;

create function guard_wrapping_kek() returns trigger
language plpgsql security definer set search_path = portolan, pg_temp as $$
begin
  if not may_wrap(new.kek_id) then
    raise exception 'KEK % wraps no more keys', new.kek_id using errcode = 'PTK01';
  end if;
  return new;
end $$;
create trigger guard_new_wrap before insert on system_keys
  for each row execute function guard_wrapping_kek();
create trigger guard_changed_wrap before update on system_keys
  for each row when (old.wrapped is distinct from new.wrapped) execute function guard_wrapping_kek();
create trigger guard_new_wrap before insert on data_keys
  for each row execute function guard_wrapping_kek();
create trigger guard_changed_wrap before update on data_keys
  for each row when (old.wrapped is distinct from new.wrapped) execute function guard_wrapping_kek();

-- A key that is wrapped anew is the same key: who holds it need not hear of it. The rotation tells everybody once.
drop trigger notify_data_key_changed on data_keys;
create trigger notify_data_key_changed after insert or delete on data_keys
  for each row execute function notify_data_key_changed();

-- As before, for a whole statement at once: a batch of a rotation is one update.
create function count_wraps() returns trigger
language plpgsql security definer set search_path = portolan, pg_temp as $$
begin
  insert into kek_usage as u (kek_id, wraps) select w.kek_id, count(*) from wrapped_rows w group by w.kek_id
  on conflict (kek_id) do update set wraps = u.wraps + excluded.wraps;
  return null;
end $$;
create function count_changed_wraps() returns trigger
language plpgsql security definer set search_path = portolan, pg_temp as $$
begin
  insert into kek_usage as u (kek_id, wraps)
  select w.kek_id, count(*) from wrapped_rows w join rows_before b using (id)
  where w.wrapped is distinct from b.wrapped group by w.kek_id
  on conflict (kek_id) do update set wraps = u.wraps + excluded.wraps;
  return null;
end $$;
drop trigger count_wrap_of_new on data_keys;
drop trigger count_wrap_of_changed on data_keys;
create trigger count_wraps_of_new after insert on data_keys
  referencing new table as wrapped_rows for each statement execute function count_wraps();
create trigger count_wraps_of_changed after update on data_keys
  referencing new table as wrapped_rows old table as rows_before
  for each statement execute function count_changed_wraps();

create function ring_heartbeat_end(p_process_id text) returns void
language sql security definer set search_path = portolan, pg_temp as $$
  delete from ring_heartbeats h where h.process_id = p_process_id
$$;
grant execute on function ring_heartbeat_end(text) to portolan_api, portolan_service;

-- Sealed records ------------------------------------------------------------------------------------------------------

-- The data key that a sealed record names in its header (vault/sealedRecord.ts); null for what is no such record.
create function data_key_of(p_record bytea) returns uuid
language sql immutable parallel safe
return case
  when pg_catalog.substring(p_record, 1, 5) = '\x5054523101'::pg_catalog.bytea and pg_catalog.octet_length(p_record) > 21
  then pg_catalog.encode(pg_catalog.substring(p_record, 6, 16), 'hex')::pg_catalog.uuid
end;
grant execute on function data_key_of(bytea) to portolan_jobs;

-- Read with the rights of its owner, hence for nobody but those who rotate and verify. A test holds it to the catalogue.
create view sealed_records as
  select 'instances'::text as table_name, 'sealed_url'::text as column_name, i.id as row_id, i.user_id,
    i.url_revision as revision, i.sealed_url as sealed, data_key_of(i.sealed_url) as data_key_id
  from instances i where i.sealed_url is not null
  union all
  select 'instances', 'sealed_credential', i.id, i.user_id, i.credential_revision, i.sealed_credential,
    data_key_of(i.sealed_credential)
  from instances i where i.sealed_credential is not null
  union all
  select 'instances', 'sealed_staged', i.id, i.user_id, i.staged_revision, i.sealed_staged, data_key_of(i.sealed_staged)
  from instances i where i.sealed_staged is not null
  union all
  select 'instances', 'sealed_overrides', i.id, i.user_id, i.overrides_revision, i.sealed_overrides,
    data_key_of(i.sealed_overrides)
  from instances i where i.sealed_overrides is not null
  union all
  select 'oauth_sign_ins', 'sealed_context', o.id, o.user_id, 1, o.sealed_context, data_key_of(o.sealed_context)
  from oauth_sign_ins o where o.sealed_context is not null
  union all
  select 'oauth_clients', 'sealed_client', c.id, null::uuid, 1, c.sealed_client, data_key_of(c.sealed_client)
  from oauth_clients c
  union all
  select 'service_settings', 'sealed_shared_credential', s.id, null::uuid, s.shared_revision,
    s.sealed_shared_credential, data_key_of(s.sealed_shared_credential)
  from service_settings s where s.sealed_shared_credential is not null
  union all
  select 'service_settings', 'sealed_admin_config', s.id, null::uuid, s.admin_config_revision, s.sealed_admin_config,
    data_key_of(s.sealed_admin_config)
  from service_settings s where s.sealed_admin_config is not null;
grant select on sealed_records to portolan_jobs;

-- Puts the same plaintext, sealed anew, in the place of exactly that record. False when another one lies there by now.
create function reseal_record(p_table text, p_column text, p_row_id uuid, p_from bytea, p_to bytea) returns boolean
language plpgsql security definer set search_path = portolan, pg_temp as $$
declare
  changed integer;
begin
  if (p_table, p_column) not in (
    ('instances', 'sealed_url'), ('instances', 'sealed_credential'), ('instances', 'sealed_staged'),
    ('instances', 'sealed_overrides'), ('oauth_sign_ins', 'sealed_context'), ('oauth_clients', 'sealed_client'),
    ('service_settings', 'sealed_shared_credential'), ('service_settings', 'sealed_admin_config')
  ) then
    raise exception 'there are no sealed records in %.%', p_table, p_column using errcode = 'check_violation';
  end if;
  execute format('update %I set %I = $3 where id = $1 and %I = $2', p_table, p_column, p_column)
    using p_row_id, p_from, p_to;
  get diagnostics changed = row_count;
  return changed = 1;
end $$;
grant execute on function reseal_record(text, text, uuid, bytea, bytea) to portolan_jobs;
-- The main API moves what it opens: a client that is registered already may get a newer seal.
grant update (sealed_client) on oauth_clients to portolan_api;

-- Nothing is stored under a data key that is gone, or of somebody else: it would never open again. The key's row is
-- locked against its deletion until the transaction ends, as a foreign key would do.
create function guard_sealed_record() returns trigger
language plpgsql security definer set search_path = portolan, pg_temp as $$
declare
  sealed bytea;
  owner_id uuid := (to_jsonb(new) ->> 'user_id')::uuid;
  key_id uuid;
begin
  execute format('select ($1).%I', tg_argv[0]) into sealed using new;
  key_id := data_key_of(sealed);
  if key_id is null then
    return new;
  end if;
  perform 1 from data_keys k where k.id = key_id and k.user_id is not distinct from owner_id for key share;
  if not found then
    raise exception 'the data key of a sealed record is gone' using errcode = 'PTK02';
  end if;
  return new;
end $$;
create trigger guard_sealed_url before insert or update of sealed_url on instances
  for each row when (new.sealed_url is not null) execute function guard_sealed_record('sealed_url');
create trigger guard_sealed_credential before insert or update of sealed_credential on instances
  for each row when (new.sealed_credential is not null) execute function guard_sealed_record('sealed_credential');
create trigger guard_sealed_staged before insert or update of sealed_staged on instances
  for each row when (new.sealed_staged is not null) execute function guard_sealed_record('sealed_staged');
create trigger guard_sealed_overrides before insert or update of sealed_overrides on instances
  for each row when (new.sealed_overrides is not null) execute function guard_sealed_record('sealed_overrides');
create trigger guard_sealed_context before insert or update of sealed_context on oauth_sign_ins
  for each row when (new.sealed_context is not null) execute function guard_sealed_record('sealed_context');
create trigger guard_sealed_client before insert or update of sealed_client on oauth_clients
  for each row execute function guard_sealed_record('sealed_client');
create trigger guard_sealed_shared before insert or update of sealed_shared_credential on service_settings
  for each row when (new.sealed_shared_credential is not null)
  execute function guard_sealed_record('sealed_shared_credential');
create trigger guard_sealed_admin before insert or update of sealed_admin_config on service_settings
  for each row when (new.sealed_admin_config is not null) execute function guard_sealed_record('sealed_admin_config');

create index audit_calls_with_arguments on audit_calls (user_id) where arguments_sealed is not null;

-- A data key leaves when its owner has a newer one and nothing is sealed under it. Its row is locked first, so that the
-- second statement sees all that was stored under it and nobody stores more.
create function drop_replaced_data_key(p_id uuid) returns text
language plpgsql security definer set search_path = portolan, pg_temp as $$
declare
  old_key data_keys;
begin
  select * into old_key from data_keys k where k.id = p_id for update;
  if old_key.id is null then
    return 'gone';
  end if;
  if not exists (
    select from data_keys k
    where k.user_id is not distinct from old_key.user_id
      and (k.created_at > old_key.created_at or k.created_at = old_key.created_at and k.id < old_key.id)
  ) then
    return 'newest';
  end if;
  if old_key.user_id is null then
    if exists (select from sealed_records r where r.user_id is null and r.data_key_id = p_id) then
      return 'in use';
    end if;
  elsif exists (select from sealed_records r where r.user_id = old_key.user_id and r.data_key_id = p_id) then
    return 'in use';
  end if;
  -- The audit is never written anew: what it keeps of arguments holds its key until retention has let go of it.
  if exists (
    select from audit_calls c where c.user_id = old_key.user_id and c.arguments_sealed is not null
      and data_key_of(c.arguments_sealed) = p_id
  ) then
    return 'audited';
  end if;
  delete from data_keys k where k.id = p_id;
  return 'dropped';
end $$;
grant execute on function drop_replaced_data_key(uuid) to portolan_jobs;
grant insert on data_keys to portolan_jobs;

-- For those who rotate: a user by address or id, and whether they were deleted, which shredded what was theirs.
create function find_key_owner(p_email_or_id text) returns uuid
language sql stable security definer set search_path = portolan, pg_temp as $$
  select u.id from users u
  where u.deleted_at is null and (u.id::text = lower(p_email_or_id) or lower(u.email) = lower(p_email_or_id))
$$;
create function deleted_users(p_ids uuid[]) returns setof uuid
language sql stable security definer set search_path = portolan, pg_temp as $$
  select u.id from users u where u.id = any (p_ids) and u.deleted_at is not null
$$;
grant execute on function find_key_owner(text), deleted_users(uuid[]) to portolan_jobs;
