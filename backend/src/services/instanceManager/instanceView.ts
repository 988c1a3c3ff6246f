/**
 * How an instance is shown to its owner. Its id is the uuid; the instance id and URL, which are its key, are only there
 * when this very answer may reveal them.
 */
import type { AccessMode, Instance, InstanceState } from '../../stores/instancesStore.js';
import { stricterMode } from '../accessModes.js';
import { hasEnded, minimumModeOf, type InstanceParts } from './instanceParts.js';

export interface InstanceView {
  /** The uuid: names the instance everywhere but in the URL. */
  readonly id: string;
  readonly serviceType: string;
  readonly label: string;
  readonly isActive: boolean;
  readonly state: InstanceState | 'expired';
  readonly stateCause: string | null;
  /** The one thing to do next, or null when all is well. */
  readonly nextAction: string | null;
  /** Who the service says the credential belongs to. */
  readonly identity: string | null;
  readonly credentialMethod: string | null;
  /** What a caller needs, the admin's minimum included. */
  readonly accessMode: AccessMode;
  /** Blocks of addresses that it may be used from; empty: from anywhere. */
  readonly allowedCidrs: readonly string[];
  readonly createdAt: string;
  readonly updatedAt: string;
  readonly lastUsedAt: string | null;
  readonly lastCheckedAt: string | null;
  readonly lastSuccessAt: string | null;
  readonly expiresAt: string | null;
  /** Until when the URL before the last rotation works as well. */
  readonly previousUrlExpiresAt: string | null;
}

export interface RevealedUrl {
  readonly instanceId: string;
  readonly instanceUrl: string;
}

export type UrlPart =
  | RevealedUrl
  /** Not shown, and what to do to see it. */
  | { readonly instanceId: null; readonly instanceUrl: null; readonly reveal: string };

export type ShownInstance = InstanceView & UrlPart;

export function toInstanceView(
  parts: Pick<InstanceParts, 'registry' | 'accessModeMinimum' | 'now'>,
  instance: Instance,
): InstanceView {
  const now = parts.now();
  const { previousExpiresAt, accessMode } = instance;
  const isEnded = hasEnded(instance, now);
  const graceIsOn = previousExpiresAt !== null && previousExpiresAt.getTime() > now;
  return {
    id: instance.id,
    serviceType: instance.service,
    label: instance.label,
    isActive: instance.isActive,
    state: isEnded ? 'expired' : instance.state,
    stateCause: instance.stateCause,
    nextAction: isEnded ? 'Extend it, or delete it.' : toNextAction(instance),
    identity: instance.identityLabel,
    credentialMethod: instance.credentialMethod,
    accessMode:
      accessMode === 'oauth' ? accessMode : stricterMode(accessMode, minimumModeOf(parts, instance.service)),
    allowedCidrs: instance.allowedCidrs,
    createdAt: instance.createdAt.toISOString(),
    updatedAt: instance.updatedAt.toISOString(),
    lastUsedAt: toText(instance.lastUsedAt),
    lastCheckedAt: toText(instance.lastCheckedAt),
    lastSuccessAt: toText(instance.lastSuccessAt),
    expiresAt: toText(instance.expiresAt),
    previousUrlExpiresAt: graceIsOn ? toText(previousExpiresAt) : null,
  };
}

/** `PUBLIC_URL/<instanceId>/<service>`, never from the Host header (05). */
export function toInstanceUrl(publicUrl: URL, instanceId: string, service: string): string {
  return `${publicUrl.origin}${publicUrl.pathname.replace(/\/+$/, '')}/${instanceId}/${service}`;
}

function toNextAction({ state, credentialMethod }: Instance): string | null {
  switch (state) {
    case 'ready':
      return null;
    case 'not_configured':
      return 'Enter a credential.';
    case 'checking':
      return 'Call a tool, or test the connection.';
    case 'needs_reauth':
    case 'rejected_by_service':
      return credentialMethod === 'none'
        ? 'Ask an admin: it is no credential of yours that the service refuses.'
        : 'Replace the credential.';
    case 'unreachable':
      return 'Test the connection again later.';
    case 'paused':
      return 'Resume it.';
  }
}

function toText(date: Date | null): string | null {
  return date === null ? null : date.toISOString();
}
