/**
 * Runs one storage node over the real world.
 *
 * `openStorageNode` is the node alone, in whatever process or thread, over whatever world: the seam for embedded
 * engines and simulators. `runStorageNode` is a process: it prints exactly one line on standard output,
 * `listening <address>`, once the node can be reached, and ends cleanly with SIGTERM, SIGINT, or with its
 * standard input when told so. As a program of its own: `node server.js '<NodeServerConfig as JSON>'`, which exits
 * with 1 and one line on standard error when it cannot run (FOLDER_LOCKED, FOLDER_FOREIGN, CONFIG, DISK_FAILED).
 */
import { endWhenTold } from '#core/world/real/end-when-told.js';
import { realpathSync, rmSync } from 'node:fs';
import { fileURLToPath } from 'node:url';
import { SextantError, isSextantError } from '#core/errors.js';
import { toNodeId } from '#core/ids.js';
import { RpcServer } from '#core/rpc/server.js';
import { optimizeSooner } from '#core/world/real/v8-flags.js';
import type { LogLevel } from '#core/world/real/log.js';
import { realWorld } from '#core/world/real/real-world.js';
import type { World } from '#core/world/world.js';
import { StorageNode } from './node/storage-node.js';
import type { NodeConfig } from './node/storage-node.js';
import { nodeAddress } from './protocol/codec-json.js';
import type { NodeAddress } from './protocol/messages.js';
import { flag, jsonCodec, list, object, oneOf, optional, text } from '#core/rpc/shape.js';
import { NodeStore, folderInWorker } from './store/node-store.js';
import type { StoreOptions } from './store/store-core.js';

export interface NodeServerConfig {
  readonly cluster: string;
  readonly id: string;
  readonly zone: string;
  /** `host:port`; port 0: any free one. */
  readonly listen: string;
  /** A unix socket to listen on besides, for an engine on the same machine. */
  readonly localSocket?: string;
  readonly dataFolder: string;
  /** All nodes of the cluster; this one may be among them. */
  readonly peers: readonly NodeAddress[];
  /** The cluster's first start: an empty folder is new, not lost. Without effect on a folder that is in use. */
  readonly initial?: boolean;
  /** The process ends when its standard input does: it never outlives who started it. */
  readonly exitWithStdin?: boolean;
  readonly logLevel?: LogLevel;
}

const configuration = jsonCodec(
  'node configuration',
  object<NodeServerConfig>({
    cluster: text,
    id: text,
    zone: text,
    listen: text,
    localSocket: optional(text),
    dataFolder: text,
    peers: list(nodeAddress, 1000),
    initial: optional(flag),
    exitWithStdin: optional(flag),
    logLevel: optional(oneOf('debug', 'info', 'warn', 'error', 'silent')),
  }),
);

/**
 * Opens the folder and listens (`node.address`); the node may then still wait for its peers (`node.ready()`).
 * Throws FOLDER_LOCKED, FOLDER_FOREIGN, CONFIG, DISK_FAILED.
 */
export function openStorageNode(
  config: NodeConfig,
  world: World,
  store: StoreOptions = {},
): Promise<StorageNode> {
  toNodeId(config.id);
  if (config.cluster === '') throw new SextantError('CONFIG', 'a node needs a cluster');
  const peers = config.peers.filter((peer) => peer.id !== config.id);
  return StorageNode.open(
    world,
    { ...config, peers },
    (_, folder) => new NodeStore(world, folder, store, folderInWorker()),
  );
}

/** Resolves when the node listens; the process then stays alive until it is told to end. */
export async function runStorageNode(config: NodeServerConfig): Promise<StorageNode> {
  optimizeSooner();
  const world = realWorld({ log: config.logLevel ?? 'info' });
  const { cluster, id, zone, listen, dataFolder, peers, initial = false } = config;
  const settings = { cluster, id, zone, listen, dataFolder, peers, initial, pid: process.pid };
  const node = await openStorageNode(settings, world);
  if (config.localSocket !== undefined) await listenLocally(world, config.localSocket, node);
  endWhenTold(config.exitWithStdin === true, () => node.close(), fail);
  process.stdout.write(`listening ${node.address}\n`);
  return node;
}

/** The folder's lock is held, so a socket file that is there is a dead one's. */
async function listenLocally(world: World, path: string, node: StorageNode): Promise<void> {
  rmSync(path, { force: true });
  await RpcServer.listen(world, `unix:${path}`, node);
}

function fail(error: unknown): never {
  const line = isSextantError(error) ? `${error.code}: ${error.message}` : String(error);
  process.stderr.write(`sextant storage-node: ${line.replaceAll('\n', ' ')}\n`);
  process.exit(1);
}

const script = process.argv[1];
if (script !== undefined && fileURLToPath(import.meta.url) === realpathSync(script)) {
  const argument = process.argv[2] ?? '';
  Promise.resolve()
    .then(() => runStorageNode(configuration.decode(new TextEncoder().encode(argument))))
    .catch(fail);
}
