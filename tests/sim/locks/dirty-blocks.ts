/**
 * Blocks that a clerk has changed and not written yet (FS-2): written when the lock is about to go back, or when the clerk
 * closes. Later changes of the same clerk build on them; a crash loses them.
 */
import type { World } from '#core/world/world.js';
import type { Pending } from '../../linearizability/history.js';
import type { RegisterOutput } from '../../linearizability/register.js';
import type { BlockStore, Tag, WriteResult } from './block-store.js';

class DirtyBlock {
  value: number;
  /** Its write is on its way: it is seen until that has arrived. */
  write: Promise<WriteResult> | undefined = undefined;
  /** Changes that become visible together. */
  readonly changes: Pending<RegisterOutput>[] = [];

  constructor(value: number) {
    this.value = value;
  }
}

export class DirtyBlocks {
  readonly #blocks = new Map<string, DirtyBlock>();

  /** What the clerk itself sees; undefined: not dirty. */
  value(key: string): number | undefined {
    return this.#blocks.get(key)?.value;
  }

  change(key: string, value: number, change: Pending<RegisterOutput>): void {
    let block = this.#blocks.get(key);
    if (block === undefined || block.write !== undefined) {
      block = new DirtyBlock(value);
      this.#blocks.set(key, block);
    }
    block.value = value;
    block.changes.push(change);
  }

  keys(): string[] {
    return [...this.#blocks.keys()];
  }

  /** Writes a block that is dirty; undefined: it was not. */
  async flush(
    world: World,
    store: BlockStore,
    key: string,
    tag: Tag,
  ): Promise<WriteResult | undefined> {
    const dirty = this.#blocks.get(key);
    if (dirty === undefined) return undefined;
    dirty.write ??= this.#write(world, store, key, tag, dirty);
    return dirty.write;
  }

  async #write(
    world: World,
    store: BlockStore,
    key: string,
    tag: Tag,
    dirty: DirtyBlock,
  ): Promise<WriteResult> {
    const result = await store.write(world, key, { tag, value: dirty.value });
    if (this.#blocks.get(key) === dirty) this.#blocks.delete(key);
    for (const change of dirty.changes) {
      if (result === 'stored') change.answered({ swapped: true });
      else change.never();
    }
    return result;
  }

  /** The lease is lost: nobody will see them. */
  drop(): void {
    for (const [key, { changes, write }] of this.#blocks) {
      if (write !== undefined) continue;
      this.#blocks.delete(key);
      for (const change of changes) change.never();
    }
  }
}
