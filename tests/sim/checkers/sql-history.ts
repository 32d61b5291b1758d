/**
 * TXN-1 and TXN-2, from what clients were told: the answers of all engines over all lives make one history.
 *
 * ```
 *   list 3    7, 12 | 15        answered reads and acknowledged appends: each is a prefix of every later one,
 *                               whatever crashed in between (TXN-2), and no read that began after an answer
 *                               knows less than that answer (TXN-1)
 *   ledger    ids               acknowledged: there for ever; rolled back: never there (TXN-1)
 *   keys      k                 taken, or refused with 23505: somebody has it for ever (TXN-2)
 * ```
 */
import { Violation } from '../violation.js';

export class SqlHistory {
  /** The schema's transaction was acknowledged. */
  isSetUp = false;
  readonly #lists = new Map<number, readonly number[]>();
  readonly #counters = new Map<number, number>();
  readonly #acknowledged = new Set<number>();
  readonly #undone = new Set<number>();
  readonly #keys = new Set<number>();
  #lastId = 0;
  answers = 0;

  /** A number that no other transaction uses. */
  freshId(): number {
    return ++this.#lastId;
  }

  /** What was known when a transaction began; its reads must know as much. */
  mark(): ReadonlyMap<number, readonly number[]> {
    return new Map(this.#lists);
  }

  list(id: number): readonly number[] {
    return this.#lists.get(id) ?? [];
  }

  /** A client was told that list `id` is `items`; `since` is the mark of its transaction. */
  answeredList(
    id: number,
    items: readonly number[],
    since: ReadonlyMap<number, readonly number[]>,
  ): void {
    for (const item of items) {
      if (this.#undone.has(item))
        throw new Violation('TXN-1', `list ${id} shows ${item}, rolled back`);
    }
    const due = since.get(id) ?? [];
    if (items.length < due.length) {
      const missing = due[items.length] ?? 0;
      throw new Violation('TXN-1', `list ${id} lacks ${missing}, which was answered before`);
    }
    const known = this.#lists.get(id) ?? [];
    const common = Math.min(known.length, items.length);
    for (let i = 0; i < common; i++) {
      if (known[i] === items[i]) continue;
      throw new Violation(
        'TXN-2',
        `list ${id} has ${items[i]} at ${i}, answered before: ${known[i]}`,
      );
    }
    if (items.length > known.length) this.#lists.set(id, [...items]);
  }

  counterMark(id: number): number {
    return this.#counters.get(id) ?? 0;
  }

  /** An increment that began when the highest answer was `since` gave `value`. */
  answeredCount(id: number, value: number, since: number): void {
    if (value <= since) {
      throw new Violation('TXN-2', `counter ${id} gives ${value}, ${since} was answered before`);
    }
    this.#counters.set(id, Math.max(value, this.counterMark(id)));
  }

  committed(id: number): void {
    this.#acknowledged.add(id);
  }

  rolledBack(id: number): void {
    this.#undone.add(id);
  }

  /** How many of the acknowledged there are, for marks. */
  acknowledged(): ReadonlySet<number> {
    return new Set(this.#acknowledged);
  }

  /** The ledger's ids in one snapshot that began after `due` were acknowledged. */
  answeredLedger(ids: ReadonlySet<number>, due: ReadonlySet<number>): void {
    for (const id of due) {
      if (!ids.has(id))
        throw new Violation('TXN-1', `transfer ${id} was acknowledged and is not there`);
    }
    for (const id of ids) {
      if (this.#undone.has(id))
        throw new Violation('TXN-1', `transfer ${id} was rolled back and is there`);
    }
  }

  /** Balances and the ledger's sums per account, in one snapshot. */
  answeredBalances(
    balances: ReadonlyMap<number, number>,
    moved: ReadonlyMap<number, number>,
    initial: number,
  ): void {
    let total = 0;
    for (const [account, balance] of balances) {
      total += balance;
      const expected = initial + (moved.get(account) ?? 0);
      if (balance === expected) continue;
      throw new Violation(
        'TXN-1',
        `account ${account} has ${balance}, its transfers make ${expected}`,
      );
    }
    if (total === balances.size * initial) return;
    throw new Violation('TXN-1', `the accounts hold ${total}, not ${balances.size * initial}`);
  }

  /** A key was inserted, or refused because somebody has it. */
  answeredKey(key: number): void {
    this.#keys.add(key);
  }

  keyMark(): ReadonlySet<number> {
    return new Set(this.#keys);
  }

  answeredKeys(keys: readonly number[], due: ReadonlySet<number>): void {
    const seen = new Set(keys);
    if (seen.size < keys.length) throw new Violation('TXN-1', 'a unique key is there twice');
    for (const key of due) {
      if (!seen.has(key)) throw new Violation('TXN-2', `key ${key} was there and is gone`);
    }
    for (const key of keys) this.#keys.add(key);
  }
}
