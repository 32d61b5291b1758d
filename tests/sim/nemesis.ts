/** What goes wrong in the safety phase: troubles drawn by weight, each with its end. */
import { TROUBLES, type TroubleKind } from './options.js';
import { NODE_IDS, QUIET_DISK, type Cluster, type NodeSlot } from './cluster.js';

export class Nemesis {
  readonly #cluster: Cluster;
  readonly log: string[] = [];

  constructor(cluster: Cluster) {
    this.#cluster = cluster;
  }

  /** The whole safety phase. */
  async run(): Promise<void> {
    const cluster = this.#cluster;
    const { random, options } = cluster;
    cluster.startEngine(0);
    await cluster.until(() => cluster.commits > 3, 60_000, 'first commits');
    for (let round = 0; round < options.rounds; round++) {
      const troubles = 1 + random.below(3);
      const ends: (() => void)[] = [];
      for (let i = 0; i < troubles; i++) {
        const kind = this.#draw();
        const end = this.#begin(kind);
        if (end === undefined) continue;
        this.log.push(`${cluster.nowMs.toFixed(1)} ${kind}`);
        ends.push(end);
        await cluster.runFor(random.unit() * 60);
      }
      await cluster.runFor(10 + random.unit() * 150);
      for (const end of ends) end();
      this.#tend();
      // Mostly trouble comes back before everything is well again.
      if (random.chance(0.7)) await cluster.runFor(random.unit() * 100);
      else {
        const before = cluster.commits;
        await cluster.until(() => this.#well(before), 120_000, `recovery after round ${round}`);
      }
      cluster.tend();
    }
  }

  #well(commitsBefore: number): boolean {
    this.#tend();
    this.#cluster.tend();
    return this.#cluster.commits > commitsBefore + 3;
  }

