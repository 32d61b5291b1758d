/**
 * A file server: one of many over the same virtual disk. They never talk to each other; the locks keep them coherent.
 *
 * ```
 *   file-server.ts   Vfs: what the mount and the API call            core.ts        what the parts share; the loop of operations
 *   operation.ts     locks and transaction of one operation          inode-table.ts attributes, overlay, who has it open
 *   namespace.ts rename.ts attributes.ts content.ts content-size.ts directories.ts xattrs.ts   the operations
 *   block-cache.ts   metadata blocks          file-content.ts  chunks of content, delayed allocation
 *   write-back.ts    log, then in place; data, then the record that exposes it
 *   revoke.ts        before a lock goes back  newcomers.ts     locks of new inodes, behind the scenes
 *   segments.ts      where inodes and blocks come from         orphans.ts  unlinked while open, freed later
 *   recovery.ts      replays the log of a dead server          barrier.ts  a moment of rest for all, for snapshots
 *   handles.ts       open files               file-locks.ts    fcntl and flock, by the lock service
 * ```
 *
 * An operation answers from memory, synchronously, when its locks and blocks are here; what it changed is in the log's
 * memory then, at quorum within `flushEveryMs`, at fsync, and before any lock under it goes to another server.
 *
 * - FS-1 A block is dirty in at most one server's cache, under an exclusive lock (or the segment's, for newcomers).
 * - FS-2 Log before block in place; both before the lock goes.
 * - Rule 1: a server whose lease is lost drops everything, aborts the kernel's connection and answers EIO for ever.
 */
import type { Timer, World } from '#core/world/world.js';
import type { Clerk, LockHandle, LockTable } from '#lockservice/clerk/index.js';
import { REGISTER_BYTES, Region, type VirtualDisk } from '../disk/disk.js';
import { readSuperblock } from '../check/mkfs.js';
import { S_IFDIR, S_IFLNK, S_IFMT, S_IFREG, modeOf } from '../format/inode.js';
import {
  ORPHANS_REGISTER,
  ORPHAN_REGISTERS,
  SEGMENT_DATA,
  SEGMENT_INODES,
  slotLock,
} from '../format/layout.js';
import { OrphanList } from '../format/orphans.js';
import { openLog } from '../log/log.js';
import {
  FsError,
  NAME_BYTES_MAX,
  OpenFlag,
  type AttributeChanges,
  type Caller,
  type DirectoryEntry,
  type Entry,
  type FileLock,
  type FsStatistics,
  type Handle,
  type Ino,
  type KernelCache,
  type LockFamily,
  type Maybe,
  type Vfs,
} from '../vfs/vfs.js';
import { access, getAttributes, setAttributes } from './attributes.js';
import { Barrier } from './barrier.js';
import { DEFAULT_BOUNDS, type Bounds } from './bounds.js';
import { attributesOf } from './changes.js';
import { read, write } from './content.js';
import { allocate, resize, seek } from './content-size.js';
import { FsCore } from './core.js';
import { readDirectory } from './directories.js';
import { FileLocks } from './file-locks.js';
import { Handles, type OpenFile } from './handles.js';
import {
  createFile,
  link,
  lookup,
  makeDirectory,
  makeNode,
  readLink,
  removeDirectory,
  symlink,
  unlink,
} from './namespace.js';
import { Newcomers } from './newcomers.js';
import type { Operation } from './operation.js';
import { Orphans } from './orphans.js';
import { R_OK, W_OK, requireAccess, withoutSetIds } from './permissions.js';
import type { RecoveryDemon } from './recovery.js';
import { rename } from './rename.js';
import { Revoker } from './revoke.js';
import { WriteBack } from './write-back.js';
import { getXattr, listXattr, removeXattr, setXattr } from './xattrs.js';

export interface FileServerOptions {
  /** Opened with the clerk's token; the server closes it. */
  readonly disk: VirtualDisk;
  /** Opened with `recovery: true` and the demon's `onRecovery`; the server closes it. */
  readonly clerk: Clerk;
  /** The lock table of this file system, opened by the clerk. */
  readonly table: LockTable;
  /** The one whose `onRecovery` the clerk was opened with. */
  readonly recovery?: RecoveryDemon;
  readonly bounds?: Partial<Bounds>;
}

