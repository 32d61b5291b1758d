/**
 * A simulated disk. It outlives the processes that use it: each process's life sees it through a
 * `SimDiskView`, and `powerCut()` between two lives throws away what was not synced.
 *
 * | what                                  | survives a power cut                                           |
 * |---------------------------------------|----------------------------------------------------------------|
 * | bytes written, file synced after      | always                                                         |
 * | bytes written, not synced             | sector by sector, by seed (sim-file.ts)                        |
 * | name made, renamed, removed, folder synced after | always                                              |
 * | the same, folder not synced           | a prefix of each folder's operations, by seed                  |
 *
 * Syncing a file does not make its name durable: that needs `syncFolder`, and the folder's own name
 * needs the sync of its parent. A rename between folders is one operation of both.
 *
 * Faults, set in `faults` at any time: see `DiskFaults`; `rot` flips bits of synced data; `lose` takes
 * a folder away.
 */
import { SextantError } from '../../errors.js';
import { SimInode } from './sim-file.js';
import type { SimRandom } from './random.js';

export interface DiskFaults {
  /** Bytes that files may hold together; DISK_FULL above. */
  quotaBytes: number;
  /** Probability that a sync fails with DISK_FAILED. */
  syncFails: number;
  /** Probability that a read or write fails with DISK_FAILED. */
  ioFails: number;
  /** The disk says that it has synced and has not. */
  lies: boolean;
  /** At a power cut: probability that an unsynced sector, or folder operation, is kept; -1 draws one per cut. */
  keepUnsynced: number;
  /** Virtual milliseconds that a sync takes: uniform in [min, max]. The process stands still meanwhile. */
  syncMinMs: number;
  syncMaxMs: number;
  /** Virtual milliseconds for each MiB read or written. */
  msPerMiB: number;
}

type NameChange =
  | { readonly kind: 'link'; readonly path: string; readonly inode: SimInode }
  | { readonly kind: 'rename'; readonly from: string; readonly path: string }
  | { readonly kind: 'folder'; readonly path: string }
  | { readonly kind: 'remove'; readonly path: string };

/** `a//b/./c/` and `/a/b/c` name one file. */
export function normalPath(path: string): string {
  const parts: string[] = [];
  for (const part of path.split('/')) {
    if (part === '..') parts.pop();
    else if (part !== '' && part !== '.') parts.push(part);
  }
  return parts.join('/');
}

function parentOf(path: string): string {
  const slash = path.lastIndexOf('/');
  return slash < 0 ? '' : path.slice(0, slash);
}

function isUnder(path: string, folder: string): boolean {
  return folder === '' || path === folder || path.startsWith(`${folder}/`);
}

/** One state of the tree: paths to files; folders are their own set. The root '' always is. */
class Names {
  files = new Map<string, SimInode>();
  folders = new Set<string>(['']);

  apply(change: NameChange): void {
    switch (change.kind) {
      case 'link':
        if (this.folders.has(parentOf(change.path))) this.files.set(change.path, change.inode);
        return;
      case 'folder':
        if (this.folders.has(parentOf(change.path))) this.folders.add(change.path);
        return;
      case 'remove':
        this.remove(change.path);
        return;
      case 'rename':
        this.#rename(change.from, change.path);
    }
  }

  remove(path: string): void {
    for (const file of this.files.keys()) if (isUnder(file, path)) this.files.delete(file);
    for (const folder of this.folders) {
      if (folder !== '' && isUnder(folder, path)) this.folders.delete(folder);
    }
  }

  #rename(from: string, to: string): void {
    if (!this.folders.has(parentOf(to))) return;
    const files = [...this.files].filter(([file]) => isUnder(file, from));
    const folders = [...this.folders].filter((folder) => folder !== '' && isUnder(folder, from));
    if (files.length === 0 && folders.length === 0) return;
    this.remove(to);
    this.remove(from);
    for (const folder of folders) this.folders.add(to + folder.slice(from.length));
    for (const [file, inode] of files) this.files.set(to + file.slice(from.length), inode);
  }
}

export class SimDisk {
  readonly faults: DiskFaults;
  readonly random: SimRandom;
  /** Who holds which folder's lock. */
  readonly locks = new Map<string, { pid: number }>();
  syncCount = 0;
  #now = new Names();
  #durable = new Names();
  #pending: NameChange[] = [];

  constructor(random: SimRandom, faults: Partial<DiskFaults> = {}) {
    this.random = random;
    this.faults = {
      quotaBytes: 2 ** 40,
      syncFails: 0,
      ioFails: 0,
      lies: false,
      keepUnsynced: -1,
      syncMinMs: 0.05,
      syncMaxMs: 0.2,
      msPerMiB: 0.5,
      ...faults,
    };
  }

