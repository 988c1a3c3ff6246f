/**
 * Holds the tools of a service to the definitions that are approved (03 rule 8, decision 0016): what an upstream lists is
 * looked at before anybody sees it, and a tool can be called only as its upstream last described it to this instance.
 */
import { LRUCache } from 'lru-cache';
import type { ServiceDefinition } from '../../../catalog/serviceDefinition.js';
import { toToolDefinition, type ToolDefinition } from '../../../services/toolPins/toolDefinition.js';
import type { ResolvedInstance } from '../../../services/resolvedInstance.js';
import type { CallSpool } from '../../../spool/callSpool.js';
import { reportedToolsMax } from '../../../stores/toolPinsStore.js';
import { isJsonObject, type JsonObject } from '../protocol/jsonRpc.js';
import { KnownPins, type KnownPinsOptions, type PinVerdict } from './knownPins.js';

/** What an instance's upstream said last. */
interface Listed {
  /** Of the monotonic clock, in ms. */
  readonly at: number;
  isWhole: boolean;
  /** Digest by name; null for a definition that cannot be pinned, and for a name that stood for two. */
  readonly digests: Map<string, string | null>;
}

export interface ToolPinsOptions extends Omit<KnownPinsOptions, 'service' | 'approvesNew'> {
  readonly definition: Pick<ServiceDefinition, 'name' | 'toolPolicy' | 'api'>;
  readonly spool: Pick<CallSpool, 'refusal'>;
  readonly newId: () => string;
}

/** Whose upstream lists tools. */
export type PinnedInstance = Pick<ResolvedInstance, 'id' | 'userId'>;

const instancesMax = 20_000;
/** What was listed is asked for again before a call once it is as old as this. */
const listedMsMax = 5 * 60_000;
/** A tool that may not be called is looked for again after this: by now its upstream may have it as it was approved. */
const askAgainMs = 3_000;
const stampMember = 'portolan/digests';
const unusable = { digest: null } as const;

export class ToolPins implements Disposable {
  readonly #known: KnownPins;
  readonly #options: Pick<ToolPinsOptions, 'spool' | 'newId' | 'log'>;
  /** Declared in the service's own file: whoever writes it approves them with it. */
  readonly #declared: ReadonlySet<string>;
  readonly #listed = new LRUCache<string, Listed>({ max: instancesMax });
  readonly #definitions = new WeakMap<JsonObject, ToolDefinition | typeof unusable>();

  constructor({ definition, ...rest }: ToolPinsOptions) {
    this.#options = rest;
    const approvesNew = definition.toolPolicy.newTools === 'approve';
    this.#known = new KnownPins({ ...rest, service: definition.name, approvesNew });
    this.#declared = new Set(definition.api?.tools.map(({ name }) => name));
  }

  /** Hears when another list of this service's tools may be shown than before. */
  onChange(listener: () => void): void {
    this.#known.onChange(listener);
  }

  /**
   * A page of an upstream's `tools/list`, with those tools that may be shown. What was never seen is reported, and counts
   * as approved when it is of the first list of the service; what is kept out is audited once.
   * @throws AppError DATABASE_UNAVAILABLE while it was never read what is approved.
   */
  async examine(instance: PinnedInstance, cursor: unknown, result: JsonObject): Promise<JsonObject> {
    await this.#known.ready();
    const tools = objectsIn(result['tools']);
    const digests = new Map<string, string | null>();
    const twice = new Set<string>();
    for (const tool of tools) {
      const { name } = tool;
      if (typeof name !== 'string') continue;
      const { digest } = this.#define(tool);
      if (digests.has(name) && digests.get(name) !== digest) twice.add(name);
      digests.set(name, digest);
    }
    const isLast = result['nextCursor'] === undefined;
    await this.#report(instance, tools, twice, isLast);
    for (const name of twice) digests.set(name, null);
    this.#note(instance.id, cursor === undefined, isLast, digests);
    const left = new Set(digests.keys());
    return {
      ...result,
      // No client keeps a list that an admin may make another one.
      ...('ttlMs' in result ? { ttlMs: 0 } : {}),
      tools: tools.filter(({ name }) => {
        if (typeof name !== 'string' || !left.delete(name)) return false;
        return this.#judge(name, digests.get(name)) === 'approved';
      }),
    };
  }

