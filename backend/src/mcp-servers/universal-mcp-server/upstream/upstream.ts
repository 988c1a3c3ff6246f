/**
 * The contract between the bridge and whatever stands behind a service: a few verbs that every kind of upstream keeps.
 * The bridge knows nothing of children, sockets or HTTP; an upstream knows nothing of downstream requests.
 */
import type { CredentialValues } from '../../../services/credentialValues.js';
import type { ResolvedInstance } from '../../../services/resolvedInstance.js';
import type {
  JsonObject,
  JsonRpcFailure,
  JsonRpcNotification,
  JsonRpcRequest,
  JsonRpcResponse,
} from '../protocol/jsonRpc.js';
import type { Era } from '../protocol/revisions.js';

/** What the MCP client said of itself when its conversation began. */
export interface ClientTerms {
  readonly protocolVersion: string;
  readonly capabilities: JsonObject;
  readonly clientInfo: JsonObject;
}

export interface ConnectionTerms {
  /** Whose conversation it is. Nothing is ever shared between two instances, nor two credentials. */
  readonly instance: ResolvedInstance;
  /** The credential and settings, opened for this use; an upstream keeps no copy longer than it needs one. */
  readonly values: CredentialValues;
  readonly client: ClientTerms;
  /** The downstream session, or null for a request that stands alone (modern era). */
  readonly sessionId: string | null;
  /**
   * The era that the client speaks. An upstream that speaks both answers in this one; one that does not answers in its
   * own, and says so in `UpstreamConnection.era`.
   */
  readonly preferredEra: Era;
}

/** What an MCP server says of itself: the result of `initialize`, or the same facts from `server/discover`. */
export interface ServerTerms {
  readonly protocolVersion: string;
  readonly capabilities: JsonObject;
  readonly serverInfo: JsonObject;
  readonly instructions?: string;
}

/** Hears what belongs to one request while it is under way. */
export interface RequestListener {
  onNotification(notification: JsonRpcNotification): void;
  /** A request of the server to the client (sampling, elicitation, roots); the answer goes back upstream. */
  onServerRequest(request: JsonRpcRequest): Promise<JsonRpcResponse>;
  /** A large success may come as `JsonRpcSuccess.bytes`, unread; for a client of the legacy era whose result nobody looks at. */
  readonly takesBytes?: boolean;
  /** The same, where nothing but the time says that it belongs to this request. Absent: heard like any other. */
  onStrayRequest?(request: JsonRpcRequest): Promise<JsonRpcResponse>;
}

/** Hears what the upstream says outside any request. */
export interface BackgroundListener {
  onNotification(notification: JsonRpcNotification): void;
  onServerRequest(request: JsonRpcRequest): Promise<JsonRpcResponse>;
  /** The connection is gone; a new one has to be made. In-flight requests have failed already. */
  onClosed(): void;
}

/**
 * One conversation with an upstream, in the era that it names:
 * - `legacy`: initialized already. Requests are those of the initialize family; the server may ask the client.
 * - `modern`: nothing is settled, so every request carries a complete envelope in `params._meta` (version, client info,
 *   capabilities), results carry `resultType`, and the server never sends a request: what it wants to know comes as an
 *   `input_required` result. `subscriptions/listen` is a request like others that is answered when the stream ends; what
 *   comes on it is told to its listener. `listen` (background) hears nothing but `onClosed`.
 */
export interface UpstreamConnection {
  readonly era: Era;
  readonly server: ServerTerms;
  /**
   * True once nothing can be sent over it any more. A request that then fails with UPSTREAM_UNREACHABLE never left, so it
   * may be sent once more over another connection. Absent where that cannot be told.
   */
  readonly isLost?: boolean;
  /** What it answers is not its upstream's answer of now but one from before. */
  readonly isRecalled?: boolean;
  /**
   * How a question of a legacy server is known to belong to one of our requests: `exact`, as it comes on that request's
   * own stream, or `none`, as there is one pipe for everything, so that a call that may be asked has to be alone. Absent:
   * exact, or nothing is ever asked.
   */
  readonly attribution?: 'exact' | 'none';
  /**
   * Sends one request and resolves with its one response, whose id is that of the request as given. A response that says
   * `error` resolves as well. Aborting cancels upstream and rejects with the signal's reason.
   * @throws AppError UPSTREAM_TIMEOUT, UPSTREAM_UNREACHABLE, UPSTREAM_FAILED, PAYLOAD_TOO_LARGE, EXPIRED_CREDENTIALS
   */
  request(request: JsonRpcRequest, listener: RequestListener, signal: AbortSignal): Promise<JsonRpcResponse>;
  notify(notification: JsonRpcNotification): void;
  /** Adds a background listener; the returned function removes it. */
  listen(listener: BackgroundListener): () => void;
  /** Says that this conversation needs the connection no longer; the upstream may keep what can be shared. */
  release(): void;
}

export interface Upstream extends AsyncDisposable {
  /**
   * Joins a conversation to the upstream, started and initialized. Concurrent calls for the same thing share one start.
   * @throws AppError SERVICE_SATURATED, UPSTREAM_TIMEOUT, UPSTREAM_UNREACHABLE, UPSTREAM_FAILED
   */
  connect(terms: ConnectionTerms, signal: AbortSignal): Promise<UpstreamConnection>;
  /** Checks a credential against the real service, as the service's method declares it (03 rule 6). */
  probe(terms: ConnectionTerms, signal: AbortSignal): Promise<ProbeOutcome>;
  /**
   * Closes what is held for an instance under another revision than it has now; all of it when it is void (`now` null):
   * revoked or paused. What was started for the revision of now goes on, and where the credential is opened with each
   * message, so does what was started for an access token that was merely renewed.
   */
  forget(instanceId: string, now: ResolvedInstance | null): void;
}

export type ProbeOutcome =
  | { readonly outcome: 'accepted'; readonly identity?: ProbeIdentity }
  | { readonly outcome: 'rejected'; readonly reason: string }
  /** Nothing to check against; the first good call will tell. */
  | { readonly outcome: 'unverified' }
  | { readonly outcome: 'unreachable'; readonly reason: string };

/** Who the service says the credential belongs to, as shown back to its owner. */
export interface ProbeIdentity {
  readonly id?: string;
  readonly label?: string;
  readonly avatarUrl?: string;
}

/** A failure response to a request, in the words of a JSON-RPC error object. */
export function toFailure(request: JsonRpcRequest, error: JsonRpcFailure['error']): JsonRpcFailure {
  return { jsonrpc: '2.0', id: request.id, error };
}
