/**
 * The world that the programs run in: the machine's clock, timers, randomness, disk and network.
 *
 * | address     | carrier                                   |
 * |-------------|-------------------------------------------|
 * | `host:port` | TCP                                       |
 * | `unix:/x`   | a unix socket, within this machine        |
 * | `inproc:x`  | links within this thread                  |
 * | `worker:x`  | links between threads (`options.threads`) |
 *
 * This file is a driver: it may use timers, the clock and node:crypto.
 */
import { randomBytes, randomFillSync } from 'node:crypto';
import { SextantError } from '../../errors.js';
import { InProcessNetwork } from '../../rpc/in-process.js';
import { TcpNetwork, type TcpOptions } from '../../rpc/tcp.js';
import type {
  Clock,
  Link,
  LinkHandler,
  Listener,
  Log,
  Network,
  Random,
  Timer,
  Timers,
  World,
} from '../world.js';
import { RealDisk } from './disk.js';
import { pinoLog, type LogLevel } from './log.js';
import { laterTurn } from './turn.js';

export interface RealWorldOptions {
  /** A level makes a pino logger on standard error; default `info`. */
  readonly log?: Log | LogLevel;
  readonly tcp?: TcpOptions;
  /** Carries `worker:` addresses. */
  readonly threads?: Network;
}

export function realWorld(options: RealWorldOptions = {}): World {
  const { log } = options;
  return {
    clock: realClock,
    timers: realTimers,
    random: new RealRandom(),
    disk: new RealDisk(),
    network: new RealNetwork(options),
    log: typeof log === 'object' ? log : pinoLog(log),
  };
}

const realClock: Clock = {
  monotonicMs: () => performance.now(),
  wallMs: () => Date.now(),
};

class RealTimer implements Timer {
  readonly #handle: NodeJS.Timeout;

  constructor(ms: number, fn: () => void) {
    this.#handle = setTimeout(fn, ms).unref();
  }

  cancel(): void {
    clearTimeout(this.#handle);
  }
}

const realTimers: Timers = {
  after: (ms, fn) => new RealTimer(ms, fn),
  turn: laterTurn,
  sleep: (ms, signal) =>
    new Promise((resolve, reject) => {
      if (signal?.aborted === true) {
        reject(new SextantError('CANCELLED', 'sleep cancelled'));
        return;
      }
      const onAbort = (): void => {
        timer.cancel();
        reject(new SextantError('CANCELLED', 'sleep cancelled'));
      };
      const timer = new RealTimer(ms, () => {
        signal?.removeEventListener('abort', onAbort);
        resolve();
      });
      signal?.addEventListener('abort', onAbort, { once: true });
    }),
};

/** From the kernel's generator, fetched 4 KiB at a time. */
class RealRandom implements Random {
  readonly #pool = new Uint32Array(1024);
  #left = 0;

  u32(): number {
    if (this.#left === 0) {
      randomFillSync(this.#pool);
      this.#left = this.#pool.length;
    }
    this.#left--;
    return this.#pool[this.#left] ?? 0;
  }

  below(bound: number): number {
    return Math.floor(this.unit() * bound);
  }

  unit(): number {
    return ((this.u32() >>> 5) * 0x400_0000 + (this.u32() >>> 6)) / 2 ** 53;
  }

  bytes(count: number): Uint8Array {
    return randomBytes(count);
  }
}

const inProcess = new InProcessNetwork();

class RealNetwork implements Network {
  readonly #tcp: TcpNetwork;
  readonly #threads: Network | undefined;

  constructor(options: RealWorldOptions) {
    this.#tcp = new TcpNetwork(options.tcp);
    this.#threads = options.threads;
  }

  listen(address: string, accept: (link: Link) => LinkHandler): Promise<Listener> {
    return this.#carrier(address).listen(address, accept);
  }

  connect(address: string, handler: LinkHandler): Link {
    return this.#carrier(address).connect(address, handler);
  }

  #carrier(address: string): Network {
    if (address.startsWith('inproc:')) return inProcess;
    if (!address.startsWith('worker:')) return this.#tcp;
    if (this.#threads !== undefined) return this.#threads;
    throw new SextantError('CONFIG', `${address}: this world has no threads`);
  }
}
