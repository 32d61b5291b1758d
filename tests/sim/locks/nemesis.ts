/** What goes wrong in the safety phase: troubles drawn by weight, each with its end. */
import type { ClerkSlot, LockCluster, ServerSlot } from './cluster.js';
import { TROUBLES, type TroubleKind } from './options.js';

export class LockNemesis {
  readonly #cluster: LockCluster;
  readonly log: string[] = [];

  constructor(cluster: LockCluster) {
    this.#cluster = cluster;
  }

  /** The whole safety phase. */
  async run(): Promise<void> {
    const cluster = this.#cluster;
    const { random, options } = cluster;
    cluster.startClerks();
    await cluster.until(() => cluster.taken > 3, 60_000, 'first locks');
    for (let round = 0; round < options.rounds; round++) {
      const troubles = 1 + random.below(3);
      const ends: (() => void)[] = [];
      for (let i = 0; i < troubles; i++) {
        const kind = this.#draw();
        const end = this.#begin(kind);
        if (end === undefined) continue;
        ends.push(end);
        await cluster.runFor(random.unit() * 300);
      }
      // Shorter and longer than leases and elections.
      const longest = random.chance(0.5) ? options.serverLeaseMs : options.clerkLeaseMs * 3;
      await cluster.runFor(random.unit() * longest);
      for (const end of ends) end();
      this.#tend();
      if (random.chance(0.7)) await cluster.runFor(random.unit() * 500);
      else {
        const before = cluster.taken;
        const done = (): boolean => {
          this.#tend();
          return cluster.taken > before + 5;
        };
        await cluster.until(done, 60_000, `locks after round ${round}`);
      }
    }
  }

