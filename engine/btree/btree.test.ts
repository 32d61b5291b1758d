import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { PAGE_BYTES } from '#core/ids.js';
import { PageSpace, untilReady } from '../pages/page-space.js';
import { Suspend } from '../pages/suspend.js';
import { MemoryVolume } from '../volume/memory-volume.js';
import {
  BTree,
  CELL_BYTES_MAX,
  KEY_BYTES_MAX,
  Place,
  SEEK_GE,
  SEEK_GT,
  SEEK_LE,
  SEEK_LT,
} from './btree.js';
import { checkTree } from './check.js';
import { Cursor } from './cursor.js';

const FRAMES = 40;

function bytesOf(text: string): Uint8Array {
  return new Uint8Array(Buffer.from(text, 'latin1'));
}

class Harness {
  readonly volume: MemoryVolume;
  readonly space: PageSpace;
  readonly tree: BTree;
  readonly place = new Place();
  readonly model = new Map<string, string>();

  static async make(options: { frames?: number; slow?: boolean } = {}): Promise<Harness> {
    const volume = new MemoryVolume(options.slow === true ? { schedule: setImmediate } : {});
    const space = await PageSpace.open(volume, {
      bufferBytes: (options.frames ?? FRAMES) * PAGE_BYTES,
    });
    const root = await untilReady(() => {
      space.mtr.begin();
      BTree.planCreate(space, space.mtr);
      const pageNo = BTree.create(space, space.mtr);
      space.mtr.commit();
      return pageNo;
    });
    return new Harness(volume, space, new BTree(space, root));
  }

  constructor(volume: MemoryVolume, space: PageSpace, tree: BTree) {
    this.volume = volume;
    this.space = space;
    this.tree = tree;
  }

  /** Inserts, or replaces the whole value. */
  async put(key: string, value: string): Promise<void> {
    const { place, tree } = this;
    const { mtr } = this.space;
    const k = bytesOf(key);
    const v = bytesOf(value);
    await untilReady(() => {
      const found = tree.locate(place, k, 0, k.length);
      mtr.begin();
      if (found) {
        tree.planSplice(mtr, place, v.length);
        tree.splice(mtr, place, 0, place.valueEnd - place.valueStart, v, 0, v.length);
      } else {
        tree.planInsert(mtr, place, k, 0, k.length, v.length);
        tree.insert(mtr, place, k, 0, k.length, v, 0, v.length);
      }
      expect(this.at(place.keyStart, place.keyEnd)).toBe(key);
      expect(this.at(place.valueStart, place.valueEnd)).toBe(value);
      mtr.commit();
    });
    this.model.set(key, value);
  }

  async remove(key: string): Promise<boolean> {
    const { place, tree } = this;
    const { mtr } = this.space;
    const k = bytesOf(key);
    const found = await untilReady(() => {
      if (!tree.locate(place, k, 0, k.length)) return false;
      mtr.begin();
      tree.planDelete(mtr, place);
      tree.delete(mtr, place);
      mtr.commit();
      return true;
    });
    expect(found).toBe(this.model.delete(key));
    return found;
  }

  async splice(key: string, at: number, removed: number, added: string): Promise<void> {
    const old = this.model.get(key);
    if (old === undefined) return;
    const from = Math.min(at, old.length);
    const count = Math.min(removed, old.length - from);
    const value = old.slice(0, from) + added + old.slice(from + count);
    const k = bytesOf(key);
    if (4 + k.length + value.length > CELL_BYTES_MAX) return;
    const { place, tree } = this;
    const { mtr } = this.space;
    await untilReady(() => {
      expect(tree.locate(place, k, 0, k.length)).toBe(true);
      mtr.begin();
      tree.planSplice(mtr, place, value.length);
      tree.splice(mtr, place, from, count, bytesOf(added), 0, added.length);
      expect(this.at(place.valueStart, place.valueEnd)).toBe(value);
      mtr.commit();
    });
    this.model.set(key, value);
  }

  async get(key: string): Promise<string | undefined> {
    const k = bytesOf(key);
    return untilReady(() =>
      this.tree.locate(this.place, k, 0, k.length)
        ? this.at(this.place.valueStart, this.place.valueEnd)
        : undefined,
    );
  }

  at(start: number, end: number): string {
    return Buffer.from(this.space.cache.bytes.subarray(start, end)).toString('latin1');
  }

  sorted(): string[] {
    return [...this.model.keys()].sort((a, b) => Buffer.compare(bytesOf(a), bytesOf(b)));
  }

