/**
 * The folder of a `sextant dev` cluster:
 *
 * ```
 * sextant.json      the cluster, as for real machines
 * state.json        initialised: every node has been started once; engine: pid of the last engine
 * LOCK              held while `sextant dev` runs
 * node-1 .. node-6  the nodes' data; node.sock: where the engine reaches the node
 * lock-1 .. lock-3  the lock servers' data
 * logs/             one file per part
 * ```
 */
import { existsSync, mkdirSync, readFileSync, renameSync, writeFileSync } from 'node:fs';
import { createServer } from 'node:net';
import { join } from 'node:path';
import { randomBytes } from 'node:crypto';
import { UNIX_PATH_BYTES_MAX } from '#core/rpc/tcp.js';
import { type ClusterConfig, type NodeConfig, readClusterConfig } from './config.js';

export interface DevState {
  initialised: boolean;
  enginePid: number;
}

const LOCK_SERVERS = 3;
const ZONES = ['a', 'b', 'c'] as const;

export const configPath = (folder: string): string => join(folder, 'sextant.json');

function writeJson(path: string, value: unknown): void {
  writeFileSync(`${path}.new`, `${JSON.stringify(value, null, 2)}\n`);
  renameSync(`${path}.new`, path);
}

export function readState(folder: string): DevState {
  const path = join(folder, 'state.json');
  if (!existsSync(path)) return { initialised: false, enginePid: 0 };
  return JSON.parse(readFileSync(path, 'utf8')) as DevState;
}

export function writeState(folder: string, state: DevState): void {
  writeJson(join(folder, 'state.json'), state);
}

/** A free loopback port; the kernel gives out one that nobody listens on. */
function freePort(): Promise<number> {
  return new Promise((resolve, reject) => {
    const probe = createServer();
    probe.once('error', reject);
    probe.listen(0, '127.0.0.1', () => {
      const address = probe.address();
      probe.close(() =>
        resolve(typeof address === 'object' && address !== null ? address.port : 0),
      );
    });
  });
}

export function portIsFree(host: string, port: number): Promise<boolean> {
  return new Promise((resolve) => {
    const probe = createServer();
    probe.once('error', () => resolve(false));
    probe.listen(port, host, () => probe.close(() => resolve(true)));
  });
}

async function addressOr(old: string | undefined): Promise<string> {
  if (old !== undefined) {
    const port = Number(old.slice(old.lastIndexOf(':') + 1));
    if (await portIsFree('127.0.0.1', port)) return old;
  }
  return `127.0.0.1:${await freePort()}`;
}

/** Makes or reads the description of the cluster; ports that somebody else took meanwhile are replaced. */
export async function prepareDevFolder(folder: string, port: number): Promise<ClusterConfig> {
  mkdirSync(join(folder, 'logs'), { recursive: true });
  const path = configPath(folder);
  const old = existsSync(path) ? readClusterConfig(path) : undefined;
  const nodes = [];
  for (let i = 0; i < 6; i++) {
    const id = `node-${i + 1}`;
    const known = old?.nodes.find((node) => node.id === id);
    const zone = ZONES[i >> 1] ?? 'a';
    nodes.push({ id, zone, address: await addressOr(known?.address), data: id });
  }
  const lockServers = [];
  for (let i = 1; i <= LOCK_SERVERS; i++) {
    const id = `lock-${i}`;
    const known = old?.lockServers.find((server) => server.id === id);
    lockServers.push({ id, address: await addressOr(known?.address), data: id });
  }
  const config = {
    cluster: old?.cluster ?? `dev-${randomBytes(6).toString('hex')}`,
    nodes,
    lockServers,
    engine: {
      ...old?.engine,
      bufferMiB: old?.engine.bufferMiB ?? 256,
      listen: `127.0.0.1:${port}`,
      status: await addressOr(old?.engine.status),
    },
  };
  writeJson(path, config);
  return readClusterConfig(path);
}

const SOCKET = 'node.sock';

/** A supervised node listens on a unix socket in its folder too, unless the path is too long for one. */
export function localSocket(data: string): { localSocket?: string } {
  const path = join(data, SOCKET);
  return Buffer.byteLength(path) > UNIX_PATH_BYTES_MAX ? {} : { localSocket: path };
}

/** How a supervised engine reaches a node: its unix socket is half the way of loopback TCP. */
export function nearestAddress(node: NodeConfig): string {
  const { localSocket: path } = localSocket(node.data);
  return path === undefined ? node.address : `unix:${path}`;
}
