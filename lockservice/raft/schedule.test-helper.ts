/**
 * Bare cores under a random schedule: messages are lost, repeated and reordered, servers crash between any two steps and come
 * back with what was durable, time jumps. Far more elections and crashes per second than whole nodes manage.
 */
import { crc32c } from '#core/bytes/crc32c.js';
import { SextantError } from '#core/errors.js';
import { SimRandom } from '#core/world/simulated/random.js';
import {
  EntryKind,
  makeSnapshot,
  type Entry,
  type RaftMember,
  type RaftSnapshot,
} from './entry.js';
import type { RaftFaults } from './faults.js';
import type { RaftLimits } from './leadership.js';
import { decodeRaftMessage, encodeRaftMessage, type RaftMessage } from './messages.js';
import { RaftChecker } from './raft-checker.test-helper.js';
import { RaftCore, type Envelope, type HardState, type RaftReady } from './raft-core.js';

export function memberOf(id: string): RaftMember {
  return { id, address: `${id}:1` };
}

/** Through the codec, as over a wire. */
export function carried(message: RaftMessage): RaftMessage {
  return decodeRaftMessage(encodeRaftMessage(message, '')).message;
}

interface Packet {
  readonly from: string;
  readonly to: string;
  readonly message: RaftMessage;
}

/** A server with its disk: what is durable, and what a power cut would undo. */
class Server {
  readonly id: string;
  core: RaftCore | undefined;
  hardState: HardState = { term: 0, vote: '' };
  snapshot: RaftSnapshot;
  entries: Entry[] = [];
  /** With `ackBeforeSync`: not durable yet. */
  unsynced: Entry[] = [];
  /** Hash over all commands applied. */
  state = 0;
  readonly reads = new Map<number, number>();
  readonly proposals = new Map<number, { readonly term: number; readonly command: Uint8Array }>();

  constructor(id: string, founders: readonly RaftMember[]) {
    this.id = id;
    this.snapshot = makeSnapshot(0, 0, founders, stateBytes(0));
  }

  keep(entries: readonly Entry[]): void {
    for (const entry of entries) {
      if (entry.index <= this.snapshot.index) continue;
      this.entries.length = entry.index - this.snapshot.index - 1;
      this.entries.push(entry);
    }
  }

  keepSnapshot(snapshot: RaftSnapshot, tail: boolean): void {
    const kept = tail ? this.entries.filter((entry) => entry.index > snapshot.index) : [];
    this.snapshot = snapshot;
    this.entries = kept;
  }
}

function stateBytes(state: number): Uint8Array {
  const bytes = new Uint8Array(300);
  new DataView(bytes.buffer).setUint32(0, state, true);
  return bytes;
}

export interface ScheduleOptions {
  readonly servers?: number;
  /** Of them are members from the beginning. */
  readonly founders?: number;
  readonly faults?: RaftFaults;
  readonly changes?: boolean;
  readonly limits?: Partial<RaftLimits>;
  readonly compaction?: boolean;
  /** Probability that a step crashes somebody. */
  readonly crashes?: number;
}

const LIMITS: RaftLimits = {
  heartbeatMs: 10,
  electionMs: [50, 100],
  entriesMax: 3,
  appendBytesMax: 40,
  inflightMax: 3,
  chunkBytes: 100,
};

export class Schedule {
  readonly checker = new RaftChecker();
  readonly servers: Server[] = [];
  readonly random: SimRandom;
  readonly #options: ScheduleOptions;
  #packets: Packet[] = [];
  #nowMs = 0;
  #nextCommand = 1;
  #nextRead = 1;
  #crashes: number;
  /** Both directions between these and the others are cut. */
  #island = new Set<string>();
  acknowledged = 0;
  readsDone = 0;
  changesDone = 0;
  snapshotsTaken = 0;

  constructor(seed: number, options: ScheduleOptions = {}) {
    this.random = new SimRandom(seed);
    this.#options = options;
    this.#crashes = options.crashes ?? 0.01;
    const count = options.servers ?? 3;
    const ids = Array.from({ length: count }, (_, i) => `s${i + 1}`);
    const founders = ids.slice(0, options.founders ?? count).map(memberOf);
    for (const id of ids) {
      const founder = founders.some((member) => member.id === id);
      this.servers.push(new Server(id, founder ? founders : []));
    }
    for (const server of this.servers) this.#start(server);
  }

  run(steps: number): void {
    for (let i = 0; i < steps; i++) this.#step();
  }

