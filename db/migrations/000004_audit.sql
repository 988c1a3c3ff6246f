-- Two audits, append-only for the application's roles and partitioned by day: retention drops partitions, so that no
-- row is ever deleted by a statement.

create table audit_events (
  id uuid not null,
  occurred_at timestamptz not null default now(),
  actor_kind text not null check (actor_kind in ('user', 'system', 'anonymous')),
  actor_id uuid,
  actor_via text,
  subject_user_id uuid,
  action text not null,
  target_kind text,
  target_id text,
  service text,
  outcome text not null check (outcome in ('success', 'denied', 'failure')),
  error_code text,
  request_id text,
  client_address text,
  details jsonb not null default '{}' check (octet_length(details::text) <= 16384),
  primary key (occurred_at, id)
) partition by range (occurred_at);
create table audit_events_default partition of audit_events default;
create index audit_events_of_subject on audit_events (subject_user_id, occurred_at);
create index audit_events_of_actor on audit_events (actor_id, occurred_at);

alter table audit_events enable row level security;
alter table audit_events force row level security;
create policy owner_all on audit_events to portolan_owner using (true) with check (true);
create policy api_read on audit_events for select to portolan_api using (
  (select app_scope()) in ('admin', 'auditor')
  or subject_user_id = (select app_user_id()) or actor_id = (select app_user_id())
);
-- Nobody can be named as the actor but the user that the transaction runs for.
create policy api_add on audit_events for insert to portolan_api
  with check (actor_kind <> 'user' or actor_id = (select app_user_id()));
create policy jobs_add on audit_events for insert to portolan_jobs with check (actor_kind = 'system');
grant select, insert on audit_events to portolan_api;
grant insert on audit_events to portolan_jobs;

create table audit_calls (
  occurred_at timestamptz not null,
  call_id uuid not null,
  phase text not null check (phase in ('intent', 'outcome')),
  instance_id uuid,
  user_id uuid,
  service text not null,
  method text not null,
  name text,
  era text,
  request_id text,
  client_address text,
  arguments_digest bytea,
  arguments_bytes integer,
  outcome text check (outcome in ('ok', 'tool_error', 'error', 'timeout', 'cancelled', 'refused', 'unknown')),
  http_status integer,
  json_rpc_code integer,
  is_error boolean,
  error_code text,
  duration_ms real,
  result_bytes bigint,
  -- Where the record came from.
  spool_id text not null,
  spool_position bigint not null,
  shipped_at timestamptz not null default now()
) partition by range (occurred_at);
create table audit_calls_default partition of audit_calls default;
create index audit_calls_of_user on audit_calls (user_id, occurred_at);
create index audit_calls_of_call on audit_calls (call_id);

alter table audit_calls enable row level security;
alter table audit_calls force row level security;
create policy owner_all on audit_calls to portolan_owner using (true) with check (true);
create policy api_read on audit_calls for select to portolan_api using (
  (select app_scope()) in ('admin', 'auditor') or user_id = (select app_user_id())
);
grant select on audit_calls to portolan_api;

create table spool_positions (
  spool_id text primary key,
  service text not null,
  position bigint not null default 0,
  updated_at timestamptz not null default now()
);
comment on table spool_positions is 'How far each spool of call records was shipped, in bytes.';
grant select on spool_positions to portolan_api, portolan_jobs;

-- The spool's row is locked first: of two shippers of one spool the second sees what the first added and adds the rest.
create function ship_call_audit(p_spool_id text, p_service text, p_records jsonb)
returns table ("position" bigint, added integer)
language plpgsql security definer set search_path = portolan, pg_temp as $$
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

create function spool_position(p_spool_id text) returns bigint
language sql stable security definer set search_path = portolan, pg_temp as $$
  select coalesce((select s.position from spool_positions s where s.spool_id = p_spool_id), 0)
$$;

create function forget_spool(p_spool_id text) returns void
language sql security definer set search_path = portolan, pg_temp as $$
  delete from spool_positions s where s.spool_id = p_spool_id
$$;

grant execute on function ship_call_audit(text, text, jsonb), spool_position(text), forget_spool(text)
  to portolan_service;

-- One partition a day for each audit. Rows that fell into the default partition, because nobody made the day's in time,
-- move over; the lock keeps writers out between the move and the attaching.
create function ensure_audit_partitions(p_from date, p_days integer) returns integer
language plpgsql security definer set search_path = portolan, pg_temp as $$
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

create function drop_audit_partitions(p_before date) returns integer
language plpgsql security definer set search_path = portolan, pg_temp as $$
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
end $$;

grant execute on function ensure_audit_partitions(date, integer), drop_audit_partitions(date) to portolan_jobs;
