/** open: flags against what is there, modes of what is made, what an open file may do. */
import { O, readFile, S, writeFile } from '../posix-fs.js';
import { ALICE, type Case, type Trial } from '../trial.js';

type Target = 'nothing' | 'file' | 'directory' | 'link' | 'link-to-directory' | 'dangling';
const TARGETS: readonly Target[] = [
  'nothing',
  'file',
  'directory',
  'link',
  'link-to-directory',
  'dangling',
];

/** Flags -> what happens on each target: an errno, or 'opened', 'made', 'cut' (opened, and size 0 now). */
const OPENS: readonly (readonly [string, number, Record<Target, string>])[] = [
  [
    'O_RDONLY',
    O.RDONLY,
    {
      nothing: 'ENOENT',
      file: 'opened',
      directory: 'opened',
      link: 'opened',
      'link-to-directory': 'opened',
      dangling: 'ENOENT',
    },
  ],
  [
    'O_WRONLY',
    O.WRONLY,
    {
      nothing: 'ENOENT',
      file: 'opened',
      directory: 'EISDIR',
      link: 'opened',
      'link-to-directory': 'EISDIR',
      dangling: 'ENOENT',
    },
  ],
  [
    'O_RDWR',
    O.RDWR,
    {
      nothing: 'ENOENT',
      file: 'opened',
      directory: 'EISDIR',
      link: 'opened',
      'link-to-directory': 'EISDIR',
      dangling: 'ENOENT',
    },
  ],
  [
    'O_WRONLY|O_TRUNC',
    O.WRONLY | O.TRUNC,
    {
      nothing: 'ENOENT',
      file: 'cut',
      directory: 'EISDIR',
      link: 'cut',
      'link-to-directory': 'EISDIR',
      dangling: 'ENOENT',
    },
  ],
  [
    'O_WRONLY|O_APPEND',
    O.WRONLY | O.APPEND,
    {
      nothing: 'ENOENT',
      file: 'opened',
      directory: 'EISDIR',
      link: 'opened',
      'link-to-directory': 'EISDIR',
      dangling: 'ENOENT',
    },
  ],
  [
    'O_WRONLY|O_CREAT',
    O.WRONLY | O.CREAT,
    {
      nothing: 'made',
      file: 'opened',
      directory: 'EISDIR',
      link: 'opened',
      'link-to-directory': 'EISDIR',
      dangling: 'made',
    },
  ],
  [
    'O_RDONLY|O_CREAT',
    O.RDONLY | O.CREAT,
    {
      nothing: 'made',
      file: 'opened',
      directory: 'EISDIR',
      link: 'opened',
      'link-to-directory': 'EISDIR',
      dangling: 'made',
    },
  ],
  [
    'O_RDWR|O_CREAT|O_TRUNC',
    O.RDWR | O.CREAT | O.TRUNC,
    {
      nothing: 'made',
      file: 'cut',
      directory: 'EISDIR',
      link: 'cut',
      'link-to-directory': 'EISDIR',
      dangling: 'made',
    },
  ],
  [
    'O_WRONLY|O_CREAT|O_EXCL',
    O.WRONLY | O.CREAT | O.EXCL,
    {
      nothing: 'made',
      file: 'EEXIST',
      directory: 'EEXIST',
      link: 'EEXIST',
      'link-to-directory': 'EEXIST',
      dangling: 'EEXIST',
    },
  ],
  [
    'O_RDWR|O_CREAT|O_EXCL|O_TRUNC',
    O.RDWR | O.CREAT | O.EXCL | O.TRUNC,
    {
      nothing: 'made',
      file: 'EEXIST',
      directory: 'EEXIST',
      link: 'EEXIST',
      'link-to-directory': 'EEXIST',
      dangling: 'EEXIST',
    },
  ],
  [
    'O_RDONLY|O_DIRECTORY',
    O.RDONLY | O.DIRECTORY,
    {
      nothing: 'ENOENT',
      file: 'ENOTDIR',
      directory: 'opened',
      link: 'ENOTDIR',
      'link-to-directory': 'opened',
      dangling: 'ENOENT',
    },
  ],
  [
    'O_RDONLY|O_NOFOLLOW',
    O.RDONLY | O.NOFOLLOW,
    {
      nothing: 'ENOENT',
      file: 'opened',
      directory: 'opened',
      link: 'ELOOP',
      'link-to-directory': 'ELOOP',
      dangling: 'ELOOP',
    },
  ],
  [
    'O_WRONLY|O_CREAT|O_NOFOLLOW',
    O.WRONLY | O.CREAT | O.NOFOLLOW,
    {
      nothing: 'made',
      file: 'opened',
      directory: 'EISDIR',
      link: 'ELOOP',
      'link-to-directory': 'ELOOP',
      dangling: 'ELOOP',
    },
  ],
];

