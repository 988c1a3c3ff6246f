/** The fixture servers of `servers/`, as processes that end with the test. */
import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { join } from 'node:path';
import { createInterface } from 'node:readline';

export type FixtureEra = 'legacy' | 'modern';
export type FixtureTransport = 'stdio' | 'streamable-http' | 'sse';

const script = join(import.meta.dirname, 'servers', 'serveFixture.mjs');

export interface RemoteFixture extends AsyncDisposable {
  readonly url: string;
}

/** The command that serves a fixture over stdio. */
export function fixtureCommand(era: FixtureEra): { readonly command: string; readonly args: string[] } {
  return { command: process.execPath, args: [script, era, 'stdio'] };
}

/** Starts a fixture that listens on a loopback port. @throws when it ends before it listens, with what it wrote */
export async function startFixture(
  era: FixtureEra,
  transport: Exclude<FixtureTransport, 'stdio'>,
): Promise<RemoteFixture> {
  const child = spawn(process.execPath, [script, era, transport], { stdio: 'pipe' });
  const exited = once(child, 'exit');
  let written = '';
  child.stderr.on('data', (chunk) => (written += String(chunk)));
  const firstLine = once(createInterface(child.stdout), 'line') as Promise<[string]>;
  const [url] = await Promise.race([firstLine, exited]);
  if (typeof url !== 'string') throw new Error(`the ${era} fixture did not start: ${written}`);
  return {
    url,
    async [Symbol.asyncDispose]() {
      child.stdin.end();
      await exited;
    },
  };
}
