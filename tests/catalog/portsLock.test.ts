import { writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { describe, expect, it } from '@jest/globals';
import * as fc from 'fast-check';
import {
  allocatePorts,
  formatPortsLock,
  readPortsLock,
  type PortsLock,
  type WantedAllocation,
} from '../../backend/src/catalog/portsLock.js';
import { aPortsFolder, aStdioService, problemsOf } from './given.js';

const none: PortsLock = { services: {} };
const wants = (name: string, port?: number, instancePrefix?: string): WantedAllocation => ({
  name,
  port,
  instancePrefix,
});

const names = fc.uniqueArray(fc.stringMatching(/^[a-z][a-z0-9-]{1,8}[a-z0-9]$/), { maxLength: 30 });

describe('the ports lock', () => {
  it('P02 gives every service a port and a prefix of its own, and the same again', () => {
    fc.assert(
      fc.property(names, names, (first, second) => {
        const { lock, problems } = allocatePorts(
          none,
          first.map((name) => wants(name)),
        );
        const held = Object.values(lock.services);
        expect(problems.size).toBe(0);
        expect(new Set(held.map(({ port }) => port)).size).toBe(first.length);
        expect(new Set(held.map(({ instancePrefix }) => instancePrefix)).size).toBe(first.length);
        expect(held.every(({ instancePrefix }) => /^[a-z][a-z0-9]{1,7}$/.test(instancePrefix))).toBe(true);

        // Whoever comes or goes, what was given stays.
        const later = allocatePorts(
          lock,
          second.map((name) => wants(name)),
        ).lock;
        expect(later.services).toMatchObject(lock.services);
        const all = [...first, ...second.filter((name) => !first.includes(name))];
        const again = allocatePorts(
          later,
          all.toReversed().map((name) => wants(name)),
        ).lock;
        expect(formatPortsLock(again)).toBe(formatPortsLock(later));
      }),
      { numRuns: 50 },
    );
  });

  it('keeps a declared port for the one that has it, or else the first by name', () => {
    const fresh = allocatePorts(none, [wants('zulu', 4_500), wants('alpha', 4_500)]);
    expect(fresh.lock.services).toEqual({ alpha: { port: 4_500, instancePrefix: 'alp' } });
    expect(fresh.problems.get('zulu')).toEqual([
      { pointer: '/port', message: 'is the port of alpha; choose another or leave it out' },
    ]);
    const held: PortsLock = { services: { zulu: { port: 4_500, instancePrefix: 'zul' } } };
    const kept = allocatePorts(held, [wants('zulu', 4_500), wants('alpha', 4_500)]);
    expect(kept.lock.services).toEqual(held.services);
    expect([...kept.problems.keys()]).toEqual(['alpha']);
  });

  it('moves a service to the port that it declares, and nobody else', () => {
    const held: PortsLock = {
      services: { one: { port: 4_100, instancePrefix: 'one' }, two: { port: 4_101, instancePrefix: 'two' } },
    };
    expect(allocatePorts(held, [wants('one', 4_700), wants('two')]).lock.services).toEqual({
      one: { port: 4_700, instancePrefix: 'one' },
      two: { port: 4_101, instancePrefix: 'two' },
    });
  });

  it('never gives the prefix of a service that is gone to another one', () => {
    const held: PortsLock = { services: { gone: { port: 4_100, instancePrefix: 'gon' } } };
    const { lock, problems } = allocatePorts(held, [wants('gondola'), wants('thief', undefined, 'gon')]);
    expect(lock.services.gondola?.instancePrefix).toBe('gond');
    expect(problems.get('thief')).toEqual([
      { pointer: '/instancePrefix', message: 'belongs to gone; choose another' },
    ]);
  });

  it('lets a service that is gone give way with its port', () => {
    const held: PortsLock = { services: { gone: { port: 4_100, instancePrefix: 'gon' } } };
    const { lock, problems } = allocatePorts(held, [wants('taker', 4_100)]);
    expect(problems.size).toBe(0);
    expect(lock.services.taker?.port).toBe(4_100);
    expect(lock.services.gone).toEqual({ port: 4_101, instancePrefix: 'gon' });
  });

  it('refuses a changed prefix, which is in the URLs of people', () => {
    const held: PortsLock = { services: { one: { port: 4_100, instancePrefix: 'one' } } };
    const { lock, problems } = allocatePorts(held, [wants('one', undefined, 'uno')]);
    expect(problems.get('one')?.[0]?.message).toMatch(/begin with one_/);
    expect(lock.services.one?.instancePrefix).toBe('one');
  });

  it('R17 disables the later of two services with one port or prefix; everybody else starts', () => {
    using ports = aPortsFolder();
    ports.write('aaa', aStdioService('aaa', { port: 4_300, instancePrefix: 'xx' }));
    ports.write('bbb', aStdioService('bbb', { port: 4_300 }));
    ports.write('ccc', aStdioService('ccc', { instancePrefix: 'xx' }));
    ports.write('ddd', aStdioService('ddd'));
    const loaded = ports.load();
    expect(loaded.services.map(({ name, enabled }) => [name, enabled])).toEqual([
      ['aaa', true],
      ['bbb', false],
      ['ccc', false],
      ['ddd', true],
    ]);
    expect(problemsOf(loaded, 'bbb')).toEqual(['/port: is the port of aaa; choose another or leave it out']);
    expect(problemsOf(loaded, 'ccc')).toEqual(['/instancePrefix: belongs to aaa; choose another']);
  });

  it.each(['{', '[]', '{"lockVersion":2,"services":{}}', '{"lockVersion":1,"services":{"a b":{}}}', ''])(
    'is never taken for empty when it is broken: %s',
    (text) => {
      using ports = aPortsFolder();
      const file = join(ports.dir, 'ports.lock.json');
      expect(readPortsLock(file)).toEqual(none);
      writeFileSync(file, text);
      expect(() => readPortsLock(file)).toThrow(expect.objectContaining({ code: 'CONFIG_INVALID' }));
    },
  );
});