/** As status tools show it. */
export interface FileServerStatus {
  readonly token: number;
  readonly slot: number;
  /** Share of the log that waits for blocks to be put in place. */
  readonly logFill: number;
  readonly dirtyBytes: number;
  readonly cachedBytes: number;
  readonly inodes: number;
  readonly handles: number;
  readonly locks: number;
  readonly orphans: number;
  readonly leaseLeftMs: number;
}

const COPY_BYTES = 1024 * 1024;
const DRAIN_MS = 2000;
const CLOSE_ROUNDS_MAX = 20;

/**
 * Opens a file server on a disk that has a file system. Rejects with NOT_FOUND (mkfs is missing), WRONG_CLUSTER (another
 * version), CORRUPTION, CONFIG (the clerk has no log slot), LEASE_LOST, NO_QUORUM.
 *
 * ```ts
 * const recovery = new RecoveryDemon(world);
 * const { onRecovery } = recovery;
 * const clerk = await openClerk({ servers, cluster, kind: 'files/default', recovery: true, onRecovery, table: 'default' });
 * const disk = await openDisk(..., { token: clerk.token });
 * const server = await openFileServer(world, { disk, clerk, table: clerk.table('default'), recovery });
 * ```
 */
export async function openFileServer(
  world: World,
  options: FileServerOptions,
): Promise<FileServer> {
  const { disk, clerk, table, recovery } = options;
  if (clerk.slot < 0)
    throw new FsError('EINVAL', 'the clerk has no log slot: open it with recovery');
  const takeClocks = (count: number): number => {
    const first = clerk.core.clock + 1;
    clerk.core.clock += count;
    return first;
  };
  const raiseClock = (to: number): void => {
    clerk.core.clock = Math.max(clerk.core.clock, to);
  };
  const opened: { server?: FileServer } = {};
  recovery?.attach({
    disk,
    takeClocks,
    raiseClock,
    takeOrphans: async (slot) => opened.server?.takeOrphans(slot),
  });
  const { segmentsMax } = await readSuperblock(disk);
  const slot = await table.acquire(slotLock(clerk.slot), 'exclusive');
  const bounds = { ...DEFAULT_BOUNDS, ...options.bounds };
  const core = new FsCore(world, disk, clerk, table, bounds, segmentsMax);
  const server = new FileServer(core, slot);
  core.log = await openLog({
    disk,
    slot: clerk.slot,
    takeClocks,
    onPressure: () => server.soon(),
  });
  await server.start();
  opened.server = server;
  for (const dead of recovery?.slots ?? []) await server.takeOrphans(dead);
  return server;
}

export class FileServer implements Vfs {
  readonly core: FsCore;
  readonly #slot: LockHandle;
  readonly #writeBack: WriteBack;
  readonly #handles: Handles;
  readonly #locks: FileLocks;
  readonly #orphans: Orphans;
  readonly #barrier: Barrier;
  readonly #newcomers: Newcomers;
  #flushTimer: Timer | undefined = undefined;
  #writeTimer: Timer | undefined = undefined;
  #soon = false;
  #closing: Promise<void> | undefined = undefined;
  #disk: { bytesUsed: number; bytesFree: number } = { bytesUsed: 0, bytesFree: 0 };

