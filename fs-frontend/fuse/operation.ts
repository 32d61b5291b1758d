/**
 * A request's two halves. `run` asks the file system and may have to wait; `encode` writes the answer's body from the result, later perhaps.
 * What `encode` must know of the request `run` leaves in `call.detail`: the frame is still there, but reading it twice is not needed.
 */
import type { Vfs } from '../vfs/vfs.js';
import type { Answer } from './answer.js';
import type { Call } from './call.js';
import type { KernelView } from './kernel-view.js';
import type { LockOwners } from './lock-operations.js';

export interface Host {
  readonly vfs: Vfs;
  readonly kernel: KernelView;
  readonly lockOwners: LockOwners;
  /** HANDLE_KILLPRIV_V2 was agreed on: the kernel says which writes clear setuid bits. */
  readonly killPrivV2: boolean;
}

export interface Operation {
  run(host: Host, call: Call): unknown;
  encode(host: Host, answer: Answer, call: Call, result: unknown): void;
}

export function operation<R>(
  run: (host: Host, call: Call) => R | Promise<R>,
  encode: (host: Host, answer: Answer, call: Call, result: R) => void,
): Operation {
  return { run, encode: encode as Operation['encode'] };
}

/** The answer has no body. */
export function nothing(): void {}
