/**
 * A scripted run: six real nodes, the checkers, and writers that do only what the script says. The network loses
 * nothing unless told to; nodes do not gossip while `silent`.
 */
import { PAGE_BYTES } from '#core/ids.js';
import { putFormat, putSet } from '#core/redo/edits.js';
import { FLAG_CPL, FLAG_FORMAT } from '#core/redo/record.js';
import type { SimProcess } from '#core/world/simulated/simulation.js';
import type { World } from '#core/world/world.js';
import type { TxnFault } from '#engine/txn/faults.js';
import type { Fault as VolumeFault } from '#engine/volume/faults.js';
import type { OpenVolumeOptions } from '#engine/volume/open-volume.js';
import type { QuorumVolume } from '#engine/volume/quorum-volume.js';
import type { Faults as NodeFaults } from '#storage-nodes/node/faults.js';
import type { SegmentHost } from '#storage-nodes/node/segment-host.js';
import type { EngineView } from '../checkers/checker.js';
import { isSextantError } from '#core/errors.js';
import { NodeLink } from '#engine/volume/node-link.js';
import { encodeReadPage } from '#storage-nodes/protocol/codec-binary.js';
import { MessageType } from '#storage-nodes/protocol/messages.js';
import {
  ADDRESSES,
  SPARE,
  Cluster,
  NODE_IDS,
  type NodeSlot,
  type PlantedFaults,
} from '../cluster.js';
import { drawOptions, type SimOptions } from '../options.js';
import { openSimVolume } from '../open.js';
import { Violation } from '../violation.js';
import { watchVolume } from '../watch.js';

const LIMIT_MS = 60_000;

export class Writer {
  readonly name: string;
  readonly process: SimProcess;
  readonly volume: QuorumVolume;
  readonly view: EngineView;
  /** By page: LSN of its newest version. */
  readonly lsns = new Map<number, number>();
  readonly #edits = new Uint8Array(1024);
  #value = 0;

  constructor(name: string, process: SimProcess, volume: QuorumVolume, view: EngineView) {
    this.name = name;
    this.process = process;
    this.volume = volume;
    this.view = view;
  }

