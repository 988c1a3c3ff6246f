import { describe, expect, it } from '@jest/globals';
import { unenforcedSettings } from '../../backend/src/catalog/unenforcedSettings.js';
import { aPortsFolder, aStdioService, anApiService, type Json } from './given.js';

const asked: Record<string, [Json, string]> = {
  '/audit/results': [{ audit: { results: 'full' } }, 'size of a result'],
  '/audit/arguments': [{ audit: { arguments: 'redacted' } }, 'keyed digest'],
  '/visibility/groups': [{ visibility: { groups: ['staff'] } }, 'no groups yet'],
  '/userOverrides/allowTools': [{ userOverrides: { allowTools: true } }, 'toolPolicy holds'],
  '/process/instances': [{ process: { instances: 2 } }, 'one process runs'],
  '/credentials/methods/0/probe/recheckEverySec': [
    {
      credentials: {
        methods: [
          {
            id: 'key',
            type: 'fields',
            label: 'Key',
            fields: [{ name: 'token', label: 'Key', type: 'secret' }],
            probe: { type: 'mcp', recheckEverySec: 3_600 },
          },
        ],
      },
    },
    'when it is entered',
  ],
};

describe('settings that nothing enforces yet', () => {
  it.each(Object.entries(asked))(
    'warns of %s with its file, and says what happens instead',
    (pointer, [changes, instead]) => {
      using ports = aPortsFolder();
      const file = ports.write('one', aStdioService('one', changes));
      const { services, problems, warnings } = ports.load();
      expect([services[0]?.enabled, problems]).toEqual([true, []]);
      expect(warnings).toEqual([{ service: 'one', file, pointer, message: expect.any(String) }]);
      expect(warnings[0]?.message).toContain('is not enforced in this release: ');
      expect(warnings[0]?.message).toContain(instead);
    },
  );

  it('has a case for every entry of the list', () => {
    const pointers = unenforcedSettings.map(({ path }) => `/${path.join('/').replace('*', '0')}`);
    expect(Object.keys(asked)).toEqual(pointers);
  });

  it('says nothing of defaults, nor of values that ask for no more than is done', () => {
    using ports = aPortsFolder();
    const modest = {
      limits: {
        maxResponseBytes: 2_048,
        perUserRequestsPerMinute: 5,
        upstreamRequestsPerMinute: 5,
        requestsPerMinute: 5,
      },
      toolPolicy: { pinDescriptions: true },
      audit: { results: 'none', arguments: 'none' },
      visibility: { roles: ['admin'], groups: [] },
      userOverrides: { allowTools: false },
      process: { instances: 1 },
    };
    ports.write('one', aStdioService('one', modest));
    ports.write('plain', aStdioService('plain'));
    ports.write('many', anApiService('many', {}, { process: { instances: 2 } }));
    const { problems, warnings } = ports.load();
    expect({ problems, warnings }).toEqual({ problems: [], warnings: [] });
  });
});
