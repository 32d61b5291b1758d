/**
 * Opens a volume: wins the next epoch, finds out what was durable, makes sure that it stays, and decides
 * what is annulled (rules 9-14). A core: events in, effects out, no I/O.
 *
 * ```
 *  claim ----> seal ----> repair ----> decide ----> install ----> lease ----> open
 *  register:   read       write        register:    write         predecessor's
 *  epoch + 1,  quorum of  quorum of    'open',      quorum of     lease over
 *  recovering  every PG   every PG     range list   every PG      (rule 26)
 *
 *  any of them --- register shows another epoch or opener ---> failed: FENCED
 * ```
 *
 * A crash anywhere leaves a register that the next opener raises by one; only a list decided in the
 * register counts. Every request is repeated at `tick` until it was answered, and every answer may come
 * late, twice or never: requests are idempotent, and what was proposed names its opener.
 *
 * - LOG-1: nothing is decided before everything at or below VDL is on sealed write quorums (rule 11).
 * - LOG-4: no LSN at or below the end of any range is given out (rule 14).
 * - LOG-5: the range covers all that any predecessor may have given out above VDL (rule 12).
 */
import { assert, unreachable } from '#core/assert.js';
import { SextantError, type ErrorCode } from '#core/errors.js';
import type { NodeId } from '#core/ids.js';
import {
  members,
  readQuorum,
  sealQuorum,
  stableMembership,
  writeQuorum,
  type HasNode,
  type Membership,
} from '#core/quorum/quorum-set.js';
import type {
  CatchUpRequest,
  InstallAnswer,
  InstallRequest,
  NodeAddress,
  SealAnswer,
  SealRequest,
  VolumeState,
} from '#storage-nodes/protocol/messages.js';
import { newSetOnly, NO_FAULTS, type Faults } from './faults.js';
import { computeRecovery, type Recovered } from './opening-compute.js';

export interface OpeningOptions {
  readonly volume: number;
  /** Unique among all openings ever. */
  readonly opener: string;
  /** LSNs that this writer may have in flight. */
  readonly lal: number;
  /** Make the volume when the register is empty; otherwise that is NOT_FOUND. */
  readonly create: boolean;
  readonly pagesPerPg: number;
  /** All nodes of the cluster; a new volume's first PG lies on the first six. */
  readonly nodes: readonly NodeAddress[];
  /** Nobody can still be answering from the cache of an older epoch: no lease to wait for. */
  readonly previousWriterDead: boolean;
  readonly faults?: Faults;
}

export type RegisterStep = 'claim' | 'verify' | 'decide';
/** Pure, may run more than once; throws a SextantError to give up. */
export type VolumeChange = (current: VolumeState | null) => VolumeState;

export type OpeningEvent =
  | { readonly type: 'start' }
  | { readonly type: 'decided'; readonly step: RegisterStep; readonly value: VolumeState }
  | { readonly type: 'registerFailed'; readonly step: RegisterStep; readonly error: Error }
  | {
      readonly type: 'sealed';
      readonly pg: number;
      readonly node: NodeId;
      readonly answer: SealAnswer;
    }
  | {
      readonly type: 'installed';
      readonly pg: number;
      readonly node: NodeId;
      readonly answer: InstallAnswer;
    }
  | { readonly type: 'caughtUp'; readonly pg: number; readonly node: NodeId }
  /** A request got an error, or no answer in time. */
  | {
      readonly type: 'refused';
      readonly pg: number;
      readonly node: NodeId;
      readonly code: ErrorCode;
    }
  | { readonly type: 'leaseOver' }
  /** Repeat what is unanswered. */
  | { readonly type: 'tick' };

export type OpeningEffect =
  | { readonly type: 'change'; readonly step: RegisterStep; readonly change: VolumeChange }
  | {
      readonly type: 'seal';
      readonly pg: number;
      readonly node: NodeId;
      readonly request: SealRequest;
    }
  | {
      readonly type: 'catchUp';
      readonly pg: number;
      readonly node: NodeId;
      readonly request: CatchUpRequest;
    }
  | {
      readonly type: 'install';
      readonly pg: number;
      readonly node: NodeId;
      readonly request: InstallRequest;
    }
  /** Report `leaseOver` when a lease that began now has ended. */
  | { readonly type: 'lease' }
  | { readonly type: 'opened'; readonly opened: Opened }
  | { readonly type: 'failed'; readonly error: Error };

export interface OpenedSegment {
  readonly pg: number;
  readonly node: NodeId;
  readonly scl: number;
  /** -1: its folder is not known to be whole, strike it first (rule 19). */
  readonly generation: number;
}

