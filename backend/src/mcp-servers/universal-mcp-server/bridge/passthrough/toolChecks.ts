/** What has to be known of a tool before a passed call of it, and may have to be asked of the upstream. */
import { modernRevisions } from '../../protocol/revisions.js';
import type { InstanceRoom } from '../instanceRooms.js';
import type { PinVerdict } from '../knownPins.js';
import { findPinVerdict } from '../pinnedCall.js';
import type { PassContext, PassedRequest } from './passContext.js';
import { toAskedConnection, type AskingSession } from './pinnedList.js';
import { toLegacyHeaders, toModernHeaders } from './requestHeaders.js';

const modernHeaders = toModernHeaders(
  ['mcp-protocol-version', modernRevisions[0], 'mcp-method', 'tools/list'],
  null,
);

/** `hidden`: the policy lets only read-only tools be called, and this is none. */
export type ToolRefusal = 'hidden' | Exclude<PinVerdict, 'approved'>;

/** Whether nothing has to be asked: the rule, and synchronous. */
export function isCallable({ ctx: { gate, pins } }: PassContext, instanceId: string, name: string): boolean {
  return !gate.needsAnnotations(name) && (pins === null || pins.mayCall(instanceId, name) === true);
}

/** Null when the tool may be called. Part of a call that is accounted for. @throws what asking throws */
export async function findToolRefusal(
  pass: PassContext,
  from: PassedRequest,
  asking: AskingSession,
  room: InstanceRoom,
  name: string,
  ended: AbortSignal,
): Promise<ToolRefusal | null> {
  const { gate, pins, definition } = pass.ctx;
  const headers = asking.era === 'modern' ? modernHeaders : toLegacyHeaders(from.revision);
  const connection = toAskedConnection(pass, from, asking, headers);
  const signal = AbortSignal.any([AbortSignal.timeout(definition.limits.timeoutMs), ended]);
  const verdict =
    pins === null ? null : await findPinVerdict(pins, from.instance.id, name, connection, signal);
  if (verdict !== null) return verdict;
  if (!gate.needsAnnotations(name)) return null;
  return (await room.isReadOnlyTool(name, connection, signal)) ? null : 'hidden';
}
