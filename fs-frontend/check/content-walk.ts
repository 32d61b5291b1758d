/** Reads which blocks an inode uses, node by node, trusting nothing. Throws CORRUPTION at the first thing that cannot be. */
import { SextantError } from '#core/errors.js';
import { getU48 } from '#core/bytes/le.js';
import type { Block } from '../format/block.js';
import { FILE_BLOCKS_MAX, INLINE_EXTENTS_MAX } from '../format/extents.js';
import {
  Content,
  InodeField,
  contentOf,
  heightOf,
  inoOf,
  rootOf,
  sizeOf,
} from '../format/inode.js';
import { INLINE_BYTES_MAX, SEGMENT_DATA } from '../format/layout.js';
import {
  EXTENT_BYTES,
  KEY_MAX,
  NODE_HEADER_BYTES,
  NodeType,
  getNode,
  innerChild,
  innerKey,
  nodeCount,
} from '../format/node.js';
import { HEIGHT_MAX } from '../format/tree.js';
import type { DiskBlocks } from './disk-blocks.js';

export interface UsedBlocks {
  readonly metadata: number[];
  readonly data: { start: number; count: number }[];
}

export class ContentWalk {
  readonly used: UsedBlocks = { metadata: [], data: [] };
  readonly #blocks: DiskBlocks;
  readonly #header: Block;
  readonly #dataMax: number;
  #end = 0;

  /** Data blocks lie in the first `segments` segments. */
  constructor(blocks: DiskBlocks, header: Block, segments: number) {
    this.#blocks = blocks;
    this.#header = header;
    this.#dataMax = segments * SEGMENT_DATA;
  }

  async run(): Promise<UsedBlocks> {
    const header = this.#header;
    const content = contentOf(header);
    if (content === Content.bytes && sizeOf(header) > INLINE_BYTES_MAX) {
      throw this.#corrupt(`small content of ${sizeOf(header)} bytes`);
    }
    if (content === Content.extents) {
      const count = header.view.getUint32(InodeField.extentsOrSeed, true);
      if (count > INLINE_EXTENTS_MAX) throw this.#corrupt('count of extents');
      this.#extents(header, InodeField.extents, count, 0, KEY_MAX);
    } else if (content === Content.extentTree && rootOf(header) !== 0) {
      if (heightOf(header) > HEIGHT_MAX) throw this.#corrupt('height of its tree');
      await this.#node(rootOf(header), heightOf(header), 0, KEY_MAX);
    }
    return this.used;
  }

  async #node(index: number, level: number, low: number, high: number): Promise<void> {
    const type = level === 0 ? NodeType.extentLeaf : NodeType.inner;
    const header = this.#header;
    const node = await this.#blocks.read(() => getNode(this.#blocks, index, header, type, level));
    this.used.metadata.push(index);
    const count = nodeCount(node);
    if (level === 0) {
      this.#extents(node, NODE_HEADER_BYTES, count, low, high);
      return;
    }
    if (count === 0) throw this.#corrupt(`metadata block ${index} without children`);
    const keys = Array.from({ length: count }, (_, slot) => innerKey(node, slot));
    const children = keys.map((_, slot) => innerChild(node, slot));
    for (let slot = 0; slot < count; slot++) {
      const to = slot + 1 < count ? keys[slot + 1] : high;
      if (!(keys[slot] < to) || keys[slot] < low) throw this.#corrupt(`order in block ${index}`);
      await this.#node(children[slot], level - 1, slot === 0 ? low : keys[slot], to);
    }
  }

  #extents(node: Block, base: number, count: number, low: number, high: number): void {
    for (let slot = 0; slot < count; slot++) {
      const at = base + slot * EXTENT_BYTES;
      const start = getU48(node.view, at);
      const data = getU48(node.view, at + 6);
      const length = node.view.getUint32(at + 12, true) & 0x7fff_ffff;
      const end = start + length;
      if (length === 0 || start < this.#end || start < low || end > high || end > FILE_BLOCKS_MAX) {
        throw this.#corrupt(`extent at block ${start}`);
      }
      if (data === 0 || data + length > this.#dataMax) {
        throw this.#corrupt(`extent at block ${start} points to data ${data}`);
      }
      this.#end = end;
      this.used.data.push({ start: data, count: length });
    }
  }

  #corrupt(what: string): SextantError {
    return new SextantError('CORRUPTION', `inode ${inoOf(this.#header)}: ${what}`);
  }
}
