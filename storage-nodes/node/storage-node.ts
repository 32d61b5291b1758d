/**
 * A storage node: protocol cores, one store, one listening address.
 *
 * ```
 *   push BOXCAR, POINTS --> segment.step --> journal --.
 *   call SEAL, INSTALL, registers, ... ----> state ----+--> end of the turn: one commit --> answers, SCLs
 *   answers of peers (gossip, hydration) --------------'
 * ```
 *
 * This file says what each message does. Around it: `turn` (when things are durable), `exchange` (asking
 * peers), `housekeeping` (folding, points, repair), `admission` (what happens at start).
 *
 * - LOG-2: an acknowledgement leaves only from `afterCommit`.
 * - LOG-6: segments check epochs before anything else happens.
 * - NODE-1: before it was admitted a node answers only HELLO, REG_READ_PEER and STATUS (rule 19).
 */
import { makeDurableFolder } from '#core/world/durable.js';
import { assert } from '#core/assert.js';
import { SextantError, isSextantError } from '#core/errors.js';
import { BOXCAR_HEADER_BYTES } from '#core/redo/boxcar.js';
import { RpcServer } from '#core/rpc/server.js';
import type { RpcHandler, RpcPeer } from '#core/rpc/server.js';
import type { World } from '#core/world/world.js';
import { BLOCK_TYPES, BlockHost } from '../blocks/block-host.js';
import { diskState } from '../protocol/codec-blocks.js';
import { decodePoints, decodeReadPage, encodeScl } from '../protocol/codec-binary.js';
import * as json from '../protocol/codec-json.js';
import { MessageType, PROTOCOL_VERSION, SclStatus } from '../protocol/messages.js';
import type { DecidedList, NodeAddress, NodeStatus, VolumeState } from '../protocol/messages.js';
import { newestEpoch } from '../segment/ranges.js';
import type { SegmentEffect, SegmentEvent, SealState } from '../segment/segment.js';
import {
  encodeSegmentPoints,
  epochsKey,
  pointsKey,
  segmentEpochs,
} from '../segment/segment-state.js';
import type { SegmentKey, Store } from '../store/store.js';
import { Admission } from './admission.js';
import type { FolderState } from './admission.js';
import { BackPressure } from './back-pressure.js';
import { Exchange } from './exchange.js';
import { NO_FAULTS } from './faults.js';
import type { Faults } from './faults.js';
import { Housekeeping } from './housekeeping.js';
import { FOLDER_FORMAT, readIdentity, writeIdentity } from './identity.js';
import type { Identity } from './identity.js';
import { PeerClients } from './peer-clients.js';
import { Recovery } from './recovery.js';
import { SegmentHost, segmentKey } from './segment-host.js';
import { Turn } from './turn.js';
import type { UnreadStore } from './unread-store.js';

export type OpenStore = (world: World, folder: string) => UnreadStore;

export interface NodeConfig {
  readonly cluster: string;
  readonly id: string;
  readonly zone: string;
  /** Address grammar of `Network`. */
  readonly listen: string;
  readonly dataFolder: string;
  readonly peers: readonly NodeAddress[];
  /** The very first start of the cluster: an empty folder is new, not lost. */
  readonly initial?: boolean;
  readonly pid?: number;
  readonly faults?: Faults;
  /** Registers of virtual disks are refused when less is free. */
  readonly reserveBytes?: number;
}

const PAGE_BYTES = 8192;
/** Points ride along with a commit when they are older than this. */
const POINTS_EVERY_MS = 50;
const START_RETRY_MS = 500;
/** Calls that a node with a full disk still answers. */
const READ_ONLY: readonly number[] = [
  MessageType.readPage,
  MessageType.gossip,
  MessageType.hydrate,
  MessageType.blockRead,
  MessageType.blockFence,
  MessageType.blockState,
  MessageType.blockStatus,
  MessageType.blockList,
];

