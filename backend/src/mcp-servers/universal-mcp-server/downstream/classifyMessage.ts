/**
 * Which era a posted message belongs to, and whether its headers and its envelope are right (MCP 2026-07-28, "Streamable
 * HTTP", with the order of checks that the SDK's own servers keep). A pure function; nothing is executed before it.
 */
import { AppError } from '../../../errors/appError.js';
import {
  isJsonObject,
  shapeOf,
  type JsonObject,
  type JsonRpcId,
  type JsonRpcNotification,
  type JsonRpcRequest,
  type JsonRpcResponse,
} from '../protocol/jsonRpc.js';
import { decodeHeaderText } from '../protocol/headerText.js';
import { eraOf, legacyRevisions, modernRevisions } from '../protocol/revisions.js';
import { envelope } from '../protocol/envelope.js';

export interface ProtocolHeaders {
  readonly protocolVersion: string | undefined;
  readonly method: string | undefined;
  readonly name: string | undefined;
}

export type ClassifiedMessage =
  | { readonly kind: 'modernRequest'; readonly message: JsonRpcRequest }
  | { readonly kind: 'modernNotification' }
  | { readonly kind: 'legacyRequest'; readonly message: JsonRpcRequest }
  | { readonly kind: 'legacyNotification'; readonly message: JsonRpcNotification }
  | { readonly kind: 'legacyResponse'; readonly message: JsonRpcResponse };

/**
 * @throws AppError INVALID_REQUEST (shape, batch, a response of a modern client), INVALID_PARAMS (envelope),
 * HEADER_MISMATCH, UNSUPPORTED_PROTOCOL_VERSION
 */
export function classifyMessage(body: unknown, headers: ProtocolHeaders): ClassifiedMessage {
  if (Array.isArray(body)) {
    throw refuse(
      'INVALID_REQUEST',
      'Batches of messages are not supported; send one message for each request.',
    );
  }
  const isModernHeader = headers.protocolVersion !== undefined && eraOf(headers.protocolVersion) === 'modern';
  switch (shapeOf(body)) {
    case 'invalid':
      throw refuse('INVALID_REQUEST', 'The body is not a JSON-RPC request, notification or response.');
    case 'response':
      if (isModernHeader) throw refuse('INVALID_REQUEST', 'Clients of this revision send no responses.');
      refuseUnknownRevision(headers);
      return { kind: 'legacyResponse', message: body as JsonRpcResponse };
    case 'notification': {
      const message = body as JsonRpcNotification;
      const claimed = claimOf(message.params);
      if (claimed === undefined && !isModernHeader) {
        refuseUnknownRevision(headers);
        return { kind: 'legacyNotification', message };
      }
      if (claimed !== undefined) refuseOtherVersion(claimed, headers);
      refuseOtherMethod(message.method, headers);
      return { kind: 'modernNotification' };
    }
    case 'request':
      return classifyRequest(body as JsonRpcRequest, headers, isModernHeader);
  }
}

function classifyRequest(
  message: JsonRpcRequest,
  headers: ProtocolHeaders,
  isModernHeader: boolean,
): ClassifiedMessage {
  const claimed = claimOf(message.params);
  if (message.method === 'initialize' && !isModernClaim(claimed)) {
    if (isModernHeader)
      throw mismatch('An initialize request belongs to an older revision than the header names.');
    return { kind: 'legacyRequest', message };
  }
  if (claimed === undefined) {
    if (isModernHeader) throw badEnvelope('The request lacks the _meta members that this revision requires.');
    refuseUnknownRevision(headers);
    return { kind: 'legacyRequest', message };
  }
  const problem = findEnvelopeProblem(metaOf(message.params));
  if (problem !== null) throw badEnvelope(problem);
  refuseOtherVersion(claimed, headers);
  refuseOtherMethod(message.method, headers);
  if (!isModernClaim(claimed)) throw unsupported(typeof claimed === 'string' ? claimed : '', modernRevisions);
  refuseMissingHeaders(message, headers);
  return { kind: 'modernRequest', message };
}