  /** Made by `openFileServer`. */
  constructor(core: FsCore, slot: LockHandle) {
    this.core = core;
    this.#slot = slot;
    this.#writeBack = new WriteBack(core);
    this.#orphans = new Orphans(core, core.clerk.slot);
    this.#newcomers = new Newcomers(core);
    this.#handles = new Handles(core, this.#orphans);
    this.#locks = new FileLocks(core);
    this.#barrier = new Barrier(core, this.#writeBack);
    const revoker = new Revoker(core, this.#writeBack, this.#newcomers);
    revoker.onBarrier = () => this.#barrier.flushed();
    core.table.onRevoke = (locks, deadlineMs) => revoker.revoke(locks, deadlineMs);
    core.attach({ orphans: this.#orphans, newcomers: this.#newcomers, writeBack: this.#writeBack });
    core.onDead = (error) => this.#dead(error);
    core.clerk.lost.addEventListener('abort', () => {
      if (this.#closing === undefined) core.die(new FsError('EIO', 'the lease is lost'));
    });
  }

  /** For `openFileServer`. */
  async start(): Promise<void> {
    const { core } = this;
    await this.#barrier.enter();
    await this.#orphans.takeOver(this.#orphans.list);
    this.#disk = await core.disk.statistics();
    this.#flushLater();
    this.#writeLater();
  }

  /** What a dead server had on its list of orphans: ours from now on. */
  async takeOrphans(slot: number): Promise<void> {
    const { core } = this;
    if (slot === core.clerk.slot) return;
    const handle = await core.table.acquire(slotLock(slot), 'exclusive');
    try {
      await this.#orphans.takeOver(new OrphanList(slot));
      await core.log.flush();
      await this.#writeBack.owner(0);
      const first = ORPHANS_REGISTER + slot * ORPHAN_REGISTERS;
      for (let i = 0; i < ORPHAN_REGISTERS; i++) {
        const block = core.cache.peek(Region.params, first + i);
        if (block !== undefined && !block.dirty) core.cache.drop(block);
      }
    } finally {
      handle.release();
    }
  }

  get status(): FileServerStatus {
    const { core } = this;
    const { cache, chunks } = core;
    return {
      token: core.clerk.token,
      slot: core.clerk.slot,
      logFill: core.log.fill,
      dirtyBytes: cache.dirtyBytes + chunks.dirtyBytes,
      cachedBytes: cache.bytes + chunks.bytes,
      inodes: core.inodes.size,
      handles: this.#handles.count,
      locks: core.clerk.stats.locks,
      orphans: this.#orphans.count,
      leaseLeftMs: core.clerk.leaseLeftMs(),
    };
  }

  attachKernel(cache: KernelCache): void {
    this.core.kernel = cache;
  }

  // Names and attributes ------------------------------------------------------------------------

  lookup(parent: Ino, name: Uint8Array, caller: Caller): Maybe<Entry> {
    return this.core.run((op) => lookup(op, parent, name, caller));
  }

  getAttributes(ino: Ino, _handle?: Handle): Maybe<Entry> {
    return this.core.run((op) => getAttributes(op, ino));
  }

  setAttributes(
    ino: Ino,
    changes: AttributeChanges,
    caller: Caller,
    handle?: Handle,
  ): Maybe<Entry> {
    if (handle !== undefined && changes.size !== undefined) {
      if ((this.#handles.get(handle).flags & OpenFlag.write) === 0) throw new FsError('EINVAL');
    }
    return this.core.run((op) => setAttributes(op, ino, changes, caller, handle !== undefined));
  }

  access(ino: Ino, mask: number, caller: Caller): Maybe<void> {
    return this.core.run((op) => access(op, ino, mask, caller));
  }

  readLink(ino: Ino): Maybe<Uint8Array> {
    return this.core.run((op) => readLink(op, ino));
  }

  makeNode(
    parent: Ino,
    name: Uint8Array,
    mode: number,
    rdev: number,
    caller: Caller,
  ): Maybe<Entry> {
    return this.core.run((op) => makeNode(op, parent, name, mode, rdev, caller));
  }

  makeDirectory(parent: Ino, name: Uint8Array, mode: number, caller: Caller): Maybe<Entry> {
    return this.core.run((op) => makeDirectory(op, parent, name, mode, caller));
  }

  symlink(parent: Ino, name: Uint8Array, target: Uint8Array, caller: Caller): Maybe<Entry> {
    return this.core.run((op) => symlink(op, parent, name, target, caller));
  }

  link(ino: Ino, parent: Ino, name: Uint8Array, caller: Caller): Maybe<Entry> {
    return this.core.run((op) => link(op, ino, parent, name, caller));
  }

  unlink(parent: Ino, name: Uint8Array, caller: Caller): Maybe<void> {
    return this.core.run((op) => unlink(op, parent, name, caller));
  }

  removeDirectory(parent: Ino, name: Uint8Array, caller: Caller): Maybe<void> {
    return this.core.run((op) => removeDirectory(op, parent, name, caller));
  }

  rename(
    parent: Ino,
    name: Uint8Array,
    newParent: Ino,
    newName: Uint8Array,
    flags: number,
    caller: Caller,
  ): Maybe<void> {
    return this.core.run((op) => rename(op, parent, name, newParent, newName, flags, caller));
  }

  // Files ---------------------------------------------------------------------------------------

  open(ino: Ino, flags: number, caller: Caller): Maybe<Handle> {
    return this.core.run((op) => this.#open(op, ino, flags, caller, true));
  }

  #open(op: Operation, ino: Ino, flags: number, caller: Caller, check: boolean): Handle {
    const { core } = this;
    const writes = (flags & OpenFlag.write) !== 0;
    op.lock(ino, writes || (flags & OpenFlag.truncate) !== 0);
    const header = core.header(ino);
    const attributes = attributesOf(core, header);
    const type = attributes.mode & S_IFMT;
    if (type === S_IFLNK) throw new FsError('ELOOP');
    if (type === S_IFDIR && (writes || (flags & OpenFlag.truncate) !== 0))
      throw new FsError('EISDIR');
    if (check) {
      let mask = (flags & OpenFlag.read) !== 0 ? R_OK : 0;
      if (writes || (flags & OpenFlag.truncate) !== 0) mask |= W_OK;
      requireAccess(attributes, mask, caller);
    }
    const state = core.inodes.get(ino);
    if (state.life === undefined && state.lifePending === undefined) op.lockId(ino, 'open');
    if (check && type === S_IFREG && (flags & OpenFlag.truncate) !== 0) {
      const mode = caller.uid === 0 ? attributes.mode : withoutSetIds(attributes.mode);
      resize(op, header, 0, { mode });
    }
    return this.#handles.open(op, ino, flags, type === S_IFDIR);
  }

  create(
    parent: Ino,
    name: Uint8Array,
    mode: number,
    flags: number,
    caller: Caller,
  ): Maybe<{ entry: Entry; handle: Handle }> {
    // An inode made in an attempt that has to wait afterwards is not made again.
    let made: Ino | undefined;
    return this.core.run((op) => {
      const exclusive = (flags & OpenFlag.exclusive) !== 0;
      let ino = made;
      if (ino === undefined) {
        const found = createFile(op, parent, name, mode, exclusive, caller);
        ino = found.ino;
        if (found.isNew) made = ino;
      }
      const handle = this.#open(op, ino, flags, caller, made === undefined);
      return { entry: this.core.entry(ino), handle };
    });
  }

  read(handle: Handle, offset: number, length: number): Maybe<Uint8Array> {
    const { ino } = this.#handles.readable(handle);
    if (offset < 0 || length < 0) throw new FsError('EINVAL');
    return this.core.run((op) => read(op, ino, offset, length));
  }

  write(handle: Handle, offset: number, data: Uint8Array, caller: Caller): Maybe<number> {
    const file = this.#handles.writable(handle);
    const append = (file.flags & OpenFlag.append) !== 0;
    const written = this.core.run((op) => {
      write(op, file.ino, offset, data, append, caller);
      return data.length;
    });
    if ((file.flags & (OpenFlag.sync | OpenFlag.dataSync)) === 0) return written;
    if (written instanceof Promise) {
      return written.then(async (count) => {
        await this.#sync(file);
        return count;
      });
    }
    const synced = this.#sync(file);
    return synced instanceof Promise ? synced.then(() => written) : written;
  }

  flush(handle: Handle, owner: string): Maybe<void> {
    const file = this.#handles.get(handle);
    const released = this.#locks.flush(file, owner);
    this.#tell(file.ino);
    return released;
  }

  fsync(handle: Handle, _dataOnly: boolean): Maybe<void> {
    return this.#sync(this.#handles.get(handle));
  }

  #sync({ ino }: OpenFile): Maybe<void> {
    const { core } = this;
    if (core.dead !== undefined) throw core.dead;
    const state = core.inodes.peek(ino);
    if (state?.content?.busy === true || state?.hasOverlay === true) return this.#syncContent(ino);
    this.#tell(ino);
    return this.#flushLog();
  }

  #flushLog(): Maybe<void> {
    const { core } = this;
    const flushed = core.log.flush();
    if (flushed === undefined) return undefined;
    return flushed.then(
      () => core.segments.release(core.log.durable),
      (error: unknown) => {
        throw core.errorOf(this.#writeBack.failed(error));
      },
    );
  }

  async #syncContent(ino: Ino): Promise<void> {
    const state = this.core.inodes.get(ino);
    await this.#writeBack.forSync(state);
    if (this.core.dead !== undefined) throw this.core.dead;
    await this.#flushLog();
    this.#tell(ino);
  }

  /** An error of write-back is told once, to whoever asks first. */
  #tell(ino: Ino): void {
    const state = this.core.inodes.peek(ino);
    const error = state?.error;
    if (state === undefined || error === undefined) return;
    state.error = undefined;
    throw error;
  }

  release(handle: Handle): Maybe<void> {
    const file = this.#handles.get(handle);
    this.#handles.close(file);
    return this.core.dead === undefined ? this.#locks.close(file) : undefined;
  }

  allocate(handle: Handle, mode: number, offset: number, length: number): Maybe<void> {
    const { ino } = this.#handles.writable(handle);
    return this.core.run((op) => allocate(op, ino, mode, offset, length));
  }

  seek(handle: Handle, offset: number, what: 'data' | 'hole'): Maybe<number> {
    const { ino } = this.#handles.file(handle);
    return this.core.run((op) => seek(op, ino, offset, what));
  }

  async copyRange(
    from: Handle,
    fromOffset: number,
    to: Handle,
    toOffset: number,
    length: number,
    caller: Caller,
  ): Promise<number> {
    const source = this.#handles.readable(from);
    const target = this.#handles.writable(to);
    if ((target.flags & OpenFlag.append) !== 0) throw new FsError('EBADF');
    if (fromOffset < 0 || toOffset < 0 || length < 0) throw new FsError('EINVAL');
    const overlaps = fromOffset < toOffset + length && toOffset < fromOffset + length;
    if (source.ino === target.ino && overlaps) throw new FsError('EINVAL');
    let done = 0;
    while (done < length) {
      const count = Math.min(COPY_BYTES, length - done);
      const at = done;
      const bytes = await this.core.run((op) =>
        read(op, source.ino, fromOffset + at, count).slice(),
      );
      if (bytes.length === 0) break;
      await this.core.run((op) => write(op, target.ino, toOffset + at, bytes, false, caller));
      done += bytes.length;
    }
    return done;
  }

  // Directories ---------------------------------------------------------------------------------

  openDirectory(ino: Ino, caller: Caller): Maybe<Handle> {
    return this.core.run((op) => {
      op.lock(ino, false);
      const header = this.core.header(ino);
      if ((modeOf(header) & S_IFMT) !== S_IFDIR) throw new FsError('ENOTDIR');
      requireAccess(attributesOf(this.core, header), R_OK, caller);
      return this.#handles.open(op, ino, OpenFlag.read, true);
    });
  }

  readDirectory(
    handle: Handle,
    cookie: number,
    bytesMax: number,
    withAttributes: boolean,
  ): Maybe<readonly DirectoryEntry[]> {
    const { ino } = this.#handles.directory(handle);
    return this.core.run((op) => readDirectory(op, ino, cookie, bytesMax, withAttributes));
  }

  // The rest ------------------------------------------------------------------------------------

  statistics(): Maybe<FsStatistics> {
    const { core } = this;
    if (core.dead !== undefined) throw core.dead;
    const { segmentsMax } = core.segments;
    const limit = segmentsMax * SEGMENT_DATA;
    const { bytesUsed, bytesFree } = this.#disk;
    const blocks = Math.min(limit, Math.floor((bytesUsed + bytesFree) / REGISTER_BYTES));
    const used = Math.min(blocks, Math.ceil(bytesUsed / REGISTER_BYTES));
    const files = segmentsMax * SEGMENT_INODES;
    void this.#refresh();
    return {
      blockBytes: REGISTER_BYTES,
      blocks,
      blocksFree: blocks - used,
      blocksAvailable: blocks - used,
      files,
      filesFree: files - 1,
      nameBytesMax: NAME_BYTES_MAX,
    };
  }

  async #refresh(): Promise<void> {
    try {
      this.#disk = await this.core.disk.statistics();
    } catch (error) {
      this.core.world.log.debug('no figures of the disk', { error: String(error) });
    }
  }

  getXattr(ino: Ino, name: Uint8Array, caller: Caller): Maybe<Uint8Array> {
    return this.core.run((op) => getXattr(op, ino, name, caller));
  }

  setXattr(
    ino: Ino,
    name: Uint8Array,
    value: Uint8Array,
    flags: number,
    caller: Caller,
  ): Maybe<void> {
    return this.core.run((op) => setXattr(op, ino, name, value, flags, caller));
  }

  listXattr(ino: Ino, caller: Caller): Maybe<readonly Uint8Array[]> {
    return this.core.run((op) => listXattr(op, ino, caller));
  }

  removeXattr(ino: Ino, name: Uint8Array, caller: Caller): Maybe<void> {
    return this.core.run((op) => removeXattr(op, ino, name, caller));
  }

  testLock(handle: Handle, owner: string, lock: FileLock): Maybe<FileLock | undefined> {
    return this.#locks.test(this.#handles.get(handle), owner, lock);
  }

  setLock(
    handle: Handle,
    family: LockFamily,
    owner: string,
    lock: FileLock,
    wait: boolean,
    signal?: AbortSignal,
  ): Maybe<void> {
    return this.#locks.set(this.#handles.get(handle), family, owner, lock, wait, signal);
  }

  async sync(): Promise<void> {
    const { core } = this;
    if (core.dead !== undefined) throw core.dead;
    await this.#writeBack.files();
    await this.#flushLog();
  }

  /** A consistent snapshot of the whole file system: every server has written back and waits meanwhile (rule 15). */
  snapshot(name: string): Promise<number> {
    const { core } = this;
    return this.#barrier.alone(() => core.disk.snapshot(name));
  }

  close(): Promise<void> {
    this.#closing ??= this.#close();
    return this.#closing;
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.close();
  }

  // Within --------------------------------------------------------------------------------------

  /** A round of write-back as soon as this turn is over. */
  soon(): void {
    if (this.#soon || this.core.dead !== undefined) return;
    this.#soon = true;
    this.core.world.timers.turn(() => {
      this.#soon = false;
      void this.#write();
    });
  }

  #flushLater(): void {
    const { core } = this;
    this.#flushTimer = core.world.timers.after(core.bounds.flushEveryMs, () => {
      if (core.dead !== undefined) return;
      const flushed = core.log.flush();
      flushed?.then(
        () => core.segments.release(core.log.durable),
        (error: unknown) => this.#writeBack.failed(error),
      );
      this.#flushLater();
    });
  }

