/**
 * Takes requests, answers them: at once when the file system answers at once (rule 26), later when it returned a promise. Order between
 * requests is the kernel's affair; every request but FORGET and INTERRUPT gets exactly one answer.
 *
 * ```
 * frame -> Call -> operation.run --- result ------------> operation.encode -> device
 *                       |  `------- FsError ------------> -errno
 *                       |  `------- any other error ----> -EIO and a line in the log
 *                       `--------- promise: the call keeps its buffer; INTERRUPT aborts its signal
 * ```
 */
import { ERRNO } from '../vfs/errno.js';
import { FsError, type Vfs } from '../vfs/vfs.js';
import { Answer } from './answer.js';
import { Call } from './call.js';
import { DIRECTORY_OPERATIONS } from './directory-operations.js';
import { FILE_OPERATIONS } from './file-operations.js';
import { INODE_OPERATIONS } from './inode-operations.js';
import type { KernelView } from './kernel-view.js';
import { LOCK_OPERATIONS, LockOwners } from './lock-operations.js';
import { NAME_OPERATIONS } from './name-operations.js';
import type { Host, Operation } from './operation.js';
import { OPCODE_END, Opcode } from './protocol.js';
import { type Session, encodeInit, negotiate } from './session.js';

/** Buffers of 1 MiB that are kept for requests to come. */
const SPARE_CALLS_MAX = 8;

const OPERATIONS: (Operation | undefined)[] = Array.from({ length: OPCODE_END }, (_, opcode) => {
  return (
    INODE_OPERATIONS[opcode] ??
    NAME_OPERATIONS[opcode] ??
    FILE_OPERATIONS[opcode] ??
    DIRECTORY_OPERATIONS[opcode] ??
    LOCK_OPERATIONS[opcode]
  );
});

export interface DispatcherOptions {
  readonly vfs: Vfs;
  readonly kernel: KernelView;
  /** Sends the answer. Returns '' or the errno. */
  readonly send: (answer: Answer) => string;
  /** INIT was answered. */
  readonly ready: (session: Session) => void;
  readonly log: (line: string) => void;
}

export class Dispatcher implements Host {
  readonly vfs: Vfs;
  readonly kernel: KernelView;
  readonly lockOwners = new LockOwners();
  killPrivV2 = false;
  /** Requests by opcode. */
  readonly counts: Float64Array = new Float64Array(OPCODE_END);
  readonly #options: DispatcherOptions;
  readonly #answer = new Answer();
  readonly #waiting = new Map<number, Call>();
  readonly #spare: Call[] = [];
  #current: Call;

  constructor(options: DispatcherOptions) {
    this.#options = options;
    this.vfs = options.vfs;
    this.kernel = options.kernel;
    this.#current = new Call();
  }

  /** Where the next frame goes. */
  get buffer(): Buffer {
    return this.#current.bytes;
  }

  /** Requests that wait for the file system. */
  get waitingCount(): number {
    return this.#waiting.size;
  }

  /** A frame of `length` bytes is in `buffer`. Returns where the next one goes. */
  frame(length: number): Buffer {
    const call = this.#current;
    if (!call.decode(length)) {
      this.#options.log(`a frame of ${length} bytes is no request`);
    } else if (!this.serve(call)) this.#current = this.#spare.pop() ?? new Call();
    return this.#current.bytes;
  }

  /** True: the call is done with. False: it waits, with its buffer. */
  serve(call: Call): boolean {
    const { opcode } = call;
    if (opcode < OPCODE_END) this.counts[opcode] = (this.counts[opcode] ?? 0) + 1;
    const operation = OPERATIONS[opcode];
    if (operation === undefined) return this.#serveSession(call);
    if (opcode === Opcode.read && this.kernel.holds(call, call.u64(8), call.u32(16))) {
      return false;
    }
    let result: unknown;
    try {
      result = operation.run(this, call);
      if (result instanceof Promise) {
        this.#wait(call, operation, result);
        return false;
      }
      this.#succeed(call, operation, result);
    } catch (error) {
      this.#fail(call, error);
    }
    return true;
  }

  /** A READ that was held is a new request now. */
  resume(call: Call): void {
    if (this.serve(call)) this.#recycle(call);
  }

  /** Ends what waits for locks; called before the device is closed. */
  interruptAll(): void {
    for (const call of this.#waiting.values()) call.interrupt?.abort();
  }

  #wait(call: Call, operation: Operation, result: Promise<unknown>): void {
    const { unique } = call;
    this.#waiting.set(unique, call);
    result
      .then(
        (value) => this.#succeed(call, operation, value),
        (error: unknown) => this.#fail(call, error),
      )
      .catch((error: unknown) => this.#fail(call, error))
      .finally(() => {
        this.#waiting.delete(unique);
        this.#recycle(call);
      });
  }

  #recycle(call: Call): void {
    if (this.#spare.length < SPARE_CALLS_MAX) this.#spare.push(call);
  }

  #succeed(call: Call, operation: Operation, result: unknown): void {
    const answer = this.#answer;
    answer.begin();
    operation.encode(this, answer, call, result);
    this.#send(call, 0);
  }

  #fail(call: Call, error: unknown): void {
    let errno: number = ERRNO.EIO;
    if (error instanceof FsError) errno = ERRNO[error.errno];
    else {
      const text = error instanceof Error ? (error.stack ?? error.message) : String(error);
      this.#options.log(`request ${call.opcode} of inode ${call.node} failed: ${text}`);
    }
    this.#send(call, errno);
  }

  #send(call: Call, errno: number): void {
    const answer = this.#answer;
    answer.end(call.uniqueLow, call.uniqueHigh, errno);
    const code = this.#options.send(answer);
    // ENOENT: nobody waits any more; the others: the connection is gone.
    if (code === '' || code === 'ENOENT' || code === 'ENODEV' || code === 'EPERM') return;
    this.#options.log(`the kernel refused the answer to request ${call.opcode}: ${code}`);
    if (errno !== 0) return;
    answer.end(call.uniqueLow, call.uniqueHigh, ERRNO.EIO);
    this.#options.send(answer);
  }

  /** What concerns the connection and not the file system. */
  #serveSession(call: Call): true {
    switch (call.opcode) {
      case Opcode.forget:
        this.kernel.forget(call.node, call.u64(0));
        break;
      case Opcode.batchForget:
        this.#batchForget(call);
        break;
      case Opcode.interrupt:
        this.#waiting.get(call.u64(0))?.interrupt?.abort();
        break;
      case Opcode.init:
        this.#init(call);
        break;
      case Opcode.destroy:
        this.#answer.begin();
        this.#send(call, 0);
        break;
      case Opcode.ioctl:
        this.#send(call, ERRNO.ENOTTY);
        break;
      default:
        // POLL among them: the kernel then takes every file as ready and asks no more.
        this.#send(call, ERRNO.ENOSYS);
    }
    return true;
  }

  #batchForget(call: Call): void {
    const count = Math.min(call.u32(0), Math.floor((call.length - 48) / 16));
    for (let i = 0; i < count; i++) this.kernel.forget(call.u64(8 + i * 16), call.u64(16 + i * 16));
  }

  #init(call: Call): void {
    const session = negotiate(call);
    if (session === undefined) {
      this.#options.log(`the kernel speaks FUSE ${call.u32(0)}.${call.u32(4)}, too old`);
      return this.#send(call, ERRNO.EINVAL);
    }
    this.killPrivV2 = session.killPrivV2;
    this.#answer.begin();
    encodeInit(this.#answer, session);
    this.#send(call, 0);
    this.#options.ready(session);
  }
}
