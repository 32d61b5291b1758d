/**
 * Where sequences stand. Not transactional: what was given out stays given out.
 *
 * A B+tree of its own (root 4 of the volume header): key u64 state id, big-endian; value i64 last value, u8 is called,
 * little-endian. State 0 is the counter of object ids.
 *
 * ```
 *   logged value    32 ------------------ 64          one record for 32 values
 *   given out        1 2 3 ... 31 32 | 33 34 ...      after a crash the next one is 33, or 65: never one again
 * ```
 *
 * - SEQ-1 The logged value is at or beyond every value given out, and its record lies below the answer's LSN.
 */
import { BTree, Place } from '../btree/btree.js';
import { Cursor } from '../btree/cursor.js';
import { type PageSpace, untilReady } from '../pages/page-space.js';
import { HEADER_PAGE_NO, ROOT_SEQUENCES } from '../pages/volume-header.js';
import { SqlError } from '../sql-error.js';
import type { Transaction } from '../txn/transaction.js';
import { typeOf } from '../types/registry.js';
import type { SequenceRecord } from './object-record.js';

/** Values that one record covers, as in PostgreSQL. */
const LOG_AHEAD = 32n;
const KEY_BYTES = 8;
const VALUE_BYTES = 9;
const OID_STATE = 0;
export const FIRST_USER_OID = 16_384;

export interface SequenceState {
  /** The last value given out, or the first one to give out while not `called`. */
  last: bigint;
  called: boolean;
  /** Values that may still be given out under the logged one. */
  ahead: bigint;
  /** LSN of the record that covers them. */
  lsn: number;
}

export class SequenceStates {
  readonly #space: PageSpace;
  readonly #tree: BTree;
  readonly #states = new Map<number, SequenceState>();
  readonly #place = new Place();
  readonly #key = new Uint8Array(KEY_BYTES);
  readonly #keyView = new DataView(this.#key.buffer);
  readonly #value = new Uint8Array(VALUE_BYTES);
  readonly #valueView = new DataView(this.#value.buffer);

  private constructor(space: PageSpace, rootPageNo: number) {
    this.#space = space;
    this.#tree = new BTree(space, rootPageNo);
  }

  static async open(space: PageSpace): Promise<SequenceStates> {
    const { mtr, header } = space;
    if (header.root(ROOT_SEQUENCES) === 0) {
      await untilReady(() => {
        mtr.begin();
        mtr.add(HEADER_PAGE_NO);
        BTree.planCreate(space, mtr);
        header.setRoot(mtr, ROOT_SEQUENCES, BTree.create(space, mtr));
        mtr.commit();
      });
    }
    const states = new SequenceStates(space, header.root(ROOT_SEQUENCES));
    await states.#load();
    return states;
  }

  /** The next object id. Throws Suspend. */
  nextOid(): number {
    let state = this.#states.get(OID_STATE);
    if (state === undefined) {
      state = { last: BigInt(FIRST_USER_OID - 1), called: true, ahead: 0n, lsn: 0 };
    }
    if (state.ahead === 0n) {
      state.lsn = this.#write(OID_STATE, state.last + LOG_AHEAD, true);
      state.ahead = LOG_AHEAD;
      this.#states.set(OID_STATE, state);
    }
    state.ahead--;
    state.last++;
    return Number(state.last);
  }

  /** 2200H at the end of a sequence that does not cycle. Throws Suspend before its side effect. */
  next(record: SequenceRecord, txn: Transaction): bigint {
    const state = this.state(record);
    const increment = BigInt(record.increment);
    const value = following(record, state, increment);
    if (state.ahead === 0n) {
      const ahead = roomAhead(record, value, increment);
      state.lsn = this.#write(record.state, value + ahead * increment, true);
      state.ahead = ahead;
      this.#states.set(record.state, state);
    } else {
      state.ahead--;
    }
    state.last = value;
    state.called = true;
    if (state.lsn > txn.coveredLsn) txn.coveredLsn = state.lsn;
    return value;
  }

  /** Throws Suspend before its side effect. */
  set(record: SequenceRecord, value: bigint, called: boolean, txn: Transaction): void {
    const lsn = this.#write(record.state, value, called);
    this.#states.set(record.state, { last: value, called, ahead: 0n, lsn });
    if (lsn > txn.coveredLsn) txn.coveredLsn = lsn;
  }

