/**
 * One storage node of an embedded database, as a worker thread. `workerData` is a NodeWorkerData; says `listening` or
 * why it cannot; ends on `close`.
 */
import { parentPort, workerData, type MessagePort } from 'node:worker_threads';
import { isSextantError } from '#core/errors.js';
import { joinThreads } from '#core/world/real/threads.js';
import { realWorld } from '#core/world/real/real-world.js';
import type { LogLevel } from '#core/world/real/log.js';
import type { NodeConfig } from '#storage-nodes/node/storage-node.js';
import { openStorageNode } from '#storage-nodes/server.js';

export interface NodeWorkerData {
  readonly settings: NodeConfig;
  readonly hub: MessagePort;
  readonly logLevel: LogLevel;
}

export type NodeWorkerMessage =
  | { readonly kind: 'listening' }
  | { readonly kind: 'failed'; readonly code: string; readonly message: string };

async function main(parent: MessagePort): Promise<void> {
  const { settings, hub, logLevel } = workerData as NodeWorkerData;
  const tell = (message: NodeWorkerMessage): void => parent.postMessage(message);
  try {
    const world = realWorld({ log: logLevel, threads: joinThreads(hub) });
    const node = await openStorageNode(settings, world);
    parent.on('message', (message: unknown) => {
      if (message !== 'close') return;
      void node.close().finally(() => process.exit(0));
    });
    tell({ kind: 'listening' });
  } catch (error) {
    const code = isSextantError(error) ? error.code : 'INTERNAL';
    tell({ kind: 'failed', code, message: error instanceof Error ? error.message : String(error) });
    parent.close();
  }
}

if (parentPort !== null) void main(parentPort);
