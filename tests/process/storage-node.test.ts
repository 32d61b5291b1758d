/**
 * One storage node as a process: its folder, its port, its signals and a disk that is full. Runs the built command.
 */
import { spawn, spawnSync, type ChildProcess } from 'node:child_process';
import { mkdtempSync, readFileSync, readdirSync, rmSync, writeFileSync } from 'node:fs';
import net from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { RpcClient } from '#core/rpc/client.js';
import { putFormat, putSet } from '#core/redo/edits.js';
import { FLAG_CPL, FLAG_FORMAT } from '#core/redo/record.js';
import { realWorld } from '#core/world/real/real-world.js';
import { openVolume } from '#engine/volume/open-volume.js';
import type { Volume } from '#engine/volume/volume.js';
import { EMPTY_JSON, helloRequest, nodeStatus } from '#storage-nodes/protocol/codec-json.js';
import { MessageType, PROTOCOL_VERSION } from '#storage-nodes/protocol/messages.js';
import type { NodeStatus } from '#storage-nodes/protocol/messages.js';

const MAIN = new URL('../../dist/cli/main.js', import.meta.url).pathname;
const IDS = [1, 2, 3, 4, 5, 6].map((n) => `node-${n}`);
const world = realWorld({ log: 'silent' });
const sleep = (ms: number): Promise<void> => new Promise((wake) => setTimeout(wake, ms));

async function until(what: string, condition: () => Promise<boolean> | boolean): Promise<void> {
  for (const deadline = Date.now() + 20_000; !(await condition()); await sleep(50)) {
    if (Date.now() > deadline) throw new Error(`not within 20 s: ${what}`);
  }
}

async function freePorts(count: number): Promise<number[]> {
  const servers = await Promise.all(
    Array.from({ length: count }, async () => {
      const server = net.createServer();
      await new Promise<void>((done) => server.listen(0, '127.0.0.1', done));
      return server;
    }),
  );
  const ports = servers.map((server) => (server.address() as net.AddressInfo).port);
  for (const server of servers) await new Promise((done) => server.close(done));
  return ports;
}

class Node {
  readonly process: ChildProcess;
  stderr = '';
  readonly ended: Promise<number | null>;
  readonly listening: Promise<void>;

  constructor(config: string, id: string) {
    const args = ['storage-node', '--config', config, '--node', id, '--initial'];
    this.process = spawn(process.execPath, [MAIN, ...args], { stdio: ['ignore', 'pipe', 'pipe'] });
    this.process.stderr?.on('data', (text) => (this.stderr += text));
    this.ended = new Promise((done) => this.process.once('exit', done));
    this.listening = new Promise((done, fail) => {
      this.process.stdout?.once('data', () => done());
      this.process.once('exit', (code) => fail(new Error(`exit ${code}: ${this.stderr}`)));
    });
    this.listening.catch(() => undefined);
  }

  async stop(signal: NodeJS.Signals = 'SIGTERM'): Promise<number | null> {
    this.process.kill(signal);
    return this.ended;
  }
}

class Nodes {
  readonly root = mkdtempSync(join(tmpdir(), 'sextant-process-'));
  readonly file = join(this.root, 'sextant.json');
  readonly nodes = new Map<string, Node>();
  addresses: { id: string; zone: string; address: string }[] = [];

  async configure(cluster: string): Promise<void> {
    const ports = await freePorts(8);
    this.addresses = IDS.map((id, i) => ({
      id,
      zone: 'abc'[i >> 1]!,
      address: `127.0.0.1:${ports[i]}`,
    }));
    this.write(cluster);
    const engine = { listen: `127.0.0.1:${ports[6]}`, status: `127.0.0.1:${ports[7]}` };
    const nodes = this.addresses.map((node) => ({ ...node, data: this.folder(node.id) }));
    writeFileSync(this.file, JSON.stringify({ cluster, nodes, engine }));
  }

  /** The same nodes and folders under another cluster's name. */
  write(cluster: string): void {
    try {
      const value = JSON.parse(readFileSync(this.file, 'utf8')) as object;
      writeFileSync(this.file, JSON.stringify({ ...value, cluster }));
    } catch {
      // Not written yet.
    }
  }

