import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, it } from '@jest/globals';
import { aStdioService, stdioServersDir } from '../../support/aStdioService.js';
import { modern, send, textOf } from '../../support/mcpHttp.js';
import { openUniversalServer, type UniversalServer } from '../../support/universalServer.js';

const given = { region: 'süd', place: { floor: 42 } };
const encoded = `=?base64?${Buffer.from(given.region).toString('base64')}?=`;

describe('headers that repeat a tool’s arguments, before a server that takes none', () => {
  let server: UniversalServer;
  let url: string;

  beforeAll(async () => {
    server = await openUniversalServer({
      definition: aStdioService('everything', {
        command: process.execPath,
        args: [join(stdioServersDir, 'askingServer.mjs')],
        package: null,
      }),
    });
    ({ url } = await server.aUrl());
    await send(url, modern('tools/list'));
  });
  afterAll(async () => {
    await server[Symbol.asyncDispose]();
  });

  const call = (headers: Readonly<Record<string, string>>, args: object = given) =>
    send(url, modern('tools/call', { name: 'located', arguments: args }, { headers }));

  it.each<[string, Record<string, string>, object]>([
    ['they say the same', { 'mcp-param-region': encoded, 'Mcp-Param-Floor': '42' }, given],
    ['a number is written otherwise', { 'mcp-param-region': encoded, 'mcp-param-floor': '42.0' }, given],
    ['there is nothing to repeat', { 'mcp-param-region': 'ignored' }, { place: {} }],
    ['the argument is of another kind', {}, { region: { not: 'text' }, place: [] }],
    ['another header is there', { 'mcp-param-other': 'x' }, {}],
  ])('U07 D01 the call passes when %s', async (_what, headers, args) => {
    expect(JSON.parse(textOf(await call(headers, args)))).toEqual(args);
  });

  it.each<[string, Record<string, string>]>([
    ['one is missing', { 'mcp-param-region': encoded }],
    ['one says something else', { 'mcp-param-region': 'nord', 'mcp-param-floor': '42' }],
    ['one says another number', { 'mcp-param-region': encoded, 'mcp-param-floor': '43' }],
    ['one is no number', { 'mcp-param-region': encoded, 'mcp-param-floor': '0x2a' }],
    ['one is badly encoded', { 'mcp-param-region': '=?base64?!?=', 'mcp-param-floor': '42' }],
  ])('U07 D01 the call is refused when %s', async (_what, headers) => {
    const answer = await call(headers);
    expect([answer.status, answer.json.error.code]).toEqual([400, -32020]);
  });

  it('U07 D01 what a list said is known again after a restart', async () => {
    await server.restart();
    expect((await call({})).json.error.code).toBe(-32020);
  });
});
