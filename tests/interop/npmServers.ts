/** Stdio servers of others, as npm has them, that start without network (tools/interop pins them). */
import { join } from 'node:path';
import { parseTemplate } from '../../backend/src/catalog/template.js';
import { aStdioService } from '../support/aStdioService.js';
import { projectRoot } from '../support/universalServer.js';

export interface NpmServer {
  /** The name of its command. */
  readonly bin: string;
  /** The newest revision that it speaks. */
  readonly revision: '2024-11-05' | '2025-06-18' | '2025-11-25';
  readonly args?: readonly string[];
  readonly env?: Readonly<Record<string, string>>;
  /** One call that harms nothing and leaves the machine alone: it works offline, or the server itself refuses it. */
  readonly call: { readonly name: string; readonly arguments: Readonly<Record<string, unknown>> };
}

const nobody = 'http://127.0.0.1:9';
const unknown = { name: 'no_such_tool', arguments: {} };

export const npmServers: readonly NpmServer[] = [
  {
    bin: 'mcp-server-everything',
    revision: '2025-11-25',
    args: ['stdio'],
    call: { name: 'echo', arguments: { message: 'ahoy' } },
  },
  {
    bin: 'mcp-server-memory',
    revision: '2025-11-25',
    call: { name: 'read_graph', arguments: {} },
  },
  {
    bin: 'mcp-server-filesystem',
    revision: '2025-11-25',
    args: [join(projectRoot, 'tests', 'interop')],
    call: { name: 'list_directory', arguments: { path: join(projectRoot, 'tests', 'interop') } },
  },
  {
    bin: 'mcp-server-sequential-thinking',
    revision: '2025-11-25',
    call: {
      name: 'sequentialthinking',
      arguments: { thought: 'one', nextThoughtNeeded: false, thoughtNumber: 1, totalThoughts: 1 },
    },
  },
  {
    bin: 'mcp-server-github',
    revision: '2024-11-05',
    env: { GITHUB_PERSONAL_ACCESS_TOKEN: 'nobody' },
    call: { name: 'get_issue', arguments: { owner: 'nobody' } },
  },
  {
    bin: 'mcp-server-gitlab',
    revision: '2024-11-05',
    env: { GITLAB_PERSONAL_ACCESS_TOKEN: 'nobody', GITLAB_API_URL: nobody },
    call: { name: 'search_repositories', arguments: { search: 'nothing' } },
  },
  {
    bin: 'mcp-server-slack',
    revision: '2024-11-05',
    env: { SLACK_BOT_TOKEN: 'nobody', SLACK_TEAM_ID: 'T0' },
    call: { name: 'slack_post_message', arguments: {} },
  },
  {
    bin: 'mcp-server-brave-search',
    revision: '2024-11-05',
    env: { BRAVE_API_KEY: 'nobody' },
    call: { name: 'brave_web_search', arguments: {} },
  },
  {
    bin: 'mcp-server-postgres',
    revision: '2024-11-05',
    args: ['postgresql://127.0.0.1:9/none'],
    call: { name: 'query', arguments: { sql: 'select 1' } },
  },
  {
    bin: 'mcp-server-google-maps',
    revision: '2024-11-05',
    env: { GOOGLE_MAPS_API_KEY: 'nobody' },
    call: unknown,
  },
  {
    bin: 'notion-mcp-server',
    revision: '2025-11-25',
    env: { NOTION_TOKEN: 'nobody' },
    call: unknown,
  },
  { bin: 'playwright-mcp', revision: '2025-11-25', call: unknown },
  { bin: 'tavily-mcp', revision: '2025-11-25', env: { TAVILY_API_KEY: 'nobody' }, call: unknown },
  {
    bin: 'mcp-hubspot',
    revision: '2025-11-25',
    env: { PRIVATE_APP_ACCESS_TOKEN: 'nobody' },
    call: { name: 'hubspot-generate-feedback-link', arguments: {} },
  },
];

export const interopBins = join(projectRoot, 'tools', 'interop', 'node_modules', '.bin');

/** The command as a service's config would name it; `home` is a directory that the server may fill. */
export function commandOf(
  server: NpmServer,
  home: string,
): {
  readonly command: string;
  readonly args: string[];
  readonly env: Record<string, string>;
} {
  return {
    command: join(interopBins, server.bin),
    args: [...(server.args ?? [])],
    env: { HOME: home, MEMORY_FILE_PATH: join(home, 'memory.jsonl'), ...server.env },
  };
}

/** Kept apart as far as this machine allows; what the server fills is its instance's own directory. */
export const serviceOf = (server: NpmServer) =>
  aStdioService('everything', {
    command: join(interopBins, server.bin),
    args: [...(server.args ?? [])],
    env: {
      MEMORY_FILE_PATH: parseTemplate('instance', '{{dataDir}}/memory.jsonl', new Set(['dataDir'])),
      ...server.env,
    },
    package: null,
    inheritEnv: ['PATH'],
  });
