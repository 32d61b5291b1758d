/**
 * Many proposers on six acceptors under random schedules: messages are lost, repeated and reordered,
 * acceptors crash and come back with their durable state, proposers give up and are replaced. Each
 * operation appends its own mark to the register's value, so a value is the history that led to it, and
 * linearizability can be read off: all decided values are prefixes of one another, no mark is there
 * twice, and no acknowledged mark is missing from what is decided later.
 */
import { describe, expect, it } from 'vitest';
import { toNodeId, type NodeId } from '../ids.js';
import { registerQuorum, stableMembership, writeQuorum } from '../quorum/quorum-set.js';
import { acceptorStep, EMPTY_ACCEPTOR, type AcceptorStep, type AcceptorState } from './acceptor.js';
import {
  decodeAcceptorState,
  decodeRegisterMessage,
  decodeRegisterReply,
  encodeAcceptorState,
  encodeRegisterMessage,
  encodeRegisterReply,
  type RegisterMessage,
} from './messages.js';
import { Proposer, type ProposerEffect } from './proposer.js';

const KEY = 'volume/1';
const SIX = ['a', 'b', 'c', 'd', 'e', 'f'].map(toNodeId);
const MEMBERSHIP = stableMembership(SIX);

type Step = (state: AcceptorState, message: RegisterMessage) => AcceptorStep;
interface Faults {
  readonly step: Step;
  /** How many of six are a quorum. */
  readonly quorum: number;
}
const HONEST: Faults = { step: acceptorStep, quorum: 4 };

/** Small and seeded: mulberry32. */
function randomOf(seed: number): () => number {
  let state = seed;
  return () => {
    state = (state + 0x6d2b79f5) | 0;
    let t = Math.imul(state ^ (state >>> 15), 1 | state);
    t = (t + Math.imul(t ^ (t >>> 7), 61 | t)) ^ t;
    return ((t ^ (t >>> 14)) >>> 0) / 2 ** 32;
  };
}

interface Client {
  proposer: Proposer;
  mark: number;
  /** Marks acknowledged before this operation began. */
  acknowledged: number[];
}
type Packet =
  | { to: 'acceptor'; node: NodeId; client: number; bytes: Uint8Array }
  | { to: 'proposer'; from: NodeId; client: number; bytes: Uint8Array };

class Cluster {
  readonly decided: Uint8Array[] = [];
  readonly acknowledged: number[] = [];
  readonly #random: () => number;
  readonly #faults: Faults;
  /** What is on disk: bytes, so that every restart goes through the codec. */
  readonly #disks = new Map<NodeId, Uint8Array>();
  readonly #down = new Set<NodeId>();
  readonly #clients: Client[] = [];
  #packets: Packet[] = [];
  #nextMark = 1;
  #nextId = 1;

  constructor(seed: number, clientCount: number, faults: Faults) {
    this.#random = randomOf(seed);
    this.#faults = faults;
    for (const node of SIX) this.#disks.set(node, encodeAcceptorState(KEY, EMPTY_ACCEPTOR));
    for (let i = 0; i < clientCount; i++) {
      this.#clients.push({ proposer: this.#newProposer(), mark: 0, acknowledged: [] });
    }
  }

  run(steps: number, lossy: boolean): void {
    for (let i = 0; i < steps; i++) this.#turn(lossy);
  }

  /** Nothing is lost any more and everybody is up: whoever is busy must come to an end. */
  settle(): boolean {
    this.#down.clear();
    for (let i = 0; i < 20_000 && this.#clients.some((c) => c.proposer.busy); i++) {
      this.#turn(false, false);
    }
    return this.#clients.every((c) => !c.proposer.busy);
  }