  get usedBytes(): number {
    let bytes = 0;
    for (const inode of this.#now.files.values()) bytes += inode.size;
    return bytes;
  }

  file(path: string): SimInode | undefined {
    return this.#now.files.get(path);
  }

  folderExists(path: string): boolean {
    return this.#now.folders.has(path);
  }

  create(path: string): SimInode {
    if (!this.folderExists(parentOf(path))) {
      throw new SextantError('NOT_FOUND', `no folder for ${path}`);
    }
    const inode = new SimInode();
    this.#change({ kind: 'link', path, inode });
    return inode;
  }

  makeFolder(path: string): void {
    if (this.folderExists(path)) return;
    this.makeFolder(parentOf(path));
    this.#change({ kind: 'folder', path });
  }

  rename(from: string, to: string): void {
    this.#mustExist(from);
    if (!this.folderExists(parentOf(to))) {
      throw new SextantError('NOT_FOUND', `no folder for ${to}`);
    }
    if (from !== to) this.#change({ kind: 'rename', from, path: to });
  }

  remove(path: string): void {
    this.#mustExist(path);
    this.#change({ kind: 'remove', path });
  }

  list(folder: string): string[] {
    const names: string[] = [];
    const prefix = folder === '' ? '' : `${folder}/`;
    const take = (path: string): void => {
      if (path !== '' && path.startsWith(prefix) && !path.slice(prefix.length).includes('/')) {
        names.push(path.slice(prefix.length));
      }
    };
    for (const path of this.#now.files.keys()) take(path);
    for (const path of this.#now.folders) if (path !== folder) take(path);
    return names.toSorted();
  }

  /** Makes the folder's pending operations durable, and those of other folders that came before and share one. */
  syncFolder(folder: string): void {
    this.#mustExist(folder);
    const needed = new Set([folder]);
    const taken = new Set<NameChange>();
    for (let i = this.#pending.length - 1; i >= 0; i--) {
      const folders = foldersOf(this.#pending[i]);
      if (!folders.some((one) => needed.has(one))) continue;
      for (const one of folders) needed.add(one);
      taken.add(this.#pending[i]);
    }
    for (const change of this.#pending) if (taken.has(change)) this.#durable.apply(change);
    this.#pending = this.#pending.filter((change) => !taken.has(change));
  }

  /** The machine lost power: nothing unsynced is sure to be there. No process may be using the disk. */
  powerCut(): void {
    const { random } = this;
    const keep =
      this.faults.keepUnsynced >= 0 ? this.faults.keepUnsynced : [0, 0.5, 0.9, 1][random.below(4)];
    const cut = new Set<string>();
    for (const change of this.#pending) {
      const folders = foldersOf(change);
      const lost = folders.some((folder) => cut.has(folder)) || !random.chance(keep);
      if (lost) for (const folder of folders) cut.add(folder);
      else this.#durable.apply(change);
    }
    this.#pending = [];
    this.#now = new Names();
    this.#now.files = new Map(this.#durable.files);
    this.#now.folders = new Set(this.#durable.folders);
    for (const inode of new Set(this.#now.files.values())) inode.powerCut(random, keep);
    this.locks.clear();
  }

  /** Flips one random bit of one random file under `folder`; says where, or undefined when all are empty. */
  rot(folder: string): { path: string; bit: number } | undefined {
    const under = normalPath(folder);
    const files = [...this.#now.files].filter(
      ([path, inode]) => isUnder(path, under) && inode.size > 0,
    );
    if (files.length === 0) return undefined;
    const [path, inode] = files[this.random.below(files.length)];
    const bit = this.random.below(inode.size * 8);
    inode.flipBit(bit);
    return { path, bit };
  }

  /** Flips one given bit of a file. */
  flipBit(path: string, bit: number): void {
    const inode = this.#now.files.get(normalPath(path));
    if (inode === undefined || bit >= inode.size * 8) {
      throw new SextantError('NOT_FOUND', `no such bit in ${path}`);
    }
    inode.flipBit(bit);
  }

  /** The folder and all in it are gone for good, as when a disk is replaced. */
  lose(folder: string): void {
    const path = normalPath(folder);
    this.#now.remove(path);
    this.#durable.remove(path);
    this.#pending = this.#pending.filter((change) => !isUnder(change.path, path));
    if (path === '') this.locks.clear();
    else this.locks.delete(path);
  }

  #change(change: NameChange): void {
    this.#now.apply(change);
    this.#pending.push(change);
  }

  #mustExist(path: string): void {
    if (!this.#now.files.has(path) && !this.#now.folders.has(path)) {
      throw new SextantError('NOT_FOUND', `${path} does not exist`);
    }
  }
}

function foldersOf(change: NameChange): string[] {
  const parent = parentOf(change.path);
  if (change.kind === 'rename') return [parentOf(change.from), parent];
  return [parent];
}
