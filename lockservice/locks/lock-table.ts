/**
 * The locks of one group, as columns of typed arrays: no object per lock, so a million held locks cost the collector
 * nothing. It knows who holds what; rules are the group's (lock-group.ts).
 *
 * ```
 *   hash of the name -> #slots: 1 + lock index, linear probing, 0 = empty
 *                         |
 *   lock:    table 4 | idHigh 4 | idLow 4 | aspect, contended 1 | first holder 4                    17 bytes
 *                                                                      |
 *   holder:  next 4 | clerk 4 | level, claimed 1 | grant 8 | request 4 | since 4                   25 bytes
 * ```
 *
 * With the slots (4 bytes at a load of 3/8 to 3/4) and the slack of growing by half: 50 to 95 bytes a lock that one clerk
 * holds, 70 on average. The paper's server needs 112. Indices are stable until `shrink`.
 *
 * - TABLE-1 A lock is in the table while somebody holds it or it is contended, and not longer.
 * - TABLE-2 A clerk is a holder of a lock at most once.
 */
import { hashLock } from '../protocol/lock-vectors.js';

const CAPACITY_MIN = 16;
const ASPECT_BIT = 1;
const CONTENDED_BIT = 2;
/** In place of the flags of a removed lock. */
const FREE = 0xff;
export const NONE = -1;

type Column = Uint32Array | Int32Array | Uint8Array | Float64Array;

function resized<C extends Column>(column: C, length: number): C {
  const copy = new (column.constructor as new (length: number) => C)(length);
  copy.set(length < column.length ? column.subarray(0, length) : column);
  return copy;
}

export class LockTable {
  /** Columns of locks, by lock index; replaced when the table grows. */
  table = new Uint32Array(CAPACITY_MIN);
  idHigh = new Uint32Array(CAPACITY_MIN);
  idLow = new Uint32Array(CAPACITY_MIN);
  #flags = new Uint8Array(CAPACITY_MIN);
  /** First holder, or the next free lock. */
  #first = new Int32Array(CAPACITY_MIN);
  /** Columns of holders, by holder index. */
  #next = new Int32Array(CAPACITY_MIN);
  /** Number of the clerk in the clerk table. */
  clerk = new Uint32Array(CAPACITY_MIN);
  level = new Uint8Array(CAPACITY_MIN);
  /** 1: known by a claim alone, so that `request` says nothing. */
  claimed = new Uint8Array(CAPACITY_MIN);
  grant = new Float64Array(CAPACITY_MIN);
  /** Lower half of the request that it was granted for. */
  request = new Uint32Array(CAPACITY_MIN);
  /** In tenths of a second of the core's time. */
  since = new Uint32Array(CAPACITY_MIN);
  #slots = new Int32Array(2 * CAPACITY_MIN);
  #shift = 32 - 5;
  #locks = 0;
  #locksEnd = 0;
  #freeLock = NONE;
  #holders = 0;
  #holdersEnd = 0;
  #freeHolder = NONE;

  /** Locks that somebody holds or waits for. */
  get size(): number {
    return this.#locks;
  }

  get holders(): number {
    return this.#holders;
  }

  /** Lock indices are below it; those without holders and not contended are free ones. */
  get end(): number {
    return this.#locksEnd;
  }

  /** Of all columns. */
  get bytes(): number {
    return 17 * this.#first.length + 26 * this.#next.length + 4 * this.#slots.length;
  }

