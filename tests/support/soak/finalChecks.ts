/** What is looked at when all faults are healed and nobody calls any more: the invariants a, b, e, g and i. */
import { readSecretFile } from '../../../backend/src/config/secrets.js';
import { createPool } from '../../../backend/src/database/pool.js';
import { findMarkedIn } from '../../../backend/src/mcp-servers/universal-mcp-server/upstream/stdio/ownershipMark.js';
import { readInstallKeys } from '../../../backend/src/services/installKeys.js';
import { readVaultKeys } from '../../../backend/src/services/vaultKeys.js';
import { isAlive } from '../../../backend/src/supervisor/processes.js';
import { argumentDigest } from '../../../backend/src/vault/argumentDigest.js';
import { eventually } from '../eventually.js';
import { callApi } from '../people.js';
import { openCaller } from './callers.js';
import type { Call, ChangeKind, Journal, Tenant } from './journal.js';
import type { Owner } from './owners.js';
import { tenantOf } from './recordingServices.js';
import type { SoakFleet } from './soakFleet.js';
import { soakServices } from './soakServices.js';

interface AuditedCall {
  readonly call_id: string;
  readonly instance_id: string | null;
  readonly phase: 'intent' | 'outcome';
  readonly digest: string | null;
  readonly count: number;
}

export async function checkAudit(journal: Journal, soak: SoakFleet): Promise<void> {
  const read = () =>
    soak.database.ask<AuditedCall>(
      `select call_id, instance_id, phase, encode(arguments_digest, 'hex') as digest, count(*)::int as count
         from audit_calls group by 1, 2, 3, 4`,
    );
  const missingOf = (rows: readonly AuditedCall[], digests: ReadonlyMap<string, string>): Call[] => {
    const intents = new Set(
      rows.filter(({ phase }) => phase === 'intent').map((row) => `${row.instance_id} ${row.digest}`),
    );
    return [...journal.sightings.keys()]
      .map((id) => journal.calls.get(id))
      .filter((call) => call !== undefined)
      .filter((call) => !intents.has(`${call.tenant.id} ${digests.get(call.id)}`));
  };
  const digests = await digestsOf(journal, soak);
  // The shipper is quick, and what a dead process left is adopted within 5 s.
  const rows = await eventually(async () => {
    const value = await read();
    return { isDone: openOf(value).length === 0 && missingOf(value, digests).length === 0, value };
  }, 30_000);
  for (const call of missingOf(rows, digests))
    journal.report('b', 'an upstream saw a call without an intent', { call });
  for (const { call_id, instance_id } of openOf(rows))
    journal.report('b', `the intent ${call_id} of ${instance_id} is open`);
  for (const { call_id, phase, count } of rows)
    if (count > 1) journal.report('i', `${count} rows of the ${phase} of ${call_id}`);
  const { code, output } = await soak.fleet.run('audit', 'verify', '--no-record');
  if (code !== 0) journal.report('i', `the audit does not verify: ${output.trim().slice(-600)}`);
}

/** Intents without an outcome. */
function openOf(rows: readonly AuditedCall[]): AuditedCall[] {
  const closed = new Set(rows.filter(({ phase }) => phase === 'outcome').map(({ call_id }) => call_id));
  return rows.filter(({ phase, call_id }) => phase === 'intent' && !closed.has(call_id));
}

/** As `callAccount.ts` makes it: over the arguments as they came. */
async function digestsOf(journal: Journal, { fleet }: SoakFleet): Promise<Map<string, string>> {
  const { paths } = fleet.config;
  await using pool = createPool({
    connectionString: readSecretFile(paths.databaseUrl('api'), 'api'),
    applicationName: 'harness-keys',
    connectionsMax: 1,
  });
  const { system } = await readVaultKeys(
    () => readSecretFile(paths.keyRing, 'the key ring'),
    () => readInstallKeys(pool),
  );
  return new Map(
    [...journal.calls.values()].map(({ id, args }) => [
      id,
      argumentDigest(system.audit, Buffer.from(JSON.stringify(args))),
    ]),
  );
}

/** A tool that may not be repeated reached its upstream once at most. */
export function checkRepeats(journal: Journal): void {
  for (const [id, seen] of journal.sightings) {
    const call = journal.calls.get(id);
    if (call === undefined || seen.length < 2 || call.tool === 'read') continue;
    journal.report('e', `a call of ${call.client} reached its upstream ${seen.length} times`, {
      at: seen.at(-1)?.at ?? 0,
      call,
    });
  }
}

const auditActions: Record<ChangeKind, RegExp> = {
  created: /^(credential\.stored|instance\.created)$/,
  replaced: /^(credential\.(stored|replaced))$/,
  rotated: /^instance\.url_rotated$/,
  paused: /^instance\.paused$/,
  resumed: /^instance\.(resumed|renamed)$/,
  deleted: /^instance\.deleted$/,
};

