/** Whether a tool of a pinned service may be called, and what a client is told when it may not. */
import { AppError } from '../../../errors/appError.js';
import type { JsonRpcRequest, JsonRpcResponse } from '../protocol/jsonRpc.js';
import type { Era } from '../protocol/revisions.js';
import { toFailure, type UpstreamConnection } from '../upstream/upstream.js';
import type { PinVerdict } from './knownPins.js';
import { listAllTools } from './listAllTools.js';
import type { ToolPins } from './toolPins.js';

/**
 * What hinders the call of a tool, by the upstream's name; null when nothing does. Where its definition is not known, the
 * upstream is asked for its list first, over `connection`, whose lists `pins` examines.
 * @throws what the connection throws
 */
export async function findPinVerdict(
  pins: ToolPins,
  instanceId: string,
  tool: string,
  connection: Pick<UpstreamConnection, 'era' | 'request'>,
  signal: AbortSignal,
): Promise<Exclude<PinVerdict, 'approved'> | null> {
  const known = pins.mayCall(instanceId, tool);
  if (known === true) return null;
  if (known === null) await listAllTools(connection, signal);
  const verdict = pins.verdictOn(instanceId, tool);
  return verdict === 'approved' ? null : verdict;
}

/** A result that the model can read, and so its user (12.15); for a tool that is not there at all an error. */
export function toPinRefusal(
  era: Era,
  request: JsonRpcRequest,
  verdict: Exclude<PinVerdict, 'approved'>,
): JsonRpcResponse {
  const tool = String(request.params?.['name']).slice(0, 128);
  if (verdict === 'unlisted') return toFailure(request, { code: -32602, message: `Unknown tool: ${tool}` });
  const text = toPinSentence(tool, verdict);
  const result = {
    content: [{ type: 'text', text }],
    isError: true,
    ...(era === 'modern' ? { resultType: 'complete' } : {}),
    _meta: { 'portolan/quarantine': { code: 'TOOL_QUARANTINED', tool, reason: verdict } },
  };
  return { jsonrpc: '2.0', id: request.id, result };
}

export function toPinError(tool: string, verdict: Exclude<PinVerdict, 'approved'>): AppError {
  return new AppError('TOOL_QUARANTINED', `a tool is ${verdict}`, {
    publicDetail: toPinSentence(tool.slice(0, 128), verdict),
  });
}

function toPinSentence(tool: string, verdict: Exclude<PinVerdict, 'approved'>): string {
  const nothing = 'Nothing was called.';
  const ask = 'Ask an administrator of this Portolan installation to look at it and approve it.';
  switch (verdict) {
    case 'changed':
      return `The tool "${tool}" is described otherwise than when it was approved. ${nothing} ${ask}`;
    case 'new':
    case 'unlisted':
      return `The tool "${tool}" was not there when the tools of this service were approved. ${nothing} ${ask}`;
    case 'rejected':
      return `The tool "${tool}" was rejected by an administrator of this Portolan installation. ${nothing}`;
    case 'unusable':
      return `The tool "${tool}" has a definition that cannot be held to anything: it is too large, too deep or there twice. ${nothing}`;
  }
}
