/** Which era to speak with the remote server for an instance: what its file says, else what the registry knows. */
import type { SealedInstance } from '../../../../services/instanceResolver.js';
import type { ResolvedInstance } from '../../../../services/resolvedInstance.js';
import type { Era } from '../../protocol/revisions.js';
import { chooseEra, type AskEra, type EraKey } from '../eraRegistry.js';
import { askEra } from './askEra.js';
import type { MessageOwner } from './rawCall.js';
import type { RemoteParts } from './remoteParts.js';
import type { RemoteTarget } from './remoteTarget.js';

export interface SpokenEra {
  readonly era: Era;
  readonly transport: 'streamable-http' | 'sse';
}

export interface RemoteEras {
  /** Null when it has to be found first. */
  known(instance: SealedInstance, preferred: Era): Era | null;
  /** @throws AppError as `EraRegistry.find` */
  find(owner: MessageOwner, preferred: Era, signal: AbortSignal): Promise<SpokenEra>;
  /** An answer looked as if the server had been changed. */
  doubt(owner: MessageOwner, target: RemoteTarget): void;
  /** What was found proved wrong. True when asking anew may help. */
  refute(owner: MessageOwner): Promise<boolean>;
}

interface Question {
  readonly instance: ResolvedInstance;
  readonly key: EraKey;
  readonly ask: AskEra;
}

export function createRemoteEras(parts: RemoteParts): RemoteEras {
  const { definition, remote, eras, eraKeys, toTarget, openValues } = parts;
  // A question belongs to a target, and is gone with it and the credential in it.
  const questions = new WeakMap<RemoteTarget, Question>();
  const fixed = fixedEra();

  function fixedEra(): SpokenEra | null {
    if (definition.kind === 'sse') return { era: 'legacy', transport: 'sse' };
    const { protocol, fallbackSse } = remote;
    if (protocol === 'auto' || (protocol === 'legacy' && fallbackSse)) return null;
    return { era: protocol, transport: 'streamable-http' };
  }

  const questionOf = (owner: MessageOwner, target: RemoteTarget): Question => {
    const known = questions.get(target);
    if (known?.instance === owner.instance) return known;
    const question = {
      instance: owner.instance,
      key: eraKeys.ofUrl(target.url, owner.instance),
      ask: (preferred: Era, signal: AbortSignal) => askEra(parts, owner, preferred, signal),
    };
    questions.set(target, question);
    return question;
  };
  const open = async (owner: MessageOwner): Promise<Question> =>
    questionOf(owner, toTarget(owner.values ?? (await openValues(owner.instance))));

  return {
    known(instance, preferred) {
      if (fixed !== null) return fixed.era;
      const values = openValues(instance);
      if (values instanceof Promise) {
        // A renewal that fails is told to whoever waits for the era; nobody waits here.
        values.catch(() => undefined);
        return null;
      }
      const { key, ask } = questionOf({ instance, values: null }, toTarget(values));
      const verdict = eras.known(key, ask);
      return verdict === null ? null : chooseEra(verdict, preferred);
    },
    async find(owner, preferred, signal) {
      if (fixed !== null) return fixed;
      const { key, ask } = await open(owner);
      const wanted = remote.protocol === 'legacy' ? 'legacy' : preferred;
      const era = await eras.find(key, wanted, ask, signal);
      const isSse = era === 'legacy' && eras.known(key)?.legacyTransport === 'sse';
      return { era, transport: isSse ? 'sse' : 'streamable-http' };
    },
    doubt(owner, target) {
      if (fixed !== null) return;
      const { key, ask } = questionOf(owner, target);
      eras.doubt(key, ask);
    },
    async refute(owner) {
      return fixed === null && eras.refute((await open(owner)).key);
    },
  };
}
