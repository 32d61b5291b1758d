/** Links: counts, hard and symbolic ones, unlink and rmdir, files without a name. */
import { codeOf, O, S, SYMLINK_BYTES_MAX, writeFile } from '../posix-fs.js';
import type { Case } from '../trial.js';

export const linkCases: readonly Case[] = [
  {
    name: 'links: counts of a file',
    run: async (t) => {
      await writeFile(t.fs, t.path('f'), 'x');
      await t.nlink(t.path('f'), 1, 'new');
      for (let i = 0; i < 20; i++) {
        await t.works(t.fs.link(t.path('f'), t.path(`l${i}`)), `link ${i}`);
        await t.nlink(t.path('f'), i + 2, `after link ${i}`);
        t.is(
          (await t.fs.stat(t.path(`l${i}`))).ino,
          (await t.fs.stat(t.path('f'))).ino,
          `inode of link ${i}`,
        );
      }
      await writeFile(t.fs, t.path('l7'), 'through the link');
      await t.content(t.path('f'), 'through the link', 'written through a link');
      await t.fs.chmod(t.path('l3'), 0o600);
      await t.mode(t.path('f'), 0o600, 'chmod through a link');
      for (let i = 0; i < 20; i++) {
        await t.works(t.fs.unlink(t.path(`l${i}`)), `unlink ${i}`);
        await t.nlink(t.path('f'), 20 - i, `after unlink ${i}`);
      }
    },
  },
  {
    name: 'links: what may be linked',
    run: async (t) => {
      await t.fs.mkdir(t.path('d'), 0o755);
      await t.fails('EPERM', t.fs.link(t.path('d'), t.path('x')), 'a directory');
      await t.absent(t.path('x'), 'nothing was made');
      await t.fs.symlink('nowhere', t.path('s'));
      await t.works(t.fs.link(t.path('s'), t.path('s2')), 'a symbolic link, itself');
      await t.type(t.path('s2'), S.IFLNK, 'type of a link to a symbolic link');
      await t.nlink(t.path('s'), 2, 'links of the symbolic link');
      if (t.can('nodes')) {
        await t.fs.mknod(t.path('p'), S.IFIFO | 0o644, 0);
        await t.works(t.fs.link(t.path('p'), t.path('p2')), 'a fifo');
        await t.nlink(t.path('p2'), 2, 'links of the fifo');
      }
      await writeFile(t.fs, t.path('f'));
      await t.works(t.fs.link(t.path('f'), t.path('d/f')), 'into another directory');
      await t.fails('EEXIST', t.fs.link(t.path('f'), t.path('d/f')), 'over a link of itself');
      await t.fails('EEXIST', t.fs.link(t.path('f'), t.path('f')), 'over itself');
      await t.fails('EEXIST', t.fs.link(t.path('f'), t.path('d')), 'over a directory');
    },
  },
  {
    name: 'links: counts of directories',
    run: async (t) => {
      await t.nlink(t.dir, 2, 'an empty directory');
      for (let i = 0; i < 12; i++) {
        await t.fs.mkdir(t.path(`d${i}`), 0o755);
        await t.nlink(t.dir, 3 + i, `with ${i + 1} directories`);
        await t.nlink(t.path(`d${i}`), 2, `links of directory ${i}`);
      }
      await writeFile(t.fs, t.path('f'));
      await t.nlink(t.dir, 14, 'files do not count');
      await t.fs.rename(t.path('d0'), t.path('d1/d0'));
      await t.nlink(t.dir, 13, 'one moved away');
      await t.nlink(t.path('d1'), 3, 'and came here');
      await t.fs.rename(t.path('d2'), t.path('d3'));
      await t.nlink(t.dir, 12, 'one replaced by another');
      await t.fails('ENOTEMPTY', t.fs.rmdir(t.path('d1')), 'rmdir of one that is not empty');
      await t.nlink(t.dir, 12, 'nothing happened');
      await t.fs.rmdir(t.path('d1/d0'));
      await t.fs.rmdir(t.path('d1'));
      await t.nlink(t.dir, 11, 'one removed');
    },
  },
  {
    name: 'links: unlink and rmdir of every type',
    run: async (t) => {
      await writeFile(t.fs, t.path('f'));
      await t.fs.mkdir(t.path('d'), 0o755);
      await t.fs.mkdir(t.path('full'), 0o755);
      await writeFile(t.fs, t.path('full/x'));
      await t.fs.symlink('d', t.path('s'));
      await t.fs.symlink('nowhere', t.path('dangling'));
      await t.fails('EISDIR', t.fs.unlink(t.path('d')), 'unlink of a directory');
      await t.fails('ENOTDIR', t.fs.rmdir(t.path('f')), 'rmdir of a file');
      await t.fails('ENOTDIR', t.fs.rmdir(t.path('s')), 'rmdir of a link to a directory');
      await t.fails('ENOTEMPTY', t.fs.rmdir(t.path('full')), 'rmdir of a full directory');
      await t.works(t.fs.unlink(t.path('s')), 'unlink of a link');
      await t.exists(t.path('d'), 'its target stays');
      await t.works(t.fs.unlink(t.path('dangling')), 'unlink of a dangling link');
      await t.works(t.fs.unlink(t.path('f')), 'unlink of a file');
      await t.absent(t.path('f'), 'the file');
      await t.fails('ENOENT', t.fs.unlink(t.path('f')), 'unlink again');
      await t.works(t.fs.rmdir(t.path('d')), 'rmdir');
      await t.absent(t.path('d'), 'the directory');
      await t.fails('ENOENT', t.fs.rmdir(t.path('d')), 'rmdir again');
      await t.fs.unlink(t.path('full/x'));
      await t.works(t.fs.rmdir(t.path('full')), 'rmdir of one that became empty');
      if (t.can('nodes')) {
        await t.fs.mknod(t.path('p'), S.IFIFO | 0o644, 0);
        await t.fails('ENOTDIR', t.fs.rmdir(t.path('p')), 'rmdir of a fifo');
        await t.works(t.fs.unlink(t.path('p')), 'unlink of a fifo');
      }
    },
  },
  {
    name: 'links: a file without a name',
    run: async (t) => {
      await writeFile(t.fs, t.path('f'), 'content');
      const file = await t.fs.open(t.path('f'), O.RDWR);
      const ino = (await file.stat()).ino;
      await t.fs.unlink(t.path('f'));
      await t.absent(t.path('f'), 'its name');
      const stat = await file.stat();
      t.is(stat.nlink, 0, 'links');
      t.is(stat.ino, ino, 'inode');
      t.is(stat.size, 7, 'size');
      t.is((await file.read(0, 20)).toString(), 'content', 'read');
      await t.works(file.write(100_000, Buffer.from('far')), 'write far');
      t.is((await file.read(100_000, 3)).toString(), 'far', 'read far');
      await t.works(file.truncate(3), 'truncate');
      t.is((await file.read(0, 20)).toString(), 'con', 'read again');
      await t.works(file.chmod(0o600), 'fchmod');
      t.is((await file.stat()).mode & 0o7777, 0o600, 'mode');
      await t.works(file.sync(false), 'fsync');
      await writeFile(t.fs, t.path('f'), 'another');
      t.ok((await t.fs.stat(t.path('f'))).ino !== ino, 'a new file of that name is another inode');
      t.is((await file.read(0, 20)).toString(), 'con', 'the old one is not touched');
      await file.close();
      await t.content(t.path('f'), 'another', 'nor is the new one');
    },
  },
  {
    name: 'links: a directory without a name',
    run: async (t) => {
      await t.fs.mkdir(t.path('d'), 0o755);
      const directory = await t.fs.open(t.path('d'), O.RDONLY);
      await t.fs.rmdir(t.path('d'));
      t.is((await directory.stat()).nlink, 0, 'links');
      if (t.can('readEntries')) {
        const entries = await directory.readEntries(4096).catch((error: unknown) => codeOf(error));
        t.ok(entries === 'ENOENT' || entries.length === 0, 'it has no entries');
      }
      await directory.close();
      await t.absent(t.path('d'), 'its name');
    },
  },
  {
    name: 'links: symbolic links',
    run: async (t) => {
      for (const target of [
        'x',
        '/',
        '..',
        '/absolute/path',
        'a/b/c',
        'with space',
        'ünïcode-☃',
        'x'.repeat(255),
        'y/'.repeat(100),
      ]) {
        await t.works(t.fs.symlink(target, t.path('s')), `to ${target.slice(0, 20)}`);
        t.is((await t.fs.readlink(t.path('s'))).toString(), target, 'its target');
        const stat = await t.fs.lstat(t.path('s'));
        t.is(stat.size, Buffer.byteLength(target), 'its size');
        t.is(stat.mode & S.IFMT, S.IFLNK, 'its type');
        t.is(stat.mode & 0o777, 0o777, 'its mode');
        await t.fs.unlink(t.path('s'));
      }
      const longest = 'z'.repeat(SYMLINK_BYTES_MAX);
      await t.works(t.fs.symlink(longest, t.path('s')), 'to 4,095 bytes');
      t.is((await t.fs.readlink(t.path('s'))).toString(), longest, 'to 4,095 bytes');
      await t.fails('ENAMETOOLONG', t.fs.stat(t.path('s')), 'following it');
      await t.fails('ENAMETOOLONG', t.fs.symlink(`${longest}z`, t.path('s2')), 'to 4,096 bytes');
      await t.fails('ENOENT', t.fs.symlink('', t.path('s2')), 'to nothing');
      await writeFile(t.fs, t.path('f'));
      await t.fs.mkdir(t.path('d'), 0o755);
      await t.fails('EINVAL', t.fs.readlink(t.path('f')), 'readlink of a file');
      await t.fails('EINVAL', t.fs.readlink(t.path('d')), 'readlink of a directory');
    },
  },
  {
    name: 'links: chains of symbolic links',
    run: async (t) => {
      await writeFile(t.fs, t.path('l0'), 'end');
      for (let i = 1; i <= 41; i++) await t.fs.symlink(`l${i - 1}`, t.path(`l${i}`));
      for (const length of [1, 2, 10, 39, 40]) {
        await t.content(t.path(`l${length}`), 'end', `a chain of ${length}`);
      }
      await t.fails('ELOOP', t.fs.stat(t.path('l41')), 'a chain of 41');
      await t.works(t.fs.lstat(t.path('l41')), 'lstat of a chain of 41');
      await t.fs.mkdir(t.path('a'), 0o755);
      await t.fs.mkdir(t.path('a/b'), 0o755);
      await t.fs.symlink('../a/b', t.path('a/up'));
      await writeFile(t.fs, t.path('a/up/f'), 'below');
      await t.content(t.path('a/b/f'), 'below', 'made through a relative link');
      await t.fs.symlink('up/f', t.path('a/two'));
      await t.content(t.path('a/two'), 'below', 'through a link on the way of a link');
      await t.fs.unlink(t.path('a/two'));
      await t.content(t.path('a/b/f'), 'below', 'unlink does not follow');
      await t.fs.rename(t.path('a/up'), t.path('up'));
      await t.fails(
        'ENOENT',
        t.fs.stat(t.path('up/f')),
        'a relative link means another place after a move',
      );
    },
  },
  {
    name: 'links: writing through symbolic links',
    run: async (t) => {
      await writeFile(t.fs, t.path('f'), 'x');
      await t.fs.symlink('f', t.path('s'));
      await writeFile(t.fs, t.path('s'), 'written');
      await t.content(t.path('f'), 'written', 'the target');
      await t.fs.truncate(t.path('s'), 3);
      await t.size(t.path('f'), 3, 'truncate follows');
      await t.fs.chmod(t.path('s'), 0o640);
      await t.mode(t.path('f'), 0o640, 'chmod follows');
      await t.type(t.path('s'), S.IFLNK, 'the link is a link still');
      await t.fs.rename(t.path('s'), t.path('s2'));
      await t.exists(t.path('f'), 'rename does not follow');
      await writeFile(t.fs, t.path('g'), 'g');
      await t.fs.rename(t.path('g'), t.path('s2'));
      await t.type(t.path('s2'), S.IFREG, 'rename over a link replaces the link');
      await t.content(t.path('f'), 'wri', 'and not its target');
    },
  },
];
