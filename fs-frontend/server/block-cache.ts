/**
 * The cache of blocks (all but file content, which lies in chunks): what transactions read and edit.
 *
 * ```
 *   get --miss--> one read of the neighbours too, Suspend --> clean, in the LRU --edited--> dirty --in place--> clean
 *                                                               | over the bound: dropped
 * ```
 *
 * - FS-1 A block is cached only while the lock of its owner is held here; `dropOwner` ends that.
 * - Dirty blocks are never evicted; blocks of owner 0 (bitmaps and such) stay until they are dropped.
 * - Clean blocks are evicted by `trim`, between operations only, so a block that an operation has in hand stays the one.
 */
import { LRUCache } from 'lru-cache';
import { assert } from '#core/assert.js';
import { INODE_REGISTER_BYTES, Region, registerBytes, type VirtualDisk } from '../disk/disk.js';
import { Block, type BlockSource } from '../format/block.js';
import { Content, InodeField, contentOf, sizeOf } from '../format/inode.js';
import { INODE_REGISTERS } from '../format/layout.js';
import { Suspend } from '../format/suspend.js';
import type { Ino } from '../vfs/vfs.js';
import { CachedBlock } from './cached-block.js';

const REGION_KEYS = 2 ** 48;
/** What a small block costs beside its bytes. */
const OVERHEAD_BYTES = 350;
const SLAB_BYTES = 64 * 1024;

interface Load {
  readonly owner: Ino;
  readonly promise: Promise<void>;
  dropped: boolean;
}

function registersUsed(bytes: Uint8Array): number {
  const header = new Block(Region.inodes, 0, bytes.subarray(0, INODE_REGISTER_BYTES));
  const content = contentOf(header);
  if (content === Content.directory) return 1 + Math.min(15, header.bytes[InodeField.registers]);
  if (content !== Content.bytes) return 1;
  return Math.min(INODE_REGISTERS, 1 + Math.ceil(sizeOf(header) / INODE_REGISTER_BYTES));
}

export class BlockCache implements BlockSource {
  readonly dirty = new Set<CachedBlock>();
  dirtyBytes = 0;
  readonly #disk: VirtualDisk;
  readonly #blocks = new Map<number, CachedBlock>();
  readonly #owners = new Map<Ino, CachedBlock>();
  readonly #clean: LRUCache<CachedBlock, CachedBlock>;
  readonly #loads = new Map<number, Load>();
  readonly #bytesMax: number;
  readonly #fresh: CachedBlock[] = [];
  #slab = new Uint8Array(SLAB_BYTES);
  #slabUsed = 0;
  /** Hot: never leaves, because an lru-cache whose last entry is deleted clears all of its arrays (300 us a create). */
  readonly #last = new CachedBlock(Region.params, 0, -1);
  #cleanBytes = 0;

  constructor(disk: VirtualDisk, bytesMax: number) {
    this.#disk = disk;
    this.#bytesMax = bytesMax;
    this.#clean = new LRUCache({ max: Math.max(1000, Math.ceil(bytesMax / 512)) });
    this.#clean.set(this.#last, this.#last);
  }

  get bytes(): number {
    return this.#cleanBytes + this.dirtyBytes;
  }

  get(region: Region, index: number, owner: Ino): Block {
    const block = this.#blocks.get(region * REGION_KEYS + index);
    if (block !== undefined && block.valid) {
      if (block.owner !== 0 && !block.dirty) this.#clean.get(block);
      return block;
    }
    throw new Suspend('block', this.load(region, index, owner));
  }

  /** Hot: used now, so it is not evicted soon. */
  touch(block: CachedBlock): void {
    if (!block.dirty) this.#clean.get(block);
  }

  /** The block if it is cached, whatever its owner. */
  peek(region: Region, index: number): CachedBlock | undefined {
    return this.#blocks.get(region * REGION_KEYS + index);
  }

