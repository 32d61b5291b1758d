/**
 * Runs the engine as a process: the volume of a cluster, PostgreSQL clients on one address, status on another.
 *
 * Prints `ready postgres://...` on standard output once it takes queries. SIGTERM, SIGINT (and, supervised, the end of
 * standard input) end it cleanly; being replaced by another engine ends it with status 3. Where there are lock servers
 * it first becomes the elected writer, or waits as a standby and prints `standby` (writer-seat.ts).
 *
 * This file is a driver: it may use process and timers.
 */
import { SextantError, isSextantError } from '#core/errors.js';
import { RpcServer } from '#core/rpc/server.js';
import { optimizeSooner } from '#core/world/real/v8-flags.js';
import { type LogLevel } from '#core/world/real/log.js';
import { realWorld } from '#core/world/real/real-world.js';
import type { World } from '#core/world/world.js';
import type { NodeAddress } from '#storage-nodes/protocol/messages.js';
import { DATABASE, Engine } from './engine.js';
import { Authentication, type UserPasswords } from './pgwire/authentication.js';
import { PgServer } from './pgwire/server.js';
import { loadParser } from './sql/parse/parser.js';
import { EngineMessageType, type EngineStatus } from './status-protocol.js';
import { openVolume } from './volume/open-volume.js';
import type { Volume } from './volume/volume.js';
import { WriterSeat, type Writer } from './writer-seat.js';

export interface EngineConfig {
  readonly cluster: string;
  readonly nodes: readonly {
    readonly id: string;
    readonly zone: string;
    readonly address: string;
  }[];
  /** `host:port` of PostgreSQL clients; port 0: any free one. */
  readonly listen: string;
  readonly statusListen: string;
  readonly bufferBytes: number;
  readonly pagesPerPg?: number;
  /** The engine before this one is known to be gone: no wait for its lease (rule 26). */
  readonly previousWriterDead: boolean;
  /** Of the lock service that elects the writer; none: this engine opens the volume at once and fences who has it. */
  readonly lockServers?: readonly { readonly id: string; readonly address: string }[];
  /** `engine.name` of sextant.json: an engine of the same name replaces its predecessor, another one stands by. */
  readonly name?: string;
  /** None: everybody from this machine, nobody from others. */
  readonly users?: UserPasswords;
  /** A supervised child ends when its standard input does. */
  readonly exitWithStdin?: boolean;
  readonly logLevel?: LogLevel;
}

export const VOLUME = 1;
const VERSION = '0.1.0';
const EXIT_FENCED = 3;

/** Serves until it is told to stop; then, or when it is fenced, the process ends. Rejects when it cannot start. */
export async function runEngine(config: EngineConfig): Promise<void> {
  optimizeSooner();
  const world = realWorld({ log: config.logLevel ?? 'info' });
  const process_ = new EngineProcess(world, config);
  try {
    await process_.start();
  } catch (error) {
    await process_.abandon();
    throw error;
  }
}

class EngineProcess {
  readonly #world: World;
  readonly #config: EngineConfig;
  readonly #startedMs: number;
  readonly #abort = new AbortController();
  #state: EngineStatus['state'] = 'opening';
  #status: RpcServer | undefined;
  #seat: WriterSeat | undefined;
  #volume: Volume | undefined;
  #engine: Engine | undefined;
  #server: PgServer | undefined;
  #ending: Promise<void> | undefined;

  constructor(world: World, config: EngineConfig) {
    this.#world = world;
    this.#config = config;
    this.#startedMs = world.clock.monotonicMs();
  }

