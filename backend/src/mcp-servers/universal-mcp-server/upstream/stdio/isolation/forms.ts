/**
 * The forms themselves: what is spawned for a command. Programs of util-linux and bubblewrap do the work; each replaces
 * itself by the next (execve(2)), so that one process is left, and bubblewrap's watchers where it is used.
 */
import { mkdirSync } from 'node:fs';
import { join } from 'node:path';
import { AppError } from '../../../../../errors/appError.js';
import type { ChildCommand, ChildIsolation, IsolationPlaces, Launch } from './childIsolation.js';
import { assignUid, giveDirectory } from './childUids.js';
import { findCommand, requireCommand } from './commandLookup.js';
import { toPrlimit } from './resourceLimits.js';
import { toOwnView, toSystemView } from './sandboxView.js';

export interface Tools {
  readonly bwrap: string | null;
  readonly setpriv: string | null;
  readonly prlimit: string | null;
}

/** Looked for where distributions put them, never in a PATH. */
export function findTools(): Tools {
  const [bwrap, setpriv, prlimit] = ['bwrap', 'setpriv', 'prlimit'].map((name) =>
    findCommand(name, '/usr/bin:/bin:/usr/local/bin'),
  );
  return { bwrap: bwrap ?? null, setpriv: setpriv ?? null, prlimit: prlimit ?? null };
}

export type BuildForm = (
  tools: Tools,
  places: IsolationPlaces,
  isRoot: boolean,
) => ChildIsolation['launch'] | string;

/**
 * Bubblewrap: pid, ipc, uts, mount and cgroup namespaces. A gateway that is root keeps out of a user namespace, in which
 * its children would still be root towards files: they become their own uid inside. Any other one needs that namespace.
 */
export const bubblewrapForm: BuildForm = ({ bwrap, setpriv, prlimit }, places, isRoot) => {
  if (bwrap === null) return 'bubblewrap is not installed';
  if (prlimit === null || (isRoot && setpriv === null))
    return 'util-linux (setpriv, prlimit) is not installed';
  const namespaces = [
    '--unshare-pid',
    '--unshare-ipc',
    '--unshare-uts',
    '--unshare-cgroup-try',
    '--die-with-parent',
    '--new-session',
    '--cap-drop',
    'ALL',
    ...(isRoot
      ? ['CAP_SETUID', 'CAP_SETGID', 'CAP_SETPCAP', 'CAP_DAC_READ_SEARCH'].flatMap((name) => [
          '--cap-add',
          name,
        ])
      : ['--unshare-user']),
    ...toSystemView(),
  ];
  return (command) => {
    const program = requireCommand(command.file, command.env);
    const own = isRoot ? takeUid(command, places) : null;
    const view = toOwnView({ ...command, program, passwdFile: own?.passwdFile ?? null }, places);
    return {
      file: bwrap,
      args: [
        ...namespaces,
        ...(command.network === 'none' ? ['--unshare-net'] : []),
        ...view,
        '--',
        prlimit,
        ...toPrlimit(command.limits, true),
        '--',
        ...(own === null ? [] : [setpriv ?? '', ...asUid(own.uid), '--']),
        program,
        ...command.args,
      ],
      env: command.env,
      cwd: command.dataDir,
      isWatched: true,
    };
  };
};

/** A uid of its own for each instance, and nothing else: files and processes of others are closed to it by the kernel. */
export const ownUidForm: BuildForm = ({ setpriv, prlimit }, places, isRoot) => {
  if (!isRoot) return 'the gateway does not run as root, so it cannot give its children another uid';
  if (setpriv === null || prlimit === null) return 'util-linux (setpriv, prlimit) is not installed';
  return (command) => {
    refuseLackOfNetwork(command);
    const program = requireCommand(command.file, command.env);
    const { uid } = takeUid(command, places);
    return {
      file: prlimit,
      args: [
        ...toPrlimit(command.limits, true),
        '--',
        setpriv,
        ...asUid(uid),
        '--pdeathsig',
        'KILL',
        '--',
        program,
        ...command.args,
      ],
      env: command.env,
      cwd: command.cwd,
      isWatched: false,
    };
  };
};

/** A plain child of the gateway's own uid, which ends with it and gets no new privileges. */
export const plainForm = ({ setpriv, prlimit }: Tools): ChildIsolation['launch'] => {
  return (command): Launch => {
    refuseLackOfNetwork(command);
    const program = requireCommand(command.file, command.env);
    const [file = program, ...args] = [
      ...(prlimit === null ? [] : [prlimit, ...toPrlimit(command.limits, false), '--']),
      ...(setpriv === null ? [] : [setpriv, '--no-new-privs', '--pdeathsig', 'KILL', '--']),
      program,
      ...command.args,
    ];
    return { file, args, env: command.env, cwd: command.cwd, isWatched: false };
  };
};

/** No group, no capability, and no way to either. */
function asUid(uid: number): string[] {
  return [
    '--reuid',
    String(uid),
    '--regid',
    String(uid),
    '--clear-groups',
    '--no-new-privs',
    '--bounding-set',
    '-all',
    '--inh-caps',
    '-all',
  ];
}

/** Directories above may be passed through then, and none of them listed. */
function takeUid({ owner, dataDir }: ChildCommand, places: IsolationPlaces) {
  const own = assignUid(places.childUidsDir, owner, places.instanceDataDir);
  mkdirSync(dataDir, { recursive: true, mode: 0o700 });
  giveDirectory(dataDir, own.uid);
  return own;
}

function refuseLackOfNetwork({ network }: ChildCommand): void {
  if (network === 'host') return;
  throw new AppError('SERVICE_UNAVAILABLE', 'a service without network needs bubblewrap', {
    publicDetail:
      'This service may only run in a sandbox, which this machine lacks. An admin can install bubblewrap.',
  });
}

/** Where the try of a form keeps what it writes. */
export const tryDirOf = (places: IsolationPlaces): string =>
  join(places.instanceDataDir, `try-${process.pid}`);
