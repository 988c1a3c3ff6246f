import { describe, expect, it } from '@jest/globals';
import { findSecretLiterals } from '../../backend/src/catalog/secretLiterals.js';
import { aPortsFolder, aStdioService, problemsOf } from './given.js';

/** Put together here, so that no scanner takes this file for a leak. */
const filler = (length: number): string => 'a1B2c3D4e5F6g7H8i9J0'.repeat(8).slice(0, length);
const keys = {
  github: `ghp_${filler(36)}`,
  'github, fine-grained': `github_pat_${filler(40)}`,
  gitlab: `glpat-${filler(20)}`,
  slack: `xoxb-${filler(24)}`,
  stripe: `sk_live_${filler(24)}`,
  'an LLM provider': `sk-proj-${filler(40)}`,
  figma: `figd_${filler(40)}`,
  notion: `ntn_${filler(40)}`,
  aws: `AKIA${filler(16).toUpperCase()}`,
  google: `AIza${filler(35)}`,
  'a JWT': `eyJ${filler(20)}.eyJ${filler(30)}.${filler(20)}`,
  'a private key': ['-----BEGIN', 'PRIVATE KEY-----'].join(' '),
  'a URL with a password': `postgres://app:${filler(10)}@db.example.com/x`,
};

describe('a literal that looks like a key', () => {
  it.each(Object.entries(keys))(
    'refuses the service that carries one of %s, wherever it stands',
    (_issuer, key) => {
      for (const place of [
        { stdio: { env: { SETTING: key } } },
        { stdio: { args: [`--x=${key}`] } },
        { stdio: { env: { SETTING: { $env: 'SETTING', default: key } } } },
        { stdio: { env: { SETTING: { $userToken: `${key} {{token}}` } } } },
        { description: `the key is ${key}` },
      ]) {
        using ports = aPortsFolder();
        ports.write('leaky', aStdioService('leaky', place));
        ports.write('good', aStdioService('good'));
        const loaded = ports.load();
        expect(loaded.services.filter(({ enabled }) => enabled).map(({ name }) => name)).toEqual(['good']);
        expect(problemsOf(loaded, 'leaky')[0]).toMatch(
          /^\/(?:stdio|description)[^:]*: looks like a key\. Remove it/,
        );
        expect(JSON.stringify(loaded.problems)).not.toContain(filler(10));
        expect(JSON.stringify(loaded.services.map(({ disabledReason }) => disabledReason))).not.toContain(
          filler(10),
        );
      }
    },
  );

  it('counts the name beside a value as well', () => {
    const value = filler(24);
    for (const config of [
      { stdio: { env: { API_KEY: value } } },
      { api: { headers: { 'X-Api-Key': value } } },
      { api: { headers: { Authorization: `Bearer ${value}` } } },
      { api: { query: { access_token: value } } },
      { api: { baseUrl: `https://x.example.com/?api_key=${value}` } },
      { stdio: { args: ['--token', value] } },
      { stdio: { args: [`--api-key=${value}`] } },
      { adminConfig: { clientSecret: value } },
    ]) {
      expect(findSecretLiterals(config)).toHaveLength(1);
    }
  });

  it('leaves alone what only speaks of keys', () => {
    expect(
      findSecretLiterals({
        description: 'Needs a token; see https://example.com/docs?section=tokens',
        docker: { image: `mcp/notion@sha256:${'0123456789abcdef'.repeat(4)}` },
        api: {
          headers: {
            Authorization: { $userToken: 'Bearer {{token}}' },
            'X-Figma-Token': { $userToken: '{{token}}' },
            Accept: 'application/vnd.github+json',
          },
          query: { api_version: '2024-10-01-preview', page_token: '' },
        },
        stdio: {
          env: {
            TOKEN_URL: 'https://auth.example.com/v2/token',
            KEY_FILE: '/etc/portolan/key-2024.pem',
            AUTH_MODE: 'integrated-v2',
            API_KEY: { $env: 'THE_API_KEY_1234567890' },
          },
          args: ['--token-file', '/run/secrets/token-20240101'],
        },
        credentials: {
          methods: [
            {
              fields: [
                { name: 'token', placeholder: 'github_pat_…', pattern: '^(gh[pousr]_)[A-Za-z0-9_]{20,}$' },
              ],
            },
          ],
        },
      }),
    ).toEqual([]);
  });
});