async function prepare(t: Trial): Promise<void> {
  await writeFile(t.fs, t.path('file'), 'file');
  await writeFile(t.fs, t.path('linked'), 'linked');
  await t.fs.mkdir(t.path('directory'), 0o755);
  await t.fs.symlink('linked', t.path('link'));
  await t.fs.symlink('directory', t.path('link-to-directory'));
  await t.fs.symlink('target', t.path('dangling'));
}

async function openCase(t: Trial, flags: number, target: Target, expected: string): Promise<void> {
  const path = t.path(target);
  const real = t.path(target === 'dangling' ? 'target' : target === 'link' ? 'linked' : target);
  if (expected.startsWith('E')) {
    await t.fails(expected, () => t.fs.open(path, flags, 0o640), `of ${target}`);
    if (target === 'file') await t.content(real, 'file', 'the file is as it was');
    if (target === 'nothing' || target === 'dangling') await t.absent(real, 'nothing was made');
    return;
  }
  const file = await t.works(t.fs.open(path, flags, 0o640), `of ${target}`);
  await file?.close();
  if (expected === 'made') {
    await t.mode(real, 0o640, `mode of what was made at ${target}`);
    await t.size(real, 0, `size of what was made at ${target}`);
  } else if (expected === 'cut') await t.size(real, 0, `size of ${target}`);
  else if (target === 'file' || target === 'link') {
    await t.content(real, real.endsWith('linked') ? 'linked' : 'file', `content of ${target}`);
  }
}

