/**
 * Reads a directory whole, node by node, trusting nothing: what the code of format/ keeps true (DIR-1, DIR-2, BTREE-1, BTREE-2)
 * is looked at here by itself.
 */
import { isSextantError } from '#core/errors.js';
import { Region } from '../disk/disk.js';
import type { Block } from '../format/block.js';
import { entryBytes, entryKey, listEntry, type ListedEntry } from '../format/directory-entry.js';
import { leafEntry } from '../format/directory-leaf.js';
import { Content, InodeField, contentOf, entriesOf, heightOf, rootOf } from '../format/inode.js';
import { DISCRIMINATORS, nameHash } from '../format/name-hash.js';
import { KEY_MAX, NodeType, getNode, innerChild, innerKey, nodeCount } from '../format/node.js';
import { eachSmall } from '../format/small-directory.js';
import type { DiskBlocks } from './disk-blocks.js';

export interface DirectoryVisitor {
  /** In use by the directory. */
  node(index: number): void;
  /** Entries of one leaf or of the inode, each of them whole. */
  entries(entries: readonly ListedEntry[]): Promise<void>;
  problem(message: string): void;
}

const SLASH = 47;

/** Could that be a name? */
export function isName(name: Uint8Array): boolean {
  const dots = name.every((byte) => byte === 46) && name.length <= 2;
  return name.length > 0 && !dots && !name.includes(0) && !name.includes(SLASH);
}

export class DirectoryWalk {
  readonly #blocks: DiskBlocks;
  readonly #header: Block;
  readonly #visitor: DirectoryVisitor;
  readonly #seed: number;
  #count = 0;
  #previous = -1;
  /** Names of the hash at hand. */
  #hash = -1;
  readonly #names = new Set<string>();

  constructor(blocks: DiskBlocks, header: Block, visitor: DirectoryVisitor) {
    this.#blocks = blocks;
    this.#header = header;
    this.#visitor = visitor;
    this.#seed = header.view.getUint32(InodeField.extentsOrSeed, true);
  }

  async run(): Promise<void> {
    const header = this.#header;
    if (contentOf(header) === Content.directory) await this.#small();
    else if (rootOf(header) !== 0)
      await this.#node(rootOf(header), heightOf(header), 0, KEY_MAX + 1);
    if (this.#count !== entriesOf(header)) {
      this.#visitor.problem(`${this.#count} entries, the inode says ${entriesOf(header)}`);
    }
  }

  async #small(): Promise<void> {
    const found: ListedEntry[] = [];
    await this.#guarded(() =>
      this.#blocks.read(() => {
        found.length = 0;
        eachSmall(this.#blocks, this.#header, (block, at) => found.push(listEntry(block, at)));
      }),
    );
    found.sort((a, b) => a.cookie - b.cookie);
    for (const entry of found) this.#check(entry, 0, KEY_MAX + 1);
    await this.#visitor.entries(found);
  }

  /** The subtree of node `index`, whose keys lie in [low, high). */
  async #node(index: number, level: number, low: number, high: number): Promise<void> {
    const header = this.#header;
    const type = level === 0 ? NodeType.directoryLeaf : NodeType.inner;
    const node = await this.#guarded(() =>
      this.#blocks.read(() => getNode(this.#blocks, index, header, type, level)),
    );
    if (node === undefined) return;
    this.#visitor.node(index);
    if (level === 0) {
      await this.#leaf(node, low, high);
      return;
    }
    const count = nodeCount(node);
    if (count === 0) this.#visitor.problem(`block ${index}: no children`);
    const children = Array.from({ length: count }, (_, slot) => innerChild(node, slot));
    const keys = Array.from({ length: count }, (_, slot) => innerKey(node, slot));
    if (level === 1) await this.#prefetch(children);
    for (let slot = 0; slot < count; slot++) {
      const from = slot === 0 ? low : keys[slot];
      const to = slot + 1 < count ? keys[slot + 1] : high;
      if (keys[slot] < low || (slot === 0 && keys[0] !== low) || !(from < to)) {
        this.#visitor.problem(`block ${index}: key ${slot} out of order`);
      }
      await this.#node(children[slot], level - 1, from, to);
    }
  }

  async #prefetch(children: readonly number[]): Promise<void> {
    const reads = children
      .filter((index) => index > 0)
      .map((index) => ({ region: Region.metadata, index, count: 1 }));
    if (reads.length > 0) await this.#blocks.load(reads);
  }

  async #leaf(leaf: Block, low: number, high: number): Promise<void> {
    const found: ListedEntry[] = [];
    let bytes = 0;
    for (let slot = 0; slot < nodeCount(leaf); slot++) {
      await this.#guarded(async () => {
        const at = leafEntry(leaf, slot);
        bytes += entryBytes(leaf, at);
        const entry = listEntry(leaf, at);
        this.#check(entry, low, high);
        if (entryKey(leaf, at) >= 0) found.push(entry);
      });
    }
    const heap = leaf.view.getUint16(24, true);
    const garbage = leaf.view.getUint16(26, true);
    if (bytes + garbage !== leaf.bytes.length - heap) {
      this.#visitor.problem(`block ${leaf.index}: bytes of its heap`);
    }
    await this.#visitor.entries(found);
  }

  #check(entry: ListedEntry, low: number, high: number): void {
    const key = entry.cookie - 16;
    const visitor = this.#visitor;
    if (key < low || key >= high) visitor.problem(`key ${key} in the wrong leaf`);
    if (key <= this.#previous) visitor.problem(`key ${key} out of order`);
    const hash = Math.floor(key / DISCRIMINATORS);
    if (hash !== nameHash(entry.name, this.#seed)) {
      visitor.problem(`key ${key} is not the hash of its name`);
    }
    if (hash !== this.#hash) this.#names.clear();
    this.#hash = hash;
    const text = Buffer.from(entry.name).toString('latin1');
    if (this.#names.has(text)) visitor.problem(`a name twice, key ${key}`);
    this.#names.add(text);
    this.#previous = key;
    this.#count++;
  }

  /** CORRUPTION becomes a problem. */
  async #guarded<T>(work: () => Promise<T>): Promise<T | undefined> {
    try {
      return await work();
    } catch (error) {
      if (!isSextantError(error, 'CORRUPTION')) throw error;
      this.#visitor.problem(error.message);
      return undefined;
    }
  }
}
