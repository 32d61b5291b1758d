/** A `sextant dev` cluster of its own, in a temporary folder, for a bench or a test. */
import { spawn, type ChildProcess } from 'node:child_process';
import { mkdtempSync, rmSync } from 'node:fs';
import { createServer } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { createInterface } from 'node:readline';
import type { ClusterConfig } from '#cli/config.js';
import { configPath, nearestAddress, prepareDevFolder } from '#cli/dev-folder.js';

const MAIN = new URL('../cli/main.js', import.meta.url).pathname.replace(/\/cli\/main\.js$/, '');
/** Benches run built (`dist/bench`), tests run from source: both start the built command. */
export const SEXTANT = MAIN.endsWith('/dist')
  ? join(MAIN, 'cli/main.js')
  : join(MAIN, 'dist/cli/main.js');

export function freePort(): Promise<number> {
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

export class DevProcess {
  readonly folder: string;
  readonly port: number;
  readonly #keep: boolean;
  #child: ChildProcess | undefined;
  url = '';
  /** Every `ready` line seen: one per start of an engine. */
  readyCount = 0;
  #onReady: (() => void)[] = [];
  readonly errors: string[] = [];

  private constructor(folder: string, port: number, keep: boolean) {
    this.folder = folder;
    this.port = port;
    this.#keep = keep;
  }

  static async start(
    options: { folder?: string; port?: number; env?: Record<string, string> } = {},
  ): Promise<DevProcess> {
    const folder = options.folder ?? mkdtempSync(join(tmpdir(), 'sextant-'));
    const self = new DevProcess(
      folder,
      options.port ?? (await freePort()),
      options.folder !== undefined,
    );
    const args = [SEXTANT, 'dev', '--data', folder, '--port', String(self.port)];
    const child = spawn(process.execPath, args, {
      stdio: ['ignore', 'pipe', 'pipe'],
      env: { ...process.env, ...options.env },
    });
    self.#child = child;
    createInterface({ input: child.stderr }).on('line', (line) => self.errors.push(line));
    createInterface({ input: child.stdout }).on('line', (line) => {
      if (!line.startsWith('ready ')) return;
      self.url = line.slice('ready '.length);
      self.readyCount += 1;
      for (const wake of self.#onReady.splice(0)) wake();
    });
    await Promise.race([
      self.nextReady(),
      new Promise<never>((_, reject) => {
        child.once('exit', (code) =>
          reject(new Error(`sextant dev ended with ${code}: ${self.errors.join('\n')}`)),
        );
      }),
    ]);
    return self;
  }

  get pid(): number {
    return this.#child?.pid ?? 0;
  }

  nextReady(): Promise<void> {
    return new Promise((resolve) => this.#onReady.push(resolve));
  }

  /** SIGTERM to the supervisor; resolves with its exit code when all has ended. */
  async stop(): Promise<number | null> {
    const child = this.#child;
    if (child === undefined) return null;
    const ended = new Promise<number | null>((resolve) => {
      if (child.exitCode !== null || child.signalCode !== null) resolve(child.exitCode);
      else child.once('exit', (code) => resolve(code));
    });
    child.kill('SIGTERM');
    const code = await ended;
    if (!this.#keep) rmSync(this.folder, { recursive: true, force: true });
    return code;
  }
}

/** Six storage nodes as processes of their own, without an engine: the bench is the engine. */
export class NodeProcesses {
  readonly nodes: { id: string; zone: string; address: string }[];
  readonly cluster: string;
  readonly #folder: string;
  readonly #children: ChildProcess[];

  private constructor(config: ClusterConfig, folder: string, children: ChildProcess[]) {
    this.cluster = config.cluster;
    this.nodes = config.nodes.map((node) => ({
      id: node.id,
      zone: node.zone,
      address: nearestAddress(node),
    }));
    this.#folder = folder;
    this.#children = children;
  }

  static async start(): Promise<NodeProcesses> {
    const folder = mkdtempSync(join(tmpdir(), 'sextant-nodes-'));
    const config = await prepareDevFolder(folder, await freePort());
    const children = config.nodes.map(({ id }) =>
      spawn(
        process.execPath,
        [
          SEXTANT,
          'storage-node',
          '--config',
          configPath(folder),
          '--node',
          id,
          '--initial',
          '--supervised',
          '--log-level',
          'warn',
        ],
        { stdio: ['pipe', 'pipe', 'inherit'] },
      ),
    );
    const self = new NodeProcesses(config, folder, children);
    await Promise.all(
      children.map(
        (child) =>
          new Promise<void>((resolve, reject) => {
            createInterface({ input: child.stdout }).once('line', () => resolve());
            child.once('exit', (code) => reject(new Error(`a storage node ended with ${code}`)));
          }),
      ),
    );
    return self;
  }

  async stop(): Promise<void> {
    await Promise.all(
      this.#children.map(
        (child) =>
          new Promise<void>((resolve) => {
            child.once('exit', () => resolve());
            child.kill('SIGTERM');
          }),
      ),
    );
    rmSync(this.#folder, { recursive: true, force: true });
  }
}
