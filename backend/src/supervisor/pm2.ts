/**
 * Drives the project's own PM2 through its command line, in a home of its own (`pm2Home.ts`). PM2 is under the AGPL: it
 * is run, never imported. It runs with a clean environment: its children in cluster mode inherit that of the daemon, and
 * a reload would write that of the command line into the environment of the app.
 */
import { execFile, spawn } from 'node:child_process';
import { join } from 'node:path';
import { isAlive, readPid, untilGone } from './processes.js';

export interface Pm2App {
  readonly name: string;
  /** 0 when it does not run. */
  readonly pid: number;
  /** PM2's word: online, launching, stopping, stopped, errored, waiting restart. */
  readonly status: string;
  readonly restarts: number;
  readonly memoryBytes: number;
  /** Of one core, in percent. */
  readonly cpuPercent: number;
  readonly startedAtMs: number;
  readonly mode: 'cluster' | 'fork';
  readonly outLog: string;
  readonly errorLog: string;
}

export interface Pm2Options {
  readonly projectRoot: string;
  /** PM2_HOME. */
  readonly home: string;
  /** The caller's; what PM2 needs of it is picked. */
  readonly env: NodeJS.ProcessEnv;
}

export type Pm2 = ReturnType<typeof createPm2>;

/** Above the 30 s that an app may take to drain. */
const stopTimeoutMs = 90_000;
const startTimeoutMs = 120_000;
const listTimeoutMs = 15_000;

export function createPm2({ projectRoot, home, env }: Pm2Options) {
  const program = join(projectRoot, 'node_modules', 'pm2', 'bin', 'pm2');
  const own = {
    PM2_HOME: home,
    PM2_DISCRETE_MODE: 'true',
    PM2_DISABLE_VERSION_CHECK: 'true',
    PM2_CONCURRENT_ACTIONS: '8',
    // Each app says itself when it is ready; this bounds how long a reload waits for it.
    PM2_GRACEFUL_LISTEN_TIMEOUT: '15000',
  };
  const cleanEnv = { ...pick(env, ['PATH', 'HOME', 'USER', 'LANG', 'TZ', 'TMPDIR']), ...own };

  const daemonPid = (): number => readPid(join(home, 'pm2.pid'));
  const isRunning = (): boolean => isAlive(daemonPid());

  const call = (args: readonly string[], timeoutMs: number): Promise<string> =>
    runToEnd(process.execPath, [program, ...args], { cwd: projectRoot, env: cleanEnv, timeoutMs });

  const list = async (): Promise<Pm2App[]> =>
    isRunning() ? parseProcessList(await call(['jlist'], listTimeoutMs)) : [];

  return {
    home,
    daemonPid,
    isRunning,

    /** Starts the named apps of a configuration file; one that runs already is restarted. */
    async start(file: string, only: readonly string[]): Promise<void> {
      if (only.length > 0) await call(['start', file, '--only', only.join(',')], startTimeoutMs);
    },

    /** Replaces running apps without losing a call, and takes up what changed in their configuration. */
    async reload(file: string, only: readonly string[]): Promise<void> {
      if (only.length > 0) await call(['reload', file, '--only', only.join(',')], startTimeoutMs);
    },

    /** Stops apps side by side (PM2 waits for their drain) and forgets them. Names that it does not know are no error. */
    async remove(names: readonly string[]): Promise<void> {
      const known = (await list()).map(({ name }) => name).filter((name) => names.includes(name));
      // A pattern, because PM2 takes a list of names one after the other.
      if (known.length > 0) await call(['delete', `/^(?:${[...new Set(known)].join('|')})$/`], stopTimeoutMs);
    },

    /** What runs, or an empty list when there is no daemon; it never starts one. */
    list,

    /** Stops everything, the daemon included. */
    async kill(): Promise<void> {
      const pid = daemonPid();
      if (!isAlive(pid)) return;
      await call(['kill'], stopTimeoutMs);
      await untilGone(pid, 10_000);
    },

    /** Any command of PM2's in front of the user; resolves with its exit code. */
    async passOn(args: readonly string[]): Promise<number> {
      if (!isRunning()) await call(['ping'], listTimeoutMs);
      const child = spawn(process.execPath, [program, ...args], {
        cwd: projectRoot,
        env: { ...withoutPm2(env), ...own },
        stdio: 'inherit',
      });
      return await new Promise((resolve, reject) => {
        child.once('error', reject);
        child.once('close', (code) => resolve(code ?? 1));
      });
    },
  };
}

