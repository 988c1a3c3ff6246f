/**
 * What a session's GET stream was told lately, each under an id, so that a client whose stream broke hears what it missed
 * (MCP 2025-11-25, "Resumability and Redelivery"). Bounded, and of this process only: an id that is not found means that
 * something may have been missed, and the caller says so.
 */
import type { JsonRpcNotification } from '../protocol/jsonRpc.js';

export interface RingEvent {
  readonly id: string;
  readonly notification: JsonRpcNotification;
}

const eventsMax = 100;
const bytesMax = 256 * 1024;

export class EventRing {
  /** Tells the ids of this ring from those of any other. */
  readonly #name: string;
  readonly #events: { readonly number: number; readonly bytes: number; readonly event: RingEvent }[] = [];
  #bytes = 0;
  #last = 0;

  constructor(name: string) {
    this.#name = name;
  }

  /** The id of what was told last; where a stream begins that was told nothing yet. */
  get lastId(): string {
    return this.#toId(this.#last);
  }

  /** Keeps it, at the cost of the oldest. @returns the id under which to tell it */
  add(notification: JsonRpcNotification): string {
    this.#last += 1;
    const id = this.lastId;
    const bytes = Buffer.byteLength(JSON.stringify(notification));
    this.#events.push({ number: this.#last, bytes, event: { id, notification } });
    this.#bytes += bytes;
    while (this.#events.length > eventsMax || this.#bytes > bytesMax)
      this.#bytes -= this.#events.shift()?.bytes ?? 0;
    return id;
  }

  /** All that was told after that; null when the id is none of this ring, or too old to know all of it. */
  after(id: string): readonly RingEvent[] | null {
    const at = id.startsWith(`${this.#name}-`) ? Number(id.slice(this.#name.length + 1)) : Number.NaN;
    const isKnown = Number.isInteger(at) && at >= 0 && at <= this.#last && this.#toId(at) === id;
    const oldest = this.#events[0]?.number ?? this.#last + 1;
    if (!isKnown || at < oldest - 1) return null;
    return this.#events.filter(({ number }) => number > at).map(({ event }) => event);
  }

  #toId(number: number): string {
    return `${this.#name}-${number}`;
  }
}