  fresh(region: Region, index: number, owner: Ino): Block {
    const key = region * REGION_KEYS + index;
    const known = this.#blocks.get(key);
    if (known !== undefined) {
      if (known.owner !== owner) this.#own(known, owner);
      return known;
    }
    const block = new CachedBlock(region, index, key, this.#bytesFor(region));
    block.valid = false;
    block.owner = owner;
    this.#blocks.set(key, block);
    this.#link(block, owner);
    this.#fresh.push(block);
    return block;
  }

  edited(changed: Block): void {
    const block = changed as CachedBlock;
    assert(block.cached, 'what is edited is cached');
    if (block.flyingClock !== 0 && block.nextFrom === 0) block.nextFrom = block.dirtyTo;
    if (this.dirty.has(block)) return;
    this.#uncount(block);
    this.dirty.add(block);
    this.dirtyBytes += block.bytes.length;
  }

  /** Its bytes are in place under the tag that it had when it was copied. */
  inPlace(block: CachedBlock): void {
    const { flyingClock } = block;
    block.flyingClock = 0;
    if (!block.cached || flyingClock === 0) return;
    if (block.clock !== flyingClock) {
      assert(block.nextFrom !== 0, 'a block that changed has a record');
      block.dirtyFrom = block.nextFrom;
      block.nextFrom = 0;
      return;
    }
    block.nextFrom = 0;
    block.dirtyFrom = 0;
    block.dirtyTo = 0;
    this.dirty.delete(block);
    this.dirtyBytes -= block.bytes.length;
    // File content is cached in chunks: here it only waited for its place.
    if (block.region === Region.data) this.#remove(block);
    else this.#count(block);
  }

  /** Reads the block, and with it what is likely wanted next: the registers of an inode come together. */
  load(region: Region, index: number, owner: Ino): Promise<void> {
    const key = region * REGION_KEYS + index;
    const known = this.#loads.get(key);
    if (known !== undefined && !known.dropped) return known.promise;
    let first = index;
    let count = 1;
    if (region === Region.inodes && index % INODE_REGISTERS === 0) count = INODE_REGISTERS;
    else if (region === Region.inodes) {
      first = index - (index % INODE_REGISTERS) + 1;
      count = INODE_REGISTERS - 1;
    }
    const load: { -readonly [K in keyof Load]: Load[K] } = {
      owner,
      dropped: false,
      promise: Promise.resolve(),
    };
    load.promise = this.#read(load, region, first, count).finally(() => {
      for (let i = 0; i < count; i++) {
        const at = region * REGION_KEYS + first + i;
        if (this.#loads.get(at) === load) this.#loads.delete(at);
      }
    });
    for (let i = 0; i < count; i++) this.#loads.set(region * REGION_KEYS + first + i, load);
    return load.promise;
  }

