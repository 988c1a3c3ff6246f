/**
 * The clients of a soak: one for each tenant, which calls again and again, keeps its session, holds streams, and now and
 * then goes away without a word (R23) or reads slowly (R24). Every call carries an id of its own in its arguments.
 */
import { request as httpRequest } from 'node:http';
import { setTimeout as delay } from 'node:timers/promises';
import { checkAnswer, checkOpening } from './callChecks.js';
import { callerKinds, openCaller, type Caller, type CallerKind } from './callers.js';
import type { Answer, Call, Journal, Tenant } from './journal.js';
import type { Random } from './random.js';
import { callTimeoutMs } from './soakServices.js';

/** A call that has not ended by then never will: its deadline, the time a hung process is given, and some. */
export const endMsMax = callTimeoutMs + 30_000;

export interface ClientOptions {
  readonly journal: Journal;
  readonly random: Random;
  readonly over: AbortSignal;
  /** Between two calls of one client, in ms. */
  readonly paceMs: readonly [number, number];
  /** Turns an instance URL into the one that is called: through the front, or straight on the port. */
  readonly wayOf: (tenant: Tenant, url: string) => string;
  readonly slackMs: () => number;
}

let calls = 0;

/** Calls until it is over; a tenant whose URL is over ends too. */
export async function runClient(tenant: Tenant, options: ClientOptions): Promise<void> {
  const { journal, over, paceMs } = options;
  const random = options.random.fork(`client of ${tenant.tag}`);
  let caller: Caller | null = null;
  let url = tenant.urls.at(-1);
  /** The end of the first good answer since something was in the way. */
  let goodSince: number | null = null;
  const pause = (): Promise<void> => sleep(random.between(...paceMs), over);

  while (!over.aborted) {
    const latest = tenant.urls.at(-1);
    if (latest === undefined) return;
    // A client learns of another URL when somebody enters it; some go on with the old one for a while.
    if (latest !== url && (url === undefined || random.chance(0.3))) {
      await caller?.end();
      [caller, url, goodSince] = [null, latest, null];
    }
    if (url === undefined || (url.endedAt !== null && url === latest)) {
      if (isGone(tenant)) break;
      await pause();
      continue;
    }
    if (journal.faultsDuring(Date.now(), Date.now(), tenant.service).length > 0) goodSince = null;
    const way = options.wayOf(tenant, url.value);
    if (caller === null) {
      const opened = await withDeadline(over, (signal) => openCaller(kindFor(tenant, random), way, signal));
      if (opened === null || 'answer' in opened) {
        if (opened !== null) checkOpening(journal, tenant, opened.answer);
        else if (!over.aborted)
          journal.report('f', 'a conversation was neither begun nor refused', { tenant });
        goodSince = null;
        await pause();
        continue;
      }
      ({ caller } = opened);
    }
    const call = newCall(tenant, caller.kind, url, random, goodSince !== null);
    journal.calls.set(call.id, call);
    const vanishMs = random.chance(0.06) ? random.between(1, 400) : null;
    const answer = await callOnce(caller, call, vanishMs, over);
    call.endedAt = Date.now();
    // What was cut off by the end of the soak says nothing.
    if (over.aborted && answer.kind === 'vanished') break;
    call.answer = answer;
    checkAnswer(journal, call, options.slackMs());
    if (answer.kind === 'answered') goodSince ??= call.endedAt;
    else if (answer.kind !== 'vanished') {
      goodSince = null;
      await caller.end();
      caller = null;
    } else if (random.chance(0.5)) {
      // The next one comes as somebody else.
      await caller.end();
      caller = null;
      goodSince = null;
    }
    if (random.chance(0.04)) void readSlowly(way, random, over);
    await pause();
  }
  await caller?.end();
}

const isGone = (tenant: Tenant): boolean =>
  tenant.doubts === 0 && tenant.urls.every(({ endedAt }) => endedAt !== null);

function kindFor({ service }: Tenant, random: Random): CallerKind {
  // A child has its own era: what a modern client is to a legacy server is a translation like any other.
  return service === 'modern' && random.chance(0.5)
    ? random.oneOf(['SDK v2 modern', 'raw modern'] as const)
    : random.oneOf(callerKinds);
}

function newCall(
  tenant: Tenant,
  client: CallerKind,
  url: Call['url'],
  random: Random,
  isExpected: boolean,
): Call {
  const id = `call-${(calls += 1)}-${tenant.tag}`;
  const drawn = random.next();
  const tool = drawn < 0.5 ? 'record' : drawn < 0.9 ? 'read' : 'wait';
  const args = tool === 'wait' ? { call: id, ms: random.between(200, 1_500) } : { call: id };
  return {
    id,
    tenant,
    client,
    url,
    tool,
    args,
    startedAt: Date.now(),
    isExpected,
    endedAt: null,
    answer: null,
  };
}

async function callOnce(
  caller: Caller,
  call: Call,
  vanishMs: number | null,
  over: AbortSignal,
): Promise<Answer> {
  const gone = new AbortController();
  const timer = vanishMs === null ? undefined : setTimeout(() => gone.abort(), vanishMs);
  const answered = await withDeadline(over, (signal) =>
    caller.call(call.tool, { ...call.args }, AbortSignal.any([signal, gone.signal])),
  );
  clearTimeout(timer);
  if (gone.signal.aborted) return answered?.kind === 'answered' ? answered : { kind: 'vanished' };
  return answered ?? (over.aborted ? { kind: 'vanished' } : { kind: 'no-end' });
}

/** Null when it had no end in its time. */
async function withDeadline<T>(
  over: AbortSignal,
  work: (signal: AbortSignal) => Promise<T>,
): Promise<T | null> {
  const deadline = AbortSignal.timeout(endMsMax);
  const signal = AbortSignal.any([deadline, over]);
  const ended = new Promise<null>((resolve) => {
    signal.addEventListener('abort', () => setTimeout(resolve, 2_000, null), { once: true });
  });
  return await Promise.race([work(signal), ended]);
}

/** Opens a stream, reads little of it and nothing more, and is gone after some seconds (R24). */
async function readSlowly(url: string, random: Random, over: AbortSignal): Promise<void> {
  const { hostname, port, pathname } = new URL(url);
  const request = httpRequest({
    hostname,
    port,
    path: pathname,
    method: 'GET',
    agent: false,
    headers: { accept: 'text/event-stream' },
  });
  request.on('error', () => {});
  request.on('response', (response) => {
    response.pause();
    response.on('error', () => {});
  });
  request.end();
  await sleep(random.between(1_000, 5_000), over);
  request.destroy();
}

export async function sleep(ms: number, over: AbortSignal): Promise<void> {
  await delay(ms, undefined, { signal: over }).catch(() => {});
}
