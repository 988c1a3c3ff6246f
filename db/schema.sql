-- Made by `npm run dump-schema`; do not edit. A test holds it to the migrations.
CREATE SCHEMA portolan;

ALTER SCHEMA portolan OWNER TO portolan_owner;

CREATE TYPE portolan.found_instance AS (
	id uuid,
	user_id uuid,
	user_status text,
	service text,
	label text,
	is_active boolean,
	access_mode text,
	allowed_cidrs text[],
	epoch integer,
	version integer,
	state text,
	state_cause text,
	identity_label text,
	expires_at timestamp with time zone,
	expires_in_ms double precision,
	credential_method text,
	credential_revision integer,
	sealed_credential bytea,
	overrides_revision integer,
	sealed_overrides bytea,
	data_keys jsonb
);

ALTER TYPE portolan.found_instance OWNER TO portolan_owner;

CREATE TYPE portolan.resolved_instance AS (
	id uuid,
	user_id uuid,
	user_status text,
	service text,
	label text,
	is_active boolean,
	access_mode text,
	epoch integer,
	version integer,
	state text,
	state_cause text,
	identity_label text,
	expires_at timestamp with time zone,
	credential_method text,
	credential_revision integer,
	sealed_credential bytea,
	overrides_revision integer,
	sealed_overrides bytea,
	data_keys jsonb
);

ALTER TYPE portolan.resolved_instance OWNER TO portolan_owner;

CREATE FUNCTION portolan.accept_invite(p_digest bytea, p_id uuid, p_email text, p_display_name text, p_password_hash text) RETURNS text
    LANGUAGE plpgsql SECURITY DEFINER
    SET search_path TO 'portolan', 'pg_temp'
    AS $$
declare
  invite invites;
begin
  select * into invite from invites i
  where i.digest = p_digest and i.used_at is null and i.expires_at > now()
    and (i.email is null or lower(i.email) = lower(p_email))
  for update;
  if invite.id is null then
    return null;
  end if;
  insert into users (id, email, display_name, role, password_hash)
  values (p_id, p_email, p_display_name, invite.role, p_password_hash);
  update invites i set used_at = now(), used_by = p_id where i.id = invite.id;
  return invite.role;
end $$;

ALTER FUNCTION portolan.accept_invite(p_digest bytea, p_id uuid, p_email text, p_display_name text, p_password_hash text) OWNER TO portolan_owner;

CREATE FUNCTION portolan.add_audit_checkpoint(p_number bigint, p_issued_at timestamp with time zone, p_is_whole boolean, p_statement text, p_shards jsonb) RETURNS void
    LANGUAGE sql SECURITY DEFINER
    SET search_path TO 'portolan', 'pg_temp'
    AS $$
  insert into audit_checkpoints (number, issued_at, is_whole, statement)
  values (p_number, p_issued_at, p_is_whole, p_statement);
  update audit_shards s set checkpoint_seq = greatest(s.checkpoint_seq, (r.value ->> 2)::bigint)
  from jsonb_array_elements(p_shards) r
  where s.audit = r.value ->> 0 and s.shard = r.value ->> 1;
$$;

ALTER FUNCTION portolan.add_audit_checkpoint(p_number bigint, p_issued_at timestamp with time zone, p_is_whole boolean, p_statement text, p_shards jsonb) OWNER TO portolan_owner;

CREATE FUNCTION portolan.app_scope() RETURNS text
    LANGUAGE sql STABLE PARALLEL SAFE
    RETURN current_setting('app.scope'::text, true);

ALTER FUNCTION portolan.app_scope() OWNER TO portolan_owner;

CREATE FUNCTION portolan.app_user_id() RETURNS uuid
    LANGUAGE sql STABLE PARALLEL SAFE
    RETURN (NULLIF(current_setting('app.user_id'::text, true), ''::text))::uuid;

ALTER FUNCTION portolan.app_user_id() OWNER TO portolan_owner;

CREATE FUNCTION portolan.begin_oauth_renewal(p_id uuid, p_service text, p_revision integer, p_holder uuid, p_lease_ms integer) RETURNS TABLE(outcome text, next_revision integer, wait_ms integer, was_cut_off boolean)
    LANGUAGE plpgsql SECURITY DEFINER
    SET search_path TO 'portolan', 'pg_temp'
    AS $$
declare
  held instances;
  renewal oauth_renewals;
begin
  was_cut_off := false;
  -- The instance's row is locked first, by promotions as well, so that the order of renewals and sign-ins is one.
  select * into held from instances i
  where i.id = p_id and i.service = p_service and i.is_active and i.deleted_at is null
  for no key update;
  if held.credential_revision is null or held.credential_revision < p_revision then
    outcome := 'gone';
    return next;
    return;
  end if;
  if held.credential_revision > p_revision then
    outcome := 'newer';
    return next;
    return;
  end if;
  select * into renewal from oauth_renewals r where r.instance_id = p_id and r.revision = p_revision;
  if renewal.is_refused then
    outcome := 'refused';
    return next;
    return;
  end if;
  if renewal.leased_until > clock_timestamp() then
    outcome := 'busy';
    wait_ms := ceil(extract(epoch from renewal.leased_until - clock_timestamp()) * 1000);
    return next;
    return;
  end if;
  if renewal.retry_at > clock_timestamp() then
    outcome := 'paused';
    wait_ms := ceil(extract(epoch from renewal.retry_at - clock_timestamp()) * 1000);
    return next;
    return;
  end if;
  was_cut_off := renewal.leased_until is not null;
  next_revision := held.last_credential_revision + 1;
  update instances i set last_credential_revision = held.last_credential_revision + 1 where i.id = p_id;
  insert into oauth_renewals as r (instance_id, revision, next_revision, holder, leased_until)
  values (
    p_id, p_revision, held.last_credential_revision + 1, p_holder,
    clock_timestamp() + p_lease_ms * interval '1 millisecond'
  )
  on conflict (instance_id) do update set revision = excluded.revision, next_revision = excluded.next_revision,
    holder = excluded.holder, leased_until = excluded.leased_until, retry_at = null, is_refused = false;
  outcome := 'yours';
  return next;
end $$;

ALTER FUNCTION portolan.begin_oauth_renewal(p_id uuid, p_service text, p_revision integer, p_holder uuid, p_lease_ms integer) OWNER TO portolan_owner;

CREATE FUNCTION portolan.check_access_key(p_digest bytea, p_instance_id uuid, p_service text) RETURNS TABLE(id uuid, expires_in_ms double precision)
    LANGUAGE plpgsql SECURITY DEFINER
    SET search_path TO 'portolan', 'pg_temp'
    AS $$
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

ALTER FUNCTION portolan.check_access_key(p_digest bytea, p_instance_id uuid, p_service text) OWNER TO portolan_owner;

CREATE FUNCTION portolan.check_session(p_id uuid) RETURNS TABLE(user_id uuid, role text, status text, authenticated_at timestamp with time zone, is_revoked boolean, expires_at timestamp with time zone)
    LANGUAGE plpgsql STABLE SECURITY DEFINER
    SET search_path TO 'portolan', 'pg_temp'
    AS $$
begin
  return query
  select s.user_id, u.role, u.status, s.authenticated_at, s.revoked_at is not null, s.expires_at
  from login_sessions s join users u on u.id = s.user_id
  where s.id = p_id;
end $$;

ALTER FUNCTION portolan.check_session(p_id uuid) OWNER TO portolan_owner;

CREATE FUNCTION portolan.count_changed_wraps() RETURNS trigger
    LANGUAGE plpgsql SECURITY DEFINER
    SET search_path TO 'portolan', 'pg_temp'
    AS $$
begin
  insert into kek_usage as u (kek_id, wraps)
  select w.kek_id, count(*) from wrapped_rows w join rows_before b using (id)
  where w.wrapped is distinct from b.wrapped group by w.kek_id
  on conflict (kek_id) do update set wraps = u.wraps + excluded.wraps;
  return null;
end $$;

ALTER FUNCTION portolan.count_changed_wraps() OWNER TO portolan_owner;

CREATE FUNCTION portolan.count_unchained_audit() RETURNS TABLE(audit text, day text, count bigint)
    LANGUAGE sql STABLE SECURITY DEFINER
    SET search_path TO 'portolan', 'pg_temp'
    AS $$
  select 'audit_events', to_char(e.occurred_at at time zone 'UTC', 'YYYYMMDD'), count(*) from audit_events e
  where e.mac is null group by 2
  union all
  select 'audit_calls', to_char(c.occurred_at at time zone 'UTC', 'YYYYMMDD'), count(*) from audit_calls c
  where c.mac is null group by 2
$$;

ALTER FUNCTION portolan.count_unchained_audit() OWNER TO portolan_owner;

CREATE FUNCTION portolan.count_wrap() RETURNS trigger
    LANGUAGE plpgsql SECURITY DEFINER
    SET search_path TO 'portolan', 'pg_temp'
    AS $$
begin
  insert into kek_usage as u (kek_id, wraps) values (new.kek_id, 1)
  on conflict (kek_id) do update set wraps = u.wraps + 1;
  return null;
end $$;

ALTER FUNCTION portolan.count_wrap() OWNER TO portolan_owner;

CREATE FUNCTION portolan.count_wraps() RETURNS trigger
    LANGUAGE plpgsql SECURITY DEFINER
    SET search_path TO 'portolan', 'pg_temp'
    AS $$
begin
  insert into kek_usage as u (kek_id, wraps) select w.kek_id, count(*) from wrapped_rows w group by w.kek_id
  on conflict (kek_id) do update set wraps = u.wraps + excluded.wraps;
  return null;
end $$;

ALTER FUNCTION portolan.count_wraps() OWNER TO portolan_owner;

CREATE FUNCTION portolan.create_first_admin(p_id uuid, p_email text, p_display_name text, p_password_hash text) RETURNS boolean
    LANGUAGE plpgsql SECURITY DEFINER
    SET search_path TO 'portolan', 'pg_temp'
    AS $$
begin
  perform pg_advisory_xact_lock(hashtext('portolan.create_first_admin'));
  if has_admin() then
    return false;
  end if;
  insert into users (id, email, display_name, role, password_hash)
  values (p_id, p_email, p_display_name, 'admin', p_password_hash);
  return true;
end $$;

ALTER FUNCTION portolan.create_first_admin(p_id uuid, p_email text, p_display_name text, p_password_hash text) OWNER TO portolan_owner;

CREATE FUNCTION portolan.data_key_of(p_record bytea) RETURNS uuid
    LANGUAGE sql IMMUTABLE PARALLEL SAFE
    RETURN CASE WHEN (("substring"(p_record, 1, 5) = '\x5054523101'::bytea) AND (octet_length(p_record) > 21)) THEN (encode("substring"(p_record, 6, 16), 'hex'::text))::uuid ELSE NULL::uuid END;

ALTER FUNCTION portolan.data_key_of(p_record bytea) OWNER TO portolan_owner;

CREATE FUNCTION portolan.data_keys_of(p_user_id uuid) RETURNS jsonb
    LANGUAGE sql STABLE
    SET search_path TO 'portolan', 'pg_temp'
    AS $$
  select coalesce(jsonb_agg(jsonb_build_object(
    'id', k.id, 'kek_id', k.kek_id, 'wrapped', translate(encode(k.wrapped, 'base64'), E'\n', '')
  ) order by k.created_at desc), '[]'::jsonb)
  from data_keys k where k.user_id = p_user_id
$$;

ALTER FUNCTION portolan.data_keys_of(p_user_id uuid) OWNER TO portolan_owner;

CREATE FUNCTION portolan.deleted_users(p_ids uuid[]) RETURNS SETOF uuid
    LANGUAGE sql STABLE SECURITY DEFINER
    SET search_path TO 'portolan', 'pg_temp'
    AS $$
  select u.id from users u where u.id = any (p_ids) and u.deleted_at is not null
$$;

ALTER FUNCTION portolan.deleted_users(p_ids uuid[]) OWNER TO portolan_owner;

CREATE FUNCTION portolan.drop_audit_partitions(p_before date) RETURNS integer
    LANGUAGE plpgsql SECURITY DEFINER
    SET search_path TO 'portolan', 'pg_temp'
    AS $_$
declare
  child regclass;
  dropped integer := 0;
begin
  perform pg_advisory_xact_lock(hashtext('portolan.audit_partitions'));
  for child in
    select c.oid::regclass from pg_inherits h join pg_class c on c.oid = h.inhrelid
    where h.inhparent in ('audit_events'::regclass, 'audit_calls'::regclass)
      and c.relname ~ '_\d{8}$' and to_date(right(c.relname, 8), 'YYYYMMDD') < p_before
    order by c.relname
  loop
    execute format('drop table %s', child);
    dropped := dropped + 1;
  end loop;
  return dropped;
end $_$;

ALTER FUNCTION portolan.drop_audit_partitions(p_before date) OWNER TO portolan_owner;

CREATE FUNCTION portolan.drop_replaced_data_key(p_id uuid) RETURNS text
    LANGUAGE plpgsql SECURITY DEFINER
    SET search_path TO 'portolan', 'pg_temp'
    AS $$
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

ALTER FUNCTION portolan.drop_replaced_data_key(p_id uuid) OWNER TO portolan_owner;

CREATE FUNCTION portolan.ensure_audit_partitions(p_from date, p_days integer) RETURNS integer
    LANGUAGE plpgsql SECURITY DEFINER
    SET search_path TO 'portolan', 'pg_temp'
    AS $$
declare
  parent text;
  day date;
  child text;
  created integer := 0;
begin
  perform pg_advisory_xact_lock(hashtext('portolan.audit_partitions'));
  foreach parent in array array['audit_events', 'audit_calls'] loop
    for day in select d::date from generate_series(p_from, p_from + p_days - 1, interval '1 day') d loop
      child := format('%s_%s', parent, to_char(day, 'YYYYMMDD'));
      continue when to_regclass('portolan.' || child) is not null;
      execute format('lock table %I in access exclusive mode', parent);
      execute format('create table %I (like %I including defaults including constraints)', child, parent);
      execute format('alter table %I enable row level security, force row level security', child);
      execute format('create policy owner_all on %I to portolan_owner using (true) with check (true)', child);
      execute format(
        'with moved as (delete from %I where occurred_at >= %L and occurred_at < %L returning *)
         insert into %I select * from moved',
        parent || '_default', day::timestamp at time zone 'UTC', (day + 1)::timestamp at time zone 'UTC', child
      );
      execute format(
        'alter table %I attach partition %I for values from (%L) to (%L)',
        parent, child, day::timestamp at time zone 'UTC', (day + 1)::timestamp at time zone 'UTC'
      );
      created := created + 1;
    end loop;
  end loop;
  return created;
end $$;

ALTER FUNCTION portolan.ensure_audit_partitions(p_from date, p_days integer) OWNER TO portolan_owner;

CREATE FUNCTION portolan.expired_audit_partitions(p_before date) RETURNS TABLE(partition text, audit text, row_count bigint, shard text, first_seq bigint, last_seq bigint)
    LANGUAGE plpgsql SECURITY DEFINER
    SET search_path TO 'portolan', 'pg_temp'
    AS $_$
declare
  parent text;
  child text;
begin
  for parent, child in
    select h.inhparent::regclass::text, c.relname from pg_inherits h join pg_class c on c.oid = h.inhrelid
    where h.inhparent in ('audit_events'::regclass, 'audit_calls'::regclass)
      and c.relname ~ '_\d{8}$' and to_date(right(c.relname, 8), 'YYYYMMDD') < p_before
    order by c.relname
  loop
    execute format('lock table %I in share mode', child);
    return query execute format(
      'select %1$L, %2$L, count(*), null::text, null::bigint, null::bigint from %1$I
       union all
       select %1$L, %2$L, count(*), r.shard, min(r.seq), max(r.seq) from (
         select %3$I as shard, seq, seq - row_number() over (partition by %3$I order by seq) as run
         from %1$I where seq is not null
       ) r group by r.shard, r.run',
      child, parent, case parent when 'audit_calls' then 'spool_id' else 'shard' end
    );
  end loop;
end $_$;

ALTER FUNCTION portolan.expired_audit_partitions(p_before date) OWNER TO portolan_owner;

CREATE FUNCTION portolan.fail_oauth_renewal(p_id uuid, p_service text, p_revision integer, p_holder uuid, p_is_refused boolean, p_retry_ms integer, p_cause text) RETURNS boolean
    LANGUAGE plpgsql SECURITY DEFINER
    SET search_path TO 'portolan', 'pg_temp'
    AS $$
begin
  perform 1 from instances i where i.id = p_id and i.service = p_service for no key update;
  update oauth_renewals r set leased_until = null, is_refused = p_is_refused,
    retry_at = clock_timestamp() + p_retry_ms * interval '1 millisecond'
  where r.instance_id = p_id and r.revision = p_revision and r.holder = p_holder;
  if not found then
    return false;
  end if;
  if p_is_refused then
    update instances i set state = 'needs_reauth', state_cause = left(p_cause, 500), last_checked_at = now()
    where i.id = p_id and i.service = p_service and i.credential_revision = p_revision and i.is_active
      and i.deleted_at is null;
  end if;
  return true;
end $$;

ALTER FUNCTION portolan.fail_oauth_renewal(p_id uuid, p_service text, p_revision integer, p_holder uuid, p_is_refused boolean, p_retry_ms integer, p_cause text) OWNER TO portolan_owner;

CREATE FUNCTION portolan.find_api_key(p_digest bytea) RETURNS TABLE(id uuid, user_id uuid, role text, status text, expires_at timestamp with time zone)
    LANGUAGE plpgsql SECURITY DEFINER
    SET search_path TO 'portolan', 'pg_temp'
    AS $$
begin
  -- A key in use would otherwise write a row a call.
  update api_keys k set last_used_at = now()
  where k.digest = p_digest and k.revoked_at is null
    and (k.last_used_at is null or k.last_used_at < now() - interval '1 minute');
  return query
  select k.id, k.user_id, u.role, u.status, k.expires_at
  from api_keys k join users u on u.id = k.user_id
  where k.digest = p_digest and k.revoked_at is null and (k.expires_at is null or k.expires_at > now())
    and u.deleted_at is null;
end $$;

ALTER FUNCTION portolan.find_api_key(p_digest bytea) OWNER TO portolan_owner;

CREATE FUNCTION portolan.find_instance(p_lookup bytea, p_service text) RETURNS SETOF portolan.found_instance
    LANGUAGE plpgsql STABLE SECURITY DEFINER
    SET search_path TO 'portolan', 'pg_temp'
    AS $$
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

ALTER FUNCTION portolan.find_instance(p_lookup bytea, p_service text) OWNER TO portolan_owner;

CREATE FUNCTION portolan.find_instance_by_id(p_id uuid, p_service text, p_staged boolean) RETURNS SETOF portolan.found_instance
    LANGUAGE plpgsql STABLE SECURITY DEFINER
    SET search_path TO 'portolan', 'pg_temp'
    AS $$
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

ALTER FUNCTION portolan.find_instance_by_id(p_id uuid, p_service text, p_staged boolean) OWNER TO portolan_owner;

CREATE FUNCTION portolan.find_key_owner(p_email_or_id text) RETURNS uuid
    LANGUAGE sql STABLE SECURITY DEFINER
    SET search_path TO 'portolan', 'pg_temp'
    AS $$
  select u.id from users u
  where u.deleted_at is null and (u.id::text = lower(p_email_or_id) or lower(u.email) = lower(p_email_or_id))
$$;

ALTER FUNCTION portolan.find_key_owner(p_email_or_id text) OWNER TO portolan_owner;

CREATE FUNCTION portolan.find_login(p_email text) RETURNS TABLE(id uuid, role text, status text, password_hash text)
    LANGUAGE sql STABLE SECURITY DEFINER
    SET search_path TO 'portolan', 'pg_temp'
    AS $$
  select u.id, u.role, u.status, u.password_hash from users u
  where lower(u.email) = lower(p_email) and u.deleted_at is null
$$;

ALTER FUNCTION portolan.find_login(p_email text) OWNER TO portolan_owner;

CREATE FUNCTION portolan.finish_oauth_renewal(p_id uuid, p_service text, p_revision integer, p_holder uuid, p_sealed bytea) RETURNS boolean
    LANGUAGE plpgsql SECURITY DEFINER
    SET search_path TO 'portolan', 'pg_temp'
    AS $$
declare
  renewal oauth_renewals;
begin
  perform 1 from instances i where i.id = p_id and i.service = p_service for no key update;
  delete from oauth_renewals r
  where r.instance_id = p_id and r.revision = p_revision and r.holder = p_holder
  returning * into renewal;
  if renewal.instance_id is null then
    return false;
  end if;
  update instances i set sealed_credential = p_sealed, credential_revision = renewal.next_revision,
    state = case when i.state = 'needs_reauth' then 'checking' else i.state end,
    state_cause = case when i.state = 'needs_reauth' then null else i.state_cause end,
    version = i.version + 1, updated_at = now()
  where i.id = p_id and i.service = p_service and i.credential_revision = p_revision and i.deleted_at is null;
  return found;
end $$;

ALTER FUNCTION portolan.finish_oauth_renewal(p_id uuid, p_service text, p_revision integer, p_holder uuid, p_sealed bytea) OWNER TO portolan_owner;

