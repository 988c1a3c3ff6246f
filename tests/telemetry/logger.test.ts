import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { describe, expect, it } from '@jest/globals';
import { request } from 'undici';
import { AppError } from '../../backend/src/errors/appError.js';
import { toLoggedError } from '../../backend/src/telemetry/loggedError.js';
import { createLogger, type LogFields, type Logger } from '../../backend/src/telemetry/logger.js';
import { redact } from '../../backend/src/telemetry/redact.js';

const canary = 'canary-5f1c0e';
const instanceId = 'github_6EkrNRmxNbwI0OOSVikQsd9sIfN3SJvJa';

describe('the log', () => {
  it('X04 writes one JSON line with the typed fields under their names', () => {
    const { log, lines } = aLog();
    log.child({ requestId: 'r-1', userId: 'u-1' }).info('call answered', {
      instance: 'i-1',
      traceId: 't-1',
      method: 'tools/call',
      tool: 'echo',
      route: '/api/v1/users/:id',
      status: 200,
      errorCode: 'NOT_FOUND',
      durationMs: 1.5,
      count: 3,
    });
    const [line, ...others] = lines();
    expect(others).toEqual([]);
    expect(line).toEqual({
      level: 'info',
      time: expect.stringMatching(/^\d{4}-\d\d-\d\dT[\d:.]+Z$/),
      program: 'mcp-github',
      pid: process.pid,
      service: 'github',
      msg: 'call answered',
      request_id: 'r-1',
      user_id: 'u-1',
      instance: 'i-1',
      trace_id: 't-1',
      method: 'tools/call',
      tool: 'echo',
      route: '/api/v1/users/:id',
      status: 200,
      error_code: 'NOT_FOUND',
      duration_ms: 1.5,
      count: 3,
    });
  });

  it('H01 drops every field that is not in the list, however it came in', () => {
    const { log, text } = aLog();
    const smuggled = { url: canary, headers: { authorization: canary }, body: canary, args: [canary] };
    const fields = { status: 500, ...smuggled, method: { nested: canary } } as unknown as LogFields;
    log.error('it failed', fields);
    log.child(fields).warn('it failed again');
    expect(text()).not.toContain(canary);
    expect(text()).toContain('"status":500');
  });

  it('H01 keeps instance ids, addresses, JWTs and bearer values out of messages and fields', () => {
    const { log, text } = aLog();
    const jwt = 'eyJhbGciOiJFUzI1NiJ9.eyJzdWIiOiJ4In0.c2ln';
    const leaks = [
      `call of ${instanceId} failed`,
      `GET https://front.example/${canary}?key=${canary}`,
      `Authorization: Bearer ${canary}`,
      `cookie ${jwt}`,
      `postgres://portolan:${canary}@localhost/db`,
    ];
    for (const leak of leaks) log.warn(leak, { tool: leak, method: leak });
    for (const secret of [instanceId, canary, jwt]) expect(text()).not.toContain(secret);
  });

  it('writes nothing below its level, and nothing at all when silent', () => {
    const warn = aLog('warn');
    warn.log.info('unheard');
    warn.log.warn('heard');
    expect(warn.lines().map(({ msg }) => msg)).toEqual(['heard']);
    const silent = aLog('silent');
    silent.log.error('unheard');
    expect(silent.text()).toBe('');
  });

  it('keeps one event on one line, whatever the text holds', () => {
    const { log, text } = aLog();
    log.info('first\nsecond\u0000\u001b[31m', { tool: 'a\r\n{"level":"error"}' });
    expect(text().trimEnd().split('\n')).toHaveLength(1);
    expect(text()).not.toContain('\\u001b');
  });
});

describe('an error in the log', () => {
  it('H01 is its class, code and frames, never its message', () => {
    const error = Object.assign(new TypeError(`bad value ${canary}`), { code: 'ERR_BAD', input: canary });
    const logged = toLoggedError(error);
    expect(logged).toMatchObject({ class: 'TypeError', code: 'ERR_BAD' });
    expect(logged.frames?.[0]).toMatch(/logger\.test\.ts/);
    expect(JSON.stringify(logged)).not.toContain(canary);
  });

  it('H01 follows causes, which show as little', () => {
    const cause = Object.assign(new Error(canary), { detail: canary, code: '23505' });
    const logged = toLoggedError(new AppError('CONFLICT', 'the label is taken', { cause }));
    expect(logged).toMatchObject({
      class: 'AppError',
      code: 'CONFLICT',
      reason: 'the label is taken',
      cause: { class: 'Error', code: '23505' },
    });
    expect(JSON.stringify(logged)).not.toContain(canary);
  });

  it('ends at a cause that goes round in a circle', () => {
    const error = new Error('round');
    error.cause = error;
    expect(JSON.stringify(toLoggedError(error)).match(/"class"/g)).toHaveLength(5);
  });

  it.each([
    ['a message that looks like frames', new Error(`x\n    at ${canary} (/srv/${canary}.js:1:1)`)],
    ['a changed message', changed(new Error(`x\n    at ${canary} (/srv/a.js:1:1)`), 'x')],
    ['a class named by a stranger', renamed(new Error('x'), canary)],
    ['a code that is no code', Object.assign(new Error('x'), { code: `${canary} 401` })],
    [
      'a stack that was set',
      Object.assign(new Error('x'), { stack: `Error: x\n    at f (https://h/?${canary}:1:1)` }),
    ],
    ['a thrown text', canary],
    ['a thrown object', { message: canary, stack: canary, code: canary }],
    ['an AggregateError', new AggregateError([new Error(canary)], canary)],
  ])('H01 shows no secret from %s', (_what, thrown) => {
    expect(JSON.stringify(toLoggedError(thrown))).not.toContain(canary);
  });

  it('H01 shows no secret from the errors that libraries make of secrets', async () => {
    const header = await rejectionOf(
      request('http://127.0.0.1:9/', { headers: { authorization: `Bearer ${canary}\r\n` } }),
    );
    const url = thrownBy(() => new URL(`http://user:${canary}@[bad/`));
    const json = thrownBy(() => JSON.parse(`{"key":"${canary}"`));
    const child = spawn('/nonexistent/program', [canary], { env: { SECRET: canary } });
    const [spawned] = await once(child, 'error');
    for (const error of [header, url, json, spawned]) {
      const { log, text } = aLog();
      log.error('it failed', { error });
      expect(text()).toContain('"class"');
      expect(text()).not.toContain(canary);
    }
  });
});

it('H01 redaction leaves ordinary words alone', () => {
  const text = 'service github_enterprise has 3 instances at /api/v1/users/:id';
  expect(redact(text)).toBe(text);
});

function aLog(level: 'info' | 'warn' | 'silent' = 'info') {
  let written = '';
  const log: Logger = createLogger({
    level,
    program: 'mcp-github',
    service: 'github',
    destination: { write: (line) => void (written += line) },
  });
  const lines = () =>
    written
      .split('\n')
      .filter((line) => line !== '')
      .map((line): Record<string, unknown> => JSON.parse(line));
  return { log, text: () => written, lines };
}

function changed(error: Error, message: string): Error {
  error.message = message;
  return error;
}

function renamed(error: Error, name: string): Error {
  error.name = name;
  return error;
}

function thrownBy(action: () => unknown): unknown {
  try {
    action();
  } catch (error) {
    return error;
  }
  throw new Error('nothing was thrown');
}

async function rejectionOf(promise: Promise<unknown>): Promise<unknown> {
  return promise.then(
    () => {
      throw new Error('it did not reject');
    },
    (error: unknown) => error,
  );
}
