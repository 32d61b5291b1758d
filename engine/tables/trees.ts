/** The open trees of tables and indexes, and what is remembered of each table. */
import { BTree } from '../btree/btree.js';
import { Cursor } from '../btree/cursor.js';
import { NODE_BYTES } from '../btree/node.js';
import type { PageSpace } from '../pages/page-space.js';
import { getRowKey } from './row-version.js';
import type { IndexHandle, TableHandle } from './table-store.js';

/** Appending leaves this much of a leaf to updates: a version before the newest costs some 20 bytes a row. */
const TABLE_FILL = 0.85;

export class TableTree {
  readonly tree: BTree;
  /** As last used by a writer: whose index entries go with pruned versions. */
  handle: TableHandle;
  /** Indexes that are being built and that `handle` need not have yet. */
  building: IndexHandle[] = [];
  /** The next row id; -1 not known yet. */
  nextRowId = -1;
  /** Rows that pruning should visit once the horizon passes that LSN; a hot row is visited once for many versions. */
  readonly stale = new Map<number, number>();
  /** What `estimateRows` said last. */
  estimate = 0;

  constructor(tree: BTree, handle: TableHandle) {
    this.tree = tree;
    this.handle = handle;
  }

  /** Keeps the order of time: a row that waits already is looked at then, and put back if need be. */
  visitLater(rowId: number, lsn: number): void {
    if (!this.stale.has(rowId)) this.stale.set(rowId, lsn);
  }

  get indexes(): readonly IndexHandle[] {
    if (this.building.length === 0) return this.handle.indexes;
    const known = new Set(this.handle.indexes.map((index) => index.rootPageNo));
    return [
      ...this.handle.indexes,
      ...this.building.filter((index) => !known.has(index.rootPageNo)),
    ];
  }
}

export class Trees {
  readonly #space: PageSpace;
  readonly #tables = new Map<number, TableTree>();
  readonly #indexes = new Map<number, BTree>();

  constructor(space: PageSpace) {
    this.#space = space;
  }

  table(handle: TableHandle): TableTree {
    const known = this.#tables.get(handle.rootPageNo);
    if (known !== undefined) return known;
    const tree = new BTree(this.#space, handle.rootPageNo);
    tree.appendFillBytes = Math.floor(NODE_BYTES * TABLE_FILL);
    const table = new TableTree(tree, handle);
    this.#tables.set(handle.rootPageNo, table);
    return table;
  }

  index(rootPageNo: number): BTree {
    let tree = this.#indexes.get(rootPageNo);
    if (tree === undefined) {
      tree = new BTree(this.#space, rootPageNo);
      this.#indexes.set(rootPageNo, tree);
    }
    return tree;
  }

  /** The tree goes: no row of it is visited any more, and no pruned row looks for its entries there. */
  drop(rootPageNo: number): void {
    this.#tables.get(rootPageNo)?.stale.clear();
    for (const table of this.#tables.values()) {
      if (table.indexes.some((index) => index.rootPageNo === rootPageNo)) {
        const indexes = table.indexes.filter((index) => index.rootPageNo !== rootPageNo);
        table.handle = { ...table.handle, indexes };
        table.building = [];
      }
    }
  }

  /** Its root's page number may become another tree. */
  forget(rootPageNo: number): void {
    this.#tables.delete(rootPageNo);
    this.#indexes.delete(rootPageNo);
  }

  /** Gives out a row id; those of an empty tree begin at 1. Throws Suspend. */
  giveRowId(table: TableTree): number {
    if (table.nextRowId < 0) {
      // Not the edge of the tree: the rightmost leaf may be empty.
      const cursor = new Cursor(table.tree);
      const found = cursor.last();
      table.nextRowId = found ? getRowKey(this.#space.cache.view, cursor.keyStart) + 1 : 1;
    }
    return table.nextRowId++;
  }

  tables(): IterableIterator<TableTree> {
    return this.#tables.values();
  }
}
