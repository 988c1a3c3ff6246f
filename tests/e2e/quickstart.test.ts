/** The README's first command and its like, as programs: idempotent, side by side, and clear when something is wrong. */
import { createServer } from 'node:net';
import { once } from 'node:events';
import { existsSync, renameSync } from 'node:fs';
import { describe, expect, it } from '@jest/globals';
import { isAlive } from '../../backend/src/supervisor/processes.js';
import { startWholeFleet, type Fleet } from '../support/fleet.js';
import { findProcessesWith } from '../support/processTree.js';
import { callApi } from '../support/people.js';

const pidsOf = async (fleet: Fleet) =>
  Object.fromEntries((await fleet.apps()).map(({ name, pid, restarts }) => [name, `${pid} ${restarts}`]));

describe('npm run quickstart', () => {
  it('P02 starts everything once; run again, it changes nothing and is quick', async () => {
    await using fleet = await startWholeFleet();
    const before = await pidsOf(fleet);
    expect(Object.keys(before)).toEqual(
      expect.arrayContaining(['postgres', 'main-api', 'front', 'health-monitor', 'mcp-memory']),
    );
    const startedAt = performance.now();
    const { code, output } = await fleet.run('quickstart');
    expect(code).toBe(0);
    expect(output).toContain('everything runs already');
    expect(output).toContain(fleet.config.paths.setupCode);
    expect(performance.now() - startedAt).toBeLessThan(20_000);
    expect(await pidsOf(fleet)).toEqual(before);
  }, 240_000);

  it('12.2 runs beside another fleet, and stopping one leaves the other alone', async () => {
    await using first = await startWholeFleet();
    await using second = await startWholeFleet();
    expect((await callApi(first.origin, 'GET', '/health')).status).toBe(200);
    expect((await callApi(second.origin, 'GET', '/health')).status).toBe(200);
    expect(first.setupCode()).not.toBe(second.setupCode());
    const pids = (await second.apps()).map(({ pid }) => pid);
    expect(await second.run('stop')).toMatchObject({ code: 0 });
    expect(pids.filter(isAlive)).toEqual([]);
    expect(findProcessesWith(second.config.paths.stateDir)).toEqual([]);
    expect((await callApi(first.origin, 'GET', '/health')).status).toBe(200);
  }, 300_000);

  it('R18 says which port is taken and by which variable it moves, and starts nothing', async () => {
    await using fleet = await startWholeFleet({ isStarted: false });
    const squatter = createServer().listen(fleet.config.ports.front, '127.0.0.1');
    await once(squatter, 'listening');
    const { code, output } = await fleet.run('quickstart');
    squatter.close();
    await once(squatter, 'close');
    expect(code).toBe(1);
    expect(output).toContain(`front: port ${fleet.config.ports.front} is taken`);
    expect(output).toContain('FRONT_PORT');
    expect(await fleet.apps()).toEqual([]);
  }, 120_000);

  it('R21 G06 over data without its ring the fleet is sealed: it says so, and no ring is made', async () => {
    await using fleet = await startWholeFleet();
    const { keyRing } = fleet.config.paths;
    await fleet.run('stop');
    renameSync(keyRing, `${keyRing}.away`);
    const sealed = await fleet.run('quickstart');
    expect(sealed.code).toBe(1);
    expect(sealed.output).toContain('The vault is sealed');
    expect(existsSync(keyRing)).toBe(false);
    expect((await callApi(fleet.apiOrigin, 'GET', '/livez')).status).toBe(200);
    expect((await callApi(fleet.apiOrigin, 'GET', '/readyz')).status).toBe(503);
    renameSync(`${keyRing}.away`, keyRing);
    expect(await fleet.run('quickstart')).toMatchObject({ code: 0 });
    expect((await callApi(fleet.apiOrigin, 'GET', '/readyz')).status).toBe(200);
  }, 300_000);
});
