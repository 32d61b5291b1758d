/**
 * Measures a store on a real disk: `node dist/storage-nodes/store/store.bench.js <folder> [--worker]`. The
 * folder is made and removed.
 *
 * | figure   | what                                                                             |
 * |----------|----------------------------------------------------------------------------------|
 * | commit   | append + commit of one boxcar of 600 bytes, write and fdatasync, on this thread  |
 * | admit    | one boxcar of six records                                                        |
 * | fold     | pages with chains of 2 KiB and more, records spread over the journal             |
 * | recovery | open + recover of a folder with a full journal                                   |
 */
import { build } from 'hdr-histogram-js';
import { PAGE_BYTES } from '#core/ids.js';
import { realWorld } from '#core/world/real/real-world.js';
import { folderInWorker, NodeStore } from './node-store.js';
import { boxcarOf, segmentKey, type ModelRecord } from './store.test-helper.js';

const COMMITS = 10_000;
const PAGES = 2_000;
const KEY = segmentKey(0);

const world = realWorld({ log: 'warn' });
const folder = process.argv[2] ?? 'store-bench';
const makeFolder = process.argv.includes('--worker') ? folderInWorker() : undefined;
if (world.disk.exists(folder)) throw new Error(`${folder} exists`);

const pageLsns = new Float64Array(PAGES);
let lsn = 0;

function nextBoxcar(records: number): Uint8Array {
  const backLink = lsn;
  const list: ModelRecord[] = [];
  for (let i = 0; i < records; i++) {
    const pageNo = world.random.below(PAGES);
    const prevPageLsn = pageLsns[pageNo];
    const data = new Uint8Array(60);
    lsn++;
    pageLsns[pageNo] = lsn;
    const isFormat = prevPageLsn === 0;
    list.push({ lsn, pageNo, prevPageLsn, isFormat, offset: 100 + (lsn % 8000), data });
  }
  return boxcarOf(0, backLink, list);
}

function now(): number {
  return world.clock.monotonicMs();
}

function report(name: string, fields: Record<string, number>): void {
  const text = Object.entries(fields).map(([key, value]) => `${key} ${value.toFixed(1)}`);
  console.log(`${name.padEnd(9)} ${text.join('  ')}`);
}

function commits(store: NodeStore): void {
  const us = build({ numberOfSignificantValueDigits: 3 });
  let admitMs = 0;
  for (let i = 0; i < COMMITS; i++) {
    const boxcar = nextBoxcar(6);
    const start = now();
    const location = store.appendBoxcar(KEY, boxcar);
    store.commit();
    const end = now();
    us.recordValue(Math.round((end - start) * 1000));
    store.admit(KEY, location, boxcar);
    admitMs += now() - end;
    if (i % 50 === 0) void store.work(0);
  }
  report('commit', {
    p50us: us.getValueAtPercentile(50),
    p99us: us.getValueAtPercentile(99),
    maxUs: us.maxValue,
  });
  report('admit', { usPerBoxcar: (admitMs * 1000) / COMMITS });
}

async function folds(store: NodeStore): Promise<void> {
  for (let i = 0; i < 4000; i++) {
    const boxcar = nextBoxcar(20);
    store.admit(KEY, store.appendBoxcar(KEY, boxcar), boxcar);
  }
  store.commit();
  store.setLimits(KEY, lsn, lsn);
  const records = store.stats.unfoldedRecords;
  const cpu = process.cpuUsage();
  const start = now();
  while (await store.work(1));
  const ms = now() - start;
  const used = process.cpuUsage(cpu);
  const pages = store.stats.foldedPages;
  report('fold', {
    pages,
    pagesPerSecond: (pages * 1000) / ms,
    recordsPerSecond: ((records - store.stats.unfoldedRecords) * 1000) / ms,
    cpuUsPerPage: (used.user + used.system) / pages,
  });
}

function recovery(): NodeStore {
  const start = now();
  const store = new NodeStore(world, folder, {});
  let boxcars = 0;
  store.recover({
    damage: (description) => console.log(description),
    state: () => {},
    boxcar: ({ segment, location, bytes }) => {
      boxcars++;
      store.admit(segment, location, bytes);
    },
  });
  report('recovery', { ms: now() - start, boxcars, journalMB: store.stats.journalBytes / 1e6 });
  return store;
}

function reads(store: NodeStore): void {
  const page = new Uint8Array(PAGE_BYTES);
  const start = now();
  for (let pageNo = 0; pageNo < PAGES; pageNo++) store.readPage(KEY, pageNo, lsn, page, 0);
  report('read', { usPerPage: ((now() - start) * 1000) / PAGES });
}

const store = new NodeStore(world, folder, {}, makeFolder);
store.recover({ damage: () => {}, state: () => {}, boxcar: () => {} });
try {
  commits(store);
  await folds(store);
  await store.close();
  const again = recovery();
  reads(again);
  await again.close();
  report('memory', { rssMB: process.memoryUsage().rss / 1e6 });
} finally {
  world.disk.remove(folder);
}
