/**
 * Everything that a part takes from its surroundings: time, randomness, disk, network. There are two
 * worlds, `realWorld()` and the simulator's; no other file of the project touches `Date.now`,
 * `Math.random`, `setTimeout`, `node:fs` or `node:net` (the tidy test holds this).
 *
 * Disk calls are synchronous on purpose: a storage node journals on its own thread (half the latency
 * of the thread pool, measured). A slow disk therefore blocks its node; the simulator models just that.
 */

export interface World {
  readonly clock: Clock;
  readonly timers: Timers;
  readonly random: Random;
  readonly disk: Disk;
  readonly network: Network;
  readonly log: Log;
}

export interface Clock {
  /** Monotonic milliseconds, with fraction, since an arbitrary start. */
  monotonicMs(): number;
  /** Milliseconds since 1970: for people and SQL's now(), never for a protocol decision. */
  wallMs(): number;
}

export interface Timer {
  cancel(): void;
}

export interface Timers {
  /** Calls `fn` once after `ms`; the real one does not keep the process alive. */
  after(ms: number, fn: () => void): Timer;
  /** Calls `fn` at the end of this turn of the event loop, after the I/O callbacks at hand. */
  turn(fn: () => void): void;
  /** Resolves after `ms`; rejects with CANCELLED when `signal` aborts. */
  sleep(ms: number, signal?: AbortSignal): Promise<void>;
}

export interface Random {
  /** Uniform in [0, 2^32). */
  u32(): number;
  /** Uniform integer in [0, bound). */
  below(bound: number): number;
  /** Uniform in [0, 1). */
  unit(): number;
  /** `count` random bytes. */
  bytes(count: number): Uint8Array;
}

/** One folder tree. Paths are absolute or relative to the process; `/` separates. */
export interface Disk {
  /** Opens for reading and writing; `create` makes an empty file when absent, `exclusive` refuses one that exists. Throws NOT_FOUND, DISK_FULL, DISK_FAILED. */
  open(path: string, options?: { create?: boolean; exclusive?: boolean }): DiskFile;
  exists(path: string): boolean;
  /** Names in a folder, sorted; empty when the folder is absent. */
  list(folder: string): string[];
  makeFolder(folder: string): void;
  rename(from: string, to: string): void;
  remove(path: string): void;
  /** Makes creations, renames and removals in a folder durable. */
  syncFolder(folder: string): void;
  /**
   * Takes the lock of a data folder until `release` or the process's death. Throws FOLDER_LOCKED naming
   * the folder and the holder's pid.
   */
  lockFolder(folder: string): { release(): void };
  /** Free bytes where `folder` lies. */
  freeBytes(folder: string): number;
}

export interface DiskFile {
  readonly path: string;
  size(): number;
  /** Reads up to `length` bytes at `position` into `target` at `offset`; returns how many (short only at the end of the file). */
  read(target: Uint8Array, offset: number, length: number, position: number): number;
  /** Writes all bytes at `position`. Throws DISK_FULL (nothing promised about the range) or DISK_FAILED. */
  write(source: Uint8Array, offset: number, length: number, position: number): void;
  /** fdatasync. A failure is DISK_FAILED and final: the file's unsynced content is unknown. */
  sync(): void;
  truncate(size: number): void;
  close(): void;
}

/**
 * Links carry whole frames, not bytes: each `send` arrives as one `onFrame` or not at all. TCP and
 * in-process links deliver in order while they are up; the simulated one may drop, delay, repeat,
 * reorder and flip bits, so whatever runs above checks and tolerates all of that.
 */
export interface Network {
  /**
   * Address grammar: `host:port` for TCP (port 0: any free one), `unix:/path`, `inproc:name` within one thread, `worker:name`
   * between the threads of one process (core/world/real/threads).
   */
  listen(address: string, accept: (link: Link) => LinkHandler): Promise<Listener>;
  /** Starts connecting at once; `onOpen` or `onClose` follows. Sending before `onOpen` queues. */
  connect(address: string, handler: LinkHandler): Link;
}

export interface Listener {
  /** The address with the real port. */
  readonly address: string;
  close(): Promise<void>;
}

export interface LinkHandler {
  onOpen?(): void;
  /** `frame` may be a view into a buffer that is reused after this call returns: copy what you keep. */
  onFrame(frame: Uint8Array): void;
  /** The queue fell below its low-water mark after `send` returned false. */
  onDrain?(): void;
  /** Called exactly once; no `onFrame` after it. */
  onClose(error?: Error): void;
}

export interface Link {
  /**
   * Queues one frame, given in up to two parts so that a shared body is not copied per peer. The parts
   * must not change until the link has sent them. Returns false when the queue is past its high-water
   * mark: the caller should stop until `onDrain`; past the hard bound the link closes with OVERLOADED.
   */
  send(head: Uint8Array, body?: Uint8Array): boolean;
  readonly queuedBytes: number;
  /** Who is at the other end, for messages to people. */
  readonly remote: string;
  close(): void;
}

export interface Log {
  debug(message: string, fields?: Record<string, unknown>): void;
  info(message: string, fields?: Record<string, unknown>): void;
  warn(message: string, fields?: Record<string, unknown>): void;
  error(message: string, fields?: Record<string, unknown>): void;
  child(fields: Record<string, unknown>): Log;
}
