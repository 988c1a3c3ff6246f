/**
 * What a server says of itself, as clients of a service with pinned tools hear it: its list of tools changes when an admin
 * decides, and clients listen only to what a server says it tells.
 */
import { isJsonObject, type JsonObject } from '../protocol/jsonRpc.js';
import type { BridgeContext } from './bridgeContext.js';

export function toShownCapabilities(
  { pins }: Pick<BridgeContext, 'pins'>,
  capabilities: JsonObject,
): JsonObject {
  const { tools } = capabilities;
  if (pins === null || !isJsonObject(tools) || tools['listChanged'] === true) return capabilities;
  return { ...capabilities, tools: { ...tools, listChanged: true } };
}

/** The same of any terms that have capabilities. */
export function toShownTerms<T extends { readonly capabilities: JsonObject }>(
  ctx: Pick<BridgeContext, 'pins'>,
  terms: T,
): T {
  const capabilities = toShownCapabilities(ctx, terms.capabilities);
  return capabilities === terms.capabilities ? terms : { ...terms, capabilities };
}
