import type { SealedInstance } from '../../../../services/instanceResolver.js';
import type { RawUpstream } from '../../upstream/remote/rawUpstream.js';
import type { BridgeContext, RequestOrigin } from '../bridgeContext.js';
import type { InstanceRooms } from '../instanceRooms.js';
import type { Deadlines } from './deadlines.js';
import type { PassedSessions } from './passedSessions.js';
import type { RawHeaders } from './requestHeaders.js';
import type { KeepAlive } from './keepAlive.js';

/** What the pass-through of one service works with. */
export interface PassContext {
  readonly ctx: BridgeContext;
  readonly raw: RawUpstream;
  readonly rooms: InstanceRooms;
  readonly sessions: PassedSessions;
  readonly deadlines: Deadlines;
  /** For calls whose server waits for an answer of the client: a person who reads is no upstream that hangs. */
  readonly patience: Deadlines;
  readonly keepAlive: KeepAlive;
}

/** One request of a client, as far as the pass-through looks at it. */
export interface PassedRequest {
  readonly instance: SealedInstance;
  readonly origin: RequestOrigin;
  /** The `Mcp-Session-Id` header. */
  readonly sessionId: string | undefined;
  /** The `MCP-Protocol-Version` header, which was found to be one that we know. */
  readonly revision: string | undefined;
  readonly lastEventId: string | undefined;
  readonly headers: RawHeaders;
}
