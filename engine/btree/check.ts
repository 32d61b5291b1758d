/**
 * Checks the whole structure of a tree, level by level: for tests and for `invariants`. It waits for pages that
 * are not cached, so nobody may edit the tree meanwhile.
 */
import { SextantError } from '#core/errors.js';
import { PAGE_BYTES } from '#core/ids.js';
import type { PageSpace } from '../pages/page-space.js';
import { untilReady } from '../pages/page-space.js';
import { PAGE_TYPE_NODE } from '../pages/page-types.js';
import { pageType } from '#core/redo/page.js';
import {
  CELL_HEADER_BYTES,
  CHILD_BYTES,
  GARBAGE_OFFSET,
  HEAP_OFFSET,
  SLOTS_OFFSET,
  SLOT_BYTES,
  nodeCount,
  nodeLeft,
  nodeLevel,
  nodeRight,
} from './node.js';
import { compareKeys } from './search.js';

export interface TreeShape {
  readonly levels: number;
  readonly pages: readonly number[];
  readonly cells: number;
  /** Share of the leaves' bytes that cells use, 0 to 1. */
  readonly leafFill: number;
}

interface NodeCopy {
  readonly pageNo: number;
  readonly level: number;
  readonly left: number;
  readonly right: number;
  readonly keys: Uint8Array[];
  readonly children: number[];
  readonly usedBytes: number;
}

/** Throws CORRUPTION on the first thing that is wrong; otherwise what the tree looks like. */
export async function checkTree(space: PageSpace, rootPageNo: number): Promise<TreeShape> {
  const root = await untilReady(() => readNode(space, rootPageNo));
  const pages: number[] = [];
  let level: { node: NodeCopy; low: Uint8Array | null; high: Uint8Array | null }[] = [
    { node: root, low: null, high: null },
  ];
  for (;;) {
    for (const [i, { node, low, high }] of level.entries()) {
      pages.push(node.pageNo);
      check(node.level === level[0]?.node.level, node, 'levels differ');
      check(node.left === (level[i - 1]?.node.pageNo ?? 0), node, 'left sibling');
      check(node.right === (level[i + 1]?.node.pageNo ?? 0), node, 'right sibling');
      checkKeys(node, low, high);
    }
    if (root.level === 0 || level[0]?.node.level === 0) break;
    const below: typeof level = [];
    for (const { node, low, high } of level) {
      check(node.children.length > 0, node, 'an inner node has a child');
      for (const [i, child] of node.children.entries()) {
        const copy = await untilReady(() => readNode(space, child));
        check(copy.level === node.level - 1, copy, 'level below its parent');
        below.push({
          node: copy,
          low: i === 0 ? low : (node.keys[i] ?? null),
          high: node.keys[i + 1] ?? high,
        });
      }
    }
    level = below;
  }
  if (new Set(pages).size !== pages.length) throw broken(rootPageNo, 'a page is in it twice');
  let cells = 0;
  let used = 0;
  for (const { node } of level) {
    cells += node.keys.length;
    used += node.usedBytes;
  }
  const leafFill = used / (level.length * (PAGE_BYTES - SLOTS_OFFSET));
  return { levels: root.level + 1, pages, cells, leafFill };
}

function checkKeys(node: NodeCopy, low: Uint8Array | null, high: Uint8Array | null): void {
  for (const [i, key] of node.keys.entries()) {
    const before = node.keys[i - 1];
    if (before !== undefined) check(compare(before, key) < 0, node, 'keys ascend strictly');
    if (low !== null) check(compare(low, key) <= 0, node, 'a key is below its bound');
    if (high !== null) check(compare(key, high) < 0, node, 'a key is at or above its bound');
  }
  const first = node.keys[0];
  if (node.level > 0 && first !== undefined) {
    check(compare(first, low ?? new Uint8Array(0)) === 0, node, 'first key is the lower bound');
  }
}

function readNode(space: PageSpace, pageNo: number): NodeCopy {
  const { cache } = space;
  const { bytes, view } = cache;
  const base = cache.base(pageNo);
  if (pageType(bytes, base) !== PAGE_TYPE_NODE) throw broken(pageNo, 'no node');
  const count = nodeCount(view, base);
  const level = nodeLevel(bytes, base);
  const heap = view.getUint16(base + HEAP_OFFSET, true);
  const keys: Uint8Array[] = [];
  const children: number[] = [];
  const ranges: { offset: number; end: number }[] = [];
  let cells = 0;
  for (let slot = 0; slot < count; slot++) {
    const offset = view.getUint16(base + SLOTS_OFFSET + slot * SLOT_BYTES, true);
    if (offset < heap || offset + CELL_HEADER_BYTES > PAGE_BYTES) throw broken(pageNo, 'a slot');
    const keyLength = view.getUint16(base + offset, true);
    const valueLength = view.getUint16(base + offset + 2, true);
    const end = offset + CELL_HEADER_BYTES + keyLength + valueLength;
    if (end > PAGE_BYTES) throw broken(pageNo, 'a cell leaves the page');
    const key = base + offset + CELL_HEADER_BYTES;
    keys.push(bytes.slice(key, key + keyLength));
    if (level > 0) {
      if (valueLength !== CHILD_BYTES) throw broken(pageNo, 'an inner cell without a child');
      children.push(view.getUint32(key + keyLength, true));
    }
    ranges.push({ offset, end });
    cells += end - offset;
  }
  ranges.sort((a, b) => a.offset - b.offset);
  for (const [i, range] of ranges.entries()) {
    if (range.offset < (ranges[i - 1]?.end ?? 0)) throw broken(pageNo, 'cells overlap');
  }
  const garbage = view.getUint16(base + GARBAGE_OFFSET, true);
  if (SLOTS_OFFSET + count * SLOT_BYTES > heap) throw broken(pageNo, 'slots reach into the heap');
  if (garbage !== PAGE_BYTES - heap - cells) throw broken(pageNo, 'garbage was miscounted');
  return {
    pageNo,
    level,
    left: nodeLeft(view, base),
    right: nodeRight(view, base),
    keys,
    children,
    usedBytes: cells + count * SLOT_BYTES,
  };
}

function compare(a: Uint8Array, b: Uint8Array): number {
  return compareKeys(a, 0, a.length, b, 0, b.length);
}

function check(condition: boolean, node: NodeCopy, what: string): void {
  if (!condition) throw broken(node.pageNo, what);
}

function broken(pageNo: number, what: string): SextantError {
  return new SextantError('CORRUPTION', `tree node ${pageNo}: ${what}`);
}
