/**
 * What an upstream with pinned tools may say on a stream that passes: its own notices, what it asks, and the one response
 * that the stream is for. A response under another id could be a list of tools that nobody has looked at.
 */
import { isJsonObject, shapeOf, type JsonRpcId, type JsonRpcMessage } from '../../protocol/jsonRpc.js';
import type { ToolPins } from '../toolPins.js';
import { toolsChanged } from '../toolsChanged.js';
import { refuseAmbiguous } from './ambiguity.js';
import { parse } from './answerFacts.js';

export interface Expected {
  readonly pins: ToolPins;
  readonly instanceId: string;
  /** Of the request that is answered here; null for a stream that goes on with one that is not known. */
  readonly id: JsonRpcId | null;
}

/** False when it must not reach the client. Hears on the way that the tools changed. */
export function mayPass({ pins, instanceId, id }: Expected, data: Buffer): boolean {
  const message = parse(data);
  const shape = shapeOf(message);
  if (shape === 'invalid' || !isUnambiguous(data, message as JsonRpcMessage)) return false;
  if (shape === 'request') return true;
  const { method, result, id: given, error } = message as Readonly<Record<string, unknown>>;
  if (shape === 'notification') {
    if (method === toolsChanged) pins.forget(instanceId);
    return true;
  }
  if (isJsonObject(result) && 'tools' in result) return false;
  return id === null || given === id || (error !== undefined && (given === null || given === undefined));
}

function isUnambiguous(data: Buffer, message: JsonRpcMessage): boolean {
  try {
    refuseAmbiguous(data, message);
    return true;
  } catch {
    return false;
  }
}
