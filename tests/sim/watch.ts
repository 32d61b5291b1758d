/** Puts the checkers between a storage node and what it is asked, and between an engine and its volume. */
import { isSextantError } from '#core/errors.js';
import { PAGE_BYTES } from '#core/ids.js';
import { FLAG_CPL } from '#core/redo/record.js';
import { QuorumVolume } from '#engine/volume/quorum-volume.js';
import { WriterCore } from '#engine/volume/writer-core.js';
import { decodePoints, decodeReadPage } from '#storage-nodes/protocol/codec-binary.js';
import { installRequest, sealRequest, strikeRequest } from '#storage-nodes/protocol/codec-json.js';
import { MessageType, SclStatus, type SegmentAddress } from '#storage-nodes/protocol/messages.js';
import { segmentKey, type SegmentHost } from '#storage-nodes/node/segment-host.js';
import { StorageNode } from '#storage-nodes/node/storage-node.js';
import type { EngineView, RequestEpochs, SegmentSnapshot } from './checkers/checker.js';
import { snapshotOf } from './checkers/log.js';
import type { Cluster, NodeSlot } from './cluster.js';
import type { ModelEdit } from './model.js';

interface Target {
  readonly host: SegmentHost;
  readonly request: RequestEpochs;
  readonly before: SegmentSnapshot;
}

/** Volume, group and epochs of what can change a segment. */
function addressOf(type: number, body: Uint8Array): SegmentAddress | undefined {
  switch (type) {
    case MessageType.boxcar: {
      const view = new DataView(body.buffer, body.byteOffset, body.byteLength);
      const [volume, pg, volumeEpoch, membershipEpoch] = [4, 8, 12, 16].map((at) =>
        view.getUint32(at, true),
      ) as [number, number, number, number];
      return { volume, pg, volumeEpoch, membershipEpoch };
    }
    case MessageType.points:
      return decodePoints(body);
    case MessageType.seal:
      return sealRequest.decode(body);
    case MessageType.install:
      return installRequest.decode(body);
    case MessageType.strike:
      return strikeRequest.decode(body);
    default:
      return undefined;
  }
}

function targetOf(node: StorageNode, type: number, body: Uint8Array): Target | undefined {
  const address = addressOf(type, body);
  if (address === undefined) return undefined;
  const { volume, pg, volumeEpoch, membershipEpoch } = address;
  const host = node.hosts.get(segmentKey(volume, pg));
  if (host === undefined) return undefined;
  return { host, request: { type, volumeEpoch, membershipEpoch }, before: snapshotOf(host) };
}

const ignore = (): void => undefined;

export function watchNode(cluster: Cluster, slot: NodeSlot, node: StorageNode): void {
  const handled = (target: Target | undefined): void => {
    if (target === undefined) return;
    const { host, request, before } = target;
    cluster.check((checker) => checker.handled?.(slot, host, request, before, cluster));
  };
  const promised = (address: SegmentAddress): void => {
    cluster.check((checker) => checker.promised?.(slot, address, cluster));
  };
  node.push = (peer, type, body) => {
    const target = targetOf(node, type, body);
    StorageNode.prototype.push.call(node, peer, type, body);
    handled(target);
  };
  node.call = (peer, type, body) => {
    const target = targetOf(node, type, body);
    const read = type === MessageType.readPage ? decodeReadPage(body) : undefined;
    const adopts = type === MessageType.seal || type === MessageType.install;
    const adopted = adopts ? addressOf(type, body) : undefined;
    try {
      const answer = StorageNode.prototype.call.call(node, peer, type, body);
      if (adopted !== undefined && answer instanceof Promise) {
        answer.then(() => promised(adopted), ignore);
      }
      return answer;
    } catch (error) {
      const host = read && node.hosts.get(segmentKey(read.volume, read.pg));
      if (read !== undefined && host !== undefined && isSextantError(error)) {
        const { code } = error;
        cluster.check((checker) => checker.readRefused?.(slot, host, code, read, cluster));
      }
      throw error;
    } finally {
      handled(target);
    }
  };
}

/** Call it as soon as the opening is over. */
export function watchVolume(cluster: Cluster, name: string, volume: QuorumVolume): EngineView {
  const { core } = volume;
  const view = { name, epoch: volume.epoch, core };
  cluster.check((checker) => checker.opened?.(view, volume.state, cluster));
  cluster.model.decide(volume.state.ranges);
  watchCore(cluster, view, core);
  volume.onVdl = (vdl) => {
    cluster.check((checker) => checker.durable?.(view, vdl, cluster));
    cluster.model.acknowledge(view.epoch, vdl);
  };
  volume.append = (pageNo, flags, prevPageLsn, bytes, start, end) => {
    const lsn = QuorumVolume.prototype.append.call(
      volume,
      pageNo,
      flags,
      prevPageLsn,
      bytes,
      start,
      end,
    );
    const edits = decodeEdits(bytes, start, end);
    const pg = Math.floor(pageNo / core.pagesPerPg);
    const cpl = (flags & FLAG_CPL) !== 0;
    const record = { lsn, epoch: view.epoch, pageNo, pg, cpl, prevPageLsn, edits };
    cluster.check((checker) => checker.appended?.(view, record, cluster));
    cluster.model.append(record);
    return lsn;
  };
  volume.readPage = async (pageNo, target, base) => {
    const readPoint = volume.vdl;
    await QuorumVolume.prototype.readPage.call(volume, pageNo, target, base);
    cluster.reads++;
    const page = target.slice(base, base + PAGE_BYTES);
    cluster.check((checker) => checker.read?.(view, pageNo, readPoint, page, cluster));
  };
  return view;
}

/** The grammar of edits, read a second time and as plainly as can be. */
function decodeEdits(bytes: Uint8Array, start: number, end: number): ModelEdit[] {
  const view = new DataView(bytes.buffer, bytes.byteOffset);
  const edits: ModelEdit[] = [];
  for (let at = start; at < end;) {
    const op = bytes[at];
    const first = op === 4 ? 0 : view.getUint16(at + 1, true);
    const second = op === 4 ? 0 : view.getUint16(at + 3, true);
    if (op === 1) {
      edits.push({ op: 'set', at: first, bytes: bytes.slice(at + 5, at + 5 + second) });
      at += 5 + second;
    } else if (op === 2) {
      edits.push({ op: 'move', to: first, from: second, length: view.getUint16(at + 5, true) });
      at += 7;
    } else if (op === 3) {
      edits.push({ op: 'fill', at: first, length: second, byte: bytes[at + 5] as number });
      at += 6;
    } else if (op === 4) {
      edits.push({ op: 'format', type: bytes[at + 1] as number });
      at += 2;
    } else throw new Error(`edit ${op}`);
  }
  return edits;
}

function watchCore(cluster: Cluster, engine: EngineView, core: WriterCore): void {
  const nodes = cluster.nodes;
  const heard = (index: number, pg: number, generation: number, scl: number): void => {
    const slot = nodes[index];
    if (slot === undefined) return;
    const report = { pg, generation, scl };
    cluster.check((checker) => checker.acknowledged?.(engine, slot, report, cluster));
  };
  core.onReport = (index, report, nowMs) => {
    if (report.status === SclStatus.ok && report.volumeEpoch === core.volumeEpoch) {
      heard(index, report.pg, report.generation, report.scl);
    }
    WriterCore.prototype.onReport.call(core, index, report, nowMs);
  };
  core.installed = (index, pg, scl, generation, nowMs) => {
    heard(index, pg, generation, scl);
    WriterCore.prototype.installed.call(core, index, pg, scl, generation, nowMs);
  };
}