  /** Structure, contents both ways, no page lost, and redo that makes the same bytes. */
  async verify(): Promise<void> {
    const shape = await checkTree(this.space, this.tree.rootPageNo);
    expect(shape.cells).toBe(this.model.size);
    const cursor = new Cursor(this.tree);
    const up: string[] = [];
    let more = await untilReady(() => cursor.first());
    while (more) {
      const key = this.at(cursor.keyStart, cursor.keyEnd);
      expect(this.at(cursor.valueStart, cursor.valueEnd)).toBe(this.model.get(key));
      up.push(key);
      more = await untilReady(() => cursor.next());
    }
    const down: string[] = [];
    more = await untilReady(() => cursor.last());
    while (more) {
      down.push(this.at(cursor.keyStart, cursor.keyEnd));
      more = await untilReady(() => cursor.previous());
    }
    expect(up).toEqual(this.sorted());
    expect(down.toReversed()).toEqual(up);
    const { allocator, header } = this.space;
    const free = await untilReady(() => allocator.freePages());
    expect(shape.pages.length + free.length + 1).toBe(header.highWater);
    expect(new Set([...shape.pages, ...free, 0]).size).toBe(header.highWater);
    await this.verifyReplay();
  }

  async verifyReplay(): Promise<void> {
    const { volume, space } = this;
    await new Promise<void>((resolve) => volume.wait(volume.nextLsn - 1, () => resolve()));
    const page = new Uint8Array(PAGE_BYTES);
    for (let pageNo = 0; pageNo < space.header.highWater; pageNo++) {
      await volume.readPage(pageNo, page, 0);
      const base = space.cache.peek(pageNo);
      if (base < 0) continue;
      const cached = space.cache.bytes.subarray(base, base + PAGE_BYTES);
      if (Buffer.compare(page, cached) !== 0)
        throw new Error(`page ${pageNo} differs from its redo`);
    }
  }
}

const smallKey = fc.string({ unit: fc.constantFrom('a', 'b', '\xff', '\0'), maxLength: 6 });
const bigKey = fc
  .tuple(fc.constantFrom('k', 'm', 'z'), fc.nat(KEY_BYTES_MAX - 10), fc.nat(50))
  .map(([letter, length, n]) => letter.repeat(length) + n);
const numberKey = fc.nat(400).map((n) => String(n).padStart(6, '0'));
const key = fc.oneof(
  { weight: 1, arbitrary: smallKey },
  { weight: 1, arbitrary: bigKey },
  { weight: 4, arbitrary: numberKey },
);
const text = fc
  .tuple(fc.constantFrom('x', 'y', 'w'), fc.oneof(fc.nat(40), fc.nat(700)))
  .map(([letter, length]) => letter.repeat(length));
const operation = fc.oneof(
  { weight: 5, arbitrary: fc.record({ kind: fc.constant('put' as const), key, value: text }) },
  { weight: 2, arbitrary: fc.record({ kind: fc.constant('remove' as const), key }) },
  {
    weight: 3,
    arbitrary: fc.record({
      kind: fc.constant('splice' as const),
      key,
      at: fc.nat(300),
      removed: fc.nat(100),
      added: text,
    }),
  },
);

