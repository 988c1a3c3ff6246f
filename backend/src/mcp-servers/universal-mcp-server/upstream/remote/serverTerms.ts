/** What a remote server says of itself, in the answer to `initialize` or `server/discover`. */
import { AppError } from '../../../../errors/appError.js';
import { envelope } from '../../protocol/envelope.js';
import { isJsonObject, type JsonObject, type JsonRpcResponse } from '../../protocol/jsonRpc.js';
import { eraOf, modernRevisions } from '../../protocol/revisions.js';
import type { ServerTerms } from '../upstream.js';

/** The server speaks MCP, but not the era that it was spoken to in: nothing was done. */
export class WrongEra extends AppError {
  constructor(logMessage: string) {
    super('UPSTREAM_FAILED', logMessage, {
      publicDetail: 'The service behind does not speak the revision of MCP that it was expected to.',
    });
  }
}

/** @throws WrongEra */
export function toServerTerms(response: JsonRpcResponse): ServerTerms {
  if ('error' in response) throw new WrongEra(`initialize was refused with code ${response.error.code}`);
  const { protocolVersion, capabilities, serverInfo, instructions } = response.result;
  if (typeof protocolVersion !== 'string' || eraOf(protocolVersion) !== 'legacy')
    throw new WrongEra('initialize was answered with an unknown revision');
  return toTerms(protocolVersion, capabilities, serverInfo, instructions);
}

/** @throws WrongEra */
export function toModernTerms(response: JsonRpcResponse): ServerTerms {
  if ('error' in response) throw new WrongEra(`server/discover was refused with code ${response.error.code}`);
  const { supportedVersions, capabilities, instructions, _meta } = response.result;
  const revision = modernRevisions.find(
    (one) => Array.isArray(supportedVersions) && supportedVersions.includes(one),
  );
  if (revision === undefined) throw new WrongEra('no modern revision that is spoken here is supported');
  const serverInfo = isJsonObject(_meta) ? _meta[envelope.serverInfo] : undefined;
  return toTerms(revision, capabilities, serverInfo, instructions);
}

function toTerms(
  protocolVersion: string,
  capabilities: unknown,
  serverInfo: unknown,
  instructions: unknown,
): ServerTerms {
  return {
    protocolVersion,
    capabilities: objectOf(capabilities),
    serverInfo: objectOf(serverInfo),
    ...(typeof instructions === 'string' ? { instructions } : {}),
  };
}

const objectOf = (value: unknown): JsonObject => (isJsonObject(value) ? value : {});
