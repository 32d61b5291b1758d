import { describe, expect, it } from 'vitest';
import { SextantError } from '#core/errors.js';
import { PAGE_BYTES } from '#core/ids.js';
import { MemoryVolume } from '../volume/memory-volume.js';
import { TRUNK_ENTRIES_MAX } from './allocator.js';
import { PageSpace, untilReady } from './page-space.js';
import { Suspend } from './suspend.js';

const TYPE = 9;
const TINY = { bufferBytes: 32 * PAGE_BYTES };

function thrownBy(action: () => unknown): unknown {
  try {
    action();
  } catch (thrown) {
    return thrown;
  }
  return undefined;
}

/** Makes a page of its own with one byte in it; its number. */
function makePage(space: PageSpace, byte: number): Promise<number> {
  return untilReady(() => {
    space.mtr.begin();
    space.allocator.reserve(space.mtr, 1);
    const pageNo = space.allocator.take(space.mtr, TYPE);
    space.mtr.u8(pageNo, 100, byte);
    space.mtr.commit();
    return pageNo;
  });
}

function durable(volume: MemoryVolume): Promise<void> {
  return new Promise((resolve, reject) => {
    volume.wait(volume.nextLsn - 1, (error) => (error === undefined ? resolve() : reject(error)));
  });
}

/** Every cached page is byte for byte what the redo records make of it. */
async function expectReplay(space: PageSpace, volume: MemoryVolume, pages: number): Promise<void> {
  await durable(volume);
  const page = new Uint8Array(PAGE_BYTES);
  for (let pageNo = 0; pageNo < pages; pageNo++) {
    await volume.readPage(pageNo, page, 0);
    const base = await untilReady(() => space.cache.base(pageNo));
    expect(Buffer.compare(page, space.cache.bytes.subarray(base, base + PAGE_BYTES))).toBe(0);
  }
}

describe('page cache', () => {
  it('evicts clean pages, reads them again and never loses an edit', async () => {
    const volume = new MemoryVolume();
    const space = await PageSpace.open(volume, TINY);
    const pages: number[] = [];
    for (let i = 0; i < 200; i++) pages.push(await makePage(space, i));
    for (let i = 0; i < 200; i++) {
      const base = await untilReady(() => space.cache.base(pages[i]!));
      expect(space.cache.bytes[base + 100]).toBe(i);
    }
    expect(space.cache.status().evictions).toBeGreaterThan(300);
    await expectReplay(space, volume, 201);
  });

  it('shares one read between all who miss a page', async () => {
    const volume = new MemoryVolume();
    const space = await PageSpace.open(volume, TINY);
    const pageNo = await makePage(space, 7);
    await durable(volume);
    expect(space.cache.drop(pageNo)).toBe(true);
    const before = volume.pageReads;
    const first = thrownBy(() => space.cache.base(pageNo)) as Suspend;
    const second = thrownBy(() => space.cache.base(pageNo)) as Suspend;
    expect(first).toBeInstanceOf(Suspend);
    expect(first.ready).toBe(second.ready);
    await first.ready;
    expect(space.cache.bytes[space.cache.base(pageNo) + 100]).toBe(7);
    expect(volume.pageReads).toBe(before + 1);
  });

  it('gives the error of a read to those who wait, and reads anew afterwards', async () => {
    const volume = new MemoryVolume();
    const space = await PageSpace.open(volume, TINY);
    const read = volume.readPage.bind(volume);
    volume.readPage = () => Promise.reject(new SextantError('NO_QUORUM', 'nobody there'));
    const suspend = thrownBy(() => space.cache.base(5)) as Suspend;
    await expect(suspend.ready).rejects.toMatchObject({ code: 'NO_QUORUM' });
    volume.readPage = read;
    await untilReady(() => space.cache.base(5));
    expect(space.cache.status().readsInFlight).toBe(0);
  });

  it('drops a read that was overtaken by FORMAT', async () => {
    const volume = new MemoryVolume();
    const space = await PageSpace.open(volume, TINY);
    const suspend = thrownBy(() => space.cache.base(1)) as Suspend;
    space.mtr.begin();
    space.allocator.reserve(space.mtr, 1);
    expect(space.allocator.take(space.mtr, TYPE)).toBe(1);
    space.mtr.u8(1, 100, 42);
    space.mtr.commit();
    await suspend.ready;
    expect(space.cache.bytes[space.cache.base(1) + 100]).toBe(42);
  });

  it('keeps pinned and undurable pages; writers wait while those fill the cache', async () => {
    const volume = new MemoryVolume({ manual: true });
    const space = await PageSpace.open(volume, TINY);
    let made = 0;
    let suspend: Suspend | undefined;
    while (suspend === undefined) {
      try {
        space.mtr.begin();
        space.allocator.reserve(space.mtr, 1);
        space.allocator.take(space.mtr, TYPE);
        space.mtr.commit();
        made++;
      } catch (thrown) {
        suspend = thrown as Suspend;
      }
    }
    expect(suspend.reason).toBe('frames');
    expect(made).toBe(15);
    for (let pageNo = 1; pageNo <= made; pageNo++) {
      expect(space.cache.peek(pageNo)).toBeGreaterThanOrEqual(0);
    }
    const pinned = space.cache.pin(3);
    volume.advance();
    await suspend.ready;
    expect(space.cache.status().dirtyFrames).toBe(0);
    for (let pageNo = 100; pageNo < 200; pageNo++) await untilReady(() => space.cache.base(pageNo));
    expect(space.cache.peek(3)).toBe(pinned);
    expect(space.cache.peek(4)).toBe(-1);
    space.cache.unpin(3);
    for (let pageNo = 100; pageNo < 200; pageNo++) await untilReady(() => space.cache.base(pageNo));
    expect(space.cache.peek(3)).toBe(-1);
  });

  it('wakes a writer only when all frames that it wants are there', async () => {
    const volume = new MemoryVolume({ manual: true });
    const space = await PageSpace.open(volume, TINY);
    const pinned: number[] = [];
    for (let pageNo = 100; pageNo < 126; pageNo++) {
      await untilReady(() => space.cache.pin(pageNo));
      pinned.push(pageNo);
    }
    expect(space.cache.status().freeFrames).toBeLessThan(8);
    const suspend = thrownBy(() => space.cache.admit(8)) as Suspend;
    let woken = false;
    void suspend.ready.then(() => (woken = true));
    await new Promise(setImmediate);
    expect(woken).toBe(false);
    for (const pageNo of pinned) space.cache.unpin(pageNo);
    await suspend.ready;
    space.cache.admit(8);
  });

  it('fails everybody when the volume dies', async () => {
    const volume = new MemoryVolume({ manual: true });
    const space = await PageSpace.open(volume, TINY);
    volume.fail();
    expect(() => space.cache.base(0)).toThrow(/another writer/);
    expect(() => space.mtr.begin()).toThrow(/another writer/);
  });
});

