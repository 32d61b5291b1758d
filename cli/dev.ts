/** `sextant dev`: six storage nodes in three zones, three lock servers and the engine, on loopback, until told to stop. */
import { existsSync } from 'node:fs';
import { join, resolve } from 'node:path';
import { SextantError } from '#core/errors.js';
import { OWN_THREAD_GC, YOUNG_GENERATION } from '#core/world/real/v8-flags.js';
import { realWorld } from '#core/world/real/real-world.js';
import type { ClusterConfig } from './config.js';
import { configPath, portIsFree, prepareDevFolder, readState, writeState } from './dev-folder.js';
import { showThatItWorks } from './show.js';
import { SupervisedChild, type ChildSpec } from './supervisor.js';

export interface DevOptions {
  readonly data: string;
  readonly port: string;
  readonly show: boolean;
}

function processIsGone(pid: number): boolean {
  if (pid === 0) return true;
  try {
    process.kill(pid, 0);
    return false;
  } catch (error) {
    return (error as NodeJS.ErrnoException).code === 'ESRCH';
  }
}

async function untilGone(pid: number): Promise<boolean> {
  for (let i = 0; i < 50 && !processIsGone(pid); i++) {
    await new Promise((wake) => setTimeout(wake, 100));
  }
  return processIsGone(pid);
}

export async function runDev(options: DevOptions): Promise<void> {
  const folder = resolve(options.data);
  const port = Number(options.port);
  if (!Number.isInteger(port) || port < 1 || port > 65_535) {
    throw new SextantError('CONFIG', `--port takes a number from 1 to 65535, not ${options.port}`);
  }
  const world = realWorld({ log: 'warn' });
  world.disk.makeFolder(folder);
  const lock = world.disk.lockFolder(folder);
  if (!(await portIsFree('127.0.0.1', port))) {
    lock.release();
    throw new SextantError('CONFIG', `port ${port} is in use: choose another with --port`);
  }
  const config = await prepareDevFolder(folder, port);
  const cluster = new DevCluster(folder, config);
  const stopped = new Promise<void>((wake) => {
    for (const signal of ['SIGINT', 'SIGTERM', 'SIGHUP'] as const) process.on(signal, () => wake());
  });
  const start = cluster.start();
  start.catch(() => undefined);
  await Promise.race([start, stopped]);
  if (options.show) await Promise.race([showThatItWorks(cluster.url, config), stopped]);
  await stopped;
  await cluster.stop();
  lock.release();
}

class DevCluster {
  readonly #folder: string;
  readonly #config: ClusterConfig;
  readonly #nodes: SupervisedChild[] = [];
  readonly #lockServers: SupervisedChild[] = [];
  #engine: SupervisedChild | undefined;
  url = '';

  constructor(folder: string, config: ClusterConfig) {
    this.#folder = folder;
    this.#config = config;
  }

  async start(): Promise<void> {
    const state = readState(this.#folder);
    await Promise.all(
      this.#config.nodes.map((node) => this.#startNode(node.id, !state.initialised)),
    );
    if (!state.initialised) writeState(this.#folder, { ...state, initialised: true });
    const previousWriterDead = await untilGone(state.enginePid);
    const engineReady = this.#startEngine(previousWriterDead);
    // Behind the engine's start, which does not wait for them.
    for (const { id } of this.#config.lockServers) this.#startLockServer(id);
    await engineReady;
  }

  #startNode(id: string, initial: boolean): Promise<void> {
    return new Promise((ready) => {
      // Until it has listened once no engine can have used the cluster, so an empty folder is a new one.
      let listened = false;
      const child = this.#child(id, {
        nodeOptions: [OWN_THREAD_GC],
        args: () => [
          'storage-node',
          '--config',
          configPath(this.#folder),
          '--node',
          id,
          '--supervised',
          ...(initial && !listened ? ['--initial'] : []),
        ],
        onLine: (line) => {
          if (!line.startsWith('listening ')) return;
          listened = true;
          ready();
        },
      });
      this.#nodes.push(child);
      child.start();
    });
  }

  #startLockServer(id: string): void {
    const child = this.#child(id, {
      args: () => [
        'lockserver',
        '--config',
        configPath(this.#folder),
        '--server',
        id,
        '--supervised',
      ],
      onLine: () => undefined,
    });
    this.#lockServers.push(child);
    child.start();
  }

  #startEngine(previousWriterDead: boolean): Promise<void> {
    return new Promise((ready) => {
      const child = this.#child('engine', {
        nodeOptions: [YOUNG_GENERATION],
        args: (restart) => [
          'engine',
          '--config',
          configPath(this.#folder),
          '--supervised',
          // Its predecessor was this process's own child and has been waited for.
          ...(previousWriterDead || restart > 0 ? ['--previous-writer-dead'] : []),
        ],
        onStart: (pid) => writeState(this.#folder, { initialised: true, enginePid: pid }),
        onLine: (line) => {
          process.stdout.write(`${line}\n`);
          if (!line.startsWith('ready ')) return;
          this.url = line.slice('ready '.length);
          ready();
        },
      });
      this.#engine = child;
      child.start();
    });
  }

  #child(
    name: string,
    spec: Pick<ChildSpec, 'args' | 'nodeOptions' | 'onLine' | 'onStart'>,
  ): SupervisedChild {
    return new SupervisedChild({
      ...spec,
      name,
      logFile: join(this.#folder, 'logs', `${name}.log`),
      onExit: (how, unasked) => {
        if (!unasked) return;
        const log = join(this.#folder, 'logs', `${name}.log`);
        process.stderr.write(`sextant: ${name} ended (${how}), starting it again; see ${log}\n`);
      },
    });
  }

  /** The engine first, so that it does not see its nodes vanish. */
  async stop(): Promise<void> {
    await this.#engine?.stop();
    await Promise.all([...this.#lockServers, ...this.#nodes].map((child) => child.stop()));
    // A folder that was removed meanwhile has no state to keep.
    if (existsSync(this.#folder)) {
      writeState(this.#folder, { ...readState(this.#folder), enginePid: 0 });
    }
  }
}
