-- The audit can be proven: each row carries a MAC under k_audit and its number in a shard with one writer, shards are
-- folded into heads, and heads stand in signed checkpoints. What a program of the version before this writes has
-- neither number nor MAC, and counts as unchained.

-- The writer of an event knows its MAC; its number is given after the commit, by the one sealer, within a second.
alter table audit_events
  add column mac bytea check (octet_length(mac) = 32),
  add column shard text,
  add column seq bigint,
  add column link bytea check (octet_length(link) = 32);
comment on column audit_events.mac is 'HMAC of the row under k_audit, by its writer; null from versions without it.';
comment on column audit_events.link is 'HMAC of shard, number, id and MAC under k_audit, by the sealer.';

-- The shard of a call's record is its spool.
alter table audit_calls
  add column mac bytea check (octet_length(mac) = 32),
  add column seq bigint,
  -- Names or values of the arguments, as the service's `audit.arguments` asks, sealed under the user's data key.
  add column arguments_sealed bytea check (octet_length(arguments_sealed) <= 65536);
comment on column audit_calls.mac is 'HMAC of spool, number, position and record under k_audit, by its shipper.';

create index audit_events_unsealed on audit_events (occurred_at) where link is null and mac is not null;

-- What the query API asks for, newest first; a call is listed by its outcome.
create index audit_events_of_action on audit_events (action, occurred_at);
create index audit_events_of_target on audit_events (target_id, occurred_at) where target_id is not null;
create index audit_events_of_service on audit_events (service, occurred_at) where service is not null;
create index audit_events_of_request on audit_events (request_id) where request_id is not null;
create index audit_events_refused on audit_events (occurred_at) where outcome <> 'success';
create index audit_calls_ended on audit_calls (occurred_at, call_id) where phase = 'outcome';
create index audit_calls_of_instance on audit_calls (instance_id, occurred_at) where phase = 'outcome';
create index audit_calls_of_service on audit_calls (service, occurred_at) where phase = 'outcome';
create index audit_calls_failed on audit_calls (occurred_at) where phase = 'outcome' and outcome <> 'ok';
create index audit_calls_of_request on audit_calls (request_id) where phase = 'outcome' and request_id is not null;

create table audit_shards (
  audit text not null check (audit in ('audit_events', 'audit_calls')),
  shard text not null,
  seq bigint not null,
  head bytea not null check (octet_length(head) = 32),
  checkpoint_seq bigint not null default 0,
  updated_at timestamptz not null default now(),
  primary key (audit, shard)
);
comment on table audit_shards is 'How far each shard of the audit has come: the number of its last row and the fold of all.';
create index audit_shards_waiting on audit_shards (audit, shard) where seq > checkpoint_seq;
alter table audit_shards enable row level security;
alter table audit_shards force row level security;
create policy owner_all on audit_shards to portolan_owner using (true) with check (true);
create policy api_read on audit_shards for select to portolan_api
  using ((select app_scope()) in ('admin', 'auditor'));
create policy jobs_read on audit_shards for select to portolan_jobs using (true);
grant select on audit_shards to portolan_api, portolan_jobs;

create table audit_checkpoints (
  number bigint primary key,
  issued_at timestamptz not null,
  -- It names all shards and not only those that moved, so that those before it can be forgotten.
  is_whole boolean not null,
  statement text not null
);
comment on table audit_checkpoints is 'Signed statements (JWS) of how far the shards had come; the state directory holds them too.';
alter table audit_checkpoints enable row level security;
alter table audit_checkpoints force row level security;
create policy owner_all on audit_checkpoints to portolan_owner using (true) with check (true);
create policy api_read on audit_checkpoints for select to portolan_api
  using ((select app_scope()) in ('admin', 'auditor'));
create policy jobs_read on audit_checkpoints for select to portolan_jobs using (true);
grant select on audit_checkpoints to portolan_api, portolan_jobs;

-- How far a spool's chain has come; no row for one that was never shipped with it.
create function spool_chain(p_spool_id text) returns table ("position" bigint, seq bigint, head bytea)
language sql stable security definer set search_path = portolan, pg_temp as $$
  select coalesce((select p.position from spool_positions p where p.spool_id = p_spool_id), 0), s.seq, s.head
  from (values (1)) one (n) left join audit_shards s on s.audit = 'audit_calls' and s.shard = p_spool_id
