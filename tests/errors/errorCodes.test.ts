import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { describe, expect, it } from '@jest/globals';
import { AppError, toAppError } from '../../backend/src/errors/appError.js';
import { errorCodes } from '../../backend/src/errors/errorCodes.js';
import { toJsonRpcError } from '../../backend/src/errors/jsonRpcError.js';
import { toProblem } from '../../backend/src/errors/problem.js';

const root = join(import.meta.dirname, '../..');

describe('error codes', () => {
  it('I05 gives every code an entry with its status in docs/failure-modes.md, and no entry without a code', () => {
    const page = readFileSync(join(root, 'docs/failure-modes.md'), 'utf8');
    const entries = new Map(
      [...page.matchAll(/^\| `([A-Z_]+)` \| (\d+) \|/gm)].map(
        (match) => [match[1], Number(match[2])] as const,
      ),
    );
    const codes = new Map(Object.entries(errorCodes).map(([code, { status }]) => [code, status] as const));
    expect(Object.fromEntries(entries)).toEqual(Object.fromEntries(codes));
  });

  it('I05 keeps the codes and statuses that the seed promised', () => {
    expect(errorCodes.INVALID_INSTANCE.status).toBe(401);
    expect(errorCodes.EXPIRED_CREDENTIALS.status).toBe(401);
    expect(errorCodes.SERVICE_UNAVAILABLE.status).toBe(503);
    expect(errorCodes.RATE_LIMIT_EXCEEDED.status).toBe(429);
    expect(errorCodes.ACCESS_DENIED.status).toBe(403);
    expect(errorCodes.INSTANCE_ID_REQUIRED.status).toBe(400);
    expect(errorCodes.INTERNAL.status).toBe(500);
  });
});

describe('renderers', () => {
  const secret = 'canary-7f3a';
  const error = new AppError('CREDENTIAL_UNREADABLE', `no key for ${secret}`, {
    cause: new Error(secret),
    publicDetail: 'Connect again.',
    fields: [{ pointer: '/apiKey', message: 'is too short' }],
    extensions: { setup: { helpUrl: 'https://example.com' }, status: 200, code: 'OTHER' },
  });

  it('I05 writes an RFC 9457 body that holds neither the message nor the cause', () => {
    const problem = toProblem(error, 'r-1');
    expect(problem).toEqual({
      type: 'urn:portolan:problem:credential-unreadable',
      title: errorCodes.CREDENTIAL_UNREADABLE.title,
      status: 503,
      code: 'CREDENTIAL_UNREADABLE',
      detail: 'Connect again.',
      requestId: 'r-1',
      errors: [{ pointer: '/apiKey', message: 'is too short' }],
      setup: { helpUrl: 'https://example.com' },
    });
    expect(JSON.stringify(problem)).not.toContain(secret);
  });

  it('I05 writes a JSON-RPC error that holds neither the message nor the cause', () => {
    const rendered = toJsonRpcError(error);
    expect(rendered.code).toBe(-32603);
    expect(rendered.message).toBe('Connect again.');
    expect(JSON.stringify(rendered)).not.toContain(secret);
  });

  it('I05 turns whatever is thrown into INTERNAL with a body that says nothing of it', () => {
    const problem = toProblem(toAppError(new TypeError(secret)));
    expect(problem.status).toBe(500);
    expect(JSON.stringify(problem)).not.toContain(secret);
  });
});
