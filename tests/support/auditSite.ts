/**
 * An installation whose audits are written, sealed and verified the way the programs do it:
 *
 *   await using site = await openAuditSite();
 *   await site.addEvents(10);
 *   await site.addCalls('spool-1', 10);
 *   await site.checkpoint();
 *   expect(await site.verify()).toMatchObject({ isIntact: true });
 */
import { randomUUID } from 'node:crypto';
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import type { Client } from 'pg';
import { withUser } from '../../backend/src/database/withUser.js';
import type { DatabasePool } from '../../backend/src/database/pool.js';
import { createAuditSealer, type AuditChainParts } from '../../backend/src/services/audit/auditSealer.js';
import { openCheckpointFiles } from '../../backend/src/services/audit/checkpointFiles.js';
import { verifyAudit, type AuditVerification } from '../../backend/src/services/audit/verifyAudit.js';
import { newJwtKeysFiles, parseSigningKeys } from '../../backend/src/services/jwtKeys.js';
import { encodeIntent, encodeOutcome, toOpenCall } from '../../backend/src/spool/callRecord.js';
import { insertAuditEvent, type AuditEvent } from '../../backend/src/stores/auditStore.js';
import { eventMac } from '../../backend/src/vault/auditMacs.js';
import type { CallChain } from '../../backend/src/spool/callChain.js';
import { aCallChain } from './callAudit.js';
import { openInstallation, type Installation } from './installation.js';

export interface AuditSite extends AsyncDisposable {
  readonly installation: Installation;
  readonly superuser: Client;
  readonly chain: AuditChainParts;
  readonly jobs: DatabasePool;
  /** As a service process ships to it. */
  readonly calls: CallChain;
  /** The directory of the checkpoint files. */
  readonly dir: string;
  /** Commits events, `daysAgo` days before now, one after the other. */
  addEvents(count: number, more?: Partial<AuditEvent> & { readonly daysAgo?: number }): Promise<void>;
  /** Ships so many calls, each with intent and outcome, as the next records of that spool; gives the call ids. */
  addCalls(spoolId: string, count: number, more?: { readonly daysAgo?: number }): Promise<string[]>;
  /** Numbers what waits and states how far all has come. */
  checkpoint(): Promise<void>;
  verify(): Promise<AuditVerification>;
  /** Each problem as `kind audit number id`. */
  problems(): Promise<string[]>;
}

export interface AuditSiteWish {
  /** Zero, so that what has no MAC from now on is a problem. */
  readonly settleAfterMs?: number;
}

const dayMs = 86_400_000;

export async function openAuditSite({ settleAfterMs = 0 }: AuditSiteWish = {}): Promise<AuditSite> {
  const installation = await openInstallation();
  const { vault, api, db } = installation;
  const dir = mkdtempSync(join(tmpdir(), 'portolan-audit-'));
  const signing = parseSigningKeys(newJwtKeysFiles(randomUUID, 'audit').privateText);
  const files = openCheckpointFiles(dir);
  const jobs = db.pool('jobs', { auditMac: (text) => eventMac(vault.keys().system.audit, text) });
  const chain = { pool: jobs, keys: () => vault.keys(), signing, files, now: Date.now, newId: randomUUID };
  const sealer = createAuditSealer({ ...chain, settleAfterMs });
  const calls = aCallChain(db.pool('service'), 'notes', vault.keys().system.audit);
  const superuser = await db.superuser();
  const ends = new Map<string, number>();
  let at = 0;
  const nextTime = (daysAgo: number): Date => new Date(Date.now() - daysAgo * dayMs - 60_000 + (at += 1));

  const verify = (): Promise<AuditVerification> =>
    withUser(
      api,
      { userId: null, scope: 'auditor' },
      (client) =>
        verifyAudit(client, {
          installId: vault.keys().installId,
          kAudit: vault.keys().system.audit,
          keys: signing.verification,
          files,
        }),
      { readOnly: true },
    );

  return {
    installation,
    superuser,
    chain,
    jobs,
    calls,
    dir,
    async addEvents(count, { daysAgo = 0, ...more } = {}) {
      await withUser(api, { userId: null, scope: 'self' }, async (client) => {
        for (let n = 0; n < count; n += 1)
          await insertAuditEvent(client, randomUUID(), { ...anEvent, ...more }, nextTime(daysAgo));
      });
    },
    async addCalls(spoolId, count, { daysAgo = 0 } = {}) {
      const callIds = Array.from({ length: count }, () => randomUUID());
      const lines = callIds.flatMap((callId) => {
        const intent = {
          callId,
          instanceId: randomUUID(),
          userId: randomUUID(),
          method: 'tools/call',
          name: 'echo',
        };
        const open = toOpenCall('notes', intent);
        return [
          encodeIntent(
            open,
            { ...intent, argumentsDigest: 'ab'.repeat(32), argumentsBytes: 2 },
            nextTime(daysAgo).toISOString(),
          ),
          encodeOutcome(
            open,
            { outcome: 'ok', isError: false, durationMs: 12 },
            nextTime(daysAgo).toISOString(),
          ),
        ];
      });
      const placed = lines.map((line) => {
        const position = (ends.get(spoolId) ?? 0) + Buffer.byteLength(line);
        ends.set(spoolId, position);
        return { position, line };
      });
      await calls.ship({ spoolId, lines: placed });
      return callIds;
    },
    async checkpoint() {
      await sealer.seal();
      await sealer.checkpoint();
    },
    verify,
    problems: async () =>
      (await verify()).problems.map(({ kind, audit, seq, lastSeq, id }) =>
        [kind, audit, lastSeq === undefined || lastSeq === seq ? seq : `${seq}-${lastSeq}`, id]
          .filter((part) => part !== null)
          .join(' '),
      ),
    async [Symbol.asyncDispose]() {
      await installation[Symbol.asyncDispose]();
      rmSync(dir, { recursive: true, force: true });
    },
  };
}

const anEvent: AuditEvent = {
  actorKind: 'system',
  actorId: null,
  actorVia: 'test',
  subjectUserId: null,
  action: 'instance.created',
  targetKind: 'instance',
  targetId: 'one',
  service: 'notes',
  outcome: 'success',
  errorCode: null,
  requestId: 'r1',
  clientAddress: '127.0.0.1',
  details: { label: 'default', count: 1.5, nested: { b: 1, a: [null, 'x'] } },
};
