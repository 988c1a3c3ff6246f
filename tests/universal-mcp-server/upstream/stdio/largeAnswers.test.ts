/** Answers that are too large to be read for nothing: they pass as bytes, and nothing else does. */
import { afterEach, describe, expect, it } from '@jest/globals';
import * as fc from 'fast-check';
import { isPlainSuccess } from '../../../../backend/src/mcp-servers/universal-mcp-server/upstream/stdio/plainSuccess.js';
import { aHostileService } from '../../../support/aStdioService.js';
import {
  aListener,
  anUpstream,
  call,
  closeUpstreams,
  never,
  termsOf,
  textOf,
} from '../../../support/aStdioUpstream.js';
import { callAuditOf } from '../../../support/callAudit.js';
import { waitUntil } from '../../../support/eventually.js';
import { initialize, send } from '../../../support/mcpHttp.js';
import { openUniversalServer } from '../../../support/universalServer.js';

afterEach(closeUpstreams);

const words = fc.constantFrom(
  'isError',
  'error',
  'result',
  'method',
  'id',
  'jsonrpc',
  'content',
  '"isError":true',
  '\r',
  'é\u2028',
);
const anything = fc.jsonValue().filter((value) => value !== null);
const message = fc
  .uniqueArray(fc.tuple(words, fc.oneof(anything, words, fc.boolean())), { selector: ([name]) => name })
  .map((members) => Object.fromEntries(members));

describe('a large answer', () => {
  it('U07 is taken for a plain success only when, read, it is one', () => {
    const outer = fc.constantFrom(
      (result: unknown) => ({ jsonrpc: '2.0', id: 7, result }),
      (result: unknown) => ({ result, jsonrpc: '2.0', id: 7 }),
      (result: unknown) => ({ jsonrpc: '2.0', id: 7, error: result }),
      (result: unknown) => ({ jsonrpc: '2.0', id: 7, method: 'sampling/createMessage', params: { result } }),
    );
    let plain = 0;
    fc.assert(
      fc.property(outer, message, (wrap, result) => {
        const line = Buffer.from(JSON.stringify(wrap(result)));
        if (!isPlainSuccess(line)) return;
        plain += 1;
        const read = JSON.parse(line.toString('utf8')) as Record<string, unknown>;
        expect([read['method'], read['error']]).toEqual([undefined, undefined]);
        expect((read['result'] as Record<string, unknown>)['isError']).toBeUndefined();
        expect(line.includes(0x0d)).toBe(false);
      }),
      { numRuns: 2_000 },
    );
    expect(plain).toBeGreaterThan(100);
    expect(
      isPlainSuccess(Buffer.from([...Buffer.from('{"result":{"a":"'), 0xff, ...Buffer.from('"}}')])),
    ).toBe(false);
  });

  it('U07 comes as bytes under the caller’s own id to who takes them, read to who does not', async () => {
    const { upstream } = anUpstream();
    const connection = await upstream.connect(termsOf(), never);
    const read = await call(connection, 'big', { bytes: 100_000 });
    expect('bytes' in read).toBe(false);
    const listener = { ...aListener(), takesBytes: true };
    const passed = await call(connection, 'big', { bytes: 100_000 }, { listener });
    if (!('bytes' in passed) || passed.bytes === undefined) throw new Error('it was read');
    expect(JSON.parse(passed.bytes.toString('utf8'))).toEqual({ ...read, id: passed.id });
    expect('bytes' in (await call(connection, 'big', { bytes: 100 }, { listener }))).toBe(false);
    expect(textOf(await call(connection, 'bigFailure', { bytes: 100_000 }, { listener }))).toHaveLength(
      100_000,
    );
  });

  it('U07 reaches clients whole as JSON and in a stream, and is audited for what it is', async () => {
    await using server = await openUniversalServer({ definition: aHostileService() });
    const made = await server.aUrl();
    const session = await initialize(made.url);
    const asked = (id: string | number, name: string, meta = {}) => ({
      headers: session.headers,
      body: {
        jsonrpc: '2.0',
        id,
        method: 'tools/call',
        params: { name, arguments: { bytes: 200_000 }, _meta: meta },
      },
    });
    for (const id of [5, 'five "quoted"']) {
      const { json, headers } = await send(made.url, asked(id, 'big'));
      expect(json.id).toBe(id);
      expect(json.result.content[0].text).toHaveLength(200_000);
      expect(headers['content-type']).toBe('application/json');
    }
    const streamed = await send(made.url, asked(6, 'bigWithProgress', { progressToken: 'p' }));
    expect(streamed.events).toHaveLength(2);
    expect(streamed.json.id).toBe(6);
    expect(streamed.json.result.content[0].text).toHaveLength(200_000);
    expect((await send(made.url, asked(7, 'bigFailure'))).json.result.isError).toBe(true);
    await waitUntil('the outcomes are in the database', async () => {
      const rows = await callAuditOf(server, made.id);
      const outcomes = rows.map(({ outcome }) => outcome);
      return (
        outcomes.filter((one) => one === 'tool_error').length === 1 &&
        outcomes.filter((one) => one === 'ok').length >= 4
      );
    });
  });
});
