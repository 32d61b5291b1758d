/**
 * Random walks through the model of membership (docs/spec, Membership.tla) with the real quorum
 * functions, two replacements at a time, partial ends, nodes that come back, writers that have not
 * learnt that their change landed, and stale writers that go on. The log is a number: a chain prefix
 * (SCL) says all. After each step:
 *
 * - AckedIsFound (LOG-1): every read quorum of the sets in force finds what any writer acknowledged.
 * - VdlNeverBack (LOG-4): no writer has got beyond what a later opening recovered.
 */
import { describe, expect, it } from 'vitest';
import { toLsn, toNodeId, type NodeId } from '../ids.js';
import {
  beginReplace,
  finishReplace,
  joinReplace,
  members,
  quorumPoint,
  readQuorum,
  revertReplace,
  sealQuorum,
  stableMembership,
  writeQuorum,
  type HasNode,
  type Membership,
} from './quorum-set.js';

const POOL = ['a', 'b', 'c', 'd', 'e', 'f', 'g', 'h', 'i'].map(toNodeId);

interface Rules {
  readonly read: (m: Membership, has: HasNode) => boolean;
  readonly seal: (m: Membership, has: HasNode) => boolean;
  readonly repair: (m: Membership, has: HasNode) => boolean;
  readonly point: (m: Membership, sclOf: (node: NodeId) => number) => number;
  readonly barrier: (writer: Writer) => number;
}
const PROTOCOL: Rules = {
  read: readQuorum,
  seal: sealQuorum,
  repair: writeQuorum,
  point: quorumPoint,
  barrier: (writer) => writer.lsn,
};

interface Writer {
  readonly epoch: number;
  /** What it recovered. */
  readonly base: number;
  /** The membership that it believes in. */
  membership: Membership;
  lsn: number;
  pgcl: number;
  vdl: number;
  /** -1: not taken. */
  barrier: number;
  readonly acknowledged: Map<NodeId, number>;
}

/** Small and seeded: mulberry32. */
function randomOf(seed: number): (bound: number) => number {
  let state = seed;
  return (bound) => {
    state = (state + 0x6d2b79f5) | 0;
    let t = Math.imul(state ^ (state >>> 15), 1 | state);
    t = (t + Math.imul(t ^ (t >>> 7), 61 | t)) ^ t;
    return Math.floor((((t ^ (t >>> 14)) >>> 0) / 2 ** 32) * bound);
  };
}

class Walk {
  readonly seen = new Set<string>();
  readonly #rules: Rules;
  readonly #below: (bound: number) => number;
  #membership = stableMembership(POOL.slice(0, 6));
  readonly #writers: Writer[] = [];
  readonly #nodes = new Map(POOL.map((id) => [id, { epoch: 1, scl: 0 }]));
  /** Deliveries reach these for now: otherwise all nodes stay alike. */
  #reachable = new Set(POOL);

  constructor(seed: number, rules: Rules) {
    this.#rules = rules;
    this.#below = randomOf(seed);
    this.#writers.push(this.#writer(1, 0));
  }

  run(steps: number): void {
    for (let i = 0; i < steps; i++) {
      this.#step();
      this.#check();
    }
  }