CREATE FUNCTION portolan.forget_audit_checkpoints(p_below bigint, p_shards_before timestamp with time zone) RETURNS integer
    LANGUAGE plpgsql SECURITY DEFINER
    SET search_path TO 'portolan', 'pg_temp'
    AS $$
declare
  removed integer;
begin
  delete from audit_checkpoints c where c.number < p_below;
  get diagnostics removed = row_count;
  delete from audit_shards s
  where s.audit = 'audit_calls' and s.updated_at < p_shards_before and s.checkpoint_seq = s.seq
    and not exists (select from spool_positions p where p.spool_id = s.shard);
  return removed;
end $$;

ALTER FUNCTION portolan.forget_audit_checkpoints(p_below bigint, p_shards_before timestamp with time zone) OWNER TO portolan_owner;

CREATE FUNCTION portolan.forget_era_verdict(p_service text, p_upstream bytea, p_auth_context bytea, p_asked_at timestamp with time zone) RETURNS void
    LANGUAGE sql SECURITY DEFINER
    SET search_path TO 'portolan', 'pg_temp'
    AS $$
  delete from era_verdicts v
  where v.service = p_service and v.upstream = p_upstream and v.auth_context = p_auth_context
    and v.asked_at <= p_asked_at
$$;

ALTER FUNCTION portolan.forget_era_verdict(p_service text, p_upstream bytea, p_auth_context bytea, p_asked_at timestamp with time zone) OWNER TO portolan_owner;

CREATE FUNCTION portolan.forget_spool(p_spool_id text) RETURNS void
    LANGUAGE sql SECURITY DEFINER
    SET search_path TO 'portolan', 'pg_temp'
    AS $$
  delete from spool_positions s where s.spool_id = p_spool_id
$$;

ALTER FUNCTION portolan.forget_spool(p_spool_id text) OWNER TO portolan_owner;

CREATE FUNCTION portolan.guard_sealed_record() RETURNS trigger
    LANGUAGE plpgsql SECURITY DEFINER
    SET search_path TO 'portolan', 'pg_temp'
    AS $_$
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
end $_$;

ALTER FUNCTION portolan.guard_sealed_record() OWNER TO portolan_owner;

CREATE FUNCTION portolan.guard_user_authority() RETURNS trigger
    LANGUAGE plpgsql
    SET search_path TO 'portolan', 'pg_temp'
    AS $$
begin
  if current_user = 'portolan_api' and app_scope() is distinct from 'admin' then
    raise exception 'role, status and new users need the scope admin' using errcode = 'insufficient_privilege';
  end if;
  return new;
end $$;

ALTER FUNCTION portolan.guard_user_authority() OWNER TO portolan_owner;

CREATE FUNCTION portolan.guard_wrapping_kek() RETURNS trigger
    LANGUAGE plpgsql SECURITY DEFINER
    SET search_path TO 'portolan', 'pg_temp'
    AS $$
begin
  if not may_wrap(new.kek_id) then
    raise exception 'KEK % wraps no more keys', new.kek_id using errcode = 'PTK01';
  end if;
  return new;
end $$;

ALTER FUNCTION portolan.guard_wrapping_kek() OWNER TO portolan_owner;

CREATE FUNCTION portolan.has_admin() RETURNS boolean
    LANGUAGE sql STABLE SECURITY DEFINER
    SET search_path TO 'portolan', 'pg_temp'
    AS $$
  select exists (select from users u where u.role = 'admin' and u.deleted_at is null)
$$;

ALTER FUNCTION portolan.has_admin() OWNER TO portolan_owner;

CREATE FUNCTION portolan.is_access_key_live(p_id uuid, p_instance_id uuid) RETURNS boolean
    LANGUAGE sql STABLE SECURITY DEFINER
    SET search_path TO 'portolan', 'pg_temp'
    AS $$
  select exists (
    select from access_keys k
    where k.id = p_id and k.instance_id = p_instance_id and k.revoked_at is null
      and (k.expires_at is null or k.expires_at > clock_timestamp())
  )
$$;

ALTER FUNCTION portolan.is_access_key_live(p_id uuid, p_instance_id uuid) OWNER TO portolan_owner;

CREATE FUNCTION portolan.is_session_live(p_id uuid, p_user_id uuid) RETURNS boolean
    LANGUAGE sql STABLE SECURITY DEFINER
    SET search_path TO 'portolan', 'pg_temp'
    AS $$
  select exists (
    select from login_sessions s join users u on u.id = s.user_id
    where s.id = p_id and s.user_id = p_user_id and s.revoked_at is null and s.expires_at > clock_timestamp()
      and u.status = 'active' and u.deleted_at is null
  )
$$;

ALTER FUNCTION portolan.is_session_live(p_id uuid, p_user_id uuid) OWNER TO portolan_owner;

CREATE FUNCTION portolan.lease_daily_calls(p_instance_id uuid, p_service text, p_limit integer, p_user_limit integer, p_wanted integer) RETURNS TABLE(day date, granted integer, day_left_ms integer)
    LANGUAGE plpgsql SECURITY DEFINER
    SET search_path TO 'portolan', 'pg_temp'
    AS $$
#variable_conflict use_column
declare
  at timestamp := clock_timestamp() at time zone 'UTC';
  owner_id uuid;
  of_instance bigint;
  of_user bigint;
  remaining bigint;
begin
  day := at::date;
  granted := 0;
  day_left_ms := ceil(extract(epoch from (at::date + 1)::timestamp - at) * 1000);
  select i.user_id into owner_id from instances i
  where i.id = p_instance_id and i.service = p_service and i.deleted_at is null;
  if owner_id is null then
    return next;
    return;
  end if;
  -- One lease of a user and service at a time, so that two cannot both see what is left.
  perform pg_advisory_xact_lock(hashtext('portolan.daily_calls'), hashtext(owner_id::text || p_service));
  select coalesce(sum(d.leased) filter (where d.instance_id = p_instance_id), 0), coalesce(sum(d.leased), 0)
  into of_instance, of_user
  from daily_calls d where d.user_id = owner_id and d.service = p_service and d.day = lease_daily_calls.day;
  remaining := least(p_limit - of_instance, p_user_limit - of_user);
  if remaining > 0 then
    granted := least(p_wanted, greatest(1, remaining / 4), remaining);
    insert into daily_calls as d (instance_id, day, user_id, service, leased)
    values (p_instance_id, lease_daily_calls.day, owner_id, p_service, granted)
    on conflict (instance_id, day) do update set leased = d.leased + excluded.leased;
  end if;
  return next;
end $$;

ALTER FUNCTION portolan.lease_daily_calls(p_instance_id uuid, p_service text, p_limit integer, p_user_limit integer, p_wanted integer) OWNER TO portolan_owner;

CREATE FUNCTION portolan.lock_audit_chain() RETURNS boolean
    LANGUAGE sql SECURITY DEFINER
    SET search_path TO 'portolan', 'pg_temp'
    AS $$
  select pg_try_advisory_xact_lock(hashtext('portolan.audit_chain'))
$$;

ALTER FUNCTION portolan.lock_audit_chain() OWNER TO portolan_owner;

CREATE FUNCTION portolan.mark_instances_used(p_ids uuid[], p_at timestamp with time zone[]) RETURNS void
    LANGUAGE sql SECURITY DEFINER
    SET search_path TO 'portolan', 'pg_temp'
    AS $$
  with uses as (
    select used.id, max(used.at) as at from unnest(p_ids, p_at) as used (id, at) group by used.id
  ), locked as (
    select i.id, uses.at from instances i join uses using (id)
    where i.last_used_at is null or i.last_used_at < uses.at
    order by i.id for no key update of i
  )
  update instances i set last_used_at = locked.at from locked where i.id = locked.id
$$;

ALTER FUNCTION portolan.mark_instances_used(p_ids uuid[], p_at timestamp with time zone[]) OWNER TO portolan_owner;

CREATE FUNCTION portolan.may_wrap(p_kek_id text) RETURNS boolean
    LANGUAGE plpgsql SECURITY DEFINER
    SET search_path TO 'portolan', 'pg_temp'
    AS $$
declare
  wrapping text[];
begin
  select s.wrapping_keks into wrapping from key_ring_state s for share;
  return coalesce(p_kek_id = any (wrapping), true);
end $$;

ALTER FUNCTION portolan.may_wrap(p_kek_id text) OWNER TO portolan_owner;

CREATE FUNCTION portolan.ms_until(p_at timestamp with time zone) RETURNS double precision
    LANGUAGE sql STABLE
    SET search_path TO 'portolan', 'pg_temp'
    AS $$
  select extract(epoch from p_at - clock_timestamp()) * 1000
$$;

ALTER FUNCTION portolan.ms_until(p_at timestamp with time zone) OWNER TO portolan_owner;

CREATE FUNCTION portolan.notify_access_key_revoked() RETURNS trigger
    LANGUAGE plpgsql
    SET search_path TO 'portolan', 'pg_temp'
    AS $$
begin
  perform pg_notify('portolan_instances', new.instance_id::text);
  return null;
end $$;

ALTER FUNCTION portolan.notify_access_key_revoked() OWNER TO portolan_owner;

CREATE FUNCTION portolan.notify_data_key_changed() RETURNS trigger
    LANGUAGE plpgsql
    SET search_path TO 'portolan', 'pg_temp'
    AS $$
declare
  owner_id uuid := case when tg_op = 'DELETE' then old.user_id else new.user_id end;
begin
  if owner_id is null then
    perform pg_notify('portolan_registry', '');
  else
    perform pg_notify('portolan_users', owner_id::text);
  end if;
  return null;
end $$;

ALTER FUNCTION portolan.notify_data_key_changed() OWNER TO portolan_owner;

CREATE FUNCTION portolan.notify_instance_changed() RETURNS trigger
    LANGUAGE plpgsql
    SET search_path TO 'portolan', 'pg_temp'
    AS $$
begin
  perform pg_notify('portolan_instances', case when tg_op = 'DELETE' then old.id else new.id end::text);
  return null;
end $$;

ALTER FUNCTION portolan.notify_instance_changed() OWNER TO portolan_owner;

CREATE FUNCTION portolan.notify_registry_changed() RETURNS trigger
    LANGUAGE plpgsql
    SET search_path TO 'portolan', 'pg_temp'
    AS $$
begin
  perform pg_notify('portolan_registry', case when tg_op = 'DELETE' then old.service else new.service end);
  return null;
end $$;

ALTER FUNCTION portolan.notify_registry_changed() OWNER TO portolan_owner;

CREATE FUNCTION portolan.notify_tool_pins() RETURNS trigger
    LANGUAGE plpgsql
    SET search_path TO 'portolan', 'pg_temp'
    AS $$
begin
  perform pg_notify('portolan_tool_pins', new.service);
  return null;
end $$;

ALTER FUNCTION portolan.notify_tool_pins() OWNER TO portolan_owner;

CREATE FUNCTION portolan.notify_user_changed() RETURNS trigger
    LANGUAGE plpgsql
    SET search_path TO 'portolan', 'pg_temp'
    AS $$
begin
  if tg_op = 'DELETE' then
    perform pg_notify('portolan_users', coalesce(to_jsonb(old) ->> tg_argv[0], ''));
  else
    perform pg_notify('portolan_users', coalesce(to_jsonb(new) ->> tg_argv[0], ''));
  end if;
  return null;
end $$;

ALTER FUNCTION portolan.notify_user_changed() OWNER TO portolan_owner;

CREATE FUNCTION portolan.publish_instance_state() RETURNS trigger
    LANGUAGE plpgsql
    SET search_path TO 'portolan', 'pg_temp'
    AS $$
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

ALTER FUNCTION portolan.publish_instance_state() OWNER TO portolan_owner;

CREATE FUNCTION portolan.publish_service_health() RETURNS trigger
    LANGUAGE plpgsql SECURITY DEFINER
    SET search_path TO 'portolan', 'pg_temp'
    AS $$
declare
  old_state text := case when tg_op = 'UPDATE' then old.state end;
begin
  insert into service_health_changes (service, old_state, new_state, is_healthy, reason)
  values (new.service, old_state, new.state, new.is_healthy, new.error);
  perform pg_notify('portolan_events', jsonb_build_object(
    'type', 'SERVER_STATE_CHANGED',
    'payload', jsonb_build_object(
      'serverId', new.service, 'oldState', old_state, 'newState', new.state, 'isHealthy', new.is_healthy,
      'timestamp', now()
    )
  )::text);
  return null;
end $$;

ALTER FUNCTION portolan.publish_service_health() OWNER TO portolan_owner;

CREATE FUNCTION portolan.purge_access_keys() RETURNS bigint
    LANGUAGE plpgsql SECURITY DEFINER
    SET search_path TO 'portolan', 'pg_temp'
    AS $$
declare
  purged bigint;
begin
  delete from access_keys k
  where k.revoked_at < now() - interval '30 days' or k.expires_at < now() - interval '30 days';
  get diagnostics purged = row_count;
  return purged;
end $$;

ALTER FUNCTION portolan.purge_access_keys() OWNER TO portolan_owner;

CREATE FUNCTION portolan.purge_daily_calls() RETURNS bigint
    LANGUAGE plpgsql SECURITY DEFINER
    SET search_path TO 'portolan', 'pg_temp'
    AS $$
declare
  purged bigint;
begin
  delete from daily_calls d where d.day < (now() at time zone 'UTC')::date - 30;
  get diagnostics purged = row_count;
  return purged;
end $$;

ALTER FUNCTION portolan.purge_daily_calls() OWNER TO portolan_owner;

CREATE FUNCTION portolan.purge_expired() RETURNS TABLE(kind text, purged bigint)
    LANGUAGE plpgsql SECURITY DEFINER
    SET search_path TO 'portolan', 'pg_temp'
    AS $$
begin
  delete from instances i where i.deleted_at < now() - interval '30 days';
  get diagnostics purged = row_count;
  kind := 'deleted_instances';
  return next;

  -- Used refresh credentials stay as long as their session, so that a late reuse is still recognised.
  delete from login_sessions s
  where s.expires_at < now() - interval '7 days' or s.revoked_at < now() - interval '30 days';
  get diagnostics purged = row_count;
  kind := 'login_sessions';
  return next;

  delete from api_keys k
  where k.revoked_at < now() - interval '30 days' or k.expires_at < now() - interval '30 days';
  get diagnostics purged = row_count;
  kind := 'api_keys';
  return next;

  delete from invites i where i.expires_at < now() - interval '30 days';
  get diagnostics purged = row_count;
  kind := 'invites';
  return next;

  delete from rate_limits r where r.expire < extract(epoch from now()) * 1000;
  get diagnostics purged = row_count;
  kind := 'rate_limits';
  return next;

  delete from ring_heartbeats h where h.seen_at < now() - interval '1 day';
  get diagnostics purged = row_count;
  kind := 'ring_heartbeats';
  return next;

  delete from service_health_changes c where c.occurred_at < now() - interval '90 days';
  get diagnostics purged = row_count;
  kind := 'service_health_changes';
  return next;

  delete from era_verdicts v where v.used_at < now() - interval '30 days';
  get diagnostics purged = row_count;
  kind := 'era_verdicts';
  return next;

  delete from oauth_sign_ins o where o.expires_at < now() - interval '1 day';
  get diagnostics purged = row_count;
  kind := 'oauth_sign_ins';
  return next;
end $$;

ALTER FUNCTION portolan.purge_expired() OWNER TO portolan_owner;

CREATE FUNCTION portolan.purge_tool_sightings() RETURNS bigint
    LANGUAGE plpgsql SECURITY DEFINER
    SET search_path TO 'portolan', 'pg_temp'
    AS $$
declare
  purged bigint;
begin
  delete from tool_pins p
  where p.state = 'waiting' and p.seen_at < now() - case when p.is_new then interval '180 days' else interval '30 days' end;
  get diagnostics purged = row_count;
  return purged;
end $$;

ALTER FUNCTION portolan.purge_tool_sightings() OWNER TO portolan_owner;

CREATE FUNCTION portolan.read_era_verdict(p_service text, p_upstream bytea, p_auth_context bytea) RETURNS TABLE(speaks_modern boolean, speaks_legacy boolean, legacy_transport text, asked_at timestamp with time zone)
    LANGUAGE plpgsql SECURITY DEFINER
    SET search_path TO 'portolan', 'pg_temp'
    AS $$
begin
  update era_verdicts v set used_at = now()
  where v.service = p_service and v.upstream = p_upstream and v.auth_context = p_auth_context
    and v.used_at < now() - interval '1 day';
  return query
  select v.speaks_modern, v.speaks_legacy, v.legacy_transport, v.asked_at from era_verdicts v
  where v.service = p_service and v.upstream = p_upstream and v.auth_context = p_auth_context;
end $$;

ALTER FUNCTION portolan.read_era_verdict(p_service text, p_upstream bytea, p_auth_context bytea) OWNER TO portolan_owner;

CREATE FUNCTION portolan.read_last_list(p_instance_id uuid, p_service text, p_kind text) RETURNS TABLE(body text, stored_at timestamp with time zone)
    LANGUAGE sql STABLE SECURITY DEFINER
    SET search_path TO 'portolan', 'pg_temp'
    AS $$
  select l.body, l.stored_at from last_known_lists l join instances i on i.id = l.instance_id
  where l.instance_id = p_instance_id and l.kind = p_kind and i.service = p_service and i.deleted_at is null
$$;

ALTER FUNCTION portolan.read_last_list(p_instance_id uuid, p_service text, p_kind text) OWNER TO portolan_owner;

CREATE TABLE portolan.service_settings (
    id uuid NOT NULL,
    service text NOT NULL,
    is_enabled boolean DEFAULT true NOT NULL,
    admin_config_revision integer DEFAULT 0 NOT NULL,
    sealed_admin_config bytea,
    shared_method text,
    shared_revision integer DEFAULT 0 NOT NULL,
    sealed_shared_credential bytea,
    version integer DEFAULT 1 NOT NULL,
    updated_by uuid,
    updated_at timestamp with time zone DEFAULT now() NOT NULL,
    shared_identity text,
    shared_checked_at timestamp with time zone,
    shared_updated_at timestamp with time zone,
    CONSTRAINT service_settings_shared_identity_check CHECK ((char_length(shared_identity) <= 200)),
    CONSTRAINT shared_is_whole CHECK ((num_nonnulls(shared_method, sealed_shared_credential) = ANY (ARRAY[0, 2])))
);

ALTER TABLE ONLY portolan.service_settings FORCE ROW LEVEL SECURITY;

ALTER TABLE portolan.service_settings OWNER TO portolan_owner;

COMMENT ON COLUMN portolan.service_settings.is_enabled IS 'For the control plane, which lets an admin switch a service off; until then the config file alone decides.';

COMMENT ON COLUMN portolan.service_settings.sealed_admin_config IS 'For the control plane, which lets an admin set values beyond the config file; until then nobody writes or reads it.';

COMMENT ON COLUMN portolan.service_settings.shared_revision IS 'The highest revision ever sealed for the row; it stays when the credential is deleted, so that none is used twice.';

COMMENT ON COLUMN portolan.service_settings.shared_checked_at IS 'When the service accepted it; null when there was nothing to check it against.';

CREATE FUNCTION portolan.read_service_settings(p_service text) RETURNS SETOF portolan.service_settings
    LANGUAGE sql STABLE SECURITY DEFINER
    SET search_path TO 'portolan', 'pg_temp'
    AS $$
  select * from service_settings s where s.service = p_service
$$;

ALTER FUNCTION portolan.read_service_settings(p_service text) OWNER TO portolan_owner;

CREATE FUNCTION portolan.read_system_data_keys() RETURNS TABLE(id uuid, kek_id text, wrapped bytea)
    LANGUAGE sql STABLE SECURITY DEFINER
    SET search_path TO 'portolan', 'pg_temp'
    AS $$
  select k.id, k.kek_id, k.wrapped from data_keys k where k.user_id is null order by k.created_at desc
$$;

ALTER FUNCTION portolan.read_system_data_keys() OWNER TO portolan_owner;

CREATE FUNCTION portolan.read_system_keys() RETURNS TABLE(install_id uuid, name text, kek_id text, wrapped bytea)
    LANGUAGE sql STABLE SECURITY DEFINER
    SET search_path TO 'portolan', 'pg_temp'
    AS $$
  select i.install_id, k.name, k.kek_id, k.wrapped from install i cross join system_keys k order by k.name
$$;

ALTER FUNCTION portolan.read_system_keys() OWNER TO portolan_owner;

CREATE FUNCTION portolan.read_tool_pins(p_service text) RETURNS TABLE(tool text, digest text, state text, is_new boolean)
    LANGUAGE sql STABLE SECURITY DEFINER
    SET search_path TO 'portolan', 'pg_temp'
    AS $$
  select p.tool, p.digest, p.state, p.is_new from tool_pins p where p.service = p_service
$$;

ALTER FUNCTION portolan.read_tool_pins(p_service text) OWNER TO portolan_owner;

CREATE FUNCTION portolan.record_instance_state(p_id uuid, p_service text, p_credential_revision integer, p_state text, p_cause text) RETURNS boolean
    LANGUAGE plpgsql SECURITY DEFINER
    SET search_path TO 'portolan', 'pg_temp'
    AS $$
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

