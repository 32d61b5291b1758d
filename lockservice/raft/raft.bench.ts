/**
 * Three members as three processes over loopback TCP, each with its own folder. Build, then `node dist/lockservice/raft/raft.bench.js`
 * (FOLDER: where their folders are made, by default the system's for temporary files).
 *
 *     sync      one write of 100 bytes and fdatasync, for comparison
 *     propose   one at a time, from call to applied, at the leader
 *     read      readIndex, one at a time
 *     stream    64 proposals under way
 *     idle      CPU of the leader while nothing is asked
 *
 * Prints median and 99th percentile in microseconds.
 */
import { fork } from 'node:child_process';
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { RpcClient } from '#core/rpc/client.js';
import { RpcServer } from '#core/rpc/server.js';
import { realWorld } from '#core/world/real/real-world.js';
import type { RaftMember } from './entry.js';
import { RaftNode, type StateMachine } from './raft-node.js';

const ROUNDS = Number(process.env['ROUNDS'] ?? 5000);
const PORT = Number(process.env['PORT'] ?? 39_400);
const IDLE_MS = 5000;
const file = fileURLToPath(import.meta.url);
const members: RaftMember[] = [0, 1, 2].map((i) => ({
  id: String(i),
  address: `127.0.0.1:${PORT + i}`,
}));
const machine: StateMachine = {
  apply: (index) => index,
  snapshot: () => new Uint8Array(1000),
  restore: () => undefined,
};

/** The message type is the sender's number, from 1 on. */
async function startMember(number: number, folder: string): Promise<RaftNode> {
  const world = realWorld({ log: 'warn' });
  const clients = new Map<string, RpcClient>();
  const send = (to: RaftMember, message: Uint8Array): void => {
    let client = clients.get(to.address);
    if (client === undefined) {
      client = new RpcClient(world, to.address);
      clients.set(to.address, client);
    }
    client.push(number + 1, message);
  };
  const { id, address } = members[number];
  const options = { id, folder: join(folder, id), initialMembers: members };
  const node = RaftNode.open(world, options, machine, { send });
  await RpcServer.listen(world, address, {
    call: () => new Uint8Array(0),
    push: (_peer, type, body) => node.receive(String(type - 1), body),
  });
  return node;
}

function report(name: string, took: number[], wallMs: number): void {
  const sorted = Float64Array.from(took).sort();
  const at = (share: number): string =>
    (sorted[Math.floor(sorted.length * share)] * 1000).toFixed(0);
  const rate = ((took.length / wallMs) * 1000).toFixed(0);
  console.log(`${name.padEnd(10)} p50 ${at(0.5)} us  p99 ${at(0.99)} us  ${rate}/s`);
}

async function measure(name: string, width: number, once: () => unknown): Promise<void> {
  const took: number[] = [];
  let left = ROUNDS;
  const start = performance.now();
  const worker = async (): Promise<void> => {
    while (left-- > 0) {
      const begin = performance.now();
      await once();
      took.push(performance.now() - begin);
    }
  };
  await Promise.all(Array.from({ length: width }, worker));
  report(name, took, performance.now() - start);
}

async function syncs(folder: string): Promise<void> {
  const { disk } = realWorld({ log: 'warn' });
  const scratch = disk.open(join(folder, 'sync'), { create: true });
  const bytes = new Uint8Array(100).fill(7);
  scratch.write(new Uint8Array(ROUNDS * 100), 0, ROUNDS * 100, 0);
  scratch.sync();
  let at = 0;
  await measure('sync', 1, () => {
    scratch.write(bytes, 0, bytes.length, at);
    scratch.sync();
    at += bytes.length;
  });
  scratch.close();
}

async function lead(node: RaftNode): Promise<void> {
  const bytes = new Uint8Array(100).fill(7);
  await measure('propose', 1, () => node.propose(bytes));
  await measure('read', 1, () => node.readIndex());
  await measure('stream', 64, () => node.propose(bytes));
  const cpu = process.cpuUsage();
  await new Promise((resolve) => setTimeout(resolve, IDLE_MS));
  const { user, system } = process.cpuUsage(cpu);
  console.log(`idle       ${((user + system) / IDLE_MS / 10).toFixed(2)} % CPU`);
}

if (process.argv[2] === 'member') {
  const folder = process.argv[4] ?? '';
  const node = await startMember(Number(process.argv[3]), folder);
  setInterval(() => undefined, 1000);
  node.onRole = (role) => {
    if (role !== 'leader') return;
    lead(node).then(
      () => process.send?.('done'),
      (error: unknown) => console.error(error),
    );
  };
} else {
  const folder = mkdtempSync(join(process.env['FOLDER'] ?? tmpdir(), 'raft-bench-'));
  await syncs(folder);
  const children = members.map(({ id }) => fork(file, ['member', id, folder]));
  await Promise.race(
    children.map((child) => new Promise((resolve) => child.once('message', resolve))),
  );
  for (const child of children) child.kill();
  rmSync(folder, { recursive: true });
}