  #writer(epoch: number, base: number): Writer {
    return {
      epoch,
      base,
      membership: this.#membership,
      lsn: base,
      pgcl: base,
      vdl: base,
      barrier: -1,
      acknowledged: new Map(),
    };
  }

  #pick<T>(from: readonly T[]): T {
    return from[this.#below(from.length)];
  }

  #step(): void {
    const newest = this.#writers[this.#writers.length - 1];
    const writer = this.#below(5) === 0 ? this.#pick(this.#writers) : newest;
    const dice = this.#below(100);
    if (dice < 15) writer.lsn++;
    else if (dice < 65) this.#deliver(writer, this.#pick(members(writer.membership)));
    else if (dice < 80) this.#advance(writer);
    else if (dice < 84) this.#reachable = new Set(POOL.filter(() => this.#below(3) > 0));
    else if (dice < 89) this.#takeBarrier(newest);
    else if (dice < 97) this.#change(newest);
    else this.#reopen();
  }

  /** What of a node's chain survives the openings through which it slept. */
  #kept(id: NodeId): number {
    const { epoch, scl } = this.#nodes.get(id)!;
    return this.#writers.reduce(
      (kept, w) => (w.epoch > epoch ? Math.min(kept, w.base) : kept),
      scl,
    );
  }

  #deliver(writer: Writer, id: NodeId): void {
    const segment = this.#nodes.get(id)!;
    if (!this.#reachable.has(id) || segment.epoch > writer.epoch) return;
    const from = segment.epoch === writer.epoch ? segment.scl : this.#kept(id);
    if (from >= writer.lsn) return;
    const scl = from + 1 + this.#below(writer.lsn - from);
    this.#nodes.set(id, { epoch: writer.epoch, scl });
    writer.acknowledged.set(id, scl);
  }

  #point(writer: Writer): number {
    return this.#rules.point(writer.membership, (id) => writer.acknowledged.get(id) ?? 0);
  }

  #advance(writer: Writer): void {
    if (this.#below(2) === 0) writer.pgcl = Math.max(writer.pgcl, this.#point(writer));
    else if (writer.vdl < writer.pgcl) writer.vdl += 1 + this.#below(writer.pgcl - writer.vdl);
  }

  #takeBarrier(writer: Writer): void {
    if (writer.membership !== this.#membership || this.#membership.state !== 'both') return;
    if (writer.barrier < 0) writer.barrier = this.#rules.barrier(writer);
  }

  /** Compare-and-set on the register, so only in the newest epoch and on what the writer knows. */
  #change(writer: Writer): void {
    if (writer.membership !== this.#membership) {
      writer.membership = this.#membership; // it learns that its change landed
      writer.barrier = -1;
      return;
    }
    const next = this.#nextMembership(writer);
    if (next === undefined) return;
    this.#membership = next;
    this.seen.add(`${next.state} ${next.sets.length}`);
    if (this.#below(3) > 0) {
      writer.membership = next;
      writer.barrier = -1;
    }
  }

  #nextMembership(writer: Writer): Membership | undefined {
    const m = this.#membership;
    const coming = members(m).filter((id) => !m.sets[0].includes(id));
    const one = this.#below(2) === 0 ? undefined : this.#pick(coming);
    const dice = this.#below(4);
    if (m.state === 'both' && writer.barrier >= 0 && dice < 3) {
      if (this.#point(writer) < writer.barrier) return undefined;
      return joinReplace(m, toLsn(writer.barrier));
    }
    if (m.state === 'joined' && dice < 2) return finishReplace(m, one);
    if (m.state !== 'stable' && this.#below(4) === 0) return revertReplace(m, one);
    if (m.sets.length === 4 || (m.sets.length === 2 && this.#below(4) > 0)) return undefined;
    const out = m.sets[0].filter((id) => m.sets.every((set) => set.includes(id)));
    const into = POOL.filter((id) => !members(m).includes(id));
    return beginReplace(m, this.#pick(out), this.#pick(into));
  }

  /** Members in random order until they are a quorum. */
  #gather(is: (m: Membership, has: HasNode) => boolean): Set<NodeId> {
    const left = members(this.#membership);
    const gathered = new Set<NodeId>();
    while (!is(this.#membership, (id) => gathered.has(id))) {
      gathered.add(left.splice(this.#below(left.length), 1)[0]);
    }
    return gathered;
  }

  /** A new writer: seal, repair to a write quorum, open. */
  #reopen(): void {
    const sealed = this.#gather(this.#rules.seal);
    const repaired = this.#gather(this.#rules.repair);
    const base = Math.max(...[...sealed].map((id) => this.#kept(id)));
    const writer = this.#writer(this.#writers.length + 1, base);
    for (const id of new Set([...sealed, ...repaired])) {
      const scl = repaired.has(id) ? base : this.#kept(id);
      this.#nodes.set(id, { epoch: writer.epoch, scl });
      writer.acknowledged.set(id, scl);
    }
    this.#writers.push(writer);
  }

  #check(): void {
    const vdl = Math.max(...this.#writers.map((w) => w.vdl));
    const without: HasNode = (id) => this.#kept(id) < vdl;
    if (this.#rules.read(this.#membership, without)) {
      throw new Error(`AckedIsFound: ${this.#membership.state} misses ${vdl}`);
    }
    let highest = 0;
    for (const writer of this.#writers) {
      if (highest > writer.base) throw new Error(`VdlNeverBack: epoch ${writer.epoch}`);
      highest = Math.max(highest, writer.vdl);
    }
  }
}

const SEEDS = 300;
const STEPS = 400;

/** In "both" a quorum of the newest set alone will do. */
const lastSet = (m: Membership): Membership => stableMembership(m.sets[m.sets.length - 1]);

describe('membership walks', () => {
  it('find everything acknowledged, and VDL never goes back', () => {
    const seen = new Set<string>();
    for (let seed = 1; seed <= SEEDS; seed++) {
      const walk = new Walk(seed, PROTOCOL);
      walk.run(STEPS);
      for (const state of walk.seen) seen.add(state);
    }
    expect([...seen].toSorted()).toEqual(['both 2', 'both 4', 'joined 2', 'joined 4', 'stable 1']);
  });

  it('hold as well when an opening seals no more than a read quorum', () => {
    for (let seed = 1; seed <= SEEDS; seed++) {
      new Walk(seed, { ...PROTOCOL, seal: readQuorum }).run(STEPS);
    }
  });

  it.each<[string, Partial<Rules>]>([
    ['readNewAtOnce', { read: (m, has) => readQuorum({ ...m, state: 'joined' }, has) }],
    ['sealNewOnly', { seal: (m, has) => sealQuorum(lastSet(m), has) }],
    ['writeNewOnly', { point: (m, sclOf) => quorumPoint(lastSet(m), sclOf) }],
    ['writeOldOnly', { point: (m, sclOf) => quorumPoint(stableMembership(m.sets[0]), sclOf) }],
    ['barrierAtVdl', { barrier: (writer) => writer.vdl }],
    ['repairAnyW', { repair: (m, has) => members(m).filter(has).length >= 4 }],
    ['sealTwo', { seal: (m, has) => members(m).filter(has).length >= 2 }],
  ])('catch %s', (_, mutation) => {
    const caught = (): boolean => {
      for (let seed = 1; seed <= 2 * SEEDS; seed++) {
        try {
          new Walk(seed, { ...PROTOCOL, ...mutation }).run(STEPS);
        } catch (error) {
          if (!String(error).match(/AckedIsFound|VdlNeverBack/)) throw error;
          return true;
        }
      }
      return false;
    };
    expect(caught()).toBe(true);
  });
});
