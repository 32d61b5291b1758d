/**
 * /dev/fuse, read on the serving thread. One read(2) takes one request; the descriptor does not block, and the event loop must learn
 * when it is readable. Node's public API polls only sockets, pipes and terminals, but libuv's pipe handle polls any descriptor
 * and reads whole frames into our own buffer, so it is used directly; where it is missing, libuv's thread pool reads.
 *
 * Tried (us a GETATTR, one process that calls stat in a loop, 2 cores; answers were canned):
 *
 * | how | us |
 * | --- | --- |
 * | a loop that blocks in readSync (no event loop: not possible here) | 6 |
 * | pipe handle, and the loop turns 48 times without sleeping after each request | 8 to 11 |
 * | pipe handle | 13 to 18 |
 * | a thread that blocks in readSync, Atomics.waitAsync | 16 to 19 |
 * | fs.read (thread pool) | 35 to 50 |
 *
 * The turns cost at most about 50 us of processor behind the last request of a burst, and save going to sleep
 * between a program's requests. This file is a driver: it may open, read and write the device.
 */
import { closeSync, constants, openSync, read, writeSync, writevSync } from 'node:fs';
import { getSystemErrorName } from 'node:util';
import type { Answer } from './answer.js';

const SPIN_TURNS = 48;
const DEVICE = '/dev/fuse';

/** libuv's pipe as Node wraps it. */
interface PipeHandle {
  open(fd: number): number;
  useUserBuffer(buffer: Uint8Array): void;
  readStart(): number;
  readStop(): number;
  close(done?: () => void): void;
  onread: () => Uint8Array | undefined;
}
interface PipeBinding {
  readonly Pipe: new (kind: number) => PipeHandle;
  readonly constants: { readonly SOCKET: number };
}
interface StreamBinding {
  /** Slot 0: bytes read, or a negative errno. */
  readonly streamBaseState: Int32Array;
}

export interface DeviceEvents {
  /** A frame of `length` bytes is in the buffer. Returns the buffer for the next one. */
  frame(length: number): Buffer;
  /** No request comes any more: unmounted (ENODEV), aborted (ECONNABORTED) or broken. */
  ended(code: string): void;
}

export class Device {
  readonly fd: number;
  #pipe: PipeHandle | undefined = undefined;
  #turnsLeft = 0;
  #turning = false;
  #ended = false;
  #closed = false;

  constructor() {
    this.fd = openSync(DEVICE, constants.O_RDWR | constants.O_NONBLOCK);
  }

  /** Starts reading; possible only once the descriptor is mounted. */
  start(buffer: Buffer, events: DeviceEvents, how: 'poll' | 'pool' = 'poll'): void {
    if (how === 'pool' || !this.#poll(buffer, events)) this.#readInPool(buffer, events);
  }

  /** Sends one answer. Returns '' or the errno: ENOENT when nobody waits for it any more. */
  send(answer: Answer): string {
    try {
      if (answer.tail === undefined) writeSync(this.fd, answer.bytes, 0, answer.length);
      else writevSync(this.fd, [answer.bytes.subarray(0, answer.length), answer.tail]);
      return '';
    } catch (error) {
      return (error as NodeJS.ErrnoException).code ?? 'EIO';
    }
  }

  /** Closes the descriptor; if it is still mounted, its programs get ENOTCONN from now on. */
  close(): Promise<void> {
    if (this.#closed) return Promise.resolve();
    this.#closed = true;
    this.#ended = true;
    const pipe = this.#pipe;
    if (pipe === undefined) {
      closeSync(this.fd);
      return Promise.resolve();
    }
    return new Promise((done) => pipe.close(done));
  }

  #poll(buffer: Buffer, events: DeviceEvents): boolean {
    const binding = (process as { binding?: (name: string) => unknown }).binding;
    if (binding === undefined) return false;
    let pipe: PipeHandle;
    let state: Int32Array;
    try {
      const { Pipe, constants: kinds } = binding.call(process, 'pipe_wrap') as PipeBinding;
      state = (binding.call(process, 'stream_wrap') as StreamBinding).streamBaseState;
      pipe = new Pipe(kinds.SOCKET);
    } catch {
      return false;
    }
    if (pipe.open(this.fd) !== 0) return false;
    this.#pipe = pipe;
    pipe.useUserBuffer(buffer);
    pipe.onread = () => {
      const length = state[0] ?? 0;
      if (length > 0) {
        const next = events.frame(length);
        this.#stayAwake();
        return next;
      }
      const code = getSystemErrorName(length);
      // Cut short before a request was taken: the handle stopped itself, nothing is lost.
      if (code === 'EINTR' || code === 'ENOENT' || code === 'EAGAIN' || code === 'EIO') {
        if (!this.#closed) pipe.readStart();
      } else this.#end(events, code);
      return undefined;
    };
    return pipe.readStart() === 0;
  }

  /** Hot: 13 -> 9 us a request. The event loop polls without sleeping as long as immediates are pending. */
  #stayAwake(): void {
    this.#turnsLeft = SPIN_TURNS;
    if (this.#turning) return;
    this.#turning = true;
    setImmediate(this.#turn);
  }

  readonly #turn = (): void => {
    if (this.#turnsLeft-- > 0 && !this.#ended) setImmediate(this.#turn);
    else this.#turning = false;
  };

  #readInPool(buffer: Buffer, events: DeviceEvents): void {
    read(this.fd, buffer, 0, buffer.length, null, (error, length) => {
      if (this.#ended) return;
      let next = buffer;
      if (error === null) next = events.frame(length);
      else if (error.code !== 'EINTR' && error.code !== 'ENOENT' && error.code !== 'EAGAIN') {
        return this.#end(events, error.code ?? 'EIO');
      }
      this.#readInPool(next, events);
    });
  }

  #end(events: DeviceEvents, code: string): void {
    if (this.#ended) return;
    this.#ended = true;
    events.ended(code);
  }
}
