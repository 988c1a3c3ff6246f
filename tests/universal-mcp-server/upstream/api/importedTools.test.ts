import { createHash } from 'node:crypto';
import { mkdir, mkdtemp, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, beforeAll, beforeEach, describe, expect, it } from '@jest/globals';
import type { OpenApiImport, ServiceDefinition } from '../../../../backend/src/catalog/serviceDefinition.js';
import { anApiService, ask, aTool, callTool, openApi, termsOf } from '../../../support/anApiService.js';
import { eventually } from '../../../support/eventually.js';
import { json, startRecordingUpstream, type RecordingUpstream } from '../../../support/recordingUpstream.js';

const ok = { responses: { 200: { description: 'Fine.' } } };

function aDocument(...operationIds: string[]): string {
  const paths = Object.fromEntries(
    operationIds.map((operationId) => [
      `/${operationId}/{id}`,
      {
        get: {
          operationId,
          parameters: [
            { name: 'id', in: 'path', required: true, schema: { type: 'string' } },
            { name: 'limit', in: 'query', schema: { type: 'integer', maximum: 9 } },
          ],
          ...ok,
        },
      },
    ]),
  );
  return JSON.stringify({ openapi: '3.1.0', info: { title: 'Notes', version: '1' }, paths });
}

describe('U01 a service whose tools come from an OpenAPI document', () => {
  let site: RecordingUpstream;
  let stateDir: string;
  const alice = termsOf('alice');

  beforeAll(async () => {
    site = await startRecordingUpstream();
    stateDir = await mkdtemp(join(tmpdir(), 'portolan-state-'));
    await mkdir(join(stateDir, 'generated'));
  });
  afterAll(async () => {
    await rm(stateDir, { recursive: true });
    await site[Symbol.asyncDispose]();
  });
  beforeEach(() => site.clear());

  function aService(openapi: Partial<OpenApiImport> & Pick<OpenApiImport, 'source'>): ServiceDefinition {
    const tool = aTool('declared', { method: 'GET', path: '/' });
    const definition = anApiService({ baseUrl: `${site.origin}/v1`, tools: [tool] });
    if (definition.api === null) throw new Error('is of kind api');
    const imported = { sha256: null, include: [], exclude: [], rename: {}, maxTools: 60, ...openapi };
    return { ...definition, api: { ...definition.api, openapi: imported } };
  }

  const namesOf = async (opened: Awaited<ReturnType<typeof openApi>>): Promise<string[]> => {
    const { result } = (await ask(opened.upstream, alice, 'tools/list')) as {
      result: { tools: { name: string }[] };
    };
    return result.tools.map(({ name }) => name);
  };

  it('U01 calls an imported tool with the caller’s credential, its arguments checked', async () => {
    const path = join(stateDir, 'document.json');
    await writeFile(path, aDocument('notes'));
    await using opened = await openApi(aService({ source: { type: 'file', path } }), { stateDir });
    // The very first call waits for the document.
    await callTool(opened.upstream, alice, 'notes', { id: 'a/b', limit: 3 });
    expect(site.requests[0]).toMatchObject({ method: 'GET', target: '/v1/notes/a%2Fb?limit=3' });
    expect(site.requests[0]?.headers.authorization).toBe('Bearer key-of-alice');
    expect((await callTool(opened.upstream, alice, 'notes', { id: 'a', limit: 30 })).isError).toBe(true);
    expect(await namesOf(opened)).toEqual(['declared', 'notes']);
  });

  it('U01 works with its own tools until a generated document appears, and sees it change', async () => {
    const source = { type: 'state', path: 'generated/late.json' } as const;
    await using opened = await openApi(aService({ source }), { stateDir });
    expect(await namesOf(opened)).toEqual(['declared']);
    await writeFile(join(stateDir, source.path), aDocument('first'));
    const seen = async (wanted: string) =>
      eventually(async () => {
        const value = await namesOf(opened);
        return { isDone: value.includes(wanted), value };
      });
    expect(await seen('first')).toEqual(['declared', 'first']);
    await writeFile(join(stateDir, source.path), aDocument('second', 'third'));
    expect(await seen('second')).toEqual(['declared', 'second', 'third']);
    await writeFile(join(stateDir, source.path), '{"openapi": "3.1.0", half');
    expect(await namesOf(opened)).toEqual(['declared', 'second', 'third']);
  }, 20_000);

  it('U01 fetches a document by the guarded client, and holds it to its digest', async () => {
    const text = aDocument('remote');
    site.on('/openapi.json', (response) => void response.writeHead(200).end(text));
    const sha256 = createHash('sha256').update(text).digest('hex');
    const source = { type: 'url', url: `${site.origin}/openapi.json` } as const;
    await using good = await openApi(aService({ source, sha256 }));
    expect(await namesOf(good)).toEqual(['declared', 'remote']);
    expect(site.requests[0]?.headers).not.toHaveProperty('authorization');
    await using bad = await openApi(aService({ source, sha256: '0'.repeat(64) }));
    expect(await namesOf(bad)).toEqual(['declared']);
    const warnings: string[] = [];
    const log = { warn: (message: string) => void warnings.push(message), info: () => undefined };
    await using outside = await openApi(
      aService({ source: { type: 'url', url: 'http://169.254.169.254/' } }),
      { log },
    );
    expect(await namesOf(outside)).toEqual(['declared']);
    expect(warnings).toEqual(['the OpenAPI document of the service cannot be used']);
  });
});

describe('a service that says 403 to bad credentials', () => {
  it('I05 asks once more by the probe, and tells a bad credential from a missing permission', async () => {
    await using site = await startRecordingUpstream();
    const probe = {
      request: { url: `${site.origin}/me` },
      reject: { '403': 'Notes did not accept this token.' },
    };
    const fields = [{ name: 'token', label: 'Key', type: 'secret' }];
    const method = { id: 'key', type: 'fields', label: 'Key', tokenField: 'token', fields, probe };
    const api = { baseUrl: site.origin, tools: [aTool('get', { method: 'GET', path: '/get' })] };
    await using opened = await openApi(anApiService(api, { credentials: { methods: [method] } }));
    const [alice, bob] = [termsOf('alice'), termsOf('bob')];

    site.on('/get', json(403, {}));
    site.on('/me', json(200, {}));
    expect((await callTool(opened.upstream, alice, 'get')).content[0]?.text).toContain('does not allow this');
    await callTool(opened.upstream, alice, 'get');
    expect(site.requests.map(({ target }) => target)).toEqual(['/get', '/me', '/get']);
    expect(opened.states).toEqual([]);

    site.on('/me', json(403, {}));
    expect((await callTool(opened.upstream, bob, 'get')).content[0]?.text).toContain('EXPIRED_CREDENTIALS');
    expect(opened.states).toMatchObject([{ instanceId: bob.instance.id, state: 'needs_reauth' }]);
  });
});
