/** Lock servers as processes of their own, and a second clerk in another process, for a bench. */
import { fork, spawn, type ChildProcess } from 'node:child_process';
import { mkdtempSync, readFileSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { createInterface } from 'node:readline';
import { RpcClient } from '#core/rpc/client.js';
import type { World } from '#core/world/world.js';
import { EMPTY_JSON, helloRequest, lockServerStatus } from '#lockservice/protocol/control-codec.js';
import { MessageType, PROTOCOL_VERSION } from '#lockservice/protocol/messages.js';
import type { LockServerStatus, ServerAddress } from '#lockservice/protocol/messages.js';
import { freePort } from './cluster.js';

const SERVER = new URL('../lockservice/server.js', import.meta.url).pathname;
const PEER = new URL('./lock-peer.js', import.meta.url).pathname;
export const BENCH_CLUSTER = 'bench';

export class LockServerProcesses {
  readonly members: ServerAddress[] = [];
  readonly #folder = mkdtempSync(join(tmpdir(), 'sextant-locks-'));
  readonly #children = new Map<string, ChildProcess>();

  static async start(count: number): Promise<LockServerProcesses> {
    const self = new LockServerProcesses();
    for (let i = 1; i <= count; i++) {
      self.members.push({ id: `lock-${i}`, address: `127.0.0.1:${await freePort()}` });
    }
    await Promise.all(self.members.map(({ id }) => self.startOne(id)));
    return self;
  }

  get addresses(): string[] {
    return this.members.map(({ address }) => address);
  }

  startOne(id: string): Promise<void> {
    const config = {
      cluster: BENCH_CLUSTER,
      id,
      listen: this.#addressOf(id),
      dataFolder: join(this.#folder, id),
      members: this.members,
      generation: 1,
      exitWithStdin: true,
      logLevel: 'error',
    };
    const child = spawn(process.execPath, [SERVER, JSON.stringify(config)], {
      stdio: ['pipe', 'pipe', 'inherit'],
    });
    this.#children.set(id, child);
    return new Promise((resolve, reject) => {
      createInterface({ input: child.stdout }).once('line', () => resolve());
      child.once('exit', (code) => reject(new Error(`lock server ${id} ended with ${code}`)));
    });
  }

  kill(id: string): void {
    this.#children.get(id)?.kill('SIGKILL');
  }

  /** Resident memory in bytes, as the kernel counts it. */
  residentBytes(id: string): number {
    const text = readFileSync(`/proc/${this.#children.get(id)?.pid ?? 0}/status`, 'utf8');
    return 1024 * Number(/VmRSS:\s+(\d+) kB/.exec(text)?.[1] ?? Number.NaN);
  }

  async status(world: World, id: string): Promise<LockServerStatus> {
    const rpc = new RpcClient(world, this.#addressOf(id), {
      hello: () => ({
        type: MessageType.hello,
        body: helloRequest.encode({
          protocol: PROTOCOL_VERSION,
          cluster: BENCH_CLUSTER,
          role: 'tool',
        }),
      }),
    });
    try {
      return lockServerStatus.decode(await rpc.call(MessageType.status, EMPTY_JSON));
    } finally {
      rpc.close();
    }
  }

  /** Waits until every group has a server again, and `count` servers have some. */
  async untilServed(world: World, count: number): Promise<void> {
    for (;;) {
      const all = await Promise.allSettled(this.members.map(({ id }) => this.status(world, id)));
      const groups = all.map((one) =>
        one.status === 'fulfilled' && one.value.rebuilding === 0 ? one.value.groups : 0,
      );
      const served = groups.reduce((sum, one) => sum + one, 0);
      const even = Math.ceil(100 / count);
      if (served === 100 && Math.max(...groups) <= even) return;
      await world.timers.sleep(50);
    }
  }

  async stop(): Promise<void> {
    await Promise.all(
      [...this.#children.values()].map(async (child) => {
        if (child.exitCode !== null || child.signalCode !== null) return;
        const ended = new Promise<void>((resolve) => child.once('exit', () => resolve()));
        child.kill('SIGKILL');
        await ended;
      }),
    );
    rmSync(this.#folder, { recursive: true, force: true });
  }

  #addressOf(id: string): string {
    return this.members.find((member) => member.id === id)?.address ?? '';
  }
}

/** A clerk in another process that takes a lock and lets it go again when told. */
export class LockPeer {
  readonly #child: ChildProcess;

  private constructor(child: ChildProcess) {
    this.#child = child;
  }

  static async start(servers: readonly string[]): Promise<LockPeer> {
    const peer = new LockPeer(fork(PEER, [JSON.stringify({ servers })]));
    await peer.#answer();
    return peer;
  }

  /** Resolves when the peer's clerk holds the lock and nobody uses it. */
  async take(id: number): Promise<void> {
    const taken = this.#answer();
    this.#child.send({ id });
    await taken;
  }

  async stop(): Promise<void> {
    const ended = new Promise<void>((resolve) => this.#child.once('exit', () => resolve()));
    this.#child.disconnect();
    await ended;
  }

  #answer(): Promise<void> {
    return new Promise((resolve, reject) => {
      const onExit = (code: number | null): void => reject(new Error(`peer ended with ${code}`));
      this.#child.once('exit', onExit);
      this.#child.once('message', () => {
        this.#child.off('exit', onExit);
        resolve();
      });
    });
  }
}
