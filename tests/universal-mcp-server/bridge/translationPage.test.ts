/** `docs/translation.md` says what the pure functions do. */
import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { describe, expect, it } from '@jest/globals';
import {
  missingCapabilityOf,
  routeOf,
  toLegacyError,
} from '../../../backend/src/mcp-servers/universal-mcp-server/bridge/translate/legacyToModern.js';
import {
  isPassedMethod,
  toModernError,
} from '../../../backend/src/mcp-servers/universal-mcp-server/bridge/translate/modernToLegacy.js';
import { projectRoot } from '../../support/universalServer.js';

const page = readFileSync(join(projectRoot, 'docs/translation.md'), 'utf8');

/** The cells of each row of the table below a heading, without its head. */
function rowsOf(heading: string): string[][] {
  const part = page.split('\n## ').find((one) => one.startsWith(`${heading}\n`)) ?? '';
  return part
    .split('\n')
    .filter((line) => line.startsWith('| '))
    .slice(1)
    .map((line) => line.slice(2, -2).split(' | '));
}

const bare = (cell: string | undefined): string => (cell ?? '').replaceAll('`', '');

describe('the page on translation', () => {
  const requests = rowsOf('Requests');
  const routes = { passed: 'passed', here: 'here', unknown: '-32601' } as const;

  it('U07 has a row for each request that passes or is answered here', () => {
    const named = requests.map(([method]) => bare(method));
    const lists = ['tools/list', 'prompts/list', 'resources/list', 'resources/templates/list'];
    const uses = ['tools/call', 'prompts/get', 'resources/read', 'completion/complete'];
    const settings = ['ping', 'logging/setLevel', 'resources/subscribe', 'resources/unsubscribe'];
    const known = [...lists, ...uses, ...settings];
    expect(named).toEqual(expect.arrayContaining(known));
    expect(named.filter((method) => routeOf(method) !== 'unknown')).toHaveLength(known.length);
  });

  it.each(requests)('U07 says of %s what becomes of it: %s, %s', (method, ofLegacy, ofModern) => {
    expect(ofLegacy).toBe(routes[routeOf(bare(method))]);
    expect(ofModern).toBe(isPassedMethod(bare(method)) ? 'passed' : '-32601');
  });

  it.each(rowsOf('Errors'))(
    'U07 says what becomes of %s of %s: %s, %s',
    (code, method, ofLegacy, ofModern) => {
      const uri = 'test://one';
      const error = { code: Number(bare(code)), message: 'm', data: { uri } };
      const request = { jsonrpc: '2.0', id: 1, method: bare(method), params: { uri } } as const;
      const answer = toLegacyError(request, error);
      const said = 'error' in answer ? String(answer.error.code) : 'a result with `isError`';
      expect('error' in answer || answer.result['isError']).toBe(true);
      expect(said).toBe(ofLegacy);
      expect(String(toModernError(error, uri).code)).toBe(ofModern);
    },
  );

  it.each(rowsOf('Questions of the server'))('U07 says what %s needs: %s', (question, capability) => {
    const [method = '', how = ''] = bare(question).split(' with ');
    const params = how === 'tools' ? { tools: [] } : how === 'a page to open' ? { mode: 'url' } : {};
    const asked = { key: 'k', method: method as 'roots/list', params };
    const [name = '', member] = bare(capability).split('.');
    expect(missingCapabilityOf(asked, {})).toBe(name);
    const withoutMember = missingCapabilityOf(asked, { [name]: {} });
    expect(withoutMember).toBe(member === undefined ? null : bare(capability));
    const declared = { [name]: member === undefined ? {} : { [member]: {} } };
    expect(missingCapabilityOf(asked, declared)).toBeNull();
  });
});
