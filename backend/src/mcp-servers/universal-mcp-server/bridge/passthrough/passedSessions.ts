/**
 * Sessions of passed clients: found by their sealed ids, opened when an upstream opened one, renewed underneath when the
 * upstream lost its own (spec 04, "Sessions"), and ended upstream when their clients vanished (08).
 */
import { LRUCache } from 'lru-cache';
import { AppError } from '../../../../errors/appError.js';
import type { SealedInstance } from '../../../../services/instanceResolver.js';
import type { JsonObject } from '../../protocol/jsonRpc.js';
import { negotiateRevision } from '../../protocol/revisions.js';
import type { RawUpstream } from '../../upstream/remote/rawUpstream.js';
import type { BridgeContext, RequestOrigin } from '../bridgeContext.js';
import { failureTypeOf, recordIntent, recordOutcome, toFailedOutcome } from '../callAccount.js';
import type { InstanceRooms } from '../instanceRooms.js';
import {
  openSession,
  openUpstream,
  sealSession,
  sealUpstream,
  toClientTerms,
  type SettledSession,
} from '../sessionIds.js';
import { askForResponse, askUpstream, endUpstreamSession, type AskTerms } from './askUpstream.js';
import { PassedSession, revisionOf } from './passedSession.js';
import { toLegacyHeaders } from './requestHeaders.js';

export interface PassedSessions {
  /** @throws AppError INVALID_REQUEST without an id, SESSION_NOT_FOUND for one that is unknown, foreign or ended */
  find(instance: SealedInstance, sessionId: string | undefined): PassedSession;
  /** @param upstreamId undefined while the upstream could not be joined. @returns the id for the client */
  create(instance: SealedInstance, params: JsonObject, upstreamId: string | null | undefined): string;
  /** Joins the upstream anew under the terms of the client; concurrent callers share one try. */
  renew(session: PassedSession, origin: RequestOrigin): Promise<void>;
  /** Ends a session for good. */
  end(session: PassedSession, sessionId: string, origin: RequestOrigin): Promise<void>;
}

/** A header has room for 16 KiB in all, and an id grows by a third when it is sealed. */
const upstreamIdCharactersMax = 4_096;