/** Acknowledged is stored, and told of exactly once; refused is neither. */
export async function checkChanges(
  journal: Journal,
  soak: SoakFleet,
  ownerOf: (tenant: Tenant) => Owner,
): Promise<void> {
  const rows = await soak.database.ask<{
    request_id: string;
    action: string;
    outcome: string;
    count: number;
  }>(
    `select request_id, action, outcome, count(*)::int as count
       from audit_events where request_id is not null group by 1, 2, 3`,
  );
  for (const change of journal.changes) {
    const mine = rows.filter(({ request_id }) => request_id === change.requestId);
    const done = mine.filter(
      ({ action, outcome }) => outcome === 'success' && auditActions[change.kind].test(action),
    );
    const said = `${change.kind} of ${change.tag} (${change.status})`;
    if (change.outcome === 'acknowledged' && done.length === 0)
      journal.report('a', `no audit row of the acknowledged change ${said}`, { at: change.endedAt ?? 0 });
    if (change.outcome === 'refused' && done.length > 0)
      journal.report('a', `a refused change was made: ${said}`, { at: change.endedAt ?? 0 });
    for (const { action, count } of mine)
      if (count > 1)
        journal.report('i', `${count} audit rows ${action} of ${said}`, { at: change.endedAt ?? 0 });
  }

  for (const tenant of journal.tenants) {
    const { status, body } = await ownerOf(tenant).call(
      'GET',
      `/api/v1/services/${tenant.service}/instance?label=${tenant.label}`,
    );
    if (tenant.doubts > 0) {
      if (status !== 200 && status !== 404) journal.report('a', `it cannot be read: ${status}`, { tenant });
      continue;
    }
    const url = tenant.urls.at(-1);
    const isGone = url === undefined || url.endedAt !== null;
    if (isGone !== (status === 404))
      journal.report('a', `it is ${isGone ? 'deleted' : 'there'}, yet ${status}`, { tenant });
    if (isGone || status !== 200) continue;
    if (body.isActive !== true) journal.report('a', 'it was resumed and is paused', { tenant });
    if (typeof body.instanceUrl === 'string' && body.instanceUrl !== url.value)
      journal.report('a', 'its URL is another than the acknowledged one', { tenant });
  }
}

/** Every tenant is called once more, and has the credential that was acknowledged last. */
export async function checkEveryTenant(
  journal: Journal,
  wayOf: (tenant: Tenant, url: string) => string,
): Promise<void> {
  const alive = journal.tenants.filter(
    ({ doubts, urls }) => doubts === 0 && urls.at(-1) !== undefined && urls.at(-1)?.endedAt === null,
  );
  for (const tenant of alive) {
    const url = tenant.urls.at(-1);
    if (url === undefined) continue;
    let said = 'nothing';
    // A circuit may be open still, for a minute at most.
    const seen = await eventually(async () => {
      const call = lastCall(tenant, url);
      journal.calls.set(call.id, call);
      const signal = AbortSignal.timeout(20_000);
      const opened = await openCaller('raw legacy', wayOf(tenant, url.value), signal);
      const answer =
        'answer' in opened ? opened.answer : await opened.caller.call('read', { ...call.args }, signal);
      said = JSON.stringify(answer).slice(0, 200);
      const credential = journal.sightings.get(call.id)?.at(-1)?.credential ?? '';
      return { isDone: answer.kind === 'answered', value: answer.kind === 'answered' ? credential : null };
    }, 70_000);
    if (seen === null) {
      journal.report('h', `it cannot be called at the end: ${said}`, { tenant });
      continue;
    }
    const known = tenant.credentials.findLastIndex(({ knownAt }) => knownAt !== null);
    const right = tenant.credentials.slice(known).filter(({ endedAt }) => endedAt === null);
    if (!right.some(({ value }) => value === seen))
      journal.report('a', `the credential in use is the ${seen.split('.')[1]}th of ${tenantOf(seen)}`, {
        tenant,
      });
  }
}

let lastCalls = 0;

const lastCall = (tenant: Tenant, url: Call['url']): Call => {
  const id = `last-${(lastCalls += 1)}-${tenant.tag}`;
  return {
    id,
    tenant,
    client: 'raw legacy',
    url,
    tool: 'read',
    args: { call: id },
    startedAt: Date.now(),
    isExpected: false,
    endedAt: null,
    answer: null,
  };
};

/** Nothing is left open by clients that are all gone: no stream, no busy child, no waiting query, no request upstream. */
export async function checkLeaks(journal: Journal, soak: SoakFleet): Promise<void> {
  const { database, upstream } = soak;
  for (const crossing of upstream.crossings) journal.report('c', crossing);
  for (const service of soakServices) {
    const left = await eventually(async () => {
      const { body } = await callApi(soak.serviceOrigin(service), 'GET', '/metrics');
      const text = typeof body.text === 'string' ? body.text : '';
      const open = [
        ...sample(text, 'portolan_open_streams', 'streams'),
        ...sample(text, 'portolan_child_processes{[^}]*state="busy"[^}]*}', 'busy children'),
        ...sample(text, 'portolan_db_pool_[a-z]*{[^}]*state="waiting"[^}]*}', 'waiting queries'),
      ];
      return { isDone: text !== '' && open.length === 0, value: text === '' ? ['no metrics'] : open };
    }, 15_000);
    if (left.length > 0) journal.report('g', `${service} has left: ${left.join(', ')}`);
  }
  const openUpstream = await eventually(
    () => ({ isDone: upstream.open === 0, value: upstream.open }),
    10_000,
  );
  if (openUpstream > 0) journal.report('g', `${openUpstream} requests are open upstream`);
  const connections = await database.ask<{ name: string; count: number }>(
    `select application_name as name, count(*)::int as count from pg_stat_activity
      where application_name like 'portolan%' group by 1`,
  );
  for (const { name, count } of connections)
    if (count > 12) journal.report('g', `${name} has ${count} connections to the database`);
  const orphans = (await findMarkedIn('')).filter(({ mark }) => {
    const owner = Number(/\/(\d+)-/.exec(mark)?.[1]);
    return soak.pidsEver.has(owner) && !isAlive(owner);
  });
  if (orphans.length > 0) journal.report('g', `${orphans.length} children have no service process any more`);
}

function sample(text: string, name: string, what: string): string[] {
  const values = [...text.matchAll(new RegExp(`^${name}(?:{[^}]*})? ([0-9.e+]+)$`, 'gm'))].map(([, n]) =>
    Number(n),
  );
  const sum = values.reduce((all, one) => all + one, 0);
  return sum > 0 ? [`${sum} ${what}`] : [];
}
