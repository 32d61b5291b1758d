/**
 * Six nodes in the simulator under a writer of one protection group: power cuts, kills, lost folders,
 * dropped frames, takeovers.
 */
import { describe, expect, test } from 'vitest';
import { toNodeId } from '#core/ids.js';
import { stableMembership } from '#core/quorum/quorum-set.js';
import { encodeRegisterMessage } from '#core/registers/messages.js';
import { RpcClient } from '#core/rpc/client.js';
import { SimRandom } from '#core/world/simulated/random.js';
import { Simulation } from '#core/world/simulated/simulation.js';
import type { World } from '#core/world/world.js';
import { decodeScl, encodeReadPage } from '../protocol/codec-binary.js';
import * as json from '../protocol/codec-json.js';
import { MessageType, SclStatus } from '../protocol/messages.js';
import type { SealAnswer, TruncationRange, VolumeState } from '../protocol/messages.js';
import { NodeStore } from '../store/node-store.js';
import { boxcar } from './boxcars.test-helper.js';
import { StorageNode } from './storage-node.js';

const IDS = ['n1', 'n2', 'n3', 'n4', 'n5', 'n6'];
const LAL = 200;
const membership = stableMembership(IDS.map(toNodeId));
const addresses = IDS.map((id, i) => ({ id, zone: `z${i >> 1}`, address: `${id}:1` }));
const CALL = { timeoutMs: 400 };

class Broken extends Error {}

class Cluster {
  readonly sim: Simulation;
  readonly random: SimRandom;
  readonly world: World;
  readonly clients = new Map<string, RpcClient>();
  readonly nodes = new Map<string, StorageNode>();
  /** Records that are there or may be, by LSN. */
  alive: number[] = [];
  ranges: TruncationRange[] = [];
  epoch = 0;
  written = 0;
  #ballot = 0;
  #open = false;
  /** Highest LSN that a write quorum acknowledged, ever. */
  durable = 0;
  #next = 0;
  #tail = 0;
  readonly acked = new Map<string, number>();
  readonly #generations = new Map<string, number>();
  /** What a node acknowledged since its folder was made: it must never come back with less (LOG-2). */
  readonly promised = new Map<string, number>();

  constructor(seed: number) {
    this.sim = new Simulation(seed, { network: { drop: 0.002 }, errorsEndRun: false });
    this.random = new SimRandom(seed ^ 0x5eed);
    for (const self of addresses) {
      const main = async (world: World): Promise<void> => {
        const config = {
          cluster: 'sim',
          id: self.id,
          zone: self.zone,
          listen: self.address,
          dataFolder: '/data',
          peers: addresses,
          initial: this.epoch < 2,
        };
        const open = (w: World, folder: string) => new NodeStore(w, folder);
        const node = await StorageNode.open(world, config, open);
        this.nodes.set(self.id, node);
      };
      this.sim.process(self.id, main).start();
    }
    this.world = this.sim.process('writer').start();
    for (const { id, address } of addresses) this.#connect(id, address);
  }

