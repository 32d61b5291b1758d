/**
 * The storage nodes of an embedded database: six worker threads over six folders, the same code and the same quorum as
 * six machines.
 *
 * ```
 * <folder>/embedded.json    format, cluster, whether every node has been started once
 * <folder>/LOCK             held while the database is open
 * <folder>/node-1 .. node-6
 * ```
 */
import { randomBytes } from 'node:crypto';
import { existsSync, readFileSync, renameSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { Worker } from 'node:worker_threads';
import { SextantError, type ErrorCode } from '#core/errors.js';
import { ThreadHub } from '#core/world/real/threads.js';
import type { LogLevel } from '#core/world/real/log.js';
import type { World } from '#core/world/world.js';
import type { NodeAddress } from '#storage-nodes/protocol/messages.js';
import type { NodeConfig } from '#storage-nodes/node/storage-node.js';
import type { NodeWorkerData, NodeWorkerMessage } from './node-worker.js';

const FORMAT = 1;
const ZONES = ['a', 'b', 'c'] as const;
const NODE_COUNT = 6;
const RESTART_MS = 100;

interface FolderState {
  readonly format: number;
  readonly cluster: string;
  readonly initialised: boolean;
}

/** The built worker: sources run from TypeScript (tests) have no other. */
function workerFile(): string {
  const here = fileURLToPath(new URL('./node-worker.js', import.meta.url));
  if (existsSync(here)) return here;
  return fileURLToPath(new URL('../../dist/engine/api/node-worker.js', import.meta.url));
}

export class EmbeddedCluster {
  readonly hub = new ThreadHub();
  readonly nodes: readonly NodeAddress[];
  readonly #folder: string;
  readonly #logLevel: LogLevel;
  readonly #workers = new Map<string, Worker>();
  #state: FolderState;
  #closing = false;

  constructor(folder: string, logLevel: LogLevel) {
    this.#folder = folder;
    this.#logLevel = logLevel;
    this.#state = readState(folder);
    this.nodes = Array.from({ length: NODE_COUNT }, (_, i) => ({
      id: `node-${i + 1}`,
      zone: ZONES[i >> 1] ?? 'a',
      address: `worker:node-${i + 1}`,
    })) as readonly NodeAddress[];
  }

  get cluster(): string {
    return this.#state.cluster;
  }

  /** Resolves once all six listen. Rejects with the error of one that cannot. */
  async start(world: World): Promise<void> {
    world.disk.makeFolder(this.#folder);
    const initial = !this.#state.initialised;
    if (initial) writeState(this.#folder, this.#state);
    await Promise.all(this.nodes.map((node) => this.#startNode(node, initial)));
    if (!initial) return;
    this.#state = { ...this.#state, initialised: true };
    writeState(this.#folder, this.#state);
  }

  #startNode(node: NodeAddress, initial: boolean): Promise<void> {
    const settings: NodeConfig = {
      cluster: this.#state.cluster,
      id: node.id,
      zone: node.zone,
      listen: node.address,
      dataFolder: join(this.#folder, node.id),
      peers: this.nodes,
      initial,
      pid: process.pid,
    };
    const hub = this.hub.attach();
    const data: NodeWorkerData = { settings, hub, logLevel: this.#logLevel };
    const worker = new Worker(workerFile(), {
      workerData: data,
      transferList: [hub],
      // The caller's own (a debugger's, a test runner's import conditions) are not for the nodes.
      execArgv: [],
    });
    this.#workers.set(node.id, worker);
    return new Promise((resolve, reject) => {
      let listening = false;
      worker.on('message', (message: NodeWorkerMessage) => {
        if (message.kind === 'failed') {
          reject(new SextantError(message.code as ErrorCode, message.message));
          return;
        }
        listening = true;
        resolve();
      });
      worker.on('error', reject);
      worker.on('exit', () => {
        reject(new SextantError('INTERNAL', `${node.id} ended before it listened`));
        if (listening) this.#restart(node);
      });
    });
  }

  /** A node that dies unasked comes back; the quorum did without it meanwhile. */
  #restart(node: NodeAddress): void {
    if (this.#closing) return;
    const timer = setTimeout(() => {
      if (this.#closing) return;
      this.#startNode(node, false).catch(() => this.#restart(node));
    }, RESTART_MS);
    timer.unref();
  }

  async close(): Promise<void> {
    this.#closing = true;
    const ended = [...this.#workers.values()].map(
      (worker) =>
        new Promise<void>((resolve) => {
          if (worker.threadId < 0) {
            resolve();
            return;
          }
          worker.once('exit', () => resolve());
          worker.postMessage('close');
        }),
    );
    await Promise.all(ended);
    this.hub.close();
  }
}

function readState(folder: string): FolderState {
  const path = join(folder, 'embedded.json');
  if (!existsSync(path)) {
    if (existsSync(join(folder, 'sextant.json'))) {
      throw new SextantError(
        'FOLDER_FOREIGN',
        `${folder} belongs to a cluster of processes: start it with \`sextant dev\``,
      );
    }
    const cluster = `embedded-${randomBytes(6).toString('hex')}`;
    return { format: FORMAT, cluster, initialised: false };
  }
  let state: FolderState;
  try {
    state = JSON.parse(readFileSync(path, 'utf8')) as FolderState;
  } catch (cause) {
    throw new SextantError('CORRUPTION', `${path} is not JSON`, { cause });
  }
  if (state.format !== FORMAT || typeof state.cluster !== 'string') {
    throw new SextantError(
      'FOLDER_FOREIGN',
      `${folder} has format ${String(state.format)}, this program knows ${FORMAT}`,
    );
  }
  return state;
}

function writeState(folder: string, state: FolderState): void {
  const path = join(folder, 'embedded.json');
  writeFileSync(`${path}.new`, `${JSON.stringify(state, null, 2)}\n`);
  renameSync(`${path}.new`, path);
}
