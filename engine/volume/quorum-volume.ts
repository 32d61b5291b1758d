/**
 * The `Volume` over six storage nodes: the writer core, its connections, and the timers that it needs.
 * Driver code: everything that decides anything is in the cores.
 *
 * | effect of the core | here                                                                         |
 * |--------------------|------------------------------------------------------------------------------|
 * | flushSoon          | once at the end of this turn of the event loop                                |
 * | push, points       | to the node's connection                                                      |
 * | install, strike    | calls, repeated until they are answered                                       |
 * | suspect            | the register is read: another epoch there kills this volume (FENCED)          |
 *
 * A timer runs only while some segment lags or has not heard of VDL yet; it sends nothing that a quorum
 * could be clocked by.
 */
import { setMaxListeners } from 'node:events';
import { SextantError, isSextantError, type ErrorCode } from '#core/errors.js';
import type { NodeId } from '#core/ids.js';
import {
  members,
  stableMembership,
  writeQuorum,
  type Membership,
} from '#core/quorum/quorum-set.js';
import type { Timer, World } from '#core/world/world.js';
import { decodeScl, encodePoints } from '#storage-nodes/protocol/codec-binary.js';
import {
  installAnswer,
  installRequest,
  strikeRequest,
  volumeState,
} from '#storage-nodes/protocol/codec-json.js';
import {
  MessageType,
  type NodeAddress,
  type SegmentAddress,
  type VolumeState,
} from '#storage-nodes/protocol/messages.js';
import type { Faults } from './faults.js';
import { Latency } from './latency.js';
import type { NodeLink } from './node-link.js';
import type { Opened } from './opening-core.js';
import { PageReader } from './page-reader.js';
import type { RegisterClient } from './register-client.js';
import type { Volume, VolumeNodeStatus, VolumeStatus } from './volume.js';
import { WriterCore, type WriterPort } from './writer-core.js';

const HOUSEKEEP_MS = 50;
/** Nothing was sent for so long: tell the segments of VDL, so that they may fold. */
const QUIET_MS = 20;
/** A thread that is busy without end sends after so many turns all the same. */
const FULL_TURNS_MAX = 32;
const CALL_TIMEOUT_MS = 2000;
const RETRY_MS = 100;
const RETRY_MS_MAX = 2000;
const REGISTER_DEADLINE_MS = 30_000;
const CONFIRM_DEADLINE_MS = 5000;

export interface QuorumVolumeOptions {
  readonly faults: Faults;
  readonly lalBytes?: number;
  readonly readTimeoutMs?: number;
}

export class QuorumVolume implements Volume, WriterPort {
  readonly core: WriterCore;
  readonly #world: World;
  readonly #links: readonly NodeLink[];
  readonly #register: RegisterClient;
  readonly #opener: string;
  readonly #reader: PageReader;
  readonly #commitLatency = new Latency();
  readonly #readLatency = new Latency();
  #state: VolumeState;
  #flushScheduled = false;
  #turnsWaited = 0;
  #seenLsn = 0;
  #housekeeper: Timer | undefined;
  #lastFlushMs = 0;
  #verifying = false;
  #confirming: Promise<void> | undefined;
  #confirmedMs = -Infinity;
  /** STRIKEs not answered yet, by `node/pg`: the generation that was struck last. */
  readonly #strikes = new Map<string, number>();
  readonly #abort = new AbortController();

