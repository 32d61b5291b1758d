/**
 * Explores the volume protocol: opening and writer cores against real segment cores, with one scheduler
 * that picks at random what happens next. Messages get lost, repeated and reordered, nodes go down,
 * one folder at a time is lost, openers crash, stop for a while, and race. One seed is one run.
 *
 * Checked (names as in the TLA+ model): AckedIsKept, VdlNeverBack, LsnIsFresh, ReadIsComplete,
 * AnnulledIsHidden, LalHolds.
 */
import { SextantError, isSextantError } from '#core/errors.js';
import type { NodeId } from '#core/ids.js';
import { stableMembership, type Membership } from '#core/quorum/quorum-set.js';
import { BOXCAR_HEADER_BYTES, decodeBoxcar } from '#core/redo/boxcar.js';
import { FLAG_CPL, RecordReader } from '#core/redo/record.js';
import { putSet } from '#core/redo/edits.js';
import type { SclReport, VolumeState } from '#storage-nodes/protocol/messages.js';
import { SclStatus } from '#storage-nodes/protocol/messages.js';
import type { SegmentEffect } from '#storage-nodes/segment/segment.js';
import type { Fault } from './faults.js';
import { FakeSegment } from './fake-node.test-helper.js';
import { OpeningCore, type Opened, type OpeningEffect, type OpeningEvent } from './opening-core.js';
import { WriterCore, type WriterPort } from './writer-core.js';

export interface ExplorerOptions {
  readonly seed: number;
  readonly steps: number;
  readonly pgs?: number;
  readonly lal?: number;
  readonly openers?: number;
  readonly losses?: number;
  /** Between segments at any time, not only when an opening asks for it; default true. */
  readonly gossip?: boolean;
  readonly faults?: readonly Fault[];
  readonly segmentFaults?: ConstructorParameters<typeof FakeSegment>[3];
  /** Of PG 0; the rest are stable. */
  readonly membership?: Membership;
}

export class Violation extends Error {}

const PAGES_PER_PG = 10;

interface Issued {
  readonly pg: number;
  readonly by: number;
}

class FakeHost {
  readonly id: NodeId;
  generation = 1;
  up = true;
  segments: FakeSegment[];

  constructor(id: NodeId, segments: FakeSegment[]) {
    this.id = id;
    this.segments = segments;
  }
}

export class Explorer {
  readonly options: ExplorerOptions;
  readonly nodes: FakeHost[];
  readonly pgCount: number;
  readonly faults: ReadonlySet<Fault>;
  register: VolumeState | null;
  actors: Actor[] = [];
  messages: (() => void)[] = [];
  issued = new Map<number, Issued>();
  acknowledged = 0;
  opened = 0;
  nowMs = 0;
  /** Of boxcars and calls; each run has its own. */
  readonly lostPercent: number;
  #random: number;
  #losses = 0;

  constructor(options: ExplorerOptions) {
    this.options = options;
    this.#random = (options.seed * 0x9e37_79b1) >>> 0 || 1;
    this.lostPercent = [2, 20, 50][options.seed % 3];
    this.pgCount = options.pgs ?? 2;
    this.faults = new Set(options.faults);
    const ids = ['a', 'b', 'c', 'd', 'e', 'f', 'g'].slice(0, options.membership ? 7 : 6);
    this.nodes = ids.map(
      (id) =>
        new FakeHost(
          id as NodeId,
          Array.from({ length: this.pgCount }, (_, pg) => this.#segment(pg, true)),
        ),
    );
    const six = stableMembership(this.nodes.slice(0, 6).map((node) => node.id));
    // Nobody has opened yet: epoch 0 stands for a volume that was only described.
    this.register = {
      format: 1,
      volume: 1,
      epoch: 0,
      state: 'open',
      opener: '',
      pagesPerPg: PAGES_PER_PG,
      pgs: Array.from({ length: this.pgCount }, (_, pg) =>
        pg === 0 ? (options.membership ?? six) : six,
      ),
      ranges: [],
      lal: options.lal ?? 6,
    };
  }

  #segment(pg: number, whole: boolean): FakeSegment {
    return new FakeSegment(1, pg, whole, this.options.segmentFaults);
  }

