/**
 * What the hot paths of cache, MTR and tree cost, over a volume that only counts. Run the compiled file:
 *
 *     node dist/engine/btree/btree.bench.js
 */
import { Bench } from 'tinybench';
import { PAGE_BYTES } from '#core/ids.js';
import { PageSpace, untilReady } from '../pages/page-space.js';
import { MemoryVolume } from '../volume/memory-volume.js';
import { BTree, Place } from './btree.js';
import { Cursor } from './cursor.js';

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

async function main(): Promise<void> {
  const volume = new CountingVolume({ lal: Number.MAX_SAFE_INTEGER });
  const space = await PageSpace.open(volume, { bufferBytes: 64 * 1024 * PAGE_BYTES });
  const settle = (): void => {
    volume.vdl = volume.nextLsn - 1;
    volume.onVdl(volume.vdl);
  };
  const tree = await makeTree(space);
  const place = new Place();
  const key = new Uint8Array(6);
  const before = volume.redoBytes;
  for (let id = 0; id < ROWS; id++) {
    putKey(key, id);
    insert(tree, place, key);
    if (id % BATCH === 0) settle();
  }
  settle();
  const perRow = (volume.redoBytes - before) / ROWS;
  process.stdout.write(`redo per 100-byte row inserted: ${perRow.toFixed(0)} bytes\n`);

  const { cache } = space;
  let ascending = ROWS;
  let sum = 0;
  let seed = 1;
  const random = (): number => {
    seed = (Math.imul(seed, 1_103_515_245) + 12_345) >>> 0;
    return (seed >>> 4) % ROWS;
  };
  const cursor = new Cursor(tree);
  const index = await makeTree(space);
  const pages = space.header.highWater - 10;
  const patch = new Uint8Array(4);
  const bench = new Bench({ time: 400, warmupTime: 200 });
  const options = { afterEach: settle };
  bench
    .add('base(), random page', () => {
      for (let i = 0; i < BATCH; i++) sum += cache.base(1 + ((i * 7919) % pages));
    })
    .add('find, random row', () => {
      for (let i = 0; i < BATCH; i++) {
        putKey(key, random());
        sum += tree.locate(place, key, 0, 6) ? 1 : 0;
      }
    })
    .add('cursor next', () => {
      putKey(key, random() >>> 1);
      cursor.seek(key, 0, 6, 0);
      for (let i = 0; i < BATCH; i++) sum += cursor.next() ? 1 : 0;
    })
    .add(
      'MTR: one page, one SET of 4 bytes',
      () => {
        for (let i = 0; i < BATCH; i++) {
          const { mtr } = space;
          mtr.begin();
          mtr.add(5);
          mtr.u32(5, 5000, i);
          sum += mtr.commit();
        }
      },
      options,
    )
    .add(
      'insert, ascending',
      () => {
        for (let i = 0; i < BATCH; i++) {
          putKey(key, ascending++);
          insert(tree, place, key);
        }
      },
      options,
    )
    .add(
      'insert, random',
      () => {
        for (let i = 0; i < BATCH; i++) {
          key.set([1, 2], 0);
          putKey(key, Math.imul(ascending++, 0x9e37_79b1));
          insert(index, place, key);
          key.fill(0, 0, 2);
        }
      },
      options,
    )
    .add(
      'find and splice 4 bytes, random row',
      () => {
        for (let i = 0; i < BATCH; i++) {
          const { mtr } = space;
          putKey(key, random());
          tree.locate(place, key, 0, 6);
          mtr.begin();
          tree.planSplice(mtr, place, 100);
          patch[0] = i;
          patch[3] = i >>> 2;
          tree.splice(mtr, place, 40, 4, patch, 0, 4);
          mtr.commit();
        }
      },
      options,
    );
  await bench.run();
  for (const task of bench.tasks) {
    const { result } = task;
    if (result.state !== 'completed')
      throw new Error(`${task.name}: ${JSON.stringify(result)}`, { cause: result });
    const ns = (result.latency.p50 * 1e6) / BATCH;
    process.stdout.write(`${task.name.padEnd(40)} ${ns.toFixed(0).padStart(6)} ns\n`);
  }
  if (sum === 0) throw new Error('nothing was measured');
}

await main();
