/**
 * A virtual disk in memory with the contract of disk.ts, for tests of what stands on it.
 *
 * ```ts
 * const store = new MemoryDiskStore({ world, seed: 7, delayMs: [0.1, 2], loses: 0.05 });
 * const one = store.open(1), two = store.open(2);    // a disk a token, all over the same registers
 * await two.fence(1);                                // from now on `one` answers FENCED
 * store.crash(3);                                    // token 3 dies: each register that it was writing got there, or not
 * store.full = true;                                 // writes of registers that are new are refused with DISK_FULL
 * ```
 *
 * - Without delays everything settles in a microtask; with `delayMs` (needs a world) each attempt takes so long.
 * - `loses` is the probability that an attempt is lost on its way there, or its answer on the way back; it is sent
 *   again, as the client does. So a write may take effect long before it settles.
 * - Registers of one write take effect in any order, at different times.
 * - Bytes that change while their write is under way are an error of the caller: the write rejects with an assertion.
 */
import { assert } from '#core/assert.js';
import { crc32c } from '#core/bytes/crc32c.js';
import { SextantError } from '#core/errors.js';
import { SimRandom } from '#core/world/simulated/random.js';
import type { World } from '#core/world/world.js';
import {
  CHUNK_BYTES,
  registerBytes,
  type FenceResult,
  type Region,
  type RegisterContent,
  type RegisterName,
  type RegisterRead,
  type RegisterWrite,
  type Tag,
  type VirtualDisk,
} from './disk.js';

export interface MemoryDiskOptions {
  /** Needed for delays. */
  readonly world?: World;
  readonly seed?: number;
  /** Of one attempt to write or read. */
  readonly delayMs?: readonly [min: number, max: number];
  /** Probability that an attempt or its answer is lost. */
  readonly loses?: number;
  readonly bytesMax?: number;
}

interface Stored {
  readonly tag: Tag;
  /** Undefined: given back. */
  readonly bytes: Uint8Array | undefined;
}

const ZERO: Tag = { clock: 0, token: 0 };
const RETRY_MS = 5;

/** Negative, 0 or positive as a is older, the same or newer than b. */
function compare(a: Tag, b: Tag): number {
  return a.clock - b.clock || a.token - b.token;
}

const keyOf = (region: Region, index: number): string => `${region}/${index}`;

export class MemoryDiskStore {
  /** Token -> everything that its owner reported complete. */
  readonly complete = new Map<number, number>();
  readonly fenced = new Set<number>();
  /** Refuses registers that are new. */
  full = false;
  /** How often each happened. */
  readonly counts = { writes: 0, registersWritten: 0, reads: 0, registersRead: 0, lost: 0 };
  readonly options: MemoryDiskOptions;
  #registers = new Map<string, Stored>();
  readonly #snapshots = new Map<number, { name: string; registers: Map<string, Stored> }>();
  readonly #random: SimRandom;
  readonly #crashed = new Set<number>();
  readonly #bytesMax: number;
  #bytesUsed = 0;

  constructor(options: MemoryDiskOptions = {}) {
    this.options = options;
    this.#random = new SimRandom(options.seed ?? 1);
    this.#bytesMax = options.bytesMax ?? 2 ** 50;
  }

  open(token: number): MemoryDisk {
    return new MemoryDisk(this, token, undefined);
  }