ALTER FUNCTION portolan.record_instance_state(p_id uuid, p_service text, p_credential_revision integer, p_state text, p_cause text) OWNER TO portolan_owner;

CREATE FUNCTION portolan.report_tools(p_service text, p_instance_id uuid, p_tools text[], p_definitions text[], p_is_plain boolean[], p_is_last boolean) RETURNS TABLE(tool text, digest text, state text, is_new boolean, is_first boolean)
    LANGUAGE plpgsql SECURITY DEFINER
    SET search_path TO 'portolan', 'pg_temp'
    AS $$
declare
  baseline tool_baselines;
  is_first_use boolean;
  known boolean;
  was_waiting boolean;
  is_told boolean := false;
begin
  if cardinality(p_tools) > 1000 or cardinality(p_definitions) <> cardinality(p_tools)
      or cardinality(p_is_plain) <> cardinality(p_tools) then
    raise exception 'a report of tools that is too long or not whole' using errcode = 'check_violation';
  end if;
  perform 1 from instances i where i.id = p_instance_id and i.service = p_service and i.deleted_at is null;
  if not found or cardinality(p_tools) = 0 then
    return;
  end if;

  -- The row is the lock: of two processes that see a service for the first time one is the first.
  insert into tool_baselines (service, instance_id) values (p_service, p_instance_id) on conflict do nothing;
  select * into baseline from tool_baselines b where b.service = p_service for update;
  is_first_use := baseline.completed_at is null and baseline.instance_id = p_instance_id
    and baseline.begun_at > now() - interval '1 minute';

  for at in 1 .. cardinality(p_tools) loop
    tool := p_tools[at];
    digest := 'v1:' || encode(sha256(convert_to(p_definitions[at], 'UTF8')), 'hex');
    update tool_pins p
    set seen_at = case when p.seen_at < now() - interval '1 day' then now() else p.seen_at end
    where p.service = p_service and p.tool = report_tools.tool and p.digest = report_tools.digest
    returning p.state, p.is_new into state, is_new;
    if found then
      is_first := false;
      return next;
      continue;
    end if;

    select count(*) > 0, coalesce(bool_or(p.state = 'waiting'), false) into known, was_waiting
    from tool_pins p where p.service = p_service and p.tool = report_tools.tool;
    is_new := not known and p_is_plain[at] and (
      select count(*) < 1000 from tool_pins p where p.service = p_service and p.is_new
    );
    state := case when is_new and is_first_use then 'approved' else 'waiting' end;
    insert into tool_pins (service, tool, digest, definition, state, is_new)
    values (p_service, tool, digest, p_definitions[at], state, is_new);
    is_first := not was_waiting;
    is_told := is_told or is_first;
    return next;
  end loop;

  if is_first_use and p_is_last then
    update tool_baselines b set completed_at = now() where b.service = p_service;
  end if;

  delete from tool_pins p using (
    select w.tool, w.digest, row_number() over (partition by w.tool order by w.sequence desc) as of_tool,
           row_number() over (order by w.sequence desc) as of_all
    from tool_pins w where w.service = p_service and w.state = 'waiting' and not w.is_new
  ) ranked
  where p.service = p_service and p.tool = ranked.tool and p.digest = ranked.digest
    and (ranked.of_tool > 20 or ranked.of_all > 500);
  if is_told then
    perform pg_notify('portolan_tool_pins', p_service);
  end if;
end $$;

ALTER FUNCTION portolan.report_tools(p_service text, p_instance_id uuid, p_tools text[], p_definitions text[], p_is_plain boolean[], p_is_last boolean) OWNER TO portolan_owner;

CREATE FUNCTION portolan.reseal_record(p_table text, p_column text, p_row_id uuid, p_from bytea, p_to bytea) RETURNS boolean
    LANGUAGE plpgsql SECURITY DEFINER
    SET search_path TO 'portolan', 'pg_temp'
    AS $_$
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
end $_$;

ALTER FUNCTION portolan.reseal_record(p_table text, p_column text, p_row_id uuid, p_from bytea, p_to bytea) OWNER TO portolan_owner;

CREATE FUNCTION portolan.resolve_instance(p_lookup bytea, p_service text) RETURNS SETOF portolan.resolved_instance
    LANGUAGE plpgsql STABLE SECURITY DEFINER
    SET search_path TO 'portolan', 'pg_temp'
    AS $$
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

ALTER FUNCTION portolan.resolve_instance(p_lookup bytea, p_service text) OWNER TO portolan_owner;

CREATE FUNCTION portolan.resolve_instance_by_id(p_id uuid, p_service text, p_staged boolean) RETURNS SETOF portolan.resolved_instance
    LANGUAGE plpgsql STABLE SECURITY DEFINER
    SET search_path TO 'portolan', 'pg_temp'
    AS $$
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

ALTER FUNCTION portolan.resolve_instance_by_id(p_id uuid, p_service text, p_staged boolean) OWNER TO portolan_owner;

CREATE FUNCTION portolan.return_daily_calls(p_instance_id uuid, p_service text, p_day date, p_unspent integer) RETURNS void
    LANGUAGE sql SECURITY DEFINER
    SET search_path TO 'portolan', 'pg_temp'
    AS $$
  update daily_calls d set leased = d.leased - least(d.leased, greatest(p_unspent, 0))
  where d.instance_id = p_instance_id and d.service = p_service and d.day = p_day
$$;

ALTER FUNCTION portolan.return_daily_calls(p_instance_id uuid, p_service text, p_day date, p_unspent integer) OWNER TO portolan_owner;

CREATE FUNCTION portolan.revoke_keys_of_deleted() RETURNS trigger
    LANGUAGE plpgsql
    SET search_path TO 'portolan', 'pg_temp'
    AS $$
begin
  update access_keys k set revoked_at = now() where k.instance_id = new.id and k.revoked_at is null;
  return null;
end $$;

ALTER FUNCTION portolan.revoke_keys_of_deleted() OWNER TO portolan_owner;

CREATE FUNCTION portolan.ring_heartbeat(p_process_id text, p_program text, p_fingerprint text, p_primary_kek_id text) RETURNS void
    LANGUAGE sql SECURITY DEFINER
    SET search_path TO 'portolan', 'pg_temp'
    AS $$
  insert into ring_heartbeats (process_id, program, fingerprint, primary_kek_id)
  values (p_process_id, p_program, p_fingerprint, p_primary_kek_id)
  on conflict (process_id) do update set program = excluded.program, fingerprint = excluded.fingerprint,
    primary_kek_id = excluded.primary_kek_id, seen_at = now()
$$;

ALTER FUNCTION portolan.ring_heartbeat(p_process_id text, p_program text, p_fingerprint text, p_primary_kek_id text) OWNER TO portolan_owner;

CREATE FUNCTION portolan.ring_heartbeat_end(p_process_id text) RETURNS void
    LANGUAGE sql SECURITY DEFINER
    SET search_path TO 'portolan', 'pg_temp'
    AS $$
  delete from ring_heartbeats h where h.process_id = p_process_id
$$;

ALTER FUNCTION portolan.ring_heartbeat_end(p_process_id text) OWNER TO portolan_owner;

CREATE FUNCTION portolan.rotate_refresh_token(p_digest bytea, p_next_id uuid, p_next_digest bytea, p_next_expires_at timestamp with time zone) RETURNS TABLE(outcome text, user_id uuid, session_id uuid, role text)
    LANGUAGE plpgsql SECURITY DEFINER
    SET search_path TO 'portolan', 'pg_temp'
    AS $$
declare
  found_row record;
begin
  -- The session's row is locked first and for all of its family, so that two rotations cannot both win.
  select r.id, r.used_at, r.expires_at, s.id as session_id, s.revoked_at, s.expires_at as session_expires_at,
         u.id as user_id, u.status, u.role
  into found_row
  from refresh_tokens r
  join login_sessions s on s.id = r.session_id
  join users u on u.id = r.user_id
  where r.digest = p_digest
  for update of s, r;

  user_id := found_row.user_id;
  session_id := found_row.session_id;
  role := found_row.role;
  if found_row.id is null then
    outcome := 'unknown';
  elsif found_row.revoked_at is not null then
    outcome := 'revoked';
  elsif found_row.used_at is not null then
    update login_sessions s set revoked_at = now() where s.id = found_row.session_id;
    outcome := 'reused';
  elsif found_row.expires_at <= now() or found_row.session_expires_at <= now() then
    outcome := 'expired';
  elsif found_row.status <> 'active' then
    outcome := 'disabled';
  else
    update refresh_tokens r set used_at = now() where r.id = found_row.id;
    update login_sessions s set last_seen_at = now() where s.id = found_row.session_id;
    insert into refresh_tokens (id, session_id, user_id, digest, expires_at)
    values (p_next_id, found_row.session_id, found_row.user_id, p_next_digest, p_next_expires_at);
    outcome := 'rotated';
  end if;
  return next;
end $$;

ALTER FUNCTION portolan.rotate_refresh_token(p_digest bytea, p_next_id uuid, p_next_digest bytea, p_next_expires_at timestamp with time zone) OWNER TO portolan_owner;

CREATE FUNCTION portolan.schema_version() RETURNS text
    LANGUAGE sql STABLE SECURITY DEFINER
    SET search_path TO 'portolan', 'pg_temp'
    AS $$
  select max(m.name) from migrations m
$$;

ALTER FUNCTION portolan.schema_version() OWNER TO portolan_owner;

CREATE FUNCTION portolan.seal_audit_events(p_shard text, p_first_seq bigint, p_links jsonb, p_head bytea) RETURNS integer
    LANGUAGE plpgsql SECURITY DEFINER
    SET search_path TO 'portolan', 'pg_temp'
    AS $$
declare
  sealed integer;
begin
  update audit_events e set shard = p_shard, seq = p_first_seq + l.n - 1, link = decode(l.link, 'base64')
  from (
    select (r.value ->> 'id')::uuid as id, (r.value ->> 'occurredAt')::timestamptz as occurred_at,
           r.value ->> 'link' as link, r.ordinality as n
    from jsonb_array_elements(p_links) with ordinality r
  ) l
  where e.occurred_at = l.occurred_at and e.id = l.id and e.link is null and e.mac is not null;
  get diagnostics sealed = row_count;
  if sealed <> jsonb_array_length(p_links) then
    raise exception 'the audit events changed while they were sealed' using errcode = '40001';
  end if;
  insert into audit_shards as s (audit, shard, seq, head)
  values ('audit_events', p_shard, p_first_seq + sealed - 1, p_head)
  on conflict (audit, shard) do update set seq = excluded.seq, head = excluded.head, updated_at = now()
    where s.seq = p_first_seq - 1;
  if not found then
    raise exception 'the events do not follow the shard''s chain' using errcode = '40001';
  end if;
  return sealed;
end $$;

ALTER FUNCTION portolan.seal_audit_events(p_shard text, p_first_seq bigint, p_links jsonb, p_head bytea) OWNER TO portolan_owner;

CREATE FUNCTION portolan.ship_call_audit(p_spool_id text, p_service text, p_records jsonb) RETURNS TABLE("position" bigint, added integer)
    LANGUAGE plpgsql SECURITY DEFINER
    SET search_path TO 'portolan', 'pg_temp'
    AS $$
declare
  shipped_to bigint;
begin
  insert into spool_positions (spool_id, service) values (p_spool_id, p_service) on conflict do nothing;
  select s.position into shipped_to from spool_positions s where s.spool_id = p_spool_id for update;

  insert into audit_calls (
    occurred_at, call_id, phase, instance_id, user_id, service, method, name, era, request_id, client_address,
    arguments_digest, arguments_bytes, outcome, http_status, json_rpc_code, is_error, error_code, duration_ms,
    result_bytes, spool_id, spool_position
  )
  select r."occurredAt", r."callId", r.phase, r."instanceId", r."userId", coalesce(r.service, p_service), r.method,
         r.name, r.era, r."requestId", r."clientAddress", decode(r."argumentsDigest", 'hex'), r."argumentsBytes",
         r.outcome, r."httpStatus", r."jsonRpcCode", r."isError", r."errorCode", r."durationMs", r."resultBytes",
         p_spool_id, r.position
  from jsonb_to_recordset(p_records) as r (
    position bigint, phase text, "callId" uuid, "occurredAt" timestamptz, "instanceId" uuid, "userId" uuid,
    service text, method text, name text, era text, "requestId" text, "clientAddress" text, "argumentsDigest" text,
    "argumentsBytes" integer, outcome text, "httpStatus" integer, "jsonRpcCode" integer, "isError" boolean,
    "errorCode" text, "durationMs" real, "resultBytes" bigint
  )
  where r.position > shipped_to
  order by r.position;
  get diagnostics added = row_count;

  select greatest(shipped_to, max((r ->> 'position')::bigint)) into "position" from jsonb_array_elements(p_records) r;
  update spool_positions s set position = ship_call_audit."position", updated_at = now()
  where s.spool_id = p_spool_id;
  return next;
end $$;

ALTER FUNCTION portolan.ship_call_audit(p_spool_id text, p_service text, p_records jsonb) OWNER TO portolan_owner;

CREATE FUNCTION portolan.ship_call_audit(p_spool_id text, p_service text, p_records jsonb, p_first_seq bigint, p_position bigint, p_head bytea) RETURNS integer
    LANGUAGE plpgsql SECURITY DEFINER
    SET search_path TO 'portolan', 'pg_temp'
    AS $$
declare
  shipped_to bigint;
  shard_seq bigint;
  added integer;
begin
  insert into spool_positions (spool_id, service) values (p_spool_id, p_service) on conflict do nothing;
  select s.position into shipped_to from spool_positions s where s.spool_id = p_spool_id for update;
  select s.seq into shard_seq from audit_shards s where s.audit = 'audit_calls' and s.shard = p_spool_id;
  if p_first_seq <> coalesce(shard_seq, 0) + 1 then
    raise exception 'the records do not follow the spool''s chain' using errcode = '40001';
  end if;

  insert into audit_calls (
    occurred_at, call_id, phase, instance_id, user_id, service, method, name, era, request_id, client_address,
    arguments_digest, arguments_bytes, arguments_sealed, outcome, http_status, json_rpc_code, is_error, error_code,
    duration_ms, result_bytes, spool_id, spool_position, seq, mac
  )
  select r."occurredAt", r."callId", r.phase, r."instanceId", r."userId", coalesce(r.service, p_service), r.method,
         r.name, r.era, r."requestId", r."clientAddress", decode(r."argumentsDigest", 'hex'), r."argumentsBytes",
         decode(r."argumentsSealed", 'base64'), r.outcome, r."httpStatus", r."jsonRpcCode", r."isError", r."errorCode",
         r."durationMs", r."resultBytes", p_spool_id, r.position, r.seq, decode(r.mac, 'base64')
  from jsonb_to_recordset(p_records) as r (
    position bigint, seq bigint, mac text, phase text, "callId" uuid, "occurredAt" timestamptz, "instanceId" uuid,
    "userId" uuid, service text, method text, name text, era text, "requestId" text, "clientAddress" text,
    "argumentsDigest" text, "argumentsBytes" integer, "argumentsSealed" text, outcome text, "httpStatus" integer,
    "jsonRpcCode" integer, "isError" boolean, "errorCode" text, "durationMs" real, "resultBytes" bigint
  )
  where r.position > shipped_to and r.seq >= p_first_seq
  order by r.position;
  get diagnostics added = row_count;
  if added <> jsonb_array_length(p_records) then
    raise exception 'the database has some of the records already' using errcode = '40001';
  end if;

  insert into audit_shards as s (audit, shard, seq, head)
  values ('audit_calls', p_spool_id, p_first_seq + added - 1, p_head)
  on conflict (audit, shard) do update set seq = excluded.seq, head = excluded.head, updated_at = now();
  update spool_positions s set position = p_position, updated_at = now() where s.spool_id = p_spool_id;
  return added;
end $$;

ALTER FUNCTION portolan.ship_call_audit(p_spool_id text, p_service text, p_records jsonb, p_first_seq bigint, p_position bigint, p_head bytea) OWNER TO portolan_owner;

CREATE FUNCTION portolan.spool_chain(p_spool_id text) RETURNS TABLE("position" bigint, seq bigint, head bytea)
    LANGUAGE sql STABLE SECURITY DEFINER
    SET search_path TO 'portolan', 'pg_temp'
    AS $$
  select coalesce((select p.position from spool_positions p where p.spool_id = p_spool_id), 0), s.seq, s.head
  from (values (1)) one (n) left join audit_shards s on s.audit = 'audit_calls' and s.shard = p_spool_id
$$;

ALTER FUNCTION portolan.spool_chain(p_spool_id text) OWNER TO portolan_owner;

CREATE FUNCTION portolan.spool_position(p_spool_id text) RETURNS bigint
    LANGUAGE sql STABLE SECURITY DEFINER
    SET search_path TO 'portolan', 'pg_temp'
    AS $$
  select coalesce((select s.position from spool_positions s where s.spool_id = p_spool_id), 0)
$$;

ALTER FUNCTION portolan.spool_position(p_spool_id text) OWNER TO portolan_owner;

CREATE FUNCTION portolan.store_era_verdict(p_service text, p_upstream bytea, p_auth_context bytea, p_modern boolean, p_legacy boolean, p_legacy_transport text, p_asked_at timestamp with time zone) RETURNS void
    LANGUAGE sql SECURITY DEFINER
    SET search_path TO 'portolan', 'pg_temp'
    AS $$
  insert into era_verdicts as v
    (service, upstream, auth_context, speaks_modern, speaks_legacy, legacy_transport, asked_at)
  values (p_service, p_upstream, p_auth_context, p_modern, p_legacy, p_legacy_transport, p_asked_at)
  on conflict (service, upstream, auth_context) do update
  set speaks_modern = excluded.speaks_modern, speaks_legacy = excluded.speaks_legacy,
      legacy_transport = excluded.legacy_transport, asked_at = excluded.asked_at, used_at = now()
  where v.asked_at <= excluded.asked_at
$$;

ALTER FUNCTION portolan.store_era_verdict(p_service text, p_upstream bytea, p_auth_context bytea, p_modern boolean, p_legacy boolean, p_legacy_transport text, p_asked_at timestamp with time zone) OWNER TO portolan_owner;

CREATE FUNCTION portolan.store_last_list(p_instance_id uuid, p_service text, p_kind text, p_body text) RETURNS boolean
    LANGUAGE plpgsql SECURITY DEFINER
    SET search_path TO 'portolan', 'pg_temp'
    AS $$
begin
  insert into last_known_lists as l (instance_id, kind, user_id, body)
  select i.id, p_kind, i.user_id, p_body from instances i
  where i.id = p_instance_id and i.service = p_service and i.deleted_at is null
  on conflict (instance_id, kind) do update set body = excluded.body, stored_at = now();
  return found;
end $$;

ALTER FUNCTION portolan.store_last_list(p_instance_id uuid, p_service text, p_kind text, p_body text) OWNER TO portolan_owner;

CREATE FUNCTION portolan.stray_audit_days() RETURNS SETOF date
    LANGUAGE sql STABLE SECURITY DEFINER
    SET search_path TO 'portolan', 'pg_temp'
    AS $$
  select (occurred_at at time zone 'UTC')::date from audit_events_default
  union
  select (occurred_at at time zone 'UTC')::date from audit_calls_default
$$;

ALTER FUNCTION portolan.stray_audit_days() OWNER TO portolan_owner;

CREATE FUNCTION portolan.take_oauth_sign_in(p_state_digest bytea) RETURNS TABLE(id uuid, user_id uuid, session_id uuid, role text, user_status text, authenticated_at timestamp with time zone, is_session_live boolean, service text, label text, method text, browser_digest bytea, sealed_context bytea, is_expired boolean)
    LANGUAGE plpgsql SECURITY DEFINER
    SET search_path TO 'portolan', 'pg_temp'
    AS $$
declare
  taken oauth_sign_ins;
begin
  select * into taken from oauth_sign_ins o
  where o.state_digest = p_state_digest and o.used_at is null
  for update;
  if taken.id is null then
    return;
  end if;
  update oauth_sign_ins o set used_at = now(), sealed_context = null where o.id = taken.id;
  return query
  select taken.id, taken.user_id, taken.session_id, u.role, u.status, s.authenticated_at,
         s.revoked_at is null and s.expires_at > now(), taken.service, taken.label, taken.method,
         taken.browser_digest, taken.sealed_context, taken.expires_at <= now()
  from users u join login_sessions s on s.id = taken.session_id
  where u.id = taken.user_id and u.deleted_at is null;
end $$;

ALTER FUNCTION portolan.take_oauth_sign_in(p_state_digest bytea) OWNER TO portolan_owner;

CREATE FUNCTION portolan.unsealed_audit_events(p_limit integer) RETURNS TABLE(id uuid, occurred_at timestamp with time zone, mac bytea)
    LANGUAGE sql STABLE SECURITY DEFINER
    SET search_path TO 'portolan', 'pg_temp'
    AS $$
  select e.id, e.occurred_at, e.mac from audit_events e
  where e.link is null and e.mac is not null order by e.occurred_at, e.id limit p_limit
$$;

ALTER FUNCTION portolan.unsealed_audit_events(p_limit integer) OWNER TO portolan_owner;

