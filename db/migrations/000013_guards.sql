-- Row policies on every table without exception, the data key of the system out of the reach of a user's transaction,
-- and calls by the day.

-- Tables of the installation. A policy that lets a whole role in says what a grant says already; but with it a grant that
-- is given by mistake, or to a new role, gives nothing.
alter table install enable row level security, force row level security;
create policy owner_all on install to portolan_owner using (true) with check (true);
create policy api_all on install to portolan_api using (true) with check (true);
create policy jobs_read on install for select to portolan_jobs using (true);

alter table system_keys enable row level security, force row level security;
create policy owner_all on system_keys to portolan_owner using (true) with check (true);
create policy api_all on system_keys to portolan_api using (true) with check (true);
create policy jobs_all on system_keys to portolan_jobs using (true) with check (true);

alter table kek_usage enable row level security, force row level security;
create policy owner_all on kek_usage to portolan_owner using (true) with check (true);
create policy api_read on kek_usage for select to portolan_api using (true);
create policy jobs_read on kek_usage for select to portolan_jobs using (true);

alter table ring_heartbeats enable row level security, force row level security;
create policy owner_all on ring_heartbeats to portolan_owner using (true) with check (true);
create policy api_read on ring_heartbeats for select to portolan_api using (true);
create policy jobs_read on ring_heartbeats for select to portolan_jobs using (true);

-- Before anybody is known: whoever asks too often is refused, signed in or not.
alter table rate_limits enable row level security, force row level security;
create policy owner_all on rate_limits to portolan_owner using (true) with check (true);
create policy api_all on rate_limits to portolan_api using (true) with check (true);

alter table spool_positions enable row level security, force row level security;
create policy owner_all on spool_positions to portolan_owner using (true) with check (true);
create policy api_read on spool_positions for select to portolan_api using (true);
create policy jobs_read on spool_positions for select to portolan_jobs using (true);

alter table service_health enable row level security, force row level security;
create policy owner_all on service_health to portolan_owner using (true) with check (true);
create policy api_read on service_health for select to portolan_api using (true);
create policy jobs_all on service_health to portolan_jobs using (true) with check (true);

alter table service_health_changes enable row level security, force row level security;
create policy owner_all on service_health_changes to portolan_owner using (true) with check (true);
create policy api_read on service_health_changes for select to portolan_api using (true);
create policy jobs_read on service_health_changes for select to portolan_jobs using (true);

alter table migrations enable row level security, force row level security;
create policy owner_all on migrations to portolan_owner using (true) with check (true);

-- A partition has policies of its own; those of the days have them from ensure_audit_partitions.
alter table audit_events_default enable row level security, force row level security;
create policy owner_all on audit_events_default to portolan_owner using (true) with check (true);
alter table audit_calls_default enable row level security, force row level security;
create policy owner_all on audit_calls_default to portolan_owner using (true) with check (true);

-- What hangs on the data key of the system is everybody's, so a user's transaction may read it, to seal, and no more: set-up
-- adds it for nobody, and changing or deleting it takes the scope admin.
drop policy api_own on data_keys;
create policy api_read on data_keys for select to portolan_api
  using (user_id is null or user_id = (select app_user_id()) or (select app_scope()) = 'admin');
create policy api_add on data_keys for insert to portolan_api with check (
  user_id = (select app_user_id()) or (select app_scope()) = 'admin'
  or (user_id is null and (select app_user_id()) is null)
);
create policy api_change on data_keys for update to portolan_api
  using (user_id = (select app_user_id()) or (select app_scope()) = 'admin')
  with check (user_id = (select app_user_id()) or (select app_scope()) = 'admin');
create policy api_shred on data_keys for delete to portolan_api
  using (user_id = (select app_user_id()) or (select app_scope()) = 'admin');

-- Calls by the day ----------------------------------------------------------------------------------------------------

create table daily_calls (
  instance_id uuid not null references instances (id) on delete cascade,
  day date not null,
  user_id uuid not null references users (id),
  service text not null,
  -- Calls that were handed out to processes; at most the limit.
  leased integer not null check (leased >= 0),
  primary key (instance_id, day)
);
comment on table daily_calls is 'How many calls of a day were leased to service processes, for each instance.';
create index daily_calls_of_user on daily_calls (user_id, service, day);
create index daily_calls_by_day on daily_calls (day);

alter table daily_calls enable row level security;
alter table daily_calls force row level security;
create policy owner_all on daily_calls to portolan_owner using (true) with check (true);
create policy api_own on daily_calls for select to portolan_api using (user_id = (select app_user_id()));
grant select on daily_calls to portolan_api;

-- Hands out a block of the calls that an instance has left today (UTC, by the clock of the database, which all processes
-- share). Blocks shrink towards the end, so that what another process holds unspent stays small. An instance that is
-- deleted and made anew brings no fresh day: all instances of the user, deleted ones too, share `p_user_limit`.
-- `day_left_ms` is the time until the next day begins.
create function lease_daily_calls(
  p_instance_id uuid, p_service text, p_limit integer, p_user_limit integer, p_wanted integer
) returns table (day date, granted integer, day_left_ms integer)
language plpgsql security definer set search_path = portolan, pg_temp as $$
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

-- Gives back what a process did not spend of its blocks. Never more than was leased.
create function return_daily_calls(p_instance_id uuid, p_service text, p_day date, p_unspent integer) returns void
language sql security definer set search_path = portolan, pg_temp as $$
  update daily_calls d set leased = d.leased - least(d.leased, greatest(p_unspent, 0))
  where d.instance_id = p_instance_id and d.service = p_service and d.day = p_day
$$;

grant execute on function lease_daily_calls(uuid, text, integer, integer, integer),
  return_daily_calls(uuid, text, date, integer) to portolan_service;

create function purge_daily_calls() returns bigint
language plpgsql security definer set search_path = portolan, pg_temp as $$
declare
  purged bigint;
begin
  delete from daily_calls d where d.day < (now() at time zone 'UTC')::date - 30;
  get diagnostics purged = row_count;
  return purged;
end $$;
grant execute on function purge_daily_calls() to portolan_jobs;
