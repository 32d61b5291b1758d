/**
 * Tells the kernel to forget, from threads of its own (rule 21): INVAL_INODE waits in the kernel for READs and WRITEs in flight, which
 * the serving thread must go on answering, and it cannot be interrupted. Each thread blocks in one notification at a time; a
 * second one is started when the first is busy, because two files may wait for each other's requests.
 *
 * ```
 * frame, 40 bytes:  0 u32 40   4 u32 code 2   8 u64 0   16 u64 inode   24 i64 offset (-1: only attributes)   32 i64 length (0: to the end)
 * INC_EPOCH, 16:    0 u32 16   4 u32 code 8   8 u64 0
 * ```
 *
 * INC_EPOCH returns at once and is written by the caller's thread. This file is a driver: it may start threads and write the device.
 */
import { writeSync } from 'node:fs';
import { Worker } from 'node:worker_threads';
import { ANSWER_HEADER_BYTES, NotifyCode } from './protocol.js';

const THREADS_MAX = 8;
const INVAL_INODE_BYTES = 40;
const TWO_32 = 4_294_967_296;

/** Plain JavaScript, so that it runs the same from source and from the build. */
const THREAD = `
const { parentPort, workerData } = require('node:worker_threads');
const { writeSync } = require('node:fs');
parentPort.on('message', (frame) => {
  let code = '';
  try { writeSync(workerData, frame); } catch (error) { code = error.code || String(error); }
  parentPort.postMessage(code);
});`;

interface Job {
  readonly frame: Uint8Array;
  done(code: string): void;
}

export class Notifier {
  readonly #fd: number;
  readonly #threads: Worker[] = [];
  readonly #idle: Worker[] = [];
  readonly #queue: Job[] = [];
  #closed = false;

  constructor(fd: number) {
    this.#fd = fd;
    this.#idle.push(this.#start());
  }

  /**
   * Drops pages (from `start` to `end`) and attributes of an inode, or only attributes (`start` -1). Resolves when the kernel has
   * done it: with '' or the errno of the write; ENOENT: it does not know the inode.
   */
  invalidate(ino: number, start: number, end: number): Promise<string> {
    const frame = new Uint8Array(INVAL_INODE_BYTES);
    const view = new Uint32Array(frame.buffer);
    const length = start < 0 || end === Number.MAX_SAFE_INTEGER ? 0 : end - start;
    view[0] = INVAL_INODE_BYTES;
    view[1] = NotifyCode.invalidateInode;
    view[4] = ino;
    view[5] = ino / TWO_32;
    view[6] = start;
    view[7] = Math.floor(start / TWO_32);
    view[8] = length;
    view[9] = length / TWO_32;
    return new Promise((done) => {
      if (this.#closed) return done('ENODEV');
      this.#queue.push({ frame, done });
      this.#next();
    });
  }

  /** All names are looked up again. False: this kernel cannot be told. */
  incrementEpoch(): boolean {
    const frame = new Uint32Array([ANSWER_HEADER_BYTES, NotifyCode.incrementEpoch, 0, 0]);
    try {
      writeSync(this.#fd, new Uint8Array(frame.buffer));
      return true;
    } catch {
      return false;
    }
  }

  /** Must come before the device is closed; a thread that the kernel holds is waited for (abort the connection first). */
  async close(): Promise<void> {
    this.#closed = true;
    for (const job of this.#queue.splice(0)) job.done('ENODEV');
    await Promise.all(this.#threads.map((thread) => thread.terminate()));
  }

  #next(): void {
    while (this.#queue.length > 0) {
      const thread =
        this.#idle.pop() ?? (this.#threads.length < THREADS_MAX ? this.#start() : undefined);
      if (thread === undefined) return;
      const job = this.#queue.shift();
      if (job === undefined) return;
      thread.once('message', (code: string) => {
        this.#idle.push(thread);
        job.done(code);
        this.#next();
      });
      thread.postMessage(job.frame);
    }
  }

  #start(): Worker {
    const thread = new Worker(THREAD, { eval: true, workerData: this.#fd });
    thread.unref();
    this.#threads.push(thread);
    return thread;
  }
}
