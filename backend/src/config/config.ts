import { isAbsolute, join, resolve } from 'node:path';
import { AppError, type InvalidField } from '../errors/appError.js';
import type { Env, EnvName } from './env.js';
import { toStatePaths, type DatabaseRole, type StatePaths } from './statePaths.js';

/** `shared`: one process serves all users over shared upstreams. `dynamic`: every upstream is kept per instance. */
export type ServiceMode = 'shared' | 'dynamic';

export interface Config {
  readonly projectRoot: string;
  readonly paths: StatePaths;
  readonly mcpPortsDir: string;
  readonly ports: {
    readonly api: number;
    readonly front: number;
    readonly monitor: number;
    /** Added to the port of every service, so that two fleets fit on one machine. */
    readonly serviceOffset: number;
  };
  /** Addresses to listen on. Only the front leaves the loopback by itself, when `PUBLIC_URL` does. */
  readonly hosts: { readonly api: string; readonly front: string; readonly service: string };
  readonly publicUrl: URL;
  /** Host names (lower case, no port) that a listener answers to; others get 421. */
  readonly allowedHosts: readonly string[];
  /** Origins that a browser may send; others get 403. No Origin at all is allowed. */
  readonly allowedOrigins: readonly string[];
  /** What every instance needs at least: its URL, or an access key besides it (05, "Access modes"). */
  readonly accessModeMinimum: 'url' | 'url+token';
  /** Addresses or CIDR blocks of proxies whose forwarded headers are believed. */
  readonly trustProxy: readonly string[];
  readonly logLevel: 'debug' | 'info' | 'warn' | 'error' | 'silent';
  /** Answer `/metrics` from the loopback without the metrics token. */
  readonly metricsOpen: boolean;
  readonly monitorIntervalMs: number;
  /** Start no child of a stdio service where children cannot be kept apart. */
  readonly requireIsolation: boolean;
  /** Whole days of the audits that are kept beside today. */
  readonly auditRetentionDays: number;
  /** `DATABASE_URL`: an owner's connection to a PostgreSQL that somebody else runs; null means the embedded one. */
  readonly externalDatabaseUrl: string | null;
  /** The file that holds the connection string of a role (`DATABASE_URL_FILE` overrides it for one program). */
  readonly databaseUrlFile: (role: DatabaseRole) => string;
  /** Set in a universal server only. */
  readonly service: { readonly name: string; readonly port: number; readonly mode: ServiceMode } | null;
}

const logLevels = ['debug', 'info', 'warn', 'error', 'silent'] as const;
const loopbackHosts = ['localhost', '127.0.0.1', '[::1]'];

/**
 * Turns the environment into a frozen configuration with units.
 * @throws AppError CONFIG_INVALID that lists every wrong variable by name, never by value.
 */
