/** How engines of the simulator open the volume, planted faults included. */
import type { World } from '#core/world/world.js';
import { openQuorumVolume, type OpenVolumeOptions } from '#engine/volume/open-volume.js';
import type { QuorumVolume } from '#engine/volume/quorum-volume.js';
import { ADDRESSES, type Cluster } from './cluster.js';

const TIMEOUT_MS = 60_000;

export function openSimVolume(
  { options, planted }: Cluster,
  world: World,
  change: Partial<OpenVolumeOptions> = {},
): Promise<QuorumVolume> {
  return openQuorumVolume(world, {
    clusterId: 'sim',
    nodes: ADDRESSES,
    volume: 1,
    pagesPerPg: options.pagesPerPg,
    lal: options.lal,
    create: true,
    leaseMs: options.leaseMs,
    openTimeoutMs: TIMEOUT_MS,
    readTimeoutMs: TIMEOUT_MS,
    ...(planted.volume === undefined ? {} : { faults: planted.volume }),
    ...change,
  });
}
