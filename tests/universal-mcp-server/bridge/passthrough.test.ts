import { createHash } from 'node:crypto';
import { describe, expect, it } from '@jest/globals';
import { openPassedSite } from '../../support/aPassedSite.js';
import type { LegacyHttpServerWish } from '../../support/legacyHttpServer.js';
import { clientKinds, connectClient } from '../../support/mcpClients.js';
import { initialize, send, textOf } from '../../support/mcpHttp.js';

/** Large texts in a failure's message help nobody. */
const digest = (text: string) => `${text.length} ${createHash('sha256').update(text).digest('hex')}`;

const forms: readonly [string, LegacyHttpServerWish][] = [
  ['JSON, with sessions', { isJson: true }],
  ['JSON, without sessions', { isJson: true, hasSessions: false }],
  ['events, with sessions', {}],
  ['events, without sessions', { hasSessions: false }],
  ['resumable events', { isResumable: true }],
];

describe('an upstream over Streamable HTTP of the legacy era', () => {
  it.each(forms)('U04 U06 serves clients of every SDK their own lists and calls: %s', async (_name, wish) => {
    await using site = await openPassedSite(wish);
    for (const kind of clientKinds.filter((one) => !one.includes('modern'))) {
      await using client = await connectClient(kind, site.url);
      expect(await client.toolNames()).toContain('echo');
      expect(await client.callTool('echo', { text: 'ünï' })).toBe('ünï');
      expect(await client.callTool('caller')).toBe('Bearer token-of-alice');
      await expect(client.callTool('fail')).rejects.toThrow('it failed');
    }
  });

  it.each(forms)(
    'U04 passes requests and answers byte for byte, small and large: %s',
    async (_name, wish) => {
      await using site = await openPassedSite(wish);
      const client = await initialize(site.url);
      for (const bytes of [10, 70_000, 900_000]) {
        const body = `{ "jsonrpc":"2.0" ,"id":"odd \\u00e9 é","method":"tools/call","params":{"arguments":{"bytes":${bytes}},"name":"big"}}`;
        const answer = await send(site.url, { headers: client.headers, body });
        const passed = site.upstream.of('tools/call').at(-1);
        expect(passed?.text).toBe(body);
        expect(digest(answer.text)).toBe(digest(passed?.answer() ?? ''));
        expect(textOf(answer).length).toBeGreaterThanOrEqual(bytes);
      }
    },
  );
});
