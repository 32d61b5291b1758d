/** The node over the real store and the real disk. */
import { appendFileSync, readFileSync, readdirSync, rmSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { afterEach, expect, test } from 'vitest';
import { NodeStore } from '../store/node-store.js';
import { boxcar } from './boxcars.test-helper.js';
import { TestCluster, until } from './cluster.test-helper.js';
import type { TestEngine } from './cluster.test-helper.js';

const R1 = { epoch: 1, after: 0, through: 100 };
const SMALL = { journalFileBytes: 256 * 1024, journalBytesMax: 512 * 1024, ripeBytes: 256 };

let cluster: TestCluster;
afterEach(() => cluster.close());

async function started(count: number): Promise<TestEngine[]> {
  cluster = new TestCluster(count);
  cluster.openStore = (world, folder) => new NodeStore(world, folder, SMALL);
  await cluster.startAll();
  const engines = cluster.ids.map((id) => cluster.engine(id));
  for (const engine of engines) {
    await engine.seal(1, []);
    await engine.install(1, [R1]);
  }
  return engines;
}

/** `count` records in boxcars of 50, all durable; the VDL follows one boxcar behind. */
async function write(
  engines: TestEngine[],
  from: number,
  count: number,
  epoch = 1,
  backLink = from - 1,
) {
  let back = backLink;
  for (let first = from; first < from + count; first += 50) {
    const lsns = Array.from({ length: 50 }, (_, i) => first + i);
    const bytes = boxcar(back, lsns, { epoch, vdl: back, pgmrpl: back });
    for (const engine of engines) engine.boxcar(bytes);
    back = first + 49;
    if ((first - from) % 5000 === 0) await Promise.all(engines.map((e) => e.acknowledged(back)));
  }
  await Promise.all(engines.map((engine) => engine.acknowledged(back)));
  return back;
}

test('folds_and_restarts', async () => {
  const [engine] = await started(1);
  const last = await write([engine!], 101, 5000, 1, 0);
  await until(async () => (await engine!.segment()).unfoldedRecords < 1000);
  const before = await engine!.read(1, 3, last, last);
  expect(before[16]).toBe((last - ((last - 3) % 4)) & 0xff);
  await cluster.nodes.get('n1')!.close();
  await (await cluster.start('n1')).ready();
  const again = cluster.engine('n1');
  expect(await again.segment()).toMatchObject({ scl: last, whole: true });
  expect(await again.read(1, 3, last, last)).toEqual(before);
  expect(await again.seal(2, [R1])).toMatchObject({
    scl: last,
    journaledVdl: last - 50,
    pgTail: last - 50,
  });
});

test('truncation_survives_restarts_and_the_log_goes_on', async () => {
  const [engine] = await started(1);
  const last = await write([engine!], 101, 200, 1, 0);
  const tail = last - 20;
  await engine!.seal(2, [R1]);
  const ranges = [R1, { epoch: 2, after: tail, through: 1000 }];
  expect((await engine!.install(2, ranges, tail, tail)).scl).toBe(tail);
  const end = await write([engine!], 1001, 50, 2, tail);
  for (let restart = 0; restart < 2; restart++) {
    await cluster.nodes.get('n1')!.close();
    await (await cluster.start('n1')).ready();
    expect(await cluster.engine('n1').segment()).toMatchObject({
      scl: end,
      whole: true,
      listEpoch: 2,
    });
  }
});

test('torn_journal_tail_is_cut_and_is_no_damage', async () => {
  const [engine] = await started(1);
  const last = await write([engine!], 101, 100, 1, 0);
  await cluster.nodes.get('n1')!.close();
  const folder = join(cluster.root, 'n1', 'journal');
  const files = readdirSync(folder).filter((name) => name.endsWith('.journal'));
  appendFileSync(join(folder, files.at(-1)!), new Uint8Array(100).fill(7));
  await (await cluster.start('n1')).ready();
  expect(await cluster.engine('n1').segment()).toMatchObject({ scl: last, whole: true });
});

test('freed_log_is_hydrated_from_real_pages', async () => {
  const engines = await started(6);
  await cluster.nodes.get('n6')!.close();
  const five = engines.slice(0, 5);
  let last = await write(five, 101, 20_000, 1, 0);
  // Every journal is several times its limit: the oldest log has gone.
  await until(
    () =>
      cluster.ids.slice(0, 5).every((id) => {
        const node = cluster.nodes.get(id)!;
        const host = [...node.hosts.values()][0]!;
        return node.store.readLog(host.key, 0, last, 1) === null;
      }),
    8000,
  );
  await (await cluster.start('n6')).ready();
  const late = cluster.engine('n6');
  await until(async () => (await late.segment()).scl === last, 5000);
  last = await write([...five], last + 1, 50);
  await until(async () => (await late.segment()).scl === last, 5000);
  for (const pageNo of [0, 1, 2, 3]) {
    expect(await late.read(1, pageNo, last, last)).toEqual(
      await five[0]!.read(1, pageNo, last, last),
    );
  }
  await cluster.nodes.get('n6')!.close();
  await (await cluster.start('n6')).ready();
  expect(await cluster.engine('n6').segment()).toMatchObject({ scl: last, whole: true });
}, 20_000);

test('missing_journal_file_is_damage_and_gossip_repairs', async () => {
  const engines = await started(6);
  const last = await write(engines, 101, 2000, 1, 0);
  await cluster.nodes.get('n1')!.close();
  const folder = join(cluster.root, 'n1', 'journal');
  const files = readdirSync(folder)
    .filter((name) => name.endsWith('.journal'))
    .sort();
  rmSync(join(folder, files[0]!));
  // No register was ever written, so the node finds none and must still not count.
  await (await cluster.start('n1')).ready();
  const engine = cluster.engine('n1');
  expect((await engine.status()).generation).toBe(2);
  await engine.install(1, [R1], 0, last);
  await until(async () => (await engine.segment()).scl === last, 5000);
});

test('damaged_page_index_serves_nothing_until_peers_have_replaced_it', async () => {
  const engines = await started(6);
  // Page 9 is written once, at the very beginning: the log soon lacks it, only its folded page is there.
  const first = boxcar(0, [101], { pageOf: () => 9 });
  for (const engine of engines) engine.boxcar(first);
  let last = 101;
  const index = (): string[] =>
    readdirSync(join(cluster.root, 'n1', 'pages')).filter((name) => name.startsWith('index-'));
  const freed = (id: string): boolean => {
    const node = cluster.nodes.get(id)!;
    return node.store.readLog([...node.hosts.keys()][0]!, 0, last, 1) === null;
  };
  // A snapshot of the page index is made only when a file with folded pages in it is freed.
  for (let round = 0; index().length === 0 || !cluster.ids.every(freed); round++) {
    expect(round).toBeLessThan(20);
    last = await write(engines, last + 1, 5000);
    await new Promise((resolve) => setTimeout(resolve, 100));
  }
  const good = await engines[0]!.read(1, 9, last, last);
  expect(good[16]).toBe(101);
  await cluster.nodes.get('n1')!.close();
  const path = join(cluster.root, 'n1', 'pages', index()[0]!);
  const bytes = readFileSync(path);
  bytes[40]! ^= 1;
  writeFileSync(path, bytes);
  const others = cluster.ids.slice(1);
  // Nobody to copy from yet: what is left here must not pass for the whole.
  for (const id of others) await cluster.nodes.get(id)!.close();
  const starting = cluster.start('n1');
  await Promise.all(others.slice(0, 3).map(async (id) => (await cluster.start(id)).ready()));
  await (await starting).ready();
  const engine = cluster.engine('n1');
  await engine.install(1, [R1], 0, last);
  await until(async () => {
    const page = await engine.read(1, 9, last, last);
    expect(page).toEqual(good);
    return true;
  }, 8000);
  expect(await engine.segment()).toMatchObject({ scl: last, whole: false });
  for (const pageNo of [0, 1, 2, 3]) {
    expect(await engine.read(1, pageNo, last, last)).toEqual(
      await cluster.engine('n2').read(1, pageNo, last, last),
    );
  }
}, 20_000);
