/**
 * What every listener of a fleet does with requests that are no good, one table for all four: the main API, the front (with
 * the others behind it), a universal server, the health monitor (spec 05 "Guard in front of every listener").
 */
import { afterAll, beforeAll, describe, expect, it } from '@jest/globals';
import { createRoutes } from '../../backend/src/main-api/routes.js';
import { exchange, openListeners, type Listener, type Listeners } from '../support/listeners.js';

let fleet: Listeners;

const host = 'Host: 127.0.0.1\r\n';
const canary = 'canary-9f2c';
const kinds = ['main API', 'front', 'universal server', 'health monitor'] as const;
const get = (kind: Listener['name']): Listener => fleet.all.find(({ name }) => name === kind)!;
const refused = /^(?:4\d\d|0)$/;

const expectSilence = (text: string): void => {
  expect(text).not.toMatch(/canary|node_modules|\.[jt]s\b|HPE_|Error|\bat \S+ \(/);
};

/** Every path that a listener has, with something in the place of each parameter. */
function pathsOf({ name }: Listener): string[] {
  const operations = ['/livez', '/readyz', '/health', '/metrics', '/nowhere'];
  const ofApi = createRoutes(fleet.api.ctx).routes.map(({ path }) =>
    path.replaceAll(/:\w+/g, '00000000-0000-4000-8000-000000000000'),
  );
  const { instancePath } = fleet;
  const ofService = [
    instancePath,
    `${instancePath}/mcp`,
    `${instancePath}/sse`,
    `${instancePath}/message?sessionId=x`,
    `${instancePath}/list_notes`,
    '/internal/probe',
    '/internal/instances/x',
  ];
  const ofPages = [
    '/',
    '/console',
    '/console.js',
    '/api/v1/docs/swagger-ui.css',
    '/api/v1/docs/reference.js',
  ];
  switch (name) {
    case 'main API':
      return [...operations, ...ofApi, ...ofPages];
    case 'universal server':
      return [...operations, ...ofService];
    case 'front':
      return [...operations, ...ofApi, ...ofPages, ...ofService];
    case 'health monitor':
      return operations;
  }
}

/** Whatever came before, it still serves, and what it said told nothing of what it was told or how it is made. */
const stillServes = async (): Promise<void> => {
  for (const { name, port, open } of fleet.all) {
    const answer = await exchange(port, `GET ${open} HTTP/1.1\r\n${host}Connection: close\r\n\r\n`);
    expect([name, answer.status]).toEqual([name, 200]);
  }
};

describe('every listener', () => {
  beforeAll(async () => {
    fleet = await openListeners();
  });
  afterAll(async () => {
    await fleet[Symbol.asyncDispose]();
  });

  describe.each(kinds)('%s', (kind) => {
    afterAll(stillServes);
    const send = (bytes: string | Buffer) => exchange(get(kind).port, bytes);
    const statusOf = async (method: string, path: string, headers: string): Promise<number> =>
      (await send(`${method} ${path} HTTP/1.1\r\n${headers}Content-Length: 0\r\nConnection: close\r\n\r\n`))
        .status;

    /** What all paths answer to all methods. */
    const statusesOf = async (paths: readonly string[], headers: string): Promise<Set<number>> => {
      const all: number[] = [];
      for (const method of ['GET', 'POST', 'OPTIONS', 'DELETE']) {
        all.push(...(await Promise.all(paths.map((path) => statusOf(method, path, headers)))));
      }
      return new Set(all);
    };

    it('C02 answers 421 to a foreign Host, on every path and by every method', async () => {
      const paths = new Set(pathsOf(get(kind)));
      expect(paths.size).toBeGreaterThan(4);
      expect(await statusesOf([...paths], 'Host: evil.example\r\n')).toEqual(new Set([421]));
      for (const name of [
        '127.0.0.1.evil.example',
        'evil@127.0.0.1',
        '127.0.0.1:80:80',
        '127.0.0.1 ',
        '',
        '[::1',
      ]) {
        const status = await statusOf('GET', '/livez', `Host: ${name}\r\n`);
        // A blank at the end is no part of the value.
        expect([name, status]).toEqual([name, name === '127.0.0.1 ' ? 200 : 421]);
      }
    });

    it('C01 answers 403 to a foreign Origin, on every path and by every method', async () => {
      const paths = [...new Set(pathsOf(get(kind)))];
      expect(await statusesOf(paths, `${host}Origin: https://evil.example\r\n`)).toEqual(new Set([403]));
      for (const origin of [
        'null',
        'http://127.0.0.1:1',
        'https://localhost',
        'http://localhost, http://evil',
      ]) {
        expect([origin, await statusOf('GET', '/livez', `${host}Origin: ${origin}\r\n`)]).toEqual([
          origin,
          403,
        ]);
      }
      const twice = `${host}Origin: http://localhost\r\nOrigin: https://evil.example\r\n`;
      expect(await statusOf('GET', '/livez', twice)).toBe(403);
    });

    it('refuses a head over 16 KiB with 431', async () => {
      for (const head of [
        `GET /livez HTTP/1.1\r\n${host}X-A: ${canary.repeat(2_000)}\r\n\r\n`,
        `GET /${canary.repeat(2_000)} HTTP/1.1\r\n${host}\r\n`,
        `GET /livez HTTP/1.1\r\n${host}${`X-A: ${canary}\r\n`.repeat(2_000)}\r\n`,
      ]) {
        const answer = await send(head);
        expect(answer).toMatchObject({ status: 431, answers: 1, isClosed: true });
        expectSilence(answer.text);
      }
    });

    it.each([
      ['two lengths that differ', 'Content-Length: 4\r\nContent-Length: 5\r\n\r\nabcde'],
      ['two lengths that agree', 'Content-Length: 4\r\nContent-Length: 4\r\n\r\nabcd'],
      ['a list of lengths', 'Content-Length: 4, 4\r\n\r\nabcd'],
      ['a length with a sign', 'Content-Length: +4\r\n\r\nabcd'],
      ['a length in hex', 'Content-Length: 0x4\r\n\r\nabcd'],
      [
        'a length and chunks',
        'Content-Length: 4\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\nGET /livez HTTP/1.1\r\n\r\n',
      ],
      ['chunks, then something else', 'Transfer-Encoding: chunked, identity\r\n\r\n0\r\n\r\n'],
      ['two encodings', 'Transfer-Encoding: chunked\r\nTransfer-Encoding: identity\r\n\r\n0\r\n\r\n'],
      ['an encoding that nobody knows', 'Transfer-Encoding: xchunked\r\n\r\n0\r\n\r\n'],
      ['a blank before the colon', 'Transfer-Encoding : chunked\r\n\r\n0\r\n\r\n'],
      ['a control character in the encoding', 'Transfer-Encoding: \u000bchunked\r\n\r\n0\r\n\r\n'],
      ['a folded header', `X-A: b\r\n ${canary}\r\n\r\n`],
      ['a bare LF in the head', `X-A: b\nX-B: ${canary}\r\n\r\n`],
      ['a bare CR in the head', `X-A: b\rX-B: ${canary}\r\n\r\n`],
      ['a NUL in a header', `X-A: ${canary}\0\r\n\r\n`],
      ['a line without a colon', `${canary}\r\n\r\n`],
      ['two Hosts', `Host: ${canary}\r\n\r\n`],
      ['a chunk without a length', 'Transfer-Encoding: chunked\r\n\r\nZZ\r\n{}\r\n0\r\n\r\n'],
      ['a chunk that ends with a bare LF', 'Transfer-Encoding: chunked\r\n\r\n2\n{}\r\n0\r\n\r\n'],
      [
        'a chunk with more to say than to carry',
        `Transfer-Encoding: chunked\r\n\r\n2;${canary.repeat(2_000)}\r\n{}\r\n0\r\n\r\n`,
      ],
    ])('refuses %s, once, and hears nothing more on that connection', async (_what, rest) => {
      const { post, open } = get(kind);
      const begin = `POST ${post ?? open} HTTP/1.1\r\n${host}Content-Type: application/json\r\n`;
      // What a smuggler wants to have heard follows.
      const answer = await send(`${begin}${rest}GET /livez HTTP/1.1\r\n${host}\r\n`);
      expect(answer).toMatchObject({ answers: 1, isClosed: true });
      expect(String(answer.status)).toMatch(refused);
      expectSilence(answer.text);
    });

    it.each([
      ['a head that ends with bare LFs', 'GET /livez HTTP/1.1\nHost: 127.0.0.1\n\n'],
      ['no Host', 'GET /livez HTTP/1.1\r\n\r\n'],
      ['HTTP/1.0 without a Host', 'GET /livez HTTP/1.0\r\n\r\n'],
      ['a NUL in the path', `GET /livez\0 HTTP/1.1\r\n${host}\r\n`],
      ['a method that nobody knows', `FROB /livez HTTP/1.1\r\n${host}\r\n`],
      ['a lower-case method', `get /livez HTTP/1.1\r\n${host}\r\n`],
      ['TRACE', `TRACE /livez HTTP/1.1\r\n${host}X-Secret: ${canary}\r\n\r\n`],
      ['a method of WebDAV', `PROPFIND /livez HTTP/1.1\r\n${host}\r\n`],
      ['CONNECT', `CONNECT evil.example:443 HTTP/1.1\r\n${host}\r\n`],
      ['the asterisk', `OPTIONS * HTTP/1.1\r\n${host}\r\n`],
      ['HTTP/2 without TLS', 'PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n'],
      ['TLS', Buffer.from('160301020001000100fc0303', 'hex')],
      ['another HTTP', `GET /livez HTTP/3.0\r\n${host}\r\n`],
      ['another host in the target', `GET http://evil.example/livez HTTP/1.1\r\n${host}\r\n`],
      [
        'a name before the host in the target',
        `GET http://127.0.0.1@evil.example/livez HTTP/1.1\r\n${host}\r\n`,
      ],
      ['a target of another scheme', `GET file:///etc/passwd HTTP/1.1\r\n${host}\r\n`],
      [
        'an expectation that nobody meets',
        `POST /x HTTP/1.1\r\n${host}Expect: ${canary}\r\nContent-Length: 0\r\n\r\n`,
      ],
    ])('refuses %s', async (_what, bytes) => {
      const answer = await send(bytes);
      expect(String(answer.status)).toMatch(refused);
      expect(answer.answers).toBeLessThanOrEqual(1);
      expectSilence(answer.text);
    });

    it('serves its own name in a target of absolute form, whatever Host says besides', async () => {
      const own = await send(`GET http://127.0.0.1/livez HTTP/1.1\r\nHost: evil.example\r\n\r\n`);
      expect(own.status).toBe(200);
    });

    it.each([
      '/../../../../etc/passwd',
      '/..%2f..%2f..%2fetc%2fpasswd',
      '/api/v1/docs/..%2f..%2f..%2fpackage.json',
      '/api/v1/docs/../../../package.json',
      '/console.js/../../package.json',
      '/%2e%2e/%2e%2e/package.json',
      '/.git/config',
      '/livez%00',
      '/%00',
      '/livez%0d%0aX-Injected:%20canary',
      '//evil.example/livez',
      '/\\evil.example',
      '/api/v1/%zz',
      '/api/v1/users/%ff',
      '/api/v1/services/__proto__/instance',
      '/constructor/prototype',
    ])('finds nothing at %s', async (path) => {
      const answer = await send(`GET ${path} HTTP/1.1\r\n${host}Connection: close\r\n\r\n`);
      expect(String(answer.status)).toMatch(/^40[0-5]$/);
      expect(answer.text).not.toMatch(/root:|"scripts"|x-injected/i);
      expectSilence(answer.text);
    });

    it('upgrades nothing', async () => {
      for (const [protocol, more] of [
        ['websocket', 'Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n'],
        ['h2c', 'HTTP2-Settings: AAMAAABkAARAAAAAAAIAAAAA\r\n'],
      ]) {
        for (const path of ['/livez', '/api/v1/events', fleet.instancePath]) {
          const answer = await send(
            `GET ${path} HTTP/1.1\r\n${host}Connection: Upgrade, close\r\nUpgrade: ${protocol}\r\n${more}\r\n`,
          );
          expect([path, answer.status === 101]).toEqual([path, false]);
        }
      }
    });

    it('is only asked where it answers for itself', async () => {
      for (const method of ['POST', 'PUT', 'DELETE', 'PATCH']) {
        for (const path of ['/livez', '/readyz', '/health']) {
          const status = await statusOf(method, path, host);
          expect([method, path, status]).toEqual([method, path, 405]);
        }
      }
    });
  });

  describe.each(['main API', 'front', 'universal server'] as const)('%s, with a body', (kind) => {
    afterAll(stillServes);
    const send = (headers: string, body: string) => {
      const { port, post } = get(kind);
      return exchange(
        port,
        `POST ${post} HTTP/1.1\r\n${host}Content-Type: application/json\r\n${headers}\r\n${body}`,
        500,
      );
    };
    const mib = 1024 * 1024;

    it('refuses one over its size with 413, before it has come', async () => {
      const answer = await send(`Content-Length: ${5 * mib}\r\n`, '{"a":"');
      expect(answer).toMatchObject({ status: 413, answers: 1 });
    });

    it('refuses one over its size that does not say so', async () => {
      const chunk = `${(mib / 2).toString(16)}\r\n${'x'.repeat(mib / 2)}\r\n`;
      const answer = await send('Transfer-Encoding: chunked\r\n', `3\r\n{"a\r\n${chunk.repeat(9)}0\r\n\r\n`);
      expect(answer).toMatchObject({ status: 413, answers: 1 });
    });

    it.each([
      ['nested 65 deep', `${'['.repeat(65)}${']'.repeat(65)}`, 400],
      [
        'nested 200,000 deep',
        `${'{"a":'.repeat(200_000)}1${'}'.repeat(200_000)}`,
        kind === 'main API' ? 413 : 400,
      ],
      ['cut off', `{"${canary}": `, 400],
      ['no JSON', canary, 400],
      ['of a prototype', `{"__proto__":{"isAdmin":true},"constructor":{"prototype":{"${canary}":1}}}`, 400],
      ['that is nothing', 'null', 400],
      ['that is a number beyond all numbers', '1e999', 400],
    ])('refuses a body %s', async (_what, body, status) => {
      const answer = await send(`Content-Length: ${Buffer.byteLength(body)}\r\nConnection: close\r\n`, body);
      expect(answer).toMatchObject({ status, answers: 1 });
      expectSilence(answer.text);
      expect(({} as Record<string, unknown>)['isAdmin']).toBeUndefined();
    });

    it('takes no other type and no compression', async () => {
      for (const headers of ['Content-Encoding: gzip\r\n', 'Content-Type: text/plain\r\n']) {
        const { port, post } = get(kind);
        const type = headers.startsWith('Content-Type') ? '' : 'Content-Type: application/json\r\n';
        const answer = await exchange(
          port,
          `POST ${post} HTTP/1.1\r\n${host}${type}${headers}Content-Length: 2\r\nConnection: close\r\n\r\n{}`,
        );
        expect([headers, answer.status]).toEqual([headers, 415]);
      }
    });
  });
});
