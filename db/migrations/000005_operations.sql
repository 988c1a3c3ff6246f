-- What the monitor sees, and what time makes worthless.

create table service_health (
  service text primary key,
  state text not null check (state in (
    'PENDING', 'CREATING', 'STARTING', 'RUNNING', 'STOPPING', 'STOPPED', 'FAILED'
  )),
  is_healthy boolean not null,
  last_check_at timestamptz not null,
  response_time_ms real,
  error text check (char_length(error) <= 500),
  failures integer not null default 0,
  since timestamptz not null default now()
);
grant select on service_health to portolan_api;
grant select, insert, update, delete on service_health to portolan_jobs;

create table service_health_changes (
  id bigint generated always as identity primary key,
  service text not null,
  old_state text,
  new_state text not null,
  is_healthy boolean not null,
  reason text,
  occurred_at timestamptz not null default now()
);
create index service_health_changes_of_service on service_health_changes (service, id);
create index service_health_changes_by_age on service_health_changes (occurred_at);
grant select on service_health_changes to portolan_api, portolan_jobs;

create function publish_service_health() returns trigger
language plpgsql security definer set search_path = portolan, pg_temp as $$
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
create trigger publish_new_service after insert on service_health
  for each row execute function publish_service_health();
create trigger publish_service_health after update on service_health
  for each row when ((old.state, old.is_healthy) is distinct from (new.state, new.is_healthy))
  execute function publish_service_health();

-- Everything that has ended and is of no more use. Answers how many rows went, by kind.
create function purge_expired() returns table (kind text, purged bigint)
language plpgsql security definer set search_path = portolan, pg_temp as $$
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
end $$;
grant execute on function purge_expired() to portolan_jobs;
