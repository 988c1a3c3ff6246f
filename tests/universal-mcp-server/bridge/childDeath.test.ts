/** What calls get whose child is killed under them. */
import { mkdtempSync, readFileSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { describe, expect, it, jest } from '@jest/globals';
import { aHostileService } from '../../support/aStdioService.js';
import { waitUntil } from '../../support/eventually.js';
import { initialize, type LegacyConversation } from '../../support/mcpHttp.js';
import { openUniversalServer } from '../../support/universalServer.js';

jest.setTimeout(60_000);

const conversations = 8;
const kills = 4;

describe('a child that is killed under load', () => {
  it('U08 R06 R10 gives each call one answer, runs none twice, and goes on with another child', async () => {
    const folder = mkdtempSync(join(tmpdir(), 'portolan-death-'));
    const file = join(folder, 'ran');
    await using server = await openUniversalServer({
      definition: {
        ...aHostileService(),
        limits: { ...aHostileService().limits, requestsPerMinute: 100_000, burst: 10_000, concurrency: 100 },
      },
    });
    const { url } = await server.aUrl();
    const neighbour = await initialize((await server.aUrl()).url);
    const neighboursPid = await pidOf(neighbour);
    const all = await Promise.all(Array.from({ length: conversations }, () => initialize(url)));
    const stream = await all[0]!.stream();
    const answers = new Map<string, 'ran' | number>();
    const over = new AbortController();

    const load = all.map(async (conversation, who) => {
      for (let at = 0; !over.signal.aborted; at += 1) {
        const line = `${who}/${at}`;
        const { status, json } = await conversation.call('append', { file, line });
        expect([200, 502, 503, 504]).toContain(status);
        expect(answers.has(line)).toBe(false);
        answers.set(line, json.error === undefined ? 'ran' : json.error.code);
      }
    });
    const killing = await initialize(url);
    let last = '';
    for (let kill = 0; kill < kills; kill += 1) {
      await waitUntil(
        'a new child serves',
        async () => {
          const pid = await pidOf(killing).catch(() => last);
          if (pid === last) return false;
          last = pid;
          return true;
        },
        10_000,
      );
      const before = answers.size;
      await waitUntil('calls go on', () => answers.size > before + 50, 10_000);
      process.kill(Number(last), 'SIGKILL');
    }
    await waitUntil(
      'the last child serves',
      async () => (await pidOf(killing).catch(() => last)) !== last,
      10_000,
    );
    over.abort();
    await Promise.all(load);

    const ran = readFileSync(file, 'utf8').trimEnd().split('\n');
    expect(new Set(ran).size).toBe(ran.length);
    const said = [...answers].filter(([, answer]) => answer === 'ran').map(([line]) => line);
    expect(said.filter((line) => !ran.includes(line))).toEqual([]);
    const failures = [...answers.values()].filter((answer) => answer !== 'ran');
    expect(new Set(failures)).toEqual(new Set(failures.length === 0 ? [] : [-32603]));
    expect(failures.length).toBeLessThanOrEqual(kills * conversations);
    expect(
      await stream.next((message) => message.method === 'notifications/tools/list_changed'),
    ).toBeDefined();
    stream.close();
    expect(await pidOf(neighbour)).toBe(neighboursPid);
    rmSync(folder, { recursive: true });
  });
});

async function pidOf(conversation: LegacyConversation): Promise<string> {
  const { json } = await conversation.call('pid');
  if (json?.result === undefined) throw new Error(JSON.stringify(json));
  return String(json.result.content[0].text);
}