  folder(id: string): string {
    return join(this.root, id);
  }

  async start(...ids: string[]): Promise<Node> {
    for (const id of ids) this.nodes.set(id, new Node(this.file, id));
    const started = ids.map((id) => this.nodes.get(id)!);
    await Promise.all(started.map((node) => node.listening));
    return started[0]!;
  }

  address(id: string): string {
    return this.addresses.find((node) => node.id === id)!.address;
  }

  async status(id: string, cluster: string): Promise<NodeStatus> {
    const hello = { protocol: PROTOCOL_VERSION, cluster, node: id, role: 'tool' } as const;
    using client = new RpcClient(world, this.address(id), {
      hello: () => ({ type: MessageType.hello, body: helloRequest.encode(hello) }),
    });
    const body = await client.call(MessageType.status, EMPTY_JSON, { timeoutMs: 2000 });
    return nodeStatus.decode(body);
  }

  async close(): Promise<void> {
    await Promise.all([...this.nodes.values()].map((node) => node.stop('SIGKILL')));
    rmSync(this.root, { recursive: true, force: true });
  }
}

let nodes: Nodes;

describe('one node', () => {
  beforeAll(async () => {
    nodes = new Nodes();
    await nodes.configure('first');
    await nodes.start('node-1');
  });
  afterAll(() => nodes.close());

  it('a second process on its folder ends, naming folder and process', async () => {
    const { pid } = nodes.nodes.get('node-1')!.process;
    const second = new Node(nodes.file, 'node-1');
    expect(await second.ended).toBe(1);
    expect(second.stderr).toContain(nodes.folder('node-1'));
    expect(second.stderr).toMatch(new RegExp(`\\b${pid}\\b`));
  });

  it('bad bytes on its port close their own connection and nothing else', async () => {
    const { host, port } = new URL(`tcp://${nodes.address('node-1')}`) as unknown as {
      host: string;
      port: string;
    };
    expect(host).toContain(port);
    const bad = [
      Buffer.from('GET / HTTP/1.1\r\nHost: x\r\n\r\n'),
      Buffer.alloc(4096, 0xff),
      Buffer.alloc(64),
      Buffer.from(Array.from({ length: 5000 }, (_, i) => (i * 7919) & 0xff)),
    ];
    const before = await nodes.status('node-1', 'first');
    for (const bytes of bad) {
      const socket = net.connect(Number(port), '127.0.0.1');
      socket.on('error', () => undefined);
      const closed = new Promise((done) => socket.once('close', done));
      socket.write(bytes);
      await closed;
    }
    // Half a frame, and silence: costs a connection, no more.
    const half = net.connect(Number(port), '127.0.0.1');
    half.write(Buffer.from([1, 0, 0]));
    const after = await nodes.status('node-1', 'first');
    expect(after.pid).toBe(before.pid);
    half.destroy();
  });

  it('ends cleanly with SIGTERM and starts again from the same folder', async () => {
    expect(await nodes.nodes.get('node-1')!.stop()).toBe(0);
    const again = await nodes.start('node-1');
    expect(await again.stop()).toBe(0);
    expect(again.stderr).not.toContain('damage');
  });

  it('refuses a folder of another cluster and leaves it as it is', async () => {
    const list = (): string[] =>
      readdirSync(nodes.folder('node-1'), { recursive: true }) as string[];
    const before = [list(), readFileSync(join(nodes.folder('node-1'), 'identity.json'), 'utf8')];
    nodes.write('second');
    const foreign = new Node(nodes.file, 'node-1');
    expect(await foreign.ended).toBe(1);
    expect(foreign.stderr).toContain('belongs to cluster first, not second');
    nodes.write('first');
    const identity = join(nodes.folder('node-1'), 'identity.json');
    expect([list(), readFileSync(identity, 'utf8')]).toEqual(before);
    writeFileSync(identity, readFileSync(identity, 'utf8').replace('"format":1', '"format":9'));
    const newer = new Node(nodes.file, 'node-1');
    expect(await newer.ended).toBe(1);
    expect(newer.stderr).toContain('format 9');
    expect(list()).toEqual(before[0]);
  });
});

