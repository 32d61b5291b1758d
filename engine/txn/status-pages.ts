/**
 * Commit marks on pages: a radix tree over transaction ids whose leaves hold the commit LSN of each id.
 *
 *     page type 4, both kinds
 *      9  u8   level: 0 marks, above: directory
 *     16  u48  root only: the oldest id with a mark; older ones are committed and visible to all
 *     32  ...  level 0: 1360 marks, u48 each; above: 2040 page numbers, u32 each
 *
 *     mark     0: none (in progress or aborted)
 *              below 2^47: commit LSN, that of the record that writes it
 *              2^47 + id: as that transaction (a sub-transaction of one that commits over too many pages)
 *
 * The root's page number is in the volume header. When ids outgrow the tree a new root goes on top. A chunk of ids
 * is a leaf: it is formatted in the MTR that moves the mark of used ids (rule 23).
 */
import { assert } from '#core/assert.js';
import { getU48 } from '#core/bytes/le.js';
import { SextantError } from '#core/errors.js';
import { pageType } from '#core/redo/page.js';
import type { Mtr } from '../pages/mtr.js';
import type { PageSpace } from '../pages/page-space.js';
import { PAGE_TYPE_TXN_STATUS } from '../pages/page-types.js';
import { HEADER_PAGE_NO, ROOT_TXN_STATUS } from '../pages/volume-header.js';

export const CHUNK_IDS = 1360;
const FAN_OUT = 2040;
const LEVEL_OFFSET = 9;
const OLDEST_OFFSET = 16;
const BODY_OFFSET = 32;
const LEVEL_MAX = 4;
/** Added to an id: the mark says "as that transaction". */
export const SAME_AS = 2 ** 47;

export class StatusPages {
  readonly #space: PageSpace;
  /** Hot: where the leaves of recent chunks are. */
  readonly #leaves = new Map<number, number>();

  constructor(space: PageSpace) {
    this.#space = space;
  }