  below(bound: number): number {
    let x = this.#random;
    x ^= x << 13;
    x ^= x >>> 17;
    x ^= x << 5;
    this.#random = x >>> 0;
    return this.#random % bound;
  }

  chance(percent: number): boolean {
    return this.below(100) < percent;
  }

  run(): void {
    for (let i = 0; i < this.options.steps; i++) this.#step();
  }

  #step(): void {
    const dice = this.below(100);
    if (dice < 62) this.#deliver();
    else if (dice < 84) this.#act();
    else if (dice < 89) this.#gossip();
    else if (dice < 93) this.#toggleNode();
    else if (dice < 95) this.#startOpener();
    else if (dice < 97) this.#lose();
    else this.check();
  }

  #deliver(): void {
    if (this.messages.length === 0) return this.#act();
    const at = this.below(this.messages.length);
    const message = this.messages[at];
    // Repeated now and then: it stays where it was.
    if (!this.chance(5)) {
      this.messages[at] = this.messages[this.messages.length - 1];
      this.messages.pop();
    }
    message();
  }

  #act(): void {
    if (this.actors.length === 0) return this.#startOpener();
    // Mostly the newest, sometimes one that was thought dead.
    const actor = this.chance(70)
      ? this.actors[this.actors.length - 1]
      : this.actors[this.below(this.actors.length)];
    this.nowMs += this.below(100);
    actor.act();
  }

  #startOpener(): void {
    if (this.actors.length >= (this.options.openers ?? 4)) return;
    this.actors.push(new Actor(this, this.actors.length));
  }

  #toggleNode(): void {
    const node = this.nodes[this.below(this.nodes.length)];
    if (node.up && this.chance(60)) return;
    node.up = !node.up;
    if (!node.up) return;
    for (const actor of this.actors) actor.writer?.nodeUp(this.nodes.indexOf(node));
  }

  #gossip(): void {
    if (this.options.gossip === false) return;
    const to = this.nodes[this.below(this.nodes.length)];
    const from = this.nodes[this.below(this.nodes.length)];
    this.copy(from, to, this.below(this.pgCount));
  }

  /** Rule 13: only between segments of one epoch, and from a list that is not newer. */
  copy(from: FakeHost, to: FakeHost, pg: number): void {
    if (from === to || !from.up || !to.up) return;
    const theirs = from.segments[pg];
    const ours = to.segments[pg];
    if (theirs.segment.volumeEpoch !== ours.segment.volumeEpoch) return;
    if (ours.segment.volumeEpoch === 0) return;
    if (theirs.segment.listEpoch > ours.segment.listEpoch) return;
    for (const boxcars of theirs.log) {
      const { journaledVdl, scl } = theirs.segment;
      const event = { type: 'gossip', boxcars, vdl: journaledVdl, peerScl: scl } as const;
      const effects = ours.step(event);
      for (const actor of this.actors) this.report(to, pg, effects, actor);
    }
  }

  #lose(): void {
    if (this.#losses >= (this.options.losses ?? 0)) return;
    if (this.nodes.some((node) => node.segments.some(({ segment }) => !segment.whole))) return;
    const state = this.register;
    if (state === null || state.epoch === 0) return;
    const node = this.#victim();
    this.#losses++;
    node.generation++;
    node.segments = state.pgs.map((membership, pg) => {
      const fresh = this.#segment(pg, false);
      const decided = state.ranges.at(-1)?.epoch ?? 0;
      const { epoch: volumeEpoch, ranges } = state;
      const listEpoch = state.state === 'open' ? volumeEpoch : decided;
      const list = { volumeEpoch, listEpoch, ranges, membership, peers: [] };
      fresh.step({ type: 'install', list, vdl: 0 });
      return fresh;
    });
  }

  /** Mostly one that has acknowledged what is not at its quorum yet: there a loss hurts. */
  #victim(): FakeHost {
    const ahead = this.nodes.filter((_, index) =>
      this.actors.at(-1)?.writer?.pgs.some((pg) => (pg.byNode[index]?.scl ?? 0) > pg.pgcl),
    );
    const from = ahead.length > 0 && this.chance(80) ? ahead : this.nodes;
    return from[this.below(from.length)];
  }

  /** Sends what a segment has to say; the state is that of now, the arrival later. */
  report(node: FakeHost, pg: number, effects: readonly SegmentEffect[], to: Actor): void {
    const { segment } = node.segments[pg];
    for (const effect of effects) {
      if (effect.type !== 'acknowledge' && effect.type !== 'refuse') continue;
      const report: SclReport = {
        volume: 1,
        pg,
        volumeEpoch: segment.volumeEpoch,
        membershipEpoch: segment.membershipEpoch,
        status: effect.type === 'refuse' ? effect.status : SclStatus.ok,
        generation: node.generation,
        scl: segment.scl,
        held: segment.held,
        resendAfter: segment.resendAfter,
      };
      const index = this.nodes.indexOf(node);
      this.messages.push(() => to.writer?.onReport(index, report, this.nowMs));
    }
  }

  annulled(lsn: number): boolean {
    return (this.register?.ranges ?? []).some((range) => lsn > range.after && lsn <= range.through);
  }

  fail(what: string): never {
    throw new Violation(`seed ${this.options.seed}: ${what}`);
  }

  /** What any engine could be given when it reads at its VDL. */
  check(): void {
    for (const actor of this.actors) {
      const { writer } = actor;
      if (writer === undefined) continue;
      if (writer.nextLsn - 1 > writer.vdl + writer.lal) this.fail('LalHolds');
      for (const node of this.nodes) {
        for (let pg = 0; pg < this.pgCount; pg++) this.#checkRead(writer, node, pg);
      }
    }
  }

  #checkRead(writer: WriterCore, node: FakeHost, pg: number): void {
    const { segment, log } = node.segments[pg];
    const address = {
      volume: 1,
      pg,
      volumeEpoch: writer.volumeEpoch,
      membershipEpoch: writer.pgs[pg].membership.epoch,
    };
    if (segment.gate(address) !== SclStatus.ok || segment.scl < writer.tailAtVdl(pg)) return;
    const seen = new Map<number, number>();
    const reader = new RecordReader();
    for (const boxcar of log) {
      reader.reset(boxcar, BOXCAR_HEADER_BYTES, boxcar.length, decodeBoxcar(boxcar).firstLsn);
      while (reader.next()) {
        const { lsn } = reader;
        if (lsn > writer.vdl || lsn > segment.scl) continue;
        if (segment.ranges.some((range) => lsn > range.after && lsn <= range.through)) continue;
        seen.set(lsn, reader.bytes[reader.editsStart + 5]);
      }
    }
    for (const [lsn, by] of seen) {
      if (this.annulled(lsn)) this.fail(`AnnulledIsHidden: ${lsn} at ${node.id}`);
      if (this.issued.get(lsn)?.by !== by) this.fail(`NoTwins: ${lsn} at ${node.id}`);
    }
    for (const [lsn, issued] of this.issued) {
      const due = issued.pg === pg && lsn <= writer.vdl && !this.annulled(lsn);
      if (due && !seen.has(lsn)) this.fail(`ReadIsComplete: ${lsn} missing at ${node.id}`);
    }
  }
}