  /** Every block of the owner goes; none may be dirty unless `lost`. */
  dropOwner(owner: Ino, lost = false): void {
    for (const load of this.#loads.values()) if (load.owner === owner) load.dropped = true;
    for (let block = this.#owners.get(owner); block !== undefined;) {
      const next: CachedBlock | undefined = block.after;
      assert(lost || !block.dirty, 'what is dropped is in place');
      this.#discard(block);
      block = next;
    }
  }

  /** One block goes, in place or not. */
  drop(block: CachedBlock): void {
    if (block.cached) this.#discard(block);
  }

  forOwner(owner: Ino, visit: (block: CachedBlock) => void): void {
    for (let block = this.#owners.get(owner); block !== undefined;) {
      const next: CachedBlock | undefined = block.after;
      visit(block);
      block = next;
    }
  }

  /** Marks loads of bitmaps and such as void. */
  dropLoads(owner: Ino): void {
    for (const load of this.#loads.values()) if (load.owner === owner) load.dropped = true;
  }

  /** Hot: small blocks are cut from slabs; a buffer of its own costs 5 us and a finalizer. */
  #bytesFor(region: Region): Uint8Array {
    if (region !== Region.inodes) return new Uint8Array(registerBytes(region));
    if (this.#slabUsed === SLAB_BYTES) {
      this.#slab = new Uint8Array(SLAB_BYTES);
      this.#slabUsed = 0;
    }
    this.#slabUsed += INODE_REGISTER_BYTES;
    return this.#slab.subarray(this.#slabUsed - INODE_REGISTER_BYTES, this.#slabUsed);
  }

  /** After a commit: new blocks are dirty now, or their transaction was given up. */
  settle(): void {
    const fresh = this.#fresh;
    for (let i = 0; i < fresh.length; i++) {
      const block = fresh[i] as CachedBlock;
      if (block.dirty || !block.cached) continue;
      if (block.valid) this.#count(block);
      else this.#unlink(block);
    }
    fresh.length = 0;
    if (this.#cleanBytes > this.#bytesMax) this.trim();
  }

  /** Between operations: clean blocks over the bound go, the ones unused longest first. */
  trim(): void {
    while (this.#cleanBytes > this.#bytesMax && this.#clean.size > 1) {
      const oldest = this.#clean.pop();
      if (oldest === this.#last) this.#clean.set(oldest, oldest);
      if (oldest === undefined || oldest === this.#last) continue;
      this.#cleanBytes -= oldest.bytes.length + OVERHEAD_BYTES;
      this.#unlink(oldest);
    }
  }

  /** The lease is lost: nothing of it is true any more. */
  clear(): void {
    for (const load of this.#loads.values()) load.dropped = true;
    for (const block of this.#blocks.values()) block.cached = false;
    this.#blocks.clear();
    this.#owners.clear();
    this.#clean.clear();
    this.#clean.set(this.#last, this.#last);
    this.#fresh.length = 0;
    this.dirty.clear();
    this.dirtyBytes = 0;
    this.#cleanBytes = 0;
  }

  async #read(load: Load, region: Region, first: number, count: number): Promise<void> {
    const [content] = await this.#disk.read([{ region, index: first, count }]);
    if (load.dropped || content === undefined) return;
    const size = registerBytes(region);
    // Of an inode only the registers that hold something: most files have their content elsewhere.
    const used = count === INODE_REGISTERS ? registersUsed(content.bytes) : count;
    for (let i = 0; i < used; i++) {
      const index = first + i;
      const key = region * REGION_KEYS + index;
      const known = this.#blocks.get(key);
      if (known !== undefined && (known.valid || known.dirty)) continue;
      const bytes = content.bytes.subarray(i * size, (i + 1) * size);
      const tag = content.tags[i];
      const block = known ?? new CachedBlock(region, index, key, bytes);
      if (known !== undefined) known.bytes.set(bytes);
      block.clock = tag?.clock ?? 0;
      block.token = tag?.token ?? 0;
      block.valid = true;
      block.changes++;
      if (known === undefined) this.#add(block, load.owner);
      else if (known.owner !== load.owner) this.#own(known, load.owner);
    }
  }

  #add(block: CachedBlock, owner: Ino): void {
    block.owner = owner;
    this.#blocks.set(block.key, block);
    this.#link(block, owner);
    this.#count(block);
  }

  #own(block: CachedBlock, owner: Ino): void {
    this.#uncount(block);
    this.#unlinkOwner(block);
    block.owner = owner;
    this.#link(block, owner);
    if (!block.dirty) this.#count(block);
  }

  #link(block: CachedBlock, owner: Ino): void {
    const first = this.#owners.get(owner);
    block.before = undefined;
    block.after = first;
    if (first !== undefined) first.before = block;
    this.#owners.set(owner, block);
  }

  #count(block: CachedBlock): void {
    if (block.owner === 0 || !block.cached || this.#clean.has(block)) return;
    this.#clean.set(block, block);
    this.#cleanBytes += block.bytes.length + OVERHEAD_BYTES;
  }

  #uncount(block: CachedBlock): void {
    if (this.#clean.delete(block)) this.#cleanBytes -= block.bytes.length + OVERHEAD_BYTES;
  }

  #discard(block: CachedBlock): void {
    if (this.dirty.delete(block)) this.dirtyBytes -= block.bytes.length;
    this.#remove(block);
  }

  #remove(block: CachedBlock): void {
    this.#uncount(block);
    this.#unlink(block);
  }

  #unlink(block: CachedBlock): void {
    block.cached = false;
    this.#blocks.delete(block.key);
    this.#unlinkOwner(block);
  }

  #unlinkOwner(block: CachedBlock): void {
    const { before, after, owner } = block;
    if (before !== undefined) before.after = after;
    else if (after === undefined) this.#owners.delete(owner);
    else this.#owners.set(owner, after);
    if (after !== undefined) after.before = before;
    block.before = undefined;
    block.after = undefined;
  }
}
