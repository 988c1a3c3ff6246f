/**
 * The owners of a soak's instances, who change them while they are used: make, rotate, pause, resume, give another
 * credential, delete. What was acknowledged is kept; what got no answer is looked up once the API answers again.
 */
import { randomUUID } from 'node:crypto';
import { sleep } from './clients.js';
import { hold, type Change, type ChangeKind, type Journal, type Tenant } from './journal.js';
import type { Random } from './random.js';
import { soakServices, type SoakService } from './soakServices.js';

export interface ApiAnswer {
  /** 0: there was none. */
  readonly status: number;
  readonly body: Readonly<Record<string, unknown>>;
}

export interface Owner {
  readonly name: string;
  /** Never throws. */
  call(method: string, path: string, body?: object, requestId?: string): Promise<ApiAnswer>;
}

export interface OwnerOptions {
  readonly journal: Journal;
  readonly random: Random;
  readonly over: AbortSignal;
  /** Between two changes of one owner, in ms. */
  readonly paceMs: readonly [number, number];
  /** Begins a client for an instance that was made meanwhile. */
  readonly onMade: (tenant: Tenant) => void;
}

const instancePath = (service: string, label: string, more = ''): string =>
  `/api/v1/services/${service}/instance${more}?label=${label}`;

/** Makes an instance, which has to work. */
export async function makeTenant(
  journal: Journal,
  owner: Owner,
  service: SoakService,
  tag: string,
): Promise<Tenant> {
  for (let attempts = 0; attempts < 5; attempts += 1) {
    const tenant = await create(journal, owner, service, `${tag}${attempts === 0 ? '' : `-${attempts}`}`);
    if (tenant !== null) return tenant;
  }
  throw new Error(
    `${owner.name} could not make an instance of ${service}: ${journal.changes.at(-1)?.status}`,
  );
}

/** Changes the owner's instances one at a time until it is over. */
export async function runOwner(owner: Owner, first: readonly Tenant[], options: OwnerOptions): Promise<void> {
  const { journal, over, paceMs } = options;
  const random = options.random.fork(`owner ${owner.name}`);
  const mine = [...first];
  let made = 0;
  while (!over.aborted) {
    await sleep(random.between(...paceMs), over);
    if (over.aborted) return;
    const extras = mine.filter(({ tag }) => tag.includes('x'));
    const drawn = random.next();
    if (drawn < 0.12 && extras.length < 3) {
      const tag = `${owner.name}x${(made += 1)}`;
      const tenant = await create(journal, owner, random.oneOf(soakServices), tag);
      if (tenant === null) continue;
      mine.push(tenant);
      options.onMade(tenant);
    } else if (drawn < 0.2 && extras.length > 0) {
      const gone = random.oneOf(extras);
      mine.splice(mine.indexOf(gone), 1);
      await remove(journal, owner, gone, over);
    } else if (drawn < 0.6) {
      await replaceCredential(journal, owner, random.oneOf(mine), over);
    } else if (drawn < 0.8) {
      await rotate(journal, owner, random.oneOf(mine), over);
    } else {
      await pauseAndResume(journal, owner, random.oneOf(mine), random.between(500, 3_500), over);
    }
  }
}

async function create(
  journal: Journal,
  owner: Owner,
  service: SoakService,
  tag: string,
): Promise<Tenant | null> {
  const token = `${tag}.1`;
  const body = { apiKey: token, label: tag };
  const { change, answer } = await attempt(journal, owner, 'created', tag, 'POST', pathOf(service), body);
  // What may have been made without anybody's knowing is nobody's to use.
  if (change.outcome !== 'acknowledged' || typeof answer.body.instanceUrl !== 'string') return null;
  const tenant: Tenant = {
    tag,
    service,
    label: tag,
    id: String(answer.body.id),
    urls: [known(answer.body.instanceUrl, change.sentAt)],
    credentials: [known(token, change.sentAt)],
    pauses: [],
    doubts: 0,
    lastChangedAt: Date.now(),
  };
  journal.tenants.push(tenant);
  return tenant;
}

const pathOf = (service: string): string => `/api/v1/services/${service}/authenticate`;
const known = (value: string, sentAt: number) => ({ ...hold(value, sentAt), knownAt: Date.now() });

async function replaceCredential(
  journal: Journal,
  owner: Owner,
  tenant: Tenant,
  over: AbortSignal,
): Promise<void> {
  const former = tenant.credentials.filter(({ endedAt }) => endedAt === null);
  const token = `${tenant.tag}.${tenant.credentials.length + 1}`;
  const fresh = hold(token, Date.now());
  tenant.credentials.push(fresh);
  await changing(tenant, async () => {
    for (const one of former) one.endSentAt ??= Date.now();
    const body = { apiKey: token, label: tenant.label };
    const { change } = await attempt(
      journal,
      owner,
      'replaced',
      tenant.tag,
      'POST',
      pathOf(tenant.service),
      body,
    );
    if (change.outcome === 'acknowledged') {
      fresh.knownAt = Date.now();
      for (const one of former) one.endedAt = fresh.knownAt;
    } else if (change.outcome === 'refused') {
      fresh.endedAt = Date.now();
      for (const one of former) one.endSentAt = null;
    } else {
      // Either may be in use from now on, until another is acknowledged.
      return (await lookUp(owner, tenant.service, tenant.label, over)) !== null;
    }
    return true;
  });
}

