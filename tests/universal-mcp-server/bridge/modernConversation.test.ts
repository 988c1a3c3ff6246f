import { afterAll, afterEach, describe, expect, it, jest } from '@jest/globals';
import { AppError } from '../../../backend/src/errors/appError.js';
import type { BridgeContext } from '../../../backend/src/mcp-servers/universal-mcp-server/bridge/bridgeContext.js';
import { HeldCall } from '../../../backend/src/mcp-servers/universal-mcp-server/bridge/heldCall.js';
import { HeldCalls } from '../../../backend/src/mcp-servers/universal-mcp-server/bridge/heldCalls.js';
import {
  findConversation,
  ModernConversation,
} from '../../../backend/src/mcp-servers/universal-mcp-server/bridge/modernConversation.js';
import type { JsonObject } from '../../../backend/src/mcp-servers/universal-mcp-server/protocol/jsonRpc.js';
import type {
  BackgroundListener,
  ConnectionTerms,
  UpstreamConnection,
} from '../../../backend/src/mcp-servers/universal-mcp-server/upstream/upstream.js';
import type { InstanceRoom } from '../../../backend/src/mcp-servers/universal-mcp-server/bridge/instanceRooms.js';
import { isSameRevision } from '../../../backend/src/services/oauth/sameGrant.js';
import type { SealedInstance } from '../../../backend/src/services/instanceResolver.js';

const never = new AbortController().signal;
// What the conversation reads of an instance is whether its revision changed.
const instance = { id: 'alice', epoch: 1, credentialRevision: 1, overridesRevision: 0 } as SealedInstance;

/** An upstream that stays silent; what it was told and what it can say is kept. */
function anUpstream(attribution: 'exact' | 'none', connectionsMax = Infinity) {
  const told: ConnectionTerms[] = [];
  const backgrounds: BackgroundListener[] = [];
  let released = 0;
  const connect = (terms: ConnectionTerms): Promise<UpstreamConnection> => {
    if (told.length - released >= connectionsMax)
      return Promise.reject(new AppError('SERVICE_SATURATED', 'no room for another'));
    told.push(terms);
    return Promise.resolve({
      era: 'legacy',
      attribution,
      server: { protocolVersion: '2025-11-25', capabilities: {}, serverInfo: {} },
      request: () => new Promise(() => {}),
      notify() {},
      listen: (listener) => {
        backgrounds.push(listener);
        return () => {};
      },
      release: () => void (released += 1),
    });
  };
  // The slice of the context that a conversation takes.
  const ctx = {
    upstream: { connect },
    openValues: () => ({}),
    mayGoOn: isSameRevision,
    definition: { kind: 'stdio' },
  } as unknown as BridgeContext;
  return { ctx, told, backgrounds, released: () => released };
}

const held = new HeldCalls(() => 0, 'process');
afterEach(() => {
  jest.restoreAllMocks();
});
afterAll(() => {
  held[Symbol.dispose]();
});

function someCalls() {
  let ids = 0;
  return {
    aCall: () => new HeldCall({ id: `${++ids}`, instanceId: 'alice', held, now: () => 0 }),
    /** Makes a call wait for its client. */
    hold: async (call: HeldCall) => {
      const round = call.wait({
        reply: { isGone: false, onGone: () => () => {}, send() {} },
        request: { jsonrpc: '2.0', id: 1, method: 'tools/call' },
        capabilities: { roots: {} },
        logLevel: null,
      });
      void call.onServerRequest({ jsonrpc: '2.0', id: 1, method: 'roots/list' }).catch(() => null);
      await round;
    },
  };
}