  /** A snapshot as a disk that cannot be written. Throws NOT_FOUND. */
  openSnapshot(id: number): MemoryDisk {
    if (!this.#snapshots.has(id)) throw new SextantError('NOT_FOUND', `no snapshot ${id}`);
    return new MemoryDisk(this, 0, id);
  }

  /** The owner of `token` is dead: its calls never settle; what it was writing gets there or not, by chance. */
  crash(token: number): void {
    this.#crashed.add(token);
  }

  get bytesUsed(): number {
    return this.#bytesUsed;
  }

  get bytesFree(): number {
    return this.full ? 0 : Math.max(0, this.#bytesMax - this.bytesUsed);
  }

  /** One register straight from the store, for a test's own checks. */
  peek(region: Region, index: number): { readonly tag: Tag; readonly bytes: Uint8Array } {
    const stored = this.#registers.get(keyOf(region, index));
    return {
      tag: stored?.tag ?? ZERO,
      bytes: stored?.bytes?.slice() ?? new Uint8Array(registerBytes(region)),
    };
  }

  /** Every register that is not zero, for comparisons: `region/index` -> bytes. */
  contents(): Map<string, Uint8Array> {
    const all = new Map<string, Uint8Array>();
    for (const [key, { bytes }] of this.#registers) {
      if (bytes?.some((byte) => byte !== 0) === true) all.set(key, bytes);
    }
    return all;
  }

  // -- for MemoryDisk ---------------------------------------------------------------------------------

  /** Resolves when an attempt arrived; false: it or its answer was lost. */
  async pass(token: number): Promise<boolean> {
    const { world, delayMs, loses } = this.options;
    if (world !== undefined && delayMs !== undefined) {
      await world.timers.sleep(delayMs[0] + this.#random.unit() * (delayMs[1] - delayMs[0]));
    } else await Promise.resolve();
    if (this.#crashed.has(token)) return this.#random.chance(0.5);
    if (loses === undefined || !this.#random.chance(loses)) return true;
    this.counts.lost++;
    if (world !== undefined) await world.timers.sleep(RETRY_MS);
    return false;
  }

  isCrashed(token: number): boolean {
    return this.#crashed.has(token);
  }

  store(token: number, region: Region, index: number, tag: Tag, bytes?: Uint8Array): void {
    if (this.fenced.has(token)) throw fenced(token);
    const key = keyOf(region, index);
    const known = this.#registers.get(key);
    const order = compare(tag, known?.tag ?? ZERO);
    if (order < 0) throw new SextantError('CONFLICT', `register ${key} has a newer tag`);
    if (order === 0) return;
    const isNew = bytes !== undefined && known?.bytes === undefined;
    if (isNew && this.bytesFree < bytes.length) throw new SextantError('DISK_FULL', 'disk is full');
    this.#registers.set(key, { tag, bytes: bytes?.slice() });
    this.#bytesUsed += (bytes?.length ?? 0) - (known?.bytes?.length ?? 0);
    this.counts.registersWritten++;
  }

  load(token: number, snapshot: number | undefined, read: RegisterRead): RegisterContent {
    if (this.fenced.has(token)) throw fenced(token);
    const registers =
      snapshot === undefined ? this.#registers : this.#snapshots.get(snapshot)?.registers;
    if (registers === undefined) throw new SextantError('NOT_FOUND', `no snapshot ${snapshot}`);
    const size = registerBytes(read.region);
    const bytes = new Uint8Array(read.count * size);
    const tags: Tag[] = [];
    for (let i = 0; i < read.count; i++) {
      const stored = registers.get(keyOf(read.region, read.index + i));
      tags.push(stored?.tag ?? ZERO);
      if (stored?.bytes !== undefined) bytes.set(stored.bytes, i * size);
    }
    this.counts.registersRead += read.count;
    return { bytes, tags };
  }

  fence(token: number): FenceResult {
    this.fenced.add(token);
    const complete = this.complete.get(token) ?? 0;
    const listed: (RegisterName & { readonly tag: Tag })[] = [];
    let clock = 0;
    for (const [key, { tag }] of this.#registers) {
      clock = Math.max(clock, tag.clock);
      if (tag.token !== token || tag.clock <= complete) continue;
      const [region, index] = key.split('/').map(Number);
      listed.push({ region: region as Region, index, tag });
    }
    return { fenceEpoch: this.fenced.size, listed, clock };
  }

  snapshot(name: string): number {
    const id = this.#snapshots.size + 1;
    this.#snapshots.set(id, { name, registers: new Map(this.#registers) });
    return id;
  }

  /** In an order of its own. */
  shuffled<T>(items: readonly T[]): T[] {
    const left = [...items];
    for (let i = left.length - 1; i > 0; i--) {
      const j = this.#random.below(i + 1);
      [left[i], left[j]] = [left[j], left[i]];
    }
    return left;
  }
}

function fenced(token: number): SextantError {
  return new SextantError('FENCED', `token ${token} is over`);
}

interface OneRegister extends RegisterName {
  readonly tag: Tag;
  readonly bytes: Uint8Array;
}

export class MemoryDisk implements VirtualDisk {
  readonly token: number;
  readonly store: MemoryDiskStore;
  readonly #snapshot: number | undefined;
  #closed = false;

  constructor(store: MemoryDiskStore, token: number, snapshot: number | undefined) {
    this.store = store;
    this.token = token;
    this.#snapshot = snapshot;
  }

  async write(writes: readonly RegisterWrite[]): Promise<void> {
    this.#requireWritable();
    this.store.counts.writes++;
    const crcs = writes.map((write) => crc32c(write.bytes));
    const registers = writes.flatMap(registersOf);
    await this.#settled(
      Promise.all(this.store.shuffled(registers).map((register) => this.#writeOne(register))),
    );
    const same = writes.every((write, i) => crc32c(write.bytes) === crcs[i]);
    assert(same, 'bytes did not change while they were being written');
  }

  async #writeOne({ region, index, tag, bytes }: OneRegister): Promise<void> {
    const { store } = this;
    for (;;) {
      const arrived = await store.pass(this.token);
      if (arrived) store.store(this.token, region, index, tag, bytes);
      if (store.isCrashed(this.token)) return;
      // The answer may be lost as well: then it is sent again, and finds its own tag.
      if (arrived && (await store.pass(this.token))) return;
    }
  }

  async read(reads: readonly RegisterRead[]): Promise<RegisterContent[]> {
    this.#requireOpen();
    for (const { region, index, count } of reads) checkRange(region, index, count);
    this.store.counts.reads++;
    return this.#settled(
      Promise.all(
        reads.map(async (read) => {
          while (!(await this.store.pass(this.token)) && !this.store.isCrashed(this.token));
          return this.store.load(this.token, this.#snapshot, read);
        }),
      ),
    );
  }

  async decommit(region: Region, firstIndex: number, count: number, tag: Tag): Promise<void> {
    this.#requireWritable();
    checkRange(region, firstIndex, count);
    const perChunk = CHUNK_BYTES / registerBytes(region);
    assert(firstIndex % perChunk === 0 && count % perChunk === 0, 'whole chunks are given back');
    while (!(await this.store.pass(this.token)) && !this.store.isCrashed(this.token));
    for (let i = 0; i < count; i++) this.store.store(this.token, region, firstIndex + i, tag);
    await this.#settled(Promise.resolve());
  }

  reportComplete(clock: number): void {
    if (this.store.isCrashed(this.token)) return;
    const known = this.store.complete.get(this.token) ?? 0;
    this.store.complete.set(this.token, Math.max(known, clock));
  }

  async fence(token: number): Promise<FenceResult> {
    this.#requireWritable();
    while (!(await this.store.pass(this.token)));
    if (this.store.fenced.has(this.token)) throw fenced(this.token);
    return this.#settled(Promise.resolve(this.store.fence(token)));
  }

  async refreshFences(): Promise<void> {
    this.#requireOpen();
    await this.store.pass(this.token);
  }

  async snapshot(name: string): Promise<number> {
    this.#requireWritable();
    while (!(await this.store.pass(this.token)));
    if (this.store.fenced.has(this.token)) throw fenced(this.token);
    return this.#settled(Promise.resolve(this.store.snapshot(name)));
  }

  async statistics(): Promise<{ readonly bytesUsed: number; readonly bytesFree: number }> {
    this.#requireOpen();
    const { bytesUsed, bytesFree } = this.store;
    return { bytesUsed, bytesFree };
  }

  async close(): Promise<void> {
    this.#closed = true;
  }

  #requireOpen(): void {
    if (this.#closed) throw new SextantError('CLOSED', 'disk is closed');
  }

  #requireWritable(): void {
    this.#requireOpen();
    if (this.#snapshot !== undefined) throw new SextantError('CONFIG', 'a snapshot is read-only');
  }

  /** A dead client hears nothing any more. */
  async #settled<T>(work: Promise<T>): Promise<T> {
    try {
      const value = await work;
      if (this.store.isCrashed(this.token)) await new Promise<never>(() => undefined);
      return value;
    } catch (error) {
      if (this.store.isCrashed(this.token)) await new Promise<never>(() => undefined);
      throw error;
    }
  }
}

function checkRange(region: Region, index: number, count: number): void {
  const safe = Number.isSafeInteger(index) && index >= 0 && Number.isInteger(count) && count >= 1;
  assert(safe && registerBytes(region) > 0, 'a register has a region and an index');
}

function registersOf({ region, index, tag, bytes }: RegisterWrite): OneRegister[] {
  const size = registerBytes(region);
  const count = bytes.length / size;
  checkRange(region, index, count);
  assert(tag.clock > 0 && tag.token > 0, 'a tag has a clock and a token');
  return Array.from({ length: count }, (_, i) => ({
    region,
    index: index + i,
    tag,
    bytes: bytes.subarray(i * size, (i + 1) * size),
  }));
}