describe('B+tree', () => {
  it('agrees with a sorted map under random edits in a tiny cache', async () => {
    await fc.assert(
      fc.asyncProperty(
        fc.array(operation, { minLength: 20, maxLength: 250, size: 'max' }),
        fc.boolean(),
        async (operations, removeAll) => {
          const harness = await Harness.make();
          for (const op of operations) {
            if (op.kind === 'put') {
              const room = CELL_BYTES_MAX - 4 - op.key.length;
              await harness.put(op.key, op.value.slice(0, room));
            } else if (op.kind === 'remove') {
              await harness.remove(op.key);
            } else {
              await harness.splice(op.key, op.at, op.removed, op.added);
            }
          }
          await harness.verify();
          if (!removeAll) return;
          for (const each of Array.from(harness.model.keys())) await harness.remove(each);
          await harness.verify();
          const shape = await checkTree(harness.space, harness.tree.rootPageNo);
          expect(shape.levels).toBeLessThanOrEqual(2);
        },
      ),
      { numRuns: 40 },
    );
  });

  it('keeps its structure with long keys, where inner nodes hold few', async () => {
    await fc.assert(
      fc.asyncProperty(
        fc.array(
          fc.record({ n: fc.nat(300), length: fc.nat(KEY_BYTES_MAX - 10), remove: fc.nat(9) }),
          { minLength: 200, maxLength: 400, size: 'max' },
        ),
        async (steps) => {
          const harness = await Harness.make({ frames: 64 });
          for (const { n, length, remove } of steps) {
            // The same long beginning, so that separators cannot be cut short.
            const long = `${'p'.repeat(length)}${String(n).padStart(4, '0')}`;
            if (remove < 3) await harness.remove(long);
            else await harness.put(long, 'v');
            const old = remove > 7 ? Array.from(harness.model.keys())[n >>> 2] : undefined;
            if (old !== undefined) await harness.remove(old);
          }
          await harness.verify();
        },
      ),
      { numRuns: 12 },
    );
  });

  it('grows and shrinks over several levels with misses on the way', async () => {
    const harness = await Harness.make({ slow: true });
    const keys: string[] = [];
    for (let i = 0; i < 1200; i++) keys.push(`${'p'.repeat(150)}${(i * 7919) % 1200}`);
    for (const [i, each] of keys.entries()) await harness.put(each, 'v'.repeat(i % 300));
    await harness.verify();
    const shape = await checkTree(harness.space, harness.tree.rootPageNo);
    expect(shape.levels).toBeGreaterThanOrEqual(3);
    expect(shape.pages.length).toBeGreaterThan(FRAMES);
    expect(harness.volume.pageReads).toBeGreaterThan(200);
    for (const each of keys.slice(0, 1100)) await harness.remove(each);
    await harness.verify();
    const rest = await checkTree(harness.space, harness.tree.rootPageNo);
    expect(rest.pages.length).toBeLessThan(shape.pages.length / 4);
    for (const each of keys.slice(1100))
      expect(await harness.get(each)).toBe(harness.model.get(each));
  });

  it('fills leaves when keys ascend, and leaves room when asked to', async () => {
    for (const [fill, low, high] of [
      [8168, 0.97, 1],
      [7350, 0.85, 0.91],
    ] as const) {
      const harness = await Harness.make({ frames: 400 });
      harness.tree.appendFillBytes = fill;
      for (let i = 0; i < 4000; i++) await harness.put(String(i).padStart(8, '0'), 'v'.repeat(60));
      const shape = await checkTree(harness.space, harness.tree.rootPageNo);
      expect(shape.leafFill).toBeGreaterThan(low);
      expect(shape.leafFill).toBeLessThanOrEqual(high);
      await harness.verify();
    }
  });

  it('works as a queue: pages at the left come back while the right grows', async () => {
    const harness = await Harness.make();
    for (let i = 0; i < 3000; i++) {
      await harness.put(String(i).padStart(8, '0'), 'v'.repeat(100));
      if (i >= 200) await harness.remove(String(i - 200).padStart(8, '0'));
    }
    await harness.verify();
    expect(harness.space.header.highWater).toBeLessThan(20);
  });

  it('writes little redo for a small change', async () => {
    const harness = await Harness.make();
    for (let i = 0; i < 50; i++) await harness.put(`key${100 + i}`, 'abcdefghij'.repeat(8));
    const redo = async (action: () => Promise<void>): Promise<number> => {
      const before = harness.volume.redoBytes;
      await action();
      return harness.volume.redoBytes - before;
    };
    expect(await redo(() => harness.splice('key120', 10, 4, 'ABCD'))).toBe(20 + 5 + 4);
    expect(await redo(() => harness.splice('key120', 10, 4, 'ABCD'))).toBe(0);
    expect(await redo(() => harness.splice('key120', 40, 4, '0123456789'))).toBeLessThan(90);
    expect(await redo(() => harness.splice('key120', 40, 10, 'xy'))).toBeLessThan(60);
    expect(await redo(() => harness.put('key1205', 'v'))).toBeLessThan(80);
    await harness.verify();
  });

  it('edits two trees in one MTR', async () => {
    const { space, tree, place } = await Harness.make();
    const { mtr } = space;
    mtr.begin();
    BTree.planCreate(space, mtr);
    const other = new BTree(space, BTree.create(space, mtr));
    mtr.commit();
    const second = new Place();
    const value = bytesOf('v'.repeat(500));
    for (let i = 0; i < 200; i++) {
      const k = bytesOf(String(i * 37).padStart(5, '0'));
      await untilReady(() => {
        tree.locate(place, k, 0, k.length);
        other.locate(second, k, 0, k.length);
        mtr.begin();
        tree.planInsert(mtr, place, k, 0, k.length, value.length);
        other.planInsert(mtr, second, k, 0, k.length, value.length);
        tree.insert(mtr, place, k, 0, k.length, value, 0, value.length);
        other.insert(mtr, second, k, 0, k.length, value, 0, value.length);
        mtr.commit();
      });
    }
    for (const each of [tree, other]) {
      expect((await checkTree(space, each.rootPageNo)).cells).toBe(200);
    }
  });

  it('frees all pages of a tree in steps', async () => {
    const harness = await Harness.make();
    for (let i = 0; i < 500; i++) await harness.put(`${i}`.repeat(30), 'v'.repeat(500));
    const { space, tree } = harness;
    while (!(await untilReady(() => tree.destroyStep(space.mtr))));
    expect((await untilReady(() => space.allocator.freePages())).length).toBe(
      space.header.highWater - 1,
    );
    await harness.verifyReplay();
  });

  it('refuses a page that is no node', async () => {
    const { space, place } = await Harness.make();
    const tree = new BTree(space, 0);
    expect(() => tree.locate(place, bytesOf('a'), 0, 1)).toThrow(/not a node/);
  });
});

