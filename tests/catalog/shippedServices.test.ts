import { readdirSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import { describe, expect, it } from '@jest/globals';
import { Ajv2020 } from 'ajv/dist/2020.js';
import formats from 'ajv-formats';
import { toConfigJsonSchema } from '../../backend/src/catalog/jsonSchema.js';
import { loadServiceDefinitions } from '../../backend/src/catalog/loadServiceDefinitions.js';
import { portsLockFileName, readPortsLock } from '../../backend/src/catalog/portsLock.js';
import { findToolSchemaProblems } from '../../backend/src/catalog/toolSchemas.js';
import { aStdioService } from './given.js';

const root = join(import.meta.dirname, '..', '..');
const mcpPortsDir = join(root, 'mcp-ports');
const lock = readPortsLock(join(mcpPortsDir, portsLockFileName));
const folders = readdirSync(mcpPortsDir, { withFileTypes: true })
  .filter((entry) => entry.isDirectory())
  .map(({ name }) => name);

const load = (env: Record<string, string> = {}) =>
  loadServiceDefinitions({ mcpPortsDir, lock, env: (name) => env[name] });

describe('the services that ship', () => {
  it('are the eight that the product promises', () => {
    expect(folders.toSorted()).toEqual([
      'everything',
      'figma',
      'github',
      'linear',
      'memory',
      'notion',
      'portolan',
      'slack',
    ]);
  });

  it('P01 load without a problem or a warning, and have their place in the lock', () => {
    const loaded = load();
    expect(loaded.services).toHaveLength(folders.length);
    expect(loaded.problems).toEqual([]);
    expect(loaded.warnings).toEqual([]);
    expect(loaded.lock).toEqual(lock);
    expect(loaded.services.flatMap(findToolSchemaProblems)).toEqual([]);
    expect(Object.fromEntries(loaded.services.map(({ name, enabled }) => [name, enabled]))).toEqual({
      everything: true,
      figma: true,
      github: true,
      linear: true,
      memory: true,
      notion: false,
      portolan: true,
      slack: true,
    });
  });

  it('need nothing of the network to run offline: everything, memory and portolan', () => {
    const byName = new Map(load().services.map((service) => [service.name, service]));
    for (const name of ['everything', 'memory']) {
      const reference = byName.get(name)?.stdio?.package;
      const folder = join(root, 'node_modules', reference?.identifier ?? '');
      const { version, bin } = JSON.parse(readFileSync(join(folder, 'package.json'), 'utf8')) as {
        version: string;
        bin: Record<string, string>;
      };
      expect(reference?.version).toBe(version);
      expect(Object.keys(bin)).toContain(byName.get(name)?.stdio?.command);
    }
    expect(byName.get('portolan')?.api).toMatchObject({
      baseUrl: 'http://127.0.0.1:3000',
      openapi: { source: { type: 'state', path: 'generated/portolan-openapi.json' } },
    });
  });

  it("keep each user's memory in a directory of the instance", () => {
    const memory = load().services.find(({ name }) => name === 'memory');
    expect(memory?.stdio).toMatchObject({
      isolation: 'per-instance',
      env: {
        MEMORY_FILE_PATH: {
          source: 'instance',
          parts: [{ placeholder: 'dataDir' }, { literal: '/memory.jsonl' }],
        },
      },
    });
  });

  it('portolan follows PORTOLAN_API_URL, its probe too', () => {
    const portolan = load({ PORTOLAN_API_URL: 'http://127.0.0.1:3555/' }).services.find(
      ({ name }) => name === 'portolan',
    );
    expect(portolan?.api?.baseUrl).toBe('http://127.0.0.1:3555');
    expect(portolan?.credentials.methods[0]?.probe).toMatchObject({
      type: 'http',
      request: { url: 'http://127.0.0.1:3555/api/v1/users/me' },
      egress: { allowPrivate: true },
    });
  });

  it('offer only the ways to connect that can be used here', () => {
    const slack = load().services.find(({ name }) => name === 'slack');
    expect(
      slack?.credentials.methods.map(({ id, unavailableReason }) => [id, unavailableReason === null]),
    ).toEqual([
      ['oauth', false],
      ['bot', true],
    ]);
  });

  it('I10 offer to sign in with Slack once its client is set, and with Linear by discovery', () => {
    const services = load({ SLACK_CLIENT_ID: 'id', SLACK_CLIENT_SECRET: 'secret' }).services;
    const methods = ['slack', 'linear'].flatMap(
      (name) => services.find((service) => service.name === name)?.credentials.methods ?? [],
    );
    expect(methods.map(({ type, unavailableReason }) => [type, unavailableReason])).toEqual([
      ['oauth2', null],
      ['fields', null],
      ['mcp-oauth', null],
    ]);
    expect(methods[0]?.oauth2?.egress).toEqual({ allowHosts: ['slack.com'], allowPrivate: false });
    const halfSet = load({ SLACK_CLIENT_ID: 'id' }).services.find(({ name }) => name === 'slack');
    expect(halfSet?.credentials.methods[0]?.unavailableReason).toContain('client secret');
  });
});

describe('the published JSON Schema', () => {
  const published: unknown = JSON.parse(readFileSync(join(root, 'schemas', 'config.schema.json'), 'utf8'));
  const ajv = new Ajv2020({ strict: false, logger: false });
  formats.default(ajv);
  const validate = ajv.compile(published as object);

  it('is the one that the schema of the loader gives', () => {
    expect(published).toEqual(JSON.parse(JSON.stringify(toConfigJsonSchema())));
  });

  it.each(folders)('accepts %s as it ships', (name) => {
    const config: unknown = JSON.parse(readFileSync(join(mcpPortsDir, name, 'config.json'), 'utf8'));
    expect({ isValid: validate(config), errors: validate.errors }).toEqual({ isValid: true, errors: null });
  });

  it.each([
    ['an unknown key', { oops: 1 }],
    ['the form of another kind', { api: { baseUrl: 'https://example.com', tools: [] } }],
    ['no name', { name: undefined }],
    ['a header value of a wrong form', { stdio: { env: { A: { $secret: 'x' } } } }],
  ])('refuses %s', (_what, changes) => {
    expect(validate(JSON.parse(JSON.stringify(aStdioService('bad', changes))))).toBe(false);
  });
});
