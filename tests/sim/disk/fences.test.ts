/**
 * Fences, one script a rule: a dead writer's last write reached a few nodes only. Whatever becomes of it, it is the same for
 * every later reader, whichever nodes that one asks (LOCK-2, DISK-1). Each rule is also taken away, and the difference shows.
 */
import { describe, expect, it } from 'vitest';
import { Region } from '#fs-frontend/disk/disk.js';
import type { DiskClient } from '#fs-frontend/disk/disk-client.js';
import type { Faults as DiskFaults } from '#fs-frontend/disk/faults.js';
import { NODE_IDS, SimCluster } from '#fs-frontend/disk/cluster.test-helper.js';
import type { Faults as NodeFaults } from '#storage-nodes/node/faults.js';

const REGISTER = { region: Region.metadata, index: 1 };
const OLD = 4;
const NEW = 5;

interface Planted {
  readonly nodes?: NodeFaults;
  readonly disk?: DiskFaults;
  /** Grants do not make their takers look for fences. */
  readonly grantWithoutFences?: boolean;
}

class Script {
  readonly cluster: SimCluster;
  readonly #faults: DiskFaults;
  zombie!: DiskClient;
  demon!: DiskClient;

  constructor(seed: number, planted: Planted) {
    this.cluster = new SimCluster(seed, { nodeFaults: planted.nodes ?? {} });
    this.#faults = planted.disk ?? {};
  }

  async open(name: string, token: number): Promise<DiskClient> {
    const { world } = this.cluster.client(name);
    return this.cluster.open(token, { create: {}, faults: this.#faults }, world);
  }

  write(disk: DiskClient, clock: number): Promise<void> {
    const tag = { clock, token: 1 };
    const bytes = new Uint8Array(4096).fill(clock);
    return disk.write([{ ...REGISTER, tag, bytes }], { deadlineMs: 300 });
  }

  /** OLD is everywhere; NEW on the nodes named; its writer is done for. */
  async begin(reached: readonly string[]): Promise<void> {
    await this.cluster.start();
    this.zombie = await this.open('zombie', 1);
    this.demon = await this.open('demon', 2);
    await this.cluster.run(this.write(this.zombie, OLD));
    const { network } = this.cluster.sim;
    network.partition(
      ['zombie'],
      NODE_IDS.filter((id) => !reached.includes(id)),
    );
    this.write(this.zombie, NEW).catch(() => undefined);
    await this.cluster.sim.runFor(400);
    network.partition(['zombie'], NODE_IDS);
  }

  /** What a new client reads while these nodes are out of its reach. */
  async readWithout(
    name: string,
    token: number,
    away: readonly string[],
    slow = '',
  ): Promise<number> {
    const { network } = this.cluster.sim;
    // The slow one is asked last, but is there for a write-back.
    if (slow !== '') network.faults(name, slow, { delayMs: 40 });
    return this.readAs(await this.open(name, token), name, away);
  }

  async readAs(disk: DiskClient, name: string, away: readonly string[]): Promise<number> {
    const { network } = this.cluster.sim;
    network.partition([name], away);
    const [{ bytes }] = await this.cluster.run(disk.read([{ ...REGISTER, count: 1 }]));
    await disk.close();
    network.heal();
    return bytes[0];
  }
}

/** What two readers see: one asks the nodes that the last write reached, the other does not. */
type Outcome = readonly [first: number, second: number];

async function listed(planted: Planted): Promise<Outcome> {
  const script = new Script(1, planted);
  await script.begin(['node-6']);
  await script.cluster.run(script.demon.fence(1));
  return [
    await script.readWithout('r1', 3, ['node-6']),
    await script.readWithout('r2', 4, ['node-1', 'node-2'], 'node-3'),
  ];
}

async function answerLost(planted: Planted): Promise<Outcome> {
  const script = new Script(2, planted);
  await script.begin(['node-6']);
  // node-6 hears of the fence, and nobody hears of node-6.
  script.cluster.sim.network.partition(['node-6'], ['demon'], { oneWay: true });
  await script.cluster.run(script.demon.fence(1));
  script.cluster.sim.network.heal();
  return [
    await script.readWithout('r1', 3, ['node-6']),
    await script.readWithout('r2', 4, ['node-1', 'node-2'], 'node-3'),
  ];
}

async function twoLate(planted: Planted): Promise<Outcome> {
  const script = new Script(3, planted);
  const late = ['node-5', 'node-6'];
  await script.begin(late);
  script.cluster.sim.network.partition(late, ['demon']);
  await script.cluster.run(script.demon.fence(1));
  script.cluster.sim.network.heal();
  return [
    await script.readWithout('r1', 3, late),
    await script.readWithout('r2', 4, ['node-1', 'node-2']),
  ];
}

/** Readers that were there before the fence, and are told of it by a grant. */
async function granted(planted: Planted): Promise<Outcome> {
  const script = new Script(5, planted);
  const late = ['node-5', 'node-6'];
  await script.begin(late);
  const readers = [await script.open('r1', 3), await script.open('r2', 4)];
  script.cluster.sim.network.partition(late, ['demon']);
  await script.cluster.run(script.demon.fence(1));
  script.cluster.sim.network.heal();
  for (const reader of readers) {
    if (planted.grantWithoutFences !== true) await script.cluster.run(reader.refreshFences());
  }
  return [
    await script.readAs(readers[0], 'r1', late),
    await script.readAs(readers[1], 'r2', ['node-1', 'node-2']),
  ];
}

async function inFlight(planted: Planted): Promise<Outcome> {
  const script = new Script(4, planted);
  await script.begin([]);
  const { network } = script.cluster.sim;
  network.heal();
  network.faults('zombie', '*', { delayMs: 250 });
  await script.cluster.sim.runFor(1500);
  const late = script.write(script.zombie, NEW).catch(() => undefined);
  await script.cluster.run(script.demon.fence(1));
  const first = await script.readWithout('r1', 3, ['node-6']);
  await script.cluster.run(late);
  return [first, await script.readWithout('r2', 4, ['node-1'])];
}

const RULES: readonly (readonly [
  string,
  (planted: Planted) => Promise<Outcome>,
  number,
  Planted,
])[] = [
  ['ignore-listed', listed, NEW, { disk: { ignoreListed: true } }],
  ['no-write-back', listed, NEW, { disk: { noWriteBack: true } }],
  ['list-once', answerLost, OLD, { nodes: { listOnce: true } }],
  ['check-any-quorum', twoLate, OLD, { nodes: { checkAnyQuorum: true } }],
  ['grant-without-fences', granted, OLD, { grantWithoutFences: true }],
  ['early-fence-ack', inFlight, OLD, { nodes: { earlyFenceAck: true } }],
];

describe('fences', () => {
  for (const [name, script, value, planted] of RULES) {
    it(`${name}: everybody sees the same`, async () => {
      expect(await script({})).toEqual([value, value]);
    });
    it(`${name}, taken away: it shows`, async () => {
      const [first, second] = await script(planted);
      expect(first).not.toBe(second);
    });
  }
});