  async start(): Promise<void> {
    const config = this.#config;
    const world = this.#world;
    this.#watch();
    this.#status = await RpcServer.listen(world, config.statusListen, {
      call: (_peer, type) => this.#call(type),
      push: () => undefined,
    });
    // Compiled on other threads while this one waits for nodes; Engine.open meets its failure.
    loadParser().catch(() => undefined);
    const stoodBy = await this.#becomeWriter();
    const volume = await openVolume(world, {
      clusterId: config.cluster,
      nodes: config.nodes as readonly NodeAddress[],
      volume: VOLUME,
      create: true,
      previousWriterDead: config.previousWriterDead && !stoodBy,
      signal: this.#abort.signal,
      ...(config.pagesPerPg === undefined ? {} : { pagesPerPg: config.pagesPerPg }),
    });
    this.#volume = volume;
    const { onFailure } = volume;
    volume.onFailure = (error) => {
      onFailure(error);
      this.#lost(error);
    };
    const engine = await Engine.open(world, { volume, bufferBytes: config.bufferBytes });
    this.#engine = engine;
    this.#server = await PgServer.listen(
      {
        world,
        gate: engine.gate,
        authentication: new Authentication(world.random, config.users),
        connect: (options) => engine.connect(options),
        disconnect: (session) => engine.disconnect(session),
        secretOf: (session, bytes) => engine.secretOf(session, bytes),
        cancelBySecret: (id, secret) => engine.cancelBySecret(id, secret),
      },
      config.listen,
    );
    if (this.#ending !== undefined) return;
    this.#state = 'open';
    const { address } = this.#server;
    const openMs = Math.round(world.clock.monotonicMs() - this.#startedMs);
    world.log.info('engine is open', { epoch: volume.epoch, vdl: volume.vdl, address, openMs });
    process.stdout.write(`ready postgres://${DATABASE}@${reachable(address)}/${DATABASE}\n`);
  }

  /** True: another engine was the writer until now. */
  async #becomeWriter(): Promise<boolean> {
    const { lockServers = [], name = 'engine', cluster, listen, previousWriterDead } = this.#config;
    if (lockServers.length === 0) return false;
    const seat = new WriterSeat(this.#world, () => import('#lockservice/clerk/index.js'), {
      cluster,
      lockServers,
      volume: VOLUME,
      name,
      pid: process.pid,
      listen,
      previousWriterDead,
      onStandby: (writer) => this.#standBy(writer),
    });
    this.#seat = seat;
    const { stoodBy } = await seat.take();
    if (this.#ending === undefined) this.#state = 'opening';
    return stoodBy;
  }

  #standBy(writer: Writer | null): void {
    if (this.#ending === undefined) this.#state = 'standby';
    const who = writer === null ? 'another engine' : `${writer.name} (pid ${writer.pid})`;
    const where = writer === null ? '' : ` at ${writer.listen}`;
    this.#world.log.info('standby: another engine is the writer', { writer });
    process.stdout.write(`standby for ${who}${where}\n`);
  }

  /** It could not start: nothing of it may keep the process. */
  async abandon(): Promise<void> {
    process.stdin.pause();
    this.#ending ??= this.#close();
    await this.#ending;
  }

  #watch(): void {
    for (const signal of ['SIGTERM', 'SIGINT'] as const) {
      process.on(signal, () => this.#end('closing', 0));
    }
    if (this.#config.exitWithStdin !== true) return;
    process.stdin.on('end', () => this.#end('closing', 0));
    process.stdin.on('error', () => this.#end('closing', 0));
    process.stdin.resume();
  }

  /** Also called by the volume itself, so nothing may be thrown from here. */
  #lost(error: Error): void {
    if (this.#ending !== undefined) return;
    const fenced = isSextantError(error, 'FENCED');
    process.stderr.write(
      fenced
        ? `sextant engine: fenced: ${error.message}; this engine ends\n`
        : `sextant engine: the volume is lost: ${error.message}\n`,
    );
    this.#end('fenced', fenced ? EXIT_FENCED : 1);
  }

  #end(state: 'closing' | 'fenced', exitCode: number): void {
    if (this.#ending !== undefined) return;
    this.#state = state;
    this.#ending = this.#close().then(
      () => process.exit(exitCode),
      (error: unknown) => {
        process.stderr.write(`sextant engine: ${String(error)}\n`);
        process.exit(1);
      },
    );
  }

  async #close(): Promise<void> {
    this.#abort.abort(new SextantError('CANCELLED', 'the engine was told to stop'));
    await this.#server?.close();
    if (this.#engine !== undefined) await this.#engine.close();
    else await this.#volume?.close();
    await this.#seat?.close();
    await this.#status?.close();
  }

  #call(type: number): Uint8Array {
    if (type !== EngineMessageType.status) {
      throw new SextantError('PROTOCOL', `engines do not take messages of type ${type}`);
    }
    return new TextEncoder().encode(JSON.stringify(this.#describe()));
  }

  #describe(): EngineStatus {
    const figures = this.#engine?.figures();
    return {
      pid: process.pid,
      state: this.#state,
      seat: this.#seat?.state ?? 'none',
      writer: this.#seat?.writer ?? null,
      listen: this.#server?.address ?? '',
      version: VERSION,
      uptimeMs: Math.round(this.#world.clock.monotonicMs() - this.#startedMs),
      sessions: figures?.sessions ?? 0,
      activeTransactions: figures?.activeTransactions ?? 0,
      bufferBytes: figures?.bufferBytes ?? this.#config.bufferBytes,
      bufferUsedBytes: figures?.bufferUsedBytes ?? 0,
      rssBytes: process.memoryUsage.rss(),
      volume: figures?.volume ?? this.#volume?.status() ?? null,
    };
  }
}

/** An address to listen on as one to connect to. */
function reachable(address: string): string {
  return address.replace(/^0\.0\.0\.0:/, '127.0.0.1:').replace(/^\[::\]:/, '[::1]:');
}
