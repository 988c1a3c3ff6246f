/**
 * Which eras a service's command speaks. What the file says stands; else each start tells something, and the registry
 * remembers it for the command at its version, so that the next start begins with the right question. It decides the
 * order of questions only: a server that was changed is found out by its next child.
 */
import type { ProtocolChoice } from '../../../../catalog/mcpServerDefinitions.js';
import type { Era } from '../../protocol/revisions.js';
import { chooseEra, type EraFacts, type EraKey, type EraRegistry } from '../eraRegistry.js';

export interface ChildEras {
  /** The era that a client of the preferred one gets; null when a child has to be asked first. */
  choose(preferred: Era): Era | null;
  /** The eras to try, in order. */
  toTry(preferred: Era): readonly Era[];
  learn(facts: Partial<EraFacts>): void;
  /** Reads once what was written down before this process started; failing changes nothing. */
  recall(): Promise<void>;
}

export interface RememberedEras {
  readonly registry: Pick<EraRegistry, 'known' | 'note' | 'find'>;
  /** @throws AppError SEALED */
  readonly key: () => EraKey;
}

export function createChildEras(protocol: ProtocolChoice, remembered: RememberedEras | null): ChildEras {
  let facts: EraFacts = {
    modern: protocol === 'auto' ? null : protocol === 'modern',
    legacy: protocol === 'auto' ? null : protocol === 'legacy',
    legacyTransport: null,
  };
  let recalled: Promise<void> | null = null;
  const recall = async (): Promise<void> => {
    if (remembered === null || protocol !== 'auto') return;
    try {
      await remembered.registry.find(
        remembered.key(),
        'modern',
        nothingNew,
        AbortSignal.timeout(recallMsMax),
      );
    } catch {
      // Nothing was written down, or it cannot be read now: the next child tells.
    }
  };
  const choose = (preferred: Era): Era | null => {
    const known =
      remembered === null || protocol !== 'auto' ? null : remembered.registry.known(remembered.key());
    // What this process saw itself is newer than what was written down.
    const all = {
      ...facts,
      modern: facts.modern ?? known?.modern ?? null,
      legacy: facts.legacy ?? known?.legacy ?? null,
    };
    return chooseEra(all, preferred);
  };

  return {
    recall: () => (recalled ??= recall()),
    choose,
    toTry(preferred) {
      if (protocol !== 'auto') return [protocol];
      const first = choose(preferred) ?? preferred;
      return first === 'modern' ? ['modern', 'legacy'] : ['legacy', 'modern'];
    },
    learn(learned) {
      if (protocol !== 'auto') return;
      facts = { ...facts, ...learned };
      remembered?.registry.note(remembered.key(), learned);
    },
  };
}

const recallMsMax = 1_000;

/** A child is asked when it is started, not before. */
const nothingNew = (): Promise<EraFacts> => Promise.reject(new Error('not asked here'));
