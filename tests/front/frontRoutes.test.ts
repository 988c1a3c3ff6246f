import { describe, expect, it } from '@jest/globals';
import { routeRequest, type ServicePorts } from '../../backend/src/front/frontRoutes.js';

const services = [
  { name: 'notes', port: 4101, enabled: true, prefix: 'nts' },
  { name: 'maps', port: 4102, enabled: true, prefix: 'map' },
  { name: 'off', port: 4103, enabled: false, prefix: 'off' },
];
const ports: ServicePorts = {
  find: (name) => services.find((one) => one.name === name) ?? null,
  findByPrefix: (prefix) => services.find((one) => one.prefix === prefix) ?? null,
};
const to = (path: string) => routeRequest(path, ports, 1_000);

describe('where the front sends a request', () => {
  it('P04 sends an instance URL, with whatever follows, to the port of the service of its prefix', () => {
    const notes = { kind: 'service', service: 'notes', port: 5_101 };
    for (const path of [
      '/nts_abc/notes',
      '/nts_abc/notes/mcp',
      '/nts_abc/notes?x=/map_1/maps',
      '/nts_abc',
      '/nts_abc/',
    ]) {
      expect(to(path)).toEqual(notes);
    }
  });

  it('A02 lets the service of the prefix refuse a URL that names another service', () => {
    expect(to('/map_abc/notes')).toEqual({ kind: 'service', service: 'maps', port: 5_102 });
  });

  it('A07 leaves odd spellings to the port of the service that they name, and answers the rest like no instance', () => {
    for (const id of ['NTS_abc', 'nts%5fabc', 'nts＿abc', '_abc', 'zzz_abc', 'nts.']) {
      expect(to(`/${id}/notes`)).toEqual({ kind: 'service', service: 'notes', port: 5_101 });
    }
    expect(to('/zzz_abc/nowhere')).toEqual({ kind: 'unknownInstance' });
    expect(to('/zzz_abc')).toEqual({ kind: 'unknownInstance' });
  });

  it('P01 says that a service is switched off rather than wait for its port', () => {
    expect(to('/off_abc/off')).toEqual({ kind: 'disabledService', service: 'off' });
  });

  it('sends everything else to the main API, and its own segments always', () => {
    for (const path of [
      '/',
      '/api/v1/users/me',
      '/api/notes',
      '/o/notes',
      '/assets/x.js',
      '/internal/notes',
      '/index.html',
      '//notes',
      '',
    ]) {
      expect(to(path)).toEqual({ kind: 'mainApi' });
    }
  });
});
