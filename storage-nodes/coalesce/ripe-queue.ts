/** Page ids whose chains are long enough to fold, first come first folded: a growing ring. */
export class RipeQueue {
  count = 0;
  #ids = new Uint32Array(256);
  #start = 0;

  push(id: number): void {
    if (this.count === this.#ids.length) this.#grow();
    this.#ids[(this.#start + this.count) % this.#ids.length] = id;
    this.count++;
  }

  /** The oldest id; 0 when there is none. */
  shift(): number {
    if (this.count === 0) return 0;
    const id = this.#ids[this.#start];
    this.#start = (this.#start + 1) % this.#ids.length;
    this.count--;
    return id;
  }

  #grow(): void {
    const grown = new Uint32Array(this.#ids.length * 2);
    for (let i = 0; i < this.count; i++) grown[i] = this.#ids[(this.#start + i) % this.#ids.length];
    this.#ids = grown;
    this.#start = 0;
  }
}
