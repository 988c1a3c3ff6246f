import { afterAll, beforeAll, beforeEach, describe, expect, it } from '@jest/globals';
import { ask, callTool, openApi, termsOf, type OpenedApi } from '../../../support/anApiService.js';
import {
  json,
  reply,
  startRecordingUpstream,
  type RecordingUpstream,
} from '../../../support/recordingUpstream.js';
import { aNotesService } from './notesService.js';

describe('answers of an api service', () => {
  let site: RecordingUpstream;
  let opened: OpenedApi;
  const alice = termsOf('alice');

  beforeAll(async () => {
    site = await startRecordingUpstream();
    opened = await openApi(aNotesService(site.origin));
  });
  afterAll(async () => {
    await opened[Symbol.asyncDispose]();
    await site[Symbol.asyncDispose]();
  });
  beforeEach(() => site.clear());

  describe('what comes back', () => {
    it('U01 picks, and takes ok: false in a 200 for the error it is', async () => {
      site.on(
        '/base/picked',
        json(200, { ok: true, data: [{ 'a/b': { deep: 1 } }] }),
        json(200, { ok: false, why: 'channel_not_found' }),
      );
      expect((await callTool(opened.upstream, alice, 'picked')).content).toEqual([
        { type: 'text', text: '{"deep":1}' },
      ]);
      const failed = await callTool(opened.upstream, alice, 'picked');
      expect(failed.isError).toBe(true);
      expect(failed.content[0]?.text).toContain('channel_not_found');
    });

    it('U01 gives text and images their form', async () => {
      site.on('/base/text', reply(200, 'é'.repeat(2_000), { 'content-type': 'text/markdown' }));
      site.on('/base/image', reply(200, Buffer.from([1, 2, 3]), { 'content-type': 'image/png' }));
      const text = await callTool(opened.upstream, alice, 'text');
      expect(text.content[0]?.text.length).toBeLessThanOrEqual(1_024);
      expect(text.content[1]?.text).toContain('4000 bytes');
      expect((await callTool(opened.upstream, alice, 'image')).content).toEqual([
        { type: 'image', data: 'AQID', mimeType: 'image/png' },
      ]);
    });

    it('U01 gives structured content of the declared form, and refuses another', async () => {
      site.on('/base/formed', json(200, { total: 3 }), json(200, { total: 'three' }));
      expect(await callTool(opened.upstream, alice, 'formed')).toMatchObject({
        structuredContent: { total: 3 },
      });
      expect(await callTool(opened.upstream, alice, 'formed')).toMatchObject({ isError: true });
    });

    it('R08 says that an answer is too large instead of cutting JSON', async () => {
      site.on('/base/small', json(200, { text: 'x'.repeat(2_000) }));
      const result = await callTool(opened.upstream, alice, 'small');
      expect(result.isError).toBe(true);
      expect(result.content[0]?.text).toContain('1024');
    });

    it('D08 lets no header of the service through', async () => {
      site.on(
        '/base/all',
        json(
          200,
          { fine: true },
          {
            'set-cookie': 'canary=1',
            'www-authenticate': 'canary',
            location: 'https://canary.example',
            link: '<canary>',
          },
        ),
      );
      const response = await ask(opened.upstream, alice, 'tools/call', { name: 'put_all', arguments: {} });
      expect(JSON.stringify(response)).not.toContain('canary');
      expect(response).toMatchObject({ result: { content: [{ text: '{"fine":true}' }] } });
    });

    it.each([
      [400, { message: 'name is too long' }, 'refused the request with status 400: name is too long.'],
      [404, { error: { message: 'No such note.' } }, 'refused the request with status 404: No such note.'],
      [500, { detail: 'oops' }, 'failed with status 500: oops. Try again later.'],
      [302, {}, 'redirects, which is not followed'],
      [403, { error: 'scope' }, 'does not allow this'],
    ])('U01 turns status %i into words that a model can act on', async (status, body, words) => {
      site.on('/base/all', json(status, body, status === 302 ? { location: 'http://127.0.0.1/x' } : {}));
      const result = await callTool(opened.upstream, alice, 'put_all');
      expect(result.isError).toBe(true);
      expect(result.content[0]?.text).toContain(words);
    });

    it('R07 calls an answer that is no JSON what it is', async () => {
      site.on('/base/picked', reply(200, '<html>', { 'content-type': 'text/html' }));
      expect((await callTool(opened.upstream, alice, 'picked')).content[0]?.text).toContain('no JSON');
    });

    it('U01 says that it is done when there is no content', async () => {
      site.on('/base/all', (response) => void response.writeHead(204).end());
      expect((await callTool(opened.upstream, alice, 'put_all')).content[0]?.text).toBe(
        'Done (status 204, no content).',
      );
    });
  });
});
