-- Which eras an upstream speaks, as it last said: for a service, an upstream and an authorization context, the last two
-- named by keyed digests, so that neither an address nor an instance can be read or guessed from a row.

create table era_verdicts (
  service text not null check (char_length(service) <= 100),
  upstream bytea not null check (octet_length(upstream) = 32),
  auth_context bytea not null check (octet_length(auth_context) = 32),
  speaks_modern boolean,
  speaks_legacy boolean,
  legacy_transport text check (legacy_transport in ('streamable-http', 'sse')),
  asked_at timestamptz not null,
  used_at timestamptz not null default now(),
  primary key (service, upstream, auth_context),
  constraint says_something check (num_nonnulls(speaks_modern, speaks_legacy) > 0)
);
create index era_verdicts_by_use on era_verdicts (used_at);
alter table era_verdicts enable row level security;
alter table era_verdicts force row level security;
create policy owner_all on era_verdicts to portolan_owner using (true) with check (true);
comment on table era_verdicts is 'Which eras an upstream speaks under an authorization context, as it last said.';
comment on column era_verdicts.speaks_modern is 'Null: not asked yet.';
comment on column era_verdicts.used_at is 'To the day: a verdict that nobody uses for 30 days is purged.';

create function read_era_verdict(p_service text, p_upstream bytea, p_auth_context bytea)
returns table (speaks_modern boolean, speaks_legacy boolean, legacy_transport text, asked_at timestamptz)
language plpgsql security definer set search_path = portolan, pg_temp as $$
begin
  update era_verdicts v set used_at = now()
  where v.service = p_service and v.upstream = p_upstream and v.auth_context = p_auth_context
    and v.used_at < now() - interval '1 day';
  return query
  select v.speaks_modern, v.speaks_legacy, v.legacy_transport, v.asked_at from era_verdicts v
  where v.service = p_service and v.upstream = p_upstream and v.auth_context = p_auth_context;
end $$;

-- Two processes of a service may have asked at once: the later question has the say.
create function store_era_verdict(
  p_service text, p_upstream bytea, p_auth_context bytea, p_modern boolean, p_legacy boolean, p_legacy_transport text,
  p_asked_at timestamptz
) returns void
language sql security definer set search_path = portolan, pg_temp as $$
  insert into era_verdicts as v
    (service, upstream, auth_context, speaks_modern, speaks_legacy, legacy_transport, asked_at)
  values (p_service, p_upstream, p_auth_context, p_modern, p_legacy, p_legacy_transport, p_asked_at)
  on conflict (service, upstream, auth_context) do update
  set speaks_modern = excluded.speaks_modern, speaks_legacy = excluded.speaks_legacy,
      legacy_transport = excluded.legacy_transport, asked_at = excluded.asked_at, used_at = now()
  where v.asked_at <= excluded.asked_at
$$;

create function forget_era_verdict(p_service text, p_upstream bytea, p_auth_context bytea, p_asked_at timestamptz)
returns void
language sql security definer set search_path = portolan, pg_temp as $$
  delete from era_verdicts v
  where v.service = p_service and v.upstream = p_upstream and v.auth_context = p_auth_context
    and v.asked_at <= p_asked_at
$$;

grant execute on function read_era_verdict(text, bytea, bytea),
  store_era_verdict(text, bytea, bytea, boolean, boolean, text, timestamptz),
  forget_era_verdict(text, bytea, bytea, timestamptz) to portolan_service;

-- Everything that has ended and is of no more use. Answers how many rows went, by kind.
create or replace function purge_expired() returns table (kind text, purged bigint)
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

  delete from era_verdicts v where v.used_at < now() - interval '30 days';
  get diagnostics purged = row_count;
  kind := 'era_verdicts';
  return next;
end $$;
