import { envelope } from '../../protocol/envelope.js';
import type { JsonObject } from '../../protocol/jsonRpc.js';
import { legacyRevisions, modernRevisions } from '../../protocol/revisions.js';
import type { ClientTerms } from '../upstream.js';

/** What we say where no MCP client in particular speaks: nobody is there to be asked anything. */
export const ownTerms: ClientTerms = {
  protocolVersion: legacyRevisions[0],
  capabilities: {},
  clientInfo: { name: 'portolan', version: '0.1.0' },
};

/** `_meta` of a modern request that we make ourselves. */
export const ownEnvelope: JsonObject = {
  [envelope.protocolVersion]: modernRevisions[0],
  [envelope.clientInfo]: ownTerms.clientInfo,
  [envelope.clientCapabilities]: ownTerms.capabilities,
};
