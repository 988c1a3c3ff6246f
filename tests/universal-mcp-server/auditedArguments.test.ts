import { afterAll, beforeAll, describe, expect, it } from '@jest/globals';
import { withUser } from '../../backend/src/database/withUser.js';
import { anApiService, aTool } from '../support/anApiService.js';
import { waitUntil } from '../support/eventually.js';
import { modern, send } from '../support/mcpHttp.js';
import { json, startRecordingUpstream, type RecordingUpstream } from '../support/recordingUpstream.js';
import { openUniversalServer } from '../support/universalServer.js';

describe('what the audit keeps of arguments', () => {
  let upstream: RecordingUpstream;
  beforeAll(async () => {
    upstream = await startRecordingUpstream();
    upstream.on('/thing?word=canary', json(200, {}));
  });
  afterAll(async () => {
    await upstream[Symbol.asyncDispose]();
  });

  it.each([
    ['none', false],
    ['digest', true],
    // Not in this release: the safe side.
    ['keys', true],
    ['redacted', true],
    ['full', true],
  ])(
    'audit.arguments %s: a digest and a size: %s, the arguments never, over MCP and REST',
    async (kept, isKept) => {
      const word = { word: { type: 'string' } };
      const tool = aTool(
        'get_thing',
        { method: 'GET', path: '/thing', query: { word: '{word}' } },
        { inputSchema: { type: 'object', properties: word } },
      );
      const definition = anApiService(
        { baseUrl: upstream.origin, tools: [tool] },
        { audit: { arguments: kept } },
      );
      await using server = await openUniversalServer({ definition });
      const { url, id, owner } = await server.aUrl({ fields: { token: 'k' } });
      const call = modern('tools/call', { name: 'get_thing', arguments: { word: 'canary' } });
      expect((await send(url, call)).status).toBe(200);
      expect((await send(`${url}/get-thing?word=canary`, { method: 'GET' })).status).toBe(200);
      const intents = () =>
        withUser(server.site.api, { userId: owner, scope: 'admin' }, (client) =>
          client.query<{ size: number | null; digest: Buffer | null; row: string }>(
            `select arguments_bytes as size, arguments_digest as digest, audit_calls::text as row
             from audit_calls where instance_id = $1 and phase = 'intent'`,
            [id],
          ),
        ).then(({ rows }) => rows);
      await waitUntil('both calls are written down', async () => (await intents()).length === 2);
      for (const { size, digest, row } of await intents()) {
        expect([size !== null, digest !== null]).toEqual([isKept, isKept]);
        expect(row).not.toContain('canary');
      }
    },
  );
});
