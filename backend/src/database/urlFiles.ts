/** Connection strings, and the files of mode 0400 that hold them: one for each database role. */
import { existsSync, mkdirSync, readFileSync, renameSync, writeFileSync } from 'node:fs';
import { dirname } from 'node:path';
import { Secret } from '../config/secrets.js';
import { AppError } from '../errors/appError.js';

/** A connection string for a Unix socket, in the form that both `pg` and libpq read. */
export function toSocketUrl(target: {
  readonly user: string;
  readonly password: Secret;
  readonly socketDir: string;
  readonly port: number;
  readonly database: string;
}): Secret {
  const { user, password, socketDir, port, database } = target;
  return new Secret(
    `postgresql://${encodeURIComponent(user)}:${encodeURIComponent(password.reveal())}@/${encodeURIComponent(database)}` +
      `?host=${encodeURIComponent(socketDir)}&port=${port}`,
  );
}

// A URL with a login but no host, as for a Unix socket, is none to WHATWG; a placeholder makes it one for a moment.
const placeholder = 'portolan-socket';

function parse(connectionString: Secret): URL {
  const text = connectionString
    .reveal()
    .replace(/^(postgres(?:ql)?:\/\/[^/?#]*@)(?=[/?])/, `$1${placeholder}`);
  if (!URL.canParse(text) || !/^postgres(ql)?:$/.test(new URL(text).protocol)) {
    throw new AppError('CONFIG_INVALID', 'the connection string is no postgresql:// URL');
  }
  return new URL(text);
}

const print = (url: URL): Secret => new Secret(url.href.replace(`@${placeholder}`, '@'));

/** The same database for another login. */
export function withLogin(connectionString: Secret, user: string, password: Secret): Secret {
  const url = parse(connectionString);
  url.hostname ||= placeholder;
  url.username = encodeURIComponent(user);
  url.password = encodeURIComponent(password.reveal());
  return print(url);
}

/** The same login for another database of the server. */
export function withDatabase(connectionString: Secret, database: string): Secret {
  const url = parse(connectionString);
  url.pathname = `/${encodeURIComponent(database)}`;
  return print(url);
}

export function databaseOf(connectionString: Secret): string {
  return decodeURIComponent(parse(connectionString).pathname.slice(1));
}

export function passwordOf(connectionString: Secret): Secret {
  return new Secret(decodeURIComponent(parse(connectionString).password));
}

/** Writes the file, replacing it whole, unless it says so already. */
export function writeUrlFile(path: string, connectionString: Secret): void {
  const text = `${connectionString.reveal()}\n`;
  if (existsSync(path) && readFileSync(path, 'utf8') === text) return;
  mkdirSync(dirname(path), { recursive: true, mode: 0o700 });
  writeFileSync(`${path}.${process.pid}`, text, { mode: 0o400 });
  renameSync(`${path}.${process.pid}`, path);
}