CREATE TABLE portolan.access_keys (
    id uuid NOT NULL,
    instance_id uuid NOT NULL,
    user_id uuid NOT NULL,
    name text NOT NULL,
    hint text NOT NULL,
    digest bytea NOT NULL,
    created_at timestamp with time zone DEFAULT now() NOT NULL,
    expires_at timestamp with time zone,
    last_used_at timestamp with time zone,
    revoked_at timestamp with time zone,
    CONSTRAINT access_keys_digest_check CHECK ((octet_length(digest) = 32)),
    CONSTRAINT access_keys_hint_check CHECK ((char_length(hint) <= 16)),
    CONSTRAINT access_keys_name_check CHECK (((char_length(name) >= 1) AND (char_length(name) <= 100)))
);

ALTER TABLE ONLY portolan.access_keys FORCE ROW LEVEL SECURITY;

ALTER TABLE portolan.access_keys OWNER TO portolan_owner;

COMMENT ON TABLE portolan.access_keys IS 'Bearer credentials of one instance each, for the access mode url+token.';

CREATE TABLE portolan.api_keys (
    id uuid NOT NULL,
    user_id uuid NOT NULL,
    name text NOT NULL,
    hint text NOT NULL,
    digest bytea NOT NULL,
    created_at timestamp with time zone DEFAULT now() NOT NULL,
    expires_at timestamp with time zone,
    last_used_at timestamp with time zone,
    revoked_at timestamp with time zone,
    CONSTRAINT api_keys_digest_check CHECK ((octet_length(digest) = 32)),
    CONSTRAINT api_keys_hint_check CHECK ((char_length(hint) <= 16)),
    CONSTRAINT api_keys_name_check CHECK (((char_length(name) >= 1) AND (char_length(name) <= 100)))
);

ALTER TABLE ONLY portolan.api_keys FORCE ROW LEVEL SECURITY;

ALTER TABLE portolan.api_keys OWNER TO portolan_owner;

CREATE TABLE portolan.audit_calls (
    occurred_at timestamp with time zone NOT NULL,
    call_id uuid NOT NULL,
    phase text NOT NULL,
    instance_id uuid,
    user_id uuid,
    service text NOT NULL,
    method text NOT NULL,
    name text,
    era text,
    request_id text,
    client_address text,
    arguments_digest bytea,
    arguments_bytes integer,
    outcome text,
    http_status integer,
    json_rpc_code integer,
    is_error boolean,
    error_code text,
    duration_ms real,
    result_bytes bigint,
    spool_id text NOT NULL,
    spool_position bigint NOT NULL,
    shipped_at timestamp with time zone DEFAULT now() NOT NULL,
    mac bytea,
    seq bigint,
    arguments_sealed bytea,
    CONSTRAINT audit_calls_arguments_sealed_check CHECK ((octet_length(arguments_sealed) <= 65536)),
    CONSTRAINT audit_calls_mac_check CHECK ((octet_length(mac) = 32)),
    CONSTRAINT audit_calls_outcome_check CHECK ((outcome = ANY (ARRAY['ok'::text, 'tool_error'::text, 'error'::text, 'timeout'::text, 'cancelled'::text, 'refused'::text, 'unknown'::text]))),
    CONSTRAINT audit_calls_phase_check CHECK ((phase = ANY (ARRAY['intent'::text, 'outcome'::text])))
)
PARTITION BY RANGE (occurred_at);

ALTER TABLE ONLY portolan.audit_calls FORCE ROW LEVEL SECURITY;

ALTER TABLE portolan.audit_calls OWNER TO portolan_owner;

COMMENT ON COLUMN portolan.audit_calls.mac IS 'HMAC of spool, number, position and record under k_audit, by its shipper.';

CREATE TABLE portolan.audit_calls_default (
    occurred_at timestamp with time zone NOT NULL,
    call_id uuid NOT NULL,
    phase text NOT NULL,
    instance_id uuid,
    user_id uuid,
    service text NOT NULL,
    method text NOT NULL,
    name text,
    era text,
    request_id text,
    client_address text,
    arguments_digest bytea,
    arguments_bytes integer,
    outcome text,
    http_status integer,
    json_rpc_code integer,
    is_error boolean,
    error_code text,
    duration_ms real,
    result_bytes bigint,
    spool_id text NOT NULL,
    spool_position bigint NOT NULL,
    shipped_at timestamp with time zone DEFAULT now() NOT NULL,
    mac bytea,
    seq bigint,
    arguments_sealed bytea,
    CONSTRAINT audit_calls_arguments_sealed_check CHECK ((octet_length(arguments_sealed) <= 65536)),
    CONSTRAINT audit_calls_mac_check CHECK ((octet_length(mac) = 32)),
    CONSTRAINT audit_calls_outcome_check CHECK ((outcome = ANY (ARRAY['ok'::text, 'tool_error'::text, 'error'::text, 'timeout'::text, 'cancelled'::text, 'refused'::text, 'unknown'::text]))),
    CONSTRAINT audit_calls_phase_check CHECK ((phase = ANY (ARRAY['intent'::text, 'outcome'::text])))
);

ALTER TABLE ONLY portolan.audit_calls_default FORCE ROW LEVEL SECURITY;

ALTER TABLE portolan.audit_calls_default OWNER TO portolan_owner;

CREATE TABLE portolan.audit_checkpoints (
    number bigint NOT NULL,
    issued_at timestamp with time zone NOT NULL,
    is_whole boolean NOT NULL,
    statement text NOT NULL
);

ALTER TABLE ONLY portolan.audit_checkpoints FORCE ROW LEVEL SECURITY;

ALTER TABLE portolan.audit_checkpoints OWNER TO portolan_owner;

COMMENT ON TABLE portolan.audit_checkpoints IS 'Signed statements (JWS) of how far the shards had come; the state directory holds them too.';

CREATE TABLE portolan.audit_events (
    id uuid NOT NULL,
    occurred_at timestamp with time zone DEFAULT now() NOT NULL,
    actor_kind text NOT NULL,
    actor_id uuid,
    actor_via text,
    subject_user_id uuid,
    action text NOT NULL,
    target_kind text,
    target_id text,
    service text,
    outcome text NOT NULL,
    error_code text,
    request_id text,
    client_address text,
    details jsonb DEFAULT '{}'::jsonb NOT NULL,
    mac bytea,
    shard text,
    seq bigint,
    link bytea,
    CONSTRAINT audit_events_actor_kind_check CHECK ((actor_kind = ANY (ARRAY['user'::text, 'system'::text, 'anonymous'::text]))),
    CONSTRAINT audit_events_details_check CHECK ((octet_length((details)::text) <= 16384)),
    CONSTRAINT audit_events_link_check CHECK ((octet_length(link) = 32)),
    CONSTRAINT audit_events_mac_check CHECK ((octet_length(mac) = 32)),
    CONSTRAINT audit_events_outcome_check CHECK ((outcome = ANY (ARRAY['success'::text, 'denied'::text, 'failure'::text])))
)
PARTITION BY RANGE (occurred_at);

ALTER TABLE ONLY portolan.audit_events FORCE ROW LEVEL SECURITY;

ALTER TABLE portolan.audit_events OWNER TO portolan_owner;

COMMENT ON COLUMN portolan.audit_events.mac IS 'HMAC of the row under k_audit, by its writer; null from versions without it.';

COMMENT ON COLUMN portolan.audit_events.link IS 'HMAC of shard, number, id and MAC under k_audit, by the sealer.';

CREATE TABLE portolan.audit_events_default (
    id uuid NOT NULL,
    occurred_at timestamp with time zone DEFAULT now() NOT NULL,
    actor_kind text NOT NULL,
    actor_id uuid,
    actor_via text,
    subject_user_id uuid,
    action text NOT NULL,
    target_kind text,
    target_id text,
    service text,
    outcome text NOT NULL,
    error_code text,
    request_id text,
    client_address text,
    details jsonb DEFAULT '{}'::jsonb NOT NULL,
    mac bytea,
    shard text,
    seq bigint,
    link bytea,
    CONSTRAINT audit_events_actor_kind_check CHECK ((actor_kind = ANY (ARRAY['user'::text, 'system'::text, 'anonymous'::text]))),
    CONSTRAINT audit_events_details_check CHECK ((octet_length((details)::text) <= 16384)),
    CONSTRAINT audit_events_link_check CHECK ((octet_length(link) = 32)),
    CONSTRAINT audit_events_mac_check CHECK ((octet_length(mac) = 32)),
    CONSTRAINT audit_events_outcome_check CHECK ((outcome = ANY (ARRAY['success'::text, 'denied'::text, 'failure'::text])))
);

ALTER TABLE ONLY portolan.audit_events_default FORCE ROW LEVEL SECURITY;

ALTER TABLE portolan.audit_events_default OWNER TO portolan_owner;

CREATE TABLE portolan.audit_shards (
    audit text NOT NULL,
    shard text NOT NULL,
    seq bigint NOT NULL,
    head bytea NOT NULL,
    checkpoint_seq bigint DEFAULT 0 NOT NULL,
    updated_at timestamp with time zone DEFAULT now() NOT NULL,
    CONSTRAINT audit_shards_audit_check CHECK ((audit = ANY (ARRAY['audit_events'::text, 'audit_calls'::text]))),
    CONSTRAINT audit_shards_head_check CHECK ((octet_length(head) = 32))
);

ALTER TABLE ONLY portolan.audit_shards FORCE ROW LEVEL SECURITY;

ALTER TABLE portolan.audit_shards OWNER TO portolan_owner;

COMMENT ON TABLE portolan.audit_shards IS 'How far each shard of the audit has come: the number of its last row and the fold of all.';

CREATE TABLE portolan.daily_calls (
    instance_id uuid NOT NULL,
    day date NOT NULL,
    user_id uuid NOT NULL,
    service text NOT NULL,
    leased integer NOT NULL,
    CONSTRAINT daily_calls_leased_check CHECK ((leased >= 0))
);

ALTER TABLE ONLY portolan.daily_calls FORCE ROW LEVEL SECURITY;

ALTER TABLE portolan.daily_calls OWNER TO portolan_owner;

COMMENT ON TABLE portolan.daily_calls IS 'How many calls of a day were leased to service processes, for each instance.';

CREATE TABLE portolan.data_keys (
    id uuid NOT NULL,
    user_id uuid,
    kek_id text NOT NULL,
    wrapped bytea NOT NULL,
    revision integer DEFAULT 1 NOT NULL,
    created_at timestamp with time zone DEFAULT now() NOT NULL,
    updated_at timestamp with time zone DEFAULT now() NOT NULL
);

ALTER TABLE ONLY portolan.data_keys FORCE ROW LEVEL SECURITY;

ALTER TABLE portolan.data_keys OWNER TO portolan_owner;

COMMENT ON TABLE portolan.data_keys IS 'Data-encryption keys, wrapped by a KEK. Deleting those of a user shreds what was sealed.';

CREATE TABLE portolan.era_verdicts (
    service text NOT NULL,
    upstream bytea NOT NULL,
    auth_context bytea NOT NULL,
    speaks_modern boolean,
    speaks_legacy boolean,
    legacy_transport text,
    asked_at timestamp with time zone NOT NULL,
    used_at timestamp with time zone DEFAULT now() NOT NULL,
    CONSTRAINT era_verdicts_auth_context_check CHECK ((octet_length(auth_context) = 32)),
    CONSTRAINT era_verdicts_legacy_transport_check CHECK ((legacy_transport = ANY (ARRAY['streamable-http'::text, 'sse'::text]))),
    CONSTRAINT era_verdicts_service_check CHECK ((char_length(service) <= 100)),
    CONSTRAINT era_verdicts_upstream_check CHECK ((octet_length(upstream) = 32)),
    CONSTRAINT says_something CHECK ((num_nonnulls(speaks_modern, speaks_legacy) > 0))
);

ALTER TABLE ONLY portolan.era_verdicts FORCE ROW LEVEL SECURITY;

ALTER TABLE portolan.era_verdicts OWNER TO portolan_owner;

COMMENT ON TABLE portolan.era_verdicts IS 'Which eras an upstream speaks under an authorization context, as it last said.';

COMMENT ON COLUMN portolan.era_verdicts.speaks_modern IS 'Null: not asked yet.';

COMMENT ON COLUMN portolan.era_verdicts.used_at IS 'To the day: a verdict that nobody uses for 30 days is purged.';

CREATE TABLE portolan.install (
    is_only boolean DEFAULT true NOT NULL,
    install_id uuid NOT NULL,
    created_at timestamp with time zone DEFAULT now() NOT NULL,
    CONSTRAINT install_is_only_check CHECK (is_only)
);

ALTER TABLE ONLY portolan.install FORCE ROW LEVEL SECURITY;

ALTER TABLE portolan.install OWNER TO portolan_owner;

COMMENT ON TABLE portolan.install IS 'One row: the id that every seal and wrap of this installation is bound to.';

CREATE TABLE portolan.instances (
    id uuid NOT NULL,
    user_id uuid NOT NULL,
    service text NOT NULL,
    label text DEFAULT 'default'::text NOT NULL,
    lookup bytea,
    previous_lookup bytea,
    previous_expires_at timestamp with time zone,
    sealed_url bytea,
    url_revision integer DEFAULT 1 NOT NULL,
    is_active boolean DEFAULT true NOT NULL,
    access_mode text DEFAULT 'url'::text NOT NULL,
    epoch integer DEFAULT 1 NOT NULL,
    credential_method text,
    credential_revision integer,
    sealed_credential bytea,
    staged_method text,
    staged_revision integer,
    sealed_staged bytea,
    staged_at timestamp with time zone,
    last_credential_revision integer DEFAULT 0 NOT NULL,
    overrides_revision integer DEFAULT 0 NOT NULL,
    sealed_overrides bytea,
    identity_label text,
    state text DEFAULT 'not_configured'::text NOT NULL,
    state_cause text,
    last_checked_at timestamp with time zone,
    last_success_at timestamp with time zone,
    last_used_at timestamp with time zone,
    expires_at timestamp with time zone,
    version integer DEFAULT 1 NOT NULL,
    created_at timestamp with time zone DEFAULT now() NOT NULL,
    updated_at timestamp with time zone DEFAULT now() NOT NULL,
    deleted_at timestamp with time zone,
    allowed_cidrs text[] DEFAULT '{}'::text[] NOT NULL,
    CONSTRAINT credential_is_whole CHECK ((num_nonnulls(credential_method, credential_revision, sealed_credential) = ANY (ARRAY[0, 3]))),
    CONSTRAINT deleted_is_wiped CHECK (((deleted_at IS NULL) OR (num_nonnulls(lookup, previous_lookup, sealed_url, sealed_credential, sealed_staged, sealed_overrides) = 0))),
    CONSTRAINT instances_access_mode_check CHECK ((access_mode = ANY (ARRAY['url'::text, 'url+token'::text, 'oauth'::text]))),
    CONSTRAINT instances_allowed_cidrs_check CHECK (((cardinality(allowed_cidrs) <= 32) AND (array_position(allowed_cidrs, NULL::text) IS NULL))),
    CONSTRAINT instances_identity_label_check CHECK ((char_length(identity_label) <= 200)),
    CONSTRAINT instances_label_check CHECK (((char_length(label) >= 1) AND (char_length(label) <= 64))),
    CONSTRAINT instances_lookup_check CHECK ((octet_length(lookup) = 32)),
    CONSTRAINT instances_previous_lookup_check CHECK ((octet_length(previous_lookup) = 32)),
    CONSTRAINT instances_service_check CHECK ((service ~ '^[a-z0-9][a-z0-9_-]{0,63}$'::text)),
    CONSTRAINT instances_state_cause_check CHECK ((char_length(state_cause) <= 500)),
    CONSTRAINT instances_state_check CHECK ((state = ANY (ARRAY['not_configured'::text, 'checking'::text, 'ready'::text, 'needs_reauth'::text, 'rejected_by_service'::text, 'unreachable'::text, 'paused'::text]))),
    CONSTRAINT previous_is_whole CHECK ((num_nonnulls(previous_lookup, previous_expires_at) = ANY (ARRAY[0, 2]))),
    CONSTRAINT staged_is_whole CHECK ((num_nonnulls(staged_method, staged_revision, sealed_staged, staged_at) = ANY (ARRAY[0, 4])))
);

ALTER TABLE ONLY portolan.instances FORCE ROW LEVEL SECURITY;

ALTER TABLE portolan.instances OWNER TO portolan_owner;

CREATE TABLE portolan.invites (
    id uuid NOT NULL,
    email text,
    role text NOT NULL,
    digest bytea NOT NULL,
    created_by uuid NOT NULL,
    created_at timestamp with time zone DEFAULT now() NOT NULL,
    expires_at timestamp with time zone NOT NULL,
    used_at timestamp with time zone,
    used_by uuid,
    CONSTRAINT invites_digest_check CHECK ((octet_length(digest) = 32)),
    CONSTRAINT invites_role_check CHECK ((role = ANY (ARRAY['user'::text, 'admin'::text, 'auditor'::text])))
);

ALTER TABLE ONLY portolan.invites FORCE ROW LEVEL SECURITY;

ALTER TABLE portolan.invites OWNER TO portolan_owner;

CREATE TABLE portolan.kek_usage (
    kek_id text NOT NULL,
    wraps bigint NOT NULL
);

ALTER TABLE ONLY portolan.kek_usage FORCE ROW LEVEL SECURITY;

ALTER TABLE portolan.kek_usage OWNER TO portolan_owner;

COMMENT ON TABLE portolan.kek_usage IS 'How often each KEK wrapped a key, ever; kept by triggers.';

CREATE TABLE portolan.key_ring_state (
    is_only boolean DEFAULT true NOT NULL,
    wrapping_keks text[] NOT NULL,
    updated_at timestamp with time zone DEFAULT now() NOT NULL,
    CONSTRAINT key_ring_state_is_only_check CHECK (is_only),
    CONSTRAINT key_ring_state_wrapping_keks_check CHECK ((cardinality(wrapping_keks) > 0))
);

ALTER TABLE ONLY portolan.key_ring_state FORCE ROW LEVEL SECURITY;

ALTER TABLE portolan.key_ring_state OWNER TO portolan_owner;

COMMENT ON TABLE portolan.key_ring_state IS 'One row once a KEK was ever rotated: the KEKs that may wrap a key; none, and any may.';

CREATE TABLE portolan.key_rotations (
    id uuid NOT NULL,
    from_kek text NOT NULL,
    to_kek text NOT NULL,
    phase text NOT NULL,
    rewrapped integer DEFAULT 0 NOT NULL,
    started_at timestamp with time zone DEFAULT now() NOT NULL,
    updated_at timestamp with time zone DEFAULT now() NOT NULL,
    finished_at timestamp with time zone,
    CONSTRAINT finished_says_so CHECK (((phase = 'finished'::text) = (finished_at IS NOT NULL))),
    CONSTRAINT key_rotations_check CHECK ((to_kek <> from_kek)),
    CONSTRAINT key_rotations_phase_check CHECK ((phase = ANY (ARRAY['distributing'::text, 'promoting'::text, 'rewrapping'::text, 'settling'::text, 'finished'::text])))
);

ALTER TABLE ONLY portolan.key_rotations FORCE ROW LEVEL SECURITY;

ALTER TABLE portolan.key_rotations OWNER TO portolan_owner;

COMMENT ON TABLE portolan.key_rotations IS 'Rotations of the KEK, one row each; at most one is under way.';

CREATE TABLE portolan.last_known_lists (
    instance_id uuid NOT NULL,
    kind text NOT NULL,
    user_id uuid NOT NULL,
    body text NOT NULL,
    stored_at timestamp with time zone DEFAULT now() NOT NULL,
    CONSTRAINT last_known_lists_body_check CHECK ((octet_length(body) <= 4194304)),
    CONSTRAINT last_known_lists_kind_check CHECK ((kind = ANY (ARRAY['tools'::text, 'prompts'::text, 'resources'::text, 'resource_templates'::text, 'initialize'::text, 'discover'::text])))
);

ALTER TABLE ONLY portolan.last_known_lists FORCE ROW LEVEL SECURITY;

ALTER TABLE portolan.last_known_lists OWNER TO portolan_owner;

CREATE TABLE portolan.login_sessions (
    id uuid NOT NULL,
    user_id uuid NOT NULL,
    user_agent text,
    authenticated_at timestamp with time zone DEFAULT now() NOT NULL,
    created_at timestamp with time zone DEFAULT now() NOT NULL,
    last_seen_at timestamp with time zone DEFAULT now() NOT NULL,
    expires_at timestamp with time zone NOT NULL,
    revoked_at timestamp with time zone
);

ALTER TABLE ONLY portolan.login_sessions FORCE ROW LEVEL SECURITY;

ALTER TABLE portolan.login_sessions OWNER TO portolan_owner;

CREATE TABLE portolan.migrations (
    id integer NOT NULL,
    name character varying(255) NOT NULL,
    run_on timestamp without time zone NOT NULL
);

ALTER TABLE ONLY portolan.migrations FORCE ROW LEVEL SECURITY;

ALTER TABLE portolan.migrations OWNER TO portolan_owner;

CREATE SEQUENCE portolan.migrations_id_seq
    AS integer
    START WITH 1
    INCREMENT BY 1
    NO MINVALUE
    NO MAXVALUE
    CACHE 1;

