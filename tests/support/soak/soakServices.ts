/** The services of a soak: one of each way that a call can take. Their upstreams are `recordingServices.ts`. */
import { mkdirSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';

/** By the way a call takes, each before an upstream that speaks what the name says. */
export const soakServices = ['restful', 'lines', 'legacy', 'modern', 'events'] as const;
export type SoakService = (typeof soakServices)[number];

/** The total deadline of a call. */
export const callTimeoutMs = 4_000;
export const childProgram = join(import.meta.dirname, 'recordingChild.mjs');

const title = (name: SoakService): string => `Soak ${name}`;
const prefixes: Record<SoakService, string> = {
  restful: 'srst',
  lines: 'slin',
  legacy: 'sleg',
  modern: 'smod',
  events: 'sevt',
};

/** @param ports of the recording HTTP upstream and of the line on which children report */
export function writeSoakServices(
  mcpPortsDir: string,
  upstream: { readonly httpPort: number; readonly linePort: number },
): void {
  const origin = `http://127.0.0.1:${upstream.httpPort}`;
  const headers = { Authorization: { $userToken: 'Bearer {{token}}' } };
  const egress = { allowHosts: ['127.0.0.1'], allowPrivate: true };
  const remote = (path: string) => ({ url: `${origin}${path}`, headers, auth: 'headers', egress });
  const kinds: Record<SoakService, object> = {
    restful: { kind: 'api', api: { baseUrl: `${origin}/restful`, headers, egress, tools: restTools } },
    lines: {
      kind: 'stdio',
      stdio: {
        command: process.execPath,
        // What it may hold is little, so that `eat` ends soon.
        args: ['--max-old-space-size=64', childProgram, String(upstream.linePort)],
        env: { CALLER: { $userToken: '{{token}}' } },
        maxProcesses: 40,
        maxPerUser: 10,
      },
    },
    legacy: { kind: 'streamable-http', remote: remote('/legacy') },
    modern: { kind: 'streamable-http', remote: remote('/modern') },
    events: { kind: 'sse', remote: remote('/events') },
  };
  soakServices.forEach((name, at) => {
    mkdirSync(join(mcpPortsDir, name), { recursive: true });
    const config = {
      schemaVersion: 1,
      name,
      title: title(name),
      port: 4_101 + at,
      instancePrefix: prefixes[name],
      limits: {
        requestsPerMinute: 100_000,
        burst: 10_000,
        concurrency: 50,
        timeoutMs: callTimeoutMs,
      },
      credentials: {
        scope: 'per-user',
        multiple: true,
        maxPerUser: 100,
        methods: [
          {
            id: 'key',
            type: 'fields',
            label: 'Key',
            tokenField: 'key',
            fields: [{ name: 'key', label: 'Key', type: 'secret' }],
            probe: { type: 'none' },
          },
        ],
      },
      ...kinds[name],
    };
    writeFileSync(join(mcpPortsDir, name, 'config.json'), JSON.stringify(config, null, 2));
  });
}

const callSchema = {
  type: 'object',
  required: ['call'],
  properties: { call: { type: 'string' }, ms: { type: 'integer' } },
};

const restTools = [
  {
    name: 'record',
    description: 'Keeps a call. Doing it twice keeps two.',
    inputSchema: callSchema,
    request: { method: 'POST', path: '/calls', bodyFrom: 'args' },
  },
  {
    name: 'read',
    description: 'Reads a call.',
    annotations: { readOnlyHint: true },
    inputSchema: callSchema,
    request: { method: 'GET', path: '/calls/{call}' },
  },
  {
    name: 'wait',
    description: 'Keeps a call and answers later.',
    inputSchema: callSchema,
    request: { method: 'POST', path: '/waits', bodyFrom: 'args' },
  },
];
