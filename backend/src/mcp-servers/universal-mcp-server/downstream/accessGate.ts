/**
 * Asks for more than the URL where the instance, its service or the installation wants more (05, "Access modes"; decision
 * 0014). It comes after the instance was found and before anything else is done for it, on every transport and route.
 *
 * What it refuses is 401 by RFC 6750 without `resource_metadata`, so that a client with a key in its settings shows what
 * it is told, and one that knows OAuth finds nothing to begin (12.15).
 */
import type { IncomingMessage, ServerResponse } from 'node:http';
import { AppError, toAppError } from '../../../errors/appError.js';
import type { GrantWatch } from '../../../services/grantWatch.js';
import type { Grant, InstanceAccess } from '../../../services/instanceAccess.js';
import type { SealedInstance } from '../../../services/instanceResolver.js';
import { createStrangerLimits, type StrangerLimits } from './strangerLimits.js';

export interface AccessGate {
  /** Whether this instance is used by its URL alone. */
  isOpen(instance: SealedInstance): boolean;
  /**
   * Lets a caller with the right bearer credential pass, and keeps the answer true to it from then on.
   * @throws AppError BEARER_TOKEN_REQUIRED, BEARER_TOKEN_INVALID, ACCESS_DENIED, RATE_LIMIT_EXCEEDED, DATABASE_UNAVAILABLE,
   * SEALED
   */
  admit(
    instance: SealedInstance,
    address: string | undefined,
    request: IncomingMessage,
    response: ServerResponse,
  ): Promise<Grant>;
}

export interface AccessGateOptions {
  readonly access: Pick<InstanceAccess, 'check'>;
  readonly grants: Pick<GrantWatch, 'hold'>;
  /** What every instance of the service is held to, whatever its own mode. */
  readonly minimum: 'url' | 'url+token';
  readonly limits?: StrangerLimits;
}

const bearerForm = /^Bearer +([A-Za-z0-9._~+/=-]{1,4096})$/i;

export function createAccessGate(options: AccessGateOptions): AccessGate {
  const { access, grants, minimum, limits = createStrangerLimits() } = options;
  const isOpenHere = minimum === 'url';

  const check = async (
    instance: SealedInstance,
    address: string | undefined,
    request: IncomingMessage,
  ): Promise<Grant> => {
    const bearer = bearerForm.exec(request.headers.authorization ?? '')?.[1] ?? null;
    // Wrong credentials and none at all are counted apart: a client that was set up without a key keeps nobody out.
    const who = `${address ?? ''} ${instance.id}${bearer === null ? ' none' : ''}`;
    const attempt = limits.mayTry(who, bearer ?? '');
    if (attempt === 'refused') {
      throw new AppError('RATE_LIMIT_EXCEEDED', 'too many wrong bearer credentials from one address', {
        publicDetail: 'Too many requests without a valid access key. Try again in a moment.',
        retryAfterSeconds: 5,
      });
    }
    try {
      const grant = await access.check(instance, bearer);
      limits.noteKnown(who, bearer ?? '', attempt);
      return grant;
    } catch (error) {
      if (isRefusal(toAppError(error))) limits.noteUnknown(who, attempt);
      else limits.noteUnanswered(who, attempt);
      throw error;
    }
  };

  return {
    isOpen: ({ accessMode }) => isOpenHere && accessMode === 'url',
    async admit(instance, address, request, response) {
      const grant = await check(instance, address, request);
      // Half an answer must not look like a whole one, so what is cut is cut.
      const letGo = grants.hold({ grant, cut: () => void response.destroy() });
      if (response.destroyed) letGo();
      else response.once('close', letGo);
      return grant;
    },
  };
}

/** Whether the caller brought no, or the wrong, bearer credential; the audit tells of those. */
export function isRefusal({ code }: AppError): boolean {
  return code === 'BEARER_TOKEN_REQUIRED' || code === 'BEARER_TOKEN_INVALID' || code === 'ACCESS_DENIED';
}

/** Says what kind of credential is wanted (RFC 6750 §3), before the answer to a refusal is written. */
export function setChallenge(response: ServerResponse, { code }: AppError): void {
  if (code === 'BEARER_TOKEN_REQUIRED') response.setHeader('www-authenticate', challenge);
  if (code === 'BEARER_TOKEN_INVALID')
    response.setHeader('www-authenticate', `${challenge}, error="invalid_token"`);
}

const challenge = 'Bearer realm="instance"';