ALTER TABLE portolan.migrations_id_seq OWNER TO portolan_owner;

ALTER SEQUENCE portolan.migrations_id_seq OWNED BY portolan.migrations.id;

CREATE TABLE portolan.oauth_clients (
    id uuid NOT NULL,
    service text NOT NULL,
    issuer text NOT NULL,
    redirect_uri text NOT NULL,
    sealed_client bytea NOT NULL,
    created_at timestamp with time zone DEFAULT now() NOT NULL,
    CONSTRAINT oauth_clients_issuer_check CHECK ((char_length(issuer) <= 2000)),
    CONSTRAINT oauth_clients_redirect_uri_check CHECK ((char_length(redirect_uri) <= 2000)),
    CONSTRAINT oauth_clients_service_check CHECK ((service ~ '^[a-z0-9][a-z0-9_-]{0,63}$'::text))
);

ALTER TABLE ONLY portolan.oauth_clients FORCE ROW LEVEL SECURITY;

ALTER TABLE portolan.oauth_clients OWNER TO portolan_owner;

COMMENT ON TABLE portolan.oauth_clients IS 'This installation as authorization servers know it, registered by RFC 7591; sealed under the data key of the system.';

CREATE TABLE portolan.oauth_renewals (
    instance_id uuid NOT NULL,
    revision integer NOT NULL,
    next_revision integer NOT NULL,
    holder uuid NOT NULL,
    leased_until timestamp with time zone,
    retry_at timestamp with time zone,
    is_refused boolean DEFAULT false NOT NULL
);

ALTER TABLE ONLY portolan.oauth_renewals FORCE ROW LEVEL SECURITY;

ALTER TABLE portolan.oauth_renewals OWNER TO portolan_owner;

CREATE TABLE portolan.oauth_sign_ins (
    id uuid NOT NULL,
    user_id uuid NOT NULL,
    session_id uuid NOT NULL,
    service text NOT NULL,
    label text NOT NULL,
    method text NOT NULL,
    state_digest bytea NOT NULL,
    browser_digest bytea NOT NULL,
    sealed_context bytea,
    created_at timestamp with time zone DEFAULT now() NOT NULL,
    expires_at timestamp with time zone NOT NULL,
    used_at timestamp with time zone,
    outcome text,
    error_code text,
    message text,
    CONSTRAINT oauth_sign_ins_browser_digest_check CHECK ((octet_length(browser_digest) = 32)),
    CONSTRAINT oauth_sign_ins_error_code_check CHECK ((char_length(error_code) <= 64)),
    CONSTRAINT oauth_sign_ins_label_check CHECK (((char_length(label) >= 1) AND (char_length(label) <= 64))),
    CONSTRAINT oauth_sign_ins_message_check CHECK ((char_length(message) <= 1000)),
    CONSTRAINT oauth_sign_ins_method_check CHECK (((char_length(method) >= 1) AND (char_length(method) <= 64))),
    CONSTRAINT oauth_sign_ins_outcome_check CHECK ((outcome = ANY (ARRAY['connected'::text, 'failed'::text]))),
    CONSTRAINT oauth_sign_ins_service_check CHECK ((service ~ '^[a-z0-9][a-z0-9_-]{0,63}$'::text)),
    CONSTRAINT oauth_sign_ins_state_digest_check CHECK ((octet_length(state_digest) = 32)),
    CONSTRAINT outcome_of_used CHECK (((outcome IS NULL) OR (used_at IS NOT NULL))),
    CONSTRAINT used_is_wiped CHECK (((used_at IS NULL) OR (sealed_context IS NULL)))
);

ALTER TABLE ONLY portolan.oauth_sign_ins FORCE ROW LEVEL SECURITY;

ALTER TABLE portolan.oauth_sign_ins OWNER TO portolan_owner;

COMMENT ON TABLE portolan.oauth_sign_ins IS 'Users who were sent to a service to sign in there; each is answered once.';

CREATE UNLOGGED TABLE portolan.rate_limits (
    key character varying(255) NOT NULL,
    points integer DEFAULT 0 NOT NULL,
    expire bigint
);

ALTER TABLE ONLY portolan.rate_limits FORCE ROW LEVEL SECURITY;

ALTER TABLE portolan.rate_limits OWNER TO portolan_owner;

CREATE TABLE portolan.refresh_tokens (
    id uuid NOT NULL,
    session_id uuid NOT NULL,
    user_id uuid NOT NULL,
    digest bytea NOT NULL,
    created_at timestamp with time zone DEFAULT now() NOT NULL,
    expires_at timestamp with time zone NOT NULL,
    used_at timestamp with time zone,
    CONSTRAINT refresh_tokens_digest_check CHECK ((octet_length(digest) = 32))
);

ALTER TABLE ONLY portolan.refresh_tokens FORCE ROW LEVEL SECURITY;

ALTER TABLE portolan.refresh_tokens OWNER TO portolan_owner;

CREATE TABLE portolan.ring_heartbeats (
    process_id text NOT NULL,
    program text NOT NULL,
    fingerprint text NOT NULL,
    primary_kek_id text NOT NULL,
    seen_at timestamp with time zone DEFAULT now() NOT NULL
);

ALTER TABLE ONLY portolan.ring_heartbeats FORCE ROW LEVEL SECURITY;

ALTER TABLE portolan.ring_heartbeats OWNER TO portolan_owner;

COMMENT ON TABLE portolan.ring_heartbeats IS 'Which key ring each live process holds; a rotation waits until all hold the new KEK.';

CREATE VIEW portolan.sealed_records AS
 SELECT 'instances'::text AS table_name,
    'sealed_url'::text AS column_name,
    i.id AS row_id,
    i.user_id,
    i.url_revision AS revision,
    i.sealed_url AS sealed,
    portolan.data_key_of(i.sealed_url) AS data_key_id
   FROM portolan.instances i
  WHERE (i.sealed_url IS NOT NULL)
UNION ALL
 SELECT 'instances'::text AS table_name,
    'sealed_credential'::text AS column_name,
    i.id AS row_id,
    i.user_id,
    i.credential_revision AS revision,
    i.sealed_credential AS sealed,
    portolan.data_key_of(i.sealed_credential) AS data_key_id
   FROM portolan.instances i
  WHERE (i.sealed_credential IS NOT NULL)
UNION ALL
 SELECT 'instances'::text AS table_name,
    'sealed_staged'::text AS column_name,
    i.id AS row_id,
    i.user_id,
    i.staged_revision AS revision,
    i.sealed_staged AS sealed,
    portolan.data_key_of(i.sealed_staged) AS data_key_id
   FROM portolan.instances i
  WHERE (i.sealed_staged IS NOT NULL)
UNION ALL
 SELECT 'instances'::text AS table_name,
    'sealed_overrides'::text AS column_name,
    i.id AS row_id,
    i.user_id,
    i.overrides_revision AS revision,
    i.sealed_overrides AS sealed,
    portolan.data_key_of(i.sealed_overrides) AS data_key_id
   FROM portolan.instances i
  WHERE (i.sealed_overrides IS NOT NULL)
UNION ALL
 SELECT 'oauth_sign_ins'::text AS table_name,
    'sealed_context'::text AS column_name,
    o.id AS row_id,
    o.user_id,
    1 AS revision,
    o.sealed_context AS sealed,
    portolan.data_key_of(o.sealed_context) AS data_key_id
   FROM portolan.oauth_sign_ins o
  WHERE (o.sealed_context IS NOT NULL)
UNION ALL
 SELECT 'oauth_clients'::text AS table_name,
    'sealed_client'::text AS column_name,
    c.id AS row_id,
    NULL::uuid AS user_id,
    1 AS revision,
    c.sealed_client AS sealed,
    portolan.data_key_of(c.sealed_client) AS data_key_id
   FROM portolan.oauth_clients c
UNION ALL
 SELECT 'service_settings'::text AS table_name,
    'sealed_shared_credential'::text AS column_name,
    s.id AS row_id,
    NULL::uuid AS user_id,
    s.shared_revision AS revision,
    s.sealed_shared_credential AS sealed,
    portolan.data_key_of(s.sealed_shared_credential) AS data_key_id
   FROM portolan.service_settings s
  WHERE (s.sealed_shared_credential IS NOT NULL)
UNION ALL
 SELECT 'service_settings'::text AS table_name,
    'sealed_admin_config'::text AS column_name,
    s.id AS row_id,
    NULL::uuid AS user_id,
    s.admin_config_revision AS revision,
    s.sealed_admin_config AS sealed,
    portolan.data_key_of(s.sealed_admin_config) AS data_key_id
   FROM portolan.service_settings s
  WHERE (s.sealed_admin_config IS NOT NULL);

ALTER TABLE portolan.sealed_records OWNER TO portolan_owner;

CREATE TABLE portolan.service_health (
    service text NOT NULL,
    state text NOT NULL,
    is_healthy boolean NOT NULL,
    last_check_at timestamp with time zone NOT NULL,
    response_time_ms real,
    error text,
    failures integer DEFAULT 0 NOT NULL,
    since timestamp with time zone DEFAULT now() NOT NULL,
    CONSTRAINT service_health_error_check CHECK ((char_length(error) <= 500)),
    CONSTRAINT service_health_state_check CHECK ((state = ANY (ARRAY['PENDING'::text, 'CREATING'::text, 'STARTING'::text, 'RUNNING'::text, 'STOPPING'::text, 'STOPPED'::text, 'FAILED'::text])))
);

ALTER TABLE ONLY portolan.service_health FORCE ROW LEVEL SECURITY;

ALTER TABLE portolan.service_health OWNER TO portolan_owner;

CREATE TABLE portolan.service_health_changes (
    id bigint NOT NULL,
    service text NOT NULL,
    old_state text,
    new_state text NOT NULL,
    is_healthy boolean NOT NULL,
    reason text,
    occurred_at timestamp with time zone DEFAULT now() NOT NULL
);

ALTER TABLE ONLY portolan.service_health_changes FORCE ROW LEVEL SECURITY;

ALTER TABLE portolan.service_health_changes OWNER TO portolan_owner;

ALTER TABLE portolan.service_health_changes ALTER COLUMN id ADD GENERATED ALWAYS AS IDENTITY (
    SEQUENCE NAME portolan.service_health_changes_id_seq
    START WITH 1
    INCREMENT BY 1
    NO MINVALUE
    NO MAXVALUE
    CACHE 1
);

CREATE TABLE portolan.spool_positions (
    spool_id text NOT NULL,
    service text NOT NULL,
    "position" bigint DEFAULT 0 NOT NULL,
    updated_at timestamp with time zone DEFAULT now() NOT NULL
);

ALTER TABLE ONLY portolan.spool_positions FORCE ROW LEVEL SECURITY;

ALTER TABLE portolan.spool_positions OWNER TO portolan_owner;

COMMENT ON TABLE portolan.spool_positions IS 'How far each spool of call records was shipped, in bytes.';

CREATE TABLE portolan.system_keys (
    name text NOT NULL,
    kek_id text NOT NULL,
    wrapped bytea NOT NULL,
    created_at timestamp with time zone DEFAULT now() NOT NULL,
    updated_at timestamp with time zone DEFAULT now() NOT NULL,
    CONSTRAINT system_keys_name_check CHECK ((name = ANY (ARRAY['lookup'::text, 'audit'::text, 'state'::text])))
);

ALTER TABLE ONLY portolan.system_keys FORCE ROW LEVEL SECURITY;

ALTER TABLE portolan.system_keys OWNER TO portolan_owner;

COMMENT ON TABLE portolan.system_keys IS 'Keys of the installation, wrapped by a KEK.';

CREATE TABLE portolan.tool_baselines (
    service text NOT NULL,
    instance_id uuid,
    begun_at timestamp with time zone DEFAULT now() NOT NULL,
    completed_at timestamp with time zone,
    CONSTRAINT tool_baselines_service_check CHECK ((service ~ '^[a-z0-9][a-z0-9_-]{0,63}$'::text))
);

ALTER TABLE ONLY portolan.tool_baselines FORCE ROW LEVEL SECURITY;

ALTER TABLE portolan.tool_baselines OWNER TO portolan_owner;

COMMENT ON TABLE portolan.tool_baselines IS 'From when on the definitions of a service''s tools are held to what was seen before.';

CREATE TABLE portolan.tool_pins (
    service text NOT NULL,
    tool text NOT NULL,
    digest text NOT NULL,
    definition text NOT NULL,
    state text NOT NULL,
    is_new boolean NOT NULL,
    sequence bigint NOT NULL,
    first_seen_at timestamp with time zone DEFAULT now() NOT NULL,
    seen_at timestamp with time zone DEFAULT now() NOT NULL,
    decided_by uuid,
    decided_at timestamp with time zone,
    CONSTRAINT decision_is_whole CHECK ((num_nonnulls(decided_by, decided_at) = ANY (ARRAY[0, 2]))),
    CONSTRAINT tool_pins_definition_check CHECK ((octet_length(definition) <= 131072)),
    CONSTRAINT tool_pins_digest_check CHECK ((digest ~ '^v1:[0-9a-f]{64}$'::text)),
    CONSTRAINT tool_pins_state_check CHECK ((state = ANY (ARRAY['waiting'::text, 'approved'::text, 'rejected'::text]))),
    CONSTRAINT tool_pins_tool_check CHECK (((char_length(tool) >= 1) AND (char_length(tool) <= 256)))
);

ALTER TABLE ONLY portolan.tool_pins FORCE ROW LEVEL SECURITY;

ALTER TABLE portolan.tool_pins OWNER TO portolan_owner;

COMMENT ON TABLE portolan.tool_pins IS 'Definitions of tools, each approved, rejected or waiting for an admin; several of one tool may be approved.';

COMMENT ON COLUMN portolan.tool_pins.seen_at IS 'To the day, for what waits.';

ALTER TABLE portolan.tool_pins ALTER COLUMN sequence ADD GENERATED BY DEFAULT AS IDENTITY (
    SEQUENCE NAME portolan.tool_pins_sequence_seq
    START WITH 1
    INCREMENT BY 1
    NO MINVALUE
    NO MAXVALUE
    CACHE 1
);

CREATE TABLE portolan.users (
    id uuid NOT NULL,
    email text NOT NULL,
    display_name text,
    role text DEFAULT 'user'::text NOT NULL,
    status text DEFAULT 'active'::text NOT NULL,
    password_hash text NOT NULL,
    password_changed_at timestamp with time zone DEFAULT now() NOT NULL,
    last_login_at timestamp with time zone,
    version integer DEFAULT 1 NOT NULL,
    created_at timestamp with time zone DEFAULT now() NOT NULL,
    updated_at timestamp with time zone DEFAULT now() NOT NULL,
    deleted_at timestamp with time zone,
    CONSTRAINT users_display_name_check CHECK ((char_length(display_name) <= 200)),
    CONSTRAINT users_email_check CHECK (((char_length(email) >= 3) AND (char_length(email) <= 320))),
    CONSTRAINT users_role_check CHECK ((role = ANY (ARRAY['user'::text, 'admin'::text, 'auditor'::text]))),
    CONSTRAINT users_status_check CHECK ((status = ANY (ARRAY['active'::text, 'disabled'::text])))
);

ALTER TABLE ONLY portolan.users FORCE ROW LEVEL SECURITY;

ALTER TABLE portolan.users OWNER TO portolan_owner;

ALTER TABLE ONLY portolan.audit_calls ATTACH PARTITION portolan.audit_calls_default DEFAULT;

ALTER TABLE ONLY portolan.audit_events ATTACH PARTITION portolan.audit_events_default DEFAULT;

ALTER TABLE ONLY portolan.migrations ALTER COLUMN id SET DEFAULT nextval('portolan.migrations_id_seq'::regclass);

ALTER TABLE ONLY portolan.access_keys
    ADD CONSTRAINT access_keys_digest_key UNIQUE (digest);

ALTER TABLE ONLY portolan.access_keys
    ADD CONSTRAINT access_keys_pkey PRIMARY KEY (id);

ALTER TABLE ONLY portolan.api_keys
    ADD CONSTRAINT api_keys_digest_key UNIQUE (digest);

ALTER TABLE ONLY portolan.api_keys
    ADD CONSTRAINT api_keys_pkey PRIMARY KEY (id);

ALTER TABLE ONLY portolan.audit_checkpoints
    ADD CONSTRAINT audit_checkpoints_pkey PRIMARY KEY (number);

ALTER TABLE ONLY portolan.audit_events
    ADD CONSTRAINT audit_events_pkey PRIMARY KEY (occurred_at, id);

ALTER TABLE ONLY portolan.audit_events_default
    ADD CONSTRAINT audit_events_default_pkey PRIMARY KEY (occurred_at, id);

ALTER TABLE ONLY portolan.audit_shards
    ADD CONSTRAINT audit_shards_pkey PRIMARY KEY (audit, shard);

ALTER TABLE ONLY portolan.daily_calls
    ADD CONSTRAINT daily_calls_pkey PRIMARY KEY (instance_id, day);

ALTER TABLE ONLY portolan.data_keys
    ADD CONSTRAINT data_keys_pkey PRIMARY KEY (id);

ALTER TABLE ONLY portolan.era_verdicts
    ADD CONSTRAINT era_verdicts_pkey PRIMARY KEY (service, upstream, auth_context);

ALTER TABLE ONLY portolan.install
    ADD CONSTRAINT install_pkey PRIMARY KEY (is_only);

ALTER TABLE ONLY portolan.instances
    ADD CONSTRAINT instances_owner_key UNIQUE (id, user_id);

ALTER TABLE ONLY portolan.instances
    ADD CONSTRAINT instances_pkey PRIMARY KEY (id);

ALTER TABLE ONLY portolan.invites
    ADD CONSTRAINT invites_digest_key UNIQUE (digest);

ALTER TABLE ONLY portolan.invites
    ADD CONSTRAINT invites_pkey PRIMARY KEY (id);

ALTER TABLE ONLY portolan.kek_usage
    ADD CONSTRAINT kek_usage_pkey PRIMARY KEY (kek_id);

ALTER TABLE ONLY portolan.key_ring_state
    ADD CONSTRAINT key_ring_state_pkey PRIMARY KEY (is_only);

ALTER TABLE ONLY portolan.key_rotations
    ADD CONSTRAINT key_rotations_pkey PRIMARY KEY (id);

ALTER TABLE ONLY portolan.last_known_lists
    ADD CONSTRAINT last_known_lists_pkey PRIMARY KEY (instance_id, kind);

ALTER TABLE ONLY portolan.login_sessions
    ADD CONSTRAINT login_sessions_pkey PRIMARY KEY (id);

ALTER TABLE ONLY portolan.migrations
    ADD CONSTRAINT migrations_pkey PRIMARY KEY (id);

ALTER TABLE ONLY portolan.oauth_clients
    ADD CONSTRAINT oauth_clients_pkey PRIMARY KEY (id);

ALTER TABLE ONLY portolan.oauth_clients
    ADD CONSTRAINT oauth_clients_service_issuer_redirect_uri_key UNIQUE (service, issuer, redirect_uri);

ALTER TABLE ONLY portolan.oauth_renewals
    ADD CONSTRAINT oauth_renewals_pkey PRIMARY KEY (instance_id);

ALTER TABLE ONLY portolan.oauth_sign_ins
    ADD CONSTRAINT oauth_sign_ins_pkey PRIMARY KEY (id);

ALTER TABLE ONLY portolan.oauth_sign_ins
    ADD CONSTRAINT oauth_sign_ins_state_digest_key UNIQUE (state_digest);

ALTER TABLE ONLY portolan.rate_limits
    ADD CONSTRAINT rate_limits_pkey PRIMARY KEY (key);

ALTER TABLE ONLY portolan.refresh_tokens
    ADD CONSTRAINT refresh_tokens_digest_key UNIQUE (digest);

ALTER TABLE ONLY portolan.refresh_tokens
    ADD CONSTRAINT refresh_tokens_pkey PRIMARY KEY (id);

ALTER TABLE ONLY portolan.ring_heartbeats
    ADD CONSTRAINT ring_heartbeats_pkey PRIMARY KEY (process_id);

ALTER TABLE ONLY portolan.service_health_changes
    ADD CONSTRAINT service_health_changes_pkey PRIMARY KEY (id);

ALTER TABLE ONLY portolan.service_health
    ADD CONSTRAINT service_health_pkey PRIMARY KEY (service);

ALTER TABLE ONLY portolan.service_settings
    ADD CONSTRAINT service_settings_id_key UNIQUE (id);

ALTER TABLE ONLY portolan.service_settings
    ADD CONSTRAINT service_settings_pkey PRIMARY KEY (service);

ALTER TABLE ONLY portolan.spool_positions
    ADD CONSTRAINT spool_positions_pkey PRIMARY KEY (spool_id);

ALTER TABLE ONLY portolan.system_keys
    ADD CONSTRAINT system_keys_pkey PRIMARY KEY (name);

ALTER TABLE ONLY portolan.tool_baselines
    ADD CONSTRAINT tool_baselines_pkey PRIMARY KEY (service);

ALTER TABLE ONLY portolan.tool_pins
    ADD CONSTRAINT tool_pins_pkey PRIMARY KEY (service, tool, digest);

ALTER TABLE ONLY portolan.users
    ADD CONSTRAINT users_pkey PRIMARY KEY (id);

