/** Children under one form of isolation, with what lies around a gateway that they must not reach. */
import { chmodSync, mkdirSync, mkdtempSync, writeFileSync } from 'node:fs';
import { createServer, type Server } from 'node:net';
import { once } from 'node:events';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import type { StdioDefinition } from '../../backend/src/catalog/mcpServerDefinitions.js';
import type { IsolationForm } from '../../backend/src/mcp-servers/universal-mcp-server/upstream/stdio/isolation/childIsolation.js';
import { findIsolation } from '../../backend/src/mcp-servers/universal-mcp-server/upstream/stdio/isolation/findIsolation.js';
import {
  findTools,
  plainForm,
} from '../../backend/src/mcp-servers/universal-mcp-server/upstream/stdio/isolation/forms.js';
import { toServiceIsolation } from '../../backend/src/mcp-servers/universal-mcp-server/upstream/stdio/isolation/serviceIsolation.js';
import type { UpstreamConnection } from '../../backend/src/mcp-servers/universal-mcp-server/upstream/upstream.js';
import { aStdioService, stdioServersDir } from './aStdioService.js';
import { anUpstream, call, textOf } from './aStdioUpstream.js';

const projectRoot = join(import.meta.dirname, '..', '..');
export const prober = join(stdioServersDir, 'prober.mjs');

/** What a gateway keeps: by name, the path of each file that holds a secret. */
export interface Surroundings {
  readonly stateDir: string;
  readonly secrets: Readonly<Record<string, string>>;
  readonly socket: string;
}

export const canary = 'canary-of-the-gateway';

/** Lays a state directory as set-up does, with a canary in every file. */
export function laySurroundings(stateDir = mkdtempSync(join(tmpdir(), 'kept-'))): Surroundings {
  const at = (...parts: string[]): string => join(stateDir, ...parts);
  chmodSync(stateDir, 0o711);
  for (const name of ['database-urls', 'spool', 'pm2', 'logs'])
    mkdirSync(at(name), { mode: 0o700, recursive: true });
  mkdirSync(at('packages'), { mode: 0o755, recursive: true });
  const secrets: Record<string, string> = {
    keyRing: at('keyring.json'),
    databaseUrl: at('database-urls', 'service'),
    jwtKeys: at('jwt-keys.json'),
    serviceEnv: at('service-env'),
    spool: at('spool', 'records'),
  };
  for (const path of Object.values(secrets)) writeFileSync(path, canary, { mode: 0o400 });
  return { stateDir, secrets, socket: at('pm2', 'rpc.sock') };
}

/** Something listens at PM2's socket, as its daemon does. */
export async function listenAt({ socket }: Surroundings): Promise<Server> {
  const server = createServer((connection) => connection.destroy()).listen(socket);
  await once(server, 'listening');
  return server;
}

/** An upstream whose children are kept apart in this form. @throws Error when this machine does not allow it. */
export async function anIsolatedUpstream(
  form: IsolationForm,
  {
    stdio = {},
    service,
    surroundings = laySurroundings(),
    isRequired = false,
  }: {
    readonly stdio?: Partial<StdioDefinition>;
    readonly service?: string;
    readonly surroundings?: Surroundings;
    readonly isRequired?: boolean;
  } = {},
) {
  const { stateDir } = surroundings;
  const definition =
    service === undefined
      ? aStdioService('everything', { command: process.execPath, args: [prober], package: null, ...stdio })
      : aStdioService(service, stdio);
  const places = {
    stateDir,
    projectRoot,
    keyRing: join(stateDir, 'keyring.json'),
    instanceDataDir: join(stateDir, 'instances'),
    childUidsDir: join(stateDir, 'child-uids'),
    packagesDir: join(stateDir, 'packages'),
  };
  const found = await findIsolation({ places, forms: [form] });
  if (found.form !== form) throw new Error(`${form} is not to be had here: ${found.lacks}`);
  const isolation = toServiceIsolation({
    found,
    plain: plainForm(findTools()),
    sandbox: stdio.sandbox ?? { mode: 'auto', readPaths: [], writePaths: [], network: 'host' },
    isRequired,
  });
  return { ...surroundings, ...anUpstream({}, { service: definition, isolation, stateDir }), isolation };
}

/** What an attempt of the prober got, or why it was denied. */
export type Attempted = { readonly got: unknown } | { readonly denied: string };

export async function attempt(
  connection: UpstreamConnection,
  list: readonly Readonly<Record<string, unknown>>[],
): Promise<Attempted[]> {
  return JSON.parse(textOf(await call(connection, 'try', { list: [...list] }))) as Attempted[];
}

/** The one attempt's outcome. */
export async function attemptOne(
  connection: UpstreamConnection,
  what: string,
  how: Readonly<Record<string, unknown>> = {},
): Promise<Attempted> {
  const [outcome] = await attempt(connection, [{ what, ...how }]);
  return outcome ?? { denied: 'no answer' };
}
