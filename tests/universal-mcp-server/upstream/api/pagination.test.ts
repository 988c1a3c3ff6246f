import { afterAll, beforeAll, beforeEach, describe, expect, it } from '@jest/globals';
import { anApiService, aTool, callTool, openApi, termsOf } from '../../../support/anApiService.js';
import { json, startRecordingUpstream, type RecordingUpstream } from '../../../support/recordingUpstream.js';

const link = (to: string) => ({ link: `<${to}>; rel="last", <${to}>; rel="next"` });

function aService(origin: string, api: Readonly<Record<string, unknown>>) {
  return anApiService({
    baseUrl: origin,
    tools: [
      aTool(
        'pages',
        { method: 'GET', path: '/pages', query: { cursor: '{cursor}', page: '{page}' } },
        {
          inputSchema: {
            type: 'object',
            properties: { cursor: { type: 'string' }, page: { type: 'integer' } },
          },
          response: { pick: '/items' },
        },
      ),
    ],
    ...api,
  });
}

describe('lists in pages', () => {
  let site: RecordingUpstream;
  const alice = termsOf('alice');
  beforeAll(async () => {
    site = await startRecordingUpstream();
  });
  afterAll(async () => {
    await site[Symbol.asyncDispose]();
  });
  beforeEach(() => site.clear());

  it('follows a cursor as far as allowed, and says that there is more', async () => {
    await using pages = await openApi(
      aService(site.origin, {
        pagination: { style: 'cursor', cursorParam: 'cursor', cursorPath: '/next', maxPages: 2 },
      }),
    );
    site.on('/pages', json(200, { items: [1, 2], next: 'a b' }), json(200, { items: [3], next: 'c' }));
    const { content } = await callTool(pages.upstream, alice, 'pages', { cursor: 'start' });
    expect(content.map(({ text }) => text)).toEqual([
      '[1,2,3]',
      'There is more: ask for the pages after these.',
    ]);
    expect(site.requests.map(({ target }) => target)).toEqual(['/pages?cursor=start', '/pages?cursor=a%20b']);
  });

  it('counts pages until one is empty', async () => {
    await using pages = await openApi(aService(site.origin, { pagination: { style: 'page', maxPages: 5 } }));
    site.on('/pages', json(200, { items: [1] }), json(200, { items: [2] }), json(200, { items: [] }));
    expect((await callTool(pages.upstream, alice, 'pages')).content).toEqual([
      { type: 'text', text: '[1,2]' },
    ]);
    expect(site.requests.map(({ target }) => target)).toEqual(['/pages', '/pages?page=2', '/pages?page=3']);
  });

  it('E04 follows a Link header only to the same place', async () => {
    await using other = await startRecordingUpstream();
    await using pages = await openApi(
      aService(site.origin, { pagination: { style: 'link-header', maxPages: 5 } }),
    );
    site.on(
      '/pages',
      json(200, { items: [1] }, link(`${site.origin}/pages?after=1`)),
      json(200, { items: [2] }, link(`${other.origin}/pages`)),
    );
    expect((await callTool(pages.upstream, alice, 'pages')).content[0]?.text).toBe('[1,2]');
    expect(site.requests.map(({ target }) => target)).toEqual(['/pages', '/pages?after=1']);
    expect(other.requests).toHaveLength(0);
  });
});
