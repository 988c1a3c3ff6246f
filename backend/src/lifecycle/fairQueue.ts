/**
 * Waiting in a line of one's own: each tenant's things in the order in which they came, the tenants in turn. Whoever has
 * a thousand things waiting delays nobody who has one by more than a turn (round robin; Nagle, RFC 970).
 */
export class FairQueue<T> {
  /** In the order of turns: who was served goes to the end. */
  readonly #lines = new Map<string, T[]>();
  #size = 0;

  /** Things of all tenants. */
  get size(): number {
    return this.#size;
  }

  sizeOf(tenant: string): number {
    return this.#lines.get(tenant)?.length ?? 0;
  }

  push(tenant: string, thing: T): void {
    const line = this.#lines.get(tenant);
    if (line === undefined) this.#lines.set(tenant, [thing]);
    else line.push(thing);
    this.#size += 1;
  }

  /** The next thing of the next tenant that may have a turn; undefined when there is none. */
  shift(mayTake: (tenant: string) => boolean = () => true): T | undefined {
    for (const [tenant, line] of this.#lines) {
      if (!mayTake(tenant)) continue;
      this.#lines.delete(tenant);
      const thing = line.shift();
      if (line.length > 0) this.#lines.set(tenant, line);
      this.#size -= 1;
      return thing;
    }
    return undefined;
  }

  /** Takes one out that waits no more; false when it is not there. */
  remove(tenant: string, thing: T): boolean {
    const line = this.#lines.get(tenant);
    const at = line?.indexOf(thing) ?? -1;
    if (line === undefined || at === -1) return false;
    line.splice(at, 1);
    if (line.length === 0) this.#lines.delete(tenant);
    this.#size -= 1;
    return true;
  }
}
