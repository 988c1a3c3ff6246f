-- Everything that has ended and is of no more use: both what the era registry and what signing in leaves behind.
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

  delete from oauth_sign_ins o where o.expires_at < now() - interval '1 day';
  get diagnostics purged = row_count;
  kind := 'oauth_sign_ins';
  return next;

  delete from era_verdicts v where v.used_at < now() - interval '30 days';
  get diagnostics purged = row_count;
  kind := 'era_verdicts';
  return next;
end $$;
