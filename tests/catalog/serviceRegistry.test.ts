import { describe, expect, it } from '@jest/globals';
import { AppError } from '../../backend/src/errors/appError.js';
import { createServiceRegistry } from '../../backend/src/catalog/serviceRegistry.js';
import { aPortsFolder, aStdioService } from './given.js';

describe('the service registry', () => {
  it('P01 gets one, lists all, and finds by instance prefix', () => {
    using ports = aPortsFolder();
    ports.write('beta', aStdioService('beta', { instancePrefix: 'bt' }));
    ports.write('alpha', aStdioService('alpha', { enabled: false }));
    const registry = createServiceRegistry(() => ports.load());
    expect(registry.get('beta').title).toBe('The beta');
    expect(registry.list().map(({ name }) => name)).toEqual(['alpha', 'beta']);
    expect(registry.findByPrefix('bt')?.name).toBe('beta');
    expect(registry.findByPrefix('constructor')).toBeNull();
    expect(registry.find('__proto__')).toBeNull();
    expect(() => registry.get('nope')).toThrow(expect.objectContaining({ code: 'SERVICE_UNKNOWN' }));
  });

  it('P07 takes up a new folder and leaves the others as they are', () => {
    using ports = aPortsFolder();
    ports.write('old', aStdioService('old'));
    let lock = ports.load().lock;
    const registry = createServiceRegistry(() => {
      const loaded = ports.load({ lock });
      lock = loaded.lock;
      return loaded;
    });
    const before = registry.get('old');
    expect(registry.reload()).toEqual({ added: [], changed: [], removed: [] });
    ports.write('fresh', aStdioService('fresh'));
    expect(registry.reload()).toEqual({ added: ['fresh'], changed: [], removed: [] });
    expect(registry.get('old')).toEqual(before);
    ports.write('fresh', aStdioService('fresh', { title: 'Another title' }));
    expect(registry.reload()).toEqual({ added: [], changed: ['fresh'], removed: [] });
    ports.remove('fresh');
    expect(registry.reload()).toEqual({ added: [], changed: [], removed: ['fresh'] });
  });

  it('R17 stays as it is where the lock became unreadable, and says so', () => {
    using ports = aPortsFolder();
    ports.write('steady', aStdioService('steady'));
    let isReadable = true;
    const registry = createServiceRegistry(() => {
      if (!isReadable) throw new AppError('CONFIG_INVALID', 'ports.lock.json is not JSON');
      return ports.load();
    });
    isReadable = false;
    expect(registry.reload()).toEqual({ added: [], changed: [], removed: [] });
    expect(registry.get('steady').enabled).toBe(true);
    expect(registry.problems()).toMatchObject([{ message: 'ports.lock.json is not JSON' }]);
    isReadable = true;
    registry.reload();
    expect(registry.problems()).toEqual([]);
  });

  it.each([
    ['is truncated', '{"schemaVersion": 1'],
    ['lost a variable', JSON.stringify(aStdioService('one', { stdio: { env: { A: { $env: 'NOT_SET' } } } }))],
    ['has an unknown key', JSON.stringify(aStdioService('one', { oops: true }))],
  ])('R17 keeps the last good definition when the file %s, and says so', (_what, content) => {
    using ports = aPortsFolder();
    ports.write('one', aStdioService('one'));
    ports.write('two', aStdioService('two'));
    const { lock } = ports.load();
    const registry = createServiceRegistry(() => ports.load({ lock }));
    const good = registry.get('one');
    ports.write('one', content);
    expect(registry.reload()).toEqual({ added: [], changed: [], removed: [] });
    expect(registry.get('one')).toBe(good);
    expect(registry.problems().map(({ service }) => service)).toEqual(['one']);
    ports.write('one', aStdioService('one', { title: 'Mended' }));
    expect(registry.reload().changed).toEqual(['one']);
    expect(registry.problems()).toEqual([]);
    expect(registry.get('one').title).toBe('Mended');
  });

  it('gives a service up when its admin switches it off', () => {
    using ports = aPortsFolder();
    ports.write('one', aStdioService('one'));
    const registry = createServiceRegistry(() => ports.load());
    ports.write('one', aStdioService('one', { enabled: false }));
    expect(registry.reload().changed).toEqual(['one']);
    expect(registry.get('one').enabled).toBe(false);
  });
});
