/**
 * Cuts a byte stream into frames. A frame that lies whole within a chunk is handed on as a view of
 * the chunk; only one that straddles chunks is put together in a buffer of its own, allocated once,
 * at its exact length, when its header has come in and passed its checksum (RPC-1).
 */
import { FRAME_HEADER_BYTES, checkedFrameBytes } from './frame.js';

export class FrameSplitter {
  readonly #onFrame: (frame: Uint8Array) => void;
  readonly #header = new Uint8Array(FRAME_HEADER_BYTES);
  #headerHave = 0;
  #frame: Uint8Array | undefined;
  #frameHave = 0;
  #stopped = false;

  constructor(onFrame: (frame: Uint8Array) => void) {
    this.#onFrame = onFrame;
  }

  /** Hands on every frame that this chunk completes. Throws CORRUPTION or PROTOCOL: close the link. */
  push(chunk: Uint8Array): void {
    let at = this.#frame !== undefined || this.#headerHave > 0 ? this.#continue(chunk) : 0;
    while (!this.#stopped && chunk.length - at >= FRAME_HEADER_BYTES) {
      const frameBytes = checkedFrameBytes(chunk, at);
      if (chunk.length - at < frameBytes) break;
      this.#onFrame(chunk.subarray(at, at + frameBytes));
      at += frameBytes;
    }
    if (!this.#stopped && at < chunk.length) this.#keep(chunk, at);
  }

  /** No frame is handed on any more, not even of the chunk at hand. */
  stop(): void {
    this.#stopped = true;
  }

  /** Fills the frame begun by earlier chunks; returns where the rest of this chunk starts. */
  #continue(chunk: Uint8Array): number {
    let at = 0;
    if (this.#frame === undefined) {
      at = Math.min(FRAME_HEADER_BYTES - this.#headerHave, chunk.length);
      this.#header.set(chunk.subarray(0, at), this.#headerHave);
      this.#headerHave += at;
      if (this.#headerHave < FRAME_HEADER_BYTES) return at;
      this.#startFrame(this.#header, 0);
    }
    const frame = this.#frame;
    if (frame === undefined) return at;
    const take = Math.min(frame.length - this.#frameHave, chunk.length - at);
    frame.set(chunk.subarray(at, at + take), this.#frameHave);
    this.#frameHave += take;
    if (this.#frameHave === frame.length) {
      this.#frame = undefined;
      this.#onFrame(frame);
    }
    return at + take;
  }

  #keep(chunk: Uint8Array, at: number): void {
    const have = chunk.length - at;
    if (have < FRAME_HEADER_BYTES) {
      this.#header.set(chunk.subarray(at), 0);
      this.#headerHave = have;
      return;
    }
    const frame = this.#startFrame(chunk, at);
    frame.set(chunk.subarray(at), 0);
    this.#frameHave = have;
  }

  #startFrame(bytes: Uint8Array, at: number): Uint8Array {
    const frame = new Uint8Array(checkedFrameBytes(bytes, at));
    frame.set(bytes.subarray(at, at + FRAME_HEADER_BYTES), 0);
    this.#frame = frame;
    this.#frameHave = FRAME_HEADER_BYTES;
    this.#headerHave = 0;
    return frame;
  }
}