  #newProposer(): Proposer {
    const { quorum } = this.#faults;
    return new Proposer({
      key: KEY,
      id: this.#nextId++,
      acceptors: SIX,
      isQuorum: (has) =>
        quorum === 4 ? registerQuorum(MEMBERSHIP, has) : SIX.filter(has).length >= quorum,
    });
  }

  #below(bound: number): number {
    return Math.floor(this.#random() * bound);
  }

  #turn(lossy: boolean, starting = true): void {
    const dice = this.#random();
    const index = this.#below(this.#clients.length);
    const client = this.#clients[index];
    if (this.#packets.length > 0 && dice < 0.8) this.#deliver(lossy);
    else if (dice < 0.9) {
      if (!client.proposer.busy && starting) this.#start(index);
      // A wait ends at some time; a retry does nothing in another state.
      else this.#carryOut(index, client.proposer.step({ kind: 'retry' }));
    } else if (dice < 0.95 && (lossy || this.#packets.length === 0)) {
      const { ballot } = client.proposer;
      const random = this.#random();
      this.#carryOut(index, client.proposer.step({ kind: 'timeout', ballot, random }));
    } else if (lossy && dice < 0.97) {
      client.proposer = this.#newProposer(); // the process died in the middle
    } else if (lossy) {
      const node = SIX[this.#below(SIX.length)];
      if (!this.#down.delete(node)) this.#down.add(node);
    }
  }

  #start(index: number): void {
    const client = this.#clients[index];
    const reads = this.#random() < 0.2;
    const mark = reads ? 0 : this.#nextMark++;
    client.mark = mark;
    client.acknowledged = [...this.acknowledged];
    const change = (current: Uint8Array | null): Uint8Array | null => {
      if (reads || current?.includes(mark)) return current;
      return Uint8Array.from([...(current ?? []), mark]);
    };
    this.#carryOut(index, client.proposer.step({ kind: 'start', change }));
  }

  #carryOut(index: number, effects: readonly ProposerEffect[]): void {
    const client = this.#clients[index];
    for (const effect of effects) {
      if (effect.kind === 'send') {
        const bytes = encodeRegisterMessage(effect.message);
        this.#packets.push({ to: 'acceptor', node: effect.to, client: index, bytes });
      } else if (effect.kind === 'decided') {
        const value = effect.value ?? new Uint8Array(0);
        this.decided.push(value);
        if (client.mark !== 0) {
          expect(value).toContain(client.mark);
          this.acknowledged.push(client.mark);
        }
        for (const mark of client.acknowledged) expect(value).toContain(mark);
      }
    }
  }

  #deliver(lossy: boolean): void {
    const at = this.#below(this.#packets.length);
    const packet = this.#packets[at];
    const fate = lossy ? this.#random() : 1;
    if (fate >= 0.1) {
      this.#packets[at] = this.#packets[this.#packets.length - 1];
      this.#packets.pop();
    } // else it stays and comes once more
    if (fate >= 0.1 && fate < 0.25) return;
    if (packet.to === 'proposer') {
      const reply = decodeRegisterReply(packet.bytes);
      const event = { kind: 'reply', from: packet.from, reply, random: this.#random() } as const;
      this.#carryOut(packet.client, this.#clients[packet.client].proposer.step(event));
      return;
    }
    const { node, client } = packet;
    if (this.#down.has(node)) return;
    const { state } = decodeAcceptorState(this.#disks.get(node)!);
    const step = this.#faults.step(state, decodeRegisterMessage(packet.bytes));
    this.#disks.set(node, encodeAcceptorState(KEY, step.state));
    const bytes = encodeRegisterReply(step.reply);
    this.#packets.push({ to: 'proposer', from: node, client, bytes });
  }
}

/** Throws when the decided values are not one chain, each mark once. */
function checkChain(decided: readonly Uint8Array[]): void {
  const ordered = [...decided].toSorted((x, y) => x.length - y.length);
  for (let i = 0; i < ordered.length; i++) {
    const value = ordered[i];
    if (new Set(value).size !== value.length) throw new Error(`a mark twice: ${value.join()}`);
    const before = ordered[i - 1] ?? value;
    if (!before.every((mark, at) => mark === value[at])) throw new Error('two histories');
  }
}

function schedule(seed: number, faults: Faults): { decided: number; settled: boolean } {
  const cluster = new Cluster(seed, 2 + (seed % 4), faults);
  cluster.run(600, true);
  const settled = cluster.settle();
  cluster.run(200, false);
  checkChain(cluster.decided);
  return { decided: cluster.decided.length, settled };
}

/** Each of these must be caught by one of the seeds; otherwise the schedules are too tame. */
const forget: Step = (state, message) => {
  const step = acceptorStep(state, message);
  return message.kind === 'prepare' ? { ...step, state } : step;
};
const deaf: Step = (state, message) => {
  if (message.kind === 'prepare') return acceptorStep(state, message);
  return acceptorStep(EMPTY_ACCEPTOR, message);
};
const blind: Step = (state, message) => acceptorStep({ ...state, promised: [0, 0] }, message);
const volatile: Step = (state, message) => {
  const step = acceptorStep(state, message);
  return message.ballot[0] % 3 === 0 ? { ...step, state } : step;
};

describe('registers under random schedules', () => {
  it('lose no update, decide one chain, and come to an end when the network heals', () => {
    let decided = 0;
    for (let seed = 1; seed <= 300; seed++) {
      const outcome = schedule(seed, HONEST);
      if (!outcome.settled) throw new Error(`seed ${seed} never settled`);
      decided += outcome.decided;
    }
    expect(decided).toBeGreaterThan(1000);
  });

  it.each<[string, Faults]>([
    ['promises are not durable', { step: forget, quorum: 4 }],
    ['accept compares with nothing', { step: deaf, quorum: 4 }],
    ['promises are not looked at', { step: blind, quorum: 4 }],
    ['answers leave before the state is durable', { step: volatile, quorum: 4 }],
    ['three of six are a quorum', { step: acceptorStep, quorum: 3 }],
  ])('are broken when %s', (_, faults) => {
    const caught = (): boolean => {
      for (let seed = 1; seed <= 300; seed++) {
        try {
          schedule(seed, faults);
        } catch {
          return true;
        }
      }
      return false;
    };
    expect(caught()).toBe(true);
  });

  it('write quorums of the log and register quorums are the same four of six', () => {
    for (let bits = 0; bits < 64; bits++) {
      const has = (node: NodeId): boolean => ((bits >> SIX.indexOf(node)) & 1) === 1;
      expect(registerQuorum(MEMBERSHIP, has)).toBe(writeQuorum(MEMBERSHIP, has));
    }
  });
});