CREATE INDEX access_keys_of_instance ON portolan.access_keys USING btree (instance_id, created_at);

CREATE INDEX api_keys_of_user ON portolan.api_keys USING btree (user_id, created_at);

CREATE INDEX audit_calls_of_call ON ONLY portolan.audit_calls USING btree (call_id);

CREATE INDEX audit_calls_default_call_id_idx ON portolan.audit_calls_default USING btree (call_id);

CREATE INDEX audit_calls_of_instance ON ONLY portolan.audit_calls USING btree (instance_id, occurred_at) WHERE (phase = 'outcome'::text);

CREATE INDEX audit_calls_default_instance_id_occurred_at_idx ON portolan.audit_calls_default USING btree (instance_id, occurred_at) WHERE (phase = 'outcome'::text);

CREATE INDEX audit_calls_ended ON ONLY portolan.audit_calls USING btree (occurred_at, call_id) WHERE (phase = 'outcome'::text);

CREATE INDEX audit_calls_default_occurred_at_call_id_idx ON portolan.audit_calls_default USING btree (occurred_at, call_id) WHERE (phase = 'outcome'::text);

CREATE INDEX audit_calls_failed ON ONLY portolan.audit_calls USING btree (occurred_at) WHERE ((phase = 'outcome'::text) AND (outcome <> 'ok'::text));

CREATE INDEX audit_calls_default_occurred_at_idx ON portolan.audit_calls_default USING btree (occurred_at) WHERE ((phase = 'outcome'::text) AND (outcome <> 'ok'::text));

CREATE INDEX audit_calls_of_request ON ONLY portolan.audit_calls USING btree (request_id) WHERE ((phase = 'outcome'::text) AND (request_id IS NOT NULL));

CREATE INDEX audit_calls_default_request_id_idx ON portolan.audit_calls_default USING btree (request_id) WHERE ((phase = 'outcome'::text) AND (request_id IS NOT NULL));

CREATE INDEX audit_calls_of_service ON ONLY portolan.audit_calls USING btree (service, occurred_at) WHERE (phase = 'outcome'::text);

CREATE INDEX audit_calls_default_service_occurred_at_idx ON portolan.audit_calls_default USING btree (service, occurred_at) WHERE (phase = 'outcome'::text);

CREATE INDEX audit_calls_with_arguments ON ONLY portolan.audit_calls USING btree (user_id) WHERE (arguments_sealed IS NOT NULL);

CREATE INDEX audit_calls_default_user_id_idx ON portolan.audit_calls_default USING btree (user_id) WHERE (arguments_sealed IS NOT NULL);

CREATE INDEX audit_calls_of_user ON ONLY portolan.audit_calls USING btree (user_id, occurred_at);

CREATE INDEX audit_calls_default_user_id_occurred_at_idx ON portolan.audit_calls_default USING btree (user_id, occurred_at);

CREATE INDEX audit_events_of_action ON ONLY portolan.audit_events USING btree (action, occurred_at);

CREATE INDEX audit_events_default_action_occurred_at_idx ON portolan.audit_events_default USING btree (action, occurred_at);

CREATE INDEX audit_events_of_actor ON ONLY portolan.audit_events USING btree (actor_id, occurred_at);

CREATE INDEX audit_events_default_actor_id_occurred_at_idx ON portolan.audit_events_default USING btree (actor_id, occurred_at);

CREATE INDEX audit_events_unsealed ON ONLY portolan.audit_events USING btree (occurred_at) WHERE ((link IS NULL) AND (mac IS NOT NULL));

CREATE INDEX audit_events_default_occurred_at_idx ON portolan.audit_events_default USING btree (occurred_at) WHERE ((link IS NULL) AND (mac IS NOT NULL));

CREATE INDEX audit_events_refused ON ONLY portolan.audit_events USING btree (occurred_at) WHERE (outcome <> 'success'::text);

CREATE INDEX audit_events_default_occurred_at_idx1 ON portolan.audit_events_default USING btree (occurred_at) WHERE (outcome <> 'success'::text);

CREATE INDEX audit_events_of_request ON ONLY portolan.audit_events USING btree (request_id) WHERE (request_id IS NOT NULL);

CREATE INDEX audit_events_default_request_id_idx ON portolan.audit_events_default USING btree (request_id) WHERE (request_id IS NOT NULL);

CREATE INDEX audit_events_of_service ON ONLY portolan.audit_events USING btree (service, occurred_at) WHERE (service IS NOT NULL);

CREATE INDEX audit_events_default_service_occurred_at_idx ON portolan.audit_events_default USING btree (service, occurred_at) WHERE (service IS NOT NULL);

CREATE INDEX audit_events_of_subject ON ONLY portolan.audit_events USING btree (subject_user_id, occurred_at);

CREATE INDEX audit_events_default_subject_user_id_occurred_at_idx ON portolan.audit_events_default USING btree (subject_user_id, occurred_at);

CREATE INDEX audit_events_of_target ON ONLY portolan.audit_events USING btree (target_id, occurred_at) WHERE (target_id IS NOT NULL);

CREATE INDEX audit_events_default_target_id_occurred_at_idx ON portolan.audit_events_default USING btree (target_id, occurred_at) WHERE (target_id IS NOT NULL);

CREATE INDEX audit_shards_waiting ON portolan.audit_shards USING btree (audit, shard) WHERE (seq > checkpoint_seq);

CREATE INDEX daily_calls_by_day ON portolan.daily_calls USING btree (day);

CREATE INDEX daily_calls_of_user ON portolan.daily_calls USING btree (user_id, service, day);

CREATE INDEX data_keys_by_kek ON portolan.data_keys USING btree (kek_id, id);

CREATE INDEX data_keys_of_user ON portolan.data_keys USING btree (user_id, created_at);

CREATE INDEX era_verdicts_by_use ON portolan.era_verdicts USING btree (used_at);

CREATE INDEX instances_deleted ON portolan.instances USING btree (deleted_at) WHERE (deleted_at IS NOT NULL);

CREATE UNIQUE INDEX instances_label_key ON portolan.instances USING btree (user_id, service, label) WHERE (deleted_at IS NULL);

CREATE UNIQUE INDEX instances_lookup_key ON portolan.instances USING btree (lookup);

CREATE UNIQUE INDEX instances_previous_lookup_key ON portolan.instances USING btree (previous_lookup);

CREATE INDEX instances_staged ON portolan.instances USING btree (staged_at) WHERE (staged_at IS NOT NULL);

CREATE INDEX invites_by_end ON portolan.invites USING btree (expires_at);

CREATE UNIQUE INDEX key_rotations_open ON portolan.key_rotations USING btree (((finished_at IS NULL))) WHERE (finished_at IS NULL);

CREATE INDEX login_sessions_by_end ON portolan.login_sessions USING btree (expires_at);

CREATE INDEX login_sessions_of_user ON portolan.login_sessions USING btree (user_id, created_at);

CREATE INDEX oauth_sign_ins_by_end ON portolan.oauth_sign_ins USING btree (expires_at);

CREATE INDEX oauth_sign_ins_of_user ON portolan.oauth_sign_ins USING btree (user_id, created_at);

CREATE INDEX rate_limits_by_end ON portolan.rate_limits USING btree (expire);

CREATE INDEX refresh_tokens_of_session ON portolan.refresh_tokens USING btree (session_id);

CREATE INDEX service_health_changes_by_age ON portolan.service_health_changes USING btree (occurred_at);

CREATE INDEX service_health_changes_of_service ON portolan.service_health_changes USING btree (service, id);

CREATE INDEX tool_pins_waiting ON portolan.tool_pins USING btree (service, sequence) WHERE (state = 'waiting'::text);

CREATE INDEX users_by_age ON portolan.users USING btree (created_at, id) WHERE (deleted_at IS NULL);

CREATE UNIQUE INDEX users_email_key ON portolan.users USING btree (lower(email)) WHERE (deleted_at IS NULL);

ALTER INDEX portolan.audit_calls_of_call ATTACH PARTITION portolan.audit_calls_default_call_id_idx;

ALTER INDEX portolan.audit_calls_of_instance ATTACH PARTITION portolan.audit_calls_default_instance_id_occurred_at_idx;

ALTER INDEX portolan.audit_calls_ended ATTACH PARTITION portolan.audit_calls_default_occurred_at_call_id_idx;

ALTER INDEX portolan.audit_calls_failed ATTACH PARTITION portolan.audit_calls_default_occurred_at_idx;

ALTER INDEX portolan.audit_calls_of_request ATTACH PARTITION portolan.audit_calls_default_request_id_idx;

ALTER INDEX portolan.audit_calls_of_service ATTACH PARTITION portolan.audit_calls_default_service_occurred_at_idx;

ALTER INDEX portolan.audit_calls_with_arguments ATTACH PARTITION portolan.audit_calls_default_user_id_idx;

ALTER INDEX portolan.audit_calls_of_user ATTACH PARTITION portolan.audit_calls_default_user_id_occurred_at_idx;

ALTER INDEX portolan.audit_events_of_action ATTACH PARTITION portolan.audit_events_default_action_occurred_at_idx;

ALTER INDEX portolan.audit_events_of_actor ATTACH PARTITION portolan.audit_events_default_actor_id_occurred_at_idx;

ALTER INDEX portolan.audit_events_unsealed ATTACH PARTITION portolan.audit_events_default_occurred_at_idx;

ALTER INDEX portolan.audit_events_refused ATTACH PARTITION portolan.audit_events_default_occurred_at_idx1;

ALTER INDEX portolan.audit_events_pkey ATTACH PARTITION portolan.audit_events_default_pkey;

ALTER INDEX portolan.audit_events_of_request ATTACH PARTITION portolan.audit_events_default_request_id_idx;

ALTER INDEX portolan.audit_events_of_service ATTACH PARTITION portolan.audit_events_default_service_occurred_at_idx;

ALTER INDEX portolan.audit_events_of_subject ATTACH PARTITION portolan.audit_events_default_subject_user_id_occurred_at_idx;

ALTER INDEX portolan.audit_events_of_target ATTACH PARTITION portolan.audit_events_default_target_id_occurred_at_idx;

CREATE TRIGGER count_wrap_of_changed AFTER UPDATE ON portolan.system_keys FOR EACH ROW WHEN ((old.wrapped IS DISTINCT FROM new.wrapped)) EXECUTE FUNCTION portolan.count_wrap();

CREATE TRIGGER count_wrap_of_new AFTER INSERT ON portolan.system_keys FOR EACH ROW EXECUTE FUNCTION portolan.count_wrap();

CREATE TRIGGER count_wraps_of_changed AFTER UPDATE ON portolan.data_keys REFERENCING OLD TABLE AS rows_before NEW TABLE AS wrapped_rows FOR EACH STATEMENT EXECUTE FUNCTION portolan.count_changed_wraps();

CREATE TRIGGER count_wraps_of_new AFTER INSERT ON portolan.data_keys REFERENCING NEW TABLE AS wrapped_rows FOR EACH STATEMENT EXECUTE FUNCTION portolan.count_wraps();

CREATE TRIGGER guard_changed_wrap BEFORE UPDATE ON portolan.data_keys FOR EACH ROW WHEN ((old.wrapped IS DISTINCT FROM new.wrapped)) EXECUTE FUNCTION portolan.guard_wrapping_kek();

CREATE TRIGGER guard_changed_wrap BEFORE UPDATE ON portolan.system_keys FOR EACH ROW WHEN ((old.wrapped IS DISTINCT FROM new.wrapped)) EXECUTE FUNCTION portolan.guard_wrapping_kek();

CREATE TRIGGER guard_new_user BEFORE INSERT ON portolan.users FOR EACH ROW EXECUTE FUNCTION portolan.guard_user_authority();

CREATE TRIGGER guard_new_wrap BEFORE INSERT ON portolan.data_keys FOR EACH ROW EXECUTE FUNCTION portolan.guard_wrapping_kek();

CREATE TRIGGER guard_new_wrap BEFORE INSERT ON portolan.system_keys FOR EACH ROW EXECUTE FUNCTION portolan.guard_wrapping_kek();

CREATE TRIGGER guard_sealed_admin BEFORE INSERT OR UPDATE OF sealed_admin_config ON portolan.service_settings FOR EACH ROW WHEN ((new.sealed_admin_config IS NOT NULL)) EXECUTE FUNCTION portolan.guard_sealed_record('sealed_admin_config');

CREATE TRIGGER guard_sealed_client BEFORE INSERT OR UPDATE OF sealed_client ON portolan.oauth_clients FOR EACH ROW EXECUTE FUNCTION portolan.guard_sealed_record('sealed_client');

CREATE TRIGGER guard_sealed_context BEFORE INSERT OR UPDATE OF sealed_context ON portolan.oauth_sign_ins FOR EACH ROW WHEN ((new.sealed_context IS NOT NULL)) EXECUTE FUNCTION portolan.guard_sealed_record('sealed_context');

CREATE TRIGGER guard_sealed_credential BEFORE INSERT OR UPDATE OF sealed_credential ON portolan.instances FOR EACH ROW WHEN ((new.sealed_credential IS NOT NULL)) EXECUTE FUNCTION portolan.guard_sealed_record('sealed_credential');

CREATE TRIGGER guard_sealed_overrides BEFORE INSERT OR UPDATE OF sealed_overrides ON portolan.instances FOR EACH ROW WHEN ((new.sealed_overrides IS NOT NULL)) EXECUTE FUNCTION portolan.guard_sealed_record('sealed_overrides');

CREATE TRIGGER guard_sealed_shared BEFORE INSERT OR UPDATE OF sealed_shared_credential ON portolan.service_settings FOR EACH ROW WHEN ((new.sealed_shared_credential IS NOT NULL)) EXECUTE FUNCTION portolan.guard_sealed_record('sealed_shared_credential');

CREATE TRIGGER guard_sealed_staged BEFORE INSERT OR UPDATE OF sealed_staged ON portolan.instances FOR EACH ROW WHEN ((new.sealed_staged IS NOT NULL)) EXECUTE FUNCTION portolan.guard_sealed_record('sealed_staged');

CREATE TRIGGER guard_sealed_url BEFORE INSERT OR UPDATE OF sealed_url ON portolan.instances FOR EACH ROW WHEN ((new.sealed_url IS NOT NULL)) EXECUTE FUNCTION portolan.guard_sealed_record('sealed_url');

CREATE TRIGGER guard_user_authority BEFORE UPDATE ON portolan.users FOR EACH ROW WHEN (((((old.id IS DISTINCT FROM new.id) OR (old.role IS DISTINCT FROM new.role)) OR (old.status IS DISTINCT FROM new.status)) OR (old.deleted_at IS DISTINCT FROM new.deleted_at))) EXECUTE FUNCTION portolan.guard_user_authority();

CREATE TRIGGER notify_access_key_revoked AFTER UPDATE ON portolan.access_keys FOR EACH ROW WHEN ((old.revoked_at IS DISTINCT FROM new.revoked_at)) EXECUTE FUNCTION portolan.notify_access_key_revoked();

CREATE TRIGGER notify_api_key_revoked AFTER UPDATE ON portolan.api_keys FOR EACH ROW WHEN ((old.revoked_at IS DISTINCT FROM new.revoked_at)) EXECUTE FUNCTION portolan.notify_user_changed('user_id');

CREATE TRIGGER notify_data_key_changed AFTER INSERT OR DELETE ON portolan.data_keys FOR EACH ROW EXECUTE FUNCTION portolan.notify_data_key_changed();

CREATE TRIGGER notify_instance_changed AFTER UPDATE ON portolan.instances FOR EACH ROW WHEN (((((((((((((((((((((old.user_id IS DISTINCT FROM new.user_id) OR (old.service IS DISTINCT FROM new.service)) OR (old.label IS DISTINCT FROM new.label)) OR (old.lookup IS DISTINCT FROM new.lookup)) OR (old.previous_lookup IS DISTINCT FROM new.previous_lookup)) OR (old.previous_expires_at IS DISTINCT FROM new.previous_expires_at)) OR (old.is_active IS DISTINCT FROM new.is_active)) OR (old.access_mode IS DISTINCT FROM new.access_mode)) OR (old.allowed_cidrs IS DISTINCT FROM new.allowed_cidrs)) OR (old.epoch IS DISTINCT FROM new.epoch)) OR (old.credential_revision IS DISTINCT FROM new.credential_revision)) OR (old.sealed_credential IS DISTINCT FROM new.sealed_credential)) OR (old.staged_revision IS DISTINCT FROM new.staged_revision)) OR (old.overrides_revision IS DISTINCT FROM new.overrides_revision)) OR (old.sealed_overrides IS DISTINCT FROM new.sealed_overrides)) OR (old.identity_label IS DISTINCT FROM new.identity_label)) OR (old.state IS DISTINCT FROM new.state)) OR (old.state_cause IS DISTINCT FROM new.state_cause)) OR (old.expires_at IS DISTINCT FROM new.expires_at)) OR (old.deleted_at IS DISTINCT FROM new.deleted_at))) EXECUTE FUNCTION portolan.notify_instance_changed();

CREATE TRIGGER notify_instance_made AFTER INSERT OR DELETE ON portolan.instances FOR EACH ROW EXECUTE FUNCTION portolan.notify_instance_changed();

CREATE TRIGGER notify_registry_changed AFTER INSERT OR DELETE OR UPDATE ON portolan.service_settings FOR EACH ROW EXECUTE FUNCTION portolan.notify_registry_changed();

CREATE TRIGGER notify_session_revoked AFTER UPDATE ON portolan.login_sessions FOR EACH ROW WHEN ((old.revoked_at IS DISTINCT FROM new.revoked_at)) EXECUTE FUNCTION portolan.notify_user_changed('user_id');

CREATE TRIGGER notify_tool_decided AFTER UPDATE ON portolan.tool_pins FOR EACH ROW WHEN ((old.state IS DISTINCT FROM new.state)) EXECUTE FUNCTION portolan.notify_tool_pins();

CREATE TRIGGER notify_user_changed AFTER UPDATE ON portolan.users FOR EACH ROW WHEN (((((old.role IS DISTINCT FROM new.role) OR (old.status IS DISTINCT FROM new.status)) OR (old.password_hash IS DISTINCT FROM new.password_hash)) OR (old.deleted_at IS DISTINCT FROM new.deleted_at))) EXECUTE FUNCTION portolan.notify_user_changed('id');

CREATE TRIGGER publish_instance_state AFTER UPDATE ON portolan.instances FOR EACH ROW WHEN ((old.state IS DISTINCT FROM new.state)) EXECUTE FUNCTION portolan.publish_instance_state();

CREATE TRIGGER publish_new_service AFTER INSERT ON portolan.service_health FOR EACH ROW EXECUTE FUNCTION portolan.publish_service_health();

CREATE TRIGGER publish_service_health AFTER UPDATE ON portolan.service_health FOR EACH ROW WHEN (((old.state IS DISTINCT FROM new.state) OR (old.is_healthy IS DISTINCT FROM new.is_healthy))) EXECUTE FUNCTION portolan.publish_service_health();

CREATE TRIGGER revoke_keys_of_deleted AFTER UPDATE ON portolan.instances FOR EACH ROW WHEN (((old.deleted_at IS NULL) AND (new.deleted_at IS NOT NULL))) EXECUTE FUNCTION portolan.revoke_keys_of_deleted();

ALTER TABLE ONLY portolan.access_keys
    ADD CONSTRAINT access_keys_instance_id_user_id_fkey FOREIGN KEY (instance_id, user_id) REFERENCES portolan.instances(id, user_id) ON DELETE CASCADE;

ALTER TABLE ONLY portolan.api_keys
    ADD CONSTRAINT api_keys_user_id_fkey FOREIGN KEY (user_id) REFERENCES portolan.users(id);

ALTER TABLE ONLY portolan.daily_calls
    ADD CONSTRAINT daily_calls_instance_id_fkey FOREIGN KEY (instance_id) REFERENCES portolan.instances(id) ON DELETE CASCADE;

ALTER TABLE ONLY portolan.daily_calls
    ADD CONSTRAINT daily_calls_user_id_fkey FOREIGN KEY (user_id) REFERENCES portolan.users(id);

ALTER TABLE ONLY portolan.data_keys
    ADD CONSTRAINT data_keys_user_id_fkey FOREIGN KEY (user_id) REFERENCES portolan.users(id);

ALTER TABLE ONLY portolan.instances
    ADD CONSTRAINT instances_user_id_fkey FOREIGN KEY (user_id) REFERENCES portolan.users(id);

ALTER TABLE ONLY portolan.invites
    ADD CONSTRAINT invites_created_by_fkey FOREIGN KEY (created_by) REFERENCES portolan.users(id);

ALTER TABLE ONLY portolan.invites
    ADD CONSTRAINT invites_used_by_fkey FOREIGN KEY (used_by) REFERENCES portolan.users(id);

ALTER TABLE ONLY portolan.last_known_lists
    ADD CONSTRAINT last_known_lists_instance_id_fkey FOREIGN KEY (instance_id) REFERENCES portolan.instances(id) ON DELETE CASCADE;

ALTER TABLE ONLY portolan.last_known_lists
    ADD CONSTRAINT last_known_lists_user_id_fkey FOREIGN KEY (user_id) REFERENCES portolan.users(id);

