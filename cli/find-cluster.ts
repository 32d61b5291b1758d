/** Which cluster is meant: by the folder of a `sextant dev` cluster, or by its sextant.json. For commands and for programs. */
import { existsSync } from 'node:fs';
import { resolve } from 'node:path';
import { SextantError } from '#core/errors.js';
import { type ClusterConfig, type NodeConfig, readClusterConfig } from './config.js';
import { configPath, nearestAddress } from './dev-folder.js';

export const DEFAULT_DATA = './sextant-data';

export interface ClusterOptions {
  readonly data?: string;
  readonly config?: string;
}

/** What a client of the storage nodes and the lock service has to know. */
export interface ClusterAddresses {
  readonly cluster: string;
  readonly nodes: readonly { readonly id: string; readonly zone: string; address: string }[];
  readonly lockServers: readonly { readonly id: string; readonly address: string }[];
}

/** Throws CONFIG, in one line that says what to do. */
export function clusterOf(options: ClusterOptions): ClusterConfig {
  if (options.config !== undefined) return readClusterConfig(options.config);
  const folder = resolve(options.data ?? DEFAULT_DATA);
  const path = configPath(folder);
  if (!existsSync(path)) {
    throw new SextantError(
      'CONFIG',
      `no cluster in ${folder}: start one with \`sextant dev\`, or name one with --data or --config`,
    );
  }
  return readClusterConfig(path);
}

/** `sextant dev` runs on this machine: its nodes are reached over unix sockets. */
export function addressesOf(options: ClusterOptions): ClusterAddresses {
  const { cluster, nodes, lockServers } = clusterOf(options);
  const isDev = options.config === undefined;
  const addressOf = (node: NodeConfig): string => {
    const nearest = isDev ? nearestAddress(node) : node.address;
    return existsSync(nearest.replace(/^unix:/, '')) ? nearest : node.address;
  };
  return {
    cluster,
    nodes: nodes.map((node) => ({ id: node.id, zone: node.zone, address: addressOf(node) })),
    lockServers: lockServers.map(({ id, address }) => ({ id, address })),
  };
}
