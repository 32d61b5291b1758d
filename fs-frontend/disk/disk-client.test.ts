import { describe, expect, it } from 'vitest';
import { SimCluster } from './cluster.test-helper.js';
import { Region, type RegisterWrite } from './disk.js';

const create = { create: {} };

function write(region: Region, index: number, clock: number, fill: number, count = 1, token = 1) {
  const size = region === Region.inodes ? 512 : 4096;
  const tag = { clock, token };
  return {
    region,
    index,
    tag,
    bytes: new Uint8Array(count * size).fill(fill),
  } satisfies RegisterWrite;
}

const code = (name: string) => expect.objectContaining({ code: name });

describe('disk on storage nodes', () => {
  it('reads zeros, then what was written, in every region', async () => {
    const cluster = new SimCluster(1);
    await cluster.start();
    const disk = await cluster.open(1, create);
    const regions = Object.values(Region);
    const reads = regions.map((region) => ({ region, index: 14, count: 4 }));
    for (const { bytes, tags } of await cluster.run(disk.read(reads))) {
      expect(bytes.every((byte) => byte === 0)).toBe(true);
      expect(tags[3]).toEqual({ clock: 0, token: 0 });
    }
    const writes = regions.map((region) => write(region, 15, 5, region + 1, 2));
    await cluster.run(disk.write(writes));
    const other = await cluster.open(2);
    const found = await cluster.run(other.read(reads));
    regions.forEach((region, i) => {
      const size = found[i].bytes.length / 4;
      const fills = [0, 1, 2, 3].map((k) => found[i].bytes[k * size + 9]);
      expect(fills).toEqual([0, region + 1, region + 1, 0]);
      expect(found[i].tags.map((tag) => tag.clock)).toEqual([0, 5, 5, 0]);
    });
  });

  it('writes large and small, and reads them after all nodes restarted', async () => {
    const cluster = new SimCluster(2);
    await cluster.start();
    const disk = await cluster.open(1, create);
    const big = new Uint8Array(3 * 1024 * 1024);
    for (let i = 0; i < big.length; i += 4096) big[i] = (i / 4096) % 251;
    const tag = { clock: 9, token: 1 };
    await cluster.run(disk.write([{ region: Region.data, index: 5, tag, bytes: big }]));
    for (const id of cluster.nodes.keys()) cluster.crash(id);
    for (const process of cluster.nodes.values()) process.start();
    await cluster.sim.runUntil(() => cluster.isUp(), 20_000, 'all up again');
    const read = { region: Region.data, index: 5, count: big.length / 4096 };
    const [{ bytes }] = await cluster.run(disk.read([read]));
    expect(Buffer.compare(bytes, big)).toBe(0);
  });

  it('needs a write quorum, and survives a zone', async () => {
    const cluster = new SimCluster(3);
    await cluster.start();
    const disk = await cluster.open(1, create);
    cluster.crash('node-1');
    cluster.crash('node-2');
    await cluster.run(disk.write([write(Region.metadata, 1, 1, 1), write(Region.data, 1, 1, 1)]));
    cluster.crash('node-3');
    const late = disk.write([write(Region.metadata, 1, 2, 2)], { deadlineMs: 500 });
    await expect(cluster.run(late)).rejects.toEqual(code('NO_QUORUM'));
    await cluster.restart('node-3');
    await cluster.run(disk.write([write(Region.metadata, 1, 3, 3)]));
    const [{ bytes }] = await cluster.run(
      disk.read([{ region: Region.metadata, index: 1, count: 1 }]),
    );
    expect(bytes[7]).toBe(3);
  });

  it('answers an older tag with a conflict', async () => {
    const cluster = new SimCluster(4);
    await cluster.start();
    const disk = await cluster.open(1, create);
    await cluster.run(disk.write([write(Region.inodes, 3, 7, 7)]));
    const older = disk.write([write(Region.inodes, 3, 6, 6)]);
    await expect(cluster.run(older)).rejects.toEqual(code('CONFLICT'));
    await cluster.run(disk.write([write(Region.inodes, 3, 7, 7)]));
  });

  it('fences a token: its writes are refused, and what it left is listed', async () => {
    const cluster = new SimCluster(5);
    await cluster.start();
    const one = await cluster.open(1, create);
    const two = await cluster.open(2);
    await cluster.run(one.write([write(Region.metadata, 1, 4, 1)]));
    one.reportComplete(4);
    await cluster.run(one.write([write(Region.metadata, 2, 5, 1), write(Region.data, 9, 5, 1)]));
    const fenced = await cluster.run(two.fence(1));
    expect(fenced.listed.map(({ region, index }) => [region, index])).toEqual([
      [Region.metadata, 2],
      [Region.data, 9],
    ]);
    expect(fenced).toMatchObject({ fenceEpoch: 1, clock: 5 });
    await expect(cluster.run(one.write([write(Region.metadata, 3, 6, 1)]))).rejects.toEqual(
      code('FENCED'),
    );
    await expect(
      cluster.run(one.read([{ region: Region.metadata, index: 1, count: 1 }])),
    ).rejects.toEqual(code('FENCED'));
    // A live reader repairs a dead writer's register: its own token, the dead one's tag.
    await cluster.run(two.write([write(Region.metadata, 2, 5, 1)]));
  });

  it('a node that was away during a fence gets in step before it serves', async () => {
    const cluster = new SimCluster(6);
    await cluster.start();
    const zombie = cluster.client('zombie');
    const one = await cluster.open(1, create, zombie.world);
    const two = await cluster.open(2);
    await cluster.run(one.write([write(Region.metadata, 1, 4, 4)]));
    // Only node-6 gets the last write of token 1, and then misses the fence.
    for (const id of ['node-1', 'node-2', 'node-3', 'node-4', 'node-5']) {
      cluster.sim.network.partition(['zombie'], [id]);
    }
    one.write([write(Region.metadata, 1, 5, 5)], { deadlineMs: 300 }).catch(() => undefined);
    await cluster.sim.runFor(500);
    cluster.sim.network.partition(['node-6'], ['client-1']);
    const { fenceEpoch } = await cluster.run(two.fence(1));
    cluster.sim.network.heal();
    const three = await cluster.open(3);
    expect(three.fenceEpoch).toBe(fenceEpoch);
    cluster.crash('node-1');
    cluster.crash('node-2');
    const read = [{ region: Region.metadata, index: 1, count: 1 }];
    for (let i = 0; i < 10; i++) {
      const [{ bytes, tags }] = await cluster.run(three.read(read));
      expect([bytes[0], tags[0].clock]).toEqual([4, 4]);
    }
    await cluster.run(three.write([write(Region.metadata, 1, 6, 6, 1, 3)]));
  });

  it('takes a snapshot in no time, keeps it, and gives its space back', async () => {
    const cluster = new SimCluster(7);
    await cluster.start();
    const disk = await cluster.open(1, create);
    await cluster.run(disk.write([write(Region.data, 0, 1, 1, 64)]));
    const before = await cluster.run(disk.statistics());
    const startMs = cluster.sim.nowMs;
    const id = await cluster.run(disk.snapshot('monday'));
    expect(cluster.sim.nowMs - startMs).toBeLessThan(1000);
    await expect(cluster.run(disk.snapshot('monday'))).rejects.toEqual(code('EXISTS'));
    await cluster.run(disk.write([write(Region.data, 0, 2, 2, 64)]));
    const read = [{ region: Region.data, index: 3, count: 40 }];
    const then = await cluster.open(0, { snapshot: id });
    expect((await cluster.run(then.read(read)))[0].bytes[99]).toBe(1);
    expect((await cluster.run(disk.read(read)))[0].bytes[99]).toBe(2);
    const during = await cluster.run(disk.statistics());
    expect(during.bytesUsed).toBeGreaterThan(before.bytesUsed * 1.9);
    await cluster.run(disk.deleteSnapshot(id));
    await cluster.sim.runFor(5000);
    const after = await cluster.run(disk.statistics());
    expect(after.bytesUsed).toBe(before.bytesUsed);
    expect((await cluster.run(disk.read(read)))[0].bytes[99]).toBe(2);
  });

  it('takes chunks back, and forgets them once every copy has', async () => {
    const cluster = new SimCluster(8);
    await cluster.start();
    const disk = await cluster.open(1, create);
    await cluster.run(disk.write([write(Region.data, 16, 1, 1, 32)]));
    await cluster.run(disk.decommit(Region.data, 16, 32, { clock: 2, token: 1 }));
    const [{ bytes, tags }] = await cluster.run(
      disk.read([{ region: Region.data, index: 16, count: 32 }]),
    );
    expect(bytes.every((byte) => byte === 0)).toBe(true);
    expect(tags[31].clock).toBe(2);
    expect((await cluster.run(disk.statistics())).bytesUsed).toBe(0);
    await cluster.sim.runFor(70_000);
    for (const node of cluster.running.values()) {
      expect(node.store.blocks?.index.rowCount).toBe(0);
    }
  });

  it('refuses with DISK_FULL, and loses nothing', async () => {
    const cluster = new SimCluster(9, { reserveBytes: 2 * 1024 * 1024 });
    await cluster.start();
    const disk = await cluster.open(1, create);
    await cluster.run(disk.write([write(Region.data, 0, 1, 1, 16), write(Region.inodes, 0, 1, 1)]));
    for (const node of cluster.nodes.values()) {
      node.disk.faults.quotaBytes = node.disk.usedBytes + 1024 * 1024;
    }
    await cluster.sim.runFor(100);
    const full = disk.write([write(Region.data, 160, 2, 2, 320)]);
    await expect(cluster.run(full)).rejects.toEqual(code('DISK_FULL'));
    const [{ bytes }] = await cluster.run(
      disk.read([{ region: Region.data, index: 0, count: 16 }]),
    );
    expect(bytes.every((byte) => byte === 1)).toBe(true);
    for (const node of cluster.nodes.values()) node.disk.faults.quotaBytes = 2 ** 40;
    await cluster.sim.runFor(100);
    await cluster.run(disk.write([write(Region.data, 160, 3, 3, 320)]));
  });

  it('rebuilds a node that lost its folder from its peers', async () => {
    const cluster = new SimCluster(10);
    await cluster.start();
    const disk = await cluster.open(1, create);
    await cluster.run(disk.write([write(Region.data, 0, 1, 1, 40), write(Region.inodes, 7, 1, 7)]));
    const id = await cluster.run(disk.snapshot('a'));
    await cluster.run(disk.write([write(Region.data, 0, 2, 2, 20)]));
    const fenced = await cluster.run((await cluster.open(5)).fence(4));
    cluster.crash('node-1', true);
    await cluster.restart('node-1');
    const host = cluster.running.get('node-1')?.blocks;
    await cluster.sim.runUntil(() => host?.hosted(1).whole === true, 20_000, 'whole again');
    expect(host?.hosted(1).fenceEpoch).toBe(fenced.fenceEpoch);
    expect(host?.hosted(1).refused.has(4)).toBe(true);
    // What the others keep is what it keeps, snapshot included.
    const other = cluster.running.get('node-5');
    const same = (index: number, epoch: number): void => {
      for (const region of [Region.data, Region.inodes]) {
        const of = (blocks = host?.blocks): string => {
          const entry = blocks?.index.find(1, region, index, epoch) ?? -1;
          return entry < 0 ? 'none' : `${blocks?.index.clock[entry]} ${blocks?.index.crc[entry]}`;
        };
        expect(of()).toBe(of(other?.store.blocks));
      }
    };
    for (let index = 0; index < 48; index++) {
      same(index, id);
      same(index, 1000);
    }
  });

  it('goes on with a rebuild that a crash cut off', async () => {
    const cluster = new SimCluster(13);
    await cluster.start();
    const disk = await cluster.open(1, create);
    await cluster.run(disk.write([write(Region.metadata, 0, 1, 1, 64)]));
    cluster.crash('node-1', true);
    // Admission gets through, the registers do not.
    cluster.sim.network.faults('node-1', '*', { delayMs: 300 });
    await cluster.restart('node-1');
    expect(cluster.running.get('node-1')?.blocks?.hosted(1).whole).toBe(false);
    cluster.crash('node-1');
    await cluster.restart('node-1');
    const host = cluster.running.get('node-1')?.blocks;
    expect(host?.hosted(1).whole).toBe(false);
    cluster.sim.network.faults('node-1', '*', { delayMs: 0.1 });
    await cluster.sim.runUntil(() => host?.hosted(1).whole === true, 20_000, 'whole again');
    expect(host?.blocks.index.find(1, Region.metadata, 63, 1)).toBeGreaterThan(0);
  });

  it('finds unreadable copies that nobody reads, and repairs them', async () => {
    const cluster = new SimCluster(12);
    await cluster.start();
    const disk = await cluster.open(1, create);
    await cluster.run(disk.write([write(Region.data, 0, 3, 3, 16)]));
    const id = await cluster.run(disk.snapshot('a'));
    await cluster.run(disk.write([write(Region.data, 0, 4, 4, 8)]));
    const blocks = [...cluster.running.values()].map((node) => node.store.blocks);
    const holder = blocks.findIndex(
      (store) => (store?.index.find(1, Region.data, 0, id) ?? -1) > 0,
    );
    const file = cluster.node(`node-${holder + 1}`).disk.file('data/blocks/blocks.data');
    for (let slot = 0; slot < 8; slot++) file?.flipBit(slot * 2 * 4096 * 8 + 99);
    const store = blocks[holder];
    await cluster.sim.runUntil(() => (store?.bad.size ?? 0) > 0, 5000, 'found');
    await cluster.sim.runUntil(() => store?.bad.size === 0, 5000, 'repaired');
    const image = new Uint8Array(4096);
    for (const epoch of [id, 1000]) {
      for (let i = 0; i < 16; i++) {
        const entry = store?.index.find(1, Region.data, i, epoch) ?? -1;
        expect(store?.load(entry, image, 0)).toBe(true);
        expect(image[5]).toBe(epoch === id || i >= 8 ? 3 : 4);
      }
    }
  });

  it('has no vote on unreadable copies, and repairs them', async () => {
    const cluster = new SimCluster(11);
    await cluster.start();
    const disk = await cluster.open(1, { create: { dataCopies: 6 } });
    await cluster.run(disk.write([write(Region.data, 0, 3, 3, 64)]));
    for (const id of ['node-1', 'node-2', 'node-4']) {
      const file = cluster.node(id).disk.file('data/blocks/blocks.data');
      for (let register = 0; register < 64; register++) file?.flipBit(register * 4096 * 8 + 77);
    }
    const read = [{ region: Region.data, index: 0, count: 64 }];
    for (let i = 0; i < 6; i++) {
      const [{ bytes }] = await cluster.run(disk.read(read));
      expect(bytes.every((byte) => byte === 3)).toBe(true);
      await cluster.sim.runFor(200);
    }
  });
});