ALTER TABLE ONLY portolan.login_sessions
    ADD CONSTRAINT login_sessions_user_id_fkey FOREIGN KEY (user_id) REFERENCES portolan.users(id);

ALTER TABLE ONLY portolan.oauth_renewals
    ADD CONSTRAINT oauth_renewals_instance_id_fkey FOREIGN KEY (instance_id) REFERENCES portolan.instances(id) ON DELETE CASCADE;

ALTER TABLE ONLY portolan.oauth_sign_ins
    ADD CONSTRAINT oauth_sign_ins_session_id_fkey FOREIGN KEY (session_id) REFERENCES portolan.login_sessions(id) ON DELETE CASCADE;

ALTER TABLE ONLY portolan.oauth_sign_ins
    ADD CONSTRAINT oauth_sign_ins_user_id_fkey FOREIGN KEY (user_id) REFERENCES portolan.users(id);

ALTER TABLE ONLY portolan.refresh_tokens
    ADD CONSTRAINT refresh_tokens_session_id_fkey FOREIGN KEY (session_id) REFERENCES portolan.login_sessions(id) ON DELETE CASCADE;

ALTER TABLE ONLY portolan.refresh_tokens
    ADD CONSTRAINT refresh_tokens_user_id_fkey FOREIGN KEY (user_id) REFERENCES portolan.users(id);

ALTER TABLE ONLY portolan.service_settings
    ADD CONSTRAINT service_settings_updated_by_fkey FOREIGN KEY (updated_by) REFERENCES portolan.users(id);

ALTER TABLE ONLY portolan.tool_baselines
    ADD CONSTRAINT tool_baselines_instance_id_fkey FOREIGN KEY (instance_id) REFERENCES portolan.instances(id) ON DELETE SET NULL;

ALTER TABLE ONLY portolan.tool_pins
    ADD CONSTRAINT tool_pins_decided_by_fkey FOREIGN KEY (decided_by) REFERENCES portolan.users(id);

ALTER TABLE ONLY portolan.tool_pins
    ADD CONSTRAINT tool_pins_service_fkey FOREIGN KEY (service) REFERENCES portolan.tool_baselines(service) ON DELETE CASCADE;

ALTER TABLE portolan.access_keys ENABLE ROW LEVEL SECURITY;

CREATE POLICY api_add ON portolan.audit_events FOR INSERT TO portolan_api WITH CHECK (((actor_kind <> 'user'::text) OR (actor_id = ( SELECT portolan.app_user_id() AS app_user_id))));

CREATE POLICY api_add ON portolan.data_keys FOR INSERT TO portolan_api WITH CHECK (((user_id = ( SELECT portolan.app_user_id() AS app_user_id)) OR (( SELECT portolan.app_scope() AS app_scope) = 'admin'::text) OR ((user_id IS NULL) AND (( SELECT portolan.app_user_id() AS app_user_id) IS NULL))));

CREATE POLICY api_admin ON portolan.invites TO portolan_api USING ((( SELECT portolan.app_scope() AS app_scope) = 'admin'::text)) WITH CHECK ((( SELECT portolan.app_scope() AS app_scope) = 'admin'::text));

CREATE POLICY api_admin ON portolan.key_rotations FOR SELECT TO portolan_api USING ((( SELECT portolan.app_scope() AS app_scope) = 'admin'::text));

CREATE POLICY api_admin ON portolan.service_settings TO portolan_api USING ((( SELECT portolan.app_scope() AS app_scope) = 'admin'::text)) WITH CHECK ((( SELECT portolan.app_scope() AS app_scope) = 'admin'::text));

CREATE POLICY api_admin ON portolan.tool_baselines FOR SELECT TO portolan_api USING ((( SELECT portolan.app_scope() AS app_scope) = 'admin'::text));

CREATE POLICY api_admin ON portolan.tool_pins TO portolan_api USING ((( SELECT portolan.app_scope() AS app_scope) = 'admin'::text)) WITH CHECK ((( SELECT portolan.app_scope() AS app_scope) = 'admin'::text));

CREATE POLICY api_all ON portolan.install TO portolan_api USING (true) WITH CHECK (true);

CREATE POLICY api_all ON portolan.oauth_clients TO portolan_api USING (true) WITH CHECK (true);

CREATE POLICY api_all ON portolan.rate_limits TO portolan_api USING (true) WITH CHECK (true);

CREATE POLICY api_all ON portolan.system_keys TO portolan_api USING (true) WITH CHECK (true);

CREATE POLICY api_change ON portolan.data_keys FOR UPDATE TO portolan_api USING (((user_id = ( SELECT portolan.app_user_id() AS app_user_id)) OR (( SELECT portolan.app_scope() AS app_scope) = 'admin'::text))) WITH CHECK (((user_id = ( SELECT portolan.app_user_id() AS app_user_id)) OR (( SELECT portolan.app_scope() AS app_scope) = 'admin'::text)));

ALTER TABLE portolan.api_keys ENABLE ROW LEVEL SECURITY;

CREATE POLICY api_own ON portolan.access_keys TO portolan_api USING (((user_id = ( SELECT portolan.app_user_id() AS app_user_id)) OR (( SELECT portolan.app_scope() AS app_scope) = 'admin'::text))) WITH CHECK (((user_id = ( SELECT portolan.app_user_id() AS app_user_id)) OR (( SELECT portolan.app_scope() AS app_scope) = 'admin'::text)));

CREATE POLICY api_own ON portolan.api_keys TO portolan_api USING (((user_id = ( SELECT portolan.app_user_id() AS app_user_id)) OR (( SELECT portolan.app_scope() AS app_scope) = 'admin'::text))) WITH CHECK (((user_id = ( SELECT portolan.app_user_id() AS app_user_id)) OR (( SELECT portolan.app_scope() AS app_scope) = 'admin'::text)));

CREATE POLICY api_own ON portolan.daily_calls FOR SELECT TO portolan_api USING ((user_id = ( SELECT portolan.app_user_id() AS app_user_id)));

CREATE POLICY api_own ON portolan.instances TO portolan_api USING (((user_id = ( SELECT portolan.app_user_id() AS app_user_id)) OR (( SELECT portolan.app_scope() AS app_scope) = 'admin'::text))) WITH CHECK (((user_id = ( SELECT portolan.app_user_id() AS app_user_id)) OR (( SELECT portolan.app_scope() AS app_scope) = 'admin'::text)));

CREATE POLICY api_own ON portolan.last_known_lists FOR SELECT TO portolan_api USING ((user_id = ( SELECT portolan.app_user_id() AS app_user_id)));

CREATE POLICY api_own ON portolan.login_sessions TO portolan_api USING (((user_id = ( SELECT portolan.app_user_id() AS app_user_id)) OR (( SELECT portolan.app_scope() AS app_scope) = 'admin'::text))) WITH CHECK (((user_id = ( SELECT portolan.app_user_id() AS app_user_id)) OR (( SELECT portolan.app_scope() AS app_scope) = 'admin'::text)));

CREATE POLICY api_own ON portolan.oauth_sign_ins TO portolan_api USING ((user_id = ( SELECT portolan.app_user_id() AS app_user_id))) WITH CHECK ((user_id = ( SELECT portolan.app_user_id() AS app_user_id)));

CREATE POLICY api_own ON portolan.refresh_tokens TO portolan_api USING ((user_id = ( SELECT portolan.app_user_id() AS app_user_id))) WITH CHECK ((user_id = ( SELECT portolan.app_user_id() AS app_user_id)));

CREATE POLICY api_own ON portolan.users TO portolan_api USING (((id = ( SELECT portolan.app_user_id() AS app_user_id)) OR (( SELECT portolan.app_scope() AS app_scope) = 'admin'::text))) WITH CHECK (((id = ( SELECT portolan.app_user_id() AS app_user_id)) OR (( SELECT portolan.app_scope() AS app_scope) = 'admin'::text)));

CREATE POLICY api_read ON portolan.audit_calls FOR SELECT TO portolan_api USING (((( SELECT portolan.app_scope() AS app_scope) = ANY (ARRAY['admin'::text, 'auditor'::text])) OR (user_id = ( SELECT portolan.app_user_id() AS app_user_id))));

CREATE POLICY api_read ON portolan.audit_checkpoints FOR SELECT TO portolan_api USING ((( SELECT portolan.app_scope() AS app_scope) = ANY (ARRAY['admin'::text, 'auditor'::text])));

CREATE POLICY api_read ON portolan.audit_events FOR SELECT TO portolan_api USING (((( SELECT portolan.app_scope() AS app_scope) = ANY (ARRAY['admin'::text, 'auditor'::text])) OR (subject_user_id = ( SELECT portolan.app_user_id() AS app_user_id)) OR (actor_id = ( SELECT portolan.app_user_id() AS app_user_id))));

CREATE POLICY api_read ON portolan.audit_shards FOR SELECT TO portolan_api USING ((( SELECT portolan.app_scope() AS app_scope) = ANY (ARRAY['admin'::text, 'auditor'::text])));

CREATE POLICY api_read ON portolan.data_keys FOR SELECT TO portolan_api USING (((user_id IS NULL) OR (user_id = ( SELECT portolan.app_user_id() AS app_user_id)) OR (( SELECT portolan.app_scope() AS app_scope) = 'admin'::text)));

CREATE POLICY api_read ON portolan.kek_usage FOR SELECT TO portolan_api USING (true);

CREATE POLICY api_read ON portolan.key_ring_state FOR SELECT TO portolan_api USING (true);

CREATE POLICY api_read ON portolan.ring_heartbeats FOR SELECT TO portolan_api USING (true);

CREATE POLICY api_read ON portolan.service_health FOR SELECT TO portolan_api USING (true);

CREATE POLICY api_read ON portolan.service_health_changes FOR SELECT TO portolan_api USING (true);

CREATE POLICY api_read ON portolan.service_settings FOR SELECT TO portolan_api USING (true);

CREATE POLICY api_read ON portolan.spool_positions FOR SELECT TO portolan_api USING (true);

CREATE POLICY api_shred ON portolan.data_keys FOR DELETE TO portolan_api USING (((user_id = ( SELECT portolan.app_user_id() AS app_user_id)) OR (( SELECT portolan.app_scope() AS app_scope) = 'admin'::text)));

ALTER TABLE portolan.audit_calls ENABLE ROW LEVEL SECURITY;

ALTER TABLE portolan.audit_calls_default ENABLE ROW LEVEL SECURITY;

ALTER TABLE portolan.audit_checkpoints ENABLE ROW LEVEL SECURITY;

ALTER TABLE portolan.audit_events ENABLE ROW LEVEL SECURITY;

ALTER TABLE portolan.audit_events_default ENABLE ROW LEVEL SECURITY;

ALTER TABLE portolan.audit_shards ENABLE ROW LEVEL SECURITY;

ALTER TABLE portolan.daily_calls ENABLE ROW LEVEL SECURITY;

ALTER TABLE portolan.data_keys ENABLE ROW LEVEL SECURITY;

ALTER TABLE portolan.era_verdicts ENABLE ROW LEVEL SECURITY;

ALTER TABLE portolan.install ENABLE ROW LEVEL SECURITY;

ALTER TABLE portolan.instances ENABLE ROW LEVEL SECURITY;

ALTER TABLE portolan.invites ENABLE ROW LEVEL SECURITY;

CREATE POLICY jobs_add ON portolan.audit_events FOR INSERT TO portolan_jobs WITH CHECK ((actor_kind = 'system'::text));

CREATE POLICY jobs_all ON portolan.data_keys TO portolan_jobs USING (true) WITH CHECK (true);

CREATE POLICY jobs_all ON portolan.key_ring_state TO portolan_jobs USING (true) WITH CHECK (true);

CREATE POLICY jobs_all ON portolan.key_rotations TO portolan_jobs USING (true) WITH CHECK (true);

CREATE POLICY jobs_all ON portolan.service_health TO portolan_jobs USING (true) WITH CHECK (true);

CREATE POLICY jobs_all ON portolan.system_keys TO portolan_jobs USING (true) WITH CHECK (true);

CREATE POLICY jobs_read ON portolan.audit_checkpoints FOR SELECT TO portolan_jobs USING (true);

CREATE POLICY jobs_read ON portolan.audit_shards FOR SELECT TO portolan_jobs USING (true);

CREATE POLICY jobs_read ON portolan.install FOR SELECT TO portolan_jobs USING (true);

CREATE POLICY jobs_read ON portolan.kek_usage FOR SELECT TO portolan_jobs USING (true);

CREATE POLICY jobs_read ON portolan.ring_heartbeats FOR SELECT TO portolan_jobs USING (true);

CREATE POLICY jobs_read ON portolan.service_health_changes FOR SELECT TO portolan_jobs USING (true);

CREATE POLICY jobs_read ON portolan.spool_positions FOR SELECT TO portolan_jobs USING (true);

ALTER TABLE portolan.kek_usage ENABLE ROW LEVEL SECURITY;

ALTER TABLE portolan.key_ring_state ENABLE ROW LEVEL SECURITY;

ALTER TABLE portolan.key_rotations ENABLE ROW LEVEL SECURITY;

ALTER TABLE portolan.last_known_lists ENABLE ROW LEVEL SECURITY;

ALTER TABLE portolan.login_sessions ENABLE ROW LEVEL SECURITY;

ALTER TABLE portolan.migrations ENABLE ROW LEVEL SECURITY;

ALTER TABLE portolan.oauth_clients ENABLE ROW LEVEL SECURITY;

ALTER TABLE portolan.oauth_renewals ENABLE ROW LEVEL SECURITY;

ALTER TABLE portolan.oauth_sign_ins ENABLE ROW LEVEL SECURITY;

CREATE POLICY owner_all ON portolan.access_keys TO portolan_owner USING (true) WITH CHECK (true);

CREATE POLICY owner_all ON portolan.api_keys TO portolan_owner USING (true) WITH CHECK (true);

CREATE POLICY owner_all ON portolan.audit_calls TO portolan_owner USING (true) WITH CHECK (true);

CREATE POLICY owner_all ON portolan.audit_calls_default TO portolan_owner USING (true) WITH CHECK (true);

CREATE POLICY owner_all ON portolan.audit_checkpoints TO portolan_owner USING (true) WITH CHECK (true);

CREATE POLICY owner_all ON portolan.audit_events TO portolan_owner USING (true) WITH CHECK (true);

CREATE POLICY owner_all ON portolan.audit_events_default TO portolan_owner USING (true) WITH CHECK (true);

CREATE POLICY owner_all ON portolan.audit_shards TO portolan_owner USING (true) WITH CHECK (true);

CREATE POLICY owner_all ON portolan.daily_calls TO portolan_owner USING (true) WITH CHECK (true);

CREATE POLICY owner_all ON portolan.data_keys TO portolan_owner USING (true) WITH CHECK (true);

CREATE POLICY owner_all ON portolan.era_verdicts TO portolan_owner USING (true) WITH CHECK (true);

CREATE POLICY owner_all ON portolan.install TO portolan_owner USING (true) WITH CHECK (true);

CREATE POLICY owner_all ON portolan.instances TO portolan_owner USING (true) WITH CHECK (true);

CREATE POLICY owner_all ON portolan.invites TO portolan_owner USING (true) WITH CHECK (true);

CREATE POLICY owner_all ON portolan.kek_usage TO portolan_owner USING (true) WITH CHECK (true);

CREATE POLICY owner_all ON portolan.key_ring_state TO portolan_owner USING (true) WITH CHECK (true);

CREATE POLICY owner_all ON portolan.key_rotations TO portolan_owner USING (true) WITH CHECK (true);

CREATE POLICY owner_all ON portolan.last_known_lists TO portolan_owner USING (true) WITH CHECK (true);

CREATE POLICY owner_all ON portolan.login_sessions TO portolan_owner USING (true) WITH CHECK (true);

CREATE POLICY owner_all ON portolan.migrations TO portolan_owner USING (true) WITH CHECK (true);

CREATE POLICY owner_all ON portolan.oauth_clients TO portolan_owner USING (true) WITH CHECK (true);

CREATE POLICY owner_all ON portolan.oauth_renewals TO portolan_owner USING (true) WITH CHECK (true);

CREATE POLICY owner_all ON portolan.oauth_sign_ins TO portolan_owner USING (true) WITH CHECK (true);

CREATE POLICY owner_all ON portolan.rate_limits TO portolan_owner USING (true) WITH CHECK (true);

CREATE POLICY owner_all ON portolan.refresh_tokens TO portolan_owner USING (true) WITH CHECK (true);

CREATE POLICY owner_all ON portolan.ring_heartbeats TO portolan_owner USING (true) WITH CHECK (true);

CREATE POLICY owner_all ON portolan.service_health TO portolan_owner USING (true) WITH CHECK (true);

CREATE POLICY owner_all ON portolan.service_health_changes TO portolan_owner USING (true) WITH CHECK (true);

CREATE POLICY owner_all ON portolan.service_settings TO portolan_owner USING (true) WITH CHECK (true);

CREATE POLICY owner_all ON portolan.spool_positions TO portolan_owner USING (true) WITH CHECK (true);

CREATE POLICY owner_all ON portolan.system_keys TO portolan_owner USING (true) WITH CHECK (true);

CREATE POLICY owner_all ON portolan.tool_baselines TO portolan_owner USING (true) WITH CHECK (true);

CREATE POLICY owner_all ON portolan.tool_pins TO portolan_owner USING (true) WITH CHECK (true);

CREATE POLICY owner_all ON portolan.users TO portolan_owner USING (true) WITH CHECK (true);

ALTER TABLE portolan.rate_limits ENABLE ROW LEVEL SECURITY;

ALTER TABLE portolan.refresh_tokens ENABLE ROW LEVEL SECURITY;

ALTER TABLE portolan.ring_heartbeats ENABLE ROW LEVEL SECURITY;

ALTER TABLE portolan.service_health ENABLE ROW LEVEL SECURITY;

ALTER TABLE portolan.service_health_changes ENABLE ROW LEVEL SECURITY;

ALTER TABLE portolan.service_settings ENABLE ROW LEVEL SECURITY;

ALTER TABLE portolan.spool_positions ENABLE ROW LEVEL SECURITY;

ALTER TABLE portolan.system_keys ENABLE ROW LEVEL SECURITY;

ALTER TABLE portolan.tool_baselines ENABLE ROW LEVEL SECURITY;

ALTER TABLE portolan.tool_pins ENABLE ROW LEVEL SECURITY;

ALTER TABLE portolan.users ENABLE ROW LEVEL SECURITY;

GRANT USAGE ON SCHEMA portolan TO portolan_api;
GRANT USAGE ON SCHEMA portolan TO portolan_service;
GRANT USAGE ON SCHEMA portolan TO portolan_jobs;

REVOKE ALL ON FUNCTION portolan.accept_invite(p_digest bytea, p_id uuid, p_email text, p_display_name text, p_password_hash text) FROM PUBLIC;
GRANT ALL ON FUNCTION portolan.accept_invite(p_digest bytea, p_id uuid, p_email text, p_display_name text, p_password_hash text) TO portolan_api;

REVOKE ALL ON FUNCTION portolan.add_audit_checkpoint(p_number bigint, p_issued_at timestamp with time zone, p_is_whole boolean, p_statement text, p_shards jsonb) FROM PUBLIC;
GRANT ALL ON FUNCTION portolan.add_audit_checkpoint(p_number bigint, p_issued_at timestamp with time zone, p_is_whole boolean, p_statement text, p_shards jsonb) TO portolan_jobs;

REVOKE ALL ON FUNCTION portolan.app_scope() FROM PUBLIC;
GRANT ALL ON FUNCTION portolan.app_scope() TO portolan_api;
GRANT ALL ON FUNCTION portolan.app_scope() TO portolan_service;
GRANT ALL ON FUNCTION portolan.app_scope() TO portolan_jobs;

REVOKE ALL ON FUNCTION portolan.app_user_id() FROM PUBLIC;
GRANT ALL ON FUNCTION portolan.app_user_id() TO portolan_api;
GRANT ALL ON FUNCTION portolan.app_user_id() TO portolan_service;
GRANT ALL ON FUNCTION portolan.app_user_id() TO portolan_jobs;

REVOKE ALL ON FUNCTION portolan.begin_oauth_renewal(p_id uuid, p_service text, p_revision integer, p_holder uuid, p_lease_ms integer) FROM PUBLIC;
GRANT ALL ON FUNCTION portolan.begin_oauth_renewal(p_id uuid, p_service text, p_revision integer, p_holder uuid, p_lease_ms integer) TO portolan_service;

REVOKE ALL ON FUNCTION portolan.check_access_key(p_digest bytea, p_instance_id uuid, p_service text) FROM PUBLIC;
GRANT ALL ON FUNCTION portolan.check_access_key(p_digest bytea, p_instance_id uuid, p_service text) TO portolan_service;

REVOKE ALL ON FUNCTION portolan.check_session(p_id uuid) FROM PUBLIC;
GRANT ALL ON FUNCTION portolan.check_session(p_id uuid) TO portolan_api;

REVOKE ALL ON FUNCTION portolan.count_changed_wraps() FROM PUBLIC;

REVOKE ALL ON FUNCTION portolan.count_unchained_audit() FROM PUBLIC;
GRANT ALL ON FUNCTION portolan.count_unchained_audit() TO portolan_jobs;