  /** Whether a tool may be called; null where its upstream has to be asked for its list first. */
  mayCall(instanceId: string, tool: string): boolean | null {
    if (this.#declared.has(tool)) return true;
    const listed = this.#listed.get(instanceId);
    if (listed === undefined) return null;
    const age = performance.now() - listed.at;
    if (age > listedMsMax) return null;
    if (this.#known.judge(tool, listed.digests.get(tool)) === 'approved') return true;
    return age > askAgainMs || !(listed.isWhole || listed.digests.has(tool)) ? null : false;
  }

  verdictOn(instanceId: string, tool: string): PinVerdict {
    return this.#judge(tool, this.#listed.get(instanceId)?.digests.get(tool));
  }

  /** A list to be kept, with the digests of what is in it, so that it is shown later as far as it counts then. */
  stamp(instanceId: string, result: JsonObject): JsonObject {
    const digests = this.#listed.get(instanceId)?.digests;
    const stamps = objectsIn(result['tools']).map(({ name }) => digests?.get(String(name)) ?? null);
    return { ...result, [stampMember]: stamps };
  }

  /**
   * A kept list, with those tools that may be shown now; null for one that was kept without digests.
   * @throws AppError DATABASE_UNAVAILABLE while it was never read what is approved.
   */
  async recall(kept: JsonObject): Promise<JsonObject | null> {
    const { [stampMember]: stamps, ...result } = kept;
    if (!Array.isArray(stamps)) return null;
    await this.#known.ready();
    const isShown = ({ name }: JsonObject, at: number): boolean => {
      const stamp: unknown = stamps[at];
      return this.#judge(String(name), typeof stamp === 'string' ? stamp : null) === 'approved';
    };
    return { ...result, tools: objectsIn(result['tools']).filter(isShown) };
  }

  /** The upstream may describe its tools otherwise from now on: it is asked again before the next call. */
  forget(instanceId: string): void {
    this.#listed.delete(instanceId);
  }

  [Symbol.dispose](): void {
    this.#known[Symbol.dispose]();
  }

  #define(tool: JsonObject): ToolDefinition | typeof unusable {
    const made = this.#definitions.get(tool);
    if (made !== undefined) return made;
    const definition = toToolDefinition(tool) ?? unusable;
    this.#definitions.set(tool, definition);
    return definition;
  }

  #judge(tool: string, digest: string | null | undefined): PinVerdict {
    return this.#declared.has(tool) ? 'approved' : this.#known.judge(tool, digest);
  }

  async #report(
    { id: instanceId, userId }: PinnedInstance,
    tools: readonly JsonObject[],
    twice: ReadonlySet<string>,
    isLast: boolean,
  ): Promise<void> {
    const due = tools
      .map((tool) => this.#define(tool))
      .filter((one): one is ToolDefinition => one.digest !== null)
      .filter(({ tool, digest }) => !this.#declared.has(tool) && this.#known.isDue(tool, digest))
      .slice(0, reportedToolsMax)
      .map(({ tool, text }) => ({ tool, definition: text, isPlain: !twice.has(tool) }));
    if (due.length === 0) return;
    const { spool, newId } = this.#options;
    for (const name of await this.#known.report({ instanceId, tools: due, isLast })) {
      const call = { callId: newId(), instanceId, userId, method: 'tools/list', name };
      spool.refusal(call, { errorCode: 'TOOL_QUARANTINED' });
    }
  }

  #note(instanceId: string, isFirst: boolean, isLast: boolean, digests: Map<string, string | null>): void {
    const before = isFirst ? undefined : this.#listed.get(instanceId);
    if (before === undefined) {
      const listed = { at: performance.now(), isWhole: isFirst && isLast, digests: new Map(digests) };
      return void this.#listed.set(instanceId, listed);
    }
    for (const [name, digest] of digests) before.digests.set(name, digest);
    before.isWhole ||= isLast;
  }
}

function objectsIn(list: unknown): readonly JsonObject[] {
  return Array.isArray(list) ? list.filter(isJsonObject) : [];
}
