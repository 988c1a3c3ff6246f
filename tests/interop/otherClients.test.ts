/** Clients of others onto npm's servers through instance URLs: the MCP Inspector, and mcp-remote for stdio clients. */
import { execFile } from 'node:child_process';
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, it } from '@jest/globals';
import { Client } from '@modelcontextprotocol/sdk/client/index.js';
import { StdioClientTransport } from '@modelcontextprotocol/sdk/client/stdio.js';
import { openInstallation, type Installation } from '../support/installation.js';
import { openUniversalServer, projectRoot } from '../support/universalServer.js';
import { commandOf, interopBins, npmServers, serviceOf } from './npmServers.js';
import { accountDirectly, accountThenClose } from './serverAccount.js';

const modules = join(projectRoot, 'tools', 'node24', 'node_modules');
const node24 = join(modules, 'node', 'bin', 'node');
const inspector = join(modules, '@modelcontextprotocol/inspector/clients/launcher/build/index.js');
/** One that works offline, and one of the first revision, which refuses the call. */
const chosen = npmServers.filter(({ bin }) => ['mcp-server-everything', 'mcp-server-slack'].includes(bin));
const limitMs = 120_000;

let site: Installation;
let home: string;

beforeAll(async () => {
  site = await openInstallation();
  home = mkdtempSync(join(tmpdir(), 'interop-'));
});
afterAll(async () => {
  await site?.[Symbol.asyncDispose]();
  rmSync(home, { recursive: true, force: true });
});

/** Runs the Inspector's command line and gives the JSON that it prints. */
function inspect(target: readonly string[], ...args: string[]): Promise<Record<string, unknown>> {
  const settings = { env: { PATH: process.env['PATH'], HOME: home, CI: 'true' }, timeout: 60_000 };
  return new Promise((resolve, reject) => {
    execFile(node24, [inspector, '--cli', ...target, ...args], settings, (error, out, err) => {
      if (error !== null) return reject(new Error(`the Inspector failed: ${out}${err}`));
      resolve(JSON.parse(out) as Record<string, unknown>);
    });
  });
}

/** The account that a stdio client has of an instance URL by way of mcp-remote. */
async function accountByRemote(url: string, transport: string, call: (typeof npmServers)[number]['call']) {
  const client = new Client({ name: 'portolan-interop', version: '1.0.0' });
  const env = { PATH: process.env['PATH'] ?? '', HOME: home, MCP_REMOTE_CONFIG_DIR: home };
  const args = [join(interopBins, 'mcp-remote'), url, '--allow-http', '--transport', transport];
  await client.connect(new StdioClientTransport({ command: process.execPath, args, env, stderr: 'ignore' }));
  return await accountThenClose(client, call);
}

const toolsOf = (list: Record<string, unknown>) => list['tools'] as { name: string }[];

describe.each(chosen)('onto $bin', (server) => {
  it(
    'U06 the MCP Inspector lists the same tools, and gets the same answer, as directly',
    async () => {
      await using universal = await openUniversalServer({ definition: serviceOf(server), site });
      const { url } = await universal.aUrl();
      const { command, args, env } = commandOf(server, home);
      const variables = Object.entries(env).flatMap(([name, value]) => ['-e', `${name}=${value}`]);
      const direct = [command, ...args, ...variables];
      const through = [url, '--transport', 'http'];

      const list = ['--method', 'tools/list'];
      const expected = await inspect(direct, ...list);
      const listed = await inspect(through, ...list);
      expect(listed['tools']).not.toEqual([]);
      // While its child starts a client gets the list that was last known, and hears of a change; the Inspector is gone by
      // then. It may lack what the server adds for clients that it can ask.
      const isListed = ({ name }: { name: string }): boolean =>
        name !== 'get-roots-list' || toolsOf(listed).some((tool) => tool.name === name);
      expect(toolsOf(listed)).toEqual(toolsOf(expected).filter(isListed));

      const values = Object.entries(server.call.arguments).flatMap(([name, value]) => [
        '--tool-arg',
        `${name}=${String(value)}`,
      ]);
      const call = ['--method', 'tools/call', '--tool-name', server.call.name, ...values];
      const called = await inspect(through, ...call);
      expect(called['content']).toEqual([expect.objectContaining({ type: 'text' })]);
      expect(called).toEqual(await inspect(direct, ...call));
    },
    limitMs,
  );

  it.each([
    ['http-only', ''],
    ['sse-only', '/sse'],
  ])(
    'U06 mcp-remote (%s) carries a stdio client to the same account as directly',
    async (transport, path) => {
      const { account } = await accountDirectly(commandOf(server, home), server.call);
      await using universal = await openUniversalServer({ definition: serviceOf(server), site });
      const { url } = await universal.aUrl();
      const { answer, tools } = await accountByRemote(`${url}${path}`, transport, server.call);
      expect({ answer, tools }).toEqual({ answer: account.answer, tools: account.tools });
    },
    limitMs,
  );
});
