/** What the hot paths of cache, MTR and tree cost, over a volume that only counts. */
import { Bench, type Task } from 'tinybench';
import { PAGE_BYTES } from '#core/ids.js';
import { PageSpace, untilReady } from '#engine/pages/page-space.js';
import { MemoryVolume } from '#engine/volume/memory-volume.js';
import { BTree, Place, SEEK_GE } from '#engine/btree/btree.js';
import { Cursor } from '#engine/btree/cursor.js';

/** Durable at once, and keeps nothing: what is measured is what stands above the volume. */
class CountingVolume extends MemoryVolume {
  override append(
    _pageNo: number,
    _flags: number,
    _previous: number,
    _edits: Uint8Array,
    start: number,
    end: number,
  ): number {
    this.redoBytes += 20 + end - start;
    return this.nextLsn++;
  }
}

const ROWS = 200_000;
const VALUE = new Uint8Array(100).fill(7);
const BATCH = 1000;

function putKey(key: Uint8Array, id: number): void {
  key[2] = id >>> 24;
  key[3] = id >>> 16;
  key[4] = id >>> 8;
  key[5] = id;
}

async function makeTree(space: PageSpace): Promise<BTree> {
  return untilReady(() => {
    space.mtr.begin();
    BTree.planCreate(space, space.mtr);
    const root = BTree.create(space, space.mtr);
    space.mtr.commit();
    return new BTree(space, root);
  });
}

function insert(tree: BTree, place: Place, key: Uint8Array): void {
  const { mtr } = tree.space;
  tree.locate(place, key, 0, key.length);
  mtr.begin();
  tree.planInsert(mtr, place, key, 0, key.length, VALUE.length);
  tree.insert(mtr, place, key, 0, key.length, VALUE, 0, VALUE.length);
  mtr.commit();
}

/** The tree and what the tasks share. */
class Subject {
  readonly volume: CountingVolume;
  readonly space: PageSpace;
  readonly tree: BTree;
  readonly index: BTree;
  /** A page of nobody else's. */
  readonly ownPage: number;
  readonly place = new Place();
  readonly key = new Uint8Array(6);
  ascending = ROWS;
  /** Keeps results alive. */
  sum = 0;
  #seed = 1;

  static async make(): Promise<Subject> {
    const volume = new CountingVolume({ lal: Number.MAX_SAFE_INTEGER });
    const space = await PageSpace.open(volume, { bufferBytes: 64 * 1024 * PAGE_BYTES });
    const own = await makeTree(space);
    return new Subject(volume, await makeTree(space), await makeTree(space), own.rootPageNo);
  }

  constructor(volume: CountingVolume, tree: BTree, index: BTree, ownPage: number) {
    this.volume = volume;
    this.space = tree.space;
    this.tree = tree;
    this.index = index;
    this.ownPage = ownPage;
  }

  /** Everything becomes durable. */
  settle(): void {
    this.volume.vdl = this.volume.nextLsn - 1;
    this.volume.onVdl(this.volume.vdl);
  }

  load(): void {
    const before = this.volume.redoBytes;
    for (let id = 0; id < ROWS; id++) {
      putKey(this.key, id);
      insert(this.tree, this.place, this.key);
      if (id % BATCH === 0) this.settle();
    }
    this.settle();
    const perRow = (this.volume.redoBytes - before) / ROWS;
    process.stdout.write(`redo per 100-byte row inserted: ${perRow.toFixed(0)} bytes\n`);
  }

  random(): number {
    this.#seed = (Math.imul(this.#seed, 1_103_515_245) + 12_345) >>> 0;
    return (this.#seed >>> 4) % ROWS;
  }
}

function addReads(bench: Bench, subject: Subject): void {
  const { tree, place, key } = subject;
  const { cache } = tree.space;
  const cursor = new Cursor(tree);
  const pages = tree.space.header.highWater - 10;
  bench
    .add('base(), random page', () => {
      for (let i = 0; i < BATCH; i++) subject.sum += cache.base(1 + ((i * 7919) % pages));
    })
    .add('find, random row', () => {
      for (let i = 0; i < BATCH; i++) {
        putKey(key, subject.random());
        subject.sum += tree.locate(place, key, 0, 6) ? 1 : 0;
      }
    })
    .add('cursor next', () => {
      putKey(key, subject.random() >>> 1);
      cursor.seek(key, 0, 6, SEEK_GE);
      for (let i = 0; i < BATCH; i++) subject.sum += cursor.next() ? 1 : 0;
    });
}

function addWrites(bench: Bench, subject: Subject): void {
  const { tree, index, place, key, ownPage } = subject;
  const { mtr } = tree.space;
  const patch = new Uint8Array(4);
  const options = { afterEach: () => subject.settle() };
  const each = (action: (i: number) => void) => (): void => {
    for (let i = 0; i < BATCH; i++) action(i);
  };
  const editPage = (i: number): void => {
    mtr.begin();
    mtr.add(ownPage);
    mtr.u32(ownPage, 5000, i);
    subject.sum += mtr.commit();
  };
  const insertAscending = (): void => {
    putKey(key, subject.ascending++);
    insert(tree, place, key);
  };
  const insertRandom = (): void => {
    putKey(key, Math.imul(subject.ascending++, 0x9e37_79b1));
    insert(index, place, key);
  };
  const findAndSplice = (i: number): void => {
    putKey(key, subject.random());
    tree.locate(place, key, 0, 6);
    mtr.begin();
    tree.planSplice(mtr, place, VALUE.length);
    patch[0] = i;
    patch[3] = i >>> 2;
    tree.splice(mtr, place, 40, 4, patch, 0, 4);
    mtr.commit();
  };
  bench
    .add('MTR: one page, one SET of 4 bytes', each(editPage), options)
    .add('insert, ascending', each(insertAscending), options)
    .add('insert, random', each(insertRandom), options)
    .add('find and splice 4 bytes, random row', each(findAndSplice), options);
}

export interface MicroLine {
  readonly name: string;
  readonly medianNs: number;
  readonly p99Ns: number;
}

export async function benchTree(): Promise<MicroLine[]> {
  const subject = await Subject.make();
  subject.load();
  const bench = new Bench({ time: 400, warmupTime: 200 });
  addReads(bench, subject);
  addWrites(bench, subject);
  await bench.run();
  if (subject.sum === 0) throw new Error('nothing was measured');
  return bench.tasks.map((task) => microLine(task, BATCH));
}

/** Nanoseconds per operation of a task that does `batch` of them. */
export function microLine(task: Task, batch: number): MicroLine {
  const { result } = task;
  if (result.state !== 'completed') throw new Error(task.name, { cause: result });
  return {
    name: task.name,
    medianNs: (result.latency.p50 * 1e6) / batch,
    p99Ns: (result.latency.p99 * 1e6) / batch,
  };
}
