/** What becomes of the lists that an upstream gives: learnt, remembered, and shown as the service's policy has it. */
import type { SealedInstance } from '../../../services/instanceResolver.js';
import { isJsonObject, type JsonObject, type JsonRpcRequest } from '../protocol/jsonRpc.js';
import type { BridgeContext } from './bridgeContext.js';
import type { InstanceRoom } from './instanceRooms.js';
import { isReadOnly } from './toolPolicy.js';

/** The kind under which the last list of each method is kept. */
export const keptKinds = {
  'tools/list': 'tools',
  'prompts/list': 'prompts',
  'resources/list': 'resources',
  'resources/templates/list': 'resource_templates',
} as const;

/** Whether the method gives a list that has to be looked at. */
export const isListMethod = (method: string): method is keyof typeof keptKinds =>
  Object.hasOwn(keptKinds, method);

/** A list's result as the policy shows it; whole lists are remembered as the upstream gave them. */
export function showList(
  ctx: Pick<BridgeContext, 'lists' | 'metrics' | 'gate'>,
  room: Pick<InstanceRoom, 'noteTools'>,
  instance: Pick<SealedInstance, 'id'>,
  { method, params }: Pick<JsonRpcRequest, 'method' | 'params'>,
  result: JsonObject,
): JsonObject {
  if (!isListMethod(method)) return result;
  const isWhole = params?.['cursor'] === undefined && result['nextCursor'] === undefined;
  if (isWhole) ctx.lists.remember(instance.id, keptKinds[method], result);
  if (method !== 'tools/list') return result;
  const tools = toolsOf(result);
  ctx.metrics.served.learnTools(tools.map(({ name }) => String(name)));
  room.noteTools(
    tools.filter(isReadOnly).map(({ name }) => String(name)),
    isWhole,
  );
  return ctx.gate.isOpen ? result : ctx.gate.showList(result);
}

export function toolsOf({ tools }: JsonObject): readonly JsonObject[] {
  return Array.isArray(tools) ? tools.filter(isJsonObject) : [];
}
