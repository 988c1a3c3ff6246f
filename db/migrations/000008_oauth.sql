-- Signing in with a service itself (OAuth 2.0): sign-ins under way, the clients that this installation registered, and who
-- renews an access token right now.

create table oauth_sign_ins (
  id uuid primary key,
  user_id uuid not null references users (id),
  -- The login session in which it was begun; it counts for no other, and ends with it.
  session_id uuid not null references login_sessions (id) on delete cascade,
  service text not null check (service ~ '^[a-z0-9][a-z0-9_-]{0,63}$'),
  label text not null check (char_length(label) between 1 and 64),
  method text not null check (char_length(method) between 1 and 64),
  state_digest bytea not null unique check (octet_length(state_digest) = 32),
  browser_digest bytea not null check (octet_length(browser_digest) = 32),
  sealed_context bytea,
  created_at timestamptz not null default now(),
  expires_at timestamptz not null,
  used_at timestamptz,
  outcome text check (outcome in ('connected', 'failed')),
  error_code text check (char_length(error_code) <= 64),
  message text check (char_length(message) <= 1000),
  constraint used_is_wiped check (used_at is null or sealed_context is null),
  constraint outcome_of_used check (outcome is null or used_at is not null)
);
comment on table oauth_sign_ins is 'Users who were sent to a service to sign in there; each is answered once.';
create index oauth_sign_ins_of_user on oauth_sign_ins (user_id, created_at);
create index oauth_sign_ins_by_end on oauth_sign_ins (expires_at);

alter table oauth_sign_ins enable row level security;
alter table oauth_sign_ins force row level security;
create policy owner_all on oauth_sign_ins to portolan_owner using (true) with check (true);
create policy api_own on oauth_sign_ins to portolan_api
  using (user_id = (select app_user_id())) with check (user_id = (select app_user_id()));
grant select, insert, update, delete on oauth_sign_ins to portolan_api;

-- The browser that comes back has no bearer credential: whose sign-in it is follows from the state alone. Whatever comes
-- of it, it is used with this, and what was sealed for it is handed out once.
create function take_oauth_sign_in(p_state_digest bytea)
returns table (
  id uuid, user_id uuid, session_id uuid, role text, user_status text, authenticated_at timestamptz,
  is_session_live boolean, service text, label text, method text, browser_digest bytea, sealed_context bytea,
  is_expired boolean
)
language plpgsql security definer set search_path = portolan, pg_temp as $$
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
grant execute on function take_oauth_sign_in(bytea) to portolan_api;

create table oauth_clients (
  id uuid primary key,
  service text not null check (service ~ '^[a-z0-9][a-z0-9_-]{0,63}$'),
  issuer text not null check (char_length(issuer) <= 2000),
  redirect_uri text not null check (char_length(redirect_uri) <= 2000),
  sealed_client bytea not null,
  created_at timestamptz not null default now(),
  unique (service, issuer, redirect_uri)
);
comment on table oauth_clients is
  'This installation as authorization servers know it, registered by RFC 7591; sealed under the data key of the system.';

alter table oauth_clients enable row level security;
alter table oauth_clients force row level security;
create policy owner_all on oauth_clients to portolan_owner using (true) with check (true);
create policy api_all on oauth_clients to portolan_api using (true) with check (true);
grant select, insert, delete on oauth_clients to portolan_api;

-- One row while the access token of an instance is being renewed, or could not be. Only the functions below touch it.
create table oauth_renewals (
  instance_id uuid primary key references instances (id) on delete cascade,
  -- Of the credential that is being renewed; for another one the row says nothing.
  revision integer not null,
  next_revision integer not null,
  holder uuid not null,
  -- Null once the holder has said how it went.
  leased_until timestamptz,
  retry_at timestamptz,
  is_refused boolean not null default false
);
alter table oauth_renewals enable row level security;
alter table oauth_renewals force row level security;
create policy owner_all on oauth_renewals to portolan_owner using (true) with check (true);

-- Who may renew: of all processes that ask for the same credential one is told `yours`, with the revision that the new
-- record is sealed for. `wait_ms` says for `busy` and `paused` when to ask again; `was_cut_off` that an earlier holder
-- never came back, so that its refresh token may be used up.
create function begin_oauth_renewal(
  p_id uuid, p_service text, p_revision integer, p_holder uuid, p_lease_ms integer
) returns table (outcome text, next_revision integer, wait_ms integer, was_cut_off boolean)
language plpgsql security definer set search_path = portolan, pg_temp as $$
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

-- Puts the new record in the place of the old one, which is gone with the same commit. False when the holder is no longer
-- the holder, or when the credential was replaced or deleted meanwhile.
create function finish_oauth_renewal(
  p_id uuid, p_service text, p_revision integer, p_holder uuid, p_sealed bytea
) returns boolean
language plpgsql security definer set search_path = portolan, pg_temp as $$
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

-- Gives the turn back without a new record. Refused: the credential is spent, its owner has to sign in again, and nobody
-- asks for it any more. Else the next one may ask after `p_retry_ms`.
create function fail_oauth_renewal(
  p_id uuid, p_service text, p_revision integer, p_holder uuid, p_is_refused boolean, p_retry_ms integer, p_cause text
) returns boolean
language plpgsql security definer set search_path = portolan, pg_temp as $$
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

grant execute on function begin_oauth_renewal(uuid, text, integer, uuid, integer),
  finish_oauth_renewal(uuid, text, integer, uuid, bytea),
  fail_oauth_renewal(uuid, text, integer, uuid, boolean, integer, text) to portolan_service;

-- As before, and sign-ins a day after their end.
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

  delete from oauth_sign_ins o where o.expires_at < now() - interval '1 day';
  get diagnostics purged = row_count;
  kind := 'oauth_sign_ins';
  return next;
end $$;
