/**
 * What a node does at start before it takes part (rule 19).
 *
 * ```
 *   folder                    peers say                        becomes
 *   intact, generation g      none knows more than g           up
 *   intact, generation g      one knows more than g            untrusted (an old folder came back)
 *   damaged                   -                                untrusted
 *   empty, told `initial`     none ever heard of this node     up, generation 1: the cluster's first start
 *   empty                     -                                untrusted (the folder was lost)
 *
 *   untrusted: generation above all that peers know, told to them;
 *              each register read by a full round among the peers;
 *              epochs and lists adopted, segments not whole; then up
 * ```
 *
 * "Peers" means a majority of them, so that one of those asked is among those who were told. A node of a
 * cluster without peers has nobody to ask.
 */
import { SextantError } from '#core/errors.js';
import { toNodeId, type NodeId } from '#core/ids.js';
import {
  COPIES,
  members,
  registerQuorum,
  stableMembership,
  type Membership,
} from '#core/quorum/quorum-set.js';
import { compareBallots } from '#core/registers/ballot.js';
import type { AcceptorState } from '#core/registers/acceptor.js';
import {
  decodeAcceptorState,
  decodeRegisterReply,
  encodeRegisterMessage,
} from '#core/registers/messages.js';
import { Proposer } from '#core/registers/proposer.js';
import type { ProposerEffect, ProposerEvent } from '#core/registers/proposer.js';
import type { World } from '#core/world/world.js';
import { diskState } from '../protocol/codec-blocks.js';
import { peerReadAnswer, peerReadRequest, volumeState } from '../protocol/codec-json.js';
import { MessageType } from '../protocol/messages.js';
import type { PeerReadAnswer, VolumeState } from '../protocol/messages.js';
import type { PeerClients } from './peer-clients.js';

const CALL_MS = 1000;
const PAUSE_MS = 50;

export type FolderState = 'intact' | 'damaged' | 'empty' | 'initial';

export interface Admitted {
  readonly generation: number;
  /** Empty when the folder is trusted. */
  readonly volumes: readonly VolumeState[];
  /** Encoded acceptor states to take over. */
  readonly registers: readonly Uint8Array[];
  readonly trusted: boolean;
}

export class Admission {
  readonly #world: World;
  readonly #peers: PeerClients;
  readonly #self: string;
  #closed = false;

  constructor(world: World, peers: PeerClients, self: string) {
    this.#world = world;
    this.#peers = peers;
    this.#self = self;
  }

  close(): void {
    this.#closed = true;
  }

