import { expect, test } from 'vitest';
import { PAGE_BYTES } from '#core/ids.js';
import {
  boxcarOf,
  makeBench,
  modelPage,
  Mortal,
  openStore,
  segmentKey,
  segmentOf,
  TINY,
  type ModelRecord,
} from './store.test-helper.js';

/** A record that formats page `pageNo` when it is the first, or sets a few bytes. */
function record(lsn: number, pageNo: number, prevPageLsn: number, bytes = 40): ModelRecord {
  const data = new Uint8Array(bytes).fill(lsn & 0xff);
  const offset = 16 + ((lsn * 64) % 4096);
  return { lsn, pageNo, prevPageLsn, isFormat: prevPageLsn === 0, offset, data };
}

test('what was committed is there after a crash, and reads as the records say', () => {
  const bench = makeBench(1);
  const key = segmentKey(0);
  const first = openStore(bench, new Mortal());
  const boxcars = [
    boxcarOf(0, 0, [record(1, 5, 0), record(2, 6, 0)]),
    boxcarOf(0, 2, [record(3, 5, 1), record(7, 5, 3)]),
  ];
  const segment = segmentOf(first.store, first.segments, key);
  const locations = boxcars.map((boxcar) => first.store.appendBoxcar(key, boxcar));
  first.store.appendState('epoch', new TextEncoder().encode('3'));
  first.store.commit();
  boxcars.forEach((boxcar, i) => segment.take(locations[i], boxcar));
  first.store.appendState('epoch', new TextEncoder().encode('4'));
  bench.disk.faults.keepUnsynced = 0;
  bench.disk.powerCut();

  const again = openStore(bench, new Mortal());
  expect(again.damage).toEqual([]);
  expect([...again.states]).toEqual([['epoch', '3']]);
  expect(again.segments.get(key)?.scl).toBe(7);
  const page = new Uint8Array(PAGE_BYTES);
  for (const [pageNo, readPoint] of [
    [5, 1],
    [5, 3],
    [5, 7],
    [6, 7],
    [9, 7],
  ]) {
    again.store.readPage(key, pageNo, readPoint, page, 0);
    expect(Buffer.compare(page, modelPage(boxcars, pageNo, readPoint))).toBe(0);
  }
  expect(again.store.readLog(key, 0, 7, 1e6)).toEqual(boxcars);
  expect(again.store.readLog(key, 1, 3, 1e6)?.length).toBe(2);
});

test('folding changes nothing that a reader at or above PGMRPL sees', async () => {
  const bench = makeBench(2);
  const key = segmentKey(0);
  const { store, segments } = openStore(bench, new Mortal(), { ...TINY, journalBytesMax: 1e6 });
  const segment = segmentOf(store, segments, key);
  const boxcars: Uint8Array[] = [];
  let previous = 0;
  for (let lsn = 1; lsn <= 60; lsn++) {
    boxcars.push(boxcarOf(0, lsn - 1, [record(lsn, 3, previous)]));
    previous = lsn;
    const location = store.appendBoxcar(key, boxcars[lsn - 1]);
    store.commit();
    segment.take(location, boxcars[lsn - 1]);
  }
  store.setLimits(key, 50, 40);
  for (let i = 0; i < 200; i++) await store.work(1);
  expect(store.stats.foldedPages).toBeGreaterThan(0);
  expect(store.stats.unfolded(key)).toBe(20);
  const page = new Uint8Array(PAGE_BYTES);
  for (let readPoint = 40; readPoint <= 60; readPoint++) {
    store.readPage(key, 3, readPoint, page, 0);
    expect(Buffer.compare(page, modelPage(boxcars, 3, readPoint))).toBe(0);
  }
  expect(() => store.readPage(key, 3, 39, page, 0)).toThrow(/above read point/);
  await store.close();
});

