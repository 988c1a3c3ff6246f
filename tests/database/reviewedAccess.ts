/**
 * What each role of the database may do beyond a user's own rows, as it was looked at and found needed. `leastPrivilege`
 * and `catalogue` hold the schema to it: whoever adds a function or a grant adds it here, with a reason where it is not
 * plain from the name.
 */
type Role = 'api' | 'service' | 'jobs';

const all: readonly Role[] = ['api', 'service', 'jobs'];

/**
 * Who may call what. A SECURITY DEFINER function sees every row, so each of them looks at what it is given: the instance's
 * own service, a digest that nobody can guess, the holder of a lease.
 */
export const callableBy: Readonly<Record<string, readonly Role[]>> = {
  app_scope: all,
  app_user_id: all,
  read_system_keys: all,
  ring_heartbeat: all,
  ring_heartbeat_end: ['api', 'service'],
  schema_version: all,

  // Before anybody is known.
  accept_invite: ['api'],
  check_session: ['api'],
  create_first_admin: ['api'],
  find_api_key: ['api'],
  find_login: ['api'],
  has_admin: ['api'],
  rotate_refresh_token: ['api'],
  take_oauth_sign_in: ['api'],

  // A service process, for the instance that a call or a probe names.
  begin_oauth_renewal: ['service'],
  // Of the digest of a key that nobody can guess, and for one instance.
  check_access_key: ['service'],
  fail_oauth_renewal: ['service'],
  find_instance: ['service'],
  find_instance_by_id: ['service'],
  finish_oauth_renewal: ['service'],
  forget_era_verdict: ['service'],
  forget_spool: ['service'],
  is_access_key_live: ['service'],
  // Yes or no for a uuid that only a signed access token names.
  is_session_live: ['service'],
  lease_daily_calls: ['service'],
  mark_instances_used: ['service'],
  read_era_verdict: ['service'],
  read_last_list: ['service'],
  read_service_settings: ['service'],
  read_system_data_keys: ['service'],
  // All definitions of one service's tools: descriptions that its upstream gave, of no user in particular.
  read_tool_pins: ['service'],
  record_instance_state: ['service'],
  // Approves the first list of a service and nothing else.
  report_tools: ['service'],
  // For processes of the version before; it gives nothing that has terms of access.
  resolve_instance: ['service'],
  resolve_instance_by_id: ['service'],
  return_daily_calls: ['service'],
  ship_call_audit: ['service'],
  spool_chain: ['service'],
  spool_position: ['service'],
  store_era_verdict: ['service'],
  store_last_list: ['service'],

  // Who wraps a key, and who rotates keys.
  data_key_of: ['jobs'],
  deleted_users: ['jobs'],
  drop_replaced_data_key: ['jobs'],
  find_key_owner: ['jobs'],
  may_wrap: ['api'],
  reseal_record: ['jobs'],

  // The chain of the audit and its days.
  add_audit_checkpoint: ['jobs'],
  count_unchained_audit: ['jobs'],
  drop_audit_partitions: ['jobs'],
  ensure_audit_partitions: ['jobs'],
  expired_audit_partitions: ['jobs'],
  forget_audit_checkpoints: ['jobs'],
  lock_audit_chain: ['jobs'],
  purge_access_keys: ['jobs'],
  purge_daily_calls: ['jobs'],
  purge_expired: ['jobs'],
  purge_tool_sightings: ['jobs'],
  seal_audit_events: ['jobs'],
  stray_audit_days: ['jobs'],
  unsealed_audit_events: ['jobs'],
};

/** What `portolan_jobs` may do with tables: rewrap keys, keep the health of services, write what it did. */
export const tablesOfJobs: Readonly<Record<string, readonly string[]>> = {
  audit_checkpoints: ['SELECT'],
  audit_events: ['INSERT'],
  audit_shards: ['SELECT'],
  data_keys: ['INSERT', 'SELECT', 'UPDATE'],
  install: ['SELECT'],
  kek_usage: ['SELECT'],
  key_ring_state: ['INSERT', 'SELECT', 'UPDATE'],
  key_rotations: ['INSERT', 'SELECT', 'UPDATE'],
  ring_heartbeats: ['SELECT'],
  sealed_records: ['SELECT'],
  service_health: ['DELETE', 'INSERT', 'SELECT', 'UPDATE'],
  service_health_changes: ['SELECT'],
  spool_positions: ['SELECT'],
  system_keys: ['SELECT', 'UPDATE'],
};

/** Tables that `portolan_api` may only read, whatever the scope: others write them, or nobody changes them. */
export const readOnlyForApi: readonly string[] = [
  'audit_calls',
  'audit_checkpoints',
  'audit_shards',
  'daily_calls',
  'kek_usage',
  'key_ring_state',
  'key_rotations',
  'last_known_lists',
  'ring_heartbeats',
  'service_health',
  'service_health_changes',
  'spool_positions',
  'tool_baselines',
];

/** Policies that let `portolan_api` read or write whatever its scope is: of the installation, with nothing of a user. */
export const openToApi: readonly string[] = [
  'install',
  'kek_usage',
  'key_ring_state',
  'oauth_clients',
  'rate_limits',
  'ring_heartbeats',
  'service_health',
  'service_health_changes',
  'service_settings',
  'spool_positions',
  'system_keys',
];

/**
 * Unique over all users though it is of one of them, and what it could tell whom. (A random uuid or a digest of 32 bytes
 * tells nobody anything: nobody can guess one to try.)
 */
export const uniqueOverAll: Readonly<Record<string, string>> = {
  users_email_key: 'only an admin adds users or changes an address, and sees them all anyway',
  service_settings_pkey: 'written by admins only',
  tool_baselines_pkey: 'written by a function for service processes, read by admins only',
  tool_pins_pkey: 'written by a function for service processes, read and decided about by admins only',
};

/** Views that may read as their owner, and why nobody sees through them what is not theirs. */
export const viewsThatMayRunAsOwner: Readonly<Record<string, string>> = {
  sealed_records: 'readable by portolan_jobs alone, which moves records of everybody to new keys',
};
