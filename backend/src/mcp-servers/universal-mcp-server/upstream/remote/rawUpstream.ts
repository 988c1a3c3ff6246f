/**
 * The contract between the pass-through and an upstream that is reached by Streamable HTTP: one message in the client's
 * own bytes, and the answer's bytes as they come. Where it stands, the owner's credential, the guard and the pool are the
 * upstream's business; what a message means is the bridge's (spec 04, "same era and HTTP on both sides").
 */
import type { CredentialValues } from '../../../../services/credentialValues.js';
import type { SealedInstance } from '../../../../services/instanceResolver.js';
import type { AppError } from '../../../../errors/appError.js';
import type { Era } from '../../protocol/revisions.js';

/** Opens what an instance's owner sealed; a promise only where an access token has to be renewed first. */
export type OpenValues = (instance: SealedInstance) => CredentialValues | Promise<CredentialValues>;

export interface RawRequest {
  /** `stream` for what stays open by itself (`GET`, `subscriptions/listen`): it has a connection of its own. */
  readonly lane: 'call' | 'stream';
  readonly method: 'POST' | 'GET' | 'DELETE';
  /** The message as the client sent it; null without one. */
  readonly body: Buffer | null;
  /** The upstream's own session id; null where there is none. */
  readonly sessionId: string | null;
  /** Name, value, name, value …: the protocol's own headers, chosen by the bridge from its allow-list. */
  readonly headers: readonly string[];
}

export interface RawHead {
  readonly status: number;
  readonly form: 'json' | 'events' | 'other';
  /** `Mcp-Session-Id` of the answer. */
  readonly sessionId: string | null;
  /** Bytes, when the upstream says so. */
  readonly contentLength: number | null;
}

/**
 * Hears one answer: a head, pieces, then exactly one of `onEnd` and `onError`. Nothing comes after `abort`, and nothing
 * before `exchange` has returned. A status that no client is to see is an error instead of a head: 401 (after one try to
 * renew the credential), 403, 429, every redirect and every fault of the server (5xx).
 */
export interface RawAnswer {
  onHead(head: RawHead): void;
  /** The piece is the receiver's to keep. */
  onData(piece: Buffer): void;
  onEnd(): void;
  /**
   * UPSTREAM_UNREACHABLE (nothing was sent), UPSTREAM_TIMEOUT, UPSTREAM_FAILED (a JSON answer over
   * `limits.maxResponseBytes` too), EGRESS_DENIED, SERVICE_SATURATED, RATE_LIMIT_EXCEEDED, SERVICE_UNAVAILABLE (it is left alone for a while), EXPIRED_CREDENTIALS,
   * CREDENTIAL_REJECTED (403),
   * CREDENTIAL_MISSING, or what opening the credential throws.
   */
  onError(error: AppError): void;
}

export interface RawExchange {
  /** Stops reading from the upstream while a slow client catches up. */
  pause(): void;
  resume(): void;
  /** Gives the exchange up; the connection is closed unless the answer is complete. */
  abort(): void;
}

export interface RawUpstream {
  /**
   * The era to speak with the upstream for this instance: `preferred` where it speaks both. Found by asking it once,
   * then remembered for the service and its authorization context (`eraRegistry`).
   * @throws AppError UPSTREAM_UNREACHABLE, UPSTREAM_TIMEOUT, UPSTREAM_FAILED, EXPIRED_CREDENTIALS
   */
  findEra(instance: SealedInstance, preferred: Era, signal: AbortSignal): Promise<Era>;
  /** Synchronous where it is known already, so that the hot path waits for nothing; null when it has to be found. */
  knownEra(instance: SealedInstance, preferred: Era): Era | null;
  /** False where the service's file says that all clients of an instance share one upstream session. */
  readonly hasSessionsOfClients: boolean;
  /**
   * Sends one message. The total deadline is the bridge's to keep, by `abort`; silence and the size of JSON answers are
   * bounded here.
   */
  exchange(instance: SealedInstance, request: RawRequest, answer: RawAnswer): RawExchange;
}
