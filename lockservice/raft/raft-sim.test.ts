/**
 * Whole nodes in the simulator, one seed a run: power cuts (torn disks), kills in the middle of a write, partitions, pauses, lost and
 * repeated frames, changes of members, snapshots. RAFT-1 to RAFT-6 all the time; when the faults end, the group works again.
 * More: `RAFT_SIM_SEEDS=200`.
 */
import { describe, expect, it } from 'vitest';
import { isSextantError } from '#core/errors.js';
import { SimRandom } from '#core/world/simulated/random.js';
import { RaftCluster, type ClusterOptions } from './cluster.test-helper.js';
import type { RaftFaults } from './faults.js';
import { RaftViolation } from './raft-checker.test-helper.js';

const SEEDS = Number(process.env['RAFT_SIM_SEEDS'] ?? 5);

class Storm {
  readonly cluster: RaftCluster;
  readonly random: SimRandom;
  acknowledged = 0;
  reads = 0;
  changes = 0;
  #next = 1;
  #calm = false;

  constructor(seed: number, options: ClusterOptions) {
    this.random = new SimRandom(seed ^ 0x7a47);
    this.cluster = new RaftCluster(seed, options);
    this.cluster.start();
  }

  async run(ms: number): Promise<void> {
    const { sim } = this.cluster;
    const { network } = sim;
    network.faults('*', '*', { drop: 0.01, duplicate: 0.01, reorder: 0.01 });
    this.#clients();
    this.#nemesis();
    await sim.runFor(ms);
    this.#calm = true;
    network.faults('*', '*', { drop: 0, duplicate: 0, reorder: 0 });
    network.heal();
    for (const process of sim.processes.values()) {
      process.resume();
      // What was planned and has not come.
      process.crashAtSync(2 ** 50, 'after');
    }
    this.cluster.start();
  }

  /** The group elects, commits, reads, and everybody gets all of it. */
  async works(): Promise<void> {
    const { sim } = this.cluster;
    const end = sim.nowMs + 20_000;
    for (;;) {
      const leader = await this.cluster.elected(Math.max(1, end - sim.nowMs));
      try {
        await sim.runPromise(leader.propose(new Uint8Array(8)), 3000, 'a proposal');
        await sim.runPromise(leader.readIndex(), 3000, 'a read');
        await this.cluster.level(Math.max(1, end - sim.nowMs));
        return;
      } catch (error) {
        // Leaders may still change once.
        if (!isSextantError(error) || sim.nowMs > end) throw error;
      }
    }
  }

  #clients(): void {
    const { sim, checker } = this.cluster;
    const again = (): void => {
      if (this.#calm) return;
      sim.after(1 + this.random.below(20), 'client', again);
      const up = [...this.cluster.nodes.values()].filter(({ role }) => role === 'leader');
      const node = up[this.random.below(Math.max(1, up.length))];
      if (node === undefined) return;
      if (this.random.chance(0.3)) {
        const from = checker.readBegins();
        node.readIndex().then(
          (index) => {
            this.#check(() => checker.readEnds(from, index));
            this.reads++;
          },
          () => undefined,
        );
        return;
      }
      const command = new Uint8Array(8 + this.random.below(200));
      new DataView(command.buffer).setUint32(0, this.#next++, true);
      node.propose(command).then(
        ({ index }) => {
          this.#check(() => {
            // Between its answer and now it may have died, its commit unseen.
            if (this.cluster.nodes.get(node.id) === node) checker.acknowledged(index, command);
          });
          this.acknowledged++;
        },
        () => undefined,
      );
    };
    sim.after(100, 'client', again);
  }

  /** A violation ends the run, from within a promise too. */
  #check(check: () => void): void {
    this.cluster.sim.after(0, 'check', check);
  }

  #nemesis(): void {
    const { cluster, random } = this;
    const { sim } = cluster;
    const again = (): void => {
      if (this.#calm) return;
      sim.after(50 + random.below(400), 'nemesis', again);
      const id = cluster.ids[random.below(cluster.ids.length)] as string;
      const dice = random.unit();
      if (dice < 0.25) {
        const process = cluster.process(id);
        if (!process.running) cluster.start(id);
        else cluster.crash(id, random.chance(0.7));
      } else if (dice < 0.4) {
        const process = cluster.process(id);
        if (process.running)
          process.crashAtSync(1 + random.below(5), random.chance(0.5) ? 'before' : 'after');
      } else if (dice < 0.55) {
        cluster.start();
      } else if (dice < 0.65) {
        const process = cluster.process(id);
        if (process.paused) process.resume();
        else if (process.running) process.pause();
      } else if (dice < 0.75) {
        const side = cluster.ids.filter(() => random.chance(0.5));
        const other = cluster.ids.filter((one) => !side.includes(one));
        sim.network.partition(side, other, { oneWay: random.chance(0.3) });
      } else if (dice < 0.85) {
        sim.network.heal();
      } else {
        this.#change(id);
      }
    };
    sim.after(700, 'nemesis', again);
  }

  #change(id: string): void {
    const { leader } = this.cluster;
    if (leader === undefined) return;
    const has = leader.members.some((member) => member.id === id);
    if (has && leader.members.length <= 2) return;
    leader.changeMembers(has ? { remove: id } : { add: this.cluster.member(id) }).then(
      () => {
        this.changes++;
      },
      () => undefined,
    );
  }
}

const RAFT = {
  snapshotEntries: 40,
  trailingEntries: 10,
  logFileBytes: 8192,
  limits: { chunkBytes: 700 },
};

describe('storms', () => {
  for (const options of [{ servers: 3 }, { servers: 5, founders: 3 }]) {
    it(JSON.stringify(options), async () => {
      const sum = { acknowledged: 0, reads: 0, changes: 0 };
      for (let seed = 1; seed <= SEEDS; seed++) {
        const storm = new Storm(seed, { ...options, raft: RAFT });
        try {
          await storm.run(12_000);
          await storm.works();
          // A planned crash ends a node; nothing else may.
          const odd = storm.cluster.failures.filter((error) => !isSextantError(error, 'CLOSED'));
          expect(odd).toEqual([]);
        } catch (error) {
          throw new Error(`seed ${seed}`, { cause: error });
        }
        sum.acknowledged += storm.acknowledged;
        sum.reads += storm.reads;
        sum.changes += storm.changes;
      }
      expect(sum.acknowledged).toBeGreaterThan(50 * SEEDS);
      expect(sum.reads).toBeGreaterThan(20 * SEEDS);
      expect(sum.changes).toBeGreaterThan(SEEDS / 2);
    });
  }
});

describe('planted faults in storms', () => {
  const plans: [keyof RaftFaults, string][] = [
    ['voteTwice', 'RAFT-'],
    ['noReadIndex', 'RAFT-6'],
    ['ackBeforeSync', 'RAFT-'],
  ];
  for (const [fault, property] of plans) {
    it(fault, async () => {
      let caught: unknown;
      for (let seed = 1; seed <= 40 && caught === undefined; seed++) {
        const storm = new Storm(seed, { servers: 3, raft: { ...RAFT, faults: { [fault]: true } } });
        await storm.run(12_000).catch((error: unknown) => {
          if (error instanceof RaftViolation) caught = error;
        });
      }
      expect(caught).toBeInstanceOf(RaftViolation);
      expect(String((caught as RaftViolation).property)).toContain(property);
    });
  }
});
