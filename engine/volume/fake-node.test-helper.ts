/**
 * Six storage nodes for tests of the engine's side: the real segment and acceptor cores over memory
 * instead of a journal, served by the real RPC over `inproc:` links. Nothing is lost when a node "stops"
 * (its links break); `wipe` loses its folder.
 */
import { PAGE_BYTES, type NodeId } from '#core/ids.js';
import { SextantError } from '#core/errors.js';
import { apply } from '#core/redo/apply.js';
import { BOXCAR_HEADER_BYTES, decodeBoxcar } from '#core/redo/boxcar.js';
import { RecordReader } from '#core/redo/record.js';
import { acceptorStep, EMPTY_ACCEPTOR, type AcceptorState } from '#core/registers/acceptor.js';
import { decodeRegisterMessage, encodeRegisterReply } from '#core/registers/messages.js';
import { RpcServer, type RpcPeer } from '#core/rpc/server.js';
import type { World } from '#core/world/world.js';
import { decodePoints, decodeReadPage, encodeScl } from '#storage-nodes/protocol/codec-binary.js';
import * as codec from '#storage-nodes/protocol/codec-json.js';
import {
  MessageType,
  PROTOCOL_VERSION,
  SclStatus,
  type NodeAddress,
  type SegmentAddress,
} from '#storage-nodes/protocol/messages.js';
import { Segment, type SegmentEffect, type SegmentEvent } from '#storage-nodes/segment/segment.js';

export class FakeNode {
  readonly id: NodeId;
  readonly address: NodeAddress;
  generation = 1;
  /** Returns false: the message is lost. */
  admit: (type: number) => boolean = () => true;
  delayMs = 0;
  boxcars = 0;
  reads = 0;
  pointsHeard = 0;
  segments = new Map<string, FakeSegment>();
  registers = new Map<string, AcceptorState>();
  readonly #cluster: FakeCluster;
  #server: RpcServer | undefined;
  readonly peers = new Map<string, RpcPeer>();

  constructor(cluster: FakeCluster, index: number) {
    this.#cluster = cluster;
    this.id = `node-${index + 1}` as NodeId;
    const address = `inproc:${cluster.name}-${this.id}`;
    this.address = { id: this.id, zone: `zone-${(index % 3) + 1}`, address };
  }

  async start(): Promise<void> {
    this.#server = await RpcServer.listen(this.#cluster.world, this.address.address, {
      call: (_peer, type, body) => this.#call(type, body),
      push: (peer, type, body) => this.#push(peer, type, body),
    });
  }

  async stop(): Promise<void> {
    await this.#server?.close();
    this.#server = undefined;
    this.peers.clear();
  }

  /** A new folder: segments and acceptor state are gone. */
  wipe(): void {
    this.generation++;
    for (const [key, old] of this.segments) {
      const fresh = new FakeSegment(old.segment.volume, old.segment.pg, false);
      const list = this.#cluster.newestList(key);
      if (list !== undefined) fresh.step({ type: 'install', list, vdl: 0 });
      this.segments.set(key, fresh);
    }
  }

  segment(volume: number, pg: number): FakeSegment {
    const key = `${volume}/${pg}`;
    let segment = this.segments.get(key);
    if (segment === undefined) {
      segment = new FakeSegment(volume, pg, true);
      this.segments.set(key, segment);
    }
    return segment;
  }

  async #call(type: number, body: Uint8Array): Promise<Uint8Array> {
    if (!this.admit(type)) return new Promise(() => undefined);
    const copy = body.slice();
    if (this.delayMs > 0) await this.#cluster.world.timers.sleep(this.delayMs);
    return this.#answer(type, copy);
  }

  #answer(type: number, body: Uint8Array): Uint8Array {
    switch (type) {
      case MessageType.hello:
        return codec.helloAnswer.encode({
          protocol: PROTOCOL_VERSION,
          cluster: this.#cluster.name,
          node: this.id,
          zone: this.address.zone,
          generation: this.generation,
        });
      case MessageType.registerPrepare:
      case MessageType.registerAccept: {
        const message = decodeRegisterMessage(body);
        const { state, reply } = acceptorStep(
          this.registers.get(message.key) ?? EMPTY_ACCEPTOR,
          message,
        );
        this.registers.set(message.key, state);
        return encodeRegisterReply(reply);
      }
      case MessageType.seal:
        return this.#seal(body);
      case MessageType.install: {
        const request = codec.installRequest.decode(body);
        const segment = this.segment(request.volume, request.pg);
        segment.step({
          type: 'install',
          vdl: request.vdl,
          list: { ...request, listEpoch: request.volumeEpoch },
        });
        return codec.installAnswer.encode({
          scl: segment.segment.scl,
          generation: this.generation,
        });
      }
      case MessageType.catchUp: {
        const request = codec.catchUpRequest.decode(body);
        for (const source of request.sources) this.gossip(request.volume, request.pg, source);
        return codec.EMPTY_JSON;
      }
      case MessageType.strike: {
        const strike = codec.strikeRequest.decode(body);
        this.segment(strike.volume, strike.pg).step({ type: 'strike', strike });
        return codec.EMPTY_JSON;
      }
      case MessageType.readPage: {
        this.reads++;
        const request = decodeReadPage(body);
        return this.segment(request.volume, request.pg).read(request);
      }
      default:
        throw new SextantError('PROTOCOL', `unknown type ${type}`);
    }
  }

  #seal(body: Uint8Array): Uint8Array {
    const request = codec.sealRequest.decode(body);
    const list = { ...request, listEpoch: request.ranges.at(-1)?.epoch ?? 0 };
    const effects = this.segment(request.volume, request.pg).step({ type: 'seal', list });
    const sealed = effects.find((effect) => effect.type === 'sealed');
    if (sealed === undefined) throw new SextantError('INTERNAL', 'no seal');
    return codec.sealAnswer.encode({
      node: this.id,
      generation: this.generation,
      ...sealed.state,
    });
  }

  /** Takes what `source` has and this node lacks. */
  gossip(volume: number, pg: number, source: string): void {
    const peer = this.#cluster.nodes.find((node) => node.id === source);
    if (peer === undefined || peer === this) return;
    const theirs = peer.segment(volume, pg);
    const ours = this.segment(volume, pg);
    for (const boxcar of theirs.log) {
      const effects = ours.step({
        type: 'gossip',
        boxcars: boxcar,
        vdl: theirs.segment.journaledVdl,
        peerScl: theirs.segment.scl,
      });
      this.report(ours, effects);
    }
  }

  #push(peer: RpcPeer, type: number, body: Uint8Array): void {
    if (!this.admit(type)) return;
    if (this.delayMs > 0) {
      const copy = body.slice();
      this.#cluster.world.timers.after(this.delayMs, () => this.#take(peer, type, copy));
    } else {
      this.#take(peer, type, body);
    }
  }

  #take(peer: RpcPeer, type: number, body: Uint8Array): void {
    if (type === MessageType.points) {
      this.pointsHeard++;
      const points = decodePoints(body);
      const segment = this.segment(points.volume, points.pg);
      this.#reply(peer, points, segment, segment.step({ type: 'points', points }));
      return;
    }
    this.boxcars++;
    const header = decodeBoxcar(body);
    const segment = this.segment(header.volume, header.pg);
    this.peers.set(`${header.volume}/${header.pg}`, peer);
    const effects = segment.step({ type: 'boxcar', bytes: body.slice() });
    this.#reply(peer, header, segment, effects);
  }

  report(segment: FakeSegment, effects: readonly SegmentEffect[]): void {
    const { volume, pg } = segment.segment;
    const peer = this.peers.get(`${volume}/${pg}`);
    if (peer !== undefined) this.#reply(peer, undefined, segment, effects);
  }

  #reply(
    peer: RpcPeer,
    _request: SegmentAddress | undefined,
    { segment }: FakeSegment,
    effects: readonly SegmentEffect[],
  ): void {
    for (const effect of effects) {
      if (effect.type !== 'acknowledge' && effect.type !== 'refuse') continue;
      const { volume, pg, volumeEpoch, membershipEpoch, scl, held, resendAfter } = segment;
      const status = effect.type === 'refuse' ? effect.status : SclStatus.ok;
      const { generation } = this;
      peer.push(
        MessageType.scl,
        encodeScl({
          volume,
          pg,
          volumeEpoch,
          membershipEpoch,
          status,
          generation,
          scl,
          held,
          resendAfter,
        }),
      );
    }
  }
}

