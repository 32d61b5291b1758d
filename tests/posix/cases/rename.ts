/** rename in all its cases: every type over every type, in one directory and between two, with flags. */
import { O, readFile, RENAME, S, type Stat, writeFile } from '../posix-fs.js';
import { ALICE, BOB, type Case, type Trial } from '../trial.js';

const KINDS = ['file', 'empty', 'full', 'link', 'dangling', 'fifo'] as const;
type Kind = (typeof KINDS)[number];

function isDirectory(kind: Kind): boolean {
  return kind === 'empty' || kind === 'full';
}

async function make(t: Trial, path: string, kind: Kind): Promise<Stat> {
  if (kind === 'file') await writeFile(t.fs, path, `content of ${path}`);
  else if (kind === 'link') {
    await t.fs.symlink('.', path);
  } else if (kind === 'dangling') await t.fs.symlink('nowhere', path);
  else if (kind === 'fifo') await t.fs.mknod(path, S.IFIFO | 0o644, 0);
  else {
    await t.fs.mkdir(path, 0o755);
    if (kind === 'full') await writeFile(t.fs, `${path}/child`, 'child');
  }
  return t.fs.lstat(path);
}

function overErrno(from: Kind, to: Kind): string | undefined {
  if (isDirectory(from) && !isDirectory(to)) return 'ENOTDIR';
  if (!isDirectory(from) && isDirectory(to)) return 'EISDIR';
  if (to === 'full') return 'ENOTEMPTY';
  return undefined;
}

async function overCase(t: Trial, from: Kind, to: Kind, apart: boolean): Promise<void> {
  const where = t.path(`${from}-${to}-${apart}`);
  await t.fs.mkdir(where, 0o755);
  await t.fs.mkdir(`${where}/a`, 0o755);
  await t.fs.mkdir(`${where}/b`, 0o755);
  const source = `${where}/a/x`;
  const target = apart ? `${where}/b/y` : `${where}/a/y`;
  const moved = await make(t, source, from);
  const replaced = await make(t, target, to);
  const expected = overErrno(from, to);
  const label = `${from} over ${to}${apart ? ' of another directory' : ''}`;
  await t.gives(expected, t.fs.rename(source, target), label);
  const after = await t.fs.lstat(target);
  if (expected === undefined) {
    t.is(after.ino, moved.ino, `${label}: the inode is at the new name`);
    t.is(after.mode, moved.mode, `${label}: with its mode`);
    await t.absent(source, `${label}: the old name is gone`);
  } else {
    t.is(after.ino, replaced.ino, `${label}: the target stays`);
    t.is((await t.fs.lstat(source)).ino, moved.ino, `${label}: the source stays`);
  }
  for (const name of ['a', 'b']) {
    const directories = (await t.fs.readdir(`${where}/${name}`)).filter(
      (item) => item.type === S.IFDIR,
    ).length;
    await t.nlink(`${where}/${name}`, 2 + directories, `${label}: links of ${name}`);
  }
}

async function exchangeCase(t: Trial, one: Kind, other: Kind): Promise<void> {
  const where = t.path(`x-${one}-${other}`);
  await t.fs.mkdir(where, 0o755);
  await t.fs.mkdir(`${where}/b`, 0o755);
  const first = await make(t, `${where}/x`, one);
  const second = await make(t, `${where}/b/y`, other);
  const label = `exchange of ${one} and ${other}`;
  await t.works(t.fs.rename(`${where}/x`, `${where}/b/y`, RENAME.EXCHANGE), label);
  t.is((await t.fs.lstat(`${where}/x`)).ino, second.ino, `${label}: the first name`);
  t.is((await t.fs.lstat(`${where}/b/y`)).ino, first.ino, `${label}: the second name`);
  await t.nlink(`${where}/b`, isDirectory(one) ? 3 : 2, `${label}: links of the other directory`);
  await t.nlink(where, isDirectory(other) ? 4 : 3, `${label}: links of the directory`);
}