describe('mini-transaction', () => {
  it('emits one record a page, knows their LSNs ahead and replays to the same bytes', async () => {
    const volume = new MemoryVolume();
    const space = await PageSpace.open(volume, TINY);
    const { mtr } = space;
    const pages = [await makePage(space, 1), await makePage(space, 2), await makePage(space, 3)];
    const source = Uint8Array.from({ length: 300 }, (_, i) => i);
    mtr.begin();
    for (const pageNo of pages) mtr.add(pageNo);
    const first = volume.nextLsn;
    mtr.set(pages[1]!, 200, source, 0, 300);
    expect(mtr.lsnOf(pages[1]!)).toBe(first);
    expect(mtr.lsnOf(pages[0]!)).toBe(first + 1);
    mtr.u64(pages[0]!, 3000, mtr.lsnOf(pages[0]!));
    mtr.u16(pages[0]!, 3008, 77);
    mtr.u48(pages[0]!, 3012, 2 ** 47 + 5);
    mtr.u32(pages[0]!, 3002, 123_456);
    mtr.move(pages[1]!, 210, 200, 100);
    mtr.fill(pages[1]!, 205, 3, 9);
    mtr.u8(pages[1]!, 206, 8);
    expect(mtr.lastLsn).toBe(first + 1);
    expect(mtr.commit()).toBe(first + 1);
    expect(volume.nextLsn).toBe(first + 2);
    await expectReplay(space, volume, 4);
  });

  it('writes adjoining bytes as one edit', async () => {
    const volume = new MemoryVolume();
    const space = await PageSpace.open(volume, TINY);
    const pageNo = await makePage(space, 1);
    const before = volume.redoBytes;
    space.mtr.begin();
    space.mtr.add(pageNo);
    for (let i = 0; i < 100; i++) space.mtr.u16(pageNo, 500 + i * 2, i);
    space.mtr.commit();
    expect(volume.redoBytes - before).toBe(20 + 5 + 200);
    await expectReplay(space, volume, 2);
  });

  it('turns into a page image when the edits outgrow the page', async () => {
    const volume = new MemoryVolume();
    const space = await PageSpace.open(volume, TINY);
    const pageNo = await makePage(space, 1);
    const before = volume.redoBytes;
    space.mtr.begin();
    space.mtr.add(pageNo);
    const source = new Uint8Array(4000).fill(5);
    for (let i = 0; i < 40; i++) space.mtr.set(pageNo, 9 + (i % 2) * 4100, source, 0, 4000);
    space.mtr.commit();
    expect(volume.redoBytes - before).toBeLessThan(8300);
    await expectReplay(space, volume, 2);
  });

  it('waits for log room before the first edit', async () => {
    const volume = new MemoryVolume({ lal: 20, manual: true });
    const space = await PageSpace.open(volume, TINY);
    let thrown: unknown;
    for (let i = 0; i < 20 && thrown === undefined; i++) {
      thrown = thrownBy(() => {
        space.mtr.begin();
        space.mtr.add(0);
        space.header.setRoot(space.mtr, 20, i);
        space.mtr.commit();
      });
    }
    expect(thrown).toMatchObject({ reason: 'log room' });
    volume.advance();
    await (thrown as Suspend).ready;
    space.mtr.begin();
  });

  it('poisons the cache when an error leaves it between first edit and commit', async () => {
    const volume = new MemoryVolume();
    const space = await PageSpace.open(volume, TINY);
    space.mtr.begin();
    space.mtr.add(0);
    space.header.setRoot(space.mtr, 1, 5);
    expect(() => space.mtr.begin()).toThrow(/mini-transaction/);
    expect(() => space.cache.base(0)).toThrow(/mini-transaction/);
  });
});

