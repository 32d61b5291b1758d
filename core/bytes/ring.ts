/**
 * A first-in first-out queue over a ring of slots that grows by doubling up to a bound: what
 * `Array.shift` would do in O(n) takes constant time. Freed slots are cleared, so that nothing is kept
 * alive.
 */
import { assert } from '../assert.js';

const SLOTS_MIN = 16;

export class Ring<T> {
  #slots: (T | undefined)[] = Array.from({ length: SLOTS_MIN }, () => undefined);
  #head = 0;
  #length = 0;
  readonly #lengthMax: number;

  /** `lengthMax` bounds the queue; `push` beyond it returns false. */
  constructor(lengthMax = Infinity) {
    assert(lengthMax >= 1, 'a ring holds something');
    this.#lengthMax = lengthMax;
  }

  get length(): number {
    return this.#length;
  }

  /** At the back; false, and nothing changed, when the queue is full. */
  push(item: T): boolean {
    if (this.#length >= this.#lengthMax) return false;
    if (this.#length === this.#slots.length) this.#grow();
    this.#slots[(this.#head + this.#length) & (this.#slots.length - 1)] = item;
    this.#length++;
    return true;
  }

  /** The item at the front, which leaves; undefined when empty. */
  shift(): T | undefined {
    if (this.#length === 0) return undefined;
    const item = this.#slots[this.#head];
    this.#slots[this.#head] = undefined;
    this.#head = (this.#head + 1) & (this.#slots.length - 1);
    this.#length--;
    return item;
  }

  /** The item `index` places behind the front, 0 being the front; undefined past the back. */
  at(index: number): T | undefined {
    if (index < 0 || index >= this.#length) return undefined;
    return this.#slots[(this.#head + index) & (this.#slots.length - 1)];
  }

  clear(): void {
    this.#slots = Array.from({ length: SLOTS_MIN }, () => undefined);
    this.#head = 0;
    this.#length = 0;
  }

  #grow(): void {
    const grown: (T | undefined)[] = Array.from(
      { length: this.#slots.length * 2 },
      () => undefined,
    );
    for (let i = 0; i < this.#length; i++) grown[i] = this.at(i);
    this.#slots = grown;
    this.#head = 0;
  }
}
