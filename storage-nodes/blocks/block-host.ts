/**
 * The tagged registers of a node towards its callers: checks who asks, stores, answers after the commit.
 *
 * ```
 *   request ---> token fenced? ---------> FENCED
 *           ---> knows more fences? ----> status needFences: the caller sends BLOCK_STATE, and asks again
 *           ---> older disk epoch? -----> status staleEpoch (a newer one is learnt, rule 15)
 *           ---> store, or read --------> answer, once everything that it rests on is durable
 * ```
 *
 * - BLOCK-7 An answer leaves only when what it says is durable: tags that were read included.
 * - BLOCK-8 A node whose folder was lost stores, but neither votes nor answers fences until it was rebuilt.
 */
import { SextantError } from '#core/errors.js';
import type { World } from '#core/world/world.js';
import type { Faults } from '../node/faults.js';
import {
  compareTags,
  registerBytes,
  type DiskState,
  type Region,
} from '../protocol/block-geometry.js';
import * as codec from '../protocol/codec-blocks.js';
import { BlockStatus, RunKind, type BlockRequest, type Run } from '../protocol/codec-blocks.js';
import { MessageType } from '../protocol/messages.js';
import type { Store } from '../store/store.js';
import { NO_ROW, PLACE_NONE, PLACE_TOMBSTONE, ROW_REGISTERS } from './block-index.js';
import { ANY_EPOCH, type BlockStore, type SupersededRegister } from './block-store.js';
import { FenceLearner } from './fence-learner.js';
import { DISK_KEY, HostedDisk } from './hosted-disk.js';
import { Rebuild } from './rebuild.js';
import { Scrubber } from './scrubber.js';
import { VersionMerger } from './version-merger.js';

/** A message with at most so many bytes of registers goes through the journal whole. */
const INLINE_BYTES_MAX = 16 * 1024;
/** Kept free, so that the journal always has room. */
const RESERVE_BYTES = 64 * 1024 * 1024;
const SPACE_EVERY_MS = 50;
const WORK_EVERY_MS = 50;
/** Versions stay where they are for so long after somebody listed them. */
const LISTED_MS = 10_000;
const LIST_ROWS = 512;
/** Of the planted fault earlyFenceAck. */
const LATE_MS = 400;
const READ_BYTES_MAX = 8 * 1024 * 1024;
const GENERATION_KEY = `${DISK_KEY}generation`;
const EMPTY_JSON = new TextEncoder().encode('{}');

export interface BlockHostOptions {
  readonly world: World;
  readonly self: string;
  readonly store: Store;
  readonly blocks: BlockStore;
  readonly faults: Faults;
  readonly reserveBytes?: number;
  /** Resolves with the value when all that was appended so far is durable. */
  readonly durable: <T>(value: () => T) => Promise<T>;
  readonly callPeer: (
    id: string,
    type: number,
    body: Uint8Array,
    timeoutMs: number,
  ) => Promise<Uint8Array>;
}

/** The messages of codec-blocks, for StorageNode.call. */
export const BLOCK_TYPES: readonly number[] = [
  MessageType.blockWrite,
  MessageType.blockRead,
  MessageType.blockFence,
  MessageType.blockState,
  MessageType.blockStatus,
  MessageType.blockList,
  MessageType.blockBury,
];

export class BlockHost {
  readonly options: BlockHostOptions;
  readonly blocks: BlockStore;
  readonly disks = new Map<number, HostedDisk>();
  closed = false;
  readonly #merger: VersionMerger;
  readonly #learner: FenceLearner;
  #generation = 0;
  #markedGeneration = 0;
  #listedMs = -LISTED_MS;
  #spaceSeenMs = -SPACE_EVERY_MS;
  #isFull = false;
  readonly #lateUntilMs = new Map<number, number>();

  constructor(options: BlockHostOptions, states: ReadonlyMap<string, Uint8Array>) {
    this.options = options;
    this.blocks = options.blocks;
    if (options.faults.tokenFirst === true) {
      this.blocks.compare = (clockA, tokenA, clockB, tokenB) =>
        compareTags(tokenA, clockA, tokenB, clockB);
    }
    this.#merger = new VersionMerger(this.blocks);
    this.#learner = new FenceLearner(this);
    for (const [key, value] of states) {
      if (key === GENERATION_KEY) {
        this.#markedGeneration = new DataView(value.buffer, value.byteOffset).getUint32(0, true);
        continue;
      }
      const hosted = HostedDisk.decode(value);
      this.disks.set(hosted.disk, hosted);
      this.#snapshotsChanged(hosted);
    }
  }