export class StorageNode implements RpcHandler {
  readonly world: World;
  readonly config: NodeConfig;
  readonly store: Store;
  readonly peers: PeerClients;
  readonly turn: Turn;
  readonly hosts: Map<SegmentKey, SegmentHost>;
  readonly faults: Faults;
  readonly backPressure: BackPressure;
  /** Absent: the store keeps no registers of virtual disks. */
  readonly blocks: BlockHost | undefined;
  identity: Identity;
  boxcarCount = 0;
  receivedBytes = 0;
  #state: NodeStatus['state'] = 'starting';
  readonly #recovery: Recovery;
  readonly #admission: Admission;
  readonly #exchange: Exchange;
  readonly #housekeeping: Housekeeping;
  readonly #lock: { release(): void };
  readonly #touched = new Set<SegmentHost>();
  /** Committed, and admitted right behind it. */
  readonly #durable = new Set<SegmentHost>();
  #server: RpcServer | undefined;
  /** The folder was there before, and nothing is wrong with it. */
  readonly #intact: boolean;
  #closed = false;

  /**
   * Locks and reads the data folder, listens, and starts to be admitted (rule 19); `ready()` tells when that
   * is done. Throws FOLDER_LOCKED, FOLDER_FOREIGN (nothing touched), DISK_FAILED.
   */
  static async open(world: World, config: NodeConfig, openStore: OpenStore): Promise<StorageNode> {
    const expected = { cluster: config.cluster, node: config.id };
    readIdentity(world, config.dataFolder, expected);
    makeDurableFolder(world.disk, config.dataFolder);
    const lock = world.disk.lockFolder(config.dataFolder);
    let node: StorageNode;
    try {
      node = new StorageNode(world, config, openStore, lock);
    } catch (error) {
      lock.release();
      throw error;
    }
    try {
      node.#server = await RpcServer.listen(world, config.listen, node);
    } catch (error) {
      await node.close();
      throw error;
    }
    return node;
  }

  readonly #ready: Promise<void>;
  #admit: () => void = () => undefined;