/** What the writer starts from. */
export interface Opened {
  readonly state: VolumeState;
  /** End of the decided range: VCL, VDL, and the last LSN that is taken. */
  readonly vdl: number;
  /** By PG. */
  readonly tails: readonly number[];
  readonly segments: readonly OpenedSegment[];
}

type Phase = 'idle' | 'claim' | 'seal' | 'repair' | 'decide' | 'install' | 'open' | 'failed';

class SegmentView {
  readonly pg: number;
  readonly node: NodeId;
  sealed: SealAnswer | undefined;
  installed: InstallAnswer | undefined;
  pending = false;
  /** Asked to catch up since its SCL was last seen. */
  caughtUp = false;

  constructor(pg: number, node: NodeId) {
    this.pg = pg;
    this.node = node;
  }
}

export class OpeningCore {
  readonly #options: OpeningOptions;
  readonly #faults: Faults;
  #phase: Phase = 'idle';
  #state: VolumeState | undefined;
  #created = false;
  #segments: SegmentView[][] = [];
  #recovered: Recovered | undefined;
  #lease: 'none' | 'running' | 'over' = 'none';
  /** A register round is under way. */
  #asking = false;
  #effects: OpeningEffect[] = [];

  constructor(options: OpeningOptions) {
    this.#options = options;
    this.#faults = options.faults ?? NO_FAULTS;
  }

  get phase(): Phase {
    return this.#phase;
  }

  /** Of the epoch that was won; undefined before. */
  get epoch(): number | undefined {
    return this.#state?.epoch;
  }

  step(event: OpeningEvent): OpeningEffect[] {
    this.#effects = [];
    if (this.#phase !== 'failed' && this.#phase !== 'open') this.#handle(event);
    return this.#effects;
  }

  #handle(event: OpeningEvent): void {
    switch (event.type) {
      case 'start':
        assert(this.#phase === 'idle', 'an opening starts once');
        this.#phase = 'claim';
        this.#change('claim', (current) => this.#claim(current));
        return;
      case 'decided':
        this.#asking = false;
        this.#decided(event.step, event.value);
        return;
      case 'registerFailed':
        this.#asking = false;
        if (event.error instanceof SextantError && event.error.remedy === 'retry') return;
        this.#fail(event.error);
        return;
      case 'sealed':
        this.#sealed(this.#segment(event.pg, event.node), event.answer);
        return;
      case 'installed':
        this.#installed(this.#segment(event.pg, event.node), event.answer);
        return;
      case 'caughtUp':
        this.#segment(event.pg, event.node).pending = false;
        return;
      case 'refused':
        this.#segment(event.pg, event.node).pending = false;
        if (event.code === 'STALE_EPOCH') this.#verify();
        return;
      case 'leaseOver':
        this.#lease = 'over';
        this.#tryOpen();
        return;
      case 'tick':
        this.#repeat();
        return;
      default:
        unreachable(event);
    }
  }

  #repeat(): void {
    switch (this.#phase) {
      case 'claim':
        this.#change('claim', (current) => this.#claim(current));
        return;
      case 'decide':
        this.#change('decide', (current) => this.#decide(current));
        return;
      case 'seal':
        this.#sealAll();
        return;
      case 'repair':
        this.#repairAll();
        return;
      case 'install':
        this.#installAll();
        return;
      case 'idle':
      case 'open':
      case 'failed':
        return;
      default:
        unreachable(this.#phase);
    }
  }

  #change(step: RegisterStep, change: VolumeChange): void {
    if (this.#asking) return;
    this.#asking = true;
    this.#effects.push({ type: 'change', step, change });
  }

  #fail(error: Error): void {
    this.#phase = 'failed';
    this.#effects.push({ type: 'failed', error });
  }

  // Rule 9, first half: the epoch.

