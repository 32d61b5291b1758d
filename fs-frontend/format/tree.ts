/**
 * The B+tree over metadata blocks that directories and extent maps share; keys of 48 bits. Its root and height are in the
 * inode's header; leaves have their owner's layout (`LeafKind`), inner nodes the one of node.ts. No node knows its
 * siblings: who goes on to the next leaf comes down again with its lower bound.
 *
 * - BTREE-1 Keys ascend strictly over all leaves; a child holds keys from its entry's up to the next entry's.
 * - BTREE-2 All leaves are at level 0, the root at the header's height; only a root may be nearly empty for long: a node under a
 *   quarter full joins a neighbour when the two fill three quarters at most.
 */
import { getU64 } from '#core/bytes/le.js';
import type { Block, BlockSource } from './block.js';
import { InodeField, heightOf, inodeCorrupt, inoOf, rootOf } from './inode.js';
import {
  INNER_ENTRIES_MAX,
  INNER_ENTRY_BYTES,
  NODE_BYTES,
  NodeType,
  dropNode,
  getNode,
  innerChild,
  innerInsert,
  innerKey,
  innerMove,
  innerRemove,
  innerSearch,
  newNode,
  nodeCount,
} from './node.js';
import type { Transaction } from './transaction.js';

/** 338^5 leaves are more than a disk has. */
export const HEIGHT_MAX = 6;
const MERGE_BELOW = NODE_BYTES / 4;
const MERGED_MAX = (NODE_BYTES * 3) / 4;

export interface LeafKind {
  readonly type: NodeType;
  /** Bytes that its entries need. */
  used(leaf: Block): number;
  /** All entries of `right` go behind those of `left`; they fit. */
  join(tx: Transaction, left: Block, right: Block): void;
}

const INNER: LeafKind = {
  type: NodeType.inner,
  used: (node) => nodeCount(node) * INNER_ENTRY_BYTES,
  join: (tx, left, right) => innerMove(tx, right, 0, left),
};

/** From a leaf (index 0) up to the root: the nodes, and in inner ones the entry taken. Used again and again. */
export class TreePath {
  height = 0;
  readonly nodes: (Block | undefined)[] = Array.from({ length: HEIGHT_MAX + 1 }, () => undefined);
  readonly slots = new Int32Array(HEIGHT_MAX + 1);

  node(level: number): Block {
    return this.nodes[level] as Block;
  }

  /** The lower bound of the next leaf, or -1. */
  nextBound(): number {
    for (let level = 1; level <= this.height; level++) {
      const slot = this.slots[level] + 1;
      if (slot < nodeCount(this.node(level))) return innerKey(this.node(level), slot);
    }
    return -1;
  }
}

/** Goes down to the leaf whose range has `key`. The tree has a root. Throws Suspend, CORRUPTION. */
export function descend(
  source: BlockSource,
  header: Block,
  key: number,
  leafType: NodeType,
  path: TreePath,
): Block {
  const height = heightOf(header);
  if (height > HEIGHT_MAX) throw inodeCorrupt(inoOf(header), `tree of height ${height}`);
  let index = rootOf(header);
  path.height = height;
  for (let level = height; level > 0; level--) {
    const node = getNode(source, index, header, NodeType.inner, level);
    const slot = innerSearch(node, key);
    path.nodes[level] = node;
    path.slots[level] = slot;
    index = innerChild(node, slot);
  }
  const leaf = getNode(source, index, header, leafType, 0);
  path.nodes[0] = leaf;
  return leaf;
}

/** A tree of one leaf, which the caller fills. */
export function newTree(tx: Transaction, header: Block, leafType: NodeType): Block {
  const leaf = newNode(tx, header, leafType, 0);
  tx.u64(header, InodeField.root, leaf.index);
  tx.u8(header, InodeField.height, 0);
  return leaf;
}

/** The node at `level - 1` of the path was split: `child`, from `key` on, comes next to it. The path is void afterwards. */
export function insertChild(
  tx: Transaction,
  header: Block,
  path: TreePath,
  level: number,
  key: number,
  child: number,
): void {
  if (level > path.height) {
    if (level > HEIGHT_MAX) throw inodeCorrupt(inoOf(header), 'tree too high');
    const root = newNode(tx, header, NodeType.inner, level);
    innerInsert(tx, root, 0, 0, rootOf(header));
    innerInsert(tx, root, 1, key, child);
    tx.u64(header, InodeField.root, root.index);
    tx.u8(header, InodeField.height, level);
    return;
  }
  const node = path.node(level);
  const slot = path.slots[level] + 1;
  const count = nodeCount(node);
  if (count < INNER_ENTRIES_MAX) {
    innerInsert(tx, node, slot, key, child);
    return;
  }
  const right = newNode(tx, header, NodeType.inner, level);
  // What grows at its end is left full.
  const from = slot === count ? count : count >>> 1;
  innerMove(tx, node, from, right);
  if (slot > from || from === count) innerInsert(tx, right, slot - from, key, child);
  else innerInsert(tx, node, slot, key, child);
  insertChild(tx, header, path, level + 1, innerKey(right, 0), right.index);
}

/** The node at `level` has lost entries: gives it back when empty, joins it with a neighbour when both are small. */
export function shrink(
  tx: Transaction,
  header: Block,
  path: TreePath,
  level: number,
  leafKind: LeafKind,
): void {
  const node = path.node(level);
  const kind = level === 0 ? leafKind : INNER;
  if (level === path.height) {
    if (nodeCount(node) === 0) dropRoot(tx, header, node);
    else if (level > 0 && nodeCount(node) === 1) lowerRoot(tx, header, path);
    return;
  }
  const used = kind.used(node);
  if (used >= MERGE_BELOW) return;
  const parent = path.node(level + 1);
  const slot = path.slots[level + 1];
  if (used === 0) {
    dropNode(tx, header, node.index);
    innerRemove(tx, parent, slot);
    shrink(tx, header, path, level + 1, leafKind);
    return;
  }
  if (nodeCount(parent) === 1) return;
  const leftSlot = slot > 0 ? slot - 1 : 0;
  const sibling = innerChild(parent, slot > 0 ? leftSlot : 1);
  const other = getNode(tx.source, sibling, header, kind.type, level);
  if (used + kind.used(other) > MERGED_MAX) return;
  const [left, right] = slot > 0 ? [other, node] : [node, other];
  kind.join(tx, left, right);
  dropNode(tx, header, right.index);
  innerRemove(tx, parent, leftSlot + 1);
  shrink(tx, header, path, level + 1, leafKind);
}

function dropRoot(tx: Transaction, header: Block, root: Block): void {
  dropNode(tx, header, root.index);
  tx.u64(header, InodeField.root, 0);
  tx.u8(header, InodeField.height, 0);
}

/** A root with one child gives way to it, as long as that is so. */
function lowerRoot(tx: Transaction, header: Block, path: TreePath): void {
  let root = path.node(path.height);
  for (let level = path.height; level > 0 && nodeCount(root) === 1; level--) {
    const child = innerChild(root, 0);
    dropNode(tx, header, root.index);
    tx.u64(header, InodeField.root, child);
    tx.u8(header, InodeField.height, level - 1);
    if (level === 1) return;
    root = getNode(tx.source, child, header, NodeType.inner, level - 1);
  }
}

export const hasTree = (header: Block): boolean => getU64(header.view, InodeField.root) !== 0;