test('a writer that never rests finds the journal bounded', async () => {
  const bench = makeBench(3);
  const key = segmentKey(0);
  const { store, segments } = openStore(bench, new Mortal(), {
    ...TINY,
    journalFileBytes: 64 * 1024,
    journalBytesMax: 256 * 1024,
    indexBytesMax: 1e6,
    batchPages: 16,
  });
  const segment = segmentOf(store, segments, key);
  const last = new Map<number, number>();
  let most = 0;
  for (let lsn = 1; lsn <= 4000; lsn++) {
    const pageNo = lsn % 40;
    const boxcar = boxcarOf(0, lsn - 1, [record(lsn, pageNo, last.get(pageNo) ?? 0, 4000)]);
    last.set(pageNo, lsn);
    const location = store.appendBoxcar(key, boxcar);
    store.commit();
    segment.take(location, boxcar);
    store.setLimits(key, lsn - 1, lsn - 1);
    // Half a journal file, or a quarter of all pages, between two pieces of work.
    if (lsn % 10 === 0) await store.work(0.1);
    for (let left = 10; store.isPressed && left > 0; left--) await store.work(0.1);
    most = Math.max(most, store.stats.journalBytes);
  }
  expect(most).toBeLessThan(1024 * 1024);
  await store.close();
});

test('a writer whom folding cannot follow is to be held back, unless VDL is what keeps folding back', async () => {
  const bench = makeBench(5);
  const key = segmentKey(0);
  const { store, segments } = openStore(bench, new Mortal(), {
    ...TINY,
    journalFileBytes: 64 * 1024,
    journalBytesMax: 256 * 1024,
    indexBytesMax: 1e6,
    batchPages: 4,
  });
  const segment = segmentOf(store, segments, key);
  const last = new Map<number, number>();
  let lsn = 0;
  /** 4000 bytes a record, and hardly any work beside it. */
  const write = async (count: number, foldable: boolean): Promise<void> => {
    for (let i = 0; i < count; i++) {
      const pageNo = (lsn + 1) % 40;
      const boxcar = boxcarOf(0, lsn, [record(lsn + 1, pageNo, last.get(pageNo) ?? 0, 4000)]);
      last.set(pageNo, ++lsn);
      const location = store.appendBoxcar(key, boxcar);
      store.commit();
      segment.take(location, boxcar);
      if (foldable) store.setLimits(key, lsn, lsn);
      if (lsn % 20 === 0) await store.work(0.1);
    }
  };
  await write(80, true);
  expect(store.holdMs).toBe(0);
  await write(80, true);
  const holdMs = store.holdMs;
  expect(holdMs).toBeGreaterThan(0);
  expect(holdMs).toBeLessThan(Infinity);
  await write(80, true);
  expect(store.holdMs).toBe(Infinity);
  // It is let go only by what was folded and freed.
  while (store.isPressed) await store.work(0.1);
  expect(store.holdMs).toBe(0);
  // The same again with nothing that may be folded: holding back would not help.
  await write(240, false);
  // Each look at this world's clock takes a millisecond.
  for (let i = 0; i < 1200; i++) await store.work(0.1);
  expect(store.isPressed).toBe(true);
  expect(store.holdMs).toBe(0);
  await store.close();
});

test('a disk too full for more journal is relieved by folding and freeing', async () => {
  const bench = makeBench(4);
  const key = segmentKey(0);
  const { store, segments } = openStore(bench, new Mortal(), {
    ...TINY,
    journalFileBytes: 256 * 1024,
    journalBytesMax: 512 * 1024,
    indexBytesMax: 1e6,
  });
  const segment = segmentOf(store, segments, key);
  let lsn = 0;
  let previous = 0;
  const write = (): void => {
    const boxcar = boxcarOf(0, lsn, [record(lsn + 1, 1, previous, 4000)]);
    const location = store.appendBoxcar(key, boxcar);
    store.commit();
    lsn++;
    previous = lsn;
    segment.take(location, boxcar);
    store.setLimits(key, lsn, lsn);
  };
  while (store.stats.journalBytes <= 900 * 1024) write();
  for (let i = 0; i < 40; i++) write();
  // Room for a page and a few frames, not for the zeros of half a journal file.
  bench.disk.faults.quotaBytes = bench.disk.usedBytes + 32 * 1024;
  const before = store.stats.journalBytes;
  for (let i = 0; i < 2000; i++) await store.work(1);
  expect(store.stats.journalBytes).toBeLessThan(before);
  for (let i = 0; i < 20; i++) write();
  await store.close();
});
