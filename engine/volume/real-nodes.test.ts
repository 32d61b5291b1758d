/** The volume over six real storage nodes with journals on disk, in this process. */
import { afterEach, describe, expect, it } from 'vitest';
import { PAGE_BYTES } from '#core/ids.js';
import { putFormat, putSet } from '#core/redo/edits.js';
import { pageLsn } from '#core/redo/page.js';
import { FLAG_CPL, FLAG_FORMAT } from '#core/redo/record.js';
import { TestCluster } from '#storage-nodes/node/cluster.test-helper.js';
import { NodeStore } from '#storage-nodes/store/node-store.js';
import { openQuorumVolume, type OpenVolumeOptions } from './open-volume.js';
import type { QuorumVolume } from './quorum-volume.js';

let cluster: TestCluster;
const open: QuorumVolume[] = [];

afterEach(async () => {
  for (const volume of open.splice(0)) await volume.close();
  await cluster.close();
});

async function start(): Promise<void> {
  cluster = new TestCluster();
  cluster.openStore = (world, folder) => new NodeStore(world, folder);
  await cluster.startAll();
}

async function openVolume(options: Partial<OpenVolumeOptions> = {}): Promise<QuorumVolume> {
  const volume = await openQuorumVolume(cluster.world, {
    clusterId: cluster.name,
    nodes: cluster.addresses,
    volume: 1,
    pagesPerPg: 8,
    lal: 10_000,
    create: true,
    previousWriterDead: true,
    openTimeoutMs: 10_000,
    ...options,
  });
  open.push(volume);
  return volume;
}

async function restart(id: string): Promise<void> {
  await cluster.nodes.get(id)?.close();
  await cluster.start(id);
}

const durable = (volume: QuorumVolume, lsn: number): Promise<void> =>
  new Promise((resolve, reject) => {
    volume.wait(lsn, (error) => (error === undefined ? resolve() : reject(error)));
  });

const edits = new Uint8Array(64);

/** Writes pages as one client would: it knows each page's LSN, and what it wrote last. */
class Pages {
  readonly lsns = new Map<number, number>();
  readonly values = new Map<number, number>();
  volume: QuorumVolume;

  constructor(volume: QuorumVolume) {
    this.volume = volume;
  }

  write(pageNo: number, value: number, flags = FLAG_CPL): number {
    const prev = this.lsns.get(pageNo) ?? 0;
    let end = prev === 0 ? putFormat(edits, 0, 7) : 0;
    const bytes = Uint8Array.of(value & 255, value >> 8);
    end = putSet(edits, end, 100, bytes, 0, 2);
    const format = prev === 0 ? FLAG_FORMAT : 0;
    const lsn = this.volume.append(pageNo, flags | format, prev, edits, 0, end);
    this.lsns.set(pageNo, lsn);
    this.values.set(pageNo, value);
    return lsn;
  }

  /** What is there now becomes what we know. */
  async read(pageNo: number): Promise<number> {
    const page = new Uint8Array(PAGE_BYTES);
    await this.volume.readPage(pageNo, page, 0);
    this.lsns.set(pageNo, pageLsn(new DataView(page.buffer), 0));
    return page[100] | (page[101] << 8);
  }
}

describe('over real storage nodes', () => {
  it('finds everything again after all nodes were restarted', async () => {
    await start();
    const pages = new Pages(await openVolume());
    for (let i = 0; i < 40; i++) await durable(pages.volume, pages.write(i % 8, i));
    await pages.volume.close();
    for (const id of cluster.ids) await cluster.nodes.get(id)?.close();
    await Promise.all(cluster.ids.map((id) => cluster.start(id)));
    pages.volume = await openVolume({ create: false });
    expect(pages.volume.epoch).toBe(2);
    for (let page = 0; page < 8; page++) expect(await pages.read(page)).toBe(32 + page);
  });

  it('goes on while nodes restart, and a lost folder becomes whole again', async () => {
    await start();
    const volume = await openVolume();
    const pages = new Pages(volume);
    let count = 0;
    const burst = async (): Promise<void> => {
      for (let i = 0; i < 8; i++) await durable(volume, pages.write(count % 8, ++count));
    };
    await burst();
    for (const id of ['n1', 'n4']) {
      await cluster.nodes.get(id)?.close();
      await burst();
    }
    await cluster.start('n1');
    await cluster.start('n4');
    await burst();
    await cluster.nodes.get('n2')?.close();
    cluster.lose('n2');
    await burst();
    await cluster.start('n2');
    await burst();
    const lag = (): number[] => volume.status().nodes.map((node) => node.sclLag);
    await expect.poll(lag, { timeout: 10_000 }).toEqual([0, 0, 0, 0, 0, 0]);
    const whole = (): unknown => cluster.nodes.get('n2')?.status().segments[0]?.whole;
    await expect.poll(whole, { timeout: 10_000 }).toBe(true);
    for (let page = 0; page < 8; page++) {
      expect(await pages.read(page)).toBe(pages.values.get(page));
    }
  });

  it('grows, is taken over by another engine, and keeps what was acknowledged', async () => {
    await start();
    let pages = new Pages(await openVolume());
    await pages.volume.grow();
    const acknowledged = new Map<number, number>();
    let value = 0;
    for (let round = 0; round < 3; round++) {
      const { volume } = pages;
      for (let i = 0; i < 60; i++) {
        // An MTR over both protection groups.
        const [left, right] = [value % 8, 8 + (value % 8)];
        value++;
        pages.write(left, value, 0);
        const lsn = pages.write(right, value);
        const written = value;
        volume.wait(lsn, (error) => {
          if (error === undefined) acknowledged.set(left, written);
        });
        if (i % 7 === 0) await cluster.world.timers.sleep(1);
      }
      if (round === 1) void restart('n3');
      const next = await openVolume();
      if (volume.failure === undefined) {
        const late = durable(volume, pages.write(0, ++value));
        await expect(late).rejects.toMatchObject({ code: 'FENCED' });
      }
      pages = new Pages(next);
      for (let page = 0; page < 8; page++) {
        const found = await pages.read(page);
        expect(found).toBeGreaterThanOrEqual(acknowledged.get(page) ?? 0);
        expect(await pages.read(8 + page)).toBe(found);
        acknowledged.set(page, found);
      }
    }
    expect(acknowledged.size).toBe(8);
  });
});
