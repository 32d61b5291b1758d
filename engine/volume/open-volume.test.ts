import { afterEach, describe, expect, it } from 'vitest';
import { PAGE_BYTES } from '#core/ids.js';
import { pageLsn } from '#core/redo/page.js';
import { putFormat, putSet } from '#core/redo/edits.js';
import { FLAG_CPL, FLAG_FORMAT } from '#core/redo/record.js';
import { realWorld } from '#core/world/real/real-world.js';
import { MessageType } from '#storage-nodes/protocol/messages.js';
import { FakeCluster } from './fake-node.test-helper.js';
import { openQuorumVolume, type OpenVolumeOptions } from './open-volume.js';
import type { QuorumVolume } from './quorum-volume.js';

const world = realWorld({ log: 'silent' });
const open: { close(): Promise<void> }[] = [];
const clusters: FakeCluster[] = [];

afterEach(async () => {
  for (const volume of open.splice(0)) await volume.close();
  for (const cluster of clusters.splice(0)) await cluster.stop();
});

async function cluster(): Promise<FakeCluster> {
  const made = new FakeCluster(world);
  clusters.push(made);
  await made.start();
  return made;
}

async function openOn(
  nodes: FakeCluster,
  options: Partial<OpenVolumeOptions> = {},
): Promise<QuorumVolume> {
  const volume = await openQuorumVolume(world, {
    clusterId: nodes.name,
    nodes: nodes.addresses,
    volume: 1,
    pagesPerPg: 4,
    lal: 1000,
    create: true,
    previousWriterDead: true,
    openTimeoutMs: 5000,
    readTimeoutMs: 2000,
    ...options,
  });
  open.push(volume);
  return volume;
}

describe('addresses of other clusters', () => {
  async function mixed(count: number): Promise<Partial<OpenVolumeOptions>> {
    const other = await cluster();
    const own = clusters[0];
    return {
      nodes: own.addresses.map((node, i) =>
        i < count ? { ...node, address: other.addresses[i].address } : node,
      ),
    };
  }

  it('end the opening at once when there is no quorum without them', async () => {
    const own = await cluster();
    const from = world.clock.monotonicMs();
    const opening = openOn(own, { ...(await mixed(3)), openTimeoutMs: 20_000 });
    await expect(opening).rejects.toMatchObject({
      code: 'WRONG_CLUSTER',
      message: expect.stringMatching(
        new RegExp(
          `cluster ${own.name}: 3 nodes .*${own.addresses[0].id} at .*${clusters[1].name}`,
        ),
      ),
    });
    expect(world.clock.monotonicMs() - from).toBeLessThan(2000);
  });

  it('are but nodes that are down when there is one', async () => {
    const own = await cluster();
    const volume = await openOn(own, await mixed(2));
    expect(volume.epoch).toBe(1);
  });
});

const edits = new Uint8Array(64);

/** One MTR that formats the page and puts `value` at byte 100. */
function write(volume: QuorumVolume, pageNo: number, value: number, prev = 0): number {
  let end = putFormat(edits, 0, 7);
  end = putSet(edits, end, 100, Uint8Array.of(value), 0, 1);
  return volume.append(pageNo, FLAG_CPL | FLAG_FORMAT, prev, edits, 0, end);
}

const durable = (volume: QuorumVolume, lsn: number): Promise<void> =>
  new Promise((resolve, reject) => {
    volume.wait(lsn, (error) => (error === undefined ? resolve() : reject(error)));
  });

async function read(volume: QuorumVolume, pageNo: number): Promise<{ lsn: number; value: number }> {
  const page = new Uint8Array(PAGE_BYTES);
  await volume.readPage(pageNo, page, 0);
  return { lsn: pageLsn(new DataView(page.buffer), 0), value: page[100] };
}