REVOKE ALL ON FUNCTION portolan.count_wrap() FROM PUBLIC;

REVOKE ALL ON FUNCTION portolan.count_wraps() FROM PUBLIC;

REVOKE ALL ON FUNCTION portolan.create_first_admin(p_id uuid, p_email text, p_display_name text, p_password_hash text) FROM PUBLIC;
GRANT ALL ON FUNCTION portolan.create_first_admin(p_id uuid, p_email text, p_display_name text, p_password_hash text) TO portolan_api;

REVOKE ALL ON FUNCTION portolan.data_key_of(p_record bytea) FROM PUBLIC;
GRANT ALL ON FUNCTION portolan.data_key_of(p_record bytea) TO portolan_jobs;

REVOKE ALL ON FUNCTION portolan.data_keys_of(p_user_id uuid) FROM PUBLIC;

REVOKE ALL ON FUNCTION portolan.deleted_users(p_ids uuid[]) FROM PUBLIC;
GRANT ALL ON FUNCTION portolan.deleted_users(p_ids uuid[]) TO portolan_jobs;

REVOKE ALL ON FUNCTION portolan.drop_audit_partitions(p_before date) FROM PUBLIC;
GRANT ALL ON FUNCTION portolan.drop_audit_partitions(p_before date) TO portolan_jobs;

REVOKE ALL ON FUNCTION portolan.drop_replaced_data_key(p_id uuid) FROM PUBLIC;
GRANT ALL ON FUNCTION portolan.drop_replaced_data_key(p_id uuid) TO portolan_jobs;

REVOKE ALL ON FUNCTION portolan.ensure_audit_partitions(p_from date, p_days integer) FROM PUBLIC;
GRANT ALL ON FUNCTION portolan.ensure_audit_partitions(p_from date, p_days integer) TO portolan_jobs;

REVOKE ALL ON FUNCTION portolan.expired_audit_partitions(p_before date) FROM PUBLIC;
GRANT ALL ON FUNCTION portolan.expired_audit_partitions(p_before date) TO portolan_jobs;

REVOKE ALL ON FUNCTION portolan.fail_oauth_renewal(p_id uuid, p_service text, p_revision integer, p_holder uuid, p_is_refused boolean, p_retry_ms integer, p_cause text) FROM PUBLIC;
GRANT ALL ON FUNCTION portolan.fail_oauth_renewal(p_id uuid, p_service text, p_revision integer, p_holder uuid, p_is_refused boolean, p_retry_ms integer, p_cause text) TO portolan_service;

REVOKE ALL ON FUNCTION portolan.find_api_key(p_digest bytea) FROM PUBLIC;
GRANT ALL ON FUNCTION portolan.find_api_key(p_digest bytea) TO portolan_api;

REVOKE ALL ON FUNCTION portolan.find_instance(p_lookup bytea, p_service text) FROM PUBLIC;
GRANT ALL ON FUNCTION portolan.find_instance(p_lookup bytea, p_service text) TO portolan_service;

REVOKE ALL ON FUNCTION portolan.find_instance_by_id(p_id uuid, p_service text, p_staged boolean) FROM PUBLIC;
GRANT ALL ON FUNCTION portolan.find_instance_by_id(p_id uuid, p_service text, p_staged boolean) TO portolan_service;

REVOKE ALL ON FUNCTION portolan.find_key_owner(p_email_or_id text) FROM PUBLIC;
GRANT ALL ON FUNCTION portolan.find_key_owner(p_email_or_id text) TO portolan_jobs;

REVOKE ALL ON FUNCTION portolan.find_login(p_email text) FROM PUBLIC;
GRANT ALL ON FUNCTION portolan.find_login(p_email text) TO portolan_api;

REVOKE ALL ON FUNCTION portolan.finish_oauth_renewal(p_id uuid, p_service text, p_revision integer, p_holder uuid, p_sealed bytea) FROM PUBLIC;
GRANT ALL ON FUNCTION portolan.finish_oauth_renewal(p_id uuid, p_service text, p_revision integer, p_holder uuid, p_sealed bytea) TO portolan_service;

REVOKE ALL ON FUNCTION portolan.forget_audit_checkpoints(p_below bigint, p_shards_before timestamp with time zone) FROM PUBLIC;
GRANT ALL ON FUNCTION portolan.forget_audit_checkpoints(p_below bigint, p_shards_before timestamp with time zone) TO portolan_jobs;

REVOKE ALL ON FUNCTION portolan.forget_era_verdict(p_service text, p_upstream bytea, p_auth_context bytea, p_asked_at timestamp with time zone) FROM PUBLIC;
GRANT ALL ON FUNCTION portolan.forget_era_verdict(p_service text, p_upstream bytea, p_auth_context bytea, p_asked_at timestamp with time zone) TO portolan_service;

REVOKE ALL ON FUNCTION portolan.forget_spool(p_spool_id text) FROM PUBLIC;
GRANT ALL ON FUNCTION portolan.forget_spool(p_spool_id text) TO portolan_service;

REVOKE ALL ON FUNCTION portolan.guard_sealed_record() FROM PUBLIC;

REVOKE ALL ON FUNCTION portolan.guard_user_authority() FROM PUBLIC;

REVOKE ALL ON FUNCTION portolan.guard_wrapping_kek() FROM PUBLIC;

REVOKE ALL ON FUNCTION portolan.has_admin() FROM PUBLIC;
GRANT ALL ON FUNCTION portolan.has_admin() TO portolan_api;

REVOKE ALL ON FUNCTION portolan.is_access_key_live(p_id uuid, p_instance_id uuid) FROM PUBLIC;
GRANT ALL ON FUNCTION portolan.is_access_key_live(p_id uuid, p_instance_id uuid) TO portolan_service;

REVOKE ALL ON FUNCTION portolan.is_session_live(p_id uuid, p_user_id uuid) FROM PUBLIC;
GRANT ALL ON FUNCTION portolan.is_session_live(p_id uuid, p_user_id uuid) TO portolan_service;

REVOKE ALL ON FUNCTION portolan.lease_daily_calls(p_instance_id uuid, p_service text, p_limit integer, p_user_limit integer, p_wanted integer) FROM PUBLIC;
GRANT ALL ON FUNCTION portolan.lease_daily_calls(p_instance_id uuid, p_service text, p_limit integer, p_user_limit integer, p_wanted integer) TO portolan_service;

REVOKE ALL ON FUNCTION portolan.lock_audit_chain() FROM PUBLIC;
GRANT ALL ON FUNCTION portolan.lock_audit_chain() TO portolan_jobs;

REVOKE ALL ON FUNCTION portolan.mark_instances_used(p_ids uuid[], p_at timestamp with time zone[]) FROM PUBLIC;
GRANT ALL ON FUNCTION portolan.mark_instances_used(p_ids uuid[], p_at timestamp with time zone[]) TO portolan_service;

REVOKE ALL ON FUNCTION portolan.may_wrap(p_kek_id text) FROM PUBLIC;
GRANT ALL ON FUNCTION portolan.may_wrap(p_kek_id text) TO portolan_api;

REVOKE ALL ON FUNCTION portolan.ms_until(p_at timestamp with time zone) FROM PUBLIC;

REVOKE ALL ON FUNCTION portolan.notify_access_key_revoked() FROM PUBLIC;

REVOKE ALL ON FUNCTION portolan.notify_data_key_changed() FROM PUBLIC;

REVOKE ALL ON FUNCTION portolan.notify_instance_changed() FROM PUBLIC;

REVOKE ALL ON FUNCTION portolan.notify_registry_changed() FROM PUBLIC;

REVOKE ALL ON FUNCTION portolan.notify_tool_pins() FROM PUBLIC;

REVOKE ALL ON FUNCTION portolan.notify_user_changed() FROM PUBLIC;

REVOKE ALL ON FUNCTION portolan.publish_instance_state() FROM PUBLIC;

REVOKE ALL ON FUNCTION portolan.publish_service_health() FROM PUBLIC;

REVOKE ALL ON FUNCTION portolan.purge_access_keys() FROM PUBLIC;
GRANT ALL ON FUNCTION portolan.purge_access_keys() TO portolan_jobs;

REVOKE ALL ON FUNCTION portolan.purge_daily_calls() FROM PUBLIC;
GRANT ALL ON FUNCTION portolan.purge_daily_calls() TO portolan_jobs;

REVOKE ALL ON FUNCTION portolan.purge_expired() FROM PUBLIC;
GRANT ALL ON FUNCTION portolan.purge_expired() TO portolan_jobs;

REVOKE ALL ON FUNCTION portolan.purge_tool_sightings() FROM PUBLIC;
GRANT ALL ON FUNCTION portolan.purge_tool_sightings() TO portolan_jobs;

REVOKE ALL ON FUNCTION portolan.read_era_verdict(p_service text, p_upstream bytea, p_auth_context bytea) FROM PUBLIC;
GRANT ALL ON FUNCTION portolan.read_era_verdict(p_service text, p_upstream bytea, p_auth_context bytea) TO portolan_service;

REVOKE ALL ON FUNCTION portolan.read_last_list(p_instance_id uuid, p_service text, p_kind text) FROM PUBLIC;
GRANT ALL ON FUNCTION portolan.read_last_list(p_instance_id uuid, p_service text, p_kind text) TO portolan_service;

GRANT SELECT,INSERT,UPDATE ON TABLE portolan.service_settings TO portolan_api;

REVOKE ALL ON FUNCTION portolan.read_service_settings(p_service text) FROM PUBLIC;
GRANT ALL ON FUNCTION portolan.read_service_settings(p_service text) TO portolan_service;

REVOKE ALL ON FUNCTION portolan.read_system_data_keys() FROM PUBLIC;
GRANT ALL ON FUNCTION portolan.read_system_data_keys() TO portolan_service;

REVOKE ALL ON FUNCTION portolan.read_system_keys() FROM PUBLIC;
GRANT ALL ON FUNCTION portolan.read_system_keys() TO portolan_api;
GRANT ALL ON FUNCTION portolan.read_system_keys() TO portolan_service;
GRANT ALL ON FUNCTION portolan.read_system_keys() TO portolan_jobs;

REVOKE ALL ON FUNCTION portolan.read_tool_pins(p_service text) FROM PUBLIC;
GRANT ALL ON FUNCTION portolan.read_tool_pins(p_service text) TO portolan_service;

REVOKE ALL ON FUNCTION portolan.record_instance_state(p_id uuid, p_service text, p_credential_revision integer, p_state text, p_cause text) FROM PUBLIC;
GRANT ALL ON FUNCTION portolan.record_instance_state(p_id uuid, p_service text, p_credential_revision integer, p_state text, p_cause text) TO portolan_service;

REVOKE ALL ON FUNCTION portolan.report_tools(p_service text, p_instance_id uuid, p_tools text[], p_definitions text[], p_is_plain boolean[], p_is_last boolean) FROM PUBLIC;
GRANT ALL ON FUNCTION portolan.report_tools(p_service text, p_instance_id uuid, p_tools text[], p_definitions text[], p_is_plain boolean[], p_is_last boolean) TO portolan_service;

REVOKE ALL ON FUNCTION portolan.reseal_record(p_table text, p_column text, p_row_id uuid, p_from bytea, p_to bytea) FROM PUBLIC;
GRANT ALL ON FUNCTION portolan.reseal_record(p_table text, p_column text, p_row_id uuid, p_from bytea, p_to bytea) TO portolan_jobs;

REVOKE ALL ON FUNCTION portolan.resolve_instance(p_lookup bytea, p_service text) FROM PUBLIC;
GRANT ALL ON FUNCTION portolan.resolve_instance(p_lookup bytea, p_service text) TO portolan_service;

REVOKE ALL ON FUNCTION portolan.resolve_instance_by_id(p_id uuid, p_service text, p_staged boolean) FROM PUBLIC;
GRANT ALL ON FUNCTION portolan.resolve_instance_by_id(p_id uuid, p_service text, p_staged boolean) TO portolan_service;

REVOKE ALL ON FUNCTION portolan.return_daily_calls(p_instance_id uuid, p_service text, p_day date, p_unspent integer) FROM PUBLIC;
GRANT ALL ON FUNCTION portolan.return_daily_calls(p_instance_id uuid, p_service text, p_day date, p_unspent integer) TO portolan_service;

REVOKE ALL ON FUNCTION portolan.revoke_keys_of_deleted() FROM PUBLIC;

REVOKE ALL ON FUNCTION portolan.ring_heartbeat(p_process_id text, p_program text, p_fingerprint text, p_primary_kek_id text) FROM PUBLIC;
GRANT ALL ON FUNCTION portolan.ring_heartbeat(p_process_id text, p_program text, p_fingerprint text, p_primary_kek_id text) TO portolan_api;
GRANT ALL ON FUNCTION portolan.ring_heartbeat(p_process_id text, p_program text, p_fingerprint text, p_primary_kek_id text) TO portolan_service;
GRANT ALL ON FUNCTION portolan.ring_heartbeat(p_process_id text, p_program text, p_fingerprint text, p_primary_kek_id text) TO portolan_jobs;

REVOKE ALL ON FUNCTION portolan.ring_heartbeat_end(p_process_id text) FROM PUBLIC;
GRANT ALL ON FUNCTION portolan.ring_heartbeat_end(p_process_id text) TO portolan_api;
GRANT ALL ON FUNCTION portolan.ring_heartbeat_end(p_process_id text) TO portolan_service;

REVOKE ALL ON FUNCTION portolan.rotate_refresh_token(p_digest bytea, p_next_id uuid, p_next_digest bytea, p_next_expires_at timestamp with time zone) FROM PUBLIC;
GRANT ALL ON FUNCTION portolan.rotate_refresh_token(p_digest bytea, p_next_id uuid, p_next_digest bytea, p_next_expires_at timestamp with time zone) TO portolan_api;

REVOKE ALL ON FUNCTION portolan.schema_version() FROM PUBLIC;
GRANT ALL ON FUNCTION portolan.schema_version() TO portolan_api;
GRANT ALL ON FUNCTION portolan.schema_version() TO portolan_service;
GRANT ALL ON FUNCTION portolan.schema_version() TO portolan_jobs;

REVOKE ALL ON FUNCTION portolan.seal_audit_events(p_shard text, p_first_seq bigint, p_links jsonb, p_head bytea) FROM PUBLIC;
GRANT ALL ON FUNCTION portolan.seal_audit_events(p_shard text, p_first_seq bigint, p_links jsonb, p_head bytea) TO portolan_jobs;

REVOKE ALL ON FUNCTION portolan.ship_call_audit(p_spool_id text, p_service text, p_records jsonb) FROM PUBLIC;
GRANT ALL ON FUNCTION portolan.ship_call_audit(p_spool_id text, p_service text, p_records jsonb) TO portolan_service;

REVOKE ALL ON FUNCTION portolan.ship_call_audit(p_spool_id text, p_service text, p_records jsonb, p_first_seq bigint, p_position bigint, p_head bytea) FROM PUBLIC;
GRANT ALL ON FUNCTION portolan.ship_call_audit(p_spool_id text, p_service text, p_records jsonb, p_first_seq bigint, p_position bigint, p_head bytea) TO portolan_service;

REVOKE ALL ON FUNCTION portolan.spool_chain(p_spool_id text) FROM PUBLIC;
GRANT ALL ON FUNCTION portolan.spool_chain(p_spool_id text) TO portolan_service;

REVOKE ALL ON FUNCTION portolan.spool_position(p_spool_id text) FROM PUBLIC;
GRANT ALL ON FUNCTION portolan.spool_position(p_spool_id text) TO portolan_service;

REVOKE ALL ON FUNCTION portolan.store_era_verdict(p_service text, p_upstream bytea, p_auth_context bytea, p_modern boolean, p_legacy boolean, p_legacy_transport text, p_asked_at timestamp with time zone) FROM PUBLIC;
GRANT ALL ON FUNCTION portolan.store_era_verdict(p_service text, p_upstream bytea, p_auth_context bytea, p_modern boolean, p_legacy boolean, p_legacy_transport text, p_asked_at timestamp with time zone) TO portolan_service;

REVOKE ALL ON FUNCTION portolan.store_last_list(p_instance_id uuid, p_service text, p_kind text, p_body text) FROM PUBLIC;
GRANT ALL ON FUNCTION portolan.store_last_list(p_instance_id uuid, p_service text, p_kind text, p_body text) TO portolan_service;

REVOKE ALL ON FUNCTION portolan.stray_audit_days() FROM PUBLIC;
GRANT ALL ON FUNCTION portolan.stray_audit_days() TO portolan_jobs;

REVOKE ALL ON FUNCTION portolan.take_oauth_sign_in(p_state_digest bytea) FROM PUBLIC;
GRANT ALL ON FUNCTION portolan.take_oauth_sign_in(p_state_digest bytea) TO portolan_api;

REVOKE ALL ON FUNCTION portolan.unsealed_audit_events(p_limit integer) FROM PUBLIC;
GRANT ALL ON FUNCTION portolan.unsealed_audit_events(p_limit integer) TO portolan_jobs;

GRANT SELECT,INSERT,UPDATE ON TABLE portolan.access_keys TO portolan_api;

GRANT SELECT,INSERT,UPDATE ON TABLE portolan.api_keys TO portolan_api;

GRANT SELECT ON TABLE portolan.audit_calls TO portolan_api;

GRANT SELECT ON TABLE portolan.audit_checkpoints TO portolan_api;
GRANT SELECT ON TABLE portolan.audit_checkpoints TO portolan_jobs;

GRANT SELECT,INSERT ON TABLE portolan.audit_events TO portolan_api;
GRANT INSERT ON TABLE portolan.audit_events TO portolan_jobs;

GRANT SELECT ON TABLE portolan.audit_shards TO portolan_api;
GRANT SELECT ON TABLE portolan.audit_shards TO portolan_jobs;

GRANT SELECT ON TABLE portolan.daily_calls TO portolan_api;

GRANT SELECT,INSERT,DELETE,UPDATE ON TABLE portolan.data_keys TO portolan_api;
GRANT SELECT,INSERT,UPDATE ON TABLE portolan.data_keys TO portolan_jobs;

GRANT SELECT,INSERT ON TABLE portolan.install TO portolan_api;
GRANT SELECT ON TABLE portolan.install TO portolan_jobs;

GRANT SELECT,INSERT,DELETE,UPDATE ON TABLE portolan.instances TO portolan_api;

GRANT SELECT,INSERT,DELETE ON TABLE portolan.invites TO portolan_api;

GRANT SELECT ON TABLE portolan.kek_usage TO portolan_api;
GRANT SELECT ON TABLE portolan.kek_usage TO portolan_jobs;

GRANT SELECT ON TABLE portolan.key_ring_state TO portolan_api;
GRANT SELECT,INSERT,UPDATE ON TABLE portolan.key_ring_state TO portolan_jobs;

GRANT SELECT ON TABLE portolan.key_rotations TO portolan_api;
GRANT SELECT,INSERT,UPDATE ON TABLE portolan.key_rotations TO portolan_jobs;

GRANT SELECT ON TABLE portolan.last_known_lists TO portolan_api;

GRANT SELECT,INSERT,UPDATE ON TABLE portolan.login_sessions TO portolan_api;

GRANT SELECT,INSERT,DELETE ON TABLE portolan.oauth_clients TO portolan_api;

GRANT UPDATE(sealed_client) ON TABLE portolan.oauth_clients TO portolan_api;

GRANT SELECT,INSERT,DELETE,UPDATE ON TABLE portolan.oauth_sign_ins TO portolan_api;

GRANT SELECT,INSERT,DELETE,UPDATE ON TABLE portolan.rate_limits TO portolan_api;

GRANT SELECT,INSERT ON TABLE portolan.refresh_tokens TO portolan_api;

GRANT SELECT ON TABLE portolan.ring_heartbeats TO portolan_api;
GRANT SELECT ON TABLE portolan.ring_heartbeats TO portolan_jobs;

GRANT SELECT ON TABLE portolan.sealed_records TO portolan_jobs;

GRANT SELECT ON TABLE portolan.service_health TO portolan_api;
GRANT SELECT,INSERT,DELETE,UPDATE ON TABLE portolan.service_health TO portolan_jobs;

GRANT SELECT ON TABLE portolan.service_health_changes TO portolan_api;
GRANT SELECT ON TABLE portolan.service_health_changes TO portolan_jobs;

GRANT SELECT ON TABLE portolan.spool_positions TO portolan_api;
GRANT SELECT ON TABLE portolan.spool_positions TO portolan_jobs;

GRANT SELECT,INSERT,UPDATE ON TABLE portolan.system_keys TO portolan_api;
GRANT SELECT,UPDATE ON TABLE portolan.system_keys TO portolan_jobs;

GRANT SELECT ON TABLE portolan.tool_baselines TO portolan_api;

GRANT SELECT ON TABLE portolan.tool_pins TO portolan_api;

GRANT UPDATE(state) ON TABLE portolan.tool_pins TO portolan_api;

GRANT UPDATE(decided_by) ON TABLE portolan.tool_pins TO portolan_api;

GRANT UPDATE(decided_at) ON TABLE portolan.tool_pins TO portolan_api;

GRANT SELECT,INSERT,UPDATE ON TABLE portolan.users TO portolan_api;
