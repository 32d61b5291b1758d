/**
 * The virtual disk over six node processes: sequential writes and reads against what the machine's own disk takes, and the
 * latency of one register.
 *
 * The yardstick writes the same bytes to one file in pieces of the same size, each with an fdatasync; the disk stores every byte
 * in three copies, so a third of it is what could be had.
 */
import { spawn, type ChildProcess } from 'node:child_process';
import { closeSync, fdatasyncSync, mkdtempSync, openSync, rmSync, writeSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { createInterface } from 'node:readline';
import { realWorld } from '#core/world/real/real-world.js';
import { Region } from '#fs-frontend/disk/disk.js';
import type { DiskClient } from '#fs-frontend/disk/disk-client.js';
import { openDisk } from '#fs-frontend/disk/open-disk.js';
import type { NodeAddress } from '#storage-nodes/protocol/messages.js';
import { freePort } from './cluster.js';

const SERVER = new URL('../storage-nodes/server.js', import.meta.url).pathname;
const PIECE_BYTES = 1024 * 1024;
const UNDER_WAY = 8;
const COPIES = 3;

export interface DiskFigures {
  readonly yardstickMBps: number;
  readonly writeMBps: number;
  /** Of the yardstick divided by copies. */
  readonly writeShare: number;
  readonly readMBps: number;
  readonly write4kMsMedian: number;
  readonly write4kMsP99: number;
  readonly read4kMsMedian: number;
}

class Nodes {
  readonly addresses: NodeAddress[] = [];
  readonly folder = mkdtempSync(join(tmpdir(), 'sextant-disk-'));
  readonly #children: ChildProcess[] = [];

  async start(): Promise<void> {
    for (let i = 0; i < 6; i++) {
      const address = `127.0.0.1:${await freePort()}`;
      this.addresses.push({ id: `node-${i + 1}`, zone: `zone-${i >> 1}`, address });
    }
    await Promise.all(this.addresses.map((self) => this.#spawn(self)));
  }

  async #spawn({ id, zone, address }: NodeAddress): Promise<void> {
    const config = {
      cluster: 'bench',
      id,
      zone,
      listen: address,
      dataFolder: join(this.folder, id),
      peers: this.addresses,
      initial: true,
      exitWithStdin: true,
      logLevel: 'error',
    };
    const child = spawn(process.execPath, [SERVER, JSON.stringify(config)], {
      stdio: ['pipe', 'pipe', 'inherit'],
    });
    this.#children.push(child);
    await new Promise<void>((resolve) => {
      createInterface({ input: child.stdout }).once('line', () => resolve());
    });
  }

  async close(): Promise<void> {
    const ended = this.#children.map(
      (child) => new Promise<void>((resolve) => child.once('exit', () => resolve())),
    );
    for (const child of this.#children) child.stdin?.end();
    await Promise.all(ended);
    rmSync(this.folder, { recursive: true, force: true });
  }
}

function yardstick(folder: string, bytes: number): number {
  const piece = new Uint8Array(PIECE_BYTES).fill(7);
  const file = openSync(join(folder, 'yardstick'), 'w');
  const start = performance.now();
  for (let at = 0; at < bytes; at += PIECE_BYTES) {
    writeSync(file, piece, 0, PIECE_BYTES, at);
    fdatasyncSync(file);
  }
  const ms = performance.now() - start;
  closeSync(file);
  return bytes / 1e3 / ms;
}

/** Keeps `UNDER_WAY` calls going; MB/s. */
async function stream(bytes: number, step: (piece: number) => Promise<unknown>): Promise<number> {
  const start = performance.now();
  let next = 0;
  const worker = async (): Promise<void> => {
    while (next * PIECE_BYTES < bytes) await step(next++);
  };
  await Promise.all(Array.from({ length: UNDER_WAY }, worker));
  return bytes / 1e3 / (performance.now() - start);
}

async function latencies(count: number, step: (i: number) => Promise<unknown>): Promise<number[]> {
  const found: number[] = [];
  for (let i = 0; i < count; i++) {
    const start = performance.now();
    await step(i);
    found.push(performance.now() - start);
  }
  return found.toSorted((a, b) => a - b);
}

const REGISTERS = PIECE_BYTES / 4096;

async function measure(
  disk: DiskClient,
  folder: string,
  bytes: number,
  round: number,
): Promise<DiskFigures> {
  const yardstickMBps = yardstick(folder, bytes);
  const piece = new Uint8Array(PIECE_BYTES).map((_, i) => i * 31);
  const clock = round + 1;
  const tag = { clock, token: 1 };
  const writeMBps = await stream(bytes, (i) =>
    disk.write([{ region: Region.data, index: i * REGISTERS, tag, bytes: piece }]),
  );
  const readMBps = await stream(bytes, (i) =>
    disk.read([{ region: Region.data, index: i * REGISTERS, count: REGISTERS }]),
  );
  const one = piece.subarray(0, 4096);
  const writes = await latencies(1000, (i) =>
    disk.write([{ region: Region.metadata, index: i, tag, bytes: one }]),
  );
  const reads = await latencies(1000, (i) =>
    disk.read([{ region: Region.metadata, index: i, count: 1 }]),
  );
  return {
    yardstickMBps,
    writeMBps,
    writeShare: writeMBps / (yardstickMBps / COPIES),
    readMBps,
    write4kMsMedian: writes[500],
    write4kMsP99: writes[990],
    read4kMsMedian: reads[500],
  };
}

export async function benchDisk(options: {
  megabytes: number;
  rounds: number;
}): Promise<DiskFigures[]> {
  const nodes = new Nodes();
  await nodes.start();
  const world = realWorld({ log: 'error' });
  const disk = await openDisk(world, {
    cluster: 'bench',
    nodes: nodes.addresses,
    name: 'bench',
    token: 1,
    create: {},
  });
  const rounds: DiskFigures[] = [];
  try {
    for (let i = 0; i < options.rounds; i++) {
      const figures = await measure(disk, nodes.folder, options.megabytes * 1024 * 1024, i);
      rounds.push(figures);
      console.log(
        Object.entries(figures)
          .map(([name, value]) => `${name} ${value.toFixed(2)}`)
          .join('  '),
      );
    }
  } finally {
    await disk.close();
    await nodes.close();
  }
  return rounds;
}