  #writeLater(): void {
    const { core } = this;
    this.#writeTimer = core.world.timers.after(core.bounds.writeBackEveryMs, () => {
      void this.#write().finally(() => {
        if (core.dead === undefined && this.#closing === undefined) this.#writeLater();
      });
    });
  }

  async #write(): Promise<void> {
    const { core } = this;
    try {
      await this.#writeBack.round();
    } catch (error) {
      this.#writeBack.failed(error);
      core.world.log.warn('write-back failed', { error: String(error) });
    }
    core.cache.trim();
    core.chunks.trim();
  }

  /** Rule 1. */
  #dead(error: FsError): void {
    const { core } = this;
    this.#flushTimer?.cancel();
    this.#writeTimer?.cancel();
    core.kernel?.abort(error.message);
    for (const state of core.inodes.values()) {
      state.forget();
      state.life = undefined;
    }
    core.cache.clear();
    core.inodes.clear();
    core.segments.clear();
    core.touched.clear();
    core.world.log.warn('file server is over', { error: error.message });
    // Nothing may live on under this token's locks.
    if (this.#closing === undefined) void core.clerk.close();
  }

  async #close(): Promise<void> {
    const { core } = this;
    this.#flushTimer?.cancel();
    this.#writeTimer?.cancel();
    if (core.dead === undefined) {
      for (const file of this.#handles) this.#handles.close(file);
      await this.#orphans.drain(DRAIN_MS);
      await this.#newcomers.settle();
      for (let round = 0; round < CLOSE_ROUNDS_MAX && core.dead === undefined; round++) {
        await this.#writeBack.round();
        if (core.cache.dirty.size === 0 && core.touched.size === 0) break;
      }
      core.dead ??= new FsError('EIO', 'this file server is closed');
      core.log.trim(core.log.end);
      await core.log.close();
      this.#barrier.release();
      this.#slot.release();
    }
    await core.clerk.close();
    await core.disk.close();
  }
}
