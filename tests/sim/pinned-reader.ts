/**
 * Reads pages as of a point that it holds for a while, as a replica does or a long query: VDL and folding go on
 * meanwhile, and each node must still have what is needed (PAGE-3). It asks the nodes one by one, by a connection of
 * its own.
 */
import { isSextantError } from '#core/errors.js';
import type { World } from '#core/world/world.js';
import { NodeLink } from '#engine/volume/node-link.js';
import type { QuorumVolume } from '#engine/volume/quorum-volume.js';
import { encodeReadPage } from '#storage-nodes/protocol/codec-binary.js';
import { MessageType } from '#storage-nodes/protocol/messages.js';
import type { EngineView } from './checkers/checker.js';
import { ADDRESSES, type Cluster } from './cluster.js';

const CALL_MS = 500;

export class PinnedReader {
  readonly #cluster: Cluster;
  readonly #volume: QuorumVolume;
  readonly #view: EngineView;
  readonly #links: readonly NodeLink[];
  readonly #point: number;
  /** By PG: its tail at the point. */
  readonly #tails: readonly number[];

  /** Takes VDL as its point, and keeps it until `close`. */
  constructor(cluster: Cluster, world: World, volume: QuorumVolume, view: EngineView) {
    this.#cluster = cluster;
    this.#volume = volume;
    this.#view = view;
    this.#links = ADDRESSES.map((address) => new NodeLink(world, 'sim', address, ADDRESSES));
    const { core } = volume;
    this.#point = core.vdl;
    core.readPoints.add(this.#point);
    this.#tails = core.pgs.map(({ pg }) => core.tailAtVdl(pg));
  }

  close(): void {
    this.#volume.core.readPoints.remove(this.#point);
    for (const link of this.#links) link.rpc.close();
  }

  get pageCapacity(): number {
    return this.#tails.length * this.#volume.core.pagesPerPg;
  }

  /** False when the node does not serve it: down, behind, or not asked so far back. */
  async read(nodeIndex: number, pageNo: number): Promise<boolean> {
    const { core } = this.#volume;
    const pg = Math.floor(pageNo / core.pagesPerPg);
    const request = encodeReadPage({
      volume: core.volume,
      pg,
      volumeEpoch: core.volumeEpoch,
      membershipEpoch: core.pgs[pg].membership.epoch,
      pageNo,
      readPoint: this.#point,
      pgTail: this.#tails[pg],
    });
    let page: Uint8Array;
    try {
      page = (await this.#links[nodeIndex].call(MessageType.readPage, request, CALL_MS)).slice();
    } catch (error) {
      if (isSextantError(error)) return false;
      throw error;
    }
    const cluster = this.#cluster;
    cluster.check((checker) => checker.read?.(this.#view, pageNo, this.#point, page, cluster));
    return true;
  }
}
