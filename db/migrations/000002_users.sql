-- Users, how they sign in, and the data keys that everything of theirs is sealed under.

create table users (
  id uuid primary key,
  email text not null check (char_length(email) between 3 and 320),
  display_name text check (char_length(display_name) <= 200),
  role text not null default 'user' check (role in ('user', 'admin', 'auditor')),
  status text not null default 'active' check (status in ('active', 'disabled')),
  password_hash text not null,
  password_changed_at timestamptz not null default now(),
  last_login_at timestamptz,
  version integer not null default 1,
  created_at timestamptz not null default now(),
  updated_at timestamptz not null default now(),
  deleted_at timestamptz
);
-- Global by nature. Only an admin can add users, so it tells nobody else whether an address is known.
create unique index users_email_key on users (lower(email)) where deleted_at is null;
create index users_by_age on users (created_at, id) where deleted_at is null;

alter table users enable row level security;
alter table users force row level security;
create policy owner_all on users to portolan_owner using (true) with check (true);
create policy api_own on users to portolan_api
  using (id = (select app_user_id()) or (select app_scope()) = 'admin')
  with check (id = (select app_user_id()) or (select app_scope()) = 'admin');
grant select, insert, update on users to portolan_api;

-- The policies let users change their own row; what they are allowed to do is not theirs to change, and neither is
-- making a row for themselves.
create function guard_user_authority() returns trigger
language plpgsql set search_path = portolan, pg_temp as $$
begin
  if current_user = 'portolan_api' and app_scope() is distinct from 'admin' then
    raise exception 'role, status and new users need the scope admin' using errcode = 'insufficient_privilege';
  end if;
  return new;
end $$;
create trigger guard_user_authority before update on users
  for each row when (
    (old.id, old.role, old.status, old.deleted_at) is distinct from (new.id, new.role, new.status, new.deleted_at)
  ) execute function guard_user_authority();
create trigger guard_new_user before insert on users
  for each row execute function guard_user_authority();

create function notify_user_changed() returns trigger
language plpgsql set search_path = portolan, pg_temp as $$
begin
  if tg_op = 'DELETE' then
    perform pg_notify('portolan_users', coalesce(to_jsonb(old) ->> tg_argv[0], ''));
  else
    perform pg_notify('portolan_users', coalesce(to_jsonb(new) ->> tg_argv[0], ''));
  end if;
  return null;
end $$;
create trigger notify_user_changed after update on users
  for each row when (
    (old.role, old.status, old.password_hash, old.deleted_at)
    is distinct from (new.role, new.status, new.password_hash, new.deleted_at)
  ) execute function notify_user_changed('id');

create table data_keys (
  id uuid primary key,
  -- Null: the key of the system itself.
  user_id uuid references users (id),
  kek_id text not null,
  wrapped bytea not null,
  revision integer not null default 1,
  created_at timestamptz not null default now(),
  updated_at timestamptz not null default now()
);
comment on table data_keys is 'Data-encryption keys, wrapped by a KEK. Deleting those of a user shreds what was sealed.';
create index data_keys_of_user on data_keys (user_id, created_at);
create index data_keys_by_kek on data_keys (kek_id, id);

alter table data_keys enable row level security;
alter table data_keys force row level security;
create policy owner_all on data_keys to portolan_owner using (true) with check (true);
create policy api_own on data_keys to portolan_api
  using (user_id is null or user_id = (select app_user_id()) or (select app_scope()) = 'admin')
  with check (user_id is null or user_id = (select app_user_id()) or (select app_scope()) = 'admin');
create policy jobs_all on data_keys to portolan_jobs using (true) with check (true);
grant select, insert, update, delete on data_keys to portolan_api;
grant select, update on data_keys to portolan_jobs;

create trigger count_wrap_of_new after insert on data_keys
  for each row execute function count_wrap();
create trigger count_wrap_of_changed after update on data_keys
  for each row when (old.wrapped is distinct from new.wrapped) execute function count_wrap();

-- A key of the system concerns every service, one of a user that user's instances.
create function notify_data_key_changed() returns trigger
language plpgsql set search_path = portolan, pg_temp as $$
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
create trigger notify_data_key_changed after insert or update or delete on data_keys
  for each row execute function notify_data_key_changed();

create table login_sessions (
  id uuid primary key,
  user_id uuid not null references users (id),
  user_agent text,
  authenticated_at timestamptz not null default now(),
  created_at timestamptz not null default now(),
  last_seen_at timestamptz not null default now(),
  expires_at timestamptz not null,
  revoked_at timestamptz
);
create index login_sessions_of_user on login_sessions (user_id, created_at);
create index login_sessions_by_end on login_sessions (expires_at);

alter table login_sessions enable row level security;
alter table login_sessions force row level security;
create policy owner_all on login_sessions to portolan_owner using (true) with check (true);
create policy api_own on login_sessions to portolan_api
  using (user_id = (select app_user_id()) or (select app_scope()) = 'admin')
  with check (user_id = (select app_user_id()) or (select app_scope()) = 'admin');
grant select, insert, update on login_sessions to portolan_api;

create trigger notify_session_revoked after update on login_sessions
  for each row when (old.revoked_at is distinct from new.revoked_at) execute function notify_user_changed('user_id');

