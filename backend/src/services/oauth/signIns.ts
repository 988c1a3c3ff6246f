/** Signing in with a service itself, as the routes see it: begin, finish, and what came of it. */
import type { DatabasePool } from '../../database/pool.js';
import { AppError } from '../../errors/appError.js';
import { findSignIn } from '../../stores/oauthSignInsStore.js';
import type { RandomBytes } from '../../vault/keyRing.js';
import type { Actor } from '../changeAudit.js';
import { asSelf, type InstanceName, type InstanceParts } from '../instanceManager/instanceParts.js';
import type { RequestOrigin } from '../requestOrigin.js';
import { beginSignIn, type BegunSignIn } from './beginSignIn.js';
import { finishSignIn, type FinishedSignIn, type SignInAnswer } from './finishSignIn.js';

export interface SignInView {
  readonly id: string;
  readonly serviceType: string;
  readonly title: string;
  readonly label: string;
  readonly status: 'open' | 'connected' | 'failed';
  /** A code of `errorCodes`; null unless it failed. */
  readonly code: string | null;
  /** In plain words; null while it is open. */
  readonly message: string | null;
}

export interface SignIns {
  begin(actor: Actor, name: InstanceName, methodId?: string): Promise<BegunSignIn>;
  finish(
    answer: SignInAnswer,
    findBrowserSecret: (id: string) => string | undefined,
    origin: RequestOrigin,
  ): Promise<FinishedSignIn>;
  /** @throws AppError NOT_FOUND for one that is not the caller's, or not there any more. */
  show(actor: Actor, id: string): Promise<SignInView>;
}

export interface SignInParts extends InstanceParts {
  readonly pool: DatabasePool;
  /** Where services send browsers back to: under `PUBLIC_URL`, never from the Host header. */
  readonly redirectUri: string;
  readonly newId: () => string;
  readonly randomBytes: RandomBytes;
  /** Hears of faults of ours, which the browser is not told of. */
  readonly onFault: (thrown: unknown) => void;
}

export function createSignIns(parts: SignInParts): SignIns {
  return {
    begin: (actor, name, methodId) => beginSignIn(parts, actor, name, methodId),
    finish: (answer, findBrowserSecret, origin) => finishSignIn(parts, answer, findBrowserSecret, origin),
    async show(actor, id) {
      const found = await asSelf(parts, actor, (db) => findSignIn(db, { id, userId: actor.userId }));
      if (found === null) throw new AppError('NOT_FOUND', 'no such sign-in of this user');
      const { service, label, outcome, errorCode, message } = found;
      const title = parts.registry.find(service)?.title ?? service;
      return { id, serviceType: service, title, label, status: outcome ?? 'open', code: errorCode, message };
    },
  };
}

export function toRedirectUri(publicUrl: URL): string {
  return `${publicUrl.origin}${publicUrl.pathname.replace(/\/$/, '')}/api/v1/oauth/callback`;
}
