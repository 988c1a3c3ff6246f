/**
 * Who makes a request: a bearer access token or a personal API key (RFC 6750), on each request anew. What a user may do
 * is read from the database's word, never from what the request says.
 */
import type { IncomingMessage } from 'node:http';
import { AppError } from '../errors/appError.js';
import type { ApiKeys } from '../services/apiKeys.js';
import { isBearerKey } from '../services/bearerKeys.js';
import type { Actor } from '../services/changeAudit.js';
import type { Sessions } from '../services/sessions.js';
import { contextOf } from './requestContext.js';

export type Authenticate = (request: IncomingMessage) => Promise<Actor>;

export interface AuthenticateOptions {
  readonly sessions: Pick<Sessions, 'check'>;
  readonly apiKeys: Pick<ApiKeys, 'check'>;
  readonly onRefused: () => void;
}

const bearerForm = /^Bearer +([A-Za-z0-9._~+/=-]{1,4096})$/i;

/** @throws AppError UNAUTHENTICATED, DATABASE_UNAVAILABLE */
export function authenticate({ sessions, apiKeys, onRefused }: AuthenticateOptions): Authenticate {
  const identify = async (
    bearer: string,
  ): Promise<Pick<Actor, 'userId' | 'role' | 'via' | 'authenticatedAt'>> => {
    if (isBearerKey(bearer)) {
      const key = await apiKeys.check(bearer);
      return { userId: key.userId, role: key.role, via: `key:${key.id}`, authenticatedAt: null };
    }
    const { userId, role, sessionId, authenticatedAt } = await sessions.check(bearer);
    return { userId, role, via: `session:${sessionId}`, authenticatedAt };
  };

  return async (request) => {
    const context = contextOf(request);
    const bearer = bearerForm.exec(request.headers.authorization ?? '')?.[1];
    try {
      if (bearer === undefined) {
        throw new AppError('UNAUTHENTICATED', 'no bearer credential', {
          publicDetail: 'Send Authorization: Bearer with an access token or a personal API key.',
        });
      }
      const identity = await identify(bearer);
      context.userId = identity.userId;
      return { ...identity, requestId: context.requestId, clientAddress: context.clientAddress };
    } catch (thrown) {
      if (thrown instanceof AppError && thrown.code === 'UNAUTHENTICATED') onRefused();
      throw thrown;
    }
  };
}
