/**
 * Round trips by carrier. Build, then `node dist/core/rpc/rpc.bench.js`.
 *
 *     call   one call of 200 bytes, echoed, one at a time
 *     round  a push of 200 bytes to six servers, over when four have pushed back (a quorum commit without disk);
 *            the first six servers are processes (tcp) or threads (worker)
 *
 * Prints the median and the 99th percentile in microseconds, and the CPU time of the client's process per
 * round (which holds the servers too when they are threads).
 */
import { fork, type ChildProcess } from 'node:child_process';
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { type MessagePort, Worker, isMainThread, workerData } from 'node:worker_threads';
import { crc32c } from '../bytes/crc32c.js';
import { realWorld } from '../world/real/real-world.js';
import type { World } from '../world/world.js';
import { RpcClient } from './client.js';
import { RpcServer, type RpcHandler } from './server.js';
import { ThreadHub, joinThreads } from '../world/real/threads.js';

const SERVERS = 6;
const QUORUM = 4;
const ROUNDS = Number(process.env['ROUNDS'] ?? 10_000);
const file = fileURLToPath(import.meta.url);

const echo: RpcHandler = {
  call: (_peer, _type, body) => body.slice(),
  push: (peer) => peer.push(11, SCL),
};
const SCL = new Uint8Array(56);

function percentile(sorted: Float64Array, share: number): string {
  return (sorted[Math.floor(sorted.length * share)] * 1000).toFixed(1);
}

async function measure(name: string, once: () => Promise<void>): Promise<void> {
  for (let i = 0; i < ROUNDS / 10; i++) await once();
  const took = new Float64Array(ROUNDS);
  const cpu = process.cpuUsage();
  for (let i = 0; i < ROUNDS; i++) {
    const start = performance.now();
    await once();
    took[i] = performance.now() - start;
  }
  const { user, system } = process.cpuUsage(cpu);
  took.sort();
  const line = `p50 ${percentile(took, 0.5)} us  p99 ${percentile(took, 0.99)} us`;
  console.log(`${name.padEnd(14)} ${line}  cpu ${((user + system) / ROUNDS).toFixed(1)} us`);
}

async function client(world: World, carrier: string, addresses: string[]): Promise<void> {
  const clients = addresses.map((address) => new RpcClient(world, address));
  const body = new Uint8Array(200).fill(1);
  const crc = crc32c(body);
  await Promise.all(clients.map((one) => one.call(1, body)));
  await measure(`${carrier} call`, async () => {
    await clients[0].call(1, body);
  });
  let answers = 0;
  let done: () => void = () => undefined;
  for (const one of clients) {
    one.onPush = () => {
      if (++answers === QUORUM) done();
    };
  }
  let settled = Promise.resolve();
  let all = 0;
  for (const one of clients) {
    const onPush = one.onPush;
    one.onPush = (type, bytes) => {
      all++;
      onPush(type, bytes);
    };
  }
  await measure(`${carrier} round`, async () => {
    // Answers beyond the quorum belong to the round that they came in.
    while (all % SERVERS !== 0) await new Promise((resolve) => setImmediate(resolve));
    answers = 0;
    settled = new Promise((resolve) => (done = resolve));
    for (const one of clients) one.push(10, body, crc);
    await settled;
  });
  for (const one of clients) one.close();
}

async function inProcess(): Promise<void> {
  const world = realWorld({ log: 'warn' });
  const servers = [];
  for (let i = 0; i < SERVERS; i++) {
    servers.push(await RpcServer.listen(world, `inproc:${i}`, echo));
  }
  await client(
    world,
    'inproc',
    servers.map((server) => server.address),
  );
  for (const server of servers) await server.close();
}

async function overSockets(carrier: 'tcp' | 'unix'): Promise<void> {
  const folder = mkdtempSync(join(tmpdir(), 'rpc-bench-'));
  const children: ChildProcess[] = [];
  const addresses: string[] = [];
  for (let i = 0; i < SERVERS; i++) {
    const address = carrier === 'tcp' ? '127.0.0.1:0' : `unix:${folder}/${i}`;
    const child = fork(file, ['serve', address], {
      stdio: ['ignore', 'inherit', 'inherit', 'ipc'],
    });
    children.push(child);
    addresses.push(
      await new Promise<string>((resolve) =>
        child.once('message', (address) => resolve(typeof address === 'string' ? address : '')),
      ),
    );
  }
  await client(realWorld({ log: 'warn' }), carrier, addresses);
  for (const child of children) child.kill();
  rmSync(folder, { recursive: true });
}

async function overThreads(): Promise<void> {
  const hub = new ThreadHub();
  const workers: Worker[] = [];
  const addresses: string[] = [];
  for (let i = 0; i < SERVERS; i++) {
    const port = hub.attach();
    const address = `worker:${i}`;
    const worker = new Worker(file, { workerData: { port, address }, transferList: [port] });
    await new Promise((resolve) => worker.once('message', resolve));
    workers.push(worker);
    addresses.push(address);
  }
  await client(realWorld({ log: 'warn', threads: hub.join() }), 'worker', addresses);
  for (const worker of workers) await worker.terminate();
  hub.close();
}

async function serveThread(): Promise<void> {
  const { port, address } = workerData as { port: MessagePort; address: string };
  const world = realWorld({ log: 'warn', threads: joinThreads(port) });
  await RpcServer.listen(world, address, echo);
  const { parentPort } = await import('node:worker_threads');
  parentPort?.postMessage('up');
}

async function serveProcess(): Promise<void> {
  const server = await RpcServer.listen(realWorld({ log: 'warn' }), process.argv[3] ?? '', echo);
  process.once('disconnect', () => process.exit());
  process.send?.(server.address);
}

if (!isMainThread) await serveThread();
else if (process.argv[2] === 'serve') await serveProcess();
else {
  await inProcess();
  await overSockets('tcp');
  await overSockets('unix');
  await overThreads();
}