/** An opener, then a writer. It never learns that it is thought dead. */
class Actor implements WriterPort {
  readonly explorer: Explorer;
  readonly opening: OpeningCore;
  writer: WriterCore | undefined;
  #flush = false;
  #lsns: { lsn: number; pg: number }[] = [];

  constructor(explorer: Explorer, index: number) {
    this.explorer = explorer;
    this.opening = new OpeningCore({
      volume: 1,
      opener: `opener-${index}`,
      lal: 4 + explorer.below(4),
      create: false,
      pagesPerPg: PAGES_PER_PG,
      nodes: explorer.nodes.map(({ id }) => ({ id, zone: 'z', address: id })),
      previousWriterDead: true,
      faults: explorer.faults,
    });
    this.#step({ type: 'start' });
  }

  #step(event: OpeningEvent): void {
    for (const effect of this.opening.step(event)) this.#carryOut(effect);
  }

  #carryOut(effect: OpeningEffect): void {
    const { messages } = this.explorer;
    switch (effect.type) {
      case 'change':
        messages.push(() => this.#change(effect));
        return;
      case 'opened':
        this.#opened(effect.opened);
        return;
      case 'failed':
        if (!isSextantError(effect.error, 'FENCED')) throw effect.error;
        return;
      case 'lease':
        this.#step({ type: 'leaseOver' });
        return;
      case 'seal':
      case 'catchUp':
      case 'install':
        messages.push(() => this.#ask(effect));
        return;
    }
  }

  /** The register is one variable; the round may fail before or after it took effect. */
  #change(effect: Extract<OpeningEffect, { type: 'change' }>): void {
    const { explorer } = this;
    const lost = explorer.chance(10);
    if (lost && explorer.chance(50)) return this.#noQuorum(effect.step);
    let value: VolumeState;
    try {
      value = effect.change(explorer.register);
    } catch (error) {
      this.#step({ type: 'registerFailed', step: effect.step, error: error as Error });
      return;
    }
    const before = explorer.register?.ranges.length ?? 0;
    explorer.register = value;
    if (value.ranges.length > before) this.#decided(value);
    if (lost) this.#noQuorum(effect.step);
    else this.#step({ type: 'decided', step: effect.step, value });
  }

  #noQuorum(step: Extract<OpeningEffect, { type: 'change' }>['step']): void {
    const error = new SextantError('NO_QUORUM', 'lost');
    this.#step({ type: 'registerFailed', step, error });
  }

  #decided(value: VolumeState): void {
    const range = value.ranges[value.ranges.length - 1];
    for (const { writer } of this.explorer.actors) {
      if (writer === undefined || writer.volumeEpoch >= value.epoch) continue;
      if (writer.vdl > range.after) {
        this.explorer.fail(`AckedIsKept: ${writer.vdl} annulled by epoch ${value.epoch}`);
      }
    }
  }

  #ask(effect: Extract<OpeningEffect, { type: 'seal' | 'catchUp' | 'install' }>): void {
    const { explorer } = this;
    const { pg, node: id } = effect;
    const node = explorer.nodes.find((host) => host.id === id);
    let event: OpeningEvent = { type: 'refused', pg, node: id, code: 'DISCONNECTED' };
    if (node?.up === true && !explorer.chance(explorer.lostPercent)) {
      try {
        event = this.#answer(effect, node);
      } catch (error) {
        if (!(error instanceof SextantError)) throw error;
        event = { type: 'refused', pg, node: id, code: error.code };
      }
    }
    explorer.messages.push(() => this.#step(event));
  }

  #answer(
    effect: Extract<OpeningEffect, { type: 'seal' | 'catchUp' | 'install' }>,
    host: FakeHost,
  ): OpeningEvent {
    const { pg, node } = effect;
    const target = host.segments[pg];
    if (effect.type === 'catchUp') {
      for (const source of effect.request.sources) {
        const from = this.explorer.nodes.find((other) => other.id === source);
        if (from !== undefined) this.explorer.copy(from, host, pg);
      }
      return { type: 'caughtUp', pg, node };
    }
    const { generation } = host;
    if (effect.type === 'install') {
      const list = { ...effect.request, listEpoch: effect.request.volumeEpoch };
      target.step({ type: 'install', list, vdl: effect.request.vdl });
      const answer = { scl: target.segment.scl, generation };
      return { type: 'installed', pg, node, answer };
    }
    const listEpoch = effect.request.ranges.at(-1)?.epoch ?? 0;
    const effects = target.step({ type: 'seal', list: { ...effect.request, listEpoch } });
    const sealed = effects.find((one) => one.type === 'sealed');
    if (sealed === undefined) throw new Error('no seal');
    return { type: 'sealed', pg, node, answer: { node, generation, ...sealed.state } };
  }

  #opened({ state, vdl, tails, segments }: Opened): void {
    const { explorer } = this;
    explorer.opened++;
    const writer = new WriterCore(
      {
        volume: 1,
        epoch: state.epoch,
        pagesPerPg: PAGES_PER_PG,
        lal: state.lal,
        vdl,
        pgs: state.pgs.map((membership, pg) => ({ membership, tail: tails[pg] })),
        nodes: explorer.nodes.map(({ id }) => id),
        faults: explorer.faults,
      },
      this,
    );
    for (const { pg, node, scl, generation } of segments) {
      writer.knows(
        explorer.nodes.findIndex(({ id }) => id === node),
        pg,
        scl,
        generation,
      );
    }
    writer.onVdl = (point) => this.#durable(point);
    this.writer = writer;
  }

  /** Everything up to `vdl` may be relied on from now. */
  #durable(vdl: number): void {
    const { explorer, writer } = this;
    if (writer === undefined) return;
    explorer.acknowledged++;
    for (const { lsn } of this.#lsns) {
      if (lsn > vdl || !explorer.annulled(lsn)) continue;
      explorer.fail(`AckedIsKept: ${lsn} of epoch ${writer.volumeEpoch} was annulled before`);
    }
    for (const range of explorer.register?.ranges ?? []) {
      if (range.epoch > writer.volumeEpoch && vdl > range.after) {
        explorer.fail(`VdlNeverBack: ${vdl} of epoch ${writer.volumeEpoch}`);
      }
    }
  }

  act(): void {
    const { explorer, writer } = this;
    if (writer === undefined) {
      this.#step({ type: 'tick' });
      return;
    }
    if (explorer.chance(30)) writer.tick(explorer.nowMs);
    if (this.#flush) {
      this.#flush = false;
      writer.flush(explorer.nowMs);
      return;
    }
    const count = 1 + explorer.below(3);
    if (writer.failure === undefined && writer.hasRoom(count, 0)) this.#append(writer, count);
  }

  #append(writer: WriterCore, count: number): void {
    const { explorer } = this;
    const edits = new Uint8Array(16);
    let last = 0;
    for (let i = 1; i <= count; i++) {
      const pg = explorer.below(explorer.pgCount);
      const end = putSet(edits, 0, 100, Uint8Array.of(writer.volumeEpoch), 0, 1);
      last = writer.append(pg * PAGES_PER_PG, i === count ? FLAG_CPL : 0, 0, edits, 0, end);
      if (explorer.issued.has(last)) explorer.fail(`LsnIsFresh: ${last}`);
      explorer.issued.set(last, { pg, by: writer.volumeEpoch });
      this.#lsns.push({ lsn: last, pg });
    }
    writer.wait(last, explorer.nowMs, () => undefined);
  }

  // WriterPort

  push(index: number, bytes: Uint8Array): boolean {
    const { explorer } = this;
    const node = explorer.nodes[index];
    if (!node.up) return false;
    explorer.messages.push(() => {
      if (!node.up || explorer.chance(explorer.lostPercent)) return;
      const { pg } = decodeBoxcar(bytes);
      explorer.report(node, pg, node.segments[pg].step({ type: 'boxcar', bytes }), this);
    });
    return true;
  }

  flushSoon(): void {
    this.#flush = true;
  }

  points(): void {}

  install(index: number, pg: number): void {
    const { explorer, writer } = this;
    const node = explorer.nodes[index];
    explorer.messages.push(() => {
      if (writer === undefined || writer.failure !== undefined) return;
      const state = explorer.register;
      if (!node.up || state === null || state.epoch !== writer.volumeEpoch) {
        writer.installFailed(index, pg);
        return;
      }
      const { ranges, pgs } = state;
      const { volumeEpoch } = writer;
      const list = { volumeEpoch, listEpoch: volumeEpoch, ranges, membership: pgs[pg], peers: [] };
      try {
        node.segments[pg].step({ type: 'install', list, vdl: writer.vdl });
      } catch (error) {
        if (!isSextantError(error, 'STALE_EPOCH')) throw error;
        writer.installFailed(index, pg);
        return;
      }
      const { scl } = node.segments[pg].segment;
      const { generation } = node;
      explorer.messages.push(() => writer.installed(index, pg, scl, generation, explorer.nowMs));
    });
  }

  strike(index: number, pg: number, generation: number, pgcl: number): void {
    const { explorer, writer } = this;
    const node = explorer.nodes[index];
    const volumeEpoch = writer?.volumeEpoch ?? 0;
    const membershipEpoch = writer?.pgs[pg].membership.epoch ?? 0;
    const send = (): void => {
      if (explorer.chance(20)) return void explorer.messages.push(send);
      if (node.generation !== generation) return;
      const strike = { volume: 1, pg, volumeEpoch, membershipEpoch, generation, pgcl };
      try {
        node.segments[pg].step({ type: 'strike', strike });
      } catch (error) {
        if (!isSextantError(error)) throw error;
      }
    };
    explorer.messages.push(send);
  }

  suspect(): void {}

  committed(): void {}
}
