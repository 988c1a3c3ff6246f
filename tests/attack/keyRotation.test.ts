/** Keys rotate under load (07 G07): the command, a service process, and a writer, each as they are in a fleet. */
import { randomUUID } from 'node:crypto';
import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { expect, it } from '@jest/globals';
import { withUser } from '../../backend/src/database/withUser.js';
import { countUnderOthers } from '../../backend/src/stores/keyRotationStore.js';
import { findDataKeys } from '../../backend/src/stores/keysStore.js';
import { createCredentialVault } from '../../backend/src/services/credentialVault.js';
import { parseKeyRing } from '../../backend/src/vault/keyRing.js';
import { aKeyMethod, aTool } from '../support/anApiService.js';
import { openInstallation } from '../support/installation.js';
import { keysCommand } from '../support/keysCommand.js';
import { manyDataKeys } from '../support/manyDataKeys.js';
import { modern } from '../support/mcpHttp.js';
import { startRecordingUpstream } from '../support/recordingUpstream.js';
import { plaintextDigests } from '../support/sealedRows.js';
import { openServiceSite } from '../support/serviceProcess.js';
import { rotating } from '../services/keyRotation/given.js';

const dataKeys = 10_000;
const people = 50;
const callsPerSecond = 50;
const call = modern('tools/call', { name: 'look', arguments: {} });

it(`G07 ${dataKeys} data keys under ${callsPerSecond} calls a second: no call fails, no key stays under the old KEK`, async () => {
  await using site = await openInstallation();
  await using upstream = await startRecordingUpstream();
  upstream.on('/look', (response, { headers }) => {
    response.writeHead(200, { 'content-type': 'application/json' });
    response.end(JSON.stringify({ sawToken: headers.authorization }));
  });
  await using service = await openServiceSite(site, {
    schemaVersion: 1,
    name: 'notes',
    title: 'Notes',
    kind: 'api',
    port: 4901,
    instancePrefix: 'nts',
    credentials: { methods: [aKeyMethod] },
    api: {
      baseUrl: upstream.origin,
      headers: { authorization: { $userToken: 'Bearer {{token}}' } },
      tools: [aTool('look', { method: 'GET', path: '/look' })],
      egress: { allowPrivate: true },
    },
  } as { readonly name: string });
  const instances: { url: string; token: string; owner: string }[] = [];
  for (let person = 0; person < people; person += 1) {
    const owner = await site.aUser();
    const token = `token-of-${owner}`;
    const made = await site.anInstance({ owner, fields: { token } });
    instances.push({ url: `${service.origin}/${made.instanceId}/notes`, token, owner });
  }
  await manyDataKeys(site, dataKeys - people);
  const keys = keysCommand(site, service.stateDir);
  await service.start({ LOG_LEVEL: 'warn' });
  const file = rotating(site);
  await using writer = await file.aHolder('main-api', () =>
    readFileSync(join(service.stateDir, 'keyring.json'), 'utf8'),
  );
  const vault = createCredentialVault(writer.vault);
  // Cores are shared with the test's own load: who waits for a connection is late, not refused.
  const api = site.db.pool('api', { checkoutTimeoutMs: 15_000, statementTimeoutMs: 15_000 });

  const errors: unknown[] = [];
  let [calls, made] = [0, 0];
  const underWay = new Set<Promise<void>>();
  const told = (error: unknown): string =>
    error instanceof Error ? `${error.message} ${told(error.cause)}` : '';
  const track = (work: Promise<void>): void => {
    const settled = work
      .catch((error: unknown) => void errors.push(told(error)))
      .finally(() => underWay.delete(settled));
    underWay.add(settled);
  };
  const callOne = async ({ url, token }: (typeof instances)[number]): Promise<void> => {
    const answer = await fetch(url, {
      method: 'POST',
      headers: {
        ...call.headers,
        'content-type': 'application/json',
        accept: 'application/json, text/event-stream',
      },
      body: JSON.stringify(call.body),
    });
    const text = await answer.text();
    calls += 1;
    if (answer.status !== 200 || !text.includes(token)) errors.push(`${answer.status} ${text}`);
  };
  /** A new user whose first key is made meanwhile. */
  const makeOne = async (): Promise<void> => {
    const owner = await site.aUser();
    const row = { id: randomUUID(), userId: owner };
    await withUser(api, { userId: owner, scope: 'self' }, (db) => vault.createInstanceId(db, row, 'nts', 1));
    made += 1;
  };
  const underLoad = async <T>(work: () => Promise<T>): Promise<T> => {
    let issued = 0;
    const ending = new AbortController();
    const over = ending.signal;
    const begunAt = performance.now();
    const caller = async (): Promise<void> => {
      while (!over.aborted) {
        const at = issued++;
        await sleep(Math.max(0, (at / callsPerSecond) * 1_000 - (performance.now() - begunAt)));
        await callOne(instances[at % people]!);
      }
    };
    for (let one = 0; one < 16; one += 1) track(caller());
    const writing = setInterval(() => track(makeOne()), 200);
    try {
      return await work();
    } finally {
      ending.abort();
      clearInterval(writing);
      await Promise.all(underWay);
    }
  };

  const before = await plaintextDigests(site, site.vault.keys());
  // Connections are made before it counts: on a busy machine each takes its time.
  for (let attempt = 0; attempt < 5; attempt += 1) {
    errors.length = 0;
    await underLoad(() => sleep(3_000));
    if (errors.length === 0) break;
  }
  calls = 0;
  const startedAt = performance.now();
  const rotated = await underLoad(() => keys.run(['rotate', '--wait', '60']));
  const seconds = (performance.now() - startedAt) / 1_000;
  process.stdout.write(
    `${dataKeys} data keys in ${seconds.toFixed(1)} s, ${calls} calls, ${made} users meanwhile\n`,
  );
  expect([rotated.ended, rotated.ended === 0 ? '' : rotated.stderr]).toEqual([0, '']);
  expect(errors).toEqual([]);
  expect(made).toBeGreaterThan(0);
  expect(calls).toBeGreaterThan(people);
  const ring = parseKeyRing(keys.ring());
  const { installId } = site.vault.keys();
  expect(await countUnderOthers(file.parts.pool, ring.primary.id)).toBe(0);
  expect([...ring.keks.values()].filter(({ state }) => state !== 'disabled')).toEqual([ring.primary]);
  expect(await plaintextDigests(site, { ring, installId })).toEqual(before);

  // Users' own keys the same way; every instance keeps answering with its own credential.
  const callsBefore = calls;
  for (const { owner } of instances.slice(0, 3)) {
    const [old] = await findDataKeys(file.parts.pool, owner);
    const run = await underLoad(() => keys.run(['rotate', '--deks', '--user', owner, '--settle', '2']));
    expect(run).toMatchObject({
      ended: 0,
      stdout: '1 owners: 2 records were moved, 1 old data keys removed.\n',
    });
    expect((await findDataKeys(file.parts.pool, owner)).map(({ id }) => id)).not.toContain(old!.id);
  }
  expect(errors).toEqual([]);
  expect(calls).toBeGreaterThan(callsBefore);
  for (const instance of instances) await callOne(instance);
  expect(errors).toEqual([]);
  expect(await plaintextDigests(site, { ring, installId })).toEqual(before);
}, 600_000);