  /** Index of the lock, or NONE. */
  find(table: number, idHigh: number, idLow: number, aspect: number): number {
    const slots = this.#slots;
    const mask = slots.length - 1;
    for (let slot = this.#slotOf(table, idHigh, idLow, aspect); ; slot = (slot + 1) & mask) {
      const lock = slots[slot] - 1;
      if (lock < 0 || this.#is(lock, table, idHigh, idLow, aspect)) return lock;
    }
  }

  /** Index of the lock, which is added when it is not there. */
  findOrAdd(table: number, idHigh: number, idLow: number, aspect: number): number {
    if (4 * (this.#locks + 1) > 3 * this.#slots.length) this.#rehash(2 * this.#slots.length);
    const slots = this.#slots;
    const mask = slots.length - 1;
    let slot = this.#slotOf(table, idHigh, idLow, aspect);
    for (; slots[slot] !== 0; slot = (slot + 1) & mask) {
      const lock = slots[slot] - 1;
      if (this.#is(lock, table, idHigh, idLow, aspect)) return lock;
    }
    const lock = this.#newLock();
    slots[slot] = lock + 1;
    this.table[lock] = table;
    this.idHigh[lock] = idHigh;
    this.idLow[lock] = idLow;
    this.#flags[lock] = aspect;
    this.#first[lock] = NONE;
    return lock;
  }

  aspect(lock: number): number {
    return this.#flags[lock] & ASPECT_BIT;
  }

  contended(lock: number): boolean {
    return (this.#flags[lock] & CONTENDED_BIT) !== 0;
  }

  /** While contended a lock stays in the table; its indices change in `shrink` alone. */
  setContended(lock: number, contended: boolean): void {
    if (contended) this.#flags[lock] |= CONTENDED_BIT;
    else this.#flags[lock] &= ~CONTENDED_BIT;
  }

  /** Holder index or NONE; not of a free lock index (`used`). */
  firstHolder(lock: number): number {
    return this.#first[lock];
  }

  nextHolder(holder: number): number {
    return this.#next[holder];
  }

  holderOf(lock: number, clerk: number): number {
    let holder = this.#first[lock];
    while (holder !== NONE && this.clerk[holder] !== clerk) holder = this.#next[holder];
    return holder;
  }

  /** The caller has seen that the clerk is not among the holders (TABLE-2), and fills the other columns. */
  addHolder(lock: number, clerk: number): number {
    let holder = this.#freeHolder;
    if (holder === NONE) {
      if (this.#holdersEnd === this.#next.length) this.#growHolders();
      holder = this.#holdersEnd++;
    } else {
      this.#freeHolder = this.#next[holder];
    }
    this.#holders++;
    this.clerk[holder] = clerk;
    this.#next[holder] = this.#first[lock];
    this.#first[lock] = holder;
    return holder;
  }

  removeHolder(lock: number, holder: number): void {
    let before = NONE;
    let at = this.#first[lock];
    while (at !== holder) {
      before = at;
      at = this.#next[at];
    }
    if (before === NONE) this.#first[lock] = this.#next[holder];
    else this.#next[before] = this.#next[holder];
    this.#next[holder] = this.#freeHolder;
    this.#freeHolder = holder;
    this.#holders--;
  }

  /** Takes the lock out when nobody holds it and it is not contended (TABLE-1). */
  removeIfUnused(lock: number): void {
    if (this.#first[lock] !== NONE || this.contended(lock)) return;
    const slots = this.#slots;
    const mask = slots.length - 1;
    let hole = this.#homeOf(lock);
    while (slots[hole] !== lock + 1) hole = (hole + 1) & mask;
    // Backward shift: what follows in the cluster moves up unless its home lies after the hole.
    for (let slot = (hole + 1) & mask; slots[slot] !== 0; slot = (slot + 1) & mask) {
      const home = this.#homeOf(slots[slot] - 1);
      if (((slot - home) & mask) < ((slot - hole) & mask)) continue;
      slots[hole] = slots[slot];
      hole = slot;
    }
    slots[hole] = 0;
    this.#flags[lock] = FREE;
    this.#first[lock] = this.#freeLock;
    this.#freeLock = lock;
    this.#locks--;
  }

  /** False of the index of a removed lock. */
  used(lock: number): boolean {
    return this.#flags[lock] !== FREE;
  }

  /** More than three quarters of the columns are empty. */
  get wasteful(): boolean {
    return (
      (this.#first.length > CAPACITY_MIN && 4 * this.#locks < this.#first.length) ||
      (this.#next.length > CAPACITY_MIN && 4 * this.#holders < this.#next.length)
    );
  }

  /** A table of the same locks without the waste. `moved` hears of each contended lock. */
  shrink(moved: (from: number, to: number) => void): LockTable {
    const smaller = new LockTable();
    for (let lock = 0; lock < this.#locksEnd; lock++) {
      if (!this.used(lock)) continue;
      const to = smaller.findOrAdd(
        this.table[lock],
        this.idHigh[lock],
        this.idLow[lock],
        this.aspect(lock),
      );
      for (let from = this.#first[lock]; from !== NONE; from = this.#next[from]) {
        const holder = smaller.addHolder(to, this.clerk[from]);
        smaller.level[holder] = this.level[from];
        smaller.claimed[holder] = this.claimed[from];
        smaller.grant[holder] = this.grant[from];
        smaller.request[holder] = this.request[from];
        smaller.since[holder] = this.since[from];
      }
      if (!this.contended(lock)) continue;
      smaller.setContended(to, true);
      moved(lock, to);
    }
    return smaller;
  }

  #is(lock: number, table: number, idHigh: number, idLow: number, aspect: number): boolean {
    return (
      this.idLow[lock] === idLow &&
      this.idHigh[lock] === idHigh &&
      this.table[lock] === table &&
      (this.#flags[lock] & ASPECT_BIT) === aspect
    );
  }

  #homeOf(lock: number): number {
    return this.#slotOf(this.table[lock], this.idHigh[lock], this.idLow[lock], this.aspect(lock));
  }

  /** The upper bits of a product: the lower ones of the hash are alike within a group. */
  #slotOf(table: number, idHigh: number, idLow: number, aspect: number): number {
    return Math.imul(hashLock(table, idHigh, idLow) + aspect, 0x9e37_79b1) >>> this.#shift;
  }

  #newLock(): number {
    this.#locks++;
    const free = this.#freeLock;
    if (free !== NONE) {
      this.#freeLock = this.#first[free];
      return free;
    }
    if (this.#locksEnd === this.#first.length) this.#growLocks();
    return this.#locksEnd++;
  }

  #growLocks(): void {
    const length = Math.ceil(1.5 * this.#first.length);
    this.table = resized(this.table, length);
    this.idHigh = resized(this.idHigh, length);
    this.idLow = resized(this.idLow, length);
    this.#flags = resized(this.#flags, length);
    this.#first = resized(this.#first, length);
  }

  #growHolders(): void {
    const length = Math.ceil(1.5 * this.#next.length);
    this.#next = resized(this.#next, length);
    this.clerk = resized(this.clerk, length);
    this.level = resized(this.level, length);
    this.claimed = resized(this.claimed, length);
    this.grant = resized(this.grant, length);
    this.request = resized(this.request, length);
    this.since = resized(this.since, length);
  }

  #rehash(length: number): void {
    const slots = new Int32Array(length);
    const mask = length - 1;
    this.#slots = slots;
    this.#shift = 32 - Math.log2(length);
    for (let lock = 0; lock < this.#locksEnd; lock++) {
      if (!this.used(lock)) continue;
      let slot = this.#homeOf(lock);
      while (slots[slot] !== 0) slot = (slot + 1) & mask;
      slots[slot] = lock + 1;
    }
  }
}
