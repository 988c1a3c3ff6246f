/** A `mcp-ports` folder of a test's own, and the services in it. */
import { mkdirSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import {
  loadServiceDefinitions,
  type LoadedServices,
  type LoadOptions,
} from '../../backend/src/catalog/loadServiceDefinitions.js';

export type Json = Record<string, unknown>;

export interface PortsFolder extends Disposable {
  readonly dir: string;
  /** Writes `<name>/config.json`; text and bytes as they are. */
  write(name: string, config: Json | string | Buffer): string;
  remove(name: string): void;
  load(options?: Partial<LoadOptions>): LoadedServices;
}

export function aPortsFolder(): PortsFolder {
  const dir = mkdtempSync(join(tmpdir(), 'portolan-ports-'));
  return {
    dir,
    write(name, config) {
      const file = join(dir, name, 'config.json');
      mkdirSync(join(dir, name), { recursive: true });
      writeFileSync(
        file,
        typeof config === 'string' || Buffer.isBuffer(config) ? config : JSON.stringify(config, null, 2),
      );
      return file;
    },
    remove: (name) => rmSync(join(dir, name), { recursive: true }),
    load: (options = {}) =>
      loadServiceDefinitions({
        mcpPortsDir: dir,
        lock: { services: {} },
        env: () => undefined,
        allocate: true,
        ...options,
      }),
    [Symbol.dispose]: () => rmSync(dir, { recursive: true, force: true }),
  };
}

/** A stdio service with one secret field, to be changed at the place that a test is about. */
export function aStdioService(name: string, changes: Json = {}): Json {
  return {
    schemaVersion: 1,
    name,
    title: `The ${name}`,
    kind: 'stdio',
    stdio: { command: 'a-command', ...(changes.stdio as Json | undefined) },
    credentials: {
      methods: [
        {
          id: 'key',
          type: 'fields',
          label: 'Key',
          fields: [
            { name: 'token', label: 'Key', type: 'secret' },
            { name: 'region', label: 'Region', required: false },
          ],
        },
      ],
    },
    ...Object.fromEntries(Object.entries(changes).filter(([key]) => key !== 'stdio')),
  };
}

export function anApiService(name: string, api: Json = {}, changes: Json = {}): Json {
  const { stdio: _, ...rest } = aStdioService(name);
  return {
    ...rest,
    kind: 'api',
    api: {
      baseUrl: 'https://api.example.com',
      tools: [
        {
          name: 'get_thing',
          description: 'Gets a thing.',
          inputSchema: { type: 'object', required: ['id'], properties: { id: { type: 'string' } } },
          request: { method: 'GET', path: '/things/{id}' },
        },
      ],
      ...api,
    },
    ...changes,
  };
}

/** What is said of one service: `pointer: message` lines. */
export function problemsOf(loaded: LoadedServices, service: string): string[] {
  return loaded.problems
    .filter((problem) => problem.service === service)
    .map(({ pointer, message }) => `${pointer}: ${message}`);
}