describe('the conversation of modern clients of one set of capabilities', () => {
  it('U07 over one pipe a call waits for the one before, and meets the same connection', async () => {
    const { ctx, told } = anUpstream('none');
    const { aCall } = someCalls();
    const conversation = new ModernConversation(ctx, { roots: {} });
    const first = await conversation.take(instance, aCall(), null, never);
    let isTaken = false;
    const second = conversation.take(instance, aCall(), null, never).then((taken) => {
      isTaken = true;
      return taken;
    });
    await conversation.connect(instance, null, never);
    expect([isTaken, told.length]).toEqual([false, 1]);
    expect(conversation.usedAt).toBe(Infinity);
    first.release();
    (await second).release();
    expect([isTaken, told.length]).toEqual([true, 1]);
    expect(conversation.usedAt).toBeLessThan(Infinity);
    conversation.close();
  });

  it('U07 whoever gives up waiting is not given the connection', async () => {
    const { ctx } = anUpstream('none');
    const { aCall } = someCalls();
    const conversation = new ModernConversation(ctx, { roots: {} });
    const first = await conversation.take(instance, aCall(), null, never);
    const giving = new AbortController();
    const second = conversation.take(instance, aCall(), null, giving.signal);
    giving.abort(new Error('too long'));
    await expect(second).rejects.toThrow('too long');
    first.release();
    (await conversation.take(instance, aCall(), null, never)).release();
    conversation.close();
  });

  it('U07 a held call gives way to a connection of its own for the next, as long as there is room', async () => {
    const { ctx, told, released } = anUpstream('none', 4);
    const { aCall, hold } = someCalls();
    const conversation = new ModernConversation(ctx, { roots: {} });
    const taken = [];
    for (let count = 0; count < 4; count += 1) {
      const call = aCall();
      taken.push(await conversation.take(instance, call, null, never));
      await hold(call);
    }
    expect(told.map(({ sessionId }) => sessionId)).toEqual(
      [0, 1, 2, 3].map((index) => `modern/{"roots":{}}/${index}`),
    );
    await expect(conversation.take(instance, aCall(), null, never)).rejects.toMatchObject({
      code: 'SERVICE_SATURATED',
    });
    taken[1]?.release();
    expect(released()).toBe(1);
    (await conversation.take(instance, aCall(), null, never)).release();
    expect(told.at(-1)?.sessionId).toBe('modern/{"roots":{}}/1');
    conversation.close();
    expect(released()).toBe(5);
  });

  it('U07 where there is no room, the client that has not come back for longest gives way', async () => {
    const clock = jest.spyOn(performance, 'now');
    const { ctx } = anUpstream('none', 2);
    const { aCall, hold } = someCalls();
    const conversation = new ModernConversation(ctx, { roots: {} });
    const calls = [aCall(), aCall()];
    for (const [at, call] of calls.entries()) {
      clock.mockReturnValue(at * 1_000);
      const taken = await conversation.take(instance, call, null, never);
      call.controller = new AbortController();
      call.controller.signal.addEventListener('abort', () => taken.release());
      await hold(call);
    }
    clock.mockReturnValue(29_999);
    await expect(conversation.take(instance, aCall(), null, never)).rejects.toMatchObject({
      code: 'SERVICE_SATURATED',
    });
    clock.mockReturnValue(30_000);
    (await conversation.take(instance, aCall(), null, never)).release();
    expect(calls.map(({ isGone }) => isGone)).toEqual([true, false]);
    conversation.close();
  });

  it('U07 where a question comes with its call, all calls share one connection; what comes without goes to one or none', async () => {
    const { ctx, told, backgrounds } = anUpstream('exact');
    const { aCall, hold } = someCalls();
    const conversation = new ModernConversation(ctx, { roots: {} });
    const [one, other] = [aCall(), aCall()];
    const first = await conversation.take(instance, one, null, never);
    await hold(one);
    const roots = { jsonrpc: '2.0', id: 'b', method: 'roots/list' } as const;
    let isRefused = false;
    void backgrounds[0]?.onServerRequest(roots).then(
      () => (isRefused = true),
      () => null,
    );
    const second = await conversation.take(instance, other, null, never);
    expect([told.length, isRefused]).toEqual([1, false]);
    // Now nobody can tell whose it would be.
    expect(await backgrounds[0]?.onServerRequest(roots)).toMatchObject({ error: { code: -32601 } });
    first.release();
    second.release();
    expect(await backgrounds[0]?.onServerRequest(roots)).toMatchObject({ error: { code: -32601 } });
    conversation.close();
  });

  it('U07 one instance has one for each set of capabilities, and no more than eight: who is idle gives way', () => {
    const { ctx } = anUpstream('none');
    const room = { open: new Map() } as unknown as InstanceRoom;
    const find = (capabilities: JsonObject) => findConversation(ctx, room, capabilities);
    const first = find({ roots: {}, sampling: { tools: {} } });
    expect(find({ sampling: { tools: {} }, roots: { listChanged: true } })).toBe(first);
    const others = Array.from({ length: 7 }, (_one, at) => find({ extensions: { [`x${at}`]: {} } }));
    const done = [first, ...others].map((one) => one.use());
    expect(() => find({})).toThrow(expect.objectContaining({ code: 'RATE_LIMIT_EXCEEDED' }));
    done[3]?.();
    const plain = find({});
    expect([room.open.size, Array.from(room.open.values()).some((one) => one === others[2])]).toEqual([
      8,
      false,
    ]);
    expect(find({})).toBe(plain);
  });
});
