/**
 * A protection group whose members are replaced while engines write, die and open (rule 17): the real openings, writers
 * and segments, and an operator who changes the membership in the register. One seed is one run.
 *
 * ```
 *   stable --begin--> both --barrier taken, then reached by every set--> joined --finish--> stable
 *      ^               |                                                   |
 *      +----revert-----+-----------------------revert---------------------+
 * ```
 *
 * Each step is whole: a write, an opening, a change runs until nothing is on its way between those who hear each other
 * now, of each group a set of its own. What one step leaves behind, boxcars that some segments lack, a VDL that waits
 * for the other group, an engine that was overtaken and writes on, the next ones meet.
 *
 * - LOG-1: no opening annuls what an engine was told to be durable, and each finds all that is not annulled.
 * - LOG-4: no engine is told of more than what a later one recovered.
 */
import { SextantError, isSextantError } from '#core/errors.js';
import { toLsn, type NodeId } from '#core/ids.js';
import {
  beginReplace,
  finishReplace,
  joinReplace,
  quorumPoint,
  revertReplace,
  stableMembership,
  type Membership,
} from '#core/quorum/quorum-set.js';
import { decodeBoxcar } from '#core/redo/boxcar.js';
import { putSet } from '#core/redo/edits.js';
import { FLAG_CPL } from '#core/redo/record.js';
import { SimRandom } from '#core/world/simulated/random.js';
import { FakeSegment } from '#engine/volume/fake-node.test-helper.js';
import type { Fault } from '#engine/volume/faults.js';
import {
  OpeningCore,
  type Opened,
  type OpeningEffect,
  type OpeningEvent,
} from '#engine/volume/opening-core.js';
import { WriterCore, type WriterPort } from '#engine/volume/writer-core.js';
import { SclStatus, type DecidedList, type VolumeState } from '#storage-nodes/protocol/messages.js';
import type { SegmentEffect, SegmentEvent } from '#storage-nodes/segment/segment.js';
import { Violation } from '../violation.js';

export type MembershipFault =
  | Extract<Fault, 'readNewAtOnce' | 'writeNewOnly' | 'repairAnyW'>
  /** The barrier is VDL, not the highest LSN that was given out. */
  | 'barrierAtVdl';

const NODES = ['a', 'b', 'c', 'd', 'e', 'f', 'g'] as NodeId[];
const PGS = [0, 1];
const PAGES_PER_PG = 10;
const OPENING_ROUNDS = 3;
/** Longer than any wait for a resend. */
const STEP_MS = 10_000;

/** A node's segments, one of each group. */
type Node = readonly FakeSegment[];

export class ChangingGroup {
  register: VolumeState;
  readonly nodes: readonly Node[] = NODES.map(() => PGS.map((pg) => new FakeSegment(1, pg, true)));
  readonly random: SimRandom;
  readonly faults: ReadonlySet<Fault>;
  readonly engines: Engine[] = [];
  /** Every record that got an LSN. */
  readonly issued: { readonly lsn: number; readonly pg: number }[] = [];
  nowMs = 0;
  opened = 0;
  finished = 0;
  reverted = 0;
  readonly #barrierAtVdl: boolean;
  /** By PG: who is heard. */
  #heard: Set<NodeId>[] = PGS.map(() => new Set(NODES));
  #barrier = { engine: -1, epoch: 0, lsn: 0 };
  #queue: (() => void)[] = [];

  constructor(seed: number, fault?: MembershipFault) {
    this.random = new SimRandom(seed);
    this.#barrierAtVdl = fault === 'barrierAtVdl';
    this.faults = new Set(fault === undefined || fault === 'barrierAtVdl' ? [] : [fault]);
    const six = stableMembership(NODES.slice(0, 6));
    this.register = {
      format: 1,
      volume: 1,
      epoch: 0,
      state: 'open',
      opener: '',
      pagesPerPg: PAGES_PER_PG,
      pgs: PGS.map(() => six),
      ranges: [],
      lal: 20,
    };
  }

  run(steps: number): void {
    this.#open();
    for (let i = 0; i < steps; i++) this.#step();
  }

