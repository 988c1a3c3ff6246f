/** What uses a credential and is no call of a client's: 06, "no unaudited use of a secret". */
import { randomUUID } from 'node:crypto';
import { describe, expect, it } from '@jest/globals';
import { AppError } from '../../../backend/src/errors/appError.js';
import { createAuditUse } from '../../../backend/src/mcp-servers/universal-mcp-server/upstream/credentialUses.js';
import {
  aRemoteService,
  call,
  Ear,
  never,
  openRemote,
  termsOf,
  textOf,
} from '../../support/aRemoteUpstream.js';
import { waitUntil } from '../../support/eventually.js';
import { openLegacyServer } from '../../support/legacyServer.js';

interface Noted {
  readonly name: string;
  readonly userId: string | null;
  /** What the server had heard by then. */
  readonly heard: number;
  outcome: string | null;
}

/** A conversation that listens in the background and is closed; `refused`: uses whose intent nobody takes. */
async function converse(refused: readonly string[] = []) {
  await using server = await openLegacyServer();
  const noted = new Map<string, Noted>();
  const auditUse = createAuditUse({
    newId: randomUUID,
    spool: {
      intent({ callId, method: name, userId }) {
        if (refused.includes(name)) throw new AppError('AUDIT_UNAVAILABLE', 'nobody takes it');
        noted.set(callId, { name, userId, heard: server.received.length, outcome: null });
      },
      outcome: ({ callId, outcome }) => void (noted.get(callId)!.outcome = outcome),
    },
  });
  const { upstream } = openRemote(aRemoteService(server.url), { auditUse });
  const connection = await upstream.connect(termsOf('alice'), never);
  connection.listen(new Ear());
  expect(textOf(await call(connection, 'whoami'))).toBe('Bearer key-of-alice');
  if (!refused.includes('stream/listen'))
    await waitUntil('it listens', () => server.received.some(({ method }) => method === 'GET'));
  connection.release();
  await upstream[Symbol.asyncDispose]();
  await waitUntil('all is settled', () => [...noted.values()].every(({ outcome }) => outcome !== null));
  return { noted: [...noted.values()], methods: server.received.map(({ method }) => method) };
}

describe('what uses a credential on nobody’s behalf', () => {
  it('is audited before the upstream hears of it, with its outcome', async () => {
    const { noted, methods } = await converse();
    expect([...new Set(noted.map(({ name }) => name))].sort()).toEqual([
      'era/ask',
      'session/end',
      'stream/listen',
    ]);
    expect(noted.every(({ userId }) => userId === 'alice')).toBe(true);
    const heardBefore = (name: string) => noted.findLast((use) => use.name === name)!.heard;
    expect(heardBefore('era/ask')).toBe(0);
    expect(methods.indexOf('GET')).toBeGreaterThanOrEqual(heardBefore('stream/listen'));
    expect(methods.lastIndexOf('DELETE')).toBeGreaterThanOrEqual(heardBefore('session/end'));
    expect(methods.filter((method) => method === 'DELETE')).toHaveLength(
      noted.filter(({ name }) => name === 'session/end').length,
    );
    expect(noted.find(({ name }) => name === 'era/ask')?.outcome).toBe('ok');
  });

  it('H02 is not done when it cannot be audited, and the calls themselves go on', async () => {
    const { methods } = await converse(['stream/listen', 'session/end']);
    expect(methods.filter((method) => method !== 'POST')).toEqual([]);
    await expect(converse(['era/ask'])).rejects.toMatchObject({ code: 'AUDIT_UNAVAILABLE' });
  });
});
