/** Strangers with ids that are not theirs, from addresses of their own (07 A): loopback has 16 million of them. */
import { randomBytes } from 'node:crypto';
import { Agent, request as httpRequest } from 'node:http';
import { afterAll, beforeAll, describe, expect, it } from '@jest/globals';
import { createInstanceId } from '../../backend/src/vault/instanceId.js';
import { aHostileService } from '../support/aStdioService.js';
import { waitUntil } from '../support/eventually.js';
import { openInstallation, type Installation } from '../support/installation.js';
import { modern } from '../support/mcpHttp.js';
import { openUniversalServer, revokeInstance, type UniversalServer } from '../support/universalServer.js';

const list = modern('tools/list');

/** A client of one address with connections of its own; it answers with status, body and the time that it took. */
function aClient(localAddress: string, maxSockets = 1) {
  const agent = new Agent({ keepAlive: true, localAddress, maxSockets });
  const post = (url: string) =>
    new Promise<{ status: number; text: string; ms: number }>((resolve, reject) => {
      const startedAt = performance.now();
      const headers = {
        ...list.headers,
        'content-type': 'application/json',
        accept: 'application/json, text/event-stream',
      };
      const outgoing = httpRequest(url, { method: 'POST', agent, headers }, (response) => {
        let text = '';
        response.setEncoding('utf8');
        response.on('data', (chunk: string) => (text += chunk));
        response.on('end', () =>
          resolve({ status: response.statusCode ?? 0, text, ms: performance.now() - startedAt }),
        );
        response.on('error', reject);
      });
      outgoing.on('error', reject);
      outgoing.end(JSON.stringify(list.body));
    });
  return { post, [Symbol.dispose]: () => agent.destroy() };
}

/** A well-formed id that nobody has. */
const anUnknownUrl = ({ origin }: Pick<UniversalServer, 'origin'>): string =>
  `${origin}/${createInstanceId('evy', randomBytes)}/everything`;

const median = (values: number[]): number => values.sort((a, b) => a - b)[values.length >> 1]!;

describe('ids that are not theirs', () => {
  let site: Installation;
  let server: UniversalServer;

  beforeAll(async () => {
    site = await openInstallation();
    server = await openUniversalServer({ definition: aHostileService(), site });
  });
  afterAll(async () => {
    await server[Symbol.asyncDispose]();
    await site[Symbol.asyncDispose]();
  });

  it('A01 takes as long for a revoked id as for an unknown one, with the same answer', async () => {
    const revoked = await Promise.all(Array.from({ length: 40 }, () => server.aUrl()));
    for (const instance of revoked) await revokeInstance(server, instance);
    // Pairs, every second one turned round, each few from an address of their own, since an address may try only 20.
    const compare = async (round: number): Promise<number> => {
      const [differences, all]: [number[], number[]] = [[], []];
      for (let at = 0; at < 160; at += 8) {
        using client = aClient(`127.0.${round}.${at + 1}`);
        await client.post(anUnknownUrl(server));
        for (let pair = at; pair < at + 8; pair += 1) {
          const urls = [revoked[pair % 40]!.url, anUnknownUrl(server)];
          if (pair % 2 === 1) urls.reverse();
          const [first, second] = [await client.post(urls[0]!), await client.post(urls[1]!)];
          expect([first.status, first.text]).toEqual([404, second.text]);
          differences.push(pair % 2 === 1 ? second.ms - first.ms : first.ms - second.ms);
          all.push(first.ms, second.ms);
        }
      }
      return median(differences) / median(all);
    };
    const share = await compare(1);
    expect(Math.abs(Math.abs(share) < 0.05 ? share : await compare(2))).toBeLessThan(0.05);
  });

  it('A02 opens nothing for an id of another service, and writes each refusal down', async () => {
    const foreign = await server.aUrl({ service: 'memory', prefix: 'mem', fields: { token: 'a-secret' } });
    const superuser = await site.db.superuser();
    // Bytes that no key opens: whoever tried to would have to answer something else.
    await superuser.query('update instances set sealed_credential = $2 where id = $1', [
      foreign.id,
      randomBytes(160),
    ]);
    using client = aClient('127.0.3.1');
    const answers = [
      await client.post(`${server.origin}/${foreign.instanceId}/everything`),
      await client.post(`${server.origin}/${foreign.instanceId}/memory`),
      await client.post(anUnknownUrl(server)),
    ];
    expect(answers.map(({ status, text }) => [status, text])).toEqual(
      answers.map(() => [404, answers[2]?.text]),
    );
    await waitUntil('the refusals are in the database', async () => {
      const { rows } = await superuser.query<{ outcome: string; error_code: string; instance_id: null }>(
        "select outcome, error_code, instance_id from audit_calls where client_address = '127.0.3.1'",
      );
      expect(rows.filter(({ instance_id: id }) => id !== null)).toEqual([]);
      return (
        rows.filter((row) => row.outcome === 'refused' && row.error_code === 'INVALID_INSTANCE').length === 3
      );
    });
    const { rows } = await superuser.query('select last_used_at from instances where id = $1', [foreign.id]);
    expect(rows).toEqual([{ last_used_at: null }]);
  });

  it('A06 stops one address that tries 10,000 good-looking ids, asks the database for few, and nobody else notices', async () => {
    await using own = await openInstallation();
    const superuser = await own.db.superuser();
    // For connections from here on.
    await superuser.query(`alter database ${own.db.name} set track_functions = 'all'`);
    await using another = await openUniversalServer({ definition: aHostileService(), site: own });
    const countLookups = async (): Promise<number> => {
      const { rows } = await superuser.query<{ calls: string }>(
        "select coalesce(sum(calls), 0) as calls from pg_stat_user_functions where funcname = 'find_instance'",
      );
      return Number(rows[0]?.calls);
    };
    const good = await another.aUrl();
    using guesser = aClient('127.0.4.1', 32);
    using neighbour = aClient('127.0.4.2');
    const startedAt = performance.now();
    const neighbours: number[] = [];
    const statuses = new Map<number, number>();
    for (let sent = 0; sent < 10_000; sent += 500) {
      const wave = Array.from({ length: 500 }, () => guesser.post(anUnknownUrl(another)));
      neighbours.push((await neighbour.post(good.url)).status);
      for (const { status } of await Promise.all(wave)) statuses.set(status, (statuses.get(status) ?? 0) + 1);
    }
    const tried = statuses.get(404) ?? 0;
    expect(tried + (statuses.get(429) ?? 0)).toBe(10_000);
    // 20 at once and 20 a minute, and as many as were under way when the last of them was counted.
    expect(tried).toBeLessThanOrEqual(20 + 32 + ((performance.now() - startedAt) / 60_000) * 20);
    expect(new Set(neighbours)).toEqual(new Set([200]));
    // A connection that went idle reports its figures within 10 s.
    await waitUntil('the lookups are counted', async () => (await countLookups()) >= tried, 20_000);
    expect(await countLookups()).toBeLessThanOrEqual(tried + neighbours.length + 1);
  }, 60_000);
});
