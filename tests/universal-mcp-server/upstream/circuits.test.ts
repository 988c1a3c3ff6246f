/** Which faults open which circuit, for how long, and what closes it again (06, "Defaults": breaker per instance and host). */
import { beforeEach, describe, expect, it } from '@jest/globals';
import { answerTooLarge } from '../../../backend/src/egress/decodeBody.js';
import { AppError } from '../../../backend/src/errors/appError.js';
import {
  createCircuits,
  toAnswerEnd,
  toPassageEnd,
  type Circuits,
  type PassageEnd,
} from '../../../backend/src/mcp-servers/universal-mcp-server/upstream/circuits.js';

const host = 'https://api.example.com';
let clock: number;
let circuits: Circuits;
beforeEach(() => {
  clock = 1_000;
  circuits = createCircuits({ now: () => clock });
});

/** The library settles a result some microtasks later; a real request takes longer than that. */
const settled = () => new Promise((resolve) => setImmediate(resolve));

/** An instance of a user of the same name, or `user/label` for one of several. */
const of = (instance: string) => ({ id: instance, userId: instance.split('/')[0] ?? '' });

async function send(instance: string, how: PassageEnd, origin = host): Promise<void> {
  circuits.enter(origin, of(instance)).end(how);
  await settled();
}

async function sendMany(times: number, instance: string, how: PassageEnd): Promise<void> {
  for (let i = 0; i < times; i++) await send(instance, how);
}

function refusal(instance: string, origin = host): AppError | null {
  try {
    // Without an end: a trial that is begun by looking would stay under way.
    circuits.enter(origin, of(instance)).end('abandoned');
    return null;
  } catch (error) {
    return error as AppError;
  }
}

describe('the circuit of an instance', () => {
  it('opens after five faults in a row, for that instance alone', async () => {
    await sendMany(4, 'alice', 'failed');
    expect(refusal('alice')).toBeNull();
    await send('alice', 'failed');
    expect(refusal('alice')).toMatchObject({
      code: 'SERVICE_UNAVAILABLE',
      options: { retryAfterSeconds: 5, publicDetail: expect.stringContaining('this instance') },
    });
    expect(refusal('bob')).toBeNull();
    expect(circuits.openCount).toBe(1);
  });

  it('counts faults in a row only, and nothing but faults', async () => {
    for (let i = 0; i < 10; i++) {
      await sendMany(4, 'alice', 'failed');
      await send('alice', 'answered');
    }
    await sendMany(100, 'alice', 'abandoned');
    await sendMany(4, 'alice', 'failed');
    expect(refusal('alice')).toBeNull();
  });

  it('lets one request try after its pause; a good one closes it', async () => {
    await sendMany(5, 'alice', 'failed');
    clock += 5_000;
    const trial = circuits.enter(host, of('alice'));
    expect(refusal('alice')).toMatchObject({ code: 'SERVICE_UNAVAILABLE' });
    trial.end('answered');
    await settled();
    expect(refusal('alice')).toBeNull();
    expect(circuits.openCount).toBe(0);
    await sendMany(4, 'alice', 'failed');
    expect(refusal('alice')).toBeNull();
  });

  it('doubles its pause with each trial that fails, up to a minute, and begins anew once closed', async () => {
    await sendMany(5, 'alice', 'failed');
    const pauses: unknown[] = [];
    for (let i = 0; i < 6; i++) {
      const pause = Number(refusal('alice')!.options.retryAfterSeconds);
      pauses.push(pause);
      clock += pause * 1_000;
      await send('alice', 'failed');
    }
    expect(pauses).toEqual([5, 10, 20, 40, 60, 60]);
    clock += 60_000;
    await send('alice', 'answered');
    await sendMany(5, 'alice', 'failed');
    expect(refusal('alice')!.options.retryAfterSeconds).toBe(5);
  });

  it('makes nothing of a trial whose caller left: the next request is the trial', async () => {
    await sendMany(5, 'alice', 'failed');
    clock += 5_000;
    await send('alice', 'abandoned');
    await send('alice', 'failed');
    expect(refusal('alice')!.options.retryAfterSeconds).toBe(10);
  });

  it('hears late results of requests that left before it opened without harm', async () => {
    const late = Array.from({ length: 5 }, () => circuits.enter(host, of('alice')));
    await sendMany(5, 'alice', 'failed');
    for (const passage of late) passage.end('failed');
    await settled();
    expect(refusal('alice')!.options.retryAfterSeconds).toBe(5);
  });
});

