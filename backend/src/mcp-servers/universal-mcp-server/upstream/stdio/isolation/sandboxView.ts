/**
 * The file system that a child in a sandbox sees: an empty one into which only what programs need is put, read-only, and the
 * one directory of its own. What is not named here is not there, so a secret that an admin keeps at a place that we do not
 * know of stays hidden (decision 0015). It also has no sockets of PM2, PostgreSQL, containers or the desktop.
 */
import { existsSync, lstatSync, readlinkSync, realpathSync, statSync } from 'node:fs';
import { basename, dirname, join, sep } from 'node:path';
import type { ChildCommand, IsolationPlaces } from './childIsolation.js';

/** Programs and their libraries. Where a distribution merged them into /usr they are links, and stay links. */
const systemDirs = [
  '/usr',
  '/bin',
  '/sbin',
  '/lib',
  '/lib32',
  '/lib64',
  '/libx32',
  '/nix/store',
  '/gnu/store',
];

/** How names are resolved, whom TLS trusts, what time it is here, where libraries are. None of it holds a secret. */
const systemFiles = [
  'alternatives',
  'ca-certificates',
  'crypto-policies',
  'fonts',
  'gai.conf',
  'host.conf',
  'hosts',
  'ld.so.cache',
  'ld.so.conf',
  'ld.so.conf.d',
  'localtime',
  'mime.types',
  'nsswitch.conf',
  'os-release',
  'pki/ca-trust',
  'pki/tls/cert.pem',
  'pki/tls/certs',
  'pki/tls/openssl.cnf',
  'protocols',
  'resolv.conf',
  'services',
  'ssl/cert.pem',
  'ssl/certs',
  'ssl/openssl.cnf',
  'timezone',
].map((name) => `/etc/${name}`);

/** Both lie in memory. */
const tmpBytesMax = 256 * 1024 * 1024;
const shmBytesMax = 64 * 1024 * 1024;

/** The options of bwrap(1) for what is the same for every child; what is on top comes from `toOwnView`. */
export function toSystemView(): string[] {
  return [
    ...systemDirs.flatMap((path) => {
      const link = readLink(path);
      if (link !== null) return ['--symlink', link, path];
      return existsSync(path) ? [...withParents(path), '--ro-bind', path, path] : [];
    }),
    ...systemFiles.flatMap((path) =>
      existsSync(path) ? [...withParents(path), '--ro-bind', realpathSync(path), path] : [],
    ),
    '--proc',
    '/proc',
    '--dev',
    '/dev',
    '--perms',
    '1777',
    '--size',
    String(shmBytesMax),
    '--tmpfs',
    '/dev/shm',
    '--remount-ro',
    '/dev',
    '--perms',
    '1777',
    '--size',
    String(tmpBytesMax),
    '--tmpfs',
    '/tmp',
    '--dir',
    '/var',
    '--symlink',
    '../tmp',
    '/var/tmp',
    '--dir',
    '/run',
  ];
}

export interface OwnView extends Pick<ChildCommand, 'cwd' | 'dataDir' | 'readPaths' | 'writePaths'> {
  /** The absolute path of its program. */
  readonly program: string;
  readonly passwdFile: string | null;
}

/** What one child sees besides; what is the gateway's own is hidden again whatever the paths of the config took in. */
export function toOwnView(view: OwnView, places: IsolationPlaces): string[] {
  const readable = outermost([
    ...[process.execPath, view.program].flatMap(rootsOf),
    join(places.projectRoot, 'node_modules'),
    ...view.readPaths,
  ]);
  const writable = outermost(view.writePaths);
  const shown = [...readable, ...writable, ...systemDirs].flatMap((path) => [path, real(path)]);
  return [
    ...readable.flatMap((path) => bind('--ro-bind', path)),
    ...writable.flatMap((path) => bind('--bind', path)),
    ...hidden(places)
      .filter((path) => shown.some((one) => isWithin(path, one)))
      .flatMap(hide),
    ...bind('--ro-bind', places.packagesDir),
    ...(view.passwdFile === null ? [] : ['--ro-bind', view.passwdFile, '/etc/passwd']),
    ...bind('--bind', view.dataDir),
    '--remount-ro',
    '/',
    '--chdir',
    view.cwd,
  ];
}

/** Paths that would give away more than they name: the whole file system, and what the kernel shows of processes and devices. */
export function isForbiddenPath(path: string): boolean {
  return path === '/' || ['/proc', '/sys', '/dev'].some((one) => isWithin(path, one));
}

/** The gateway's own files, as far as they are there. */
function hidden({ stateDir, keyRing, projectRoot }: IsolationPlaces): string[] {
  const paths = [stateDir, keyRing, join(projectRoot, '.env'), join(projectRoot, '.git')];
  return [...new Set(paths.flatMap((path) => [path, real(path)]))].filter((path) => existsSync(path));
}

/**
 * What a program outside of the system's directories comes with: its own file; the `bin` that it lies in, since programs
 * call their neighbours; the virtual environment, or the package, that it is part of.
 */
function rootsOf(program: string): string[] {
  const files = [...new Set([program, real(program)])];
  return files.flatMap((file) => {
    const folder = dirname(file);
    const prefix = dirname(folder);
    const isTool = ['bin', 'sbin', 'libexec'].includes(basename(folder));
    const at = file.lastIndexOf(`${sep}node_modules${sep}`);
    return [
      isTool ? folder : file,
      ...(isTool && existsSync(join(prefix, 'pyvenv.cfg')) ? [prefix] : []),
      ...(at === -1 ? [] : [file.slice(0, at + `${sep}node_modules`.length)]),
    ];
  });
}

/** Without what lies below another of them or below the system's directories; parents come before what is in them. */
function outermost(paths: readonly string[]): string[] {
  const there = [...new Set(paths)]
    .filter((path) => existsSync(path) && !isForbiddenPath(path) && !isForbiddenPath(real(path)))
    .sort((a, b) => a.length - b.length);
  const others = (at: number): string[] => [...systemDirs, ...there.slice(0, at)];
  return there.filter((path, at) => !others(at).some((other) => isWithin(path, other)));
}

function hide(path: string): string[] {
  const isDirectory = statSync(path, { throwIfNoEntry: false })?.isDirectory() === true;
  return isDirectory ? ['--size', String(1024 * 1024), '--tmpfs', path] : ['--ro-bind', '/dev/null', path];
}

/** A path that is reached through links is there under both of its names. */
function bind(option: '--bind' | '--ro-bind', path: string): string[] {
  if (!existsSync(path)) return [];
  return [...new Set([path, real(path)])].flatMap((one) => [...withParents(one), option, one, one]);
}

/** Directories that lead to a path, so that they can be passed through: without this they are made for their maker only. */
function withParents(path: string): string[] {
  const parents: string[] = [];
  for (let at = dirname(path); at !== '/' && at !== '.'; at = dirname(at)) parents.unshift(at);
  return parents.flatMap((parent) => ['--dir', parent]);
}

function isWithin(path: string, directory: string): boolean {
  return path === directory || path.startsWith(directory === '/' ? '/' : `${directory}${sep}`);
}

function real(path: string): string {
  try {
    return realpathSync(path);
  } catch {
    return path;
  }
}

function readLink(path: string): string | null {
  return lstatSync(path, { throwIfNoEntry: false })?.isSymbolicLink() === true ? readlinkSync(path) : null;
}