export class FakeSegment {
  segment: Segment;
  /** Boxcars of the chain, oldest first. */
  log: Uint8Array[] = [];

  constructor(
    volume: number,
    pg: number,
    whole: boolean,
    faults: ConstructorParameters<typeof Segment>[3] = {},
  ) {
    this.segment = new Segment(volume, pg, whole, faults);
  }

  step(event: SegmentEvent): SegmentEffect[] {
    const effects = this.segment.step(event);
    for (const effect of effects) {
      if (effect.type === 'chain') this.log.push(effect.bytes.slice());
    }
    return effects;
  }

  read(request: Parameters<Segment['checkRead']>[0]): Uint8Array {
    this.segment.checkRead(request);
    const page = new Uint8Array(PAGE_BYTES);
    const view = new DataView(page.buffer);
    const reader = new RecordReader();
    for (const boxcar of this.log) {
      reader.reset(boxcar, BOXCAR_HEADER_BYTES, boxcar.length, decodeBoxcar(boxcar).firstLsn);
      while (reader.next()) {
        if (reader.lsn > Math.min(request.readPoint, this.segment.scl)) return page;
        const annulled = this.segment.ranges.some(
          (range) => reader.lsn > range.after && reader.lsn <= range.through,
        );
        if (!annulled && reader.pageNo === request.pageNo) apply(page, view, 0, reader);
      }
    }
    return page;
  }
}

let clusters = 0;

export class FakeCluster {
  readonly name: string;
  readonly world: World;
  readonly nodes: FakeNode[] = [];

  constructor(world: World, count = 6) {
    this.world = world;
    this.name = `fake-${++clusters}`;
    for (let i = 0; i < count; i++) this.nodes.push(new FakeNode(this, i));
  }

  async start(): Promise<void> {
    for (const node of this.nodes) await node.start();
  }

  async stop(): Promise<void> {
    for (const node of this.nodes) await node.stop();
  }

  get addresses(): NodeAddress[] {
    return this.nodes.map((node) => node.address);
  }

  newestList(key: string): ReturnType<Segment['decided']> {
    const lists = this.nodes.flatMap((node) => node.segments.get(key)?.segment.decided() ?? []);
    return lists.toSorted((a, b) => b.volumeEpoch - a.volumeEpoch)[0];
  }
}
