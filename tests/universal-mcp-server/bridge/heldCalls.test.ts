import { createSecretKey, randomBytes } from 'node:crypto';
import { EventEmitter, once } from 'node:events';
import { afterEach, describe, expect, it, jest } from '@jest/globals';
import { CallerGone } from '../../../backend/src/mcp-servers/universal-mcp-server/bridge/callAccount.js';
import {
  callAgeMsMax,
  CallDeadline,
} from '../../../backend/src/mcp-servers/universal-mcp-server/bridge/callDeadline.js';
import {
  HeldCall,
  type WaitingPost,
} from '../../../backend/src/mcp-servers/universal-mcp-server/bridge/heldCall.js';
import {
  HeldCalls,
  heldMsMax,
} from '../../../backend/src/mcp-servers/universal-mcp-server/bridge/heldCalls.js';
import {
  openRequestState,
  sealRequestState,
  type StateBinding,
} from '../../../backend/src/mcp-servers/universal-mcp-server/bridge/requestState.js';
import type { JsonObject } from '../../../backend/src/mcp-servers/universal-mcp-server/protocol/jsonRpc.js';

const minutes = 60_000;
const roomy = { perInstance: 10, inAll: 10, bytes: 1_000_000 };
const accept = { action: 'accept', content: {} };

const open: HeldCalls[] = [];
afterEach(() => {
  for (const held of open.splice(0)) held[Symbol.dispose]();
  jest.useRealTimers();
});

/** Held calls on a clock of the test's own, and calls of them. */
function aHolder(bounds = roomy) {
  const clock = { now: 1_000 };
  const held = new HeldCalls(() => clock.now, 'process', bounds);
  open.push(held);
  let ids = 0;
  const aCall = (instanceId = 'alice') => {
    const call = new HeldCall({ id: `call-${++ids}`, instanceId, held, now: () => clock.now });
    call.controller = new AbortController();
    return call;
  };
  return { clock, held, aCall };
}

/** A POST of a client that can be asked, and a way for it to leave. */
function aPost(capabilities: JsonObject = { elicitation: {} }): WaitingPost & { leave(): void } {
  const watchers = new Set<() => void>();
  return {
    reply: {
      isGone: false,
      onGone: (callback) => {
        watchers.add(callback);
        return () => void watchers.delete(callback);
      },
      send() {},
    },
    request: { jsonrpc: '2.0', id: 'post', method: 'tools/call', params: {} },
    capabilities,
    logLevel: null,
    leave: () => watchers.forEach((callback) => callback()),
  };
}

const question = (message = 'q') =>
  ({ jsonrpc: '2.0', id: 'theirs', method: 'elicitation/create', params: { message } }) as const;

/** Asks on behalf of the server; the answer is what goes back to it. */
async function hold(call: HeldCall, post: WaitingPost = aPost(), message = 'q') {
  const round = call.wait(post);
  const answered = call.onServerRequest(question(message)).catch((error: unknown) => error);
  return { round: await round, answered };
}

