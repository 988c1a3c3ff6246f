import type { ServiceDefinition } from '../../../catalog/serviceDefinition.js';
import type { InstanceWatch } from '../../../services/instanceWatch.js';
import type { MayGoOn } from '../../../services/oauth/sameGrant.js';
import type { SetupInstructions } from '../../../services/setupInstructions.js';
import type { VaultGate } from '../../../services/vaultKeys.js';
import type { CallSpool } from '../../../spool/callSpool.js';
import type { Logger } from '../../../telemetry/logger.js';
import type { ServiceMetrics } from '../../../telemetry/metrics.js';
import type { OpenValues, RawUpstream } from '../upstream/remote/rawUpstream.js';
import type { Upstream } from '../upstream/upstream.js';
import type { DailyCalls } from './dailyCalls.js';
import type { LastLists } from './lastLists.js';
import type { SessionJournal } from './sessionJournal.js';
import type { ToolGate } from './toolPolicy.js';
import type { ToolPins } from './toolPins.js';

/** What the bridge of one service works with; built once by the program. */
export interface BridgeContext {
  readonly definition: ServiceDefinition;
  readonly upstream: Upstream;
  /** Null for upstreams that are not reached by Streamable HTTP. */
  readonly raw: RawUpstream | null;
  readonly gate: ToolGate;
  /** Null for services whose tools are not pinned. */
  readonly pins: ToolPins | null;
  /** @throws AppError CREDENTIAL_MISSING, CREDENTIAL_UNREADABLE, SEALED */
  readonly openValues: OpenValues;
  /** Whether a connection or session upstream outlives a change of its instance. */
  readonly mayGoOn: MayGoOn;
  readonly watch: InstanceWatch;
  readonly vault: VaultGate;
  readonly spool: Pick<CallSpool, 'intent' | 'outcome' | 'refusal'>;
  readonly lists: LastLists;
  readonly setup: SetupInstructions;
  readonly journal: SessionJournal;
  readonly metrics: ServiceMetrics;
  readonly log: Logger;
  readonly daily: Pick<DailyCalls, 'take'>;
  /** Notes that an instance was used now. */
  readonly noteUse: (instanceId: string) => void;
  /** Milliseconds since the epoch. */
  readonly now: () => number;
  readonly newId: () => string;
  readonly randomBytes: (size: number) => Buffer;
}

/** One downstream request, as far as the bridge needs to know where it came from. */
export interface RequestOrigin {
  readonly requestId: string;
  readonly clientAddress: string | undefined;
  /** `key:<uuid>` or `session:<uuid>` where the caller had to prove who it is; null where the URL is enough. */
  readonly via: string | null;
  /** When the request arrived, in ms of the monotonic clock. */
  readonly arrivedAt: number;
}
