import type { RemoteDefinition } from '../../../../catalog/mcpServerDefinitions.js';
import type { ServiceDefinition } from '../../../../catalog/serviceDefinition.js';
import type { EgressStreams } from '../../../../egress/egressStream.js';
import type { Logger } from '../../../../telemetry/logger.js';
import type { ConnectionTerms } from '../upstream.js';
import type { AuditUse } from '../credentialUses.js';
import type { CredentialRenewal } from '../credentialRenewal.js';
import type { Circuits } from '../circuits.js';
import type { EraKeys } from '../eraKeys.js';
import type { EraRegistry } from '../eraRegistry.js';
import type { TakeUpstreamRequest } from '../requestBudget.js';
import type { StateNotes } from '../stateNotes.js';
import type { OpenValues } from './rawUpstream.js';
import type { MessageOwner } from './rawCall.js';
import type { RemoteTarget, ToRemoteTarget } from './remoteTarget.js';

/** What everything that speaks to the remote server of one service works with. */
export interface RemoteParts {
  readonly definition: ServiceDefinition;
  readonly remote: RemoteDefinition;
  readonly streams: EgressStreams;
  readonly toTarget: ToRemoteTarget;
  readonly openValues: OpenValues;
  readonly eras: EraRegistry;
  readonly eraKeys: EraKeys;
  readonly circuits: Circuits;
  /** Hears of each answer that a server of another era would give. */
  readonly doubtEra: (owner: MessageOwner, target: RemoteTarget) => void;
  readonly notes: StateNotes;
  /** Asked before each message that leaves. @throws AppError RATE_LIMIT_EXCEEDED */
  readonly takeRequest: TakeUpstreamRequest;
  /** Null where no credential of the service can be renewed without its owner. */
  readonly renewal: CredentialRenewal | null;
  /** Asks whether a credential that met a 403 still works; null for services whose 401 says so by itself. */
  readonly isStillAccepted:
    ((terms: Pick<ConnectionTerms, 'instance' | 'values'>, signal: AbortSignal) => Promise<boolean>) | null;
  /** Stands around what uses a credential and is no message of a client's. */
  readonly auditUse: AuditUse;
  readonly log: Logger;
}
