/** Puts the checkers between a storage node and what it is asked, and between an engine's core and what it hears. */
import { isSextantError } from '#core/errors.js';
import { WriterCore } from '#engine/volume/writer-core.js';
import { decodeReadPage } from '#storage-nodes/protocol/codec-binary.js';
import { installRequest, sealRequest } from '#storage-nodes/protocol/codec-json.js';
import { MessageType, SclStatus } from '#storage-nodes/protocol/messages.js';
import { segmentKey, type SegmentHost } from '#storage-nodes/node/segment-host.js';
import { StorageNode } from '#storage-nodes/node/storage-node.js';
import type { EngineView } from './checkers/checker.js';
import type { Cluster, NodeSlot } from './cluster.js';

interface Target {
  readonly host: SegmentHost;
  readonly request: { readonly type: number; readonly volumeEpoch: number };
  readonly before: { readonly scl: number; readonly held: number; readonly volumeEpoch: number };
}

function targetOf(node: StorageNode, type: number, body: Uint8Array): Target | undefined {
  let volume: number;
  let pg: number;
  let volumeEpoch: number;
  if (type === MessageType.boxcar) {
    const view = new DataView(body.buffer, body.byteOffset, body.byteLength);
    volume = view.getUint32(4, true);
    pg = view.getUint32(8, true);
    volumeEpoch = view.getUint32(12, true);
  } else if (type === MessageType.seal) ({ volume, pg, volumeEpoch } = sealRequest.decode(body));
  else if (type === MessageType.install)
    ({ volume, pg, volumeEpoch } = installRequest.decode(body));
  else return undefined;
  const host = node.hosts.get(segmentKey(volume, pg));
  if (host === undefined) return undefined;
  const { scl, held, volumeEpoch: epoch } = host.segment;
  return { host, request: { type, volumeEpoch }, before: { scl, held, volumeEpoch: epoch } };
}

export function watchNode(cluster: Cluster, slot: NodeSlot, node: StorageNode): void {
  const handled = (target: Target | undefined): void => {
    if (target === undefined) return;
    const { host, request, before } = target;
    cluster.check((checker) => checker.handled?.(slot, host, request, before, cluster));
  };
  node.push = (peer, type, body) => {
    const target = targetOf(node, type, body);
    StorageNode.prototype.push.call(node, peer, type, body);
    handled(target);
  };
  node.call = (peer, type, body) => {
    const target = targetOf(node, type, body);
    const read = type === MessageType.readPage ? decodeReadPage(body) : undefined;
    try {
      return StorageNode.prototype.call.call(node, peer, type, body);
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

export function watchCore(cluster: Cluster, engine: EngineView, core: WriterCore): void {
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