  /** No more faults: within so many virtual milliseconds a leader serves reads and everybody up has all of it. */
  settle(limitMs: number): boolean {
    this.#island.clear();
    this.#crashes = 0;
    for (const server of this.servers) if (server.core === undefined) this.#start(server);
    const until = this.#nowMs + limitMs;
    const before = this.acknowledged;
    while (this.#nowMs < until) {
      while (this.#packets.length > 0) this.#deliver(0);
      this.#nowMs += 1;
      for (const server of this.servers) {
        this.#act(server, (core) => core.tick(this.#nowMs));
        if (server.core?.isLeader === true && server.proposals.size === 0) this.#propose(server);
      }
      if (this.acknowledged > before && this.#agree()) return true;
    }
    return false;
  }

  #agree(): boolean {
    const leader = this.servers.find(({ core }) => core?.isLeader === true)?.core;
    if (leader === undefined) return false;
    return leader.members.every(({ id }) => {
      const core = this.servers.find((server) => server.id === id)?.core;
      return core !== undefined && core.appliedIndex >= leader.commitIndex - 1;
    });
  }

  #start(server: Server): void {
    const { faults = {} } = this.#options;
    const { hardState, snapshot, entries } = server;
    server.state = new DataView(snapshot.data.buffer, snapshot.data.byteOffset).getUint32(0, true);
    server.reads.clear();
    server.proposals.clear();
    server.core = new RaftCore(
      {
        id: server.id,
        seed: this.random.u32(),
        limits: { ...LIMITS, ...this.#options.limits },
        faults,
      },
      { hardState, snapshot, entries: entries.map((entry) => ({ ...entry })) },
      this.#nowMs,
    );
    this.checker.restarted(server.id);
    this.checker.observe(server.core);
  }

  #crash(server: Server): void {
    server.core = undefined;
    server.unsynced = [];
  }

  #step(): void {
    const { random, servers } = this;
    if (this.#packets.length > 0 && random.chance(0.85)) {
      this.#deliver(0.05);
      return;
    }
    const dice = random.unit();
    const server = servers[random.below(servers.length)];
    if (dice < 0.5) {
      this.#pass();
    } else if (dice < 0.75) {
      this.#propose(server);
    } else if (dice < 0.88) {
      this.#read(server);
    } else if (dice < 0.91) {
      this.#compact(server);
    } else if (dice < 0.94) {
      this.#change(server);
    } else if (dice < 0.96) {
      this.#part(random.chance(0.5) ? 0 : 0.4);
    } else if (dice < 0.963) {
      this.#act(server, (core) => core.handOver());
    } else if (server.core === undefined) {
      if (random.chance(0.3)) this.#start(server);
    } else if (random.chance(this.#crashes * 20)) {
      this.#crash(server);
      if (random.chance(0.5)) this.#start(server);
    }
  }