  /**
   * The node takes part from now on, with this generation of its folder. `known`: the disks that its registers name. What the
   * folder may have lost is rebuilt from the peers. Durable with the caller's next commit.
   */
  start(generation: number, known: readonly DiskState[]): void {
    this.#generation = generation;
    const isLost = this.#markedGeneration !== generation && generation > 1;
    for (const state of known) {
      const hosted = this.disks.get(state.disk) ?? this.#make(state.disk, isLost ? 0 : generation);
      if (hosted.adopt(state)) this.#snapshotsChanged(hosted);
      // A folder that was lost begins with them: nothing of these tokens gets in, and peers in step fill it.
      if (hosted.wholeGeneration !== generation) {
        for (const token of hosted.refused) hosted.answered.add(token);
      }
      this.save(hosted);
    }
    if (this.#markedGeneration !== generation) {
      const value = new Uint8Array(4);
      new DataView(value.buffer).setUint32(0, generation, true);
      this.options.store.appendState(GENERATION_KEY, value);
      this.#markedGeneration = generation;
    }
    for (const hosted of this.disks.values()) {
      hosted.whole = hosted.wholeGeneration === generation;
      if (hosted.state !== undefined) void new Rebuild(this, hosted).run();
    }
    this.#workLater();
    new Scrubber(this).start();
  }

  close(): void {
    this.closed = true;
  }

  get generation(): number {
    return this.#generation;
  }

