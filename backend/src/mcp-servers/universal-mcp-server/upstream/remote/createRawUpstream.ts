import type { Era } from '../../protocol/revisions.js';
import { RawCall } from './rawCall.js';
import type { RawUpstream } from './rawUpstream.js';
import type { RemoteEras } from './remoteEras.js';
import type { RemoteParts } from './remoteParts.js';

/** Bytes to and from a server over Streamable HTTP, for the pass-through. */
export function createRawUpstream(parts: RemoteParts, eras: RemoteEras): RawUpstream {
  return {
    hasSessionsOfClients: parts.remote.session !== 'per-instance',
    async findEra(instance, preferred, signal): Promise<Era> {
      const { era } = await eras.find({ instance, values: null }, preferred, signal);
      return era;
    },
    knownEra(instance, preferred) {
      try {
        return eras.known(instance, preferred);
      } catch {
        // Whoever has to wait for the era hears what is wrong.
        return null;
      }
    },
    exchange: (instance, request, answer) => new RawCall(parts, { instance, values: null }, request, answer),
  };
}
