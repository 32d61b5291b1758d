/** The volume over real storage nodes in the simulator: crashes, power cuts, lost frames, takeovers. */
import { describe, expect, it } from 'vitest';
import { PAGE_BYTES } from '#core/ids.js';
import { putFormat, putSet } from '#core/redo/edits.js';
import { pageLsn } from '#core/redo/page.js';
import { FLAG_CPL, FLAG_FORMAT } from '#core/redo/record.js';
import type { LinkFaults } from '#core/world/simulated/sim-network.js';
import { SimRandom } from '#core/world/simulated/random.js';
import { Simulation } from '#core/world/simulated/simulation.js';
import type { World } from '#core/world/world.js';
import { StorageNode } from '#storage-nodes/node/storage-node.js';
import { NodeStore } from '#storage-nodes/store/node-store.js';
import { openQuorumVolume } from './open-volume.js';
import type { QuorumVolume } from './quorum-volume.js';

const IDS = ['node-1', 'node-2', 'node-3', 'node-4', 'node-5', 'node-6'];
const PAGES = 12;
const addresses = IDS.map((id, i) => ({ id, zone: `zone-${i >> 1}`, address: `${id}:1` }));

class Run {
  readonly sim: Simulation;
  readonly random: SimRandom;
  /** By page: the newest value that was acknowledged. */
  readonly acknowledged = new Map<number, number>();
  commits = 0;
  engines = 0;
  #value = 0;

  constructor(seed: number, network: Partial<LinkFaults>) {
    this.sim = new Simulation(seed, { network });
    this.random = new SimRandom(seed + 1_000_000);
    for (const self of addresses) {
      let initial = true;
      this.sim.process(self.id, async (world) => {
        // Whoever installs a node makes its folder; a power cut must not take it away again.
        world.disk.makeFolder('/data');
        world.disk.syncFolder('/');
        const first = initial;
        initial = false;
        await StorageNode.open(
          world,
          {
            cluster: 'sim',
            id: self.id,
            zone: self.zone,
            listen: self.address,
            dataFolder: '/data',
            peers: addresses.filter(({ id }) => id !== self.id),
            initial: first,
          },
          (w, folder) => new NodeStore(w, folder),
        );
      });
    }
  }

  start(): void {
    for (const id of IDS) this.sim.processes.get(id)?.start();
  }

  open(world: World): Promise<QuorumVolume> {
    this.engines++;
    return openQuorumVolume(world, {
      clusterId: 'sim',
      nodes: addresses,
      volume: 1,
      pagesPerPg: PAGES / 2,
      lal: 1000,
      create: true,
      leaseMs: 200,
      openTimeoutMs: 120_000,
      readTimeoutMs: 120_000,
    });
  }

  /** An engine: opens, grows to two PGs, checks every page, then commits until it dies. */
  async engine(world: World): Promise<void> {
    const volume = await this.open(world);
    while (volume.pageCapacity < PAGES) await volume.grow();
    const lsns: number[] = [];
    for (let page = 0; page < PAGES; page++) {
      const bytes = new Uint8Array(PAGE_BYTES);
      await volume.readPage(page, bytes, 0);
      lsns.push(pageLsn(new DataView(bytes.buffer), 0));
      const found = bytes[100] + 256 * bytes[101];
      expect(found).toBeGreaterThanOrEqual(this.acknowledged.get(page) ?? 0);
      // What was found is durable from now on.
      this.acknowledged.set(page, found);
    }
    for (let page = 0; page < PAGES / 2; page++) {
      expect(this.acknowledged.get(page)).toBe(this.acknowledged.get(page + PAGES / 2));
    }
    await Promise.all([0, 1, 2].map((client) => this.#client(volume, lsns, client)));
  }

  /** MTRs that put one value on a page of each PG. */
  async #client(volume: QuorumVolume, lsns: number[], client: number): Promise<void> {
    const edits = new Uint8Array(32);
    for (let i = client; ; i += 3) {
      const left = i % (PAGES / 2);
      const value = ++this.#value;
      let lsn = 0;
      try {
        if (!volume.hasRoom(2, 100)) {
          await volume.whenRoom();
          continue;
        }
        for (const page of [left, left + PAGES / 2]) {
          const fresh = lsns[page] === 0;
          let end = fresh ? putFormat(edits, 0, 7) : 0;
          end = putSet(edits, end, 100, Uint8Array.of(value & 255, value >> 8), 0, 2);
          const flags = (fresh ? FLAG_FORMAT : 0) | (page === left ? 0 : FLAG_CPL);
          lsn = volume.append(page, flags, lsns[page], edits, 0, end);
          lsns[page] = lsn;
        }
        await new Promise<void>((resolve, reject) => {
          volume.wait(lsn, (error) => (error === undefined ? resolve() : reject(error)));
        });
      } catch (error) {
        expect(error).toMatchObject({ code: 'FENCED' });
        return;
      }
      this.commits++;
      for (const page of [left, left + PAGES / 2]) {
        this.acknowledged.set(page, Math.max(value, this.acknowledged.get(page) ?? 0));
      }
    }
  }
}

describe('in the simulator', () => {
  it.each([
    ['a good network', 1, {}],
    ['lost frames', 38, { drop: 0.01 }],
    [
      'everything',
      60,
      { drop: 0.01, duplicate: 0.02, reorder: 0.05, flipBit: 0.002, breakLink: 0.002 },
    ],
  ])('keeps what it acknowledged, with %s', async (_name, seed, network) => {
    const run = new Run(seed, network);
    const { sim, random } = run;
    run.start();
    const engines = ['engine-1', 'engine-2'].map((name) =>
      // One that is overtaken while it still opens ends there.
      sim.process(name, (world) => run.engine(world), {
        onExit: (error) => expect(error).toMatchObject({ code: 'FENCED' }),
      }),
    );
    engines[0].start();
    await sim.runUntil(() => run.commits > 50, 60_000, 'first commits');
    for (let round = 0; round < 6; round++) {
      const victims = [...IDS].sort(() => random.unit() - 0.5).slice(0, random.below(3));
      for (const id of victims) sim.processes.get(id)?.crash({ power: random.below(2) === 0 });
      await sim.runFor(100 + random.below(300));
      // A takeover: sometimes the old engine is dead, sometimes it only seems so.
      const [old, next] = round % 2 === 0 ? engines : engines.toReversed();
      if (random.below(2) === 0) old.crash();
      else old.pause();
      next.start();
      const before = run.commits;
      await sim.runFor(random.below(400));
      old.resume();
      for (const id of victims) sim.processes.get(id)?.start();
      await sim.runUntil(() => run.commits > before + 20, 240_000, `commits after round ${round}`);
      old.crash();
    }
    expect(run.engines).toBe(7);
  });
});