  #make(disk: number, wholeGeneration: number): HostedDisk {
    const hosted = new HostedDisk(disk);
    hosted.wholeGeneration = wholeGeneration;
    hosted.whole = wholeGeneration === this.#generation;
    this.disks.set(disk, hosted);
    return hosted;
  }

  /** Journals what is known of the disk, with the next commit. */
  save(hosted: HostedDisk): void {
    this.options.store.appendState(hosted.key, hosted.encode());
  }

  #snapshotsChanged(hosted: HostedDisk): void {
    const { state } = hosted;
    if (state === undefined) return;
    const ids = state.snapshots.map((snapshot) => snapshot.id);
    this.blocks.setSnapshots(hosted.disk, ids, state.epoch);
    this.#merger.restart();
  }

  #workLater(): void {
    this.options.world.timers.after(WORK_EVERY_MS, () => {
      if (this.closed) return;
      try {
        const { clock } = this.options.world;
        const isListed = clock.monotonicMs() - this.#listedMs < LISTED_MS;
        if (!isListed && !this.#full() && this.#merger.piece()) {
          this.options.durable(() => undefined).catch(() => undefined);
        }
      } catch (error) {
        // A full disk, mostly: the next round tries again, and a failed one ends the node at its next commit.
        this.options.world.log.warn('versions were not merged', { error: String(error) });
      } finally {
        this.#workLater();
      }
    });
  }

  // -- messages ---------------------------------------------------------------------------------------

  call(type: number, body: Uint8Array): Uint8Array | Promise<Uint8Array> {
    switch (type) {
      case MessageType.blockWrite:
        return this.#write(body);
      case MessageType.blockRead:
        return this.#read(body);
      case MessageType.blockFence:
        return this.#fence(body);
      case MessageType.blockState:
        return this.#state(body);
      case MessageType.blockStatus:
        return this.#status(body);
      case MessageType.blockList:
        return this.#list(body);
      case MessageType.blockBury:
        return this.#bury(body);
      default:
        throw new SextantError('PROTOCOL', `unknown call ${type}`);
    }
  }

  hosted(disk: number): HostedDisk {
    return this.disks.get(disk) ?? this.#make(disk, this.#generation);
  }

  /** Checks who asks; another status than ok is the answer. Throws FENCED. */
  #enter(hosted: HostedDisk, request: BlockRequest): BlockStatus {
    if (request.token !== 0 && hosted.refused.has(request.token) && !this.#isLate(request.token)) {
      throw new SextantError('FENCED', `token ${request.token} is over`);
    }
    if (request.fenceEpoch > hosted.fenceEpoch) return BlockStatus.needFences;
    if (request.epoch < hosted.epoch) return BlockStatus.staleEpoch;
    if (request.epoch > hosted.epoch) {
      hosted.epoch = request.epoch;
      this.save(hosted);
    }
    hosted.report(request.token, request.complete);
    return BlockStatus.ok;
  }

  /** Planted fault: what is in flight when the fence is acknowledged still takes effect. */
  #isLate(token: number): boolean {
    return this.options.world.clock.monotonicMs() < (this.#lateUntilMs.get(token) ?? 0);
  }

  #answer(
    hosted: HostedDisk,
    status: BlockStatus,
    runs: readonly Run[] = [],
    dataBytes = 0,
  ): Uint8Array {
    const { epoch, fenceEpoch } = hosted;
    return codec.encodeBlockAnswer({ status, epoch, fenceEpoch, more: false, runs }, dataBytes);
  }

  #full(): boolean {
    const nowMs = this.options.world.clock.monotonicMs();
    if (nowMs - this.#spaceSeenMs >= SPACE_EVERY_MS) {
      this.#spaceSeenMs = nowMs;
      this.#isFull = this.blocks.bytesFree < (this.options.reserveBytes ?? RESERVE_BYTES);
    }
    return this.#isFull;
  }

  #write(body: Uint8Array): Uint8Array | Promise<Uint8Array> {
    const request = codec.decodeBlockRequest(body);
    const hosted = this.hosted(request.disk);
    const status = this.#enter(hosted, request);
    if (status !== BlockStatus.ok) return this.#answer(hosted, status);
    const dataBytes = codec.runBytes(request.runs);
    let at = codec.requestBytesAt(request.runs.length);
    if (at + dataBytes !== body.length) throw new SextantError('PROTOCOL', 'bytes of a write');
    const { holdMs } = this.options.store;
    if (holdMs === Number.POSITIVE_INFINITY) {
      throw new SextantError('OVERLOADED', 'background work does not keep up');
    }
    if (dataBytes > 0 && this.#full()) throw new SextantError('DISK_FULL', 'no room on this node');
    const superseded: SupersededRegister[] = [];
    for (const run of request.runs) {
      const { region, index, count, clock, token } = run;
      if (clock === 0 || token === 0) throw new SextantError('PROTOCOL', 'a write without a tag');
      const isData = run.kind === RunKind.data;
      const bytes = isData ? body : undefined;
      const inline = dataBytes <= INLINE_BYTES_MAX;
      const { epoch } = hosted;
      this.blocks.put(
        request.disk,
        region,
        epoch,
        index,
        count,
        clock,
        token,
        bytes,
        at,
        inline,
        superseded,
      );
      if (isData) at += count * registerBytes(region);
    }
    const runs = superseded.map((found) => ({ ...found, kind: RunKind.none, count: 1 }));
    const done = this.options.durable(() => this.#answer(hosted, BlockStatus.ok, runs));
    if (holdMs === 0) return done;
    return done.then((answer) => this.options.world.timers.sleep(holdMs).then(() => answer));
  }

  #read(body: Uint8Array): Uint8Array | Promise<Uint8Array> {
    const request = codec.decodeBlockRequest(body);
    const hosted = this.hosted(request.disk);
    const status = this.#enter(hosted, request);
    if (status !== BlockStatus.ok) return this.#answer(hosted, status);
    if (!hosted.whole) throw new SextantError('NOT_READY', 'this node is being rebuilt');
    if (hosted.blind.has(request.atEpoch)) {
      throw new SextantError('NOT_READY', `this node lost snapshot ${request.atEpoch}`);
    }
    const room = request.wantsData ? codec.runBytes(request.runs) : 0;
    if (room > READ_BYTES_MAX) throw new SextantError('PROTOCOL', 'too much in one read');
    const reader = new RunReader(this.blocks, request, new Uint8Array(room));
    for (const run of request.runs) reader.read(run);
    const answer = this.#answer(hosted, BlockStatus.ok, reader.runs, reader.used);
    answer.set(reader.bytes.subarray(0, reader.used), codec.answerBytesAt(reader.runs.length));
    return this.blocks.dirty ? this.options.durable(() => answer) : answer;
  }

  #fence(body: Uint8Array): Uint8Array | Promise<Uint8Array> {
    const { disk, token, caller } = codec.fenceRequest.decode(body);
    const hosted = this.hosted(disk);
    if (hosted.refused.has(caller)) throw new SextantError('FENCED', `token ${caller} is over`);
    if (!hosted.whole) throw new SextantError('NOT_READY', 'this node is being rebuilt');
    hosted.refused.add(token);
    hosted.answered.add(token);
    this.save(hosted);
    if (this.options.faults.earlyFenceAck === true) {
      this.#lateUntilMs.set(token, this.options.world.clock.monotonicMs() + LATE_MS);
    }
    // Writes of this turn are in the index already, and durable with the refusal: nothing is in flight behind it.
    const answer = this.#listed(hosted, token);
    return this.options.durable(() => answer);
  }

  #listed(hosted: HostedDisk, token: number): Uint8Array {
    const { index } = this.blocks;
    const complete = hosted.complete.get(token) ?? 0;
    const listed: codec.ListedRegister[] = [];
    let clock = hosted.clock;
    for (let row = 1; row < index.rowEnd; row++) {
      if (!index.isUsed(row) || index.rowDisk[row] !== hosted.disk) continue;
      for (let i = 0; i < ROW_REGISTERS; i++) {
        const entry = row * ROW_REGISTERS + i;
        if (index.place[entry] === PLACE_NONE) continue;
        const at = index.clock[entry];
        if (at > clock) clock = at;
        if (index.token[entry] !== token || at <= complete) continue;
        listed.push([index.rowRegion[row], index.indexOf(entry), at]);
      }
    }
    return codec.fenceAnswer.encode({ listed, clock, complete });
  }

  async #state(body: Uint8Array): Promise<Uint8Array> {
    const state = codec.diskState.decode(body);
    const hosted = this.hosted(state.disk);
    if (hosted.adopt(state)) {
      this.#snapshotsChanged(hosted);
      this.save(hosted);
    }
    await this.#learner.learn(hosted, state);
    const { epoch, fenceEpoch } = hosted;
    return this.options.durable(() => codec.diskPosition.encode({ epoch, fenceEpoch }));
  }

  #status(body: Uint8Array): Uint8Array {
    const { disk } = codec.blockStatusRequest.decode(body);
    const hosted = this.disks.get(disk);
    const { index } = this.blocks;
    let registers = 0;
    for (let row = 1; row < index.rowEnd; row++) {
      if (!index.isUsed(row) || index.rowDisk[row] !== disk) continue;
      for (let i = 0; i < ROW_REGISTERS; i++) {
        if (index.place[row * ROW_REGISTERS + i] > 0) registers++;
      }
    }
    const reserve = this.options.reserveBytes ?? RESERVE_BYTES;
    return codec.blockStatusAnswer.encode({
      node: this.options.self,
      epoch: hosted?.epoch ?? 0,
      fenceEpoch: hosted?.fenceEpoch ?? 0,
      whole: hosted?.whole ?? true,
      registers,
      bytesUsed: this.blocks.bytesUsed,
      bytesFree: Math.max(0, this.blocks.bytesFree - reserve),
    });
  }

  /** Runs of the rows from a number on; `epoch` of the answer is the number to go on with. */
  #list(body: Uint8Array): Uint8Array | Promise<Uint8Array> {
    const request = codec.decodeBlockRequest(body);
    const hosted = this.hosted(request.disk);
    const status = this.#enter(hosted, request);
    if (status !== BlockStatus.ok) return this.#answer(hosted, status);
    if (!hosted.whole) throw new SextantError('NOT_READY', 'this node is being rebuilt');
    this.#listedMs = this.options.world.clock.monotonicMs();
    const { index } = this.blocks;
    const runs: Run[] = [];
    const first = Math.max(1, request.runs[0].index);
    const end = Math.min(index.rowEnd, first + LIST_ROWS);
    for (let row = first; row < end; row++) {
      if (index.isUsed(row) && index.rowDisk[row] === request.disk) this.#listRow(row, runs);
    }
    const answer = codec.encodeBlockAnswer({
      status: BlockStatus.ok,
      epoch: end,
      fenceEpoch: hosted.fenceEpoch,
      more: end < index.rowEnd,
      runs,
    });
    return this.blocks.dirty ? this.options.durable(() => answer) : answer;
  }

  #listRow(row: number, runs: Run[]): void {
    const { index } = this.blocks;
    for (let i = 0; i < ROW_REGISTERS; i++) {
      const entry = row * ROW_REGISTERS + i;
      const kind = this.blocks.kindOf(entry);
      if (index.place[entry] === PLACE_NONE || kind === RunKind.bad) continue;
      runs.push({
        region: index.rowRegion[row] as Region,
        kind,
        count: 1,
        epoch: index.rowEpoch[row],
        index: index.indexOf(entry),
        clock: index.clock[entry],
        token: index.token[entry],
      });
    }
  }

  #bury(body: Uint8Array): Promise<Uint8Array> {
    const { disk, region, index, count, clock, token } = codec.buryRequest.decode(body);
    const hosted = this.hosted(disk);
    const known = this.blocks.index;
    for (let i = 0; i < count; i++) {
      const entry = known.find(disk, region as Region, index + i, ANY_EPOCH);
      if (entry < 0 || known.place[entry] !== PLACE_TOMBSTONE) continue;
      if (known.clock[entry] !== clock || known.token[entry] !== token) continue;
      // What a snapshot still shows must not come up again.
      const row = Math.floor(entry / ROW_REGISTERS);
      if (known.rowOlder[row] !== NO_ROW) continue;
      this.blocks.clear(entry);
    }
    hosted.clock = Math.max(hosted.clock, clock);
    this.save(hosted);
    return this.options.durable(() => EMPTY_JSON);
  }
}