  #step(): void {
    const { random } = this;
    this.nowMs += STEP_MS;
    const dice = random.below(100);
    const alive = this.engines.filter(({ isDead }) => !isDead);
    // Mostly the newest; now and then one that does not know that it was overtaken.
    const engine = random.chance(0.8) ? alive.at(-1) : alive[random.below(alive.length)];
    if (dice < 35) engine?.write(random.below(PGS.length), random.chance(0.7));
    else if (dice < 50) this.#shuffle();
    else if (dice < 57) engine?.meet();
    else if (dice < 62) this.#gossip();
    else if (dice < 86) this.#operate();
    else if (dice < 95) this.#replaceEngine();
    else engine?.tick();
    this.pump();
  }

  // -- messages ---------------------------------------------------------------------------------------

  later(message: () => void): void {
    this.#queue.push(message);
  }

  /** Everything that is on its way arrives, in any order. */
  pump(): void {
    for (let count = 0; this.#queue.length > 0; count++) {
      if (count > 20_000) throw new Violation('LIVE', 'messages without end');
      const [message] = this.#queue.splice(this.random.below(this.#queue.length), 1);
      message();
    }
  }

  hears(node: NodeId, pg: number): boolean {
    return this.#heard[pg].has(node);
  }

  segment(node: NodeId, pg: number): FakeSegment {
    return this.nodes[NODES.indexOf(node)][pg];
  }

  /** Nobody notices at once. */
  #shuffle(share = 0.65): void {
    // Of the second group hardly any or nearly all: VDL waits for it while the first one goes on.
    const shares = [share, this.random.chance(0.5) ? 0.35 : 0.95];
    this.#heard = shares.map((s) => new Set(NODES.filter(() => this.random.chance(s))));
  }

  /** Mostly the one before is dead, and never sends again what it has. */
  #replaceEngine(): void {
    const before = this.engines.at(-1);
    if (before !== undefined && this.random.chance(0.8)) before.isDead = true;
    this.#shuffle(this.random.chance(0.5) ? 0.65 : 0.9);
    this.#open();
  }

  #gossip(): void {
    for (let i = 0; i < 3; i++) {
      const from = NODES[this.random.below(NODES.length)];
      const to = NODES[this.random.below(NODES.length)];
      this.copy(from, to, this.random.below(PGS.length));
    }
  }

  /** Only between segments of one epoch, and from a list that is not newer (rule 13). */
  copy(from: NodeId, to: NodeId, pg: number): void {
    if (from === to || !this.hears(from, pg) || !this.hears(to, pg)) return;
    const theirs = this.segment(from, pg);
    const { segment } = this.segment(to, pg);
    if (segment.volumeEpoch === 0 || theirs.segment.volumeEpoch !== segment.volumeEpoch) return;
    if (theirs.segment.listEpoch > segment.listEpoch) return;
    for (const boxcars of theirs.log) {
      const { journaledVdl: vdl, scl: peerScl } = theirs.segment;
      this.tell(to, pg, { type: 'gossip', boxcars, vdl, peerScl });
    }
  }

  /** A segment takes something; whoever has the volume open hears what it says of itself. */
  tell(node: NodeId, pg: number, event: SegmentEvent): SegmentEffect[] {
    const effects = this.segment(node, pg).step(event);
    for (const engine of this.engines) engine.hear(node, pg, effects);
    return effects;
  }

  // -- the operator -----------------------------------------------------------------------------------

  /** The next step of whatever replacement is under way, by the engine that has the volume open. */
  #operate(): void {
    const engine = this.engines.at(-1);
    const { epoch, state, pgs } = this.register;
    if (engine === undefined || engine.isDead || state !== 'open') return;
    if (engine.writer.volumeEpoch !== epoch) return;
    const next = this.#next(pgs[0], engine);
    if (next === undefined) return;
    this.register = { ...this.register, pgs: [next, ...pgs.slice(1)] };
    // It may die before it learns that its change has landed.
    if (this.random.chance(0.7)) engine.learn(next);
  }

  #next(membership: Membership, engine: Engine): Membership | undefined {
    const { random } = this;
    switch (membership.state) {
      case 'stable': {
        const [set] = membership.sets;
        const [into] = NODES.filter((node) => !set.includes(node));
        return beginReplace(membership, set[random.below(set.length)], into);
      }
      case 'both':
        return random.chance(0.3) ? this.#revert(membership) : this.#join(membership, engine);
      case 'joined':
        if (random.chance(0.3)) return this.#revert(membership);
        this.finished++;
        return finishReplace(membership);
    }
  }

  #revert(membership: Membership): Membership {
    this.reverted++;
    return revertReplace(membership);
  }

  /** Only an engine that knows of both sets can say how far they must have come. */
  #join(membership: Membership, { writer, index }: Engine): Membership | undefined {
    const [pg] = writer.pgs;
    const { epoch } = membership;
    if (pg.membership.epoch !== epoch) return undefined;
    if (this.#barrier.engine !== index || this.#barrier.epoch !== epoch) {
      const lsn = this.#barrierAtVdl ? writer.tailAtVdl(0) : pg.tail;
      this.#barrier = { engine: index, epoch, lsn };
    }
    if (quorumPoint(membership, pg.sclOf) < this.#barrier.lsn) return undefined;
    return joinReplace(membership, toLsn(this.#barrier.lsn));
  }

  // -- opening ----------------------------------------------------------------------------------------

  /** One that does not get through in a few rounds has died on the way. */
  #open(): void {
    const index = this.engines.length;
    const core = new OpeningCore({
      volume: 1,
      opener: `opener-${index}-${this.nowMs}`,
      lal: 20,
      create: false,
      pagesPerPg: PAGES_PER_PG,
      nodes: NODES.map((id) => ({ id, zone: 'z', address: id })),
      previousWriterDead: true,
      faults: this.faults,
    });
    const state: { opened: Opened | undefined } = { opened: undefined };
    const step = (event: OpeningEvent): void => {
      for (const effect of this.#worstFirst(core.step(event))) {
        if (effect.type === 'seal') this.#serve(effect, step);
        else if (effect.type === 'opened') state.opened = effect.opened;
        else this.later(() => this.#serve(effect, step));
      }
    };
    step({ type: 'start' });
    for (let round = 0; round < OPENING_ROUNDS && state.opened === undefined; round++) {
      this.pump();
      if (this.random.chance(0.5)) this.#shuffle();
      step({ type: 'tick' });
    }
    this.pump();
    if (state.opened === undefined) return;
    this.opened++;
    this.#checkFound(state.opened);
    this.engines.push(new Engine(this, index, state.opened));
  }

  /** Seals of those who lack most are answered first: a read quorum must do without the others. */
  #worstFirst(effects: OpeningEffect[]): OpeningEffect[] {
    const sclOf = (effect: OpeningEffect): number =>
      effect.type === 'seal' ? this.segment(effect.node, effect.pg).segment.scl : 0;
    return effects.toSorted((a, b) => sclOf(a) - sclOf(b));
  }

  #serve(effect: OpeningEffect, step: (event: OpeningEvent) => void): void {
    switch (effect.type) {
      case 'change': {
        const before = this.register.ranges.length;
        this.register = effect.change(this.register);
        if (this.register.ranges.length > before) this.#decided();
        step({ type: 'decided', step: effect.step, value: this.register });
        return;
      }
      case 'seal':
      case 'install':
      case 'catchUp':
        step(this.#ask(effect));
        return;
      case 'failed':
        if (!isSextantError(effect.error, 'FENCED')) throw effect.error;
        return;
      case 'lease':
      case 'opened':
        return;
    }
  }

  #ask(effect: Extract<OpeningEffect, { type: 'seal' | 'catchUp' | 'install' }>): OpeningEvent {
    const { pg, node, request } = effect;
    if (!this.hears(node, pg)) return { type: 'refused', pg, node, code: 'DISCONNECTED' };
    if (effect.type === 'catchUp') {
      for (const source of effect.request.sources) this.copy(source as NodeId, node, pg);
      return { type: 'caughtUp', pg, node };
    }
    try {
      const { ranges, membership, volumeEpoch } = effect.request;
      const newest = effect.type === 'seal' ? (ranges.at(-1)?.epoch ?? 0) : request.volumeEpoch;
      const list: DecidedList = { volumeEpoch, listEpoch: newest, ranges, membership, peers: [] };
      if (effect.type === 'install') {
        this.tell(node, pg, { type: 'install', list, vdl: effect.request.vdl });
        const { scl } = this.segment(node, pg).segment;
        return { type: 'installed', pg, node, answer: { scl, generation: 1 } };
      }
      const effects = this.tell(node, pg, { type: 'seal', list });
      const sealed = effects.find((one) => one.type === 'sealed');
      if (sealed === undefined) throw new Error('a seal is answered');
      return { type: 'sealed', pg, node, answer: { node, generation: 1, ...sealed.state } };
    } catch (error) {
      if (!(error instanceof SextantError)) throw error;
      return { type: 'refused', pg, node, code: error.code };
    }
  }

  /** Of each group it knows the last record that no list annuls: all of them were durable. */
  #checkFound({ state, tails }: Opened): void {
    for (const pg of PGS) {
      let last = 0;
      for (const { lsn, pg: of } of this.issued) {
        const annulled = state.ranges.some(({ after, through }) => lsn > after && lsn <= through);
        if (of === pg && !annulled) last = Math.max(last, lsn);
      }
      if (tails[pg] === last) continue;
      throw new Violation(
        'LOG-1',
        `epoch ${state.epoch}: PG ${pg} ends at ${tails[pg]}, not ${last}`,
      );
    }
  }

  #decided(): void {
    for (const { writer } of this.engines) this.checkDurable(writer);
  }

  /** What the engine was told to be durable is annulled by no list of a later epoch. */
  checkDurable(writer: WriterCore): void {
    for (const range of this.register.ranges) {
      if (range.epoch <= writer.volumeEpoch || writer.vdl <= range.after) continue;
      throw new Violation(
        'LOG-1',
        `epoch ${range.epoch} annuls (${range.after}, ${range.through}], epoch ${writer.volumeEpoch} has VDL ${writer.vdl}`,
      );
    }
  }
}

