/**
 * What this process knows of the approved definitions of its service's tools: read from the database, kept while it is
 * away, read again within moments of a change elsewhere. Whatever is not known to be approved is not approved.
 */
import { LRUCache } from 'lru-cache';
import type { Queryable } from '../../../database/queryable.js';
import type { ChangeFeed } from '../../../services/changeFeed.js';
import { readToolPins, reportTools, type ToolPin, type ToolReport } from '../../../stores/toolPinsStore.js';
import type { Logger } from '../../../telemetry/logger.js';

/** Why a tool is neither shown nor called. `unusable`: what was listed cannot be pinned. */
export type PinVerdict = 'approved' | 'changed' | 'new' | 'rejected' | 'unusable' | 'unlisted';

export interface KnownPinsOptions {
  readonly service: string;
  /** Whether a tool counts that nobody decided about and of whose name nothing was known before. */
  readonly approvesNew: boolean;
  readonly db: Queryable;
  readonly changes: Pick<ChangeFeed, 'isUp' | 'onToolPinsChange'>;
  readonly log: Pick<Logger, 'warn' | 'info'>;
}

type Pins = Map<string, Map<string, ToolPin>>;

/** How often the database hears that a definition that waits is still being listed. */
const seenAgainMs = 12 * 3_600_000;
const reloadRetryMs = 1_000;
/** Definitions that were learnt since all were read; an upstream that makes ever new ones fills no memory. */
const learntMax = 2_000;

export class KnownPins implements Disposable {
  readonly #options: KnownPinsOptions;
  readonly #listeners = new Set<() => void>();
  readonly #stop: () => void;
  /** By tool and digest; null until they were read once. */
  #pins: Pins | null = null;
  readonly #seenAt = new LRUCache<string, number>({ max: learntMax });
  /** Learnt since the last read began. */
  #learnt: ToolPin[] = [];
  #loading: Promise<void> | null = null;
  #isOutdated = false;
  #told: string | null = null;
  #retry: NodeJS.Timeout | undefined;
  #isClosed = false;

  constructor(options: KnownPinsOptions) {
    this.#options = options;
    this.#stop = options.changes.onToolPinsChange((service) => {
      if (service === null || service === options.service) this.#reload();
    });
    this.#reload();
  }

  /** Hears when another list of this service's tools may be shown than before. */
  onChange(listener: () => void): void {
    this.#listeners.add(listener);
  }

  /** @throws AppError DATABASE_UNAVAILABLE while they were never read. */
  async ready(): Promise<void> {
    if (this.#pins === null) await this.#load();
  }

  /** @param digest undefined for a tool that is not listed, null for one that cannot be pinned. */
  judge(tool: string, digest: string | null | undefined): PinVerdict {
    if (digest === undefined) return 'unlisted';
    if (digest === null) return 'unusable';
    const ofTool = this.#pins?.get(tool);
    const pin = ofTool?.get(digest);
    if (pin !== undefined && this.#isApproved(pin)) return 'approved';
    if (pin?.state === 'rejected') return 'rejected';
    return [...(ofTool?.values() ?? [])].some((one) => this.#isApproved(one)) ? 'changed' : 'new';
  }

  /** Whether the database should hear that this definition was listed. */
  isDue(tool: string, digest: string): boolean {
    const pin = this.#pins?.get(tool)?.get(digest);
    if (pin === undefined) return true;
    if (pin.state !== 'waiting') return false;
    return performance.now() - (this.#seenAt.get(`${digest}${tool}`) ?? -Infinity) > seenAgainMs;
  }

  /**
   * Answers the tools that are kept out from now on. What cannot be reported stays unknown, and so unseen, until it can.
   * Never throws.
   */
  async report(report: Omit<ToolReport, 'service'>): Promise<readonly string[]> {
    const { service, db, log } = this.#options;
    try {
      const reported = await reportTools(db, { service, ...report });
      for (const pin of reported) {
        this.#seenAt.set(`${pin.digest}${pin.tool}`, performance.now());
        this.#learnt.push(pin);
        addPin((this.#pins ??= new Map()), pin);
      }
      if (this.#learnt.length > learntMax) this.#reload();
      const first = reported.filter(({ isFirst }) => isFirst);
      const trusted = first.filter(({ state }) => state === 'approved').length;
      if (trusted > 0) log.info('the tools of a first list are trusted from now on', { count: trusted });
      return first.filter((pin) => !this.#isApproved(pin)).map(({ tool }) => tool);
    } catch (error) {
      log.warn('the tools of an upstream could not be reported; those that are not known stay hidden', {
        instance: report.instanceId,
        error,
      });
      return [];
    }
  }

  [Symbol.dispose](): void {
    this.#isClosed = true;
    clearTimeout(this.#retry);
    this.#stop();
    this.#listeners.clear();
  }

  #isApproved({ state, isNew }: ToolPin): boolean {
    return state === 'approved' || (state === 'waiting' && isNew && this.#options.approvesNew);
  }

  /** In the background; what is known stays until it is read. */
  #reload(): void {
    this.#load().catch((error: unknown) => {
      if (this.#isClosed) return;
      this.#options.log.warn('what is approved of the tools could not be read', { error });
      this.#retryLater();
    });
  }

  #retryLater(): void {
    clearTimeout(this.#retry);
    if (!this.#isClosed) this.#retry = setTimeout(() => this.#reload(), reloadRetryMs).unref();
  }

  /** Whoever asks while they are being read gets what is read after that. */
  #load(): Promise<void> {
    this.#isOutdated = this.#loading !== null;
    this.#loading ??= this.#readAll().finally(() => {
      this.#loading = null;
    });
    return this.#loading;
  }

  async #readAll(): Promise<void> {
    const { service, db, changes } = this.#options;
    let read: ToolPin[];
    do {
      this.#isOutdated = false;
      this.#learnt = [];
      read = await readToolPins(db, service);
      if (this.#isClosed) return;
    } while (this.#isOutdated);
    const pins: Pins = new Map();
    for (const pin of read) addPin(pins, pin);
    // Of what was learnt meanwhile the database may have known nothing yet.
    for (const pin of this.#learnt) if (pins.get(pin.tool)?.has(pin.digest) !== true) addPin(pins, pin);
    this.#pins = pins;
    this.#tell();
    // While nobody would tell of a change, it is asked for.
    if (!changes.isUp) this.#retryLater();
  }

  /** Not of what was there before this process began. */
  #tell(): void {
    const all = Array.from(this.#pins?.values() ?? [], (ofTool) => [...ofTool.values()]);
    const shown = all
      .filter((ofTool) => ofTool.some((pin) => this.#isApproved(pin)))
      .flatMap((ofTool) => ofTool.map(({ tool, digest, state }) => `${digest} ${state} ${tool}`));
    const told = shown.sort().join('\n');
    const before = this.#told;
    this.#told = told;
    if (before === null || before === told) return;
    for (const listener of Array.from(this.#listeners)) listener();
  }
}

function addPin(pins: Pins, pin: ToolPin): void {
  const ofTool = pins.get(pin.tool) ?? new Map<string, ToolPin>();
  pins.set(pin.tool, ofTool);
  ofTool.set(pin.digest, pin);
}
