/**
 * Drives the project's own PM2 through its command line, in a home of its own (`pm2Home.ts`). PM2 is under the AGPL: it
 * is run, never imported. The daemon starts with a clean environment, because its children in cluster mode inherit it.
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
  /** The environment that `ecosystem.config.js` is loaded with. */
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
  const daemonEnv = { ...pick(env, ['PATH', 'HOME', 'USER', 'LANG', 'TZ', 'TMPDIR']), ...own };
  const callerEnv = { ...withoutPm2(env), ...own };

  const daemonPid = (): number => readPid(join(home, 'pm2.pid'));
  const isRunning = (): boolean => isAlive(daemonPid());

  const call = (args: readonly string[], timeoutMs: number, callEnv: NodeJS.ProcessEnv): Promise<string> =>
    runToEnd(process.execPath, [program, ...args], { cwd: projectRoot, env: callEnv, timeoutMs });

  /** Changes go through a daemon that is already there, so that none is started with the caller's environment. */
  const act = async (args: readonly string[], timeoutMs: number): Promise<void> => {
    if (!isRunning()) await call(['ping'], listTimeoutMs, daemonEnv);
    await call(args, timeoutMs, callerEnv);
  };

  return {
    home,
    daemonPid,
    isRunning,

    /** Starts the apps of a configuration file, or those that are named; one that runs already is restarted. */
    start: (file: string, only?: readonly string[]) => act(['start', file, ...named(only)], startTimeoutMs),

    /** Replaces running apps without losing a call, and takes up what changed in their configuration. */
    reload: (file: string, only?: readonly string[]) =>
      act(['reload', file, ...named(only), '--update-env'], startTimeoutMs),

    /** Stops apps (PM2 waits for their drain) and forgets them. Names that it does not know are no error. */
    async remove(names: readonly string[]): Promise<void> {
      if (names.length === 0 || !isRunning()) return;
      await call(['delete', ...names], stopTimeoutMs, callerEnv);
    },

    /** What runs, or an empty list when there is no daemon; it never starts one. */
    async list(): Promise<Pm2App[]> {
      if (!isRunning()) return [];
      return parseProcessList(await call(['jlist'], listTimeoutMs, daemonEnv));
    },

    /** Stops everything, the daemon included. */
    async kill(): Promise<void> {
      const pid = daemonPid();
      if (!isAlive(pid)) return;
      await call(['kill'], stopTimeoutMs, daemonEnv);
      await untilGone(pid, 10_000);
    },

    /** Any command of PM2's in front of the user; resolves with its exit code. */
    async passOn(args: readonly string[]): Promise<number> {
      if (!isRunning()) await call(['ping'], listTimeoutMs, daemonEnv);
      const child = spawn(process.execPath, [program, ...args], {
        cwd: projectRoot,
        env: callerEnv,
        stdio: 'inherit',
      });
      return await new Promise((resolve, reject) => {
        child.once('error', reject);
        child.once('close', (code) => resolve(code ?? 1));
      });
    },
  };
}

/** Reads the answer of `pm2 jlist`: the line that begins with `[`; notices may stand before it. */
export function parseProcessList(output: string): Pm2App[] {
  const line = output.split('\n').findLast((text) => text.startsWith('['));
  if (line === undefined) throw new Error(`pm2 jlist gave no list: ${output.slice(0, 200)}`);
  const processes = JSON.parse(line) as JlistEntry[];
  return processes.map(({ name, pid, monit, pm2_env: app }) => ({
    name,
    pid: pid ?? 0,
    status: app.status,
    restarts: app.restart_time ?? 0,
    memoryBytes: monit?.memory ?? 0,
    cpuPercent: monit?.cpu ?? 0,
    startedAtMs: app.pm_uptime ?? 0,
    mode: app.exec_mode === 'cluster_mode' ? 'cluster' : 'fork',
    outLog: app.pm_out_log_path ?? '',
    errorLog: app.pm_err_log_path ?? '',
  }));
}

interface JlistEntry {
  readonly name: string;
  readonly pid?: number;
  readonly monit?: { readonly memory: number; readonly cpu: number };
  readonly pm2_env: {
    readonly status: string;
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

const named = (only: readonly string[] | undefined): string[] =>
  only === undefined ? [] : ['--only', only.join(',')];

function pick(env: NodeJS.ProcessEnv, names: readonly string[]): NodeJS.ProcessEnv {
  return Object.fromEntries(names.flatMap((name) => (env[name] === undefined ? [] : [[name, env[name]]])));
}

/** Drops what another PM2 left in the environment of its children: this one would take it for its own settings. */
function withoutPm2(env: NodeJS.ProcessEnv): NodeJS.ProcessEnv {
  return Object.fromEntries(Object.entries(env).filter(([name]) => !/^(?:PM2_|pm_)/.test(name)));
}
