/** Fifos, sockets and device nodes; statfs. */
import { O, S, writeFile } from '../posix-fs.js';
import { ALICE, type Case } from '../trial.js';

export const nodeCases: readonly Case[] = [
  {
    name: 'nodes: made',
    needs: ['nodes'],
    run: async (t) => {
      const nodes = [
        ['fifo', S.IFIFO, 0],
        ['socket', S.IFSOCK, 0],
        ['null', S.IFCHR, 0x0103],
        ['large', S.IFCHR, 0x12345678],
        ['disk', S.IFBLK, 0x0700],
        ['file', S.IFREG, 0],
      ] as const;
      for (const [name, type, rdev] of nodes) {
        await t.works(t.fs.mknod(t.path(name), type | 0o640, rdev), `mknod of ${name}`);
        const stat = await t.fs.lstat(t.path(name));
        t.is(stat.mode & S.IFMT, type, `type of ${name}`);
        t.is(stat.mode & 0o7777, 0o640, `mode of ${name}`);
        t.is(stat.rdev, rdev, `device of ${name}`);
        t.is(stat.nlink, 1, `links of ${name}`);
        t.is(stat.size, 0, `size of ${name}`);
        await t.fails(
          'EEXIST',
          t.fs.mknod(t.path(name), type | 0o640, rdev),
          `mknod of ${name} again`,
        );
        await t.works(t.fs.rename(t.path(name), t.path(`${name}-2`)), `rename of ${name}`);
        await t.works(t.fs.chmod(t.path(`${name}-2`), 0o600), `chmod of ${name}`);
        await t.mode(t.path(`${name}-2`), 0o600, `mode of ${name} after chmod`);
      }
      await t.works(t.fs.mknod(t.path('plain'), 0o640, 0), 'mknod without a type');
      await t.type(t.path('plain'), S.IFREG, 'is a file');
      await t.fails(
        ['EPERM', 'EINVAL'],
        t.fs.mknod(t.path('directory'), S.IFDIR | 0o755, 0),
        'mknod of a directory',
      );
      await t.fails('EINVAL', t.fs.mknod(t.path('link'), S.IFLNK | 0o755, 0), 'mknod of a link');
    },
  },
  {
    name: 'nodes: who may make them',
    needs: ['nodes', 'users'],
    run: async (t) => {
      await t.fs.chmod(t.dir, 0o777);
      const alice = t.fs.as(ALICE);
      await t.works(alice.mknod(t.path('fifo'), S.IFIFO | 0o644, 0), 'anybody makes a fifo');
      await t.works(alice.mknod(t.path('socket'), S.IFSOCK | 0o644, 0), 'anybody makes a socket');
      await t.works(alice.mknod(t.path('file'), S.IFREG | 0o644, 0), 'anybody makes a file');
      await t.fails(
        'EPERM',
        alice.mknod(t.path('null'), S.IFCHR | 0o644, 0x0103),
        'a character device',
      );
      await t.fails(
        'EPERM',
        alice.mknod(t.path('disk'), S.IFBLK | 0o644, 0x0700),
        'a block device',
      );
      t.is((await t.fs.lstat(t.path('fifo'))).uid, ALICE.uid, 'owner of the fifo');
    },
  },
  {
    name: 'nodes: opened',
    needs: ['nodes', 'kernel', 'processes'],
    run: async (t) => {
      await t.fs.mknod(t.path('fifo'), S.IFIFO | 0o644, 0);
      await t.fs.mknod(t.path('socket'), S.IFSOCK | 0o644, 0);
      await t.fails(
        'ENXIO',
        t.fs.open(t.path('fifo'), O.WRONLY | O.NONBLOCK),
        'a fifo nobody reads',
      );
      const reader = await t.works(
        t.fs.open(t.path('fifo'), O.RDONLY | O.NONBLOCK),
        'a fifo to read',
      );
      const writer = await t.works(
        t.fs.open(t.path('fifo'), O.WRONLY | O.NONBLOCK),
        'a fifo somebody reads',
      );
      t.is(((await writer?.stat())?.mode ?? 0) & S.IFMT, S.IFIFO, 'fstat of it');
      if (writer !== undefined)
        await t.fails('ESPIPE', writer.write(0, Buffer.from('x')), 'pwrite to a fifo');
      await writer?.close();
      await reader?.close();
      await t.fails('ENXIO', t.fs.open(t.path('socket'), O.RDONLY), 'a socket');
      await t.fails('EINVAL', t.fs.truncate(t.path('fifo'), 0), 'truncate of a fifo');
      await t.fails(
        'ENOTDIR',
        t.fs.open(t.path('fifo'), O.RDONLY | O.DIRECTORY),
        'a fifo as a directory',
      );
    },
  },
  {
    name: 'nodes: statfs',
    needs: ['statfs'],
    run: async (t) => {
      const before = await t.fs.statfs(t.dir);
      t.ok(before.blockBytes >= 512 && before.blockBytes <= 1 << 20, 'size of a block');
      t.ok(before.blocks > 0, 'blocks');
      t.ok(before.blocksFree <= before.blocks, 'no more free than there are');
      t.ok(before.blocksAvailable <= before.blocksFree, 'no more for users than free');
      t.ok(before.filesFree <= before.files, 'no more free inodes than there are');
      t.ok(before.nameBytesMax === 0 || before.nameBytesMax === 255, 'longest name');
      await writeFile(t.fs, t.path('f'));
      t.is((await t.fs.statfs(t.path('f'))).blocks, before.blocks, 'of a file it is the same');
    },
  },
];