export const openCases: readonly Case[] = [
  ...OPENS.map(([name, flags, table]): Case => ({
    name: `open: ${name}`,
    run: async (t) => {
      await prepare(t);
      for (const target of TARGETS) await openCase(t, flags, target, table[target]);
    },
  })),
  {
    name: 'open: the mode of what is made',
    run: async (t) => {
      for (const mode of [0, 0o1, 0o644, 0o600, 0o755, 0o777, 0o4755, 0o2711, 0o1777, 0o7777]) {
        const name = t.path(`f${mode.toString(8)}`);
        await (await t.fs.open(name, O.WRONLY | O.CREAT, mode)).close();
        await t.mode(name, mode, `create with mode ${mode.toString(8)}`);
      }
      for (const mode of [0o700, 0o755, 0o777, 0o1777]) {
        const name = t.path(`d${mode.toString(8)}`);
        await t.fs.mkdir(name, mode);
        await t.mode(name, mode, `mkdir with mode ${mode.toString(8)}`);
      }
    },
  },
  {
    name: 'open: umask',
    needs: ['umask'],
    run: async (t) => {
      for (const mask of [0o000, 0o022, 0o027, 0o077, 0o777]) {
        const name = mask.toString(8);
        await t.fs.umask(mask);
        try {
          await (await t.fs.open(t.path(`f${name}`), O.WRONLY | O.CREAT, 0o666)).close();
          await t.fs.mkdir(t.path(`d${name}`), 0o777);
          if (t.can('nodes')) await t.fs.mknod(t.path(`p${name}`), S.IFIFO | 0o666, 0);
        } finally {
          await t.fs.umask(0);
        }
        await t.mode(t.path(`f${name}`), 0o666 & ~mask, `file under umask ${name}`);
        await t.mode(t.path(`d${name}`), 0o777 & ~mask, `directory under umask ${name}`);
        if (t.can('nodes'))
          await t.mode(t.path(`p${name}`), 0o666 & ~mask, `fifo under umask ${name}`);
        await t.fs.chmod(t.path(`d${name}`), 0o700);
      }
    },
  },
  {
    name: 'open: the mode of a new file does not bind its maker',
    needs: ['users'],
    run: async (t) => {
      await t.fs.chmod(t.dir, 0o777);
      const alice = t.fs.as(ALICE);
      const file = await t.works(
        alice.open(t.path('f'), O.RDWR | O.CREAT, 0o000),
        'create with mode 0',
      );
      if (file !== undefined) {
        await t.works(file.write(0, Buffer.from('x')), 'write to it');
        t.is((await file.read(0, 1)).toString(), 'x', 'read from it');
        await file.close();
      }
      await t.fails('EACCES', alice.open(t.path('f'), O.RDONLY), 'open it again');
    },
  },
  {
    name: 'open: what an open file may do',
    run: async (t) => {
      await writeFile(t.fs, t.path('f'), 'abc');
      const reader = await t.fs.open(t.path('f'), O.RDONLY);
      await t.fails('EBADF', reader.write(0, Buffer.from('x')), 'write to a file opened to read');
      await t.fails(['EINVAL', 'EBADF'], reader.truncate(0), 'truncate of a file opened to read');
      await reader.close();
      const writer = await t.fs.open(t.path('f'), O.WRONLY);
      await t.fails('EBADF', writer.read(0, 1), 'read of a file opened to write');
      await writer.close();
      await t.content(t.path('f'), 'abc', 'nothing happened');
      await t.fs.mkdir(t.path('d'), 0o755);
      const directory = await t.fs.open(t.path('d'), O.RDONLY);
      await t.fails('EISDIR', directory.read(0, 1), 'read of a directory');
      await t.works(directory.sync(false), 'fsync of a directory');
      t.is((await directory.stat()).mode & S.IFMT, S.IFDIR, 'fstat of a directory');
      await directory.close();
    },
  },
  {
    name: 'open: one of many exclusive creates wins',
    run: async (t) => {
      for (let round = 0; round < 5; round++) {
        const name = t.path(`race-${round}`);
        const results = await Promise.allSettled(
          Array.from({ length: 8 }, () => t.fs.open(name, O.WRONLY | O.CREAT | O.EXCL, 0o644)),
        );
        let won = 0;
        for (const result of results) {
          if (result.status === 'fulfilled') {
            won += 1;
            await result.value.close();
          } else await t.fails('EEXIST', Promise.reject(result.reason), 'a loser');
        }
        t.is(won, 1, 'winners');
      }
    },
  },
  {
    name: 'open: exclusive creates of several processes',
    needs: ['processes'],
    run: async (t) => {
      const others = await Promise.all([t.fs.process(), t.fs.process(), t.fs.process()]);
      for (let round = 0; round < 10; round++) {
        const results = await Promise.allSettled(
          others.map((fs) => fs.open(t.path(`r${round}`), O.WRONLY | O.CREAT | O.EXCL, 0o644)),
        );
        t.is(results.filter((result) => result.status === 'fulfilled').length, 1, 'winners');
      }
      for (const fs of others) await fs.close();
    },
  },
  {
    name: 'open: O_TRUNC of a file that others have open',
    run: async (t) => {
      await writeFile(t.fs, t.path('f'), 'a'.repeat(10_000));
      const reader = await t.fs.open(t.path('f'), O.RDONLY);
      await writeFile(t.fs, t.path('f'), 'new');
      t.is((await reader.read(0, 100)).toString(), 'new', 'the reader sees the new content');
      t.is((await reader.stat()).size, 3, 'and the new size');
      await reader.close();
    },
  },
  {
    name: 'open: O_SYNC, O_DSYNC',
    run: async (t) => {
      for (const [name, flag] of [
        ['sync', O.SYNC],
        ['dsync', O.DSYNC],
      ] as const) {
        const file = await t.fs.open(t.path(name), O.RDWR | O.CREAT | flag, 0o644);
        await t.works(file.write(0, Buffer.from('through')), `write with ${name}`);
        await t.works(file.sync(true), `fdatasync with ${name}`);
        await t.works(file.sync(false), `fsync with ${name}`);
        await file.close();
        t.is((await readFile(t.fs, t.path(name))).toString(), 'through', `content with ${name}`);
      }
    },
  },
  {
    name: 'open: a file of every type cannot be made by creat',
    run: async (t) => {
      await (await t.fs.open(t.path('f'), O.CREAT | O.WRONLY, 0o644)).close();
      const stat = await t.fs.stat(t.path('f'));
      t.is(stat.mode & S.IFMT, S.IFREG, 'type');
      t.is(stat.nlink, 1, 'links');
      t.is(stat.uid, t.fs.user.uid, 'owner');
      t.is(stat.gid, t.fs.user.gid, 'group');
      t.is(stat.blocks, 0, 'blocks of an empty file');
    },
  },
];
