/** What becomes of the lists that an upstream gives: learnt, remembered, and shown as the service's policy has it. */
import type { SealedInstance } from '../../../services/instanceResolver.js';
import { isJsonObject, type JsonObject, type JsonRpcRequest } from '../protocol/jsonRpc.js';
import type { BridgeContext } from './bridgeContext.js';
import type { InstanceRoom } from './instanceRooms.js';
import type { LastLists } from './lastLists.js';
import type { ToolPins } from './toolPins.js';
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

/**
 * A list's result as the policy shows it; whole lists are remembered as the upstream gave them, and of a service with
 * pinned tools as far as they were approved.
 * @param isRecalled it is a remembered one.
 */
export function showList(
  ctx: Pick<BridgeContext, 'lists' | 'metrics' | 'gate' | 'pins'>,
  room: Pick<InstanceRoom, 'noteTools'>,
  instance: Pick<SealedInstance, 'id'>,
  { method, params }: Pick<JsonRpcRequest, 'method' | 'params'>,
  result: JsonObject,
  isRecalled = false,
): JsonObject {
  if (!isListMethod(method)) return result;
  const isWhole = params?.['cursor'] === undefined && result['nextCursor'] === undefined;
  if (isWhole && !isRecalled) rememberList(ctx, instance.id, method, result);
  if (method !== 'tools/list') return result;
  const tools = toolsOf(result);
  ctx.metrics.served.learnTools(tools.map(({ name }) => String(name)));
  room.noteTools(
    tools.filter(isReadOnly).map(({ name }) => String(name)),
    isWhole,
  );
  return ctx.gate.isOpen ? result : ctx.gate.showList(result);
}

export function rememberList(
  { lists, pins }: Pick<BridgeContext, 'lists' | 'pins'>,
  instanceId: string,
  method: keyof typeof keptKinds,
  result: JsonObject,
): void {
  const isStamped = method === 'tools/list' && pins !== null;
  lists.remember(instanceId, keptKinds[method], isStamped ? pins.stamp(instanceId, result) : result);
}

/** The list of tools that an upstream gave last, as far as it may be shown now; null when there is none. */
export async function recallTools(
  { lists, pins }: { readonly lists: Pick<LastLists, 'find'>; readonly pins: ToolPins | null },
  instanceId: string,
): Promise<JsonObject | null> {
  const kept = await lists.find(instanceId, 'tools');
  return kept === null || pins === null ? kept : await pins.recall(kept);
}

export function toolsOf({ tools }: JsonObject): readonly JsonObject[] {
  return Array.isArray(tools) ? tools.filter(isJsonObject) : [];
}