  /** One MTR over these pages; gives the LSN of its last record. `open`: without the end of the MTR. */
  write(pages: readonly number[], open = false): number {
    let lsn = 0;
    pages.forEach((pageNo, i) => {
      const before = this.lsns.get(pageNo) ?? 0;
      const value = Uint8Array.of(++this.#value & 255, this.view.epoch, i);
      let end = before === 0 ? putFormat(this.#edits, 0, 7) : 0;
      end = putSet(this.#edits, end, 100 + 3 * (this.#value % 50), value, 0, 3);
      const cpl = i === pages.length - 1 && !open ? FLAG_CPL : 0;
      const flags = (before === 0 ? FLAG_FORMAT : 0) | cpl;
      lsn = this.volume.append(pageNo, flags, before, this.#edits, 0, end);
      this.lsns.set(pageNo, lsn);
    });
    return lsn;
  }

  /** One record of about so many bytes, sent without waiting. */
  sendLarge(pageNo: number, bytes: number): number {
    const before = this.lsns.get(pageNo) ?? 0;
    const edits = new Uint8Array(bytes + 32);
    let end = before === 0 ? putFormat(edits, 0, 7) : 0;
    end = putSet(edits, end, 100, new Uint8Array(bytes).fill(++this.#value & 255), 0, bytes);
    const flags = (before === 0 ? FLAG_FORMAT : 0) | FLAG_CPL;
    const lsn = this.volume.append(pageNo, flags, before, edits, 0, end);
    this.lsns.set(pageNo, lsn);
    this.volume.wait(lsn, () => undefined);
    return lsn;
  }

  /** FORMAT over a page that was used before: it names the last version all the same (rule 28). */
  reformat(pageNo: number): Promise<void> {
    const before = this.lsns.get(pageNo) ?? 0;
    const end = putFormat(this.#edits, 0, 8);
    const flags = FLAG_FORMAT | FLAG_CPL;
    const lsn = this.volume.append(pageNo, flags, before, this.#edits, 0, end);
    this.lsns.set(pageNo, lsn);
    return new Promise((resolve, reject) => {
      this.volume.wait(lsn, (error) => (error === undefined ? resolve() : reject(error)));
    });
  }

  /** Sends it without waiting; what becomes of it is not of interest. */
  send(pages: readonly number[]): number {
    const lsn = this.write(pages);
    this.volume.wait(lsn, () => undefined);
    return lsn;
  }
}

export interface Opening {
  readonly process: SimProcess;
  readonly name: string;
  readonly opened: Promise<QuorumVolume>;
  isOver(): boolean;
}

export class Stage {
  readonly cluster: Cluster;
  #writers = 0;
  readonly #worlds = new Map<SimProcess, World>();

  constructor(planted: PlantedFaults = {}, change: Partial<SimOptions> = {}, seed = 1) {
    const options = {
      ...drawOptions(seed),
      level: 'pages' as const,
      pagesPerPg: 4,
      lal: 40,
      leaseMs: 100,
      driftPpmMax: 0,
      network: {},
      journalFileBytes: 32 * 1024,
      ripeBytes: 256,
      ...change,
    };
    this.cluster = new Cluster(options, planted);
  }

  get sim(): Cluster['sim'] {
    return this.cluster.sim;
  }

  async start(): Promise<void> {
    await this.cluster.start();
  }

  slots(...indexes: number[]): NodeSlot[] {
    return indexes.map((i) => this.cluster.slot(i));
  }

  host(index: number, pg = 0): SegmentHost {
    for (const host of this.cluster.slot(index).node?.hosts.values() ?? []) {
      if (host.segment.pg === pg) return host;
    }
    throw new Error(`node ${index + 1} has no PG ${pg}`);
  }

  /** Begins to open; `process` can be crashed meanwhile. */
  opening(options: Partial<OpenVolumeOptions> = {}): Opening {
    const name = `writer-${++this.#writers}`;
    const process = this.sim.process(name);
    const world = process.start();
    this.#worlds.set(process, world);
    const opened = openSimVolume(this.cluster, world, options);
    let over = false;
    const end = (): void => {
      over = true;
    };
    opened.then(end, end);
    return { process, name, opened, isOver: () => over };
  }

  worldOf(process: SimProcess): World {
    const world = this.#worlds.get(process);
    if (world === undefined) throw new Error('this process did not open');
    return world;
  }

  /** Opens, and reads every page of the volume, which the checkers compare. */
  async open(options: Partial<OpenVolumeOptions> & { pgs?: number } = {}): Promise<Writer> {
    const writer = await this.watched(this.opening(options));
    const { volume } = writer;
    for (let pg = volume.pageCapacity / 4; pg < (options.pgs ?? 0); pg++) {
      await this.run(volume.grow());
    }
    await this.readAll(writer);
    return writer;
  }

  /** Opens and commits one MTR over these pages. */
  async opened(
    pages: readonly number[],
    options: Partial<OpenVolumeOptions> & { pgs?: number } = {},
  ): Promise<Writer> {
    const writer = await this.open(options);
    await this.commit(writer, pages);
    return writer;
  }

  /** Opens while nodes hear nobody but the engine, for so long; then all is well. */
  async openDeaf(silentMs: number): Promise<Writer> {
    const opening = this.opening();
    await this.for(silentMs);
    this.heal();
    this.sim.network.clearFaults();
    return this.watched(opening);
  }

  async expectNoOpening(openTimeoutMs: number): Promise<void> {
    const { process, opened } = this.opening({ openTimeoutMs });
    const end = await this.run(
      opened.then(
        () => 'opened',
        () => 'refused',
      ),
    );
    this.expect(end === 'refused', 'this opening must not succeed');
    process.crash();
  }

  /** The end of an opening, seen by the checkers. */
  async watched({ process, name, opened }: Opening): Promise<Writer> {
    const volume = await this.run(opened);
    const view = watchVolume(this.cluster, name, volume);
    this.look();
    return new Writer(name, process, volume, view);
  }

  async readAll(writer: Writer): Promise<void> {
    const page = new Uint8Array(PAGE_BYTES);
    for (let pageNo = 0; pageNo < writer.volume.pageCapacity; pageNo++) {
      await this.run(writer.volume.readPage(pageNo, page, 0));
      writer.lsns.set(pageNo, Number(new DataView(page.buffer).getBigUint64(0, true)));
    }
    this.look();
  }

  async commit(writer: Writer, pages: readonly number[]): Promise<number> {
    const lsn = writer.write(pages);
    await this.run(
      new Promise<void>((resolve, reject) => {
        writer.volume.wait(lsn, (error) => (error === undefined ? resolve() : reject(error)));
      }),
    );
    return lsn;
  }

  /** Runs virtual time until the promise settles. Throws the first violation. */
  async run<T>(promise: Promise<T>, limitMs = LIMIT_MS): Promise<T> {
    const state = { over: false };
    const note = (): void => {
      state.over = true;
    };
    promise.then(note, note);
    await this.cluster.until(() => state.over, limitMs, 'the end of a step');
    return promise;
  }

  async for(ms: number): Promise<void> {
    await this.cluster.runFor(ms);
  }

  async until(condition: () => boolean, what: string): Promise<void> {
    await this.cluster.until(condition, LIMIT_MS, what);
  }

  /** What a read that names the membership epoch before this one is answered with. */
  async stale({ id }: { readonly id: string }, { volume, process }: Writer): Promise<string> {
    const address = [...ADDRESSES, SPARE].find((one) => one.id === id) ?? SPARE;
    const link = new NodeLink(this.worldOf(process), 'sim', address, ADDRESSES);
    const { core } = volume;
    const request = encodeReadPage({
      volume: core.volume,
      pg: 0,
      volumeEpoch: core.volumeEpoch,
      membershipEpoch: core.pgs[0].membership.epoch - 1,
      pageNo: 0,
      readPoint: core.vdl,
      pgTail: 0,
    });
    const answer = link.call(MessageType.readPage, request, 2000).then(
      () => 'an answer',
      (error: unknown) => (isSextantError(error) ? error.code : String(error)),
    );
    const code = await this.run(answer);
    link.rpc.close();
    return code;
  }

  look(): void {
    if (this.cluster.violation !== undefined) throw this.cluster.violation;
  }

  /** Nodes do not hear each other: no gossip fills holes. */
  silence(): void {
    this.sim.network.partition(NODE_IDS, NODE_IDS);
  }

  /** From now what the writer sends comes to these nodes only. */
  reach(writer: { readonly name: string }, ...indexes: number[]): void {
    const cut = NODE_IDS.filter((_, i) => !indexes.includes(i));
    this.sim.network.partition([writer.name], cut);
  }

  /** Nodes do not hear each other, and the writer reaches only these. */
  isolate(writer: { readonly name: string }, ...indexes: number[]): void {
    this.heal();
    this.silence();
    this.reach(writer, ...indexes);
  }

  /** Nodes do not hear each other, engines hear all, this node's answers come last. */
  deafen(slow?: number): void {
    this.heal();
    this.silence();
    const id = slow === undefined ? undefined : NODE_IDS[slow];
    if (id !== undefined) this.sim.network.faults(id, '*', { delayMs: 30 });
  }

  heal(): void {
    this.sim.network.heal();
  }

  stop(...indexes: number[]): void {
    for (const slot of this.slots(...indexes)) this.cluster.stopNode(slot, true);
  }

  async restart(...indexes: number[]): Promise<void> {
    for (const slot of this.slots(...indexes)) this.cluster.startNode(slot);
    await this.until(
      () => this.slots(...indexes).every(({ running, node }) => running && node?.state === 'up'),
      'nodes up',
    );
  }

  /** What a scenario expects; a breach is a violation of progress or of its rule. */
  expect(condition: boolean, what: string): void {
    if (!condition) throw new Violation('SCRIPT', what);
  }

  /** The last one dies. A last opening by somebody new: everything acknowledged is there, on all nodes in the end. */
  async finish(last?: { readonly process: SimProcess }): Promise<void> {
    last?.process.crash();
    this.heal();
    this.sim.network.clearFaults();
    for (const slot of this.cluster.nodes) {
      slot.process.resume();
      this.cluster.startNode(slot);
    }
    const writer = await this.open();
    const tail = await this.commit(writer, [0]);
    await this.until(() => {
      this.cluster.tend();
      return this.cluster.nodes.every(
        (slot, i) => slot.wholeAndUp && this.host(i).segment.scl >= tail,
      );
    }, 'all nodes complete');
    await this.readAll(writer);
    writer.process.crash();
  }
}

/** A rule taken away, and who notices. */
export interface Need {
  readonly planted: PlantedFaults;
  readonly name: string;
  /** `any`: which checker does depends on the moment. */
  readonly caughtBy: string;
}

interface FaultNames {
  volume: VolumeFault;
  node: keyof NodeFaults;
  txn: TxnFault;
}

export function need<K extends keyof FaultNames>(
  where: K,
  name: FaultNames[K],
  caughtBy: string,
): Need {
  const planted = where === 'node' ? { node: { [name]: true } } : { [where]: new Set([name]) };
  return { planted, name, caughtBy };
}

export interface Scenario {
  /** Of volume.md. */
  readonly rule: number;
  readonly name: string;
  /** What its cluster has otherwise than those of other scenarios. */
  readonly change?: Partial<SimOptions>;
  run(stage: Stage): Promise<void>;
  /** What this script shows to be needed. */
  readonly needs?: readonly Need[];
}