describe('held calls', () => {
  it('U07 keeps a call for the time of a round, then frees it: upstream cancelled, server told, nothing kept', async () => {
    const { clock, held, aCall } = aHolder();
    const call = aCall();
    const { round, answered } = await hold(call);
    expect(round).toMatchObject({ kind: 'input', round: 1, until: 1_000 + heldMsMax });
    expect([held.size, held.find(call.id), call.bytes > 0]).toEqual([1, call, true]);
    clock.now += heldMsMax - 1;
    held.sweep();
    expect([held.size, call.controller?.signal.aborted]).toEqual([1, false]);
    clock.now += 1;
    held.sweep();
    expect([held.size, held.find(call.id), call.bytes, call.isGone]).toEqual([0, null, 0, true]);
    expect(call.controller?.signal.reason).toBeInstanceOf(CallerGone);
    expect(await answered).toBeInstanceOf(Error);
    expect(await call.onServerRequest(question())).toMatchObject({ error: { code: -32601 } });
  });

  it('U07 each round has its own time, but no call outlives its age', async () => {
    const { clock, aCall } = aHolder();
    const call = aCall();
    const beganAt = clock.now;
    for (let round = 1; round <= 7; round += 1) {
      const { round: asked } = await hold(call);
      const until = Math.min(clock.now + heldMsMax, beganAt + callAgeMsMax);
      expect(asked).toMatchObject({ kind: 'input', round, until });
      call.takeAnswers({ [`input-${round}`]: accept });
      clock.now += 4 * minutes;
    }
    clock.now = beganAt + callAgeMsMax;
    await expect(hold(call)).rejects.toMatchObject({ code: 'UPSTREAM_TIMEOUT' });
  });

  it('U07 no more calls than one instance, or all, may hold; the one too many ends and says so', async () => {
    const { held, aCall } = aHolder({ ...roomy, perInstance: 1, inAll: 2 });
    await hold(aCall('alice'));
    const second = aCall('alice');
    await expect(hold(second)).rejects.toMatchObject({ code: 'RATE_LIMIT_EXCEEDED' });
    expect(second.controller?.signal.reason).toMatchObject({ code: 'RATE_LIMIT_EXCEEDED' });
    await hold(aCall('bob'));
    await expect(hold(aCall('carol'))).rejects.toMatchObject({ code: 'SERVICE_SATURATED' });
    expect(held.size).toBe(2);
  });

  it('U07 no more bytes than there is room for, be it questions or an answer that nobody took', async () => {
    const { held, aCall } = aHolder({ ...roomy, bytes: 5_000 });
    await expect(hold(aCall(), aPost(), 'x'.repeat(6_000))).rejects.toMatchObject({
      code: 'SERVICE_SATURATED',
    });
    const call = aCall();
    await hold(call);
    call.settle({ jsonrpc: '2.0', id: 0, result: { text: 'x'.repeat(6_000) } });
    expect([held.size, held.find(call.id)]).toEqual([0, null]);
    const small = aCall();
    await hold(small);
    small.settle({ jsonrpc: '2.0', id: 0, result: { done: true } });
    expect(held.find(small.id)).toBe(small);
    expect(await small.wait(aPost())).toEqual({
      kind: 'response',
      response: { jsonrpc: '2.0', id: 'post', result: { done: true } },
    });
    expect(held.size).toBe(0);
  });

  it('U07 too many questions, or too large ones, are refused to the server rather than kept', async () => {
    const { aCall } = aHolder({ ...roomy, bytes: 50_000_000 });
    const call = aCall();
    const first = await hold(call);
    const more = Array.from({ length: 40 }, () => call.onServerRequest(question()).catch(() => null));
    expect(await more.at(-1)).toMatchObject({ error: { code: -32603 } });
    expect(first.round).toMatchObject({ kind: 'input' });
    const other = aCall();
    void other.wait(aPost()).catch(() => null);
    const large = await other.onServerRequest(question('x'.repeat(5 * 1024 * 1024)));
    expect(large).toMatchObject({ error: { code: -32603 } });
    call.abandon();
  });

  it('U07 a POST that leaves ends the call; one that was answered with questions does not', async () => {
    const { held, aCall } = aHolder();
    const [call, post] = [aCall(), aPost()];
    await hold(call, post);
    post.leave();
    expect([held.size, call.controller?.signal.aborted]).toEqual([1, false]);
    const second = aPost();
    const waiting = call.wait(second).catch((error: unknown) => error);
    second.leave();
    expect(await waiting).toBeInstanceOf(CallerGone);
    expect([held.size, call.controller?.signal.aborted]).toEqual([0, true]);
  });

  it('U07 a later round asks its client only what that client declares now', async () => {
    const { aCall } = aHolder();
    const call = aCall();
    await hold(call);
    call.takeAnswers({ 'input-1': accept });
    const refused = call.onServerRequest(question());
    void call.wait(aPost({})).catch(() => null);
    expect(await refused).toMatchObject({ error: { code: -32601 } });
    expect(call.missingCapabilities).toEqual({ elicitation: { form: {} } });
    call.abandon();
  });
});

