/** Opens a virtual disk, or makes one. */
import { SextantError } from '#core/errors.js';
import type { World } from '#core/world/world.js';
import type { NodeAddress } from '#storage-nodes/protocol/messages.js';
import { DiskClient } from './disk-client.js';
import { DiskRegisters, groupsOf } from './disk-registers.js';
import { NO_FAULTS, type Faults } from './faults.js';
import { NodeLink } from './node-link.js';
import { Session } from './session.js';

const DEADLINE_MS = 30_000;

export interface OpenDiskOptions {
  readonly cluster: string;
  /** All storage nodes of the cluster, in the order of its configuration. */
  readonly nodes: readonly NodeAddress[];
  /** [a-z0-9-], 1 to 32 long. */
  readonly name: string;
  /** From the lock service; 0: reads only. */
  readonly token: number;
  /** Makes it when it is not there: with 3 copies of data, one a zone (the default), or 6. */
  readonly create?: { readonly dataCopies?: 3 | 6 };
  /** Opens a snapshot, read-only: its id. */
  readonly snapshot?: number;
  readonly deadlineMs?: number;
  readonly faults?: Faults;
}

function connect(
  world: World,
  cluster: string,
  nodes: readonly NodeAddress[],
): Map<string, NodeLink> {
  return new Map(nodes.map((node) => [node.id, new NodeLink(world, cluster, node, nodes)]));
}

function closeAll(links: ReadonlyMap<string, NodeLink>): void {
  for (const link of links.values()) link.close();
}

/** Rejects with NOT_FOUND (no such disk or snapshot), NO_QUORUM, CONFIG. */
export async function openDisk(world: World, options: OpenDiskOptions): Promise<DiskClient> {
  const { cluster, nodes, name, token, create, snapshot = 0 } = options;
  const deadlineMs = options.deadlineMs ?? DEADLINE_MS;
  const groups = groupsOf(nodes);
  const links = connect(world, cluster, nodes);
  try {
    const registers = new DiskRegisters(world, links, nodes);
    const state =
      create === undefined
        ? await registers.read(name, deadlineMs)
        : await registers.create(name, { groups, dataCopies: create.dataCopies ?? 3 }, deadlineMs);
    if (
      snapshot !== 0 &&
      !state.snapshots.some(({ id, used }) => id === snapshot && used.length > 0)
    ) {
      throw new SextantError('NOT_FOUND', `disk ${name} has no snapshot ${snapshot}`);
    }
    const session = new Session(world, links, token, state, options.faults ?? NO_FAULTS);
    // Those that it does not reach are told when a request shows that they need it.
    for (const node of session.geometry.nodes) session.sendState(node).catch(() => undefined);
    return new DiskClient(session, registers, snapshot);
  } catch (error) {
    closeAll(links);
    throw error;
  }
}