describe('the circuit of a host', () => {
  it('opens for everybody when it takes no connection, whoever found out', async () => {
    await sendMany(4, 'alice', 'unreachable');
    expect(refusal('bob')).toBeNull();
    await send('alice', 'unreachable');
    for (const who of ['alice', 'bob'])
      expect(refusal(who)).toMatchObject({
        code: 'SERVICE_UNAVAILABLE',
        options: { publicDetail: expect.stringContaining('not answering') },
      });
    expect(refusal('alice', 'https://other.example.com')).toBeNull();
  });

  it('stays closed for others while one instance alone meets faults, however many', async () => {
    await sendMany(5, 'alice', 'failed');
    for (let i = 0; i < 50; i++) {
      clock += 60_000;
      await send('alice', 'failed');
    }
    expect(refusal('bob')).toBeNull();
  });

  it('stays closed for others while one user meets faults with several instances, however many', async () => {
    for (let i = 0; i < 15; i++) await send(`mallory/${i}`, 'failed');
    expect(refusal('alice')).toBeNull();
    await send('bob', 'failed');
    expect(refusal('alice')).not.toBeNull();
  });

  it('opens when two users meet ten faults in a row, and closes for both with one good trial', async () => {
    for (let i = 0; i < 5; i++) {
      await send('alice', 'failed');
      await send('bob', 'failed');
    }
    expect(refusal('carol')).toMatchObject({ code: 'SERVICE_UNAVAILABLE' });
    clock += 5_000;
    const trial = circuits.enter(host, of('carol'));
    expect(refusal('dave')).toMatchObject({ code: 'SERVICE_UNAVAILABLE' });
    trial.end('answered');
    await settled();
    for (const who of ['alice', 'bob', 'carol', 'dave']) expect(refusal(who)).toBeNull();
  });

  it('is closed again by one good answer for anybody before that', async () => {
    for (let i = 0; i < 20; i++) {
      await sendMany(4, `alice ${i}`, 'failed');
      await sendMany(4, `bob ${i}`, 'failed');
      await send('carol', 'answered');
    }
    expect(refusal('carol')).toBeNull();
  });

  it('keeps its pauses by the monotonic clock, whatever the wall clock does', async () => {
    circuits = createCircuits({ now: () => clock });
    const wall = Date.now;
    try {
      await sendMany(5, 'alice', 'unreachable');
      Date.now = () => wall() - 86_400_000;
      clock += 5_000;
      await send('alice', 'answered');
      expect(refusal('alice')).toBeNull();
    } finally {
      Date.now = wall;
    }
  });
});

it('takes for faults what the service did, and nothing that a caller or we did', () => {
  expect([200, 400, 401, 403, 404, 429, 500, 503].map(toAnswerEnd)).toEqual([
    ...Array.from({ length: 6 }, () => 'answered'),
    'failed',
    'failed',
  ]);
  const ends = (
    [
      'UPSTREAM_UNREACHABLE',
      'UPSTREAM_TIMEOUT',
      'UPSTREAM_FAILED',
      'EXPIRED_CREDENTIALS',
      'EGRESS_DENIED',
      'SERVICE_SATURATED',
      'RATE_LIMIT_EXCEEDED',
      'CREDENTIAL_UNREADABLE',
    ] as const
  ).map((code) => toPassageEnd(new AppError(code, '')));
  expect(ends).toEqual(['unreachable', 'failed', 'failed', ...Array.from({ length: 5 }, () => 'abandoned')]);
  expect(toPassageEnd(answerTooLarge(1))).toBe('answered');
  expect(toPassageEnd(new Error('the client is gone'))).toBe('abandoned');
});
