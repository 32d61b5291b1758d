/**
 * Runs one storage node in this process or thread, over the real world.
 *
 * As a program: `node server.js '<NodeServerConfig as JSON>'`. Prints exactly one line on standard output,
 * `listening <address>`, once the node can be reached; SIGTERM and SIGINT close it cleanly. Exits with 1 and one
 * clear line on standard error when it cannot run (FOLDER_LOCKED, FOLDER_FOREIGN, CONFIG, DISK_FAILED).
 */
import { realpathSync } from 'node:fs';
import { fileURLToPath } from 'node:url';
import { SextantError, isSextantError } from '#core/errors.js';
import { toNodeId } from '#core/ids.js';
import { realWorld } from '#core/world/real/real-world.js';
import type { World } from '#core/world/world.js';
import { StorageNode } from './node/storage-node.js';
import type { NodeConfig } from './node/storage-node.js';
import { jsonCodec, nodeAddress } from './protocol/codec-json.js';
import { flag, list, object, optional, text } from './protocol/shape.js';
import { NodeStore } from './store/node-store.js';

export interface NodeServerConfig {
  readonly cluster: string;
  readonly id: string;
  readonly zone: string;
  /** `host:port`; port 0: any free one. */
  readonly listen: string;
  readonly dataFolder: string;
  readonly peers: readonly {
    readonly id: string;
    readonly zone: string;
    readonly address: string;
  }[];
  /** The cluster's first start: an empty folder is new, not lost. */
  readonly initial?: boolean;
}

const config = jsonCodec(
  'node configuration',
  object<NodeServerConfig>({
    cluster: text,
    id: text,
    zone: text,
    listen: text,
    dataFolder: text,
    peers: list(nodeAddress, 1000),
    initial: optional(flag),
  }),
);

export interface RunningNode {
  readonly node: StorageNode;
  readonly address: string;
  close(): Promise<void>;
}

/**
 * Opens the folder and listens; the node may still be waiting for its peers (`node.ready()`). `world` is the
 * seam for worker threads and simulators: the node uses only what it is given there.
 */
export async function runStorageNode(
  settings: NodeServerConfig,
  world: World = realWorld(),
): Promise<RunningNode> {
  toNodeId(settings.id);
  if (settings.cluster === '') throw new SextantError('CONFIG', 'a node needs a cluster');
  const full: NodeConfig = { ...settings, pid: process.pid };
  const node = await StorageNode.open(world, full, (w, folder) => new NodeStore(w, folder));
  return { node, address: node.address, close: () => node.close() };
}

async function main(argument: string | undefined): Promise<void> {
  if (argument === undefined)
    throw new SextantError('CONFIG', 'usage: server.js <configuration as JSON>');
  const running = await runStorageNode(config.decode(new TextEncoder().encode(argument)));
  // Nothing else keeps the process alive once its last link has closed.
  const alive = setInterval(() => undefined, 1 << 30);
  let closing = false;
  const close = (): void => {
    if (closing) return;
    closing = true;
    running.close().then(
      () => {
        clearInterval(alive);
        process.exit(0);
      },
      (error: unknown) => fail(error),
    );
  };
  process.on('SIGTERM', close);
  process.on('SIGINT', close);
  process.stdout.write(`listening ${running.address}\n`);
}

function fail(error: unknown): never {
  const line = isSextantError(error) ? `${error.code}: ${error.message}` : String(error);
  process.stderr.write(`sextant node: ${line.replaceAll('\n', ' ')}\n`);
  process.exit(1);
}

const script = process.argv[1];
if (script !== undefined && fileURLToPath(import.meta.url) === realpathSync(script)) {
  main(process.argv[2]).catch(fail);
}