  #draw(): TroubleKind {
    const { random, options } = this.#cluster;
    const total = TROUBLES.reduce((sum, kind) => sum + options.trouble[kind], 0);
    let at = random.below(total);
    for (const kind of TROUBLES) {
      at -= options.trouble[kind];
      if (at < 0) return kind;
    }
    return 'powerCut';
  }

  /** What a supervisor does: starts what is down. Called between rounds, when troubles have ended. */
  #tend(): void {
    const cluster = this.#cluster;
    for (const slot of cluster.nodes) {
      if (slot.node?.state === 'damaged' && slot.running) slot.process.crash({ power: false });
      if (!slot.running) cluster.startNode(slot);
    }
    const { engineProcesses } = cluster;
    if (engineProcesses.every((process) => cluster.isOver(process))) {
      const index = cluster.random.below(2);
      engineProcesses[index]?.crash();
      cluster.startEngine(index);
    }
  }

  #any(): NodeSlot {
    const { nodes, random } = this.#cluster;
    return nodes[random.below(nodes.length)] as NodeSlot;
  }

  /** Begins a trouble; gives what ends it, or undefined when it cannot be now. */
  #begin(kind: TroubleKind): (() => void) | undefined {
    switch (kind) {
      case 'powerCut':
        return this.#down([this.#any()], true);
      case 'kill':
        return this.#down([this.#any()], false);
      case 'zoneDown':
      case 'zoneAndOneDown':
        return this.#zoneDown(kind === 'zoneAndOneDown');
      case 'crashAtSync':
        return this.#crashAtSync(this.#any());
      case 'pause':
        return this.#pause(this.#any());
      case 'isolateNode':
      case 'isolateEngine':
      case 'badLinks':
        return this.#network(kind);
      case 'slowDisk':
      case 'fullDisk':
      case 'failingDisk':
      case 'lyingDisk':
      case 'rot':
      case 'loseFolder':
        return this.#disk(kind, this.#any());
      case 'engineCrash':
      case 'engineOvertaken':
      case 'engineRace':
        return this.#engine(kind);
    }
  }

  #down(slots: readonly NodeSlot[], power: boolean): () => void {
    const cluster = this.#cluster;
    for (const slot of slots) cluster.stopNode(slot, power);
    return () => {
      for (const slot of slots) cluster.startNode(slot);
    };
  }

  #zoneDown(andOne: boolean): () => void {
    const { nodes, random } = this.#cluster;
    const zone = random.below(3);
    const slots = nodes.filter((_, i) => i >> 1 === zone);
    if (andOne) {
      const others = nodes.filter((_, i) => i >> 1 !== zone);
      slots.push(others[random.below(others.length)] as NodeSlot);
    }
    return this.#down(slots, random.chance(0.5));
  }

  #crashAtSync(slot: NodeSlot): () => void {
    const { random } = this.#cluster;
    const moment = random.chance(0.5) ? 'before' : 'after';
    slot.process.crashAtSync(1 + random.below(6), moment, { power: random.chance(0.7) });
    return () => this.#cluster.startNode(slot);
  }

  #pause(slot: NodeSlot): () => void {
    slot.process.pause();
    return () => slot.process.resume();
  }

  #network(kind: 'isolateNode' | 'isolateEngine' | 'badLinks'): () => void {
    const { random, sim } = this.#cluster;
    const engines = ['engine-1', 'engine-2'];
    const oneWay = random.chance(0.3);
    if (kind === 'badLinks') {
      const to = NODE_IDS[random.below(6)] as string;
      sim.network.faults('*', to, { drop: 0.1, reorder: 0.3, delayMs: 2, duplicate: 0.1 });
      return () => sim.network.clearFaults();
    }
    if (kind === 'isolateNode') {
      const { id } = this.#any();
      const others = [...NODE_IDS, ...engines].filter((name) => name !== id);
      sim.network.partition([id], others, { oneWay });
    } else {
      const engine = engines[random.below(2)] as string;
      const cut = NODE_IDS.filter(() => random.chance(0.6));
      sim.network.partition([engine], cut, { oneWay });
    }
    return () => sim.network.heal();
  }

  #disk(
    kind: 'slowDisk' | 'fullDisk' | 'failingDisk' | 'lyingDisk' | 'rot' | 'loseFolder',
    slot: NodeSlot,
  ): (() => void) | undefined {
    const cluster = this.#cluster;
    const { disk } = slot.process;
    const calm = (): void => {
      Object.assign(disk.faults, QUIET_DISK);
    };
    if (kind === 'slowDisk') {
      Object.assign(disk.faults, { syncMinMs: 1, syncMaxMs: 20 });
      return calm;
    }
    if (kind === 'fullDisk') {
      disk.faults.quotaBytes = disk.usedBytes + cluster.random.below(4096);
      return calm;
    }
    if (!cluster.mayWound) return undefined;
    if (kind === 'loseFolder') {
      cluster.loseFolder(slot);
      return () => cluster.startNode(slot);
    }
    cluster.wound(slot);
    if (kind === 'failingDisk') {
      Object.assign(
        disk.faults,
        cluster.random.chance(0.5) ? { syncFails: 0.3 } : { ioFails: 0.2 },
      );
      return calm;
    }
    if (kind === 'lyingDisk') {
      // What such a disk loses, nobody can find out: it is replaced when the node goes down.
      slot.loseAtCrash = true;
      disk.faults.lies = true;
    } else {
      slot.rottenSince = disk.syncCount;
      disk.rot('/data');
    }
    return () => undefined;
  }

  #engine(kind: 'engineCrash' | 'engineOvertaken' | 'engineRace'): () => void {
    const cluster = this.#cluster;
    const { random, engineProcesses } = cluster;
    const [old, next] = engineProcesses[0]?.running === true ? [0, 1] : [1, 0];
    const first = engineProcesses[old];
    const second = engineProcesses[next];
    if (kind === 'engineCrash') {
      first?.crash({ power: random.chance(0.5) });
      if (first !== undefined && !first.running) first.start();
      return () => undefined;
    }
    const seemsDead = kind === 'engineOvertaken' && random.chance(0.5);
    if (seemsDead) first?.pause();
    if (second?.running === true) second.crash();
    second?.start();
    // The next one often dies while it still opens.
    if (kind === 'engineRace') {
      cluster.sim.after(random.unit() * 40, 'race', () => {
        second?.crash();
        second?.start();
      });
    }
    return () => first?.resume();
  }
}
