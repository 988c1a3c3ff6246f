/**
 * A user's instances: connecting, showing, changing and ending them. Everything is the caller's own: rows of others are
 * out of sight of each transaction, so that a foreign instance is one that does not exist (A03).
 */
import type { AccessKey } from '../../stores/accessKeysStore.js';
import type { Actor } from '../changeAudit.js';
import type { GivenCredential } from '../credentialInput.js';
import {
  createInstanceKey,
  listInstanceKeys,
  revokeInstanceKey,
  type NewAccessKey,
  type WantedAccessKey,
} from './accessKeys.js';
import { authenticateInstance, type Authenticated } from './authenticateInstance.js';
import { changeInstance, disconnectInstance, rotateInstance, type InstanceChange } from './changeInstance.js';
import {
  deleteCredential,
  getCredential,
  listCredentials,
  type CredentialSummary,
  type CredentialView,
} from './credentialViews.js';
import { getOverrides, putOverrides, type OverridesView } from './instanceOverrides.js';
import type { InstanceName, InstanceParts } from './instanceParts.js';
import type { InstanceView, RevealedUrl, ShownInstance } from './instanceView.js';
import { probeInstance, type ProbedInstance } from './probeInstance.js';
import { createRevealNotes } from './revealNotes.js';
import { revealInstance, showInstance, showInstances } from './revealUrl.js';

export interface InstanceManager {
  authenticate(actor: Actor, name: InstanceName, given: GivenCredential): Promise<Authenticated>;
  show(actor: Actor, name: InstanceName): Promise<ShownInstance>;
  list(actor: Actor): Promise<ShownInstance[]>;
  reveal(
    actor: Actor,
    name: InstanceName,
  ): Promise<RevealedUrl & { readonly id: string; readonly label: string }>;
  rotate(
    actor: Actor,
    name: InstanceName,
    options: { readonly graceSeconds: number },
  ): Promise<InstanceView & RevealedUrl>;
  change(actor: Actor, name: InstanceName, change: InstanceChange): Promise<InstanceView>;
  disconnect(actor: Actor, name: InstanceName): Promise<void>;
  createKey(actor: Actor, name: InstanceName, wanted: WantedAccessKey): Promise<NewAccessKey>;
  listKeys(actor: Actor, name: InstanceName): Promise<readonly AccessKey[]>;
  revokeKey(actor: Actor, name: InstanceName, keyId: string): Promise<void>;
  probe(actor: Actor, name: InstanceName): Promise<ProbedInstance>;
  getOverrides(actor: Actor, name: InstanceName): Promise<OverridesView>;
  putOverrides(
    actor: Actor,
    name: InstanceName,
    values: Readonly<Record<string, string>>,
  ): Promise<OverridesView>;
  listCredentials(actor: Actor): Promise<CredentialSummary[]>;
  getCredential(actor: Actor, name: InstanceName): Promise<CredentialView>;
  deleteCredential(actor: Actor, name: InstanceName): Promise<void>;
}

/** Errors are named at each function; any of them may throw DATABASE_UNAVAILABLE. */
export function createInstanceManager(parts: InstanceParts): InstanceManager {
  const showParts = { ...parts, reveals: createRevealNotes(parts.now) };
  return {
    authenticate: (actor, name, given) => authenticateInstance(parts, actor, name, given),
    show: (actor, name) => showInstance(showParts, actor, name),
    list: (actor) => showInstances(showParts, actor),
    reveal: (actor, name) => revealInstance(parts, actor, name),
    rotate: (actor, name, options) => rotateInstance(parts, actor, name, options),
    change: (actor, name, change) => changeInstance(parts, actor, name, change),
    disconnect: (actor, name) => disconnectInstance(parts, actor, name),
    createKey: (actor, name, wanted) => createInstanceKey(parts, actor, name, wanted),
    listKeys: (actor, name) => listInstanceKeys(parts, actor, name),
    revokeKey: (actor, name, keyId) => revokeInstanceKey(parts, actor, name, keyId),
    probe: (actor, name) => probeInstance(parts, actor, name),
    getOverrides: (actor, name) => getOverrides(parts, actor, name),
    putOverrides: (actor, name, values) => putOverrides(parts, actor, name, values),
    listCredentials: (actor) => listCredentials(parts, actor),
    getCredential: (actor, name) => getCredential(parts, actor, name),
    deleteCredential: (actor, name) => deleteCredential(parts, actor, name),
  };
}
