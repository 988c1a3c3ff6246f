/**
 * The one place that reads the process environment. Everything is text here; `config.ts` gives it meaning.
 * `.env.example` lists the same names; a test holds the two together.
 */
export const envNames = [
  'ACCESS_MODE_MINIMUM',
  'ALLOWED_HOSTS',
  'ALLOWED_ORIGINS',
  'API_HOST',
  'AUDIT_RETENTION_DAYS',
  'DATABASE_URL',
  'DATABASE_URL_FILE',
  'FRONT_HOST',
  'FRONT_PORT',
  'KEYRING_FILE',
  'LOG_LEVEL',
  'MCP_PORTS_DIR',
  'MCP_TYPE',
  'METRICS_OPEN',
  'MONITOR_INTERVAL_MS',
  'MONITOR_PORT',
  'PORT',
  'PORTOLAN_STATE_DIR',
  'PUBLIC_URL',
  'REQUIRE_ISOLATION',
  'SERVICE_HOST',
  'SERVICE_MODE',
  'SERVICE_PORT_OFFSET',
  'TRUST_PROXY',
] as const;

export type EnvName = (typeof envNames)[number];

/** The variables that were set to something; an empty one counts as unset. */
export type Env = Readonly<Partial<Record<EnvName, string>>>;

export function readEnv(source: NodeJS.ProcessEnv = process.env): Env {
  const env: Partial<Record<EnvName, string>> = {};
  for (const name of envNames) {
    const value = source[name]?.trim();
    if (value) env[name] = value;
  }
  return Object.freeze(env);
}

/** Looks up a variable that a service's `{"$env"}` reference names. */
export function readReferencedEnv(name: string, source: NodeJS.ProcessEnv = process.env): string | undefined {
  return source[name];
}

/** The whole environment of the caller, for programs that are started on its behalf. */
export function readCallerEnv(source: NodeJS.ProcessEnv = process.env): NodeJS.ProcessEnv {
  return { ...source };
}
