// @ts-check
'use strict';
/**
 * The part of the PM2 configuration that depends on this machine, computed each time `ecosystem.config.js` is loaded:
 * where the state is, which ports are moved by how much, whether there is an embedded PostgreSQL to run, and which
 * services lack what they need. It needs no dependency and no build.
 *
 * Nothing secret goes into an app's environment: PM2 keeps it on disk and prints it. Programs get paths.
 */
const { existsSync, readFileSync } = require('node:fs');
const { isAbsolute, join, resolve } = require('node:path');
const { parseEnv } = require('node:util');

/**
 * @typedef {{ role: 'api' | 'front' | 'service' | 'monitor', env: string[], required: string[], files: string[] }} Needs
 * @typedef {{ name: string, script: string, exec_mode: string, env: Record<string, string>, portolan: Needs } & Record<string, unknown>} CommittedApp
 * @typedef {Record<string, string | undefined>} Env
 * @typedef {{ name: string, env: Record<string, string> } & Record<string, unknown>} App
 */

/** Handed on as they are. None may hold a secret; DATABASE_URL is not among them. */
const settings = [
  'ACCESS_MODE_MINIMUM',
  'ALLOWED_HOSTS',
  'ALLOWED_ORIGINS',
  'API_HOST',
  'AUDIT_RETENTION_DAYS',
  'FRONT_HOST',
  'FRONT_PORT',
  'KEYRING_FILE',
  'LOG_LEVEL',
  'METRICS_OPEN',
  'MONITOR_INTERVAL_MS',
  'MONITOR_PORT',
  'PUBLIC_URL',
  'REQUIRE_ISOLATION',
  'SERVICE_HOST',
  'SERVICE_PORT_OFFSET',
  'TRUST_PROXY',
];

/** What any program on this machine needs. */
const surroundings = ['PATH', 'HOME', 'USER', 'LANG', 'LC_ALL', 'TZ', 'TMPDIR'];

/**
 * @param {string} root the checkout
 * @param {CommittedApp[]} committed
 * @param {Env} [given] the environment that PM2 is called in; it wins over `.env` in the checkout
 * @returns {App[]}
 */
function toApps(root, committed, given = process.env) {
  const env = { ...readEnvFile(join(root, '.env')), ...given };
  const stateDir = toPath(root, env.PORTOLAN_STATE_DIR, 'var');
  const common = {
    ...pick(env, surroundings),
    ...pick(env, settings),
    NODE_ENV: 'production',
    PORTOLAN_STATE_DIR: stateDir,
    MCP_PORTS_DIR: toPath(root, env.MCP_PORTS_DIR, 'mcp-ports'),
    ...(env.KEYRING_FILE ? { KEYRING_FILE: toPath(root, env.KEYRING_FILE, '') } : {}),
    PORTOLAN_API_URL: env.PORTOLAN_API_URL || `http://127.0.0.1:${env.PORT || 3000}`,
  };
  const has = lookFor(env, join(stateDir, 'service-env'));
  return [
    ...toPostgres(stateDir, env),
    ...committed.flatMap(({ portolan, ...app }) => {
      const missing = [
        ...portolan.required.filter((name) => !has(name)),
        ...portolan.files.filter((file) => !existsSync(file)),
      ];
      if (missing.length > 0) {
        console.error(`[portolan] ${app.name} is left out: ${missing.join(', ')} is not there`);
        return [];
      }
      return [
        {
          ...app,
          ...everyApp(stateDir, app.name),
          cwd: root,
          script: join(root, app.script),
          ...(app.exec_mode === 'fork' ? { interpreter: process.execPath } : {}),
          env: {
            ...common,
            ...pick(env, portolan.env),
            ...app.env,
            ...toOwnEnv(app, portolan, stateDir, env),
          },
        },
      ];
    }),
  ];
}

/**
 * What differs between the programs: ports, and the connection string's path by database role.
 * @param {{ env: Record<string, string> }} app
 * @param {Needs} needs
 * @param {string} stateDir
 * @param {Env} env
 */
function toOwnEnv(app, needs, stateDir, env) {
  if (needs.role !== 'service') return { PORT: env.PORT || '3000' };
  return {
    PORT: String(Number(app.env.PORT) + Number(env.SERVICE_PORT_OFFSET || 0)),
    ...pick(env, ['SERVICE_MODE']),
    DATABASE_URL_FILE: join(stateDir, 'database-urls', 'service'),
  };
}

/**
 * The embedded PostgreSQL, as set-up laid it; none with a database of somebody else's.
 * @param {string} stateDir
 * @param {Env} env
 * @returns {App[]}
 */
function toPostgres(stateDir, env) {
  const file = join(stateDir, 'postgres.json');
  if (env.DATABASE_URL || !existsSync(file)) return [];
  /** @type {{ bin: string, args: string[], dataDir: string, user: { name: string } | null }} */
  const { bin, args, user } = JSON.parse(readFileSync(file, 'utf8'));
  return [
    {
      ...everyApp(stateDir, 'postgres'),
      name: 'postgres',
      cwd: '/',
      script: bin,
      args,
      interpreter: 'none',
      exec_mode: 'fork',
      ...(user === null ? {} : { uid: user.name, gid: user.name }),
      kill_signal: 'SIGINT',
      kill_timeout: 20_000,
      // A killed postmaster's children need a moment to notice, and zombies are reaped late in some containers.
      restart_delay: 2_500,
      min_uptime: '10s',
      max_restarts: 5,
      env: { PATH: '/usr/local/bin:/usr/bin:/bin', LC_ALL: 'C' },
    },
  ];
}

/**
 * @param {string} stateDir
 * @param {string} name
 */
function everyApp(stateDir, name) {
  return {
    // Drops the whole environment of the caller ("" is part of every name); `true` would keep it all (PM2 7.0.4).
    filter_env: [''],
    // A program ends its own children: PM2 would interrupt them while calls are still being finished.
    treekill: false,
    pmx: false,
    vizion: false,
    disable_source_map_support: true,
    merge_logs: true,
    out_file: join(stateDir, 'logs', `${name}.log`),
    error_file: join(stateDir, 'logs', `${name}.error.log`),
  };
}

/**
 * @param {Env} env
 * @param {string} file
 * @returns {(name: string) => boolean}
 */
function lookFor(env, file) {
  const kept = readEnvFile(file);
  return (name) => Boolean(env[name] || kept[name]);
}

/**
 * @param {string} file
 * @returns {Env}
 */
function readEnvFile(file) {
  try {
    return { ...parseEnv(readFileSync(file, 'utf8')) };
  } catch {
    // Absent, or not for this account: then only the environment counts.
    return {};
  }
}

/**
 * @param {string} root
 * @param {string | undefined} given
 * @param {string} fallback
 */
function toPath(root, given, fallback) {
  const path = given?.trim() || fallback;
  return isAbsolute(path) ? path : resolve(root, path);
}

/**
 * @param {Env} env
 * @param {string[]} names
 * @returns {Record<string, string>}
 */
function pick(env, names) {
  /** @type {Record<string, string>} */
  const picked = {};
  for (const name of names) {
    const value = env[name];
    if (value) picked[name] = value;
  }
  return picked;
}

module.exports = { toApps };