create table refresh_tokens (
  id uuid primary key,
  -- The session is the family: one of them used twice ends it.
  session_id uuid not null references login_sessions (id) on delete cascade,
  user_id uuid not null references users (id),
  digest bytea not null unique check (octet_length(digest) = 32),
  created_at timestamptz not null default now(),
  expires_at timestamptz not null,
  used_at timestamptz
);
create index refresh_tokens_of_session on refresh_tokens (session_id);

alter table refresh_tokens enable row level security;
alter table refresh_tokens force row level security;
create policy owner_all on refresh_tokens to portolan_owner using (true) with check (true);
create policy api_own on refresh_tokens to portolan_api
  using (user_id = (select app_user_id()))
  with check (user_id = (select app_user_id()));
grant select, insert on refresh_tokens to portolan_api;

create table api_keys (
  id uuid primary key,
  user_id uuid not null references users (id),
  name text not null check (char_length(name) between 1 and 100),
  hint text not null check (char_length(hint) <= 16),
  digest bytea not null unique check (octet_length(digest) = 32),
  created_at timestamptz not null default now(),
  expires_at timestamptz,
  last_used_at timestamptz,
  revoked_at timestamptz
);
create index api_keys_of_user on api_keys (user_id, created_at);

alter table api_keys enable row level security;
alter table api_keys force row level security;
create policy owner_all on api_keys to portolan_owner using (true) with check (true);
create policy api_own on api_keys to portolan_api
  using (user_id = (select app_user_id()) or (select app_scope()) = 'admin')
  with check (user_id = (select app_user_id()) or (select app_scope()) = 'admin');
grant select, insert, update on api_keys to portolan_api;

create trigger notify_api_key_revoked after update on api_keys
  for each row when (old.revoked_at is distinct from new.revoked_at) execute function notify_user_changed('user_id');

create table invites (
  id uuid primary key,
  email text,
  role text not null check (role in ('user', 'admin', 'auditor')),
  digest bytea not null unique check (octet_length(digest) = 32),
  created_by uuid not null references users (id),
  created_at timestamptz not null default now(),
  expires_at timestamptz not null,
  used_at timestamptz,
  used_by uuid references users (id)
);
create index invites_by_end on invites (expires_at);

alter table invites enable row level security;
alter table invites force row level security;
create policy owner_all on invites to portolan_owner using (true) with check (true);
create policy api_admin on invites to portolan_api
  using ((select app_scope()) = 'admin') with check ((select app_scope()) = 'admin');
grant select, insert, delete on invites to portolan_api;

-- Points of the durable rate limiter, in the form that rate-limiter-flexible reads. Not logged: after a crash
-- everybody starts with a full bucket.
create unlogged table rate_limits (
  key varchar(255) primary key,
  points integer not null default 0,
  expire bigint
);
create index rate_limits_by_end on rate_limits (expire);
grant select, insert, update, delete on rate_limits to portolan_api;

-- Before anybody is known ---------------------------------------------------------------------------------------------

create function find_login(p_email text)
returns table (id uuid, role text, status text, password_hash text)
language sql stable security definer set search_path = portolan, pg_temp as $$
  select u.id, u.role, u.status, u.password_hash from users u
  where lower(u.email) = lower(p_email) and u.deleted_at is null
$$;

create function has_admin() returns boolean
language sql stable security definer set search_path = portolan, pg_temp as $$
  select exists (select from users u where u.role = 'admin' and u.deleted_at is null)
$$;

-- The lock is held until the caller's transaction ends, so that parallel callers see each other's admin.
create function create_first_admin(p_id uuid, p_email text, p_display_name text, p_password_hash text)
returns boolean
language plpgsql security definer set search_path = portolan, pg_temp as $$
begin
  perform pg_advisory_xact_lock(hashtext('portolan.create_first_admin'));
  if has_admin() then
    return false;
  end if;
  insert into users (id, email, display_name, role, password_hash)
  values (p_id, p_email, p_display_name, 'admin', p_password_hash);
  return true;
end $$;

create function check_session(p_id uuid)
returns table (
  user_id uuid, role text, status text, authenticated_at timestamptz, is_revoked boolean, expires_at timestamptz
)
language plpgsql stable security definer set search_path = portolan, pg_temp as $$
begin
  return query
  select s.user_id, u.role, u.status, s.authenticated_at, s.revoked_at is not null, s.expires_at
  from login_sessions s join users u on u.id = s.user_id
  where s.id = p_id;
end $$;

create function rotate_refresh_token(p_digest bytea, p_next_id uuid, p_next_digest bytea, p_next_expires_at timestamptz)
returns table (outcome text, user_id uuid, session_id uuid, role text)
language plpgsql security definer set search_path = portolan, pg_temp as $$
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

create function find_api_key(p_digest bytea)
returns table (id uuid, user_id uuid, role text, status text, expires_at timestamptz)
language plpgsql security definer set search_path = portolan, pg_temp as $$
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

-- The role of the new user; null when the invite cannot be used.
create function accept_invite(
  p_digest bytea, p_id uuid, p_email text, p_display_name text, p_password_hash text
) returns text
language plpgsql security definer set search_path = portolan, pg_temp as $$
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

grant execute on function find_login(text), has_admin(), create_first_admin(uuid, text, text, text),
  check_session(uuid), rotate_refresh_token(bytea, uuid, bytea, timestamptz), find_api_key(bytea),
  accept_invite(bytea, uuid, text, text, text) to portolan_api;