async function rotate(journal: Journal, owner: Owner, tenant: Tenant, over: AbortSignal): Promise<void> {
  const before = tenant.urls.at(-1);
  if (before === undefined) return;
  await changing(tenant, async () => {
    before.endSentAt = Date.now();
    const path = instancePath(tenant.service, tenant.label, '/rotate');
    const { change, answer } = await attempt(journal, owner, 'rotated', tenant.tag, 'POST', path);
    if (change.outcome === 'refused') {
      before.endSentAt = null;
      return true;
    }
    const found =
      change.outcome === 'acknowledged' ? answer : await lookUp(owner, tenant.service, tenant.label, over);
    const now = found?.body.instanceUrl;
    if (typeof now !== 'string') return false;
    if (now === before.value) {
      before.endSentAt = null;
    } else {
      before.endedAt = Date.now();
      tenant.urls.push(known(now, change.sentAt));
    }
    return true;
  });
}

async function pauseAndResume(
  journal: Journal,
  owner: Owner,
  tenant: Tenant,
  ms: number,
  over: AbortSignal,
): Promise<void> {
  const path = instancePath(tenant.service, tenant.label);
  const pause = hold('paused', Date.now());
  tenant.pauses.push(pause);
  await changing(tenant, async () => {
    const paused = await attempt(journal, owner, 'paused', tenant.tag, 'PATCH', path, { isActive: false });
    if (paused.change.outcome === 'acknowledged') pause.knownAt = Date.now();
    else if (paused.change.outcome === 'unknown') await lookUp(owner, tenant.service, tenant.label, over);
    await sleep(ms, over);
    for (;;) {
      pause.endSentAt = Date.now();
      const { change } = await attempt(journal, owner, 'resumed', tenant.tag, 'PATCH', path, {
        isActive: true,
      });
      if (change.outcome === 'acknowledged') break;
      const found = await lookUp(owner, tenant.service, tenant.label, over);
      if (found?.body.isActive === true) break;
      // Resumed in the end, also when the soak is over meanwhile, so that the last look finds all of them well.
      if (over.aborted && found === null) return false;
    }
    pause.endedAt = Date.now();
    return true;
  });
}

async function remove(journal: Journal, owner: Owner, tenant: Tenant, over: AbortSignal): Promise<void> {
  await changing(tenant, async () => {
    for (const url of tenant.urls) url.endSentAt ??= Date.now();
    const path = instancePath(tenant.service, tenant.label);
    for (;;) {
      const { change } = await attempt(journal, owner, 'deleted', tenant.tag, 'DELETE', path);
      const isGone =
        change.outcome === 'acknowledged' ||
        change.status === 404 ||
        (await lookUp(owner, tenant.service, tenant.label, over))?.status === 404;
      if (isGone) break;
      if (over.aborted) return false;
    }
    for (const url of tenant.urls) url.endedAt ??= Date.now();
    return true;
  });
}

/** While an owner changes it, and for good if they never learn what came of it, nothing certain is said of a tenant. */
async function changing(tenant: Tenant, work: () => Promise<boolean>): Promise<void> {
  tenant.doubts += 1;
  tenant.lastChangedAt = Date.now();
  const isCertain = await work();
  if (isCertain) tenant.doubts -= 1;
  tenant.lastChangedAt = Date.now();
}

async function attempt(
  journal: Journal,
  owner: Owner,
  kind: ChangeKind,
  tag: string,
  method: string,
  path: string,
  body?: object,
): Promise<{ readonly change: Change; readonly answer: ApiAnswer }> {
  const change: Change = {
    requestId: randomUUID(),
    kind,
    tag,
    sentAt: Date.now(),
    endedAt: null,
    outcome: null,
    status: null,
  };
  journal.changes.push(change);
  const answer = await owner.call(method, path, body, change.requestId);
  change.endedAt = Date.now();
  change.status = answer.status;
  change.outcome =
    answer.status >= 200 && answer.status < 300
      ? 'acknowledged'
      : answer.status >= 400 && answer.status < 500
        ? 'refused'
        : 'unknown';
  if (answer.status === 500) journal.report('f', `a change (${kind}) was answered with 500`);
  return { change, answer };
}

/**
 * Asks until it is told. Twice, with a pause: a COMMIT that a stalled server still has may come between.
 * Null when the soak is over first.
 */
async function lookUp(
  owner: Owner,
  service: string,
  label: string,
  over: AbortSignal,
): Promise<ApiAnswer | null> {
  for (let told = 0; ;) {
    const answer = await owner.call('GET', instancePath(service, label));
    if (answer.status === 200 || answer.status === 404) told += 1;
    if (told === 2) return answer;
    if (over.aborted && told === 0) return null;
    await sleep(over.aborted ? 0 : 750, over);
  }
}