  /**
   * `begin` makes a new generation durable on this node before peers are told. Waits for peers as long as it
   * takes; rejects with CLOSED.
   */
  async run(
    folder: FolderState,
    generation: number,
    begin: (generation: number) => void,
  ): Promise<Admitted> {
    const ready = folder === 'empty' || folder === 'damaged';
    const answers = await this.#ask(0, (answer) => !ready || answer.ready);
    const known = Math.max(0, ...answers.map((answer) => answer.knownGeneration));
    if (folder === 'intact' && known <= generation) {
      if (known < generation) await this.#ask(generation, () => true);
      return { generation, volumes: [], registers: [], trusted: true };
    }
    // Nobody was ever told of this node, so it never took part: a node tells a majority first.
    if (folder === 'initial' && known === 0) {
      begin(1);
      await this.#ask(1, () => true);
      return { generation: 1, volumes: [], registers: [], trusted: true };
    }
    const next = Math.max(known, generation) + 1;
    this.#world.log.warn('folder lost, damaged or old: reading the registers before taking part', {
      folder,
      generation: next,
    });
    begin(next);
    await this.#ask(next, () => true);
    return this.#readRegisters(next);
  }

  /** Answers of a majority of the peers. */
  async #ask(
    generation: number,
    counts: (answer: PeerReadAnswer) => boolean,
  ): Promise<PeerReadAnswer[]> {
    const body = peerReadRequest.encode({ from: this.#self, generation });
    const answers = new Map<string, PeerReadAnswer>();
    const ids = this.#peers.ids;
    const needed = ids.length === 0 ? 0 : Math.floor(ids.length / 2) + 1;
    for (let round = 1; answers.size < needed; round++) {
      if (this.#closed) throw new SextantError('CLOSED', 'node is closed');
      const missing = ids.filter((id) => !answers.has(id));
      // One silent peer must not hold up the rest.
      await new Promise<void>((resolve) => {
        const asked = missing.map(async (id) => {
          await this.#askOne(id, body, counts, answers);
          if (answers.size >= needed) resolve();
        });
        void Promise.all(asked).then(() => resolve());
      });
      if (answers.size >= needed) break;
      if (round % 100 === 0) {
        this.#world.log.warn('waiting for peers', { answered: answers.size, needed });
      }
      await this.#world.timers.sleep(PAUSE_MS * (0.5 + this.#world.random.unit()));
    }
    return [...answers.values()];
  }

  async #askOne(
    id: string,
    body: Uint8Array,
    counts: (answer: PeerReadAnswer) => boolean,
    answers: Map<string, PeerReadAnswer>,
  ): Promise<void> {
    try {
      const bytes = await this.#peers.call(id, MessageType.registerReadPeer, body, CALL_MS);
      const answer = peerReadAnswer.decode(bytes);
      if (counts(answer)) answers.set(id, answer);
    } catch (error) {
      this.#world.log.debug('peer did not answer', { peer: id, error: String(error) });
    }
  }

  async #readRegisters(generation: number): Promise<Admitted> {
    const seen = newestStates(await this.#ask(0, (answer) => answer.ready));
    const acceptors = this.#acceptors(seen);
    if (acceptors === undefined) return { generation, volumes: [], registers: [], trusted: false };
    for (const key of seen.keys()) await this.#round(key, acceptors);
    const settled = newestStates(await this.#ask(0, (answer) => answer.ready));
    const volumes: VolumeState[] = [];
    for (const [key, { state }] of settled) {
      if (key.startsWith('volume/') && state.value !== null) {
        volumes.push(volumeState.decode(state.value));
      }
    }
    const registers = [...settled.values()].map(({ bytes }) => bytes);
    return { generation, volumes, registers, trusted: false };
  }

  /** The first group of the first volume, else of a disk, else all of a cluster of six. Undefined: nothing to read. */
  #acceptors(seen: ReadonlyMap<string, Newest>): Membership | undefined {
    for (const key of [...seen.keys()].sort().reverse()) {
      const value = seen.get(key)?.state.value ?? null;
      if (value === null) continue;
      if (key.startsWith('volume/')) return volumeState.decode(value).pgs[0];
      if (key.startsWith('disk/'))
        return stableMembership(asNodeIds(diskState.decode(value).groups[0]));
    }
    const all = [this.#self, ...this.#peers.ids];
    return seen.size === 0 || all.length !== COPIES ? undefined : stableMembership(asNodeIds(all));
  }

  /** A full round that writes back what it read; this node itself does not answer in it. */
  async #round(key: string, membership: Membership): Promise<void> {
    const { random } = this.#world;
    const proposer = new Proposer({
      key,
      id: 1 + random.below(0xffff_fffe) * 0x8000 + random.below(0x8000),
      acceptors: members(membership).filter((node) => node !== this.#self),
      // This node itself never answers, so it never completes a quorum, nor might it yet.
      isQuorum: (has) => registerQuorum(membership, (node) => node !== this.#self && has(node)),
    });
    await new Promise<void>((resolve, reject) => {
      this.#drive(proposer, { kind: 'start', change: (current) => current }, resolve, reject);
    });
  }

  #drive(
    proposer: Proposer,
    event: ProposerEvent,
    resolve: () => void,
    reject: (error: unknown) => void,
  ): void {
    if (this.#closed) {
      reject(new SextantError('CLOSED', 'node is closed'));
      return;
    }
    let effects: readonly ProposerEffect[];
    try {
      effects = proposer.step(event);
    } catch (error) {
      reject(error);
      return;
    }
    for (const effect of effects) {
      if (effect.kind === 'decided') resolve();
      else if (effect.kind === 'failed') reject(effect.error);
      else if (effect.kind === 'backoff') {
        this.#world.timers.after(effect.delayMs, () =>
          this.#drive(proposer, { kind: 'retry' }, resolve, reject),
        );
      } else {
        void this.#send(effect).then((next) => this.#drive(proposer, next, resolve, reject));
      }
    }
  }

  async #send(effect: ProposerEffect & { kind: 'send' }): Promise<ProposerEvent> {
    const { to: from, message } = effect;
    const prepare = message.kind === 'prepare';
    const type = prepare ? MessageType.registerPrepare : MessageType.registerAccept;
    const random = (): number => this.#world.random.unit();
    try {
      const bytes = await this.#peers.call(from, type, encodeRegisterMessage(message), CALL_MS);
      return { kind: 'reply', from, reply: decodeRegisterReply(bytes), random: random() };
    } catch {
      return { kind: 'lost', from, ballot: message.ballot, random: random() };
    }
  }
}

function asNodeIds(names: readonly string[]): NodeId[] {
  return names.map((name) => toNodeId(name));
}

interface Newest {
  readonly state: AcceptorState;
  readonly bytes: Uint8Array;
}

/** Of each register the state with the highest accepted ballot. */
function newestStates(answers: readonly PeerReadAnswer[]): Map<string, Newest> {
  const newest = new Map<string, Newest>();
  for (const answer of answers) {
    for (const text of answer.registers) {
      const bytes = new Uint8Array(Buffer.from(text, 'base64'));
      const { key, state } = decodeAcceptorState(bytes);
      const known = newest.get(key);
      if (known === undefined || compareBallots(state.accepted, known.state.accepted) > 0) {
        newest.set(key, { state, bytes });
      }
    }
  }
  return newest;
}