/** The id under which to answer a body that may be refused; null for what is no request. */
export function idOf(body: unknown): JsonRpcId | null {
  const id = isJsonObject(body) && typeof body['method'] === 'string' ? body['id'] : null;
  return typeof id === 'string' || typeof id === 'number' ? id : null;
}

/** A legacy client's header, where it sends one, must name a revision that we speak. */
export function refuseUnknownRevision({ protocolVersion }: Pick<ProtocolHeaders, 'protocolVersion'>): void {
  if (protocolVersion !== undefined && eraOf(protocolVersion) === null) {
    throw unsupported(protocolVersion, [...modernRevisions, ...legacyRevisions]);
  }
}

function metaOf(params: JsonObject | undefined): JsonObject | undefined {
  const meta = params?.['_meta'];
  return isJsonObject(meta) ? meta : undefined;
}

/** The revision that a message claims; its presence alone makes a message one of the modern era. */
function claimOf(params: JsonObject | undefined): unknown {
  return metaOf(params)?.[envelope.protocolVersion];
}

function isModernClaim(claimed: unknown): boolean {
  return typeof claimed === 'string' && eraOf(claimed) === 'modern';
}

function findEnvelopeProblem(meta: JsonObject | undefined): string | null {
  if (typeof meta?.[envelope.protocolVersion] !== 'string')
    return `${envelope.protocolVersion} must be a string.`;
  if (!isJsonObject(meta[envelope.clientCapabilities]))
    return `${envelope.clientCapabilities} must be an object.`;
  const clientInfo = meta[envelope.clientInfo];
  if (clientInfo === undefined) return null;
  const isInfo =
    isJsonObject(clientInfo) &&
    typeof clientInfo['name'] === 'string' &&
    typeof clientInfo['version'] === 'string';
  return isInfo ? null : `${envelope.clientInfo} must have a name and a version.`;
}

function refuseOtherVersion(claimed: unknown, { protocolVersion }: ProtocolHeaders): void {
  if (protocolVersion !== undefined && protocolVersion !== claimed) {
    throw mismatch('MCP-Protocol-Version and the revision in _meta differ.');
  }
}

function refuseOtherMethod(method: string, headers: ProtocolHeaders): void {
  if (headers.method !== undefined && headers.method !== method) {
    throw mismatch('Mcp-Method and the method of the message differ.');
  }
}

/** Where the name that `Mcp-Name` has to repeat stands in the params (SEP-2243). */
const nameSources: ReadonlyMap<string, string> = new Map([
  ['tools/call', 'name'],
  ['prompts/get', 'name'],
  ['resources/read', 'uri'],
]);

function refuseMissingHeaders({ method, params }: JsonRpcRequest, headers: ProtocolHeaders): void {
  if (headers.protocolVersion === undefined) throw mismatch('The MCP-Protocol-Version header is required.');
  if (headers.method === undefined) throw mismatch('The Mcp-Method header is required.');
  const source = nameSources.get(method);
  if (source === undefined) return;
  const name = params?.[source];
  if (headers.name === undefined) {
    if (typeof name === 'string')
      throw mismatch(`The Mcp-Name header is required and repeats params.${source}.`);
    return;
  }
  if (decodeHeaderText(headers.name) !== name) throw mismatch(`Mcp-Name and params.${source} differ.`);
}

function refuse(code: 'INVALID_REQUEST', publicDetail: string): AppError {
  return new AppError(code, 'a message of the wrong form', { publicDetail });
}

function badEnvelope(publicDetail: string): AppError {
  return new AppError('INVALID_ENVELOPE', 'the envelope is not valid', { publicDetail });
}

function mismatch(publicDetail: string): AppError {
  return new AppError('HEADER_MISMATCH', 'headers and body differ', { publicDetail });
}

function unsupported(requested: string, supported: readonly string[]): AppError {
  return new AppError('UNSUPPORTED_PROTOCOL_VERSION', 'an unknown protocol version', {
    publicDetail: `This protocol version is not supported. Supported are ${supported.join(', ')}.`,
    extensions: { supported, requested: requested.slice(0, 64) },
  });
}
