/** Directories: names of any bytes, many entries, listing while they change. */
import { below, type DirectoryItem, type File, O, S, writeFile } from '../posix-fs.js';
import { type Case, type Trial } from '../trial.js';

const NAMES: readonly (readonly [string, Uint8Array])[] = [
  ['a space', Buffer.from(' ')],
  ['spaces around', Buffer.from(' a ')],
  ['a newline', Buffer.from('a\nb')],
  ['three dots', Buffer.from('...')],
  ['a dot in front', Buffer.from('.hidden')],
  ['a dash', Buffer.from('-rf')],
  ['a backslash', Buffer.from('a\\b')],
  ['quotes', Buffer.from('\'"`')],
  ['a tilde', Buffer.from('~')],
  ['an asterisk', Buffer.from('*')],
  ['a colon', Buffer.from('C:')],
  ['a percent sign', Buffer.from('%2f')],
  ['combining letters', Buffer.from('e\u0301')],
  ['the composed letter', Buffer.from('\u00e9')],
  ['a snowman', Buffer.from('☃')],
  ['four-byte letters', Buffer.from('😀'.repeat(63))],
  ['upper case', Buffer.from('NAME')],
  ['lower case', Buffer.from('name')],
  ['255 bytes', Buffer.alloc(255, 'n')],
  ['254 bytes', Buffer.alloc(254, 'n')],
];
const RAW_NAMES: readonly (readonly [string, Uint8Array])[] = [
  ['byte 1', Buffer.from([1])],
  ['byte 127', Buffer.from([127])],
  ['byte 255', Buffer.from([255])],
  ['half a letter', Buffer.from([0xc3])],
  ['an overlong slash', Buffer.from([0xc0, 0xaf])],
  ['a lone surrogate', Buffer.from([0xed, 0xa0, 0x80])],
  ['two names that read alike when not UTF-8', Buffer.from([0x61, 0xfe])],
  ['and the other', Buffer.from([0x61, 0xfd])],
  ['255 bytes of 255', Buffer.alloc(255, 255)],
];

function hexOf(name: Uint8Array): string {
  return Buffer.from(name).toString('hex');
}

async function nameCase(
  t: Trial,
  names: readonly (readonly [string, Uint8Array])[],
): Promise<void> {
  for (const [what, name] of names) {
    const path = below(t.dir, name);
    await t.works(writeFile(t.fs, path, what), `create of ${what}`);
    await t.content(path, what, `content of ${what}`);
  }
  const listed = (await t.fs.readdir(t.dir)).map((item) => hexOf(item.name)).sort();
  t.is(listed, names.map(([, name]) => hexOf(name)).sort(), 'the names as they were given');
  for (const [what, name] of names) {
    const path = below(t.dir, name);
    await t.fails('EEXIST', t.fs.mkdir(path, 0o755), `mkdir of ${what} that is there`);
    await t.works(t.fs.rename(path, t.path('moved')), `rename of ${what}`);
    await t.works(t.fs.symlink(name, path), `symlink to and at ${what}`);
    t.is<Uint8Array>(await t.fs.readlink(path), Buffer.from(name), `target ${what}`);
    await t.works(t.fs.unlink(path), `unlink of ${what}`);
    await t.works(t.fs.mkdir(path, 0o755), `mkdir of ${what}`);
    await t.works(t.fs.rmdir(path), `rmdir of ${what}`);
    await t.absent(path, `${what} at the end`);
  }
}

async function listAll(
  directory: File,
  bytes: number,
  between?: (part: number) => Promise<void>,
): Promise<DirectoryItem[]> {
  const items: DirectoryItem[] = [];
  for (let part = 0; ; part++) {
    const some = await directory.readEntries(bytes);
    if (some.length === 0) return items;
    items.push(...some);
    await between?.(part);
  }
}

function name(index: number): string {
  return `entry-${String(index).padStart(6, '0')}`;
}

async function fill(t: Trial, count: number): Promise<void> {
  for (let index = 0; index < count; index += 50) {
    const batch = Array.from({ length: Math.min(50, count - index) }, (_, i) => i + index);
    await Promise.all(batch.map((i) => writeFile(t.fs, t.path(name(i)))));
  }
}