/** An engine that never learns that it is thought dead. */
class Engine implements WriterPort {
  readonly index: number;
  isDead = false;
  readonly writer: WriterCore;
  readonly #group: ChangingGroup;
  readonly #state: VolumeState;
  readonly #edits = new Uint8Array(16);

  constructor(group: ChangingGroup, index: number, { state, vdl, tails, segments }: Opened) {
    this.#group = group;
    this.index = index;
    this.#state = state;
    this.writer = new WriterCore(
      {
        volume: 1,
        epoch: state.epoch,
        pagesPerPg: PAGES_PER_PG,
        lal: state.lal,
        vdl,
        pgs: state.pgs.map((membership, pg) => ({ membership, tail: tails[pg] })),
        nodes: NODES,
        faults: group.faults,
      },
      this,
    );
    for (const { pg, node, scl, generation } of segments) {
      this.writer.knows(NODES.indexOf(node), pg, scl, generation);
    }
    this.writer.onVdl = () => group.checkDurable(this.writer);
  }

  write(pg: number, cpl: boolean): void {
    const { writer } = this;
    if (!writer.hasRoom(1, 100)) return this.tick();
    const end = putSet(this.#edits, 0, 100, Uint8Array.of(writer.volumeEpoch), 0, 1);
    const flags = cpl ? FLAG_CPL : 0;
    const lsn = writer.append(pg * PAGES_PER_PG, flags, 0, this.#edits, 0, end);
    this.#group.issued.push({ lsn, pg });
    writer.wait(lsn, this.#group.nowMs, () => undefined);
  }

  tick(): void {
    this.writer.tick(this.#group.nowMs);
  }

  /** Others are heard than before. */
  meet(): void {
    for (let node = 0; node < NODES.length; node++) this.writer.nodeUp(node);
  }

  learn(membership: Membership): void {
    if (this.writer.pgs[0].membership.epoch >= membership.epoch) return;
    this.writer.setMembership(0, membership);
    this.meet();
  }

  hear(node: NodeId, pg: number, effects: readonly SegmentEffect[]): void {
    if (this.isDead) return;
    const { segment } = this.#group.segment(node, pg);
    const { volumeEpoch, membershipEpoch, scl, held, resendAfter } = segment;
    for (const effect of effects) {
      if (effect.type !== 'acknowledge' && effect.type !== 'refuse') continue;
      const status = effect.type === 'refuse' ? effect.status : SclStatus.ok;
      const epochs = { volumeEpoch, membershipEpoch };
      const report = { volume: 1, pg, ...epochs, status, generation: 1, scl, held, resendAfter };
      const index = NODES.indexOf(node);
      this.#group.later(() => this.writer.onReport(index, report, this.#group.nowMs));
    }
  }

  // WriterPort

  push(node: number, bytes: Uint8Array): boolean {
    const { pg } = decodeBoxcar(bytes);
    const id = NODES[node];
    if (!this.#group.hears(id, pg)) return false;
    this.#group.later(() => this.#group.tell(id, pg, { type: 'boxcar', bytes }));
    return true;
  }

  flushSoon(): void {
    this.#group.later(() => this.writer.flush(this.#group.nowMs));
  }

  install(node: number, pg: number): void {
    const group = this.#group;
    const id = NODES[node];
    group.later(() => {
      const { writer } = this;
      const { membership } = writer.pgs[pg];
      const { volumeEpoch, vdl } = writer;
      const { ranges } = this.#state;
      const list = { volumeEpoch, listEpoch: volumeEpoch, ranges, membership, peers: [] };
      if (!group.hears(id, pg)) return writer.installFailed(node, pg);
      try {
        group.tell(id, pg, { type: 'install', list, vdl });
      } catch (error) {
        if (!isSextantError(error, 'STALE_EPOCH')) throw error;
        return writer.installFailed(node, pg);
      }
      writer.installed(node, pg, group.segment(id, pg).segment.scl, 1, group.nowMs);
    });
  }

  points(): void {}
  strike(): void {}
  suspect(): void {}
  committed(): void {}
}
