/** The fleet on Node 24, and the MCP Inspector, which needs it, as a client. `.ci/run` runs jest itself on Node 24 here. */
import { execFile } from 'node:child_process';
import { mkdtempSync, readlinkSync, realpathSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, it } from '@jest/globals';
import { findProjectRoot } from '../../backend/src/config/projectRoot.js';
import { startWholeFleet, type Fleet } from '../support/fleet.js';
import { clientKinds, connectClient } from '../support/mcpClients.js';
import { aUser, anAdmin, connect, type Connected, type Person } from '../support/people.js';

const home = mkdtempSync(join(tmpdir(), 'portolan-inspector-'));
const inspector = join(
  findProjectRoot(),
  'tools/node24/node_modules/@modelcontextprotocol/inspector/clients/launcher/build/index.js',
);
let fleet: Fleet;
let alice: Person;
let everything: Connected;

beforeAll(async () => {
  fleet = await startWholeFleet();
  alice = await aUser(fleet, await anAdmin(fleet), 'alice');
  everything = await connect(alice, 'everything');
}, 180_000);
afterAll(async () => {
  await fleet?.[Symbol.asyncDispose]();
  rmSync(home, { recursive: true, force: true });
}, 120_000);

/** Runs the Inspector's command line and gives the JSON that it prints. */
function inspect(url: string, ...args: string[]): Promise<Record<string, unknown>> {
  const all = [inspector, '--cli', url, '--transport', 'http', ...args];
  const settings = { env: { PATH: process.env.PATH, HOME: home, CI: 'true' }, timeout: 60_000 };
  return new Promise((resolve, reject) => {
    execFile(process.execPath, all, settings, (error, out, err) => {
      if (error !== null) return reject(new Error(`the Inspector failed: ${out}${err}`));
      resolve(JSON.parse(out) as Record<string, unknown>);
    });
  });
}

describe('on Node 24', () => {
  it('every program of the fleet runs on it', async () => {
    expect(process.versions.node).toMatch(/^24\./);
    const programs = (await fleet.apps()).filter(({ name }) => name !== 'postgres');
    const executables = programs.map(({ pid }) => readlinkSync(`/proc/${pid}/exe`));
    expect(new Set(executables)).toEqual(new Set([realpathSync(process.execPath)]));
  });

  it.each(clientKinds)(
    '%s lists and calls tools',
    async (kind) => {
      await using client = await connectClient(kind, everything.instanceUrl);
      expect(await client.toolNames()).toContain('echo');
      expect(await client.callTool('echo', { message: kind })).toContain(kind);
    },
    60_000,
  );

  it('U06 the MCP Inspector lists and calls tools by the instance URL', async () => {
    const listed = await inspect(everything.instanceUrl, '--method', 'tools/list');
    expect(JSON.stringify(listed)).toContain('"echo"');
    const called = await inspect(
      everything.instanceUrl,
      '--method',
      'tools/call',
      '--tool-name',
      'echo',
      '--tool-arg',
      'message=by the inspector',
    );
    expect(JSON.stringify(called)).toContain('by the inspector');
  }, 120_000);
});