  #claim(current: VolumeState | null): VolumeState {
    const { opener, volume, lal, create, pagesPerPg, nodes } = this.#options;
    if (current === null) {
      if (!create) throw new SextantError('NOT_FOUND', `volume ${volume} was never made`);
      if (nodes.length < 6) throw new SextantError('CONFIG', 'a volume needs six nodes');
      const first = stableMembership(nodes.slice(0, 6).map((node) => node.id as NodeId));
      return {
        format: 1,
        volume,
        epoch: 1,
        state: 'recovering',
        opener,
        pagesPerPg,
        pgs: [first],
        ranges: [],
        lal,
      };
    }
    if (current.volume !== volume) {
      throw new SextantError('CORRUPTION', `the register is of volume ${current.volume}`);
    }
    if (current.opener === opener) return current;
    return { ...current, epoch: current.epoch + 1, state: 'recovering', opener };
  }

  #decided(step: RegisterStep, value: VolumeState): void {
    if (step === 'claim') {
      this.#state = value;
      this.#created = value.epoch === 1;
      this.#phase = 'seal';
      this.#segments = value.pgs.map((membership, pg) =>
        members(membership).map((node) => new SegmentView(pg, node)),
      );
      this.#sealAll();
      return;
    }
    if (!this.#isOurs(value)) {
      this.#fail(fenced(value));
      return;
    }
    if (step === 'decide') {
      this.#state = value;
      this.#phase = 'install';
      // A request that was sent before says nothing about the list.
      this.#installAll();
    }
  }

  #isOurs(value: VolumeState): boolean {
    return value.epoch === this.#won.epoch && value.opener === this.#options.opener;
  }

  /** A node knows a higher epoch: that of a later opener, who may yet fail, but has taken ours away. */
  #verify(): void {
    this.#change('verify', (current) => {
      if (current === null) throw new SextantError('CORRUPTION', 'the register is empty again');
      return current;
    });
  }

  get #won(): VolumeState {
    assert(this.#state !== undefined, 'an epoch was won');
    return this.#state;
  }

  // Rule 9, second half: the seals.

  #sealAll(): void {
    for (const pg of this.#segments) {
      for (const segment of pg) if (segment.sealed === undefined) this.#seal(segment);
    }
  }

  #seal(segment: SegmentView): void {
    if (segment.pending) return;
    segment.pending = true;
    segment.caughtUp = false;
    const { pg, node } = segment;
    const ranges = this.#faults.has('sealNoList') ? [] : this.#won.ranges;
    const membership = this.#won.pgs[pg];
    const peers = this.#peers(membership);
    const request = { ...this.#address(pg), ranges, membership, peers };
    this.#effects.push({ type: 'seal', pg, node, request });
  }

  #address(pg: number): Pick<SealRequest, 'volume' | 'pg' | 'volumeEpoch' | 'membershipEpoch'> {
    const { volume, epoch, pgs } = this.#won;
    return { volume, pg, volumeEpoch: epoch, membershipEpoch: pgs[pg].epoch };
  }

  #peers(membership: Membership): NodeAddress[] {
    const ids: readonly string[] = members(membership);
    return this.#options.nodes.filter((node) => ids.includes(node.id));
  }

  #segment(pg: number, node: NodeId): SegmentView {
    const segment = this.#segments[pg]?.find((view) => view.node === node);
    assert(segment !== undefined, 'answers are of segments that were asked');
    return segment;
  }

  #sealed(segment: SegmentView, answer: SealAnswer): void {
    segment.pending = false;
    segment.sealed = answer;
    if (this.#phase === 'seal') this.#tryCompute();
    else if (this.#phase === 'repair') this.#tryDecide();
  }

  /** Rule 10: nothing before every PG has its quorum of whole segments. */
  #tryCompute(): void {
    const { pgs, ranges } = this.#won;
    const answers: SealAnswer[][] = [];
    for (let pg = 0; pg < pgs.length; pg++) {
      const whole = this.#segments[pg].filter((segment) => segment.sealed?.whole === true);
      if (!this.#mayCompute(pgs[pg], (node) => whole.some((segment) => segment.node === node)))
        return;
      answers.push(whole.flatMap((segment) => segment.sealed ?? []));
    }
    this.#recovered = computeRecovery(answers, ranges, this.#faults);
    this.#phase = 'repair';
    this.#repairAll();
    this.#tryDecide();
  }

  #mayCompute(membership: Membership, has: HasNode): boolean {
    if (!this.#faults.has('readNewAtOnce')) return sealQuorum(membership, has);
    return readQuorum({ ...membership, state: 'joined' }, has);
  }

  // Rule 11.

  get #target(): Recovered {
    assert(this.#recovered !== undefined, 'VDL was computed');
    return this.#recovered;
  }

  #hasTail(segment: SegmentView): boolean {
    return segment.sealed !== undefined && segment.sealed.scl >= this.#target.tails[segment.pg];
  }

  /** Seals who are missing, has laggards gossip, and asks those how far they came. */
  #repairAll(): void {
    for (const pg of this.#segments) {
      const sources = pg.filter((segment) => this.#hasTail(segment)).map(({ node }) => node);
      for (const segment of pg) {
        if (segment.pending || this.#hasTail(segment)) continue;
        if (segment.sealed === undefined || segment.caughtUp) this.#seal(segment);
        else this.#catchUp(segment, sources);
      }
    }
  }

  #catchUp(segment: SegmentView, sources: readonly NodeId[]): void {
    segment.pending = true;
    segment.caughtUp = true;
    const { pg, node } = segment;
    const target = this.#target.tails[pg];
    const request = { ...this.#address(pg), target, sources };
    this.#effects.push({ type: 'catchUp', pg, node, request });
  }

  #tryDecide(): void {
    const { pgs } = this.#won;
    for (let pg = 0; pg < pgs.length; pg++) {
      if (!this.#repaired(pgs[pg], this.#segments[pg])) return;
    }
    this.#startLease();
    this.#phase = 'decide';
    this.#change('decide', (current) => this.#decide(current));
  }

  #repaired(membership: Membership, segments: readonly SegmentView[]): boolean {
    if (this.#faults.has('noRepair')) return true;
    const done = segments.filter((segment) => this.#hasTail(segment));
    if (this.#faults.has('repairAnyW')) return done.length >= 4;
    const sets = this.#faults.has('writeNewOnly') ? newSetOnly(membership) : membership;
    return writeQuorum(sets, (node) => done.some((segment) => segment.node === node));
  }

  /** From here on a write quorum of every PG refuses the predecessor: its lease can only run out. */
  #startLease(): void {
    if (this.#created || this.#options.previousWriterDead || this.#faults.has('noLeaseWait')) {
      this.#lease = 'over';
      return;
    }
    this.#lease = 'running';
    this.#effects.push({ type: 'lease' });
  }

  // Rule 12.

  #decide(current: VolumeState | null): VolumeState {
    if (current === null) throw new SextantError('CORRUPTION', 'the register is empty again');
    if (!this.#isOurs(current)) throw fenced(current);
    // An earlier attempt of ours took effect after all.
    if (current.state === 'open') return current;
    const { vdl } = this.#target;
    const range = { epoch: current.epoch, after: vdl, through: this.#through(current.lal) };
    const ranges = [...current.ranges, range];
    // Nothing was given out yet since this range, so this writer's LAL is the largest.
    return { ...current, state: 'open', ranges, lal: this.#options.lal };
  }

  #through(lal: number): number {
    const { vdl, highest } = this.#target;
    if (this.#faults.has('reuse')) return highest;
    if (this.#faults.has('smallerLal')) return vdl + lal - 1;
    return vdl + lal;
  }

  // Rule 13.

  #installAll(): void {
    for (const pg of this.#segments) {
      for (const segment of pg) {
        if (segment.installed !== undefined || segment.pending) continue;
        segment.pending = true;
        const { node } = segment;
        const membership = this.#won.pgs[segment.pg];
        const request = {
          ...this.#address(segment.pg),
          ranges: this.#won.ranges,
          membership,
          peers: this.#peers(membership),
          vdl: this.#target.vdl,
          pgTail: this.#target.tails[segment.pg],
        };
        this.#effects.push({ type: 'install', pg: segment.pg, node, request });
      }
    }
    this.#tryOpen();
  }

  #installed(segment: SegmentView, answer: InstallAnswer): void {
    segment.pending = false;
    segment.installed = answer;
    this.#tryOpen();
  }

  #tryOpen(): void {
    if (this.#phase !== 'install' || this.#lease !== 'over') return;
    const { pgs, ranges } = this.#won;
    for (let pg = 0; pg < pgs.length && !this.#faults.has('noInstall'); pg++) {
      const done = this.#segments[pg].filter((segment) => segment.installed !== undefined);
      const has = (node: NodeId): boolean => done.some((segment) => segment.node === node);
      if (!writeQuorum(pgs[pg], has)) return;
    }
    this.#phase = 'open';
    const vdl = ranges.at(-1)?.through ?? 0;
    const segments = this.#segments.flat().flatMap(openedSegment);
    this.#effects.push({
      type: 'opened',
      opened: { state: this.#won, vdl, tails: this.#target.tails, segments },
    });
  }
}

function openedSegment(view: SegmentView): OpenedSegment[] {
  const { pg, node, sealed, installed } = view;
  if (installed === undefined) return [];
  const whole = sealed?.whole === true && sealed.generation === installed.generation;
  return [{ pg, node, scl: installed.scl, generation: whole ? installed.generation : -1 }];
}

function fenced(value: VolumeState): SextantError {
  return new SextantError(
    'FENCED',
    `volume ${value.volume} is at epoch ${value.epoch}, opened by another`,
  );
}