function kindsOf(t: Trial): readonly Kind[] {
  return KINDS.filter((kind) => kind !== 'fifo' || t.can('nodes'));
}

export const renameCases: readonly Case[] = [
  ...KINDS.map((from): Case => ({
    name: `rename: ${from} over everything`,
    ...(from === 'fifo' ? { needs: ['nodes' as const] } : {}),
    run: async (t) => {
      for (const to of kindsOf(t)) {
        await overCase(t, from, to, false);
        await overCase(t, from, to, true);
      }
    },
  })),
  {
    name: 'rename: to a free name',
    run: async (t) => {
      await t.fs.mkdir(t.path('other'), 0o755);
      for (const kind of kindsOf(t)) {
        const stat = await make(t, t.path('x'), kind);
        await t.works(t.fs.rename(t.path('x'), t.path('y')), `${kind} in its directory`);
        t.is((await t.fs.lstat(t.path('y'))).ino, stat.ino, `${kind}: inode`);
        await t.works(
          t.fs.rename(t.path('y'), t.path(`other/${kind}`)),
          `${kind} to another directory`,
        );
        const after = await t.fs.lstat(t.path(`other/${kind}`));
        t.is(after.ino, stat.ino, `${kind}: inode in the other directory`);
        t.is(after.nlink, stat.nlink, `${kind}: links in the other directory`);
        await t.absent(t.path('x'), `${kind}: first name`);
        await t.absent(t.path('y'), `${kind}: second name`);
      }
      await t.nlink(t.path('other'), 4, 'links of the directory that took two');
      t.is(
        (await t.fs.stat(t.path('other/full/..'))).ino,
        (await t.fs.stat(t.path('other'))).ino,
        '.. of a moved directory',
      );
      await t.content(t.path('other/full/child'), 'child', 'what was below came along');
    },
  },
  {
    name: 'rename: into itself',
    run: async (t) => {
      await t.fs.mkdir(t.path('a'), 0o755);
      await t.fs.mkdir(t.path('a/b'), 0o755);
      await t.fs.mkdir(t.path('a/b/c'), 0o755);
      await t.fails('EINVAL', t.fs.rename(t.path('a'), t.path('a/x')), 'into itself');
      await t.fails('EINVAL', t.fs.rename(t.path('a'), t.path('a/b/x')), 'into its child');
      await t.fails('EINVAL', t.fs.rename(t.path('a'), t.path('a/b/c/x')), 'into its grandchild');
      await t.fails(
        ['EINVAL', 'ENOTEMPTY'],
        t.fs.rename(t.path('a'), t.path('a/b')),
        'over its child',
      );
      await t.fails(
        'EINVAL',
        t.fs.rename(t.path('a'), t.path('a/b/c')),
        'over its empty grandchild',
      );
      await t.fails('ENOTEMPTY', t.fs.rename(t.path('a/b/c'), t.path('a')), 'over its ancestor');
      await t.fails('ENOTEMPTY', t.fs.rename(t.path('a/b'), t.path('a')), 'over its parent');
      await writeFile(t.fs, t.path('a/f'), 'f');
      await t.fails(
        ['EISDIR', 'ENOTEMPTY'],
        t.fs.rename(t.path('a/f'), t.path('a')),
        'a file over its parent',
      );
      await t.works(t.fs.rename(t.path('a'), t.path('a')), 'to its own name');
      await t.nlink(t.path('a'), 3, 'links of the directory');
      await t.exists(t.path('a/b/c'), 'all is where it was');
    },
  },
  {
    name: 'rename: two names of one file',
    run: async (t) => {
      await writeFile(t.fs, t.path('x'), 'x');
      await t.fs.link(t.path('x'), t.path('y'));
      await t.works(t.fs.rename(t.path('x'), t.path('y')), 'x over y');
      await t.exists(t.path('x'), 'x stays');
      await t.exists(t.path('y'), 'y stays');
      await t.nlink(t.path('x'), 2, 'links');
      await t.works(t.fs.rename(t.path('x'), t.path('x')), 'x over x');
      await t.nlink(t.path('x'), 2, 'links again');
      await t.fs.mkdir(t.path('d'), 0o755);
      await t.fs.link(t.path('x'), t.path('d/z'));
      await t.works(t.fs.rename(t.path('d/z'), t.path('y')), 'd/z over y');
      await t.exists(t.path('d/z'), 'd/z stays');
      await t.nlink(t.path('x'), 3, 'three links');
    },
  },
  {
    name: 'rename: links of what is replaced',
    run: async (t) => {
      await writeFile(t.fs, t.path('x'), 'x');
      await writeFile(t.fs, t.path('y'), 'y');
      await t.fs.link(t.path('y'), t.path('y2'));
      const open = await t.fs.open(t.path('y'), O.RDWR);
      await t.works(t.fs.rename(t.path('x'), t.path('y')), 'x over y');
      t.is((await open.stat()).nlink, 1, 'links of the replaced file');
      t.is((await open.read(0, 10)).toString(), 'y', 'it can still be read');
      await t.fs.rename(t.path('y'), t.path('y2'));
      t.is((await open.stat()).nlink, 0, 'no links any more');
      await t.works(open.write(1, Buffer.from('z')), 'it can still be written');
      t.is((await open.read(0, 10)).toString(), 'yz', 'and read');
      await open.close();
      await t.content(t.path('y2'), 'x', 'the name has the new content');
    },
  },
  {
    name: 'rename: a directory that is open, over one that is open',
    run: async (t) => {
      await t.fs.mkdir(t.path('a'), 0o755);
      await t.fs.mkdir(t.path('b'), 0o755);
      await writeFile(t.fs, t.path('a/f'), 'f');
      const open = await t.fs.open(t.path('b'), O.RDONLY);
      await t.works(t.fs.rename(t.path('a'), t.path('b')), 'a over b');
      t.is((await open.stat()).nlink, 0, 'links of the replaced directory');
      await open.close();
      await t.content(t.path('b/f'), 'f', 'b is a now');
    },
  },
  {
    name: 'rename: RENAME_NOREPLACE',
    needs: ['renameFlags'],
    run: async (t) => {
      for (const from of kindsOf(t)) {
        const stat = await make(t, t.path('x'), from);
        for (const to of kindsOf(t)) {
          await make(t, t.path('y'), to);
          await t.fails(
            'EEXIST',
            t.fs.rename(t.path('x'), t.path('y'), RENAME.NOREPLACE),
            `${from} over ${to}`,
          );
          if (to === 'full') await t.fs.unlink(t.path('y/child'));
          if (isDirectory(to)) await t.fs.rmdir(t.path('y'));
          else await t.fs.unlink(t.path('y'));
        }
        await t.fails(
          'EEXIST',
          t.fs.rename(t.path('x'), t.path('x'), RENAME.NOREPLACE),
          `${from} over itself`,
        );
        await t.works(
          t.fs.rename(t.path('x'), t.path(from), RENAME.NOREPLACE),
          `${from} to a free name`,
        );
        t.is((await t.fs.lstat(t.path(from))).ino, stat.ino, `${from}: inode`);
      }
      await t.fails(
        'ENOENT',
        t.fs.rename(t.path('no'), t.path('file'), RENAME.NOREPLACE),
        'from nothing',
      );
    },
  },
  ...KINDS.map((one): Case => ({
    name: `rename: RENAME_EXCHANGE of ${one} and everything`,
    needs: one === 'fifo' ? ['renameFlags', 'nodes'] : ['renameFlags'],
    run: async (t) => {
      for (const other of kindsOf(t)) await exchangeCase(t, one, other);
    },
  })),
  {
    name: 'rename: what RENAME_EXCHANGE refuses',
    needs: ['renameFlags'],
    run: async (t) => {
      await writeFile(t.fs, t.path('f'), 'f');
      await t.fs.mkdir(t.path('a'), 0o755);
      await t.fs.mkdir(t.path('a/b'), 0o755);
      const exchange = RENAME.EXCHANGE;
      await t.fails('ENOENT', t.fs.rename(t.path('f'), t.path('no'), exchange), 'with nothing');
      await t.fails('ENOENT', t.fs.rename(t.path('no'), t.path('f'), exchange), 'of nothing');
      await t.fails('EINVAL', t.fs.rename(t.path('a'), t.path('a/b'), exchange), 'with its child');
      await t.fails('EINVAL', t.fs.rename(t.path('a/b'), t.path('a'), exchange), 'with its parent');
      await t.fails(
        'EINVAL',
        t.fs.rename(t.path('f'), t.path('a'), exchange | RENAME.NOREPLACE),
        'with NOREPLACE',
      );
      await t.works(t.fs.rename(t.path('f'), t.path('f'), exchange), 'with itself');
      await t.content(t.path('f'), 'f', 'all as it was');
      await t.nlink(t.path('a'), 3, 'links');
    },
  },
  {
    name: 'rename: sticky directories',
    needs: ['users'],
    run: async (t) => {
      await t.fs.chmod(t.dir, 0o777);
      await t.fs.mkdir(t.path('s'), 0o1777);
      await t.fs.mkdir(t.path('free'), 0o777);
      const alice = t.fs.as(ALICE);
      const bob = t.fs.as(BOB);
      await writeFile(alice, t.path('s/alice'), 'alice');
      await writeFile(bob, t.path('s/bob'), 'bob');
      await writeFile(bob, t.path('free/bob'), 'bob');
      await t.fails('EPERM', bob.rename(t.path('s/alice'), t.path('s/x')), "another's file");
      await t.fails(
        'EPERM',
        bob.rename(t.path('s/alice'), t.path('free/x')),
        "another's file, out",
      );
      await t.fails('EPERM', bob.rename(t.path('s/bob'), t.path('s/alice')), "over another's file");
      await t.fails(
        'EPERM',
        bob.rename(t.path('free/bob'), t.path('s/alice')),
        "from outside over another's",
      );
      await t.works(bob.rename(t.path('s/bob'), t.path('s/b')), 'his own');
      await t.works(bob.rename(t.path('free/bob'), t.path('s/b')), 'over his own');
      await t.content(t.path('s/alice'), 'alice', "the other's file");
      await t.fs.chown(t.path('s'), BOB.uid, BOB.gid);
      await t.works(
        bob.rename(t.path('s/alice'), t.path('s/x')),
        "another's file in his own directory",
      );
    },
  },
  {
    name: 'rename: a directory one may not write to another parent',
    needs: ['users'],
    run: async (t) => {
      await t.fs.chmod(t.dir, 0o777);
      const alice = t.fs.as(ALICE);
      await alice.mkdir(t.path('to'), 0o755);
      await alice.mkdir(t.path('d'), 0o755);
      await alice.chmod(t.path('d'), 0o555);
      await t.fails(
        'EACCES',
        alice.rename(t.path('d'), t.path('to/d')),
        "'..' would have to be written",
      );
      await t.works(alice.rename(t.path('d'), t.path('e')), 'in the same directory');
    },
  },
  {
    name: 'rename: is atomic to those who look',
    needs: ['processes'],
    run: async (t) => {
      const other = await t.fs.process();
      await writeFile(t.fs, t.path('current'), 'version 0');
      let missing = 0;
      for (let version = 1; version <= 30; version++) {
        await writeFile(t.fs, t.path('next'), `version ${version}`);
        const [, seen] = await Promise.all([
          t.fs.rename(t.path('next'), t.path('current')),
          readFile(other, t.path('current')).catch(() => undefined),
        ]);
        if (seen === undefined || !/^version \d+$/.test(seen.toString())) missing += 1;
      }
      t.is(missing, 0, 'times that the name was not there or half there');
      await other.close();
    },
  },
];
