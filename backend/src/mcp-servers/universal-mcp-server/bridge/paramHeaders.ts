/**
 * Headers that repeat a tool's arguments (`Mcp-Param-…`, MCP 2026-07-28, "Streamable HTTP", "Schema extension"): which a
 * tool wants is in the list that the client was shown, and one that is missing or says something else is refused before
 * anything is executed. An upstream that takes no headers has nobody else to look at them.
 */
import { AppError } from '../../../errors/appError.js';
import type { SealedInstance } from '../../../services/instanceResolver.js';
import { decodeHeaderText } from '../protocol/headerText.js';
import { isJsonObject, type JsonObject, type JsonRpcRequest } from '../protocol/jsonRpc.js';
import { findParamHeaders, type ParamHeader } from '../upstream/remote/modernHeaders.js';
import type { BridgeContext } from './bridgeContext.js';
import type { InstanceRoom } from './instanceRooms.js';
import { toolsOf } from './shownLists.js';

type Wanted = Map<string, readonly ParamHeader[]>;

export class ParamHeaders {
  readonly #ctx: Pick<BridgeContext, 'lists' | 'gate'>;
  readonly #rooms = new WeakMap<InstanceRoom, Wanted>();

  constructor(ctx: Pick<BridgeContext, 'lists' | 'gate'>) {
    this.#ctx = ctx;
  }

  /** Learns what the tools of a list, as it is shown, want. */
  learn(room: InstanceRoom, list: JsonObject): void {
    const wanted = this.#rooms.get(room) ?? new Map<string, readonly ParamHeader[]>();
    this.#rooms.set(room, wanted);
    for (const tool of toolsOf(list)) {
      const headers = findParamHeaders(tool['inputSchema']);
      if (headers.length > 0) wanted.set(String(tool['name']), headers);
      else wanted.delete(String(tool['name']));
    }
  }

  /**
   * Whether a list was seen already, by this process or one before; without one nothing can be checked. Synchronous where
   * it is known, so that a call waits for nothing.
   */
  ready(room: InstanceRoom, instance: Pick<SealedInstance, 'id'>): Promise<void> | null {
    return this.#rooms.has(room) ? null : this.#load(room, instance);
  }

  /** @param headers name, value, name, value, … @throws AppError HEADER_MISMATCH */
  check(room: InstanceRoom, { params }: JsonRpcRequest, headers: readonly string[]): void {
    const wanted = this.#rooms.get(room)?.get(String(params?.['name']));
    if (wanted === undefined) return;
    for (const { header, path } of wanted) {
      const value = valueAt(params?.['arguments'], path);
      if (typeof value !== 'string' && typeof value !== 'number' && typeof value !== 'boolean') continue;
      const told = findHeader(headers, header);
      if (told === null) throw mismatch(`The ${header} header is required and repeats ${path.join('.')}.`);
      if (!isSame(decodeHeaderText(told), value)) throw mismatch(`${header} and ${path.join('.')} differ.`);
    }
  }

  async #load(room: InstanceRoom, { id }: Pick<SealedInstance, 'id'>): Promise<void> {
    const { lists, gate } = this.#ctx;
    const list = await lists.find(id, 'tools');
    if (!this.#rooms.has(room))
      this.learn(room, list === null || gate.isOpen ? (list ?? {}) : gate.showList(list));
  }
}

function valueAt(given: unknown, path: readonly string[]): unknown {
  let value = given;
  for (const name of path)
    value = isJsonObject(value) && Object.hasOwn(value, name) ? value[name] : undefined;
  return value;
}

function findHeader(headers: readonly string[], name: string): string | null {
  for (let at = 0; at + 1 < headers.length; at += 2)
    if (headers[at]?.toLowerCase() === name) return headers[at + 1] ?? null;
  return null;
}

/** Numbers are compared as numbers: 42.0 is 42. */
function isSame(told: string | null, value: string | number | boolean): boolean {
  if (told === null) return false;
  if (typeof value === 'number' && /^-?\d+(?:\.\d+)?$/.test(told)) return Number(told) === value;
  return told === String(value);
}

function mismatch(publicDetail: string): AppError {
  return new AppError('HEADER_MISMATCH', 'a header and an argument differ', { publicDetail });
}