export function createPassedSessions(
  ctx: BridgeContext,
  raw: RawUpstream,
  rooms: InstanceRooms,
): PassedSessions {
  const { definition, vault, journal, log } = ctx;
  const { timeoutMs } = definition.limits;
  /** Sessions whose upstream session we ended; asking with it would cost their next request a round. */
  const expired = new LRUCache<string, true>({ max: 10_000 });
  const bindingOf = ({ id, epoch }: SealedInstance) => ({ service: definition.name, instanceId: id, epoch });
  const kState = () => vault.keys().system.state;

  const termsOf = (session: PassedSession, upstreamId: string | null): AskTerms => ({
    raw,
    instance: session.instance,
    sessionId: upstreamId,
    headers: toLegacyHeaders(session.client.protocolVersion),
  });

  /** A use of the credential that no request of a client accounts for. */
  const accounted = async (
    session: PassedSession,
    method: string,
    origin: RequestOrigin,
    work: () => Promise<void>,
  ): Promise<void> => {
    const callId = ctx.newId();
    const { instance } = session;
    const params = undefined;
    await recordIntent(ctx, { era: 'legacy', instance, origin, method, params }, callId);
    const startedAt = performance.now();
    try {
      await work();
      recordOutcome(ctx, method, startedAt, { callId, outcome: 'ok' }, '');
    } catch (error) {
      recordOutcome(ctx, method, startedAt, toFailedOutcome(callId, error), failureTypeOf(error));
      throw error;
    }
  };

  const endUpstream = async (session: PassedSession, origin: RequestOrigin): Promise<void> => {
    const { upstream } = session;
    session.upstream = null;
    if (upstream === null || upstream.id === null) return;
    const terms = termsOf(session, upstream.id);
    try {
      await accounted(session, sessionEnd, origin, async () => {
        await endUpstreamSession(terms, AbortSignal.timeout(timeoutMs));
      });
    } catch (error) {
      // It is over on our side; the upstream forgets what nobody uses.
      log.debug('a session could not be ended upstream', { instance: session.instance.id, error });
    }
  };

  const onExpiry = (session: PassedSession): void => {
    expired.set(session.uuid, true);
    session.close();
    const origin = {
      requestId: ctx.newId(),
      clientAddress: undefined,
      via: null,
      arrivedAt: performance.now(),
    };
    void endUpstream(session, origin);
  };

  const join = async (session: PassedSession, ended: AbortSignal): Promise<void> => {
    const signal = AbortSignal.any([AbortSignal.timeout(timeoutMs), ended]);
    const { protocolVersion, capabilities, clientInfo } = session.client;
    const { instance } = session;
    const revision = revisionOf(instance);
    const opening = { ...termsOf(session, null), headers: toLegacyHeaders(undefined) };
    const params = { protocolVersion, capabilities, clientInfo };
    const { sessionId, response, status } = await askUpstream(
      opening,
      { jsonrpc: '2.0', id: 'initialize', method: 'initialize', params },
      signal,
    );
    if (response === null || 'error' in response) {
      throw new AppError('UPSTREAM_FAILED', `the upstream answered initialize with status ${status}`);
    }
    const terms = termsOf(session, sessionId);
    await askUpstream(terms, { jsonrpc: '2.0', method: 'notifications/initialized' }, signal);
    const { logLevel, subscriptions } = journal.memoryOf(session.uuid);
    const send = (method: string, given: JsonObject) =>
      askForResponse(terms, { jsonrpc: '2.0', id: 'restore', method, params: given }, signal);
    if (logLevel !== null) await send('logging/setLevel', { level: logLevel });
    for (const uri of subscriptions) await send('resources/subscribe', { uri });
    signal.throwIfAborted();
    session.upstream = { id: sessionId, revision };
    const sealed = sealUpstream(
      kState(),
      session.uuid,
      session.upstream,
      bindingOf(instance),
      ctx.randomBytes,
    );
    journal.renew(session.uuid, sealed);
  };

  return {
    find(instance, sessionId) {
      if (sessionId === undefined) {
        throw new AppError('INVALID_REQUEST', 'a request without its session id', {
          publicDetail: 'The Mcp-Session-Id header is required.',
        });
      }
      const room = rooms.of(instance);
      const known = room.open.get(sessionId);
      if (known instanceof PassedSession && known.instance.epoch === instance.epoch) {
        known.touch(instance);
        return known;
      }
      const settled = openSession(kState(), sessionId, bindingOf(instance), ctx.now());
      if (settled === null || journal.isEnded(settled.uuid)) {
        throw new AppError('SESSION_NOT_FOUND', 'the session id is unknown, foreign or ended');
      }
      known?.close();
      const { renewed } = journal.memoryOf(settled.uuid);
      const upstream =
        renewed === null
          ? settled.upstream
          : openUpstream(kState(), settled.uuid, renewed, bindingOf(instance));
      const { upstream: _opened, ...rest } = settled;
      const session = new PassedSession(
        instance,
        upstream == null ? rest : { ...rest, upstream },
        ctx.mayGoOn,
        onExpiry,
      );
      if (expired.delete(settled.uuid)) session.upstream = null;
      room.open.set(sessionId, session);
      return session;
    },
    create(instance, params, upstreamId) {
      if (upstreamId != null && upstreamId.length > upstreamIdCharactersMax) {
        throw new AppError('UPSTREAM_FAILED', 'the session id of the upstream is too long');
      }
      const settled: SettledSession = {
        uuid: ctx.newId(),
        client: toClientTerms(negotiateRevision(params['protocolVersion']), params),
        createdAt: ctx.now(),
        ...(upstreamId === undefined ? {} : { upstream: { id: upstreamId, revision: revisionOf(instance) } }),
      };
      const sessionId = sealSession(kState(), settled, bindingOf(instance), ctx.randomBytes);
      rooms.of(instance).open.set(sessionId, new PassedSession(instance, settled, ctx.mayGoOn, onExpiry));
      return sessionId;
    },
    renew(session, origin) {
      if (session.renewal !== null) return session.renewal;
      const renewing = new AbortController();
      const work = (): Promise<void> => join(session, renewing.signal);
      const renewal = accounted(session, 'initialize', origin, work).finally(() => {
        session.renewal = null;
        session.renewing = null;
      });
      session.renewal = renewal;
      session.renewing = renewing;
      return renewal;
    },
    async end(session, sessionId, origin) {
      journal.end(session.uuid);
      rooms.of(session.instance).open.delete(sessionId);
      session.close();
      await endUpstream(session, origin);
    },
  };
}

/** How the audit names the end of a session, which is no request of the protocol. */
const sessionEnd = 'session/end';