  /** Ids below it are committed, visible to all, and have no mark any more. Throws Suspend. */
  get oldest(): number {
    const root = this.#space.header.root(ROOT_TXN_STATUS);
    return root === 0 ? 0 : getU48(this.#space.cache.view, this.#base(root) + OLDEST_OFFSET);
  }

  /** The mark of an id; 0 when it has none. Throws Suspend. */
  read(id: number): number {
    if (id < this.oldest) return 1;
    const leaf = this.leafOf(id);
    if (leaf === 0) return 0;
    return getU48(this.#space.cache.view, this.#base(leaf) + markOffset(id));
  }

  /** Page that holds the mark of an id, 0 none. Throws Suspend. */
  leafOf(id: number): number {
    const chunk = Math.floor(id / CHUNK_IDS);
    const known = this.#leaves.get(chunk);
    if (known !== undefined) return known;
    let pageNo = this.#space.header.root(ROOT_TXN_STATUS);
    if (pageNo === 0) return 0;
    let level = this.#level(pageNo);
    if (chunk >= FAN_OUT ** level) return 0;
    for (; level > 0 && pageNo !== 0; level--) {
      const at = this.#base(pageNo) + childOffset(chunk, level);
      pageNo = this.#space.cache.view.getUint32(at, true);
    }
    if (pageNo !== 0) this.#remember(chunk, pageNo);
    return pageNo;
  }

  /** Writes a mark into a page that the MTR has. */
  write(mtr: Mtr, leaf: number, id: number, mark: number): void {
    mtr.u48(leaf, markOffset(id), mark);
  }

  /** Plans the leaf of a chunk and its way from the root. Throws Suspend. */
  planChunk(mtr: Mtr, chunk: number): void {
    mtr.add(HEADER_PAGE_NO);
    let pageNo = this.#space.header.root(ROOT_TXN_STATUS);
    let level = pageNo === 0 ? 0 : this.#level(pageNo);
    if (pageNo !== 0) mtr.add(pageNo);
    // A leaf a level, and new roots on top while the chunk does not fit.
    let fresh = LEVEL_MAX + 2;
    if (pageNo !== 0 && chunk < FAN_OUT ** level) {
      for (; level > 0 && pageNo !== 0; level--) {
        const at = mtr.add(pageNo) + childOffset(chunk, level);
        pageNo = this.#space.cache.view.getUint32(at, true);
      }
      fresh = level + 1;
      if (pageNo !== 0) fresh = 0;
    }
    this.#space.allocator.reserve(mtr, fresh);
  }

  /** Formats what was planned. */
  addChunk(mtr: Mtr, chunk: number): void {
    const { header, allocator, cache } = this.#space;
    let root = header.root(ROOT_TXN_STATUS);
    if (root === 0) {
      root = this.#format(mtr, 0);
      // The first leaf is not necessarily that of chunk 0: it becomes the child of a directory at once.
      header.setRoot(mtr, ROOT_TXN_STATUS, root);
    }
    while (chunk >= FAN_OUT ** this.#level(root)) {
      const level = this.#level(root) + 1;
      const top = allocator.take(mtr, PAGE_TYPE_TXN_STATUS);
      mtr.u8(top, LEVEL_OFFSET, level);
      mtr.u48(top, OLDEST_OFFSET, getU48(cache.view, mtr.page(root) + OLDEST_OFFSET));
      mtr.u32(top, BODY_OFFSET, root);
      header.setRoot(mtr, ROOT_TXN_STATUS, top);
      root = top;
    }
    let pageNo = root;
    for (let level = this.#level(root); level > 0; level--) {
      const offset = childOffset(chunk, level);
      let child = cache.view.getUint32(mtr.page(pageNo) + offset, true);
      if (child === 0) {
        child = this.#format(mtr, level - 1);
        mtr.u32(pageNo, offset, child);
      }
      pageNo = child;
    }
    this.#remember(chunk, pageNo);
  }

  /**
   * One bounded step of forgetting the marks of ids below `limit`, an MTR of its own; true when there is nothing
   * (more) to forget. Rule 23: only after a sweep has removed the versions of all aborted ids below it. Throws Suspend.
   */
  forgetStep(mtr: Mtr, limit: number): boolean {
    const { header, allocator, cache } = this.#space;
    const root = header.root(ROOT_TXN_STATUS);
    if (root === 0) return true;
    const chunk = Math.floor(this.oldest / CHUNK_IDS);
    const next = (chunk + 1) * CHUNK_IDS;
    if (next > limit) return true;
    const leaf = this.leafOf(chunk * CHUNK_IDS);
    mtr.begin();
    mtr.add(root);
    if (leaf !== 0 && leaf !== root) {
      allocator.reserveFree(mtr);
      mtr.add(leaf);
      let parent = root;
      for (let level = this.#level(root); level > 1; level--) {
        parent = cache.view.getUint32(mtr.add(parent) + childOffset(chunk, level), true);
      }
      mtr.add(parent);
      mtr.u32(parent, childOffset(chunk, 1), 0);
      allocator.free(mtr, leaf);
    }
    mtr.u48(root, OLDEST_OFFSET, next);
    mtr.commit();
    this.#leaves.delete(chunk);
    return false;
  }

  #format(mtr: Mtr, level: number): number {
    const pageNo = this.#space.allocator.take(mtr, PAGE_TYPE_TXN_STATUS);
    mtr.u8(pageNo, LEVEL_OFFSET, level);
    return pageNo;
  }

  #remember(chunk: number, pageNo: number): void {
    if (this.#leaves.size >= 1024) this.#leaves.clear();
    this.#leaves.set(chunk, pageNo);
  }

  #level(pageNo: number): number {
    const level = this.#space.cache.bytes[this.#base(pageNo) + LEVEL_OFFSET];
    assert(level <= LEVEL_MAX, 'the directory has at most four levels');
    return level;
  }

  #base(pageNo: number): number {
    const base = this.#space.cache.base(pageNo);
    if (pageType(this.#space.cache.bytes, base) !== PAGE_TYPE_TXN_STATUS) {
      throw new SextantError('CORRUPTION', `page ${pageNo} holds no transaction status`);
    }
    return base;
  }
}

function markOffset(id: number): number {
  return BODY_OFFSET + (id % CHUNK_IDS) * 6;
}

function childOffset(chunk: number, level: number): number {
  return BODY_OFFSET + (Math.floor(chunk / FAN_OUT ** (level - 1)) % FAN_OUT) * 4;
}