const mounted = (() => {
  const folder = mkdtempSync(join(tmpdir(), 'sextant-mount-'));
  const done = spawnSync('mount', ['-t', 'tmpfs', '-o', 'size=40m', 'tmpfs', folder]);
  if (done.status === 0) return folder;
  process.stderr.write(`skipped: mount is not permitted: ${String(done.stderr).trim()}\n`);
  rmSync(folder, { recursive: true });
  return undefined;
})();

describe.skipIf(mounted === undefined)('a disk that is full', () => {
  let volume: Volume | undefined;
  beforeAll(async () => {
    nodes = new Nodes();
    await nodes.configure('full');
    const config = readFileSync(nodes.file, 'utf8');
    writeFileSync(nodes.file, config.replace(nodes.folder('node-1'), join(mounted!, 'node-1')));
    await nodes.start(...IDS);
  }, 60_000);
  afterAll(async () => {
    await volume?.close();
    await nodes.close();
    spawnSync('umount', [mounted!]);
    rmSync(mounted!, { recursive: true });
  });

  const write = (page: number, prev: number): number => {
    const edits = new Uint8Array(9000);
    let end = prev === 0 ? putFormat(edits, 0, 7) : 0;
    end = putSet(edits, end, 100, new Uint8Array(8000).fill(page + prev), 0, 8000);
    const flags = FLAG_CPL | (prev === 0 ? FLAG_FORMAT : 0);
    return volume!.append(page, flags, prev, edits, 0, end);
  };
  const durable = (lsn: number): Promise<void> =>
    new Promise((done, fail) =>
      volume!.wait(lsn, (error) => (error === undefined ? done() : fail(error))),
    );

  it('stops that node only, loses nothing, and is over when there is room', async () => {
    const open = { clusterId: 'full', nodes: nodes.addresses, volume: 1, create: true };
    volume = await openVolume(world, { ...open, previousWriterDead: true });
    const last = new Map<number, number>();
    const some = async (count: number): Promise<void> => {
      for (let i = 0; i < count; i++) {
        const page = i % 300;
        last.set(page, write(page, last.get(page) ?? 0));
        if (i % 16 === 15) await durable(last.get(page)!);
      }
      await durable(volume!.nextLsn - 1);
    };
    // 56 MB where 40 are, in the disk's journal alone.
    await some(7000);
    await until('full', async () => (await nodes.status('node-1', 'full')).state === 'disk-full');
    const full = (await nodes.status('node-1', 'full')).segments[0]!;
    expect((await nodes.status('node-2', 'full')).state).toBe('up');
    await some(300);
    // What it has acknowledged is there after a crash, and it starts though nothing more can be written.
    await nodes.nodes.get('node-1')!.stop('SIGKILL');
    await nodes.start('node-1');
    await until(
      'started',
      async () => (await nodes.status('node-1', 'full')).segments.length === 1,
    );
    const again = (await nodes.status('node-1', 'full')).segments[0]!;
    expect(again.scl).toBeGreaterThanOrEqual(volume.status().nodes[0]!.sclLag === 0 ? full.scl : 1);
    expect(again.whole).toBe(true);
    spawnSync('mount', ['-o', 'remount,size=300m', mounted!]);
    await until('level', async () => {
      const { state, segments } = await nodes.status('node-1', 'full');
      return state === 'up' && segments[0]?.scl === volume!.vdl;
    });
    // Now it counts: four nodes are enough, and it is one of them.
    await Promise.all(['node-2', 'node-3'].map((id) => nodes.nodes.get(id)!.stop('SIGKILL')));
    await some(100);
    const page = new Uint8Array(8192);
    for (const pageNo of [0, 99, 299]) {
      await volume.readPage(pageNo, page, 0);
      expect(new DataView(page.buffer).getUint32(0, true)).toBe(last.get(pageNo));
    }
  }, 90_000);
});