  private constructor(
    world: World,
    config: NodeConfig,
    openStore: OpenStore,
    lock: { release(): void },
  ) {
    this.world = world;
    this.config = config;
    this.faults = config.faults ?? NO_FAULTS;
    this.#lock = lock;
    const expected = { cluster: config.cluster, node: config.id };
    const found = readIdentity(world, config.dataFolder, expected);
    this.identity = found ?? {
      format: FOLDER_FORMAT,
      cluster: config.cluster,
      node: config.id,
      zone: config.zone,
      generation: 0,
      trusted: false,
    };
    // First of all, so that a folder with anything in it says whose it is.
    if (this.identity.generation === 0 && config.initial !== true && config.peers.length === 0) {
      throw new SextantError('CONFIG', 'an empty folder needs peers to ask, or `initial`');
    }
    if (found === undefined) writeIdentity(world, config.dataFolder, this.identity);
    const store = openStore(world, config.dataFolder);
    const recovery = new Recovery(store, this.faults);
    store.recover(recovery);
    recovery.finish();
    this.store = store;
    this.#recovery = recovery;
    this.hosts = recovery.hosts;
    // A journal that does not know the folder's generation is not the one that was written under it.
    const written = recovery.generations.get(config.id) ?? 0;
    if (this.identity.generation > 0 && this.identity.generation !== written) {
      recovery.damage(`the journal is of generation ${written}, not ${this.identity.generation}`);
    }
    this.#intact = found?.trusted === true && recovery.damages.length === 0;
    this.peers = new PeerClients(world, config.cluster, config.id, config.peers);
    this.turn = new Turn({
      world,
      store: this.store,
      faults: this.faults,
      beforeCommit: () => this.#saveStates(),
      afterCommit: () => this.#acknowledge(),
      afterAdmit: () => this.#indexed(),
      onFull: (full) => this.#diskFull(full),
      onFailed: (error) => this.#failed(error),
    });
    this.backPressure = new BackPressure(this);
    this.blocks = this.#blockHost();
    this.#exchange = new Exchange(this);
    this.#housekeeping = new Housekeeping(this);
    this.#admission = new Admission(world, this.peers, config.id);
    this.#ready = new Promise((resolve) => (this.#admit = resolve));
    for (const host of this.hosts.values()) this.#hostChanged(host);
    // The listener must be there first: peers that start ask each other.
    world.timers.turn(() => void this.#start());
  }

  #blockHost(): BlockHost | undefined {
    const { store, world, faults, config } = this;
    if (store.blocks === undefined) return undefined;
    const options = {
      world,
      self: config.id,
      store,
      blocks: store.blocks,
      faults,
      durable: <T>(value: () => T): Promise<T> => this.turn.durable(value),
      callPeer: (id: string, type: number, body: Uint8Array, timeoutMs: number) =>
        this.peers.call(id, type, body, timeoutMs),
      ...(config.reserveBytes === undefined ? {} : { reserveBytes: config.reserveBytes }),
    };
    return new BlockHost(options, this.#recovery.disks);
  }

  get address(): string {
    return this.#server?.address ?? '';
  }

  get state(): NodeStatus['state'] {
    return this.#state;
  }

  get closed(): boolean {
    return this.#closed;
  }

  /** Resolves when the node takes part. */
  ready(): Promise<void> {
    return this.#ready;
  }

  async close(): Promise<void> {
    if (this.#closed) return;
    if (this.#state === 'up') this.turn.flush();
    this.#closed = true;
    this.#admission.close();
    this.#exchange.close();
    this.blocks?.close();
    this.backPressure.close();
    await this.#housekeeping.close();
    this.turn.end(new SextantError('CLOSED', 'node is closed'));
    this.peers.close();
    await this.#server?.close();
    await this.store.close();
    this.#lock.release();
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.close();
  }

  // -- start ------------------------------------------------------------------------------------------

  async #start(): Promise<void> {
    const { damages } = this.#recovery;
    const existed = this.identity.generation > 0;
    for (const damage of damages) this.world.log.error('damage in the data folder', { damage });
    const found: FolderState = this.#intact ? 'intact' : 'damaged';
    const fresh: FolderState = this.config.initial === true ? 'initial' : 'empty';
    const folder = existed ? found : fresh;
    try {
      if (this.faults.blankServes === true && !existed) this.#begin(1, true);
      else await this.#admitted(folder);
      this.#startBlocks();
      this.#state = 'up';
      this.#exchange.start();
      this.#housekeeping.start();
      this.#admit();
    } catch (error) {
      if (this.#closed) return;
      if (isSextantError(error, 'DISK_FULL')) {
        this.world.log.warn('disk full: cannot start yet');
        this.world.timers.after(START_RETRY_MS, () => void this.#start());
      } else this.#failed(error);
    }
  }

  #startBlocks(): void {
    const known = this.#recovery.registers.values('disk/').map((value) => diskState.decode(value));
    this.blocks?.start(this.identity.generation, known);
    this.turn.schedule();
  }

  async #admitted(folder: FolderState): Promise<void> {
    const initial = folder === 'initial';
    const admitted = await this.#admission.run(folder, this.identity.generation, (generation) =>
      this.#begin(generation, initial),
    );
    if (folder === 'intact' && admitted.trusted) return;
    if (!admitted.trusted) {
      for (const bytes of admitted.registers) this.#recovery.registers.adopt(this.store, bytes);
      for (const host of this.hosts.values()) {
        host.segment.whole = false;
        if (host.segment.membership !== undefined) host.saveEpochs = true;
        this.#touched.add(host);
      }
      for (const volume of admitted.volumes) this.#adoptVolume(volume);
      await this.turn.durable(() => undefined);
    }
    this.#begin(admitted.generation, true);
  }

  /** The journal knows the generation first: one without it is not believed. */
  #begin(generation: number, trusted: boolean): void {
    this.#noteGeneration(this.config.id, generation);
    if (!this.turn.flush()) throw new SextantError('DISK_FULL', 'no room to start');
    this.identity = { ...this.identity, generation, trusted };
    writeIdentity(this.world, this.config.dataFolder, this.identity);
  }

