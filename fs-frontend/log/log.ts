/**
 * The write-ahead log of a file server, as its owner writes it. Format and invariants: log-format.ts.
 *
 * ```
 *   append --> filling group --write--> on its way to quorum --> durable --in place, trim--> free
 *              (the next one fills while one is on its way: group commit)
 * ```
 *
 * A position names a record: sequence number of its register * 4096 + its offset there. Records below `durable` are at
 * quorum. Nothing is written until somebody calls `flush`, or a group is full.
 */
import { assert } from '#core/assert.js';
import { SextantError } from '#core/errors.js';
import { REGISTER_BYTES, Region, type RegisterWrite, type VirtualDisk } from '../disk/disk.js';
import { RECORD_BYTES_MAX } from '../format/record.js';
import { Suspend } from '../format/suspend.js';
import type { CommitTarget } from '../format/transaction.js';
import {
  GROUP_REGISTERS_MAX,
  HEADER_BYTES,
  LogState,
  NO_RECORD,
  PAYLOAD_BYTES,
  RING_REGISTERS,
  decodeDescription,
  descriptionRegister,
  encodeDescription,
  ringRegister,
  sealRegister,
} from './log-format.js';

/** A group this long is written without being asked for. */
const GROUP_REGISTERS_EAGER = 128;
/** The description is written again when this much of the ring was trimmed. */
const TRIM_REGISTERS = RING_REGISTERS >>> 4;
const PRESSURE = 0.5;

export interface LogOptions {
  readonly disk: VirtualDisk;
  readonly slot: number;
  /** Adds to the clerk's clock and returns the first of the new values. */
  readonly takeClocks: (count: number) => number;
  /** More than half of the log is waiting for blocks to be written in place: time to do so. May be called often. */
  onPressure?(): void;
  /** Registers of the ring, for tests. */
  readonly ringRegisters?: number;
}

interface Group {
  bytes: Uint8Array<ArrayBuffer>;
  view: DataView;
  /** Sequence number of its first register. */
  start: number;
  /** Registers begun, and bytes of payload used in the last one. */
  registers: number;
  used: number;
  /** Where the first record starts, for each register. */
  readonly firsts: Uint16Array;
}

interface Waiter {
  readonly position: number;
  resolve(): void;
  reject(error: unknown): void;
}

function newGroup(): Group {
  const bytes = new Uint8Array(64 * REGISTER_BYTES);
  const view = new DataView(bytes.buffer);
  const firsts = new Uint16Array(GROUP_REGISTERS_MAX);
  return { bytes, view, start: 0, registers: 0, used: 0, firsts };
}

/**
 * Takes a slot whose log is clean, or was never used; the caller holds the slot's lock. Rejects with CONFLICT when the slot
 * holds the log of a dead server, which has to be replayed first; FENCED, NO_QUORUM, CORRUPTION.
 */
export async function openLog(options: LogOptions): Promise<Log> {
  const { disk, slot } = options;
  const index = descriptionRegister(slot);
  const [{ bytes }] = await disk.read([{ region: Region.logs, index, count: 1 }]);
  const found = decodeDescription(slot, bytes);
  if (found.state !== LogState.clean) {
    const what = `log slot ${slot} belongs to token ${found.token}, which has not been recovered`;
    throw new SextantError('CONFLICT', what);
  }
  const log = new Log(options, found.first + 1);
  await log.describe(LogState.inUse);
  return log;
}

export class Log implements CommitTarget {
  readonly token: number;
  readonly slot: number;
  /** Every record at a position below this is at quorum. */
  durable: number;
  /** Why nothing can be written any more. */
  failure: unknown = undefined;
  readonly counts = { records: 0, groups: 0, registers: 0, payloadBytes: 0 };

  readonly #disk: VirtualDisk;
  readonly #options: LogOptions;
  readonly #ring: number;
  /** Sequence numbers: the next register to be begun; the oldest needed; the one that the description names. */
  #next: number;
  #trimmed: number;
  #described: number;
  #filling = newGroup();
  #spare: Group | undefined = newGroup();
  #writing = false;
  #describing: Promise<void> | undefined = undefined;
  #waiters: Waiter[] = [];
  #roomWaiters: (() => void)[] = [];
  #closed = false;

