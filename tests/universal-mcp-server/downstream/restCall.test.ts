import { afterAll, beforeAll, beforeEach, describe, expect, it } from '@jest/globals';
import type { ErrorCode } from '../../../backend/src/errors/errorCodes.js';
import type { AppError } from '../../../backend/src/errors/appError.js';
import { toProblem } from '../../../backend/src/errors/problem.js';
import {
  createToolGate,
  type ToolGate,
} from '../../../backend/src/mcp-servers/universal-mcp-server/bridge/toolPolicy.js';
import {
  planRestCall,
  runRestCall,
  type RestAnswer,
} from '../../../backend/src/mcp-servers/universal-mcp-server/downstream/restCall.js';
import { anApiService, aTool, openApi, termsOf, type OpenedApi } from '../../support/anApiService.js';
import {
  dieMidway,
  hang,
  json,
  startRecordingUpstream,
  type RecordingUpstream,
} from '../../support/recordingUpstream.js';

describe('U09 tools as REST resources', () => {
  let site: RecordingUpstream;
  let opened: OpenedApi;
  let gate: ToolGate;
  beforeAll(async () => {
    site = await startRecordingUpstream();
    const definition = anApiService(
      {
        baseUrl: site.origin,
        tools: [
          aTool(
            'get_file',
            {
              method: 'GET',
              path: '/files/{team}/{file_key}',
              query: { depth: '{depth}', deep: '{deep}', ids: '{ids}', n: '{n}' },
            },
            {
              inputSchema: {
                type: 'object',
                required: ['team', 'file_key'],
                additionalProperties: false,
                properties: {
                  team: { type: 'string' },
                  file_key: { type: 'string' },
                  depth: { type: 'integer', maximum: 4 },
                  deep: { type: 'boolean' },
                  ids: { type: 'array', items: { type: 'integer' } },
                  n: { type: ['number', 'null'] },
                },
              },
            },
          ),
          aTool(
            'get_page',
            { method: 'GET', path: '/page' },
            { response: { format: 'text' }, timeoutMs: 300 },
          ),
          aTool('old_name', { method: 'GET', path: '/renamed' }),
          aTool('hidden', { method: 'GET', path: '/hidden' }),
          aTool('delete_file', { method: 'DELETE', path: '/files' }),
        ],
      },
      { toolPolicy: { deny: ['hid*'], rename: { old_name: 'new_name' } } },
    );
    opened = await openApi(definition);
    gate = createToolGate(definition.toolPolicy);
  });
  afterAll(async () => {
    await opened[Symbol.asyncDispose]();
    await site[Symbol.asyncDispose]();
  });
  beforeEach(() => site.clear());

  const alice = termsOf('7b0d6a4e-user');

  async function get(target: string, terms = alice): Promise<RestAnswer> {
    const [path = '', query = ''] = target.split('?');
    const plan = await planRestCall(opened.upstream, path.split('/'), new URLSearchParams(query), (tool) =>
      gate.show(tool),
    );
    return runRestCall(opened.upstream, plan, terms, new AbortController().signal);
  }

  const refusal = (target: string, terms = alice): Promise<AppError> =>
    get(target, terms).then(
      () => {
        throw new Error('it succeeded');
      },
      (error: unknown) => error as AppError,
    );

  it('U09 fills the required arguments from the path and answers {status, data, userId}', async () => {
    site.on('/files/design/12345', json(200, { name: 'A file' }));
    expect(await get('get-file/design/12345')).toEqual({
      status: 200,
      data: { name: 'A file' },
      userId: '7b0d6a4e-user',
    });
    expect(site.requests[0]?.headers.authorization).toBe('Bearer key-of-7b0d6a4e-user');
    expect(await get('get_file/design/12345/')).toMatchObject({ status: 200 });
  });

  it('U09 fills the rest from the query, in the types of the schema', async () => {
    site.on('/files/a/b%2F1', json(200, {}));
    await get('get-file/a/b%2F1?depth=2&deep=true&ids=1,2&n=1.5');
    await get('get-file?team=a&file-key=b/1&ids=3&ids=4&n=null');
    expect(site.requests.map((request) => request.target)).toEqual([
      '/files/a/b%2F1?depth=2&deep=true&ids=1&ids=2&n=1.5',
      '/files/a/b%2F1?ids=3&ids=4',
    ]);
  });

  it('U09 gives text as text, and an empty answer as null', async () => {
    site.on(
      '/page',
      (response) => void response.writeHead(200, { 'content-type': 'text/plain' }).end('plain'),
    );
    expect(await get('get-page')).toMatchObject({ data: 'plain' });
    site.on('/renamed', (response) => void response.writeHead(204).end());
    expect(await get('new-name')).toEqual({ status: 204, data: null, userId: '7b0d6a4e-user' });
  });

  it.each<[string, ErrorCode]>([
    ['nothing', 'NOT_FOUND'],
    ['', 'NOT_FOUND'],
    ['hidden', 'NOT_FOUND'],
    ['old_name', 'NOT_FOUND'],
    ['delete-file', 'ACCESS_DENIED'],
    ['get-file/a', 'INVALID_PARAMS'],
    ['get-file/a/b/c', 'INVALID_PARAMS'],
    ['get-file/a/b?team=x', 'INVALID_PARAMS'],
    ['get-file/a/b?unknown=x', 'INVALID_PARAMS'],
    ['get-file/a/b?depth=deep', 'INVALID_PARAMS'],
    ['get-file/a/b?depth=9', 'INVALID_PARAMS'],
    ['get-file/a/%zz', 'INVALID_REQUEST'],
    ['get-file/a/%2e%2e', 'INVALID_PARAMS'],
  ])('U09 refuses %j with %s, and sends nothing', async (target, code) => {
    expect((await refusal(target)).code).toBe(code);
    expect(site.requests).toHaveLength(0);
  });

  it.each<[number, ErrorCode, number]>([
    [401, 'EXPIRED_CREDENTIALS', 401],
    [403, 'ACCESS_DENIED', 403],
    [400, 'INVALID_PARAMS', 400],
    [404, 'NOT_FOUND', 404],
    [429, 'RATE_LIMIT_EXCEEDED', 429],
    [500, 'SERVICE_UNAVAILABLE', 503],
    [503, 'SERVICE_UNAVAILABLE', 503],
    [302, 'UPSTREAM_FAILED', 502],
  ])('I05 answers status %i of the service with %s', async (status, code, own) => {
    site.on('/renamed', json(status, { message: 'so it is' }, { 'retry-after': '60' }));
    const error = await refusal('new_name');
    expect(error.code).toBe(code);
    expect(toProblem(error)).toMatchObject({ status: own, code });
  });

  it('I05 tells where to reconnect, and when to come back', async () => {
    site.on('/renamed', json(401, {}), json(429, {}, { 'retry-after': '60' }));
    expect(toProblem(await refusal('new_name'))).toMatchObject({
      reconnectUrl: 'https://mcp.example.com/console/connect/notes',
    });
    expect((await refusal('new_name')).options.retryAfterSeconds).toBe(60);
  });

  it('I05 calls a service that is not there, hangs or breaks what it is', async () => {
    site.on('/page', hang);
    expect((await refusal('get-page')).code).toBe('UPSTREAM_TIMEOUT');
    site.on('/page', dieMidway);
    expect((await refusal('get-page')).code).toBe('UPSTREAM_FAILED');
    const gone = await startRecordingUpstream();
    await gone[Symbol.asyncDispose]();
    await using away = await openApi(
      anApiService({
        baseUrl: gone.origin,
        tools: [aTool('get', { method: 'GET', path: '/' })],
        retry: { attempts: 1 },
      }),
    );
    const plan = await planRestCall(away.upstream, ['get'], new URLSearchParams(), (tool) => tool);
    const called = runRestCall(away.upstream, plan, alice, new AbortController().signal);
    await expect(called).rejects.toMatchObject({ code: 'SERVICE_UNAVAILABLE' });
  });

  it('I07 says that a credential is missing', async () => {
    expect((await refusal('new_name', termsOf('x', null))).code).toBe('CREDENTIAL_MISSING');
    expect(site.requests).toHaveLength(0);
  });
});
