/** What a browser on a foreign page can and cannot do with the main API. */
import { afterAll, beforeAll, describe, expect, it } from '@jest/globals';
import { goodPassword, openMainApi, sendRaw, type OpenedMainApi } from '../support/mainApi.js';

describe('the guard in front of the main API', () => {
  let api: OpenedMainApi;
  beforeAll(async () => {
    api = await openMainApi({ env: { ALLOWED_ORIGINS: 'https://console.example.com' } });
  });
  afterAll(async () => {
    await api[Symbol.asyncDispose]();
  });
  const login = { email: 'nobody@example.com', password: goodPassword };

  it('C01 refuses a foreign Origin, serves none and a listed one', async () => {
    for (const origin of [
      'https://evil.example',
      'null',
      'http://localhost:8081',
      'https://console.example.com.evil.example',
    ]) {
      const refused = await api.post('/api/v1/auth/login', login, { origin });
      expect({ status: refused.status, code: refused.body.code }).toEqual({
        status: 403,
        code: 'ORIGIN_NOT_ALLOWED',
      });
    }
    expect((await api.post('/api/v1/auth/login', login)).status).toBe(401);
    for (const origin of ['http://localhost:8080', 'https://console.example.com']) {
      expect((await api.post('/api/v1/auth/login', login, { origin })).status).toBe(401);
    }
  });

  it('C02 refuses a foreign Host on every path, before anything else', async () => {
    for (const path of [
      '/',
      '/health',
      '/metrics',
      '/api/v1/openapi.json',
      '/api/v1/auth/login',
      '/nowhere',
    ]) {
      for (const host of [
        'evil.example',
        'localhost.evil.example',
        '127.0.0.1.evil.example:80',
        'localhost@evil',
      ]) {
        const refused = await sendRaw(api.url + path, { headers: { host } });
        expect({ path, status: refused.status }).toEqual({ path, status: 421 });
        expect(refused.body.code).toBe('HOST_NOT_ALLOWED');
      }
    }
    expect((await sendRaw(`${api.url}/livez`, { headers: { host: 'LOCALHOST:8080' } })).status).toBe(200);
  });

  it('C03 gives a preflight from a foreign page no permission', async () => {
    const preflight = await sendRaw(`${api.url}/api/v1/users`, {
      method: 'OPTIONS',
      headers: {
        origin: 'https://evil.example',
        'access-control-request-method': 'POST',
        'access-control-request-headers': 'content-type, authorization',
      },
    });
    expect(preflight.status).toBe(403);
    expect([...preflight.headers.keys()].filter((name) => name.startsWith('access-control-'))).toEqual([]);
    const own = await sendRaw(`${api.url}/api/v1/users`, { method: 'OPTIONS' });
    expect({ status: own.status, allow: own.headers.get('allow') }).toEqual({
      status: 204,
      allow: 'POST, GET, HEAD',
    });
  });

  it('C04 takes no form, no text and no compressed or foreign JSON for a command', async () => {
    const body = JSON.stringify(login);
    for (const type of [
      'text/plain',
      'application/x-www-form-urlencoded',
      'multipart/form-data; boundary=x',
      'application/json-patch+json',
      'text/json',
      'application/json, text/plain',
      '',
    ]) {
      const answer = await sendRaw(`${api.url}/api/v1/auth/login`, {
        method: 'POST',
        headers: { 'content-type': type, 'content-length': String(body.length) },
        body,
      });
      expect({ type, status: answer.status, code: answer.body.code }).toEqual({
        type,
        status: 415,
        code: 'UNSUPPORTED_MEDIA_TYPE',
      });
    }
    const compressed = await api.post('/api/v1/auth/login', body, { 'content-encoding': 'gzip' });
    expect(compressed.status).toBe(415);
    const served = await api.post('/api/v1/auth/login', body, {
      'content-type': 'Application/JSON; charset=UTF-8',
    });
    expect(served.status).toBe(401);
  });

  it('C08 forbids to frame the console and the reference, and lets them run their own scripts only', async () => {
    for (const path of ['/', '/api/v1/docs', '/console/connect/notes']) {
      const page = await api.get(path);
      expect({ path, status: page.status }).toEqual({ path, status: 200 });
      expect(page.headers.get('x-frame-options')).toBe('DENY');
      const policy = page.headers.get('content-security-policy') ?? '';
      expect(policy).toContain("frame-ancestors 'none'");
      expect(policy).toContain("default-src 'none'");
      expect(policy).toMatch(/script-src 'self'(;|$)/);
      expect(policy).not.toMatch(/unsafe|\*|https?:/);
      expect(page.body).not.toMatch(/<script(?![^>]*\bsrc=)/);
      expect(page.body).not.toMatch(/(src|href)="(https?:)?\/\//);
    }
  });

  it('serves each file that its pages name', async () => {
    for (const path of ['/', '/api/v1/docs']) {
      const { body } = await api.get(path);
      const links = [...String(body).matchAll(/<(?:script|link)[^>]*(?:src|href)="([^"]+)"/g)].map(
        ([, link]) => link!,
      );
      expect(links.length).toBeGreaterThan(1);
      for (const link of links) {
        const file = await api.get(new URL(link, api.url + path).pathname);
        expect({ link, status: file.status }).toEqual({ link, status: 200 });
        expect(file.headers.get('x-content-type-options')).toBe('nosniff');
      }
    }
    for (const path of ['/index.html', '/package.json', '/..%2fpackage.json', '/api/v1/docs/package.json']) {
      expect((await api.get(path)).status).toBe(404);
    }
  });

  it('puts the base of PUBLIC_URL into the console, so that it works under a path', async () => {
    await using under = await openMainApi({ env: { PUBLIC_URL: 'http://localhost:8080/tools/portolan' } });
    expect((await under.get('/console/connect/notes')).body).toContain('<base href="/tools/portolan/" />');
  });
});