  #draw(): TroubleKind {
    const { random, options } = this.#cluster;
    let at = random.below(TROUBLES.reduce((sum, kind) => sum + options.trouble[kind], 0));
    for (const kind of TROUBLES) {
      at -= options.trouble[kind];
      if (at < 0) return kind;
    }
    return 'killLeader';
  }

  /** What a supervisor does: starts what is down. */
  #tend(): void {
    const cluster = this.#cluster;
    for (const slot of cluster.servers) cluster.startServer(slot);
    cluster.startClerks();
  }

  #server(): ServerSlot {
    const { servers, random } = this.#cluster;
    const members = servers.filter(({ removed }) => !removed);
    return members[random.below(members.length)] as ServerSlot;
  }

  #clerk(): ClerkSlot {
    const { clerks, random } = this.#cluster;
    return clerks[random.below(clerks.length)] as ClerkSlot;
  }

  #note(kind: TroubleKind, whom: string): void {
    this.log.push(`${this.#cluster.nowMs.toFixed(1)} ${kind} ${whom}`);
  }

  /** Begins a trouble; gives what ends it, or undefined when it cannot be now. */
  #begin(kind: TroubleKind): (() => void) | undefined {
    switch (kind) {
      case 'killServer':
      case 'powerCutServer':
        return this.#down(kind, this.#server(), kind === 'powerCutServer');
      case 'killLeader':
        return this.#down(kind, this.#cluster.leader ?? this.#server(), false);
      case 'crashServerAtSync':
        return this.#crashAtSync(this.#server());
      case 'stopServer':
        return this.#stop(this.#server());
      case 'pauseServer':
        return this.#pause(kind, this.#server());
      case 'slowDisk':
        return this.#slowDisk(this.#server());
      case 'isolateLeader':
      case 'isolateServer':
      case 'isolateClerk':
      case 'cutClerkFromOne':
      case 'badLinks':
        return this.#network(kind);
      case 'killClerk':
      case 'pauseClerk':
      case 'deafClerk':
      case 'closeClerk':
        return this.#trouble(kind, this.#clerk());
      case 'addServer':
      case 'removeServer':
        return this.#membership(kind);
    }
  }

  #down(kind: TroubleKind, slot: ServerSlot, power: boolean): () => void {
    this.#note(kind, slot.id);
    slot.process.crash({ power });
    return () => this.#cluster.startServer(slot);
  }

  /** As on SIGTERM: it gives its groups to the others, then it ends. */
  #stop(slot: ServerSlot): (() => void) | undefined {
    if (!slot.running || slot.server === undefined) return undefined;
    this.#note('stopServer', slot.id);
    return this.#cluster.stopServer(slot, slot.server);
  }

  #crashAtSync(slot: ServerSlot): () => void {
    const { random } = this.#cluster;
    this.#note('crashServerAtSync', slot.id);
    const moment = random.chance(0.5) ? 'before' : 'after';
    slot.process.crashAtSync(1 + random.below(6), moment, { power: random.chance(0.7) });
    return () => this.#cluster.startServer(slot);
  }

  #pause(kind: TroubleKind, slot: ServerSlot | ClerkSlot): () => void {
    this.#note(kind, slot.process.name);
    slot.process.pause();
    return () => slot.process.resume();
  }

  #slowDisk(slot: ServerSlot): () => void {
    this.#note('slowDisk', slot.id);
    const { disk } = slot.process;
    Object.assign(disk.faults, { syncMinMs: 5, syncMaxMs: 80 });
    return () => Object.assign(disk.faults, { syncMinMs: 0.05, syncMaxMs: 0.2 });
  }

  #trouble(
    kind: 'killClerk' | 'pauseClerk' | 'deafClerk' | 'closeClerk',
    slot: ClerkSlot,
  ): () => void {
    const cluster = this.#cluster;
    if (kind === 'pauseClerk') return this.#pause(kind, slot);
    this.#note(kind, slot.name);
    if (kind === 'killClerk') {
      cluster.killClerk(slot);
      return () => cluster.startClerks();
    }
    if (kind === 'closeClerk') {
      if (slot.life !== undefined) slot.life.closes = true;
      return () => undefined;
    }
    slot.deaf = true;
    return () => {
      slot.deaf = false;
    };
  }

  #network(
    kind: 'isolateLeader' | 'isolateServer' | 'isolateClerk' | 'cutClerkFromOne' | 'badLinks',
  ): () => void {
    const { random, sim, servers, clerks, leader } = this.#cluster;
    const serverIds = servers.map(({ id }) => id);
    const everybody = [...serverIds, ...clerks.map(({ name }) => name)];
    const oneWay = random.chance(0.4);
    if (kind === 'badLinks') {
      const to = serverIds[random.below(serverIds.length)] as string;
      this.#note(kind, to);
      sim.network.faults('*', to, { drop: 0.2, reorder: 0.3, delayMs: 5, duplicate: 0.1 });
      return () => sim.network.clearFaults();
    }
    let cut: string;
    let from = everybody;
    if (kind === 'isolateLeader') {
      cut = leader?.id ?? this.#server().id;
      // Often only from the other servers: clerks go on asking it.
      if (random.chance(0.5)) from = serverIds;
    } else if (kind === 'isolateServer') {
      cut = this.#server().id;
      if (random.chance(0.5)) from = everybody.filter(() => random.chance(0.5));
    } else {
      cut = this.#clerk().name;
      from = kind === 'isolateClerk' ? serverIds : [this.#server().id];
    }
    from = from.filter((name) => name !== cut);
    this.#note(kind, `${cut} ${oneWay ? '->' : '<->'} ${from.join(' ')}`);
    if (oneWay && random.chance(0.5)) sim.network.partition(from, [cut], { oneWay });
    else sim.network.partition([cut], from, { oneWay });
    return () => sim.network.heal();
  }

  #membership(kind: 'addServer' | 'removeServer'): (() => void) | undefined {
    const cluster = this.#cluster;
    const members = cluster.servers.filter(({ removed }) => !removed);
    if (kind === 'addServer') {
      if (members.length >= 5) return undefined;
      const slot = cluster.addServerSlot(true);
      this.#note(kind, slot.id);
      slot.process.start();
      return () => undefined;
    }
    if (members.length <= 3) return undefined;
    const slot = this.#server();
    this.#note(kind, slot.id);
    cluster.removeServer(slot);
    return () => undefined;
  }
}