export function loadConfig(env: Env, projectRoot: string): Config {
  const wrong: InvalidField[] = [];
  const refuse = (name: EnvName, message: string): void => void wrong.push({ pointer: `/${name}`, message });

  const integer = (name: EnvName, fallback: number, min: number, max: number): number => {
    const text = env[name];
    if (text === undefined) return fallback;
    const value = Number(text);
    if (/^\d+$/.test(text) && value >= min && value <= max) return value;
    refuse(name, `must be a whole number from ${min} to ${max}`);
    return fallback;
  };
  const port = (name: EnvName, fallback: number): number => integer(name, fallback, 1, 65_535);
  const choice = <T extends string>(name: EnvName, choices: readonly T[], fallback: T): T => {
    const text = env[name];
    if (text === undefined) return fallback;
    const found = choices.find((one) => one === text);
    if (found === undefined) refuse(name, `must be one of ${choices.join(', ')}`);
    return found ?? fallback;
  };
  const path = (name: EnvName, fallback: string): string => {
    const text = env[name];
    if (text === undefined) return fallback;
    return isAbsolute(text) ? text : resolve(projectRoot, text);
  };
  const list = (name: EnvName): string[] =>
    (env[name] ?? '')
      .split(',')
      .map((item) => item.trim())
      .filter((item) => item !== '');

  const paths = toStatePaths(
    path('PORTOLAN_STATE_DIR', join(projectRoot, 'var')),
    env.KEYRING_FILE === undefined ? undefined : path('KEYRING_FILE', ''),
  );
  const frontPort = port('FRONT_PORT', 8080);
  const publicUrl = parsePublicUrl(env.PUBLIC_URL ?? `http://localhost:${frontPort}`, (message) =>
    refuse('PUBLIC_URL', message),
  );
  const origins = list('ALLOWED_ORIGINS');
  for (const origin of origins) {
    if (!URL.canParse(origin) || new URL(origin).origin !== origin) {
      refuse('ALLOWED_ORIGINS', 'must list origins such as https://console.example.com, separated by commas');
    }
  }
  const isPublic = !loopbackHosts.includes(publicUrl.hostname);
  const serviceHost = env.SERVICE_HOST ?? '127.0.0.1';
  const metricsOpen = choice('METRICS_OPEN', ['true', 'false'], 'false') === 'true';
  const requireIsolation = choice('REQUIRE_ISOLATION', ['true', 'false'], 'false') === 'true';
  const mode = choice('SERVICE_MODE', ['shared', 'dynamic'], 'shared');
  const serviceOffset = integer('SERVICE_PORT_OFFSET', 0, 0, 60_000);
  const apiPort = env.MCP_TYPE === undefined ? port('PORT', 3000) : 3000;

  const config: Config = {
    projectRoot,
    paths,
    mcpPortsDir: path('MCP_PORTS_DIR', join(projectRoot, 'mcp-ports')),
    ports: { api: apiPort, front: frontPort, monitor: port('MONITOR_PORT', 3999), serviceOffset },
    hosts: {
      api: env.API_HOST ?? '127.0.0.1',
      front: env.FRONT_HOST ?? (isPublic ? '0.0.0.0' : '127.0.0.1'),
      service: serviceHost,
    },
    publicUrl,
    allowedHosts: [...new Set([publicUrl.hostname, ...loopbackHosts, ...list('ALLOWED_HOSTS')])].map((host) =>
      host.toLowerCase(),
    ),
    allowedOrigins: [...new Set([publicUrl.origin, ...origins])],
    accessModeMinimum: choice('ACCESS_MODE_MINIMUM', ['url', 'url+token'], 'url'),
    trustProxy: list('TRUST_PROXY'),
    logLevel: choice('LOG_LEVEL', logLevels, 'info'),
    metricsOpen,
    auditRetentionDays: integer('AUDIT_RETENTION_DAYS', 30, 1, 3_650),
    monitorIntervalMs: integer('MONITOR_INTERVAL_MS', 30_000, 100, 3_600_000),
    requireIsolation,
    externalDatabaseUrl: env.DATABASE_URL ?? null,
    databaseUrlFile: (role) =>
      env.DATABASE_URL_FILE === undefined ? paths.databaseUrl(role) : path('DATABASE_URL_FILE', ''),
    service: env.MCP_TYPE === undefined ? null : { name: env.MCP_TYPE, port: port('PORT', 0), mode },
  };
  if (config.service?.port === 0) refuse('PORT', 'must be set for a universal server');
  if (wrong.length > 0) {
    throw new AppError(
      'CONFIG_INVALID',
      wrong.map((one) => `${one.pointer.slice(1)} ${one.message}`).join('; '),
      {
        publicDetail: 'The environment is not valid.',
        fields: wrong,
      },
    );
  }
  return Object.freeze(config);
}

function parsePublicUrl(text: string, refuse: (message: string) => void): URL {
  const url = URL.canParse(text) ? new URL(text) : null;
  if (
    url === null ||
    !/^https?:$/.test(url.protocol) ||
    url.username !== '' ||
    url.password !== '' ||
    url.search !== '' ||
    url.hash !== ''
  ) {
    refuse('must be an http or https URL without user name, query or fragment');
    return new URL('http://localhost:8080');
  }
  url.pathname = url.pathname.replace(/\/+$/, '');
  return url;
}
