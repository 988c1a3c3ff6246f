/**
 * What comes and goes with every call, in an array with places that are used again. A `Set` would say the same and cost a
 * good part of a call: V8 links each table of a Set to the one that replaces it, so that once one of them is old, all that
 * stood in those that followed lives until the next full collection, and every young collection has to copy it.
 */
export class UnderWay<T extends object> implements Iterable<T> {
  readonly #places: (T | undefined)[] = [];
  readonly #free: number[] = [];
  readonly #key: symbol;

  /** @param key under which a thing knows its place; one thing is in one list of a key at a time. */
  constructor(key: symbol) {
    this.#key = key;
  }

  get size(): number {
    return this.#places.length - this.#free.length;
  }

  add(one: T): void {
    if (this.#placeOf(one) !== -1) return;
    const place = this.#free.pop() ?? this.#places.length;
    this.#places[place] = one;
    (one as Record<symbol, unknown>)[this.#key] = place;
  }

  /** False when it is not in here, or no more. */
  delete(one: T): boolean {
    const place = this.#placeOf(one);
    if (place === -1) return false;
    this.#places[place] = undefined;
    this.#free.push(place);
    return true;
  }

  /** As it is when it is asked; what is added or removed meanwhile changes nothing of it. */
  [Symbol.iterator](): IterableIterator<T> {
    return this.#places.filter((one) => one !== undefined)[Symbol.iterator]();
  }

  #placeOf(one: T): number {
    const place = (one as Record<symbol, unknown>)[this.#key];
    return typeof place === 'number' && this.#places[place] === one ? place : -1;
  }
}