const request = (params: JsonObject, method = 'tools/call') =>
  ({ jsonrpc: '2.0', id: 1, method, params }) as const;

describe('the state that a client carries', () => {
  const kState = createSecretKey(randomBytes(32));
  const binding: StateBinding = {
    service: 'notes',
    instanceId: 'alice',
    epoch: 1,
    request: request({ name: 'a', arguments: { b: 1, c: [{ d: 1, e: 2 }] } }),
  };
  const state = { kind: 'held', processId: 'p', callId: 'c', round: 1, expiresAt: 10 } as const;
  const text = sealRequestState(kState, state, binding, randomBytes);
  const openAs = (changed: Partial<StateBinding>, now = 9, given = text) =>
    openRequestState(kState, given, { ...binding, ...changed }, now);

  it('U07 opens for the same call again, whatever its members’ order, its metadata and its answers', () => {
    const again = {
      _meta: { progressToken: 2 },
      arguments: { c: [{ e: 2, d: 1 }], b: 1 },
      name: 'a',
      inputResponses: { x: {} },
      requestState: text,
    };
    expect(openAs({})).toEqual(state);
    expect(openAs({ request: request(again) })).toEqual(state);
  });

  it.each<[string, Partial<StateBinding>]>([
    ['service', { service: 'other' }],
    ['instance', { instanceId: 'bob' }],
    ['epoch', { epoch: 2 }],
    ['method', { request: request({ name: 'a', arguments: { b: 1, c: [{ d: 1, e: 2 }] } }, 'prompts/get') }],
    ['tool', { request: request({ name: 'z', arguments: { b: 1, c: [{ d: 1, e: 2 }] } }) }],
    ['argument', { request: request({ name: 'a', arguments: { b: 2, c: [{ d: 1, e: 2 }] } }) }],
    ['order of a list', { request: request({ name: 'a', arguments: { b: 1, c: [{ d: 2, e: 1 }] } }) }],
  ])('U07 opens for no other %s', (_what, changed) => {
    expect(openAs(changed)).toBeNull();
  });

  it('U07 opens no longer than its time, and never with a changed bit', () => {
    expect(openAs({}, 10)).toBeNull();
    const bytes = Buffer.from(text, 'base64url');
    for (let bit = 0; bit < bytes.length * 8; bit += 7) {
      const changed = Buffer.from(bytes);
      changed[bit >> 3] = (changed[bit >> 3] ?? 0) ^ (1 << (bit & 7));
      expect(openAs({}, 9, changed.toString('base64url'))).toBeNull();
    }
  });
});

describe('the deadline of a call', () => {
  it('R05 stands still while its client is asked, and goes on from there', async () => {
    jest.useFakeTimers();
    let ended = 0;
    const deadline = new CallDeadline(1_000, () => (ended += 1));
    await jest.advanceTimersByTimeAsync(600);
    const answer = new EventEmitter();
    const asked = deadline.whileAsked(once(answer, 'given'));
    await jest.advanceTimersByTimeAsync(10 * minutes);
    expect(ended).toBe(0);
    answer.emit('given', 'yes');
    expect(await asked).toEqual(['yes']);
    await jest.advanceTimersByTimeAsync(399);
    expect(ended).toBe(0);
    await jest.advanceTimersByTimeAsync(1);
    expect(ended).toBe(1);
  });

  it('R05 ends however long a client is asked, and is silent once it is cleared', async () => {
    jest.useFakeTimers();
    let ended = 0;
    const deadline = new CallDeadline(1_000, () => (ended += 1));
    const forever = deadline.whileAsked(new Promise<never>(() => {}));
    void forever;
    await jest.advanceTimersByTimeAsync(callAgeMsMax);
    expect(ended).toBe(1);
    const cleared = new CallDeadline(1_000, () => (ended += 1));
    cleared.clear();
    await cleared.whileAsked(Promise.resolve());
    await jest.advanceTimersByTimeAsync(callAgeMsMax);
    expect(ended).toBe(1);
  });
});