describe('openVolume', () => {
  it('makes a volume, commits, reads, and finds all of it again', async () => {
    const nodes = await cluster();
    const first = await openOn(nodes);
    expect(first.epoch).toBe(1);
    expect(first.nextLsn).toBe(1001);
    const lsn = write(first, 2, 42);
    await durable(first, lsn);
    expect(await read(first, 2)).toEqual({ lsn, value: 42 });
    expect(await read(first, 3)).toEqual({ lsn: 0, value: 0 });
    const second = await openOn(nodes);
    expect(second.epoch).toBe(2);
    expect(second.nextLsn).toBe(lsn + 1001);
    expect(await read(second, 2)).toEqual({ lsn, value: 42 });
    await durable(second, write(second, 2, 43, lsn));
    expect((await read(second, 2)).value).toBe(43);
  });

  it('fences the older writer: its waiters fail and it stays dead', async () => {
    const nodes = await cluster();
    const first = await openOn(nodes);
    await durable(first, write(first, 0, 1));
    const second = await openOn(nodes);
    const lost = durable(first, write(first, 0, 2));
    await expect(lost).rejects.toMatchObject({ code: 'FENCED' });
    expect(first.confirmedWithin(1e9)).toBe(false);
    expect(() => write(first, 0, 3)).toThrow(/epoch 2/);
    await expect(first.readPage(0, new Uint8Array(PAGE_BYTES), 0)).rejects.toMatchObject({
      code: 'FENCED',
    });
    expect((await read(second, 0)).value).toBe(1);
  });

  it('commits with two nodes down and reads with three', async () => {
    const nodes = await cluster();
    const volume = await openOn(nodes);
    await nodes.nodes[0].stop();
    await nodes.nodes[1].stop();
    const lsn = write(volume, 1, 9);
    await durable(volume, lsn);
    await nodes.nodes[2].stop();
    expect((await read(volume, 1)).value).toBe(9);
    await volume.confirm();
    expect(volume.confirmedWithin(500)).toBe(true);
    let done = false;
    volume.wait(write(volume, 1, 10, lsn), (error) => {
      done = error === undefined;
    });
    await world.timers.sleep(60);
    expect(done).toBe(false);
    await nodes.nodes[0].start();
    await expect.poll(() => done, { timeout: 3000 }).toBe(true);
  });

  it('is not opened with three nodes', async () => {
    const nodes = await cluster();
    for (let i = 0; i < 3; i++) await nodes.nodes[i].stop();
    await expect(openOn(nodes, { openTimeoutMs: 300 })).rejects.toMatchObject({
      code: 'NO_QUORUM',
    });
  });

  it('refuses a volume that was never made', async () => {
    const nodes = await cluster();
    await expect(openOn(nodes, { create: false })).rejects.toMatchObject({ code: 'NOT_FOUND' });
  });

  it('leaves one winner of two openers at the same time', async () => {
    const nodes = await cluster();
    await (await openOn(nodes)).close();
    const both = await Promise.allSettled([openOn(nodes), openOn(nodes)]);
    const volumes = both.flatMap((end) => (end.status === 'fulfilled' ? [end.value] : []));
    const alive: QuorumVolume[] = [];
    for (const volume of volumes) {
      await durable(volume, write(volume, 0, 5)).then(
        () => alive.push(volume),
        () => undefined,
      );
    }
    expect(alive.length).toBe(1);
    for (const end of both) {
      if (end.status === 'rejected') expect(end.reason).toMatchObject({ code: 'FENCED' });
    }
  });

  it('waits for the lease of a predecessor that may be alive', async () => {
    const nodes = await cluster();
    await (await openOn(nodes, { previousWriterDead: false })).close();
    const started = world.clock.monotonicMs();
    await openOn(nodes, { previousWriterDead: false, leaseMs: 150 });
    expect(world.clock.monotonicMs() - started).toBeGreaterThanOrEqual(149);
  });

  it('brings a node that lost its folder back to whole', async () => {
    const nodes = await cluster();
    const volume = await openOn(nodes);
    const lsn = write(volume, 0, 1);
    await durable(volume, lsn);
    const wiped = nodes.nodes[3];
    await wiped.stop();
    wiped.wipe();
    await wiped.start();
    await expect.poll(() => volume.status().nodes[3].generation, { timeout: 3000 }).toBe(2);
    wiped.gossip(1, 0, 'node-1');
    await durable(volume, write(volume, 0, 2, lsn));
    await expect.poll(() => wiped.segment(1, 0).segment.whole, { timeout: 3000 }).toBe(true);
    await expect.poll(() => volume.status().nodes[3].sclLag, { timeout: 3000 }).toBe(0);
  });

  it('grows by a protection group, and finds it again', async () => {
    const nodes = await cluster();
    const first = await openOn(nodes);
    expect(first.pageCapacity).toBe(4);
    await Promise.all([first.grow(), first.grow()]);
    expect(first.pageCapacity).toBe(8);
    write(first, 0, 1);
    const lsn = write(first, 6, 77);
    await durable(first, lsn);
    const second = await openOn(nodes);
    expect(second.pageCapacity).toBe(8);
    expect(await read(second, 6)).toEqual({ lsn, value: 77 });
    expect((await read(second, 0)).value).toBe(1);
  });

  it('hedges a read that is late, and tells idle nodes of VDL', async () => {
    const nodes = await cluster();
    const volume = await openOn(nodes);
    await durable(volume, write(volume, 0, 3));
    for (let i = 0; i < 12; i++) await read(volume, 0);
    for (const node of nodes.nodes.slice(0, 5))
      node.admit = (type) => type !== MessageType.readPage;
    expect((await read(volume, 0)).value).toBe(3);
    expect(volume.status().hedgedReads).toBeGreaterThan(0);
    for (const node of nodes.nodes) {
      await expect.poll(() => node.segment(1, 0).segment.journaledVdl).toBe(volume.vdl);
    }
    expect(nodes.nodes[0].pointsHeard).toBeLessThanOrEqual(2);
  });

  it('resends what was lost on the way', async () => {
    const nodes = await cluster();
    const volume = await openOn(nodes);
    let drop = 3;
    for (const node of nodes.nodes.slice(0, 3)) {
      node.admit = (type) => type !== MessageType.boxcar || drop-- <= 0;
    }
    await durable(volume, write(volume, 0, 3));
    expect(volume.status().resentBoxcars).toBeGreaterThan(0);
  });
});
