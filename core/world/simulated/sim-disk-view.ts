/**
 * A process's handle on its disk, for one life of the process. Costs are charged to the process's time;
 * a handle that outlives its process refuses to do anything.
 */
import { SextantError } from '../../errors.js';
import type { Disk, DiskFile } from '../world.js';
import { normalPath, type SimDisk } from './sim-disk.js';
import type { SimInode } from './sim-file.js';

/** The process, as its disk sees it. */
export interface DiskUser {
  readonly pid: number;
  readonly alive: boolean;
  /** The process stands still for that much longer. */
  charge(ms: number): void;
  /** A chance for a planned crash, before or after a sync takes effect. May throw. */
  syncing(moment: 'before' | 'after'): void;
}

const MIB = 1024 * 1024;

export class SimDiskView implements Disk {
  readonly disk: SimDisk;
  readonly user: DiskUser;

  constructor(disk: SimDisk, user: DiskUser) {
    this.disk = disk;
    this.user = user;
  }

  open(path: string, options?: { create?: boolean; exclusive?: boolean }): DiskFile {
    this.check();
    const normal = normalPath(path);
    let inode = this.disk.file(normal);
    if (inode === undefined) {
      if (this.disk.folderExists(normal)) {
        throw new SextantError('DISK_FAILED', `${path} is a folder`);
      }
      if (options?.create !== true) throw new SextantError('NOT_FOUND', `${path} does not exist`);
      inode = this.disk.create(normal);
    } else if (options?.create === true && options.exclusive === true) {
      throw new SextantError('DISK_FAILED', `${path} exists`);
    }
    return new SimFile(path, inode, this);
  }

  exists(path: string): boolean {
    this.check();
    const normal = normalPath(path);
    return this.disk.file(normal) !== undefined || this.disk.folderExists(normal);
  }

  list(folder: string): string[] {
    this.check();
    return this.disk.list(normalPath(folder));
  }

  makeFolder(folder: string): void {
    this.check();
    this.disk.makeFolder(normalPath(folder));
  }

  rename(from: string, to: string): void {
    this.check();
    this.disk.rename(normalPath(from), normalPath(to));
  }

  remove(path: string): void {
    this.check();
    this.disk.remove(normalPath(path));
  }

  syncFolder(folder: string): void {
    if (this.beginSync(folder)) this.disk.syncFolder(normalPath(folder));
    this.user.syncing('after');
  }

  lockFolder(folder: string): { release(): void } {
    this.check();
    const normal = normalPath(folder);
    if (!this.disk.folderExists(normal)) throw new SextantError('NOT_FOUND', `no folder ${folder}`);
    const holder = this.disk.locks.get(normal);
    if (holder !== undefined) {
      throw new SextantError('FOLDER_LOCKED', `${folder} is in use by process ${holder.pid}`);
    }
    const mine = { pid: this.user.pid };
    this.disk.locks.set(normal, mine);
    return {
      release: () => {
        if (this.disk.locks.get(normal) === mine) this.disk.locks.delete(normal);
      },
    };
  }

  freeBytes(): number {
    this.check();
    return Math.max(0, this.disk.faults.quotaBytes - this.disk.usedBytes);
  }

  check(): void {
    if (!this.user.alive) throw new SextantError('CLOSED', 'this process is dead');
  }

  transfer(path: string, bytes: number): void {
    this.check();
    const { faults, random } = this.disk;
    this.user.charge((bytes / MIB) * faults.msPerMiB);
    if (random.chance(faults.ioFails)) throw new SextantError('DISK_FAILED', `${path}: I/O error`);
  }

  /** Charges a sync and plays its faults; false: the disk only says that it did it. */
  beginSync(path: string, inode?: SimInode): boolean {
    this.check();
    this.user.syncing('before');
    const { faults, random } = this.disk;
    this.disk.syncCount++;
    const { syncMinMs, syncMaxMs } = faults;
    this.user.charge(syncMinMs + (syncMaxMs - syncMinMs) * random.unit());
    if (random.chance(faults.syncFails)) {
      inode?.failSync();
      throw new SextantError('DISK_FAILED', `sync of ${path} failed`);
    }
    return !faults.lies;
  }
}

class SimFile implements DiskFile {
  readonly path: string;
  readonly #inode: SimInode;
  readonly #view: SimDiskView;
  #closed = false;

  constructor(path: string, inode: SimInode, view: SimDiskView) {
    this.path = path;
    this.#inode = inode;
    this.#view = view;
  }

  size(): number {
    this.#check();
    return this.#inode.size;
  }

  read(target: Uint8Array, offset: number, length: number, position: number): number {
    this.#check();
    this.#view.transfer(this.path, length);
    return this.#inode.read(target, offset, length, position);
  }

  write(source: Uint8Array, offset: number, length: number, position: number): void {
    this.#check();
    const growth = position + length - this.#inode.size;
    this.#roomFor(growth);
    this.#view.transfer(this.path, length);
    if (length > 0) this.#inode.write(source, offset, length, position);
  }

  sync(): void {
    this.#check();
    if (this.#view.beginSync(this.path, this.#inode)) this.#inode.sync();
    this.#view.user.syncing('after');
  }

  truncate(size: number): void {
    this.#check();
    this.#inode.truncate(size);
  }

  close(): void {
    this.#closed = true;
  }

  #check(): void {
    this.#view.check();
    if (this.#closed) throw new SextantError('DISK_FAILED', `${this.path} is closed`);
  }

  #roomFor(growth: number): void {
    const { disk } = this.#view;
    // Summing up all files costs something: only where a quota is set.
    if (growth <= 0 || disk.faults.quotaBytes >= 2 ** 40) return;
    if (disk.usedBytes + growth > disk.faults.quotaBytes) {
      throw new SextantError('DISK_FULL', `no room for ${growth} bytes in ${this.path}`);
    }
  }
}