  /** Rule 19: epoch and list as a register read after the start has them; nothing counts as whole. */
  #adoptVolume(volume: VolumeState): void {
    const decided = volume.state === 'open';
    volume.pgs.forEach((membership, pg) => {
      const member = membership.sets.some((set) => set.some((id) => id === this.config.id));
      if (!member) return;
      const host = this.#hostOf(volume.volume, pg, false);
      const list: DecidedList = {
        volumeEpoch: volume.epoch,
        listEpoch: decided ? volume.epoch : newestEpoch(volume.ranges),
        ranges: volume.ranges,
        membership,
        peers: this.config.peers,
      };
      this.apply(host, host.segment.step({ type: 'install', list, vdl: 0 }), undefined);
    });
  }

  // -- messages ---------------------------------------------------------------------------------------

  onClose(peer: RpcPeer): void {
    for (const host of this.hosts.values()) if (host.engine === peer) host.engine = undefined;
  }

  push(peer: RpcPeer, type: number, body: Uint8Array): void {
    if (peer.attachment === undefined) throw new SextantError('PROTOCOL', 'HELLO comes first');
    this.receivedBytes += body.length;
    if (type === MessageType.boxcar) this.#boxcar(peer, body);
    else if (type === MessageType.points) this.#points(peer, body);
    else throw new SextantError('PROTOCOL', `unknown push ${type}`);
  }

  call(peer: RpcPeer, type: number, body: Uint8Array): Uint8Array | Promise<Uint8Array> {
    this.receivedBytes += body.length;
    if (type === MessageType.hello) return this.#hello(peer, body);
    if (peer.attachment === undefined) throw new SextantError('PROTOCOL', 'HELLO comes first');
    if (type === MessageType.status) return json.nodeStatus.encode(this.status());
    if (type === MessageType.registerReadPeer) return this.#registerReadPeer(body);
    this.#requireUp(READ_ONLY.includes(type));
    if (this.blocks !== undefined && BLOCK_TYPES.includes(type)) {
      this.#housekeeping.foreground();
      return this.blocks.call(type, body);
    }
    switch (type) {
      case MessageType.readPage:
        return this.#readPage(body);
      case MessageType.seal:
        return this.#seal(peer, body);
      case MessageType.install:
        return this.#install(peer, body);
      case MessageType.catchUp:
        return this.#catchUp(peer, body);
      case MessageType.strike:
        return this.#strike(peer, body);
      case MessageType.gossip:
        return this.#exchange.answerGossip(body);
      case MessageType.hydrate:
        return this.#exchange.answerHydrate(body);
      case MessageType.registerPrepare:
      case MessageType.registerAccept: {
        const reply = this.#recovery.registers.handle(this.store, body);
        return this.turn.durable(() => reply);
      }
      default:
        throw new SextantError('PROTOCOL', `unknown call ${type}`);
    }
  }

  #requireUp(readOnly = false): void {
    if (this.#state === 'starting') throw new SextantError('NOT_READY', 'node is starting');
    if (this.#state === 'damaged') throw new SextantError('NOT_READY', 'node is damaged');
    if (this.#state === 'disk-full' && !readOnly)
      throw new SextantError('DISK_FULL', 'no room on this node');
  }

  #hello(peer: RpcPeer, body: Uint8Array): Uint8Array {
    const request = json.helloRequest.decode(body);
    const { cluster, id: node, zone } = this.config;
    if (request.protocol !== PROTOCOL_VERSION) {
      throw new SextantError(
        'WRONG_CLUSTER',
        `protocol ${request.protocol}, not ${PROTOCOL_VERSION}`,
      );
    }
    if (request.cluster !== cluster || (request.node !== undefined && request.node !== node)) {
      throw new SextantError('WRONG_CLUSTER', `this is ${node} of ${cluster}`);
    }
    peer.attachment = request.role;
    if (request.peers !== undefined) this.peers.learn(request.peers);
    const { generation } = this.identity;
    return json.helloAnswer.encode({ protocol: PROTOCOL_VERSION, cluster, node, zone, generation });
  }

  #boxcar(peer: RpcPeer, body: Uint8Array): void {
    this.boxcarCount++;
    if (body.length < BOXCAR_HEADER_BYTES) throw new SextantError('PROTOCOL', 'boxcar too short');
    const view = new DataView(body.buffer, body.byteOffset, body.byteLength);
    const volume = view.getUint32(4, true);
    const pg = view.getUint32(8, true);
    const host = this.hosts.get(segmentKey(volume, pg));
    const refusal = this.#refusalNow();
    if (refusal !== SclStatus.ok || host === undefined) {
      const status = refusal === SclStatus.ok ? SclStatus.needRanges : refusal;
      if (this.#state === 'up' && refusal !== SclStatus.ok) this.backPressure.refused(host);
      this.#report(peer, host, volume, pg, status);
      return;
    }
    this.apply(host, host.segment.step({ type: 'boxcar', bytes: body }), peer);
  }

  #refusalNow(): SclStatus {
    if (this.#state === 'up') {
      return this.backPressure.refuses ? SclStatus.diskFull : SclStatus.ok;
    }
    return this.#state === 'disk-full' ? SclStatus.diskFull : SclStatus.notReady;
  }

  #points(peer: RpcPeer, body: Uint8Array): void {
    const points = decodePoints(body);
    const host = this.hosts.get(segmentKey(points.volume, points.pg));
    if (host === undefined || this.#state !== 'up') return;
    this.apply(host, host.segment.step({ type: 'points', points }), peer);
  }

  #readPage(body: Uint8Array): Uint8Array {
    const request = decodeReadPage(body);
    const host = this.#existing(request.volume, request.pg);
    host.segment.checkRead(request);
    // What arrived in this turn is indexed only by its commit.
    if (host.admittedScl < request.pgTail && !this.turn.flush()) {
      throw new SextantError('NOT_READY', 'the log that this read needs is not durable yet');
    }
    this.#housekeeping.foreground();
    const page = new Uint8Array(PAGE_BYTES);
    this.store.readPage(host.key, request.pageNo, request.readPoint, page, 0);
    return page;
  }

  #seal(peer: RpcPeer, body: Uint8Array): Promise<Uint8Array> {
    const request = json.sealRequest.decode(body);
    const { volumeEpoch, ranges, membership, peers } = request;
    const list = { volumeEpoch, listEpoch: newestEpoch(ranges), ranges, membership, peers };
    this.settle();
    const host = this.#hostOf(request.volume, request.pg, true);
    const state = this.apply(host, this.#adopted(host, { type: 'seal', list }), peer);
    assert(state !== undefined, 'a seal is answered');
    const { id: node } = this.config;
    return this.turn.durable(() =>
      json.sealAnswer.encode({ node, generation: this.identity.generation, ...state }),
    );
  }

  #install(peer: RpcPeer, body: Uint8Array): Promise<Uint8Array> {
    const request = json.installRequest.decode(body);
    const { volumeEpoch, ranges, membership, peers, vdl } = request;
    const list = { volumeEpoch, listEpoch: volumeEpoch, ranges, membership, peers };
    this.settle();
    const host = this.#hostOf(request.volume, request.pg, true);
    const effects = this.#adopted(host, { type: 'install', list, vdl });
    host.peerScl = Math.max(host.peerScl, request.pgTail);
    this.apply(host, effects, peer);
    const { generation } = this.identity;
    return this.turn.durable(() =>
      json.installAnswer.encode({ scl: host.segment.scl, generation }),
    );
  }

  /** A request that is refused leaves no new segment behind. */
  #adopted(host: SegmentHost, event: SegmentEvent): SegmentEffect[] {
    try {
      return host.segment.step(event);
    } finally {
      if (host.segment.volumeEpoch === 0) this.hosts.delete(host.key);
    }
  }

  #catchUp(peer: RpcPeer, body: Uint8Array): Uint8Array {
    const request = json.catchUpRequest.decode(body);
    const host = this.#existing(request.volume, request.pg);
    const { segment } = host;
    if (request.volumeEpoch < segment.volumeEpoch) {
      throw new SextantError('STALE_EPOCH', `volume epoch is ${segment.volumeEpoch}`);
    }
    if (request.volumeEpoch > segment.volumeEpoch) {
      throw new SextantError('NEED_RANGES', 'seal or install first');
    }
    host.engine = peer;
    host.peerScl = Math.max(host.peerScl, request.target);
    this.acknowledgeSoon(host);
    if (segment.scl < request.target) this.#exchange.ask(host, request.sources);
    return json.EMPTY_JSON;
  }

  #strike(peer: RpcPeer, body: Uint8Array): Promise<Uint8Array> {
    const strike = json.strikeRequest.decode(body);
    if (strike.generation !== this.identity.generation) {
      throw new SextantError('CONFLICT', `generation is ${this.identity.generation}`);
    }
    const host = this.#existing(strike.volume, strike.pg);
    host.peerScl = Math.max(host.peerScl, strike.pgcl);
    this.apply(host, host.segment.step({ type: 'strike', strike }), peer);
    return this.turn.durable(() => json.EMPTY_JSON);
  }

  #registerReadPeer(body: Uint8Array): Promise<Uint8Array> {
    const { from, generation } = json.peerReadRequest.decode(body);
    const knownGeneration = this.#recovery.generations.get(from) ?? 0;
    if (generation > knownGeneration) {
      this.#noteGeneration(from, generation);
    }
    const answer = json.peerReadAnswer.encode({
      node: this.config.id,
      knownGeneration,
      ready: this.#state === 'up' || (this.#state === 'starting' && this.#intact),
      registers: this.#recovery.registers
        .encodedStates()
        .map((bytes) => Buffer.from(bytes).toString('base64')),
    });
    return this.turn.durable(() => answer);
  }

  #noteGeneration(node: string, generation: number): void {
    this.#recovery.generations.set(node, generation);
    const value = new Uint8Array(4);
    new DataView(value.buffer).setUint32(0, generation, true);
    this.store.appendState(`g/${node}`, value);
  }

  status(): NodeStatus {
    const { stats } = this.store;
    return {
      id: this.config.id,
      zone: this.config.zone,
      pid: this.config.pid ?? 0,
      cluster: this.config.cluster,
      generation: this.identity.generation,
      state: this.#state,
      journalBytes: stats.journalBytes,
      pageBytes: stats.pageBytes,
      rssBytes: this.config.pid === undefined ? 0 : process.memoryUsage.rss(),
      syncCount: stats.syncCount,
      boxcarCount: this.boxcarCount,
      receivedBytes: this.receivedBytes,
      segments: [...this.hosts.values()].map((host) => host.status(this.store)),
    };
  }

  // -- effects ----------------------------------------------------------------------------------------

  /** Carries effects out; those that must wait for durability are left for the commit. */
  apply(
    host: SegmentHost,
    effects: readonly SegmentEffect[],
    peer: RpcPeer | undefined,
  ): SealState | undefined {
    let sealed: SealState | undefined;
    let isServed = false;
    for (const effect of effects) {
      switch (effect.type) {
        case 'chain':
          this.turn.append(host.key, effect.bytes);
          break;
        case 'truncate':
          this.store.truncate(host.key, effect.lsn);
          break;
        case 'forget':
          this.store.dropSegment(host.key);
          break;
        case 'saveEpochs':
          host.saveEpochs = true;
          this.#hostChanged(host);
          break;
        case 'savePoints':
          host.savePoints = true;
          break;
        case 'acknowledge':
          isServed = true;
          host.acknowledge = true;
          break;
        case 'refuse':
          this.#refuse(host, peer, effect.status, effect.detail);
          break;
        case 'sealed':
          isServed = true;
          sealed = effect.state;
          break;
        case 'ask':
          this.#exchange.ask(host);
          break;
      }
    }
    // LOG-6: one that was refused does not hear what is owed to another of the same turn.
    if (peer !== undefined && isServed) host.engine = peer;
    this.#touched.add(host);
    this.turn.schedule();
    this.#housekeeping.foreground();
    return sealed;
  }

  #refuse(host: SegmentHost, peer: RpcPeer | undefined, status: SclStatus, detail: string): void {
    const { volume, pg } = host.segment;
    if (detail !== '') this.world.log.warn('refused', { volume, pg, status, detail });
    if (peer !== undefined) this.#report(peer, host, volume, pg, status);
  }

  #report(
    peer: RpcPeer,
    host: SegmentHost | undefined,
    volume: number,
    pg: number,
    status: SclStatus,
  ): void {
    const report = encodeScl({
      volume,
      pg,
      volumeEpoch: host?.segment.volumeEpoch ?? 0,
      membershipEpoch: host?.segment.membershipEpoch ?? 0,
      status,
      generation: this.identity.generation,
      scl: status === SclStatus.ok ? (host?.segment.scl ?? 0) : 0,
      held: host?.segment.held ?? 0,
      resendAfter: host?.segment.resendAfter ?? 0,
    });
    peer.push(MessageType.scl, report);
  }

  /** Before anything cuts the log: what was appended is durable and indexed. Throws DISK_FULL, DISK_FAILED. */
  settle(): void {
    if (this.turn.pending && !this.turn.flush()) this.#requireUp();
  }

  /** Background work met an error: a full disk waits, anything else is damage. */
  backgroundFailed(error: unknown): void {
    if (this.#closed) return;
    if (isSextantError(error, 'DISK_FULL')) this.turn.schedule();
    else if (isSextantError(error, 'CORRUPTION')) {
      this.world.log.error('background work met damage', { error: error.message });
    } else {
      this.turn.end(error);
      this.#failed(error);
    }
  }

  /** Small state joins the commit that is about to happen. */
  #saveStates(): void {
    const nowMs = this.world.clock.monotonicMs();
    for (const host of this.#touched) {
      const { segment } = host;
      if (host.saveEpochs) {
        host.saveEpochs = false;
        const value = segmentEpochs.encode(segment.epochs());
        this.store.appendState(epochsKey(segment.volume, segment.pg), value);
      }
      const due = host.pointsMoved && nowMs - host.savedMs >= POINTS_EVERY_MS;
      if (host.savePoints || due) this.#savePoints(host, nowMs);
    }
  }

  #savePoints(host: SegmentHost, nowMs: number): void {
    const { segment } = host;
    host.savePoints = false;
    host.savedMs = nowMs;
    host.saved = segment.points();
    host.limitsDue = true;
    this.store.appendState(pointsKey(segment.volume, segment.pg), encodeSegmentPoints(host.saved));
  }

  /** Tells the engine the SCL after the next commit. */
  acknowledgeSoon(host: SegmentHost): void {
    host.acknowledge = true;
    this.#touched.add(host);
    this.turn.schedule();
  }

  /** Called by housekeeping when no commit has carried the points for a while. */
  savePointsSoon(host: SegmentHost): void {
    host.savePoints = true;
    this.#touched.add(host);
    this.turn.schedule();
  }

  /** Everything is durable: tell the engines. */
  #acknowledge(): void {
    for (const host of this.#touched) {
      host.durableScl = host.segment.scl;
      this.#durable.add(host);
      if (!host.acknowledge) continue;
      // Hot: one comparison while background work keeps up.
      if (this.store.holdMs > 0 && this.backPressure.holds(host)) continue;
      host.acknowledge = false;
      const { engine, segment } = host;
      if (engine !== undefined)
        this.#report(engine, host, segment.volume, segment.pg, SclStatus.ok);
    }
    this.#touched.clear();
  }

  #indexed(): void {
    const nowMs = this.world.clock.monotonicMs();
    for (const host of this.#durable) {
      host.admittedScl = host.durableScl;
      if (!host.limitsDue) continue;
      host.limitsDue = false;
      host.setLimits(this.store, nowMs);
    }
    this.#durable.clear();
  }

  #diskFull(full: boolean): void {
    if (this.#state !== 'up' && this.#state !== 'disk-full') return;
    this.#state = full ? 'disk-full' : 'up';
    this.world.log.warn(full ? 'disk full: not acknowledging' : 'there is room again');
    if (!full) return;
    for (const host of this.hosts.values()) {
      const { engine, segment } = host;
      if (engine !== undefined) {
        this.#report(engine, host, segment.volume, segment.pg, SclStatus.diskFull);
      }
    }
  }

  #failed(error: unknown): void {
    this.#state = 'damaged';
    this.world.log.error('node is damaged', { error: String(error) });
    try {
      // Best effort: the next start must not trust what is here.
      writeIdentity(this.world, this.config.dataFolder, { ...this.identity, trusted: false });
    } catch (failure) {
      this.world.log.error('could not mark the folder', { error: String(failure) });
    }
  }

  #existing(volume: number, pg: number): SegmentHost {
    const host = this.hosts.get(segmentKey(volume, pg));
    if (host === undefined)
      throw new SextantError('NEED_RANGES', `no segment ${volume}/${pg} here`);
    return host;
  }

  #hostOf(volume: number, pg: number, whole: boolean): SegmentHost {
    const key = segmentKey(volume, pg);
    let host = this.hosts.get(key);
    if (host === undefined) {
      host = new SegmentHost(volume, pg, whole, this.faults);
      this.hosts.set(key, host);
    }
    return host;
  }

  #hostChanged(host: SegmentHost): void {
    const { membership, peers } = host.segment;
    if (membership === undefined) return;
    this.peers.learn(peers);
    const ids = [...new Set(membership.sets.flat())].filter((id) => id !== this.config.id);
    host.gossip.setPeers(ids, this.world.random.below(Math.max(1, ids.length)));
  }
}