  /** Those on the island hear only one another. */
  #part(chance: number): void {
    this.#island.clear();
    for (const { id } of this.servers) if (this.random.chance(chance)) this.#island.add(id);
  }

  /** What goes wrong right behind an election, a vote or a commit is what the rules are for. */
  #strike(server: Server, chance: number): void {
    const { random } = this;
    if (this.#crashes === 0 || !random.chance(chance)) return;
    const dice = random.unit();
    if (dice < 0.4) {
      this.#part(0.25);
      this.#island.add(server.id);
      return;
    }
    this.#crash(server);
    if (dice < 0.7) this.#start(server);
  }

  /** Time goes on; some sleep through it. */
  #pass(): void {
    const { random } = this;
    this.#nowMs += random.chance(0.02) ? random.below(150) : random.below(6);
    for (const server of this.servers) {
      if (random.chance(0.9)) this.#act(server, (core) => core.tick(this.#nowMs));
    }
  }

  #deliver(loss: number): void {
    const { random } = this;
    // Mostly in order, so that something gets done.
    const at = random.chance(0.7) ? 0 : random.below(this.#packets.length);
    const packet = this.#packets[at];
    if (!random.chance(loss)) this.#packets.splice(at, 1);
    if (random.chance(loss)) return;
    if (this.#island.has(packet.from) !== this.#island.has(packet.to)) return;
    const server = this.servers.find(({ id }) => id === packet.to);
    if (server === undefined) return;
    this.#act(server, (core) => core.receive(packet.from, carried(packet.message), this.#nowMs));
  }

  #propose(server: Server): void {
    if (server.core?.isLeader !== true) return;
    const command = new Uint8Array(8 + this.random.below(20));
    new DataView(command.buffer).setUint32(0, this.#nextCommand++, true);
    this.#act(server, (core) => {
      const { index, term } = core.propose(command);
      server.proposals.set(index, { term, command });
    });
  }

  #read(server: Server): void {
    if (server.core?.isLeader !== true) return;
    const read = this.#nextRead++;
    server.reads.set(read, this.checker.readBegins());
    this.#act(server, (core) => core.read(read));
  }

  #compact(server: Server): void {
    const { core } = server;
    if (core === undefined || this.#options.compaction === false) return;
    if (core.appliedIndex < core.snapshot.index + 4) return;
    const trailing = this.random.below(4);
    const snapshot = core.compacted(core.appliedIndex, stateBytes(server.state), trailing);
    server.keepSnapshot(snapshot, this.#options.faults?.snapshotLosesTail !== true);
    this.#act(server, () => undefined);
  }

  #change(server: Server): void {
    if (server.core?.isLeader !== true || this.#options.changes === false) return;
    const { id } = this.servers[this.random.below(this.servers.length)];
    const has = server.core.configs.has(id);
    try {
      const change = has ? { remove: id } : { add: memberOf(id) };
      this.#act(server, (core) => core.changeMembers(change, this.#nowMs));
    } catch (error) {
      if (!(error instanceof SextantError)) throw error;
    }
  }

  /** Does something to a server, then all that its core asks for; it may crash in between. */
  #act(server: Server, event: (core: RaftCore) => unknown): void {
    const { core } = server;
    if (core === undefined) return;
    const led = core.isLeader;
    const commit = led ? core.commitIndex : Infinity;
    event(core);
    this.checker.observe(core);
    const elected = core.isLeader && !led;
    // Several events may share one write.
    if (!elected && this.random.chance(0.3)) return;
    let voted = false;
    for (;;) {
      const ready = core.take();
      if (ready === undefined) break;
      voted ||= ready.hardState !== undefined && ready.hardState.vote !== '';
      this.#send(server.id, ready.early);
      if (this.random.chance(this.#crashes / 4)) {
        this.#crash(server);
        return;
      }
      this.#persist(server, ready);
      core.persisted(this.#nowMs);
      this.#send(server.id, ready.messages);
      this.#apply(server, ready);
      this.checker.observe(core);
    }
    if (elected || core.commitIndex > commit) this.#strike(server, elected ? 0.4 : 0.1);
    else if (voted) this.#strike(server, 0.3);
  }

  #persist(server: Server, ready: RaftReady): void {
    const { faults = {} } = this.#options;
    if (ready.hardState !== undefined) {
      server.hardState =
        faults.forgetVote === true ? { ...ready.hardState, vote: '' } : ready.hardState;
    }
    if (ready.snapshot !== undefined) {
      server.keepSnapshot(ready.snapshot, false);
      server.unsynced = [];
      this.snapshotsTaken++;
    }
    server.keep(server.unsynced);
    server.unsynced = [];
    if (faults.ackBeforeSync === true) server.unsynced = [...ready.entries];
    else server.keep(ready.entries);
  }

  #send(from: string, envelopes: readonly Envelope[]): void {
    for (const { to, message } of envelopes) this.#packets.push({ from, to, message });
    if (this.#packets.length > 200) this.#packets.splice(0, this.#packets.length - 200);
  }

  #apply(server: Server, ready: RaftReady): void {
    const { snapshot } = ready;
    if (snapshot !== undefined) {
      server.state = new DataView(snapshot.data.buffer, snapshot.data.byteOffset).getUint32(
        0,
        true,
      );
      this.checker.applied(server.id, snapshot.index, server.state, true);
    }
    for (const entry of ready.committed) {
      if (entry.kind === EntryKind.command) server.state = crc32c(entry.data, server.state);
      this.checker.observe(server.core as RaftCore);
      this.checker.applied(server.id, entry.index, server.state);
      const proposal = server.proposals.get(entry.index);
      server.proposals.delete(entry.index);
      if (proposal?.term !== entry.term) continue;
      this.checker.acknowledged(entry.index, proposal.command);
      this.acknowledged++;
    }
    for (const { read, index } of ready.reads) {
      const from = server.reads.get(read);
      if (from === undefined) continue;
      this.checker.readEnds(from, index);
      this.readsDone++;
    }
    if (ready.change?.error === undefined && ready.change !== undefined) this.changesDone++;
    if (server.core?.isLeader !== true) {
      server.proposals.clear();
      server.reads.clear();
    }
  }
}