  constructor(options: LogOptions, first: number) {
    this.#options = options;
    this.#disk = options.disk;
    this.token = options.disk.token;
    this.slot = options.slot;
    this.#ring = options.ringRegisters ?? RING_REGISTERS;
    this.#next = first;
    this.#trimmed = first;
    this.#described = first;
    this.durable = first * REGISTER_BYTES;
  }

  /** Above every record's position. `trim(end)` when nothing is dirty. */
  get end(): number {
    const { registers, used } = this.#filling;
    if (registers === 0) return this.#next * REGISTER_BYTES;
    return (this.#next - 1) * REGISTER_BYTES + HEADER_BYTES + used;
  }

  /** Share of the log that waits for blocks to be written in place. */
  get fill(): number {
    return (this.#next - this.#trimmed) / this.#ring;
  }

  takeClocks(count: number): number {
    return this.#options.takeClocks(count);
  }

  reserve(bytes: number): void {
    this.#requireOpen();
    assert(bytes <= RECORD_BYTES_MAX, 'a record has a bound');
    if (this.fill > PRESSURE) this.#options.onPressure?.();
    const registers = Math.ceil(bytes / PAYLOAD_BYTES) + 1;
    if (this.#next + registers - this.#described > this.#ring) {
      throw new Suspend('log room', this.#whenRoom());
    }
    if (this.#filling.registers + registers > GROUP_REGISTERS_MAX) {
      throw new Suspend('log room', this.flush() ?? Promise.resolve());
    }
  }

  append(record: Uint8Array): number {
    this.#requireOpen();
    const group = this.#filling;
    if (group.registers === 0 || group.used === PAYLOAD_BYTES) this.#begin(group);
    const offset = HEADER_BYTES + group.used;
    const position = (this.#next - 1) * REGISTER_BYTES + offset;
    const last = group.registers - 1;
    if (group.firsts[last] === NO_RECORD) group.firsts[last] = group.used;
    for (let done = 0; done < record.length;) {
      if (group.used === PAYLOAD_BYTES) this.#begin(group);
      const count = Math.min(record.length - done, PAYLOAD_BYTES - group.used);
      const at = (group.registers - 1) * REGISTER_BYTES + HEADER_BYTES + group.used;
      group.bytes.set(record.subarray(done, done + count), at);
      group.used += count;
      done += count;
    }
    this.counts.records++;
    this.counts.payloadBytes += record.length;
    if (group.registers >= GROUP_REGISTERS_EAGER) this.#pump();
    return position;
  }

  /**
   * Resolves when the record at `position` (default: all so far) is at quorum; undefined: it is already. Rejects with what
   * the disk answered: then the log has failed for good.
   */
  flush(position = this.end - 1): Promise<void> | undefined {
    if (position < this.durable) return undefined;
    if (this.failure !== undefined) return Promise.reject(this.failure);
    if (this.#filling.registers === 0 && !this.#writing) return undefined;
    const promise = new Promise<void>((resolve, reject) => {
      this.#waiters.push({ position, resolve, reject });
    });
    this.#pump();
    return promise;
  }

  /** Every record before the one at `position` is in place at quorum. Never goes back. */
  trim(position: number): void {
    const sequence = Math.floor(position / REGISTER_BYTES);
    assert(sequence <= this.#next, 'only what was written is trimmed');
    if (sequence <= this.#trimmed) return;
    this.#trimmed = sequence;
    const wanted = this.#trimmed - this.#described;
    if (wanted >= Math.min(TRIM_REGISTERS, this.#ring >>> 2)) this.#describeSoon();
    else if (wanted > 0 && this.#roomWaiters.length > 0) this.#describeSoon();
  }

  /** Flushes; when everything is trimmed (`flush`, then `trim(end)`, before), the slot is clean and needs no recovery. */
  async close(): Promise<void> {
    if (this.#closed) return;
    await this.flush();
    await this.#describing;
    const clean = this.#trimmed >= Math.floor(this.end / REGISTER_BYTES);
    this.#closed = true;
    if (!clean || this.failure !== undefined) return;
    this.#trimmed = this.#next;
    await this.describe(LogState.clean);
  }

  /** Writes the description; for `openLog` and the log itself. */
  async describe(state: LogState): Promise<void> {
    const first = this.#trimmed;
    const bytes = encodeDescription(this.slot, { token: this.token, first, state });
    const tag = { clock: this.takeClocks(1), token: this.token };
    const index = descriptionRegister(this.slot);
    await this.#disk.write([{ region: Region.logs, index, tag, bytes }]);
    this.#described = first;
    const waiters = this.#roomWaiters;
    this.#roomWaiters = [];
    for (const wake of waiters) wake();
  }

  #describeSoon(): void {
    if (this.#describing !== undefined || this.failure !== undefined) return;
    this.#describing = this.describe(LogState.inUse)
      .catch((error: unknown) => this.#fail(error))
      .finally(() => {
        this.#describing = undefined;
        if (this.#roomWaiters.length > 0 && this.#trimmed > this.#described) this.#describeSoon();
      });
  }

  #whenRoom(): Promise<void> {
    const promise = new Promise<void>((resolve) => this.#roomWaiters.push(resolve));
    this.#options.onPressure?.();
    if (this.#trimmed > this.#described) this.#describeSoon();
    return promise;
  }

  #begin(group: Group): void {
    if (group.registers === 0) group.start = this.#next;
    assert(group.registers < GROUP_REGISTERS_MAX, 'room in a group is asked for');
    const end = (group.registers + 1) * REGISTER_BYTES;
    if (end > group.bytes.length) {
      const bytes = new Uint8Array(Math.max(end, group.bytes.length * 2));
      bytes.set(group.bytes);
      group.bytes = bytes;
      group.view = new DataView(bytes.buffer);
    }
    if (group.registers > 0) this.#seal(group);
    group.firsts[group.registers++] = NO_RECORD;
    group.used = 0;
    this.#next++;
  }

  /** Closes the last register of the group. */
  #seal(group: Group): void {
    const last = group.registers - 1;
    const at = last * REGISTER_BYTES;
    group.bytes.fill(0, at + HEADER_BYTES + group.used, at + REGISTER_BYTES);
    sealRegister(group.bytes, group.view, at, {
      sequence: group.start + last,
      token: this.token,
      oldest: this.#trimmed,
      group: group.start,
      used: group.used,
      firstRecord: group.firsts[last],
    });
  }

  #pump(): void {
    const group = this.#filling;
    if (this.#writing || group.registers === 0 || this.failure !== undefined) return;
    this.#seal(group);
    this.#filling = this.#spare ?? newGroup();
    this.#spare = undefined;
    this.#writing = true;
    this.#disk.write(this.#writesOf(group)).then(
      () => this.#written(group),
      (error: unknown) => this.#fail(error),
    );
  }

  #writesOf(group: Group): RegisterWrite[] {
    const tag = { clock: this.takeClocks(1), token: this.token };
    const writes: RegisterWrite[] = [];
    for (let done = 0; done < group.registers;) {
      const sequence = group.start + done;
      const toWrap = RING_REGISTERS - (sequence % RING_REGISTERS);
      const count = Math.min(group.registers - done, toWrap);
      const bytes = group.bytes.subarray(done * REGISTER_BYTES, (done + count) * REGISTER_BYTES);
      const index = ringRegister(this.slot, sequence);
      writes.push({ region: Region.logs, index, tag, bytes });
      done += count;
    }
    return writes;
  }

  #written(group: Group): void {
    this.#writing = false;
    this.counts.groups++;
    this.counts.registers += group.registers;
    this.durable = (group.start + group.registers) * REGISTER_BYTES;
    group.registers = 0;
    group.used = 0;
    this.#spare ??= group;
    const waiting = this.#waiters;
    this.#waiters = [];
    for (const waiter of waiting) {
      if (waiter.position < this.durable) waiter.resolve();
      else this.#waiters.push(waiter);
    }
    if (this.#waiters.length > 0 || this.#filling.registers >= GROUP_REGISTERS_EAGER) this.#pump();
  }

  #fail(error: unknown): void {
    this.#writing = false;
    this.failure ??= error;
    for (const waiter of this.#waiters) waiter.reject(this.failure);
    this.#waiters = [];
    for (const wake of this.#roomWaiters) wake();
    this.#roomWaiters = [];
  }

  #requireOpen(): void {
    if (this.failure !== undefined) throw this.failure;
    if (this.#closed) throw new SextantError('CLOSED', 'log is closed');
  }
}
