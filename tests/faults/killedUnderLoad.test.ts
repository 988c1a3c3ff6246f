/** A service process that is killed again and again while it works. */
import { randomInt } from 'node:crypto';
import { expect, it } from '@jest/globals';
import { findMarkedIn } from '../../backend/src/mcp-servers/universal-mcp-server/upstream/stdio/ownershipMark.js';
import { callAuditOf } from '../support/callAudit.js';
import { stormService } from '../support/disconnectStorm.js';
import { waitUntil } from '../support/eventually.js';
import { openInstallation } from '../support/installation.js';
import { initialize } from '../support/mcpHttp.js';
import { openServiceSite } from '../support/serviceProcess.js';

const kills = 50;
const clients = 8;

it(`R11 killed ${kills} times under load it leaves no child and no intent open`, async () => {
  await using site = await openInstallation();
  await using service = await openServiceSite(site, stormService);
  const instances = await Promise.all(
    Array.from({ length: clients }, async () => {
      const made = await site.anInstance({ owner: await site.aUser(), service: 'hostile', prefix: 'hst' });
      return { id: made.id, url: `${service.origin}/${made.instanceId}/hostile` };
    }),
  );
  const left: number[] = [];
  let answered = 0;
  let cut = 0;
  for (let kill = 0; kill < kills; kill += 1) {
    const run = await service.start({ LOG_LEVEL: 'warn' });
    const killed = run.exited;
    const load = instances.map(async ({ url }) => {
      try {
        const session = await initialize(url);
        session.call('hang').catch(() => {});
        while (run.child.signalCode === null) {
          await session.call('echo', { text: 'x' });
          answered += 1;
        }
      } catch {
        cut += 1;
      }
    });
    const before = answered;
    await waitUntil('calls are under way', () => answered > before + clients, 20_000);
    // The kill comes at any moment of what goes on.
    await new Promise((resolve) => setTimeout(resolve, randomInt(50)));
    run.child.kill('SIGKILL');
    await killed;
    await Promise.all(load);
    const deadline = performance.now() + 5_000;
    const mine = async (): Promise<number> =>
      (await findMarkedIn('')).filter(({ mark }) => mark.includes(`/${run.pid}-`)).length;
    let orphans = await mine();
    while (orphans > 0 && performance.now() < deadline) orphans = await mine();
    left.push(orphans);
  }
  expect(left).toEqual(Array.from({ length: kills }, () => 0));
  expect(cut).toBe(kills * clients);

  const last = await service.start();
  const outcomesOf = async (id: string) => {
    const rows = await callAuditOf({ site }, id);
    const outcomes = new Map(
      rows.filter(({ phase }) => phase === 'outcome').map(({ call_id, outcome }) => [call_id, outcome]),
    );
    const intents = rows.filter(({ phase }) => phase === 'intent');
    return {
      intents,
      open: intents.filter(({ call_id }) => !outcomes.has(call_id)),
      hung: intents.filter(({ name }) => name === 'hang').map(({ call_id }) => outcomes.get(call_id)),
    };
  };
  for (const { id } of instances) {
    await waitUntil('no intent is open', async () => (await outcomesOf(id)).open.length === 0, 30_000);
    const { hung } = await outcomesOf(id);
    expect(hung.length).toBeGreaterThan(0);
    expect(new Set(hung)).toEqual(new Set(['unknown']));
  }
  last.child.kill('SIGTERM');
  await last.exited;
}, 600_000);
