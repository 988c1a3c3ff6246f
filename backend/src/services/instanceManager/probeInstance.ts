/** Checks the credential in use once more, because its owner asks whether it still works (test-connect). */
import { AppError } from '../../errors/appError.js';
import { recordProbe } from '../../stores/instanceProbesStore.js';
import { findInstance, findInstanceById } from '../../stores/instancesStore.js';
import { recordActorChange, type Actor } from '../changeAudit.js';
import type { ProbeAnswer } from '../probeClient.js';
import { toSetupExtension, toSetupInstructions } from '../setupInstructions.js';
import { serviceAway, toIdentityLabel } from './authenticateInstance.js';
import {
  asSelf,
  getEnabledService,
  noInstance,
  requireServed,
  requireShared,
  type InstanceName,
  type InstanceParts,
} from './instanceParts.js';
import { toInstanceView, type InstanceView } from './instanceView.js';

export interface ProbedInstance {
  readonly outcome: 'accepted' | 'rejected' | 'unverified' | 'unreachable';
  /** In the service's declared words; null when all is well. */
  readonly reason: string | null;
  readonly view: InstanceView;
}

/** @throws AppError NOT_FOUND, CREDENTIAL_MISSING, CONFLICT while paused or past its end, SERVICE_UNAVAILABLE. */
export async function probeInstance(
  parts: InstanceParts,
  actor: Actor,
  name: InstanceName,
): Promise<ProbedInstance> {
  const definition = getEnabledService(parts, name.service, actor);
  const instance = await asSelf(parts, actor, async (db) => {
    await requireShared(parts, db, definition);
    return findInstance(db, { userId: actor.userId, ...name });
  });
  if (instance === null) throw noInstance(parts, name);
  requireServed(instance, parts.now());
  const { credentialMethod: methodId, credentialRevision } = instance;
  if (methodId === null || credentialRevision === null) {
    const setup = toSetupInstructions(definition, parts.publicUrl);
    throw new AppError('CREDENTIAL_MISSING', `instance ${instance.id} has no credential`, {
      publicDetail: setup.instructions,
      extensions: toSetupExtension(setup),
    });
  }
  const answer = await parts.probes.probe(definition, { instanceId: instance.id, staged: false, methodId });
  if (answer.outcome === 'away') throw serviceAway(definition, answer.reason);
  return asSelf(parts, actor, async (db) => {
    if (answer.outcome !== 'unverified') {
      await recordProbe(db, instance, {
        credentialRevision,
        state: toState(answer.outcome),
        cause: reasonOf(answer),
        identityLabel: answer.outcome === 'accepted' ? toIdentityLabel(answer) : null,
      });
    }
    await recordActorChange(db, actor, {
      action: 'instance.tested',
      target: { kind: 'instance', id: instance.id },
      service: name.service,
      details: { label: name.label, result: answer.outcome },
    });
    const now = (await findInstanceById(db, instance)) ?? instance;
    return { outcome: answer.outcome, reason: reasonOf(answer), view: toInstanceView(parts, now) };
  });
}

function toState(outcome: 'accepted' | 'rejected' | 'unreachable'): 'ready' | 'needs_reauth' | 'unreachable' {
  switch (outcome) {
    case 'accepted':
      return 'ready';
    case 'rejected':
      return 'needs_reauth';
    case 'unreachable':
      return 'unreachable';
  }
}

function reasonOf(answer: ProbeAnswer): string | null {
  return 'reason' in answer ? answer.reason : null;
}
