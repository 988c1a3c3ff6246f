/** A stdio service as an admin writes it: what its file refers to arrives in the child, each user's own (03, rule 5). */
import { mkdtempSync, mkdirSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, it } from '@jest/globals';
import { loadServiceDefinitions } from '../../../../backend/src/catalog/loadServiceDefinitions.js';
import type { ServiceDefinition } from '../../../../backend/src/catalog/serviceDefinition.js';
import { hostileServer } from '../../../support/aStdioService.js';
import { initialize, textOf } from '../../../support/mcpHttp.js';
import { openUniversalServer, type UniversalServer } from '../../../support/universalServer.js';

function load(env: Readonly<Record<string, string>>): ServiceDefinition | undefined {
  const dir = mkdtempSync(join(tmpdir(), 'portolan-references-'));
  try {
    const config = {
      schemaVersion: 1,
      name: 'notes',
      title: 'Notes',
      kind: 'stdio',
      port: 4902,
      instancePrefix: 'nts',
      stdio: {
        command: process.execPath,
        args: [
          hostileServer,
          '--region',
          { $env: 'NOTES_REGION' },
          { $userToken: 'token={{token}}' },
          { $credential: '{{user}}', encode: 'url' },
        ],
        env: {
          NOTES_TOKEN: { $userToken: 'Bearer {{token}}' },
          NOTES_REGION: { $env: 'NOTES_REGION' },
          NOTES_COLOUR: { $env: 'NOTES_COLOUR', default: 'blue' },
          NOTES_DIR: { $instance: '{{dataDir}}/notes' },
          NOTES_LITERAL: '$HOME {{token}}',
        },
      },
      credentials: {
        methods: [
          {
            id: 'key',
            type: 'fields',
            label: 'Key',
            fields: [
              { name: 'token', label: 'Token', type: 'secret' },
              { name: 'user', label: 'User', type: 'string' },
            ],
          },
        ],
      },
    };
    mkdirSync(join(dir, 'notes'));
    writeFileSync(join(dir, 'notes', 'config.json'), JSON.stringify(config));
    const lock = { lockVersion: 1, services: {} } as const;
    const { services } = loadServiceDefinitions({ mcpPortsDir: dir, lock, env: (name) => env[name] });
    return services[0];
  } finally {
    rmSync(dir, { recursive: true, force: true });
  }
}

describe('references in the file of a stdio service', () => {
  let server: UniversalServer;
  beforeAll(async () => {
    const definition = load({ NOTES_REGION: 'north', UNNAMED: 'stays-here' });
    server = await openUniversalServer({ definition: definition! });
  });
  afterAll(async () => {
    await server[Symbol.asyncDispose]();
  });

  it('U02 {"$env"} and {"$userToken"} arrive in variables and arguments, each user’s own, and nothing else is expanded', async () => {
    const people = { alice: 'key-of-alice', bob: 'key $(id) {{user}}' };
    for (const [user, token] of Object.entries(people)) {
      const { url, id } = await server.aUrl({ fields: { token, user: `${user} & co` } });
      const session = await initialize(url);
      const env = JSON.parse(textOf(await session.call('env'))) as Record<string, string>;
      expect(env).toMatchObject({
        NOTES_TOKEN: `Bearer ${token}`,
        NOTES_REGION: 'north',
        NOTES_COLOUR: 'blue',
        NOTES_DIR: join(server.config.paths.instanceDataDir, id, 'notes'),
        NOTES_LITERAL: '$HOME {{token}}',
      });
      expect(env).not.toHaveProperty('UNNAMED');
      expect(JSON.parse(textOf(await session.call('argv')))).toEqual([
        '--region',
        'north',
        `token=${token}`,
        encodeURIComponent(`${user} & co`),
      ]);
    }
  });

  it('U02 a variable that is not set disables the service, by its name', () => {
    expect(load({ NOTES_REGION: 'north' })?.disabledReason).toBeNull();
    expect(load({})?.disabledReason).toContain('NOTES_REGION');
  });
});