/** Gathers the runs of an answer, with bytes where they are wanted. */
class RunReader {
  readonly runs: Run[] = [];
  readonly bytes: Uint8Array;
  used = 0;
  readonly #blocks: BlockStore;
  readonly #disk: number;
  readonly #epoch: number;
  readonly #wantsData: boolean;

  constructor(blocks: BlockStore, request: BlockRequest, bytes: Uint8Array) {
    this.#blocks = blocks;
    this.#disk = request.disk;
    this.#epoch = request.atEpoch === 0 ? ANY_EPOCH : request.atEpoch;
    this.#wantsData = request.wantsData;
    this.bytes = bytes;
  }

  read(run: Run): void {
    const { index } = this.#blocks;
    for (let i = 0; i < run.count;) {
      const register = run.index + i;
      const entry = index.find(this.#disk, run.region, register, this.#epoch);
      let length = 1;
      // Neighbours with the same tag in one row are one read.
      const row = Math.floor(entry / ROW_REGISTERS);
      const last = (row + 1) * ROW_REGISTERS;
      const isNewest =
        entry >= 0 &&
        index.rowOlder[row] === NO_ROW &&
        this.#isNewestRow(run.region, register, row);
      while (isNewest && i + length < run.count && entry + length < last) {
        if (this.#differs(entry, entry + length)) break;
        length++;
      }
      this.#take(run.region, register, entry, length);
      i += length;
    }
  }

  #isNewestRow(region: Region, register: number, row: number): boolean {
    const group = Math.floor(register / ROW_REGISTERS);
    return this.#blocks.index.newest(this.#disk, region, group) === row;
  }

  #differs(a: number, b: number): boolean {
    const { index } = this.#blocks;
    return (
      index.clock[a] !== index.clock[b] ||
      index.token[a] !== index.token[b] ||
      this.#blocks.kindOf(a) !== this.#blocks.kindOf(b) ||
      index.place[b] === PLACE_NONE
    );
  }

  #take(region: Region, register: number, entry: number, count: number): void {
    const kind = this.#blocks.kindOf(entry);
    if (kind !== RunKind.data || !this.#wantsData) {
      this.#push(region, kind, register, entry, count);
      return;
    }
    const size = registerBytes(region);
    if (this.#blocks.loadAdjacent(entry, count, this.bytes, this.used)) {
      this.used += count * size;
      this.#push(region, kind, register, entry, count);
      return;
    }
    for (let i = 0; i < count; i++) {
      const isGood = this.#blocks.load(entry + i, this.bytes, this.used);
      if (isGood) this.used += size;
      this.#push(region, isGood ? kind : RunKind.bad, register + i, entry + i, 1);
    }
  }

  #push(region: Region, kind: RunKind, index: number, entry: number, count: number): void {
    const known = this.#blocks.index;
    const clock = entry < 0 ? 0 : known.clock[entry];
    const token = entry < 0 ? 0 : known.token[entry];
    this.runs.push({ region, kind, count, index, clock, token });
  }
}
