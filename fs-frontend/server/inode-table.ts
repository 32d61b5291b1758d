/**
 * What this server knows of inodes beside their blocks: attributes decoded once, attributes that are newer than the log (the
 * overlay), the content cached, who has it open.
 *
 * The overlay holds what a write or a read changes (size, times): it goes into the header with the next transaction on it,
 * at the latest at write-back, fsync or revoke. So a thousand writes cost one record.
 */
import type { LockHandle } from '#lockservice/clerk/index.js';
import {
  Content,
  changeInode,
  contentOf,
  readAttributes,
  sizeOf,
  type Time,
} from '../format/inode.js';
import type { Block } from '../format/block.js';
import type { Transaction } from '../format/transaction.js';
import type { Attributes, FsError, Ino } from '../vfs/vfs.js';
import type { CachedBlock } from './cached-block.js';
import type { FileContent } from './file-content.js';

export class InodeState {
  readonly ino: Ino;
  /** Its lock is that of its segment: nobody else has ever asked for it (rule 8). */
  implied = false;
  /** The lock goes back; what the kernel still asks or writes is served under it (rule 22). */
  serving = false;
  /** How often something was read while `serving`. */
  servedReads = 0;
  header: CachedBlock | undefined = undefined;
  content: FileContent | undefined = undefined;
  /** Handles open here, and those of them that may write. */
  opens = 0;
  writers = 0;
  /** `open` aspect, held while it is open here. */
  life: LockHandle | undefined = undefined;
  lifePending: Promise<void> | undefined = undefined;
  /** Of a write-back that failed, until somebody is told. */
  error: FsError | undefined = undefined;
  /** Rises whenever the overlay changes. */
  overlays = 0;
  size = -1;
  atime: Time | undefined = undefined;
  mtime: Time | undefined = undefined;
  ctime: Time | undefined = undefined;
  #attributes: Attributes | undefined = undefined;
  #changes = -1;
  #overlays = -1;
  #of: Block | undefined = undefined;

  constructor(ino: Ino) {
    this.ino = ino;
  }

  get hasOverlay(): boolean {
    return (
      this.size >= 0 ||
      this.mtime !== undefined ||
      this.ctime !== undefined ||
      this.atime !== undefined
    );
  }

  get busy(): boolean {
    return (
      this.opens > 0 ||
      this.implied ||
      this.serving ||
      this.hasOverlay ||
      this.error !== undefined ||
      this.lifePending !== undefined ||
      this.content?.busy === true
    );
  }

  sizeWith(header: Block): number {
    return this.size >= 0 ? this.size : sizeOf(header);
  }

  /** The attributes as they are now. */
  attributes(header: Block): Attributes {
    const known = this.#attributes;
    if (
      known !== undefined &&
      this.#of === header &&
      this.#changes === header.changes &&
      this.#overlays === this.overlays
    ) {
      return known;
    }
    let attributes = readAttributes(header);
    if (this.hasOverlay || this.content !== undefined) {
      const { atime, mtime, ctime, size } = this;
      attributes = {
        ...attributes,
        size: size >= 0 ? size : attributes.size,
        // What leaves the inode counts where it goes to.
        blocks:
          (this.content?.leaving === true ? 0 : attributes.blocks) +
          8 * (this.content?.reserved ?? 0),
        ...(atime === undefined ? {} : { atimeSec: atime.sec, atimeNsec: atime.nsec }),
        ...(mtime === undefined ? {} : { mtimeSec: mtime.sec, mtimeNsec: mtime.nsec }),
        ...(ctime === undefined ? {} : { ctimeSec: ctime.sec, ctimeNsec: ctime.nsec }),
      };
    }
    this.#attributes = attributes;
    this.#of = header;
    this.#changes = header.changes;
    this.#overlays = this.overlays;
    return attributes;
  }

  /** Puts the overlay into the header; `clearOverlay` once that is committed. */
  fold(tx: Transaction, header: Block): void {
    // Small content that is about to leave the header still rules its size there.
    const small = contentOf(header) === Content.bytes && this.content?.leaving === true;
    changeInode(tx, header, {
      ...(this.size >= 0 && !small ? { size: this.size } : {}),
      ...(this.atime === undefined ? {} : { atime: this.atime }),
      ...(this.mtime === undefined ? {} : { mtime: this.mtime }),
      ...(this.ctime === undefined ? {} : { ctime: this.ctime }),
    });
  }

  clearOverlay(): void {
    if (this.content?.leaving !== true) this.size = -1;
    this.atime = undefined;
    this.mtime = undefined;
    this.ctime = undefined;
    this.overlays++;
  }

  /** The lock is gone: nothing cached is true any more. */
  forget(): void {
    this.header = undefined;
    this.content?.drop();
    this.content = undefined;
    this.size = -1;
    this.clearOverlay();
    this.implied = false;
    this.#attributes = undefined;
    this.#of = undefined;
  }
}

export class InodeTable {
  readonly #states = new Map<Ino, InodeState>();
  readonly #max: number;

  constructor(max: number) {
    this.#max = max;
  }

  get size(): number {
    return this.#states.size;
  }

  peek(ino: Ino): InodeState | undefined {
    return this.#states.get(ino);
  }

  get(ino: Ino): InodeState {
    let state = this.#states.get(ino);
    if (state === undefined) {
      state = new InodeState(ino);
      this.#states.set(ino, state);
    }
    return state;
  }

  values(): IterableIterator<InodeState> {
    return this.#states.values();
  }

  remove(state: InodeState): void {
    if (this.#states.get(state.ino) === state) this.#states.delete(state.ino);
  }

  /** Over the bound, states that say nothing more than the blocks do go: a tenth of the bound at a time. */
  trim(): void {
    if (this.#states.size <= this.#max) return;
    let left = Math.ceil(this.#max / 10);
    for (const state of this.#states.values()) {
      if (!state.busy) {
        state.content?.drop();
        this.#states.delete(state.ino);
      }
      if (--left <= 0 && this.#states.size <= this.#max) break;
    }
  }

  clear(): void {
    this.#states.clear();
  }
}