describe('allocator and header', () => {
  it('survives a reopen with header, roots and free list', async () => {
    const volume = new MemoryVolume();
    const space = await PageSpace.open(volume, TINY);
    const pages = [await makePage(space, 1), await makePage(space, 2)];
    space.mtr.begin();
    space.mtr.add(0);
    space.header.setRoot(space.mtr, 17, pages[0]!);
    space.header.setTxnMark(space.mtr, 2 ** 40);
    space.mtr.commit();
    await durable(volume);
    const again = await PageSpace.open(volume, TINY);
    expect(again.header.root(17)).toBe(pages[0]);
    expect(again.header.txnMark).toBe(2 ** 40);
    expect(again.header.highWater).toBe(3);
    expect(again.allocator.freePages()).toEqual([]);
  });

  it('refuses a volume of something else', async () => {
    const volume = new MemoryVolume();
    const space = await PageSpace.open(volume, TINY);
    space.mtr.begin();
    space.mtr.add(0);
    space.mtr.u32(0, 12, 99);
    space.mtr.commit();
    await durable(volume);
    await expect(PageSpace.open(volume, TINY)).rejects.toMatchObject({ code: 'WRONG_CLUSTER' });
  });

  it('takes freed pages again, through several trunks, without reading them', async () => {
    const volume = new MemoryVolume();
    const space = await PageSpace.open(volume, { bufferBytes: 64 * PAGE_BYTES });
    const { mtr, allocator } = space;
    const count = TRUNK_ENTRIES_MAX * 2 + 10;
    for (let i = 0; i < count; i++) await makePage(space, i & 0xff);
    for (let pageNo = 1; pageNo <= count; pageNo++) {
      await untilReady(() => {
        mtr.begin();
        allocator.reserveFree(mtr);
        mtr.add(pageNo);
        allocator.free(mtr, pageNo);
        mtr.commit();
      });
    }
    const free = await untilReady(() => allocator.freePages());
    expect(new Set(free).size).toBe(count);
    const reads = volume.pageReads;
    const taken = new Set<number>();
    for (let i = 0; i < count; i++) taken.add(await makePage(space, 1));
    expect(taken.size).toBe(count);
    expect(Math.max(...taken)).toBe(count);
    expect(volume.pageReads - reads).toBeLessThan(5);
    expect(space.header.freeCount).toBe(0);
    await expectReplay(space, volume, count + 1);
  });

  it('takes a page that the same MTR gave back', async () => {
    const volume = new MemoryVolume();
    const space = await PageSpace.open(volume, TINY);
    const { mtr, allocator } = space;
    const pageNo = await makePage(space, 1);
    for (let round = 0; round < 3; round++) {
      mtr.begin();
      allocator.reserve(mtr, 2);
      allocator.reserveFree(mtr);
      mtr.add(pageNo);
      mtr.u8(pageNo, 50, 1);
      allocator.free(mtr, pageNo);
      const a = allocator.take(mtr, TYPE);
      const b = allocator.take(mtr, TYPE);
      allocator.free(mtr, a === pageNo ? b : a);
      mtr.u8(pageNo, 60, 5);
      mtr.commit();
    }
    await expectReplay(space, volume, space.header.highWater);
  });

  it('grows the volume when it is full', async () => {
    const volume = new MemoryVolume({ pageCapacity: 10 });
    const space = await PageSpace.open(volume, TINY);
    for (let i = 0; i < 35; i++) await makePage(space, i);
    expect(volume.pageCapacity).toBeGreaterThanOrEqual(40);
    await expectReplay(space, volume, 36);
  });
});