describe('cursor', () => {
  it('seeks the nearest cell in each of four ways', async () => {
    const harness = await Harness.make();
    for (let i = 0; i < 600; i += 2) await harness.put(String(i).padStart(4, '0'), 'v'.repeat(80));
    const cursor = new Cursor(harness.tree);
    const seek = async (n: number, mode: number): Promise<number | null> => {
      const k = bytesOf(String(n).padStart(4, '0'));
      const found = await untilReady(() => cursor.seek(k, 0, k.length, mode));
      return found ? Number(harness.at(cursor.keyStart, cursor.keyEnd)) : null;
    };
    for (let n = 0; n < 600; n++) {
      const even = n % 2 === 0;
      expect(await seek(n, SEEK_GE)).toBe(n === 599 ? null : even ? n : n + 1);
      expect(await seek(n, SEEK_GT)).toBe(n >= 598 ? null : even ? n + 2 : n + 1);
      expect(await seek(n, SEEK_LE)).toBe(even ? n : n - 1);
      expect(await seek(n, SEEK_LT)).toBe(n === 0 ? null : even ? n - 2 : n - 1);
    }
  });

  it('reads ahead: a cold scan waits for few of its pages', async () => {
    const harness = await Harness.make({ frames: 200, slow: true });
    for (let i = 0; i < 5000; i++) await harness.put(String(i).padStart(5, '0'), 'v'.repeat(100));
    const { space, volume } = harness;
    await harness.verifyReplay();
    const { pages } = await checkTree(space, harness.tree.rootPageNo);
    for (const forward of [true, false]) {
      for (const pageNo of pages) space.cache.drop(pageNo);
      const reads = volume.pageReads;
      const cursor = new Cursor(harness.tree);
      // A wait for a read that nobody had asked for before.
      let coldWaits = 0;
      const move = async (step: () => boolean): Promise<boolean> => {
        for (;;) {
          const before = space.cache.status().readsInFlight;
          try {
            return step();
          } catch (thrown) {
            if (!(thrown instanceof Suspend)) throw thrown;
            if (before === 0) coldWaits++;
            await thrown.ready;
          }
        }
      };
      let more = await move(() => (forward ? cursor.first() : cursor.last()));
      let moves = 1;
      for (; more; moves++) more = await move(() => (forward ? cursor.next() : cursor.previous()));
      expect(moves).toBe(5001);
      expect(volume.pageReads - reads).toBe(pages.length);
      expect(coldWaits).toBeGreaterThan(0);
      expect(coldWaits).toBeLessThan(pages.length / 4);
    }
  });

  it('goes on at its key whatever happens to its leaf', async () => {
    await fc.assert(
      fc.asyncProperty(
        fc.array(fc.record({ key: numberKey, remove: fc.boolean(), forward: fc.boolean() }), {
          minLength: 50,
          maxLength: 300,
          size: 'max',
        }),
        async (steps) => {
          const harness = await Harness.make();
          for (let i = 0; i < 400; i += 3) {
            await harness.put(String(i).padStart(6, '0'), 'v'.repeat(200));
          }
          const cursor = new Cursor(harness.tree);
          await untilReady(() => cursor.first());
          for (const step of steps) {
            if (step.remove) await harness.remove(step.key);
            else await harness.put(step.key, 'w'.repeat(300));
            const old = Buffer.from(cursor.key.subarray(0, cursor.keyLength)).toString('latin1');
            const moved = await untilReady(() =>
              step.forward ? cursor.next() : cursor.previous(),
            );
            const sorted = harness.sorted();
            const expected = step.forward
              ? sorted.find((each) => each > old)
              : sorted.findLast((each) => each < old);
            expect(moved ? harness.at(cursor.keyStart, cursor.keyEnd) : undefined).toBe(expected);
            if (!moved) await untilReady(() => cursor.first());
            if (!cursor.valid) return;
          }
        },
      ),
      { numRuns: 25 },
    );
  });
});

describe('structure checker', () => {
  it('sees keys out of order and bytes that are miscounted', async () => {
    for (const offset of [14, 8190]) {
      const { space, tree } = await (async () => {
        const harness = await Harness.make();
        await harness.put('a', '1');
        await harness.put('b', '2');
        return harness;
      })();
      const base = space.cache.base(tree.rootPageNo);
      if (offset === 14) space.cache.view.setUint16(base + 14, 3, true);
      else space.cache.bytes[base + 8190] = 0x7a;
      await expect(checkTree(space, tree.rootPageNo)).rejects.toMatchObject({ code: 'CORRUPTION' });
    }
  });
});