  #connect(id: string, address: string): void {
    const body = json.helloRequest.encode({
      protocol: 1,
      cluster: 'sim',
      node: id,
      role: 'engine',
    });
    const client = new RpcClient(this.world, address, {
      hello: () => ({ type: MessageType.hello, body }),
    });
    client.onPush = (_type, bytes) => this.#report(id, bytes);
    this.clients.set(id, client);
  }

  #report(id: string, bytes: Uint8Array): void {
    const report = decodeScl(bytes);
    if (report.status === SclStatus.needRanges && this.#open) void this.install(id);
    if (report.status !== SclStatus.ok || report.volumeEpoch !== this.epoch) return;
    const known = this.#generations.get(id) ?? 0;
    if (report.generation < known) return;
    if (report.generation > known) {
      this.#generations.set(id, report.generation);
      this.acked.set(id, 0);
      this.promised.set(id, 0);
      if (known > 0) void this.#strike(id, report.generation);
    }
    // A hydration point or a range's end may lie above what was written.
    const scl = Math.min(report.scl, this.#tail);
    if (scl < (this.promised.get(id) ?? 0)) throw new Broken(`${id} went back to ${scl}`);
    this.promised.set(id, scl);
    this.acked.set(id, Math.max(scl, this.acked.get(id) ?? 0));
    this.durable = Math.max(this.durable, this.pgcl);
  }

  get pgcl(): number {
    return IDS.map((id) => this.acked.get(id) ?? 0).sort((a, b) => b - a)[3] as number;
  }

  get #address() {
    return { volume: 1, pg: 0, volumeEpoch: this.epoch, membershipEpoch: 1 };
  }

  async #strike(id: string, generation: number): Promise<void> {
    for (const { epoch } = this; epoch === this.epoch;) {
      try {
        const body = json.strikeRequest.encode({ ...this.#address, generation, pgcl: this.pgcl });
        await this.clients.get(id)?.call(MessageType.strike, body, CALL);
        return;
      } catch {
        await this.world.timers.sleep(20);
      }
    }
  }

  /** Answers of at least `needed` nodes, however long it takes. */
  async #quorum<T>(
    needed: number,
    ask: (id: string) => Promise<T | undefined>,
  ): Promise<Map<string, T>> {
    const answers = new Map<string, T>();
    while (answers.size < needed) {
      await Promise.all(
        IDS.filter((id) => !answers.has(id)).map(async (id) => {
          const answer = await ask(id).catch(() => undefined);
          if (answer !== undefined) answers.set(id, answer);
        }),
      );
      await this.world.timers.sleep(10);
    }
    return answers;
  }

  async #register(state: 'recovering' | 'open'): Promise<void> {
    const { epoch, ranges } = this;
    const value = json.volumeState.encode({
      format: 1,
      volume: 1,
      epoch,
      state,
      opener: 'w',
      pagesPerPg: 8,
      pgs: [membership],
      ranges,
      lal: LAL,
    } satisfies VolumeState);
    // A node that rejoins reads with ballots of its own: stay above them.
    const ballot = [(this.#ballot += 1000), 1] as const;
    for (const kind of ['prepare', 'accept'] as const) {
      const type = kind === 'prepare' ? MessageType.registerPrepare : MessageType.registerAccept;
      const message = { key: 'volume/1', ballot };
      const body = encodeRegisterMessage(
        kind === 'prepare' ? { kind, ...message } : { kind, ...message, value },
      );
      await this.#quorum(4, (id) => this.clients.get(id)!.call(type, body, CALL));
    }
  }

  async open(): Promise<void> {
    this.#open = false;
    this.epoch++;
    await this.#register('recovering');
    const { ranges } = this;
    const seal = json.sealRequest.encode({
      ...this.#address,
      ranges,
      membership,
      peers: addresses,
    });
    const sealed = await this.#quorum<SealAnswer>(3, async (id) => {
      const body = await this.clients.get(id)!.call(MessageType.seal, seal, CALL);
      const answer = json.sealAnswer.decode(body);
      return answer.whole ? answer : undefined;
    });
    const vdl = Math.max(...[...sealed.values()].map((answer) => answer.scl));
    if (vdl < this.durable) throw new Broken(`LOG-1: ${this.durable} was durable, found ${vdl}`);
    await this.#repair(vdl);
    this.ranges = [...ranges, { epoch: this.epoch, after: vdl, through: vdl + LAL }];
    await this.#register('open');
    this.alive = this.alive.filter((lsn) => lsn <= vdl);
    this.durable = vdl;
    this.#tail = this.alive.at(-1) ?? 0;
    this.#next = vdl + LAL + 1;
    this.#open = true;
    for (const id of IDS) this.promised.set(id, Math.min(vdl, this.promised.get(id) ?? 0));
    await this.#quorum(4, (id) => this.install(id));
  }

  /** A write quorum has everything up to the VDL (rule 11). */
  async #repair(vdl: number): Promise<void> {
    const request = { ...this.#address, ranges: this.ranges, membership, peers: addresses };
    await this.#quorum(4, async (id) => {
      const client = this.clients.get(id)!;
      const body = await client.call(MessageType.seal, json.sealRequest.encode(request), CALL);
      if (json.sealAnswer.decode(body).scl >= vdl) return true;
      const catchUp = json.catchUpRequest.encode({ ...this.#address, target: vdl, sources: IDS });
      await client.call(MessageType.catchUp, catchUp, CALL);
      return undefined;
    });
  }

  async install(id: string): Promise<boolean | undefined> {
    const vdl = this.ranges.at(-1)!.after;
    const request = { ...this.#address, ranges: this.ranges, membership, peers: addresses, vdl };
    const body = json.installRequest.encode({ ...request, pgTail: Math.min(this.#tail, vdl) });
    try {
      await this.clients.get(id)?.call(MessageType.install, body, CALL);
      return true;
    } catch {
      return undefined;
    }
  }

  /** One boxcar to most nodes: what is left out comes by gossip. */
  write(): void {
    if (this.#next - Math.max(this.durable, this.ranges.at(-1)!.through) > LAL / 2) return;
    const lsns = Array.from({ length: 1 + this.random.below(3) }, () => this.#next++);
    const bytes = boxcar(this.#tail, lsns, { epoch: this.epoch, vdl: this.durable });
    for (const client of this.clients.values()) {
      if (this.random.unit() < 0.85) client.push(MessageType.boxcar, bytes.slice());
    }
    this.alive.push(...lsns);
    this.written += lsns.length;
    this.#tail = lsns.at(-1)!;
  }

  /** Any node that may answer must show the newest surviving record of the page and nothing else. */
  async readEverywhere(): Promise<number> {
    const point = this.durable;
    const tail = this.alive.findLast((lsn) => lsn <= point) ?? 0;
    let answers = 0;
    for (const id of IDS) {
      for (const pageNo of [0, 1, 2, 3]) {
        const request = encodeReadPage({
          ...this.#address,
          pageNo,
          readPoint: point,
          pgTail: tail,
        });
        const page = await this.clients
          .get(id)!
          .call(MessageType.readPage, request, CALL)
          .catch(() => undefined);
        if (page === undefined) continue;
        const newest = this.alive.findLast((lsn) => lsn <= point && lsn % 4 === pageNo) ?? 0;
        if (page[16] !== (newest & 0xff))
          throw new Broken(`LOG-5: ${id} page ${pageNo} at ${point}`);
        answers++;
      }
    }
    return answers;
  }
}

/** Everything that can be proved by one seed; throws Broken when a promise was not kept. */
async function run(seed: number, rounds = 3): Promise<void> {
  const cluster = new Cluster(seed);
  const { sim, random } = cluster;
  const wait = (promise: Promise<unknown>, what: string) => sim.runPromise(promise, 60_000, what);
  for (let round = 0; round < rounds; round++) {
    await wait(cluster.open(), `opening ${round}`);
    for (let step = 0; step < 20; step++) {
      cluster.write();
      await sim.runFor(random.below(4));
      const victim = sim.processes.get(IDS[random.below(6)]!)!;
      const down = IDS.filter((id) => !sim.processes.get(id)!.running);
      if (victim.running && down.length < 2 && random.unit() < 0.08) {
        victim.crash({ power: random.below(3) > 0 });
        if (round > 0 && down.length === 0 && random.below(3) === 0) victim.disk.lose('/data');
      }
      for (const id of down) if (random.unit() < 0.1) sim.processes.get(id)!.start();
    }
    await wait(cluster.readEverywhere(), 'reads');
    // All at once in the dark now and then: only what was synced is left.
    if (random.below(3) === 0) for (const id of IDS) sim.processes.get(id)!.crash();
    for (const id of IDS) if (!sim.processes.get(id)!.running) sim.processes.get(id)!.start();
  }
  await wait(cluster.open(), 'last opening');
  expect(cluster.written).toBeGreaterThan(50);
  const healed = (): boolean =>
    IDS.every((id) => {
      const segment = [...cluster.nodes.get(id)!.hosts.values()][0]?.segment;
      return (
        segment !== undefined &&
        segment.scl >= cluster.durable &&
        segment.listEpoch === cluster.epoch
      );
    });
  cluster.write();
  await sim.runUntil(healed, 30_000, 'all nodes complete');
  expect(await sim.runPromise(cluster.readEverywhere(), 60_000, 'last reads')).toBeGreaterThan(15);
}

describe('six nodes in the simulator', () => {
  test.each([2, 3, 5])('keep every promise, seed %i', (seed) => run(seed), 30_000);
});