/** Reads the answer of `pm2 jlist`: the line that is a JSON list; notices, `[PM2] …` among them, may stand before it. */
export function parseProcessList(output: string): Pm2App[] {
  const line = output.split('\n').findLast((text) => /^\[(?:\{|\])/.test(text));
  if (line === undefined) throw new Error(`pm2 jlist gave no list: ${output.slice(0, 200)}`);
  const processes = JSON.parse(line) as JlistEntry[];
  return processes.map(({ name, pid, monit, pm2_env: app }) => ({
    name,
    pid: pid ?? 0,
    status: hasGivenUp(app) ? 'errored' : app.status,
    restarts: app.restart_time ?? 0,
    memoryBytes: monit?.memory ?? 0,
    cpuPercent: monit?.cpu ?? 0,
    startedAtMs: app.pm_uptime ?? 0,
    mode: app.exec_mode === 'cluster_mode' ? 'cluster' : 'fork',
    outLog: app.pm_out_log_path ?? '',
    errorLog: app.pm_err_log_path ?? '',
  }));
}

/**
 * PM2 7.0.4 shows an app that it has given up on as `waiting restart`, which never comes, when the app has a restart
 * delay or backoff. Giving up is the only thing that clears `created_at`.
 */
function hasGivenUp(app: JlistEntry['pm2_env']): boolean {
  return app.status === 'errored' || (app.status === 'waiting restart' && app.created_at === null);
}

interface JlistEntry {
  readonly name: string;
  readonly pid?: number;
  readonly monit?: { readonly memory: number; readonly cpu: number };
  readonly pm2_env: {
    readonly status: string;
    readonly created_at?: number | null;
    readonly restart_time?: number;
    readonly pm_uptime?: number;
    readonly exec_mode?: string;
    readonly pm_out_log_path?: string;
    readonly pm_err_log_path?: string;
  };
}

/** Runs a program and gives its standard output; a failure or a timeout is an error with the end of what it printed. */
async function runToEnd(
  command: string,
  args: readonly string[],
  options: { readonly cwd: string; readonly env: NodeJS.ProcessEnv; readonly timeoutMs: number },
): Promise<string> {
  const { cwd, env, timeoutMs } = options;
  const settings = { cwd, env, timeout: timeoutMs, killSignal: 'SIGKILL', maxBuffer: 64 * 2 ** 20 } as const;
  return await new Promise((resolve, reject) => {
    execFile(command, args, settings, (error, stdout, stderr) => {
      if (error === null) return resolve(stdout);
      const why = error.killed ? `gave no answer within ${timeoutMs / 1000} s` : `ended with ${error.code}`;
      const said = `${stdout}\n${stderr}`.trim().split('\n').slice(-12).join('\n');
      reject(new Error(`pm2 ${args[1] ?? ''} ${why}\n${said}`));
    });
  });
}

function pick(env: NodeJS.ProcessEnv, names: readonly string[]): NodeJS.ProcessEnv {
  return Object.fromEntries(names.flatMap((name) => (env[name] === undefined ? [] : [[name, env[name]]])));
}

/** Drops what another PM2 left in the environment of its children: this one would take it for its own settings. */
function withoutPm2(env: NodeJS.ProcessEnv): NodeJS.ProcessEnv {
  return Object.fromEntries(Object.entries(env).filter(([name]) => !/^(?:PM2_|pm_)/.test(name)));
}
