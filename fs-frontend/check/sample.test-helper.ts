/** A file system with one of everything, on a disk in memory, for tests of check. */
import { MemoryDiskStore } from '../disk/memory-disk.test-helper.js';
import { insertEntry } from '../format/directory.js';
import { insertExtent } from '../format/extents.js';
import {
  S_IFDIR,
  S_IFIFO,
  S_IFLNK,
  S_IFREG,
  changeInode,
  getInode,
  initInode,
  nlinkOf,
} from '../format/inode.js';
import { leaveSmall, writeSmall } from '../format/small-content.js';
import { setXattr } from '../format/xattrs.js';
import { DiskBlocks } from './disk-blocks.js';
import { makeFileSystem } from './mkfs.js';

export const bytesOf = (text: string): Uint8Array => new Uint8Array(Buffer.from(text, 'latin1'));

export class Sample {
  readonly store = new MemoryDiskStore();
  readonly blocks: DiskBlocks;
  /** Path -> inode. */
  readonly inodes = new Map<string, number>([['', 1]]);
  clock = 0;

  takeClocks = (count: number): number => (this.clock += count) - count + 1;
  raiseClock = (to: number): void => {
    this.clock = Math.max(this.clock, to);
  };

  constructor() {
    this.blocks = new DiskBlocks(this.store.open(5), this.takeClocks);
  }

  static async make(): Promise<Sample> {
    const sample = new Sample();
    const { blocks } = sample;
    const options = { diskId: new Uint8Array(16).fill(3), nowMs: 1e12, seed: 99 };
    await makeFileSystem(blocks.disk, { ...options, takeClocks: sample.takeClocks });
    blocks.segment(0);
    await sample.fill();
    await blocks.writeBack();
    return sample;
  }

  private async fill(): Promise<void> {
    const { blocks } = this;
    const { tx } = blocks;
    await this.add('/small', S_IFREG | 0o644);
    await blocks.change(() => {
      writeSmall(tx, this.header('/small'), 0, bytesOf('x'.repeat(3000)), 0, 3000);
      setXattr(tx, this.header('/small'), bytesOf('user.a'), bytesOf('value'), 0);
    });
    await this.add('/link', S_IFLNK | 0o777);
    await blocks.change(() => writeSmall(tx, this.header('/link'), 0, bytesOf('small'), 0, 5));
    await this.add('/pipe', S_IFIFO | 0o600);
    await this.add('/sub', S_IFDIR | 0o755);
    await this.add('/sub/dir', S_IFDIR | 0o755);
    await this.add('/sub/dir/deep', S_IFREG | 0o600);
    await this.add('/sub/extents', S_IFREG | 0o600);
    await this.extents('/sub/extents', 5);
    await this.add('/sub/tree', S_IFREG | 0o600);
    await this.extents('/sub/tree', 400);
    await blocks.change(() => {
      const value = bytesOf('long'.repeat(3000));
      setXattr(tx, this.header('/sub/tree'), bytesOf('user.b'), value, 0);
    });
    await this.add('/many', S_IFDIR | 0o755);
    for (let i = 0; i < 400; i++) await this.add(`/many/a name ${i}`, S_IFREG | 0o600);
    await blocks.change(() => {
      const header = this.header('/small');
      const sub = this.header('/sub');
      insertEntry(tx, sub, bytesOf('hard'), this.ino('/small'), this.ino('/small') + 100, S_IFREG);
      changeInode(tx, header, { nlink: 2 });
    });
  }

  ino(path: string): number {
    const ino = this.inodes.get(path);
    if (ino === undefined) throw new Error(`no ${path}`);
    return ino;
  }

  header(path: string) {
    return getInode(this.blocks, this.ino(path));
  }

  /** Generation = inode + 100. */
  async add(path: string, mode: number): Promise<void> {
    const { blocks } = this;
    const { tx } = blocks;
    const cut = path.lastIndexOf('/');
    const parent = path.slice(0, cut);
    const isDirectory = (mode & 0o170_000) === S_IFDIR;
    await blocks.change(() => {
      const ino = blocks.allocator.inode(1);
      const up = this.header(parent);
      initInode(tx, ino, {
        generation: ino + 100,
        mode,
        nlink: isDirectory ? 2 : 1,
        uid: 1,
        gid: 2,
        rdev: 0,
        now: { sec: -5, nsec: 6 },
        project: 0,
        parent: isDirectory ? this.ino(parent) : 0,
        seed: isDirectory ? ino * 7919 : 0,
      });
      insertEntry(tx, up, bytesOf(path.slice(cut + 1)), ino, ino + 100, mode);
      if (isDirectory) changeInode(tx, up, { nlink: nlinkOf(up) + 1 });
      this.inodes.set(path, ino);
    });
  }

  async extents(path: string, count: number): Promise<void> {
    const { blocks } = this;
    await blocks.change(() => leaveSmall(blocks.tx, this.header(path)));
    for (let i = 0; i < count; i++) {
      await blocks.change(() => {
        const run = blocks.allocator.data(this.ino(path), 0, 1);
        insertExtent(blocks.tx, this.header(path), i * 3, run.start, 1, i % 2 === 1);
      });
    }
    const size = count * 3 * 4096;
    await blocks.change(() => changeInode(blocks.tx, this.header(path), { size }));
  }

  /** Changes something against the rules, and writes it. */
  async damage(operation: (tx: DiskBlocks['tx']) => void): Promise<void> {
    await this.blocks.change(() => operation(this.blocks.tx));
    await this.blocks.writeBack();
  }
}