export const directoryCases: readonly Case[] = [
  { name: 'directories: names', run: (t) => nameCase(t, NAMES) },
  { name: 'directories: names of any bytes', needs: ['bytes'], run: (t) => nameCase(t, RAW_NAMES) },
  {
    name: 'directories: long names',
    run: async (t) => {
      for (const bytes of [1, 100, 254, 255]) {
        await t.works(t.fs.mkdir(t.path('x'.repeat(bytes)), 0o755), `${bytes} bytes`);
      }
      for (const bytes of [256, 300, 1000]) {
        await t.fails(
          'ENAMETOOLONG',
          t.fs.mkdir(t.path('x'.repeat(bytes)), 0o755),
          `${bytes} bytes`,
        );
      }
      // 86 letters of 3 bytes each: 258 bytes, though fewer than 255 letters.
      await t.fails(
        'ENAMETOOLONG',
        t.fs.mkdir(t.path('☃'.repeat(86)), 0o755),
        '258 bytes in 86 letters',
      );
      await t.works(t.fs.mkdir(t.path('☃'.repeat(85)), 0o755), '255 bytes in 85 letters');
    },
  },
  {
    name: 'directories: types of entries',
    run: async (t) => {
      await writeFile(t.fs, t.path('file'));
      await t.fs.mkdir(t.path('directory'), 0o755);
      await t.fs.symlink('file', t.path('link'));
      const kinds: Record<string, number> = { file: S.IFREG, directory: S.IFDIR, link: S.IFLNK };
      if (t.can('nodes')) {
        for (const [kind, type] of [
          ['fifo', S.IFIFO],
          ['socket', S.IFSOCK],
          ['character', S.IFCHR],
          ['block', S.IFBLK],
        ] as const) {
          await t.fs.mknod(
            t.path(kind),
            type | 0o644,
            type === S.IFCHR || type === S.IFBLK ? 0x0103 : 0,
          );
          kinds[kind] = type;
        }
      }
      const items = await t.fs.readdir(t.dir);
      t.is(items.length, Object.keys(kinds).length, 'count');
      for (const item of items) {
        const kind = item.name.toString();
        t.is(item.type, kinds[kind] as number, `type of ${kind}`);
        const stat = await t.fs.lstat(t.path(kind));
        if (item.ino !== 0) t.is(item.ino, stat.ino, `inode of ${kind}`);
        t.is(stat.mode & S.IFMT, kinds[kind] as number, `lstat of ${kind}`);
      }
    },
  },
  {
    name: 'directories: dot and dot-dot are listed',
    needs: ['readEntries'],
    run: async (t) => {
      await t.fs.mkdir(t.path('d'), 0o755);
      const directory = await t.fs.open(t.path('d'), O.RDONLY | O.DIRECTORY);
      const items = await listAll(directory, 4096);
      t.is(items.map((item) => item.name.toString()).sort(), ['.', '..'], 'an empty directory');
      for (const item of items) t.is(item.type, S.IFDIR, `type of ${item.name.toString()}`);
      t.is(
        items.find((item) => item.name.toString() === '.')?.ino,
        (await t.fs.stat(t.path('d'))).ino,
        'inode of .',
      );
      await directory.close();
    },
  },
  {
    name: 'directories: many entries',
    run: async (t) => {
      await fill(t, 2500);
      const found = (await t.fs.readdir(t.dir)).map((item) => item.name.toString()).sort();
      t.is(found.length, 2500, 'count');
      t.ok(
        found.every((item, index) => item === name(index)),
        'each of them once',
      );
      for (const index of [0, 1, 999, 2499]) await t.exists(t.path(name(index)), `entry ${index}`);
      await t.absent(t.path(name(2500)), 'one that is not there');
      await t.fails('ENOTEMPTY', t.fs.rmdir(t.dir), 'rmdir');
      for (let index = 0; index < 2500; index += 2) await t.fs.unlink(t.path(name(index)));
      const left = (await t.fs.readdir(t.dir)).map((item) => item.name.toString()).sort();
      t.is(left.length, 1250, 'count after every other went');
      t.ok(
        left.every((item, index) => item === name(2 * index + 1)),
        'the right ones stay',
      );
      t.ok((await t.fs.stat(t.dir)).size >= 0, 'size of a large directory');
    },
  },
  ...[512, 4096, 32_768].map((bytes): Case => ({
    name: `directories: listed in parts of ${bytes} bytes`,
    needs: ['readEntries'],
    run: async (t) => {
      await fill(t, 400);
      const directory = await t.fs.open(t.dir, O.RDONLY | O.DIRECTORY);
      const names = (await listAll(directory, bytes)).map((item) => item.name.toString());
      t.is(names.length, 402, 'count with . and ..');
      t.is(new Set(names).size, 402, 'each once');
      await directory.close();
    },
  })),
  {
    name: 'directories: listing while entries come and go',
    needs: ['readEntries'],
    run: async (t) => {
      await fill(t, 600);
      const removed = new Set<string>();
      let next = 10_000;
      const directory = await t.fs.open(t.dir, O.RDONLY | O.DIRECTORY);
      const names = (
        await listAll(directory, 1024, async (part) => {
          // New entries may come behind all others: without an end to them the listing has none.
          if (part >= 40) return;
          for (let i = 0; i < 8; i++) {
            const gone = name((part * 8 + i) * 3);
            if ((part * 8 + i) * 3 < 600 && !removed.has(gone)) {
              await t.fs.unlink(t.path(gone));
              removed.add(gone);
            }
            await writeFile(t.fs, t.path(name(next++)));
          }
        })
      ).map((item) => item.name.toString());
      const seen = new Map<string, number>();
      for (const one of names) seen.set(one, (seen.get(one) ?? 0) + 1);
      let missing = 0;
      for (let index = 0; index < 600; index++) {
        if (!removed.has(name(index)) && seen.get(name(index)) !== 1) missing += 1;
      }
      t.is(missing, 0, 'entries that stay and were not seen exactly once');
      t.is([...seen.values()].filter((count) => count > 1).length, 0, 'entries seen twice');
      await directory.close();
    },
  },
  {
    name: 'directories: renames during a listing',
    needs: ['readEntries'],
    run: async (t) => {
      await fill(t, 300);
      const directory = await t.fs.open(t.dir, O.RDONLY | O.DIRECTORY);
      const names = (
        await listAll(directory, 1024, async (part) => {
          if (part < 30) await t.fs.rename(t.path(name(part)), t.path(`renamed-${part}`));
        })
      ).map((item) => item.name.toString());
      let missing = 0;
      for (let index = 30; index < 300; index++) {
        if (names.filter((one) => one === name(index)).length !== 1) missing += 1;
      }
      t.is(missing, 0, 'entries that stay and were not seen exactly once');
      await directory.close();
    },
  },
  {
    name: 'directories: a listing that removes what it sees',
    needs: ['readEntries'],
    run: async (t) => {
      await fill(t, 500);
      const directory = await t.fs.open(t.dir, O.RDONLY | O.DIRECTORY);
      for (;;) {
        const some = await directory.readEntries(1024);
        if (some.length === 0) break;
        for (const item of some) {
          if (!/^\.\.?$/.test(item.name.toString()))
            await t.fs.unlink(t.path(item.name.toString()));
        }
      }
      await directory.close();
      t.is((await t.fs.readdir(t.dir)).length, 0, 'nothing is left');
    },
  },
  {
    name: 'directories: deep ones',
    run: async (t) => {
      let path = t.dir;
      for (let depth = 0; depth < 60; depth++) {
        path = `${path}/d`;
        await t.fs.mkdir(path, 0o755);
      }
      await writeFile(t.fs, `${path}/f`, 'deep');
      await t.content(`${path}/f`, 'deep', 'at depth 60');
      const up = `${path}${'/..'.repeat(60)}`;
      t.is((await t.fs.stat(up)).ino, (await t.fs.stat(t.dir)).ino, '60 times ..');
      await t.works(t.fs.rename(t.path('d/d'), t.path('e')), 'a deep tree is moved');
      await t.content(`${t.dir}/e${'/d'.repeat(58)}/f`, 'deep', 'after the move');
    },
  },
  {
    name: 'directories: opening them',
    run: async (t) => {
      await writeFile(t.fs, t.path('f'));
      await t.fails('ENOTDIR', t.fs.readdir(t.path('f')), 'readdir of a file');
      await t.fails('EISDIR', t.fs.truncate(t.dir, 0), 'truncate of a directory');
      const directory = await t.fs.open(t.dir, O.RDONLY);
      await t.fails(
        ['EBADF', 'EISDIR'],
        directory.write(0, Buffer.from('x')),
        'write to a directory',
      );
      await t.fails(
        ['EINVAL', 'EBADF', 'EISDIR'],
        directory.truncate(0),
        'ftruncate of a directory',
      );
      await directory.close();
    },
  },
  {
    name: 'directories: the same name made by many',
    run: async (t) => {
      for (let round = 0; round < 5; round++) {
        const results = await Promise.allSettled(
          Array.from({ length: 6 }, () => t.fs.mkdir(t.path(`d${round}`), 0o755)),
        );
        t.is(results.filter((result) => result.status === 'fulfilled').length, 1, 'one mkdir wins');
      }
      t.is((await t.fs.readdir(t.dir)).length, 5, 'each name is there once');
      await t.nlink(t.dir, 7, 'links');
    },
  },
];
