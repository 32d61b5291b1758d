/** An engine over a volume in memory behind a real socket. For tests. */
import { realWorld } from '#core/world/real/real-world.js';
import { Engine, type EngineOptions } from '../engine.js';
import { MemoryVolume, type MemoryVolumeOptions } from '../volume/memory-volume.js';
import { Authentication, type UserPasswords } from './authentication.js';
import type { ConnectionHost } from './handshake.js';
import { PgServer } from './server.js';

export class TestServer {
  readonly engine: Engine;
  readonly server: PgServer;
  readonly volume: MemoryVolume;

  private constructor(engine: Engine, server: PgServer, volume: MemoryVolume) {
    this.engine = engine;
    this.server = server;
    this.volume = volume;
  }

  static async start(
    options: {
      readonly volume?: MemoryVolumeOptions;
      readonly engine?: Partial<EngineOptions>;
      readonly users?: UserPasswords;
    } = {},
  ): Promise<TestServer> {
    const world = realWorld({ log: 'silent' });
    const volume = new MemoryVolume(options.volume);
    const engine = await Engine.open(world, {
      volume,
      bufferBytes: 32 * 1024 * 1024,
      ...options.engine,
    });
    const server = await PgServer.listen(hostOf(engine, options.users), '127.0.0.1:0');
    return new TestServer(engine, server, volume);
  }

  get port(): number {
    return Number(this.server.address.split(':').at(-1));
  }

  get url(): string {
    return `postgres://postgres@127.0.0.1:${this.port}/postgres`;
  }

  async close(): Promise<void> {
    await this.server.close();
    await this.engine.close();
  }
}

export function hostOf(engine: Engine, users?: UserPasswords): ConnectionHost {
  return {
    world: engine.world,
    gate: engine.gate,
    authentication: new Authentication(engine.world.random, users),
    connect: (options) => engine.connect(options),
    disconnect: (session) => engine.disconnect(session),
    secretOf: (session, bytes) => engine.secretOf(session, bytes),
    cancelBySecret: (id, secret) => engine.cancelBySecret(id, secret),
  };
}