  constructor(
    world: World,
    links: readonly NodeLink[],
    register: RegisterClient,
    opened: Opened,
    options: QuorumVolumeOptions,
  ) {
    // While nodes are down several calls to each of them sleep between two tries.
    setMaxListeners(0, this.#abort.signal);
    this.#world = world;
    this.#links = links;
    this.#register = register;
    this.#state = opened.state;
    this.#opener = opened.state.opener;
    const { state, vdl, tails } = opened;
    this.core = new WriterCore(
      {
        volume: state.volume,
        epoch: state.epoch,
        pagesPerPg: state.pagesPerPg,
        lal: state.lal,
        ...(options.lalBytes === undefined ? {} : { lalBytes: options.lalBytes }),
        vdl,
        pgs: state.pgs.map((membership, pg) => ({ membership, tail: tails[pg] })),
        nodes: links.map((link) => link.id),
        faults: options.faults,
      },
      this,
    );
    for (const { pg, node, scl, generation } of opened.segments) {
      this.core.knows(this.#indexOf(node), pg, scl, generation);
    }
    this.#reader = new PageReader(
      world,
      this.core,
      links,
      options.faults,
      options.readTimeoutMs ?? 30_000,
      {
        refused: (node, pg, code) => this.#readRefused(node, pg, code),
        done: (latencyMs) => {
          this.#readLatency.record(latencyMs);
          if (this.core.pointsDue) this.#housekeepSoon();
        },
      },
    );
    this.#attach();
    this.#bringUp(opened);
    this.#pointsOfOpening(opened);
  }

  #attach(): void {
    this.#links.forEach((link, node) => {
      link.rpc.onPush = (type, body) => {
        if (type !== MessageType.scl) return;
        this.core.onReport(node, decodeScl(body), this.#world.clock.monotonicMs());
      };
      link.rpc.onState = (state) => {
        if (state === 'up') this.core.nodeUp(node);
      };
    });
  }

  /** Segments that the opening did not install: those that are connected now hear of us at once. */
  #bringUp(opened: Opened): void {
    const done = new Set(opened.segments.map(({ pg, node }) => `${node}/${pg}`));
    this.#links.forEach((link, node) => {
      const all = this.core.pgs.every(
        (pg) => pg.byNode[node] === undefined || done.has(`${link.id}/${pg.pg}`),
      );
      if (!all && link.up) this.core.nodeUp(node);
    });
  }

  /** PGMRPL is VDL now, whatever older readers and rebuilt segments left behind. */
  #pointsOfOpening(opened: Opened): void {
    for (const { pg, node } of opened.segments) {
      this.points(this.#indexOf(node), pg, this.core.vdl, this.core.pgmrpl);
    }
  }

  #indexOf(id: NodeId): number {
    return this.#links.findIndex((link) => link.id === id);
  }

  // Volume

  get vdl(): number {
    return this.core.vdl;
  }

  get nextLsn(): number {
    return this.core.nextLsn;
  }

  get epoch(): number {
    return this.core.volumeEpoch;
  }

  get pageCapacity(): number {
    return this.core.pageCapacity;
  }

  /** The register as this engine last saw it. */
  get state(): VolumeState {
    return this.#state;
  }

  get failure(): Error | undefined {
    return this.core.failure;
  }

  get onVdl(): (vdl: number) => void {
    return this.core.onVdl;
  }

  set onVdl(listener: (vdl: number) => void) {
    this.core.onVdl = listener;
  }

  get onFailure(): (error: Error) => void {
    return this.core.onFailure;
  }

  set onFailure(listener: (error: Error) => void) {
    this.core.onFailure = listener;
  }

  hasRoom(records: number, bytes: number): boolean {
    return this.core.hasRoom(records, bytes);
  }

  whenRoom(): Promise<void> {
    return this.core.whenRoom();
  }

  append(
    pageNo: number,
    flags: number,
    prevPageLsn: number,
    edits: Uint8Array,
    start: number,
    end: number,
  ): number {
    return this.core.append(pageNo, flags, prevPageLsn, edits, start, end);
  }

  wait(lsn: number, done: (error?: Error) => void): void {
    this.core.wait(lsn, this.#world.clock.monotonicMs(), done);
  }

  readPage(pageNo: number, target: Uint8Array, base: number): Promise<void> {
    return this.#reader.read(pageNo, target, base);
  }

  // WriterPort

  push(node: number, bytes: Uint8Array, crc: number): boolean {
    return this.#links[node].push(MessageType.boxcar, bytes, crc);
  }

  flushSoon(): void {
    if (this.#flushScheduled) return;
    this.#flushScheduled = true;
    this.#turnsWaited = 0;
    this.#seenLsn = this.core.nextLsn;
    this.#world.timers.turn(this.#turnEnded);
  }

  /**
   * A boxcar leaves at the end of the first turn that added nothing to it: while clients keep the thread busy, what they
   * commit rides along, and no round is spent on half of it. An idle engine sends at once.
   */
  readonly #turnEnded = (): void => {
    const { nextLsn } = this.core;
    if (nextLsn === this.#seenLsn || this.#turnsWaited >= FULL_TURNS_MAX) {
      this.#flush();
      return;
    }
    this.#seenLsn = nextLsn;
    this.#turnsWaited++;
    this.#world.timers.turn(this.#turnEnded);
  };

  #flush(): void {
    this.#flushScheduled = false;
    this.#lastFlushMs = this.#world.clock.monotonicMs();
    this.core.flush(this.#lastFlushMs);
    this.#housekeepSoon();
  }

  #housekeepSoon(): void {
    if (this.#housekeeper !== undefined || this.core.failure !== undefined) return;
    this.#housekeeper = this.#world.timers.after(HOUSEKEEP_MS, () => {
      this.#housekeeper = undefined;
      const nowMs = this.#world.clock.monotonicMs();
      this.core.tick(nowMs);
      const quiet = nowMs - this.#lastFlushMs >= QUIET_MS && !this.core.busy;
      if (quiet && this.core.pointsDue) this.core.sendPoints();
      if (this.core.lagging || this.core.pointsDue || this.core.busy) this.#housekeepSoon();
    });
  }

  points(node: number, pg: number, vdl: number, pgmrpl: number): void {
    const body = encodePoints({ ...this.#address(pg), vdl, pgmrpl });
    this.#links[node].push(MessageType.points, body);
  }

  install(node: number, pg: number): void {
    this.#background(this.#install(node, pg));
  }

  strike(node: number, pg: number, generation: number, pgcl: number): void {
    this.#background(this.#strike(node, pg, generation, pgcl));
  }

  suspect(_node: number, _pg: number, _theirEpoch: number): void {
    this.#background(this.#verify());
  }

  committed(latencyMs: number): void {
    this.#commitLatency.record(latencyMs);
  }

  #background(work: Promise<void>): void {
    work.catch((error: unknown) => {
      if (this.core.failure === undefined) this.#world.log.error('volume driver', { error });
    });
  }

  #address(pg: number): SegmentAddress {
    return {
      volume: this.core.volume,
      pg,
      volumeEpoch: this.core.volumeEpoch,
      membershipEpoch: this.core.pgs[pg].membership.epoch,
    };
  }

  #installRequest(pg: number, membership: Membership, tail: number): Uint8Array {
    const ids: readonly string[] = members(membership);
    const peers: NodeAddress[] = this.#links
      .map((link) => link.address)
      .filter(({ id }) => ids.includes(id));
    return installRequest.encode({
      volume: this.core.volume,
      pg,
      volumeEpoch: this.core.volumeEpoch,
      membershipEpoch: membership.epoch,
      ranges: this.#state.ranges,
      membership,
      peers,
      vdl: this.core.vdl,
      pgTail: tail,
    });
  }

  /** Until it is answered or the connection breaks: a new one starts it anew. */
  async #install(node: number, pg: number): Promise<void> {
    const link = this.#links[node];
    for (let delayMs = RETRY_MS; ; delayMs = Math.min(2 * delayMs, RETRY_MS_MAX)) {
      if (this.core.failure !== undefined) return;
      try {
        const { membership } = this.core.pgs[pg];
        const request = this.#installRequest(pg, membership, this.core.tailAtVdl(pg));
        const body = await link.call(MessageType.install, request, CALL_TIMEOUT_MS);
        const { scl, generation } = installAnswer.decode(body);
        this.core.installed(node, pg, scl, generation, this.#world.clock.monotonicMs());
        this.#housekeepSoon();
        return;
      } catch (error) {
        if (isSextantError(error, 'STALE_EPOCH')) this.suspect(node, pg, 0);
        if (!link.up) {
          this.core.installFailed(node, pg);
          return;
        }
      }
      await this.#sleep(delayMs);
    }
  }

  /** Until it is answered, over however many connections, or a newer folder is struck. */
  async #strike(node: number, pg: number, generation: number, pgcl: number): Promise<void> {
    const key = `${node}/${pg}`;
    if (this.#strikes.get(key) === generation) return;
    this.#strikes.set(key, generation);
    const request = strikeRequest.encode({ ...this.#address(pg), generation, pgcl });
    for (let delayMs = RETRY_MS; ; delayMs = Math.min(2 * delayMs, RETRY_MS_MAX)) {
      try {
        await this.#links[node].call(MessageType.strike, request, CALL_TIMEOUT_MS);
        if (this.#strikes.get(key) === generation) this.#strikes.delete(key);
        return;
      } catch (error) {
        if (isSextantError(error, 'STALE_EPOCH')) this.suspect(node, pg, 0);
      }
      await this.#sleep(delayMs);
      if (this.core.failure !== undefined || this.#strikes.get(key) !== generation) return;
    }
  }

  #sleep(ms: number): Promise<void> {
    return this.#world.timers.sleep(ms, this.#abort.signal);
  }

  /** Looks into the register: is the epoch still ours, and which memberships are in force? */
  async #verify(): Promise<void> {
    if (this.#verifying || this.core.failure !== undefined) return;
    this.#verifying = true;
    try {
      const value = await this.#change((current) => current);
      this.#adopt(value);
      await this.#sleep(RETRY_MS);
    } catch (error) {
      if (!isSextantError(error, 'NO_QUORUM')) throw error;
    } finally {
      this.#verifying = false;
    }
  }

  #adopt(value: VolumeState): void {
    if (value.epoch !== this.epoch || value.opener !== this.#opener) {
      this.#die(
        new SextantError('FENCED', `volume ${value.volume} was opened under epoch ${value.epoch}`),
      );
      return;
    }
    this.#state = value;
    value.pgs.forEach((membership, pg) => {
      const known = this.core.pgs[pg];
      if (known === undefined || known.membership.epoch >= membership.epoch) return;
      this.core.setMembership(pg, membership);
      this.#links.forEach((link, node) => {
        if (link.up) this.core.nodeUp(node);
      });
    });
  }

  /** One register round; `change` sees and gives whole states. */
  async #change(change: (current: VolumeState) => VolumeState): Promise<VolumeState> {
    const decided = await this.#register.change(
      this.core.pgs[0].membership,
      (bytes) => {
        if (bytes === null) throw new SextantError('CORRUPTION', 'the register is empty again');
        const current = volumeState.decode(bytes);
        const next = change(current);
        return next === current ? bytes : volumeState.encode(next);
      },
      REGISTER_DEADLINE_MS,
      this.#abort.signal,
    );
    if (decided === null) throw new SextantError('CORRUPTION', 'the register is empty again');
    return volumeState.decode(decided);
  }

  #readRefused(node: number, pg: number, code: ErrorCode): void {
    if (code === 'STALE_EPOCH') this.suspect(node, pg, 0);
    else if (code === 'NEED_RANGES') this.core.lacksList(node, pg);
  }

  // Growing

  async grow(): Promise<void> {
    if (this.core.failure !== undefined) throw this.core.failure;
    const count = this.core.pgs.length;
    const value = await this.#change((current) => {
      const ours = current.epoch === this.epoch && current.opener === this.#opener;
      if (!ours || current.pgs.length > count) return current;
      const nodes = current.pgs[count - 1].sets.at(-1) ?? [];
      return { ...current, pgs: [...current.pgs, stableMembership(nodes)] };
    });
    this.#adopt(value);
    if (this.core.failure !== undefined) throw this.core.failure;
    // Whoever grew the volume at the same time may have finished.
    if (this.core.pgs.length > count) return;
    await this.#installPg(count, value.pgs[count]);
  }

  /** A new PG exists for this writer once a write quorum has its segments. */
  async #installPg(pg: number, membership: Membership): Promise<void> {
    const answers = new Map<NodeId, { scl: number; generation: number }>();
    while (!writeQuorum(membership, (node) => answers.has(node))) {
      const request = this.#installRequest(pg, membership, 0);
      const calls = members(membership)
        .filter((node) => !answers.has(node))
        .map(async (node) => {
          const link = this.#links[this.#indexOf(node)];
          const body = await link.call(MessageType.install, request, CALL_TIMEOUT_MS);
          answers.set(node, installAnswer.decode(body));
        });
      await Promise.allSettled(calls);
      if (this.core.failure !== undefined) throw this.core.failure;
      if (writeQuorum(membership, (node) => answers.has(node))) break;
      await this.#verify();
      await this.#sleep(RETRY_MS);
    }
    if (this.core.pgs.length > pg) return;
    this.core.addPg(membership, 0);
    const first = this.core.pgs[0];
    for (const [id, { scl, generation }] of answers) {
      // A segment that is new on a folder which is whole is whole.
      const known = first.member(id)?.generation === generation;
      this.core.knows(this.#indexOf(id), pg, scl, known ? generation : -1);
    }
    this.#links.forEach((link, node) => {
      if (link.up && !answers.has(link.id)) this.core.nodeUp(node);
    });
  }

  // Rule 26

  confirmedWithin(ms: number): boolean {
    if (this.core.failure !== undefined) return false;
    const sinceMs = this.#world.clock.monotonicMs() - ms;
    if (this.#confirmedMs >= sinceMs) return true;
    this.#confirmedMs = this.core.confirmedMs;
    return this.#confirmedMs >= sinceMs;
  }

  confirm(): Promise<void> {
    this.#confirming ??= this.#confirm().finally(() => {
      this.#confirming = undefined;
    });
    return this.#confirming;
  }

  /** Reads one page of PG 0 from every segment: whoever serves it, or finds only the read point wrong, is in our epoch. */
  #confirm(): Promise<void> {
    const core = this.core;
    const startMs = this.#world.clock.monotonicMs();
    return new Promise((resolve, reject) => {
      const look = (failed: Error | undefined): void => {
        if (core.failure !== undefined) reject(core.failure);
        else if (core.confirmedMs >= startMs) resolve();
        else if (failed !== undefined) reject(failed);
        else return;
        deadline.cancel();
      };
      const deadline = this.#world.timers.after(CONFIRM_DEADLINE_MS, () =>
        look(new SextantError('NO_QUORUM', 'too few nodes confirm this epoch')),
      );
      const ping = async (node: number): Promise<void> => {
        try {
          while (core.failure === undefined && core.confirmedMs < startMs) {
            const sentMs = this.#world.clock.monotonicMs();
            if (sentMs - startMs > CONFIRM_DEADLINE_MS) return;
            if (await this.#reader.ping(node)) core.confirmed(node, 0, sentMs);
            look(undefined);
            if (core.confirmedMs < startMs) await this.#sleep(RETRY_MS);
          }
        } finally {
          look(undefined);
        }
      };
      for (const { node } of core.pgs[0].members) this.#background(ping(node));
    });
  }

  // Status and end

  status(): VolumeStatus {
    const { core } = this;
    const sum = (of: (pg: WriterCore['pgs'][number]) => number): number =>
      core.pgs.reduce((total, pg) => total + of(pg), 0);
    const readLatency = this.#readLatency.summary();
    return {
      volume: core.volume,
      epoch: core.volumeEpoch,
      vdl: core.vdl,
      nextLsn: core.nextLsn,
      pgCount: core.pgs.length,
      pageCapacity: core.pageCapacity,
      failure: core.failure?.message,
      inFlightRecords: core.inFlightRecords,
      inFlightBytes: core.inFlightBytes,
      boxcarsSent: sum((pg) => pg.boxcarsSent),
      redoBytes: sum((pg) => pg.bytesEncoded),
      sentBytes: this.#links.reduce((total, link) => total + link.sentBytes, 0),
      resentBoxcars: sum((pg) => pg.boxcarsResent),
      pageReads: readLatency.count,
      hedgedReads: this.#reader.hedgedReads,
      commitLatency: this.#commitLatency.summary(),
      readLatency,
      nodes: this.#links.map((link, node) => this.#nodeStatus(link, node)),
    };
  }

  #nodeStatus(link: NodeLink, node: number): VolumeNodeStatus {
    let sclLag = 0;
    let generation = 0;
    let laggard = false;
    for (const pg of this.core.pgs) {
      const member = pg.byNode[node];
      if (member === undefined) continue;
      sclLag = Math.max(sclLag, pg.sentLast - member.scl);
      generation = Math.max(generation, member.generation);
      laggard ||= member.behind;
    }
    return {
      id: link.id,
      zone: link.address.zone,
      address: link.address.address,
      state: link.rpc.state,
      generation,
      sclLag,
      rttMs: link.rpc.rttMs,
      sentBytes: link.sentBytes,
      laggard,
    };
  }

  /** The caller closes the links with it: they were made for this volume. */
  close(): Promise<void> {
    this.#die(new SextantError('CLOSED', 'the volume is closed'));
    return Promise.resolve();
  }

  #die(error: Error): void {
    this.#housekeeper?.cancel();
    this.#abort.abort();
    this.core.fail(error);
    for (const link of this.#links) link.rpc.close();
  }
}