  state(record: SequenceRecord): SequenceState {
    return (
      this.#states.get(record.state) ?? {
        last: BigInt(record.start),
        called: false,
        ahead: 0n,
        lsn: 0,
      }
    );
  }

  /** Deletes the states of sequences that are no more. */
  async sweep(live: ReadonlySet<number>): Promise<void> {
    for (const id of this.#states.keys()) {
      if (id === OID_STATE || live.has(id)) continue;
      await untilReady(() => this.#delete(id));
      this.#states.delete(id);
    }
  }

  async #load(): Promise<void> {
    const cursor = new Cursor(this.#tree);
    const { view } = this.#space.cache;
    const read = (): void => {
      const id = Number(view.getBigUint64(cursor.keyStart, false));
      const last = view.getBigInt64(cursor.valueStart, true);
      const called = view.getUint8(cursor.valueStart + 8) === 1;
      this.#states.set(id, { last, called, ahead: 0n, lsn: 0 });
    };
    const visit = (move: () => boolean): Promise<boolean> =>
      untilReady(() => {
        const on = move();
        if (on) read();
        return on;
      });
    if (!(await visit(() => cursor.first()))) return;
    while (await visit(() => cursor.next()));
  }

  #write(id: number, value: bigint, called: boolean): number {
    const { mtr } = this.#space;
    const place = this.#place;
    this.#keyView.setBigUint64(0, BigInt(id), false);
    this.#valueView.setBigInt64(0, value, true);
    this.#value[8] = called ? 1 : 0;
    const found = this.#tree.locate(place, this.#key, 0, KEY_BYTES);
    mtr.begin();
    if (found) {
      this.#tree.planSplice(mtr, place, VALUE_BYTES);
      this.#tree.splice(mtr, place, 0, VALUE_BYTES, this.#value, 0, VALUE_BYTES);
    } else {
      this.#tree.planInsert(mtr, place, this.#key, 0, KEY_BYTES, VALUE_BYTES);
      this.#tree.insert(mtr, place, this.#key, 0, KEY_BYTES, this.#value, 0, VALUE_BYTES);
    }
    return mtr.commit();
  }

  #delete(id: number): void {
    const { mtr } = this.#space;
    this.#keyView.setBigUint64(0, BigInt(id), false);
    if (!this.#tree.locate(this.#place, this.#key, 0, KEY_BYTES)) return;
    mtr.begin();
    this.#tree.planDelete(mtr, this.#place);
    this.#tree.delete(mtr, this.#place);
    mtr.commit();
  }
}

function following(record: SequenceRecord, state: SequenceState, increment: bigint): bigint {
  if (!state.called) return state.last;
  const value = state.last + increment;
  const [min, max] = [BigInt(record.min), BigInt(record.max)];
  if (increment > 0n && value > max) {
    if (record.cycle) return min;
    throw new SqlError(
      '2200H',
      `nextval: reached maximum value of sequence "${record.name}" (${max})`,
    );
  }
  if (increment < 0n && value < min) {
    if (record.cycle) return max;
    throw new SqlError(
      '2200H',
      `nextval: reached minimum value of sequence "${record.name}" (${min})`,
    );
  }
  return value;
}

/** How many values after `value` one record may cover. */
function roomAhead(record: SequenceRecord, value: bigint, increment: bigint): bigint {
  const room =
    increment > 0n
      ? (BigInt(record.max) - value) / increment
      : (BigInt(record.min) - value) / increment;
  return room < LOG_AHEAD - 1n ? room : LOG_AHEAD - 1n;
}

/** Bounds of a sequence of that type; 22023 for a type that none can have. */
export function sequenceBounds(typeOid: number): { readonly min: bigint; readonly max: bigint } {
  const bits = { int2: 15n, int4: 31n, int8: 63n }[typeOf(typeOid).name];
  if (bits === undefined) {
    throw new SqlError('22023', 'sequence type must be smallint, integer, or bigint');
  }
  return { min: -(1n << bits), max: (1n << bits) - 1n };
}