$$;

-- `ship_call_audit` with the chain: records with the numbers from `p_first_seq` on, whose last ends at `p_position`. They
-- follow what is there without a gap, or nothing is added: the shipper then asks for the state again.
create function ship_call_audit(
  p_spool_id text, p_service text, p_records jsonb, p_first_seq bigint, p_position bigint, p_head bytea
)
returns integer
language plpgsql security definer set search_path = portolan, pg_temp as $$
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

grant execute on function spool_chain(text), ship_call_audit(text, text, jsonb, bigint, bigint, bytea)
  to portolan_service;

-- One sealer at a time: whoever has this lock until its transaction ends.
create function lock_audit_chain() returns boolean
language sql security definer set search_path = portolan, pg_temp as $$
  select pg_try_advisory_xact_lock(hashtext('portolan.audit_chain'))
$$;

create function unsealed_audit_events(p_limit integer)
returns table (id uuid, occurred_at timestamptz, mac bytea)
language sql stable security definer set search_path = portolan, pg_temp as $$
  select e.id, e.occurred_at, e.mac from audit_events e
  where e.link is null and e.mac is not null order by e.occurred_at, e.id limit p_limit
$$;

-- Gives events their numbers, once: a row that has one keeps it. `p_links`: [{id, occurredAt, link}], in order.
create function seal_audit_events(p_shard text, p_first_seq bigint, p_links jsonb, p_head bytea) returns integer
language plpgsql security definer set search_path = portolan, pg_temp as $$
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

-- Adds a statement and notes how far it speaks. `p_shards`: [[audit, shard, seq]].
create function add_audit_checkpoint(
  p_number bigint, p_issued_at timestamptz, p_is_whole boolean, p_statement text, p_shards jsonb
)
returns void
language sql security definer set search_path = portolan, pg_temp as $$
  insert into audit_checkpoints (number, issued_at, is_whole, statement)
  values (p_number, p_issued_at, p_is_whole, p_statement);
  update audit_shards s set checkpoint_seq = greatest(s.checkpoint_seq, (r.value ->> 2)::bigint)
  from jsonb_array_elements(p_shards) r
  where s.audit = r.value ->> 0 and s.shard = r.value ->> 1;
$$;

-- Rows without a MAC, by day: what was written before there was a chain.
create function count_unchained_audit() returns table (audit text, day text, count bigint)
language sql stable security definer set search_path = portolan, pg_temp as $$
  select 'audit_events', to_char(e.occurred_at at time zone 'UTC', 'YYYYMMDD'), count(*) from audit_events e
  where e.mac is null group by 2
  union all
  select 'audit_calls', to_char(c.occurred_at at time zone 'UTC', 'YYYYMMDD'), count(*) from audit_calls c
  where c.mac is null group by 2
$$;

-- Days of which rows fell into the default partitions, since nobody had made theirs.
create function stray_audit_days() returns setof date
language sql stable security definer set search_path = portolan, pg_temp as $$
  select (occurred_at at time zone 'UTC')::date from audit_events_default
  union
  select (occurred_at at time zone 'UTC')::date from audit_calls_default
$$;

-- The partitions of whole days before a day, with the runs of numbers that lie in them; they are locked against writers
-- until the transaction ends, which is to sign what it drops.
create function expired_audit_partitions(p_before date)
returns table (partition text, audit text, row_count bigint, shard text, first_seq bigint, last_seq bigint)
language plpgsql security definer set search_path = portolan, pg_temp as $$
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
end $$;

-- Removes statements that later ones stand for, and shards of which nothing is left.
create function forget_audit_checkpoints(p_below bigint, p_shards_before timestamptz) returns integer
language plpgsql security definer set search_path = portolan, pg_temp as $$
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

grant execute on function lock_audit_chain(), unsealed_audit_events(integer),
  seal_audit_events(text, bigint, jsonb, bytea), add_audit_checkpoint(bigint, timestamptz, boolean, text, jsonb),
  count_unchained_audit(), stray_audit_days(), expired_audit_partitions(date),
  forget_audit_checkpoints(bigint, timestamptz)
  to portolan_jobs;
