/** Every call that takes a path, against every way in which a path can be wrong. */
import { O, type Path, type PosixFs, S, writeFile } from '../posix-fs.js';
import { ALICE, type Case, type Trial } from '../trial.js';

interface Call {
  readonly name: string;
  /** Makes the last name. */
  readonly makes?: boolean;
  /** Removes or replaces the last name. */
  readonly removes?: boolean;
  /** A symbolic link at the end is not followed. */
  readonly nofollow?: boolean;
  readonly available?: (fs: PosixFs) => boolean;
  /** `other` is a good name in a good directory, of a file that is there ('from') or not ('to'). */
  run(fs: PosixFs, path: Path, good: { from: string; to: string }): Promise<unknown>;
}

async function opened(fs: PosixFs, path: Path, flags: number): Promise<void> {
  await (await fs.open(path, flags, 0o644)).close();
}

export const CALLS: readonly Call[] = [
  { name: 'open to read', run: (fs, path) => opened(fs, path, O.RDONLY) },
  { name: 'open to write', run: (fs, path) => opened(fs, path, O.WRONLY) },
  { name: 'stat', run: (fs, path) => fs.stat(path) },
  { name: 'lstat', nofollow: true, run: (fs, path) => fs.lstat(path) },
  { name: 'chmod', run: (fs, path) => fs.chmod(path, 0o644) },
  { name: 'chown', run: (fs, path) => fs.chown(path, -1, -1) },
  { name: 'lchown', nofollow: true, run: (fs, path) => fs.lchown(path, -1, -1) },
  { name: 'utimens', run: (fs, path) => fs.utimens(path, 1n, 1n) },
  { name: 'truncate', run: (fs, path) => fs.truncate(path, 0) },
  { name: 'readdir', run: (fs, path) => fs.readdir(path) },
  { name: 'readlink', nofollow: true, run: (fs, path) => fs.readlink(path) },
  {
    name: 'access',
    available: (fs) => fs.can.has('access'),
    run: (fs, path) => fs.access(path, 0),
  },
  {
    name: 'statfs',
    available: (fs) => fs.can.has('statfs'),
    run: (fs, path) => fs.statfs(path),
  },
  {
    name: 'getxattr',
    nofollow: true,
    available: (fs) => fs.can.has('xattrs'),
    run: (fs, path) => fs.getxattr(path, 'user.a'),
  },
  {
    name: 'setxattr',
    nofollow: true,
    available: (fs) => fs.can.has('xattrs'),
    run: (fs, path) => fs.setxattr(path, 'user.a', Buffer.from('1')),
  },
  { name: 'unlink', removes: true, nofollow: true, run: (fs, path) => fs.unlink(path) },
  { name: 'rmdir', removes: true, nofollow: true, run: (fs, path) => fs.rmdir(path) },
  {
    name: 'rename from',
    removes: true,
    nofollow: true,
    run: (fs, path, good) => fs.rename(path, good.to),
  },
  {
    name: 'rename to',
    makes: true,
    nofollow: true,
    run: (fs, path, good) => fs.rename(good.from, path),
  },
  { name: 'link from', nofollow: true, run: (fs, path, good) => fs.link(path, good.to) },
  {
    name: 'link to',
    makes: true,
    nofollow: true,
    run: (fs, path, good) => fs.link(good.from, path),
  },
  { name: 'mkdir', makes: true, nofollow: true, run: (fs, path) => fs.mkdir(path, 0o755) },
  { name: 'symlink', makes: true, nofollow: true, run: (fs, path) => fs.symlink('t', path) },
  {
    name: 'mkfifo',
    makes: true,
    nofollow: true,
    available: (fs) => fs.can.has('nodes'),
    run: (fs, path) => fs.mknod(path, S.IFIFO | 0o644, 0),
  },
  { name: 'create', makes: true, run: (fs, path) => opened(fs, path, O.WRONLY | O.CREAT) },
  {
    name: 'create exclusively',
    makes: true,
    nofollow: true,
    run: (fs, path) => opened(fs, path, O.WRONLY | O.CREAT | O.EXCL),
  },
];

const LONG = 'n'.repeat(256);

async function world(t: Trial): Promise<void> {
  await writeFile(t.fs, t.path('file'), 'file');
  await writeFile(t.fs, t.path('good'), 'good');
  await t.fs.mkdir(t.path('directory'), 0o755);
  await t.fs.symlink('loop-b', t.path('loop-a'));
  await t.fs.symlink('loop-a', t.path('loop-b'));
  await t.fs.symlink('self', t.path('self'));
  await t.fs.symlink('nothing', t.path('dangling'));
  await t.fs.symlink('file', t.path('to-file'));
  await t.fs.symlink('directory', t.path('to-directory'));
}

async function eachCall(
  t: Trial,
  what: string,
  path: string | Uint8Array,
  expected: (call: Call) => string | readonly string[] | undefined,
): Promise<void> {
  const good = { from: t.path('good'), to: t.path('never') };
  for (const call of CALLS) {
    if (call.available !== undefined && !call.available(t.fs)) continue;
    const code = expected(call);
    if (code === undefined) continue;
    await t.fails(code, () => call.run(t.fs, path, good), `${call.name} of ${what}`);
  }
  await t.absent(t.path('never'), `nothing was made by ${what}`);
  await t.content(t.path('good'), 'good', `nothing was lost by ${what}`);
}

const INTERIOR: readonly (readonly [string, string, string])[] = [
  ['a name in a directory that is not there', 'absent/x', 'ENOENT'],
  ['a name two levels below nothing', 'absent/y/x', 'ENOENT'],
  ['a name below a file', 'file/x', 'ENOTDIR'],
  ['a name below a link to a file', 'to-file/x', 'ENOTDIR'],
  ['a name below a dangling link', 'dangling/x', 'ENOENT'],
  ['a name below a loop of links', 'loop-a/x', 'ELOOP'],
  ['a name below a link to itself', 'self/x', 'ELOOP'],
  ['a name of 256 bytes', LONG, 'ENAMETOOLONG'],
  ['a name below one of 256 bytes', `${LONG}/x`, 'ENAMETOOLONG'],
  ['a name of 256 bytes below a link', `to-directory/${LONG}`, 'ENAMETOOLONG'],
];

export const pathErrorCases: readonly Case[] = [
  ...INTERIOR.map(([what, path, code]): Case => ({
    name: `paths: ${what}`,
    run: async (t) => {
      await world(t);
      await eachCall(t, what, t.path(path), () => code);
    },
  })),
  {
    name: 'paths: a name that is not there',
    run: async (t) => {
      await world(t);
      await eachCall(t, 'a name that is not there', t.path('absent'), (call) =>
        call.makes === true ? undefined : 'ENOENT',
      );
    },
  },
  {
    name: 'paths: a loop of links at the end',
    run: async (t) => {
      await world(t);
      await eachCall(t, 'a loop at the end', t.path('loop-a'), (call) =>
        call.nofollow === true ? undefined : 'ELOOP',
      );
      await eachCall(t, 'a link to itself at the end', t.path('self'), (call) =>
        call.nofollow === true ? undefined : 'ELOOP',
      );
    },
  },
  {
    name: 'paths: a dangling link at the end',
    run: async (t) => {
      await world(t);
      await eachCall(t, 'a dangling link', t.path('dangling'), (call) =>
        call.nofollow === true || call.makes === true ? undefined : 'ENOENT',
      );
      await t.works(
        () => opened(t.fs, t.path('dangling'), O.WRONLY | O.CREAT),
        'create through a dangling link makes its target',
      );
      await t.type(t.path('nothing'), S.IFREG, 'the target of the dangling link');
    },
  },
  {
    name: 'paths: a name that exists, to calls that make one',
    run: async (t) => {
      await world(t);
      if (t.can('nodes')) await t.fs.mknod(t.path('fifo'), S.IFIFO | 0o644, 0);
      for (const existing of ['file', 'directory', 'dangling', 'to-file', 'self', 'fifo']) {
        if (existing === 'fifo' && !t.can('nodes')) continue;
        await eachCall(t, `what exists (${existing})`, t.path(existing), (call) =>
          call.makes === true && call.nofollow === true && call.name !== 'rename to'
            ? 'EEXIST'
            : undefined,
        );
      }
    },
  },
  {
    name: 'paths: the empty path',
    needs: ['kernel'],
    run: async (t) => {
      await world(t);
      await eachCall(t, 'the empty path', '', () => 'ENOENT');
    },
  },
  {
    name: 'paths: longer than PATH_MAX',
    needs: ['kernel'],
    run: async (t) => {
      await world(t);
      const long = `${t.dir}/${'./'.repeat(2048)}x`;
      await eachCall(t, 'a path of more than 4,096 bytes', long, () => 'ENAMETOOLONG');
      const just = `${t.dir}/${'./'.repeat(2030)}`;
      await t.works(t.fs.stat(`${just}file`), 'a path of just less than 4,096 bytes');
    },
  },
  {
    name: 'paths: a directory that may not be searched',
    needs: ['users'],
    run: async (t) => {
      await t.fs.chmod(t.dir, 0o777);
      await world(t);
      for (const mode of [0o700, 0o600, 0o666]) {
        await t.fs.mkdir(t.path('closed'), 0o755);
        await writeFile(t.fs, t.path('closed/x'));
        await t.fs.chmod(t.path('closed'), mode);
        await t.fs.chmod(t.path('good'), 0o666);
        await t.fs.chown(t.path('good'), ALICE.uid, ALICE.gid);
        const asAlice = t.fs.as(ALICE);
        const good = { from: t.path('good'), to: t.path('never') };
        for (const call of CALLS) {
          if (call.available !== undefined && !call.available(t.fs)) continue;
          await t.fails(
            'EACCES',
            () => call.run(asAlice, t.path('closed/x'), good),
            `${call.name} below a directory of mode ${mode.toString(8)}`,
          );
        }
        await t.fs.chmod(t.path('closed'), 0o755);
        await t.exists(t.path('closed/x'), 'what is below is still there');
        await t.fs.unlink(t.path('closed/x'));
        await t.fs.rmdir(t.path('closed'));
      }
    },
  },
  {
    name: 'paths: a directory that may not be written',
    needs: ['users'],
    run: async (t) => {
      await t.fs.chmod(t.dir, 0o777);
      await world(t);
      await t.fs.mkdir(t.path('fixed'), 0o555);
      await writeFile(t.fs, t.path('fixed/x'), 'x', 0o666);
      await t.fs.chown(t.path('good'), ALICE.uid, ALICE.gid);
      const asAlice = t.fs.as(ALICE);
      const good = { from: t.path('good'), to: t.path('never') };
      for (const call of CALLS) {
        if (call.available !== undefined && !call.available(t.fs)) continue;
        const name = call.makes === true ? 'new' : 'x';
        if (call.makes !== true && call.removes !== true) continue;
        const expected = call.name === 'rmdir' ? ['EACCES', 'ENOTDIR'] : 'EACCES';
        await t.fails(
          expected,
          () => call.run(asAlice, t.path(`fixed/${name}`), good),
          `${call.name} in a directory of mode 555`,
        );
      }
      await t.content(t.path('fixed/x'), 'x', 'nothing happened to the file there');
      t.is((await t.fs.readdir(t.path('fixed'))).length, 1, 'nothing came to be there');
    },
  },
  {
    name: 'paths: a slash at the end',
    run: async (t) => {
      await world(t);
      await eachCall(t, 'a file with a slash', t.path('file/'), (call) =>
        [
          'open to read',
          'open to write',
          'stat',
          'lstat',
          'chmod',
          'truncate',
          'unlink',
          'rmdir',
          'rename from',
          'readlink',
          'readdir',
          'utimens',
        ].includes(call.name)
          ? 'ENOTDIR'
          : undefined,
      );
      await t.works(t.fs.stat(t.path('directory/')), 'stat of directory/');
      await t.type(t.path('to-directory/'), S.IFDIR, 'lstat of link/ follows');
      await t.fails('ENOTDIR', t.fs.stat(t.path('to-file/')), 'stat of link-to-file/');
      await t.fails('ENOENT', t.fs.stat(t.path('dangling/')), 'stat of dangling/');
      await t.works(t.fs.mkdir(t.path('made/'), 0o755), 'mkdir of made/');
      await t.works(t.fs.rename(t.path('made/'), t.path('made2/')), 'rename of made/ to made2/');
      await t.fails('ENOTDIR', t.fs.rename(t.path('file'), t.path('x/')), 'rename of a file to x/');
      await t.fails('EISDIR', opened(t.fs, t.path('x/'), O.WRONLY | O.CREAT), 'create of x/');
      await t.fails('ENOENT', t.fs.symlink('t', t.path('x/')), 'symlink at x/');
      await t.fails('ENOENT', t.fs.link(t.path('file'), t.path('x/')), 'link to x/');
      await t.fails('ENOTDIR', t.fs.unlink(t.path('to-directory/')), 'unlink of link/');
      await t.fails('ENOTDIR', t.fs.rmdir(t.path('to-directory/')), 'rmdir of link/');
      await t.works(t.fs.rmdir(t.path('made2/')), 'rmdir of made2/');
    },
  },
  {
    name: 'paths: dot and dot-dot',
    run: async (t) => {
      await world(t);
      const inside = (await t.fs.stat(t.path('directory'))).ino;
      t.is((await t.fs.stat(t.path('directory/.'))).ino, inside, 'directory/.');
      t.is(
        (await t.fs.stat(t.path('directory/../directory'))).ino,
        inside,
        'directory/../directory',
      );
      t.is(
        (await t.fs.stat(t.path('to-directory/../file'))).ino,
        (await t.fs.stat(t.path('file'))).ino,
        'link/..',
      );
      await t.fails('EINVAL', t.fs.rmdir(t.path('directory/.')), 'rmdir of directory/.');
      await t.fails('ENOTEMPTY', t.fs.rmdir(t.path('directory/..')), 'rmdir of directory/..');
      await t.fails('EEXIST', t.fs.mkdir(t.path('directory/.'), 0o755), 'mkdir of directory/.');
      await t.fails('EEXIST', t.fs.mkdir(t.path('directory/..'), 0o755), 'mkdir of directory/..');
      await t.fails('EISDIR', t.fs.unlink(t.path('directory/.')), 'unlink of directory/.');
      await t.fails(
        ['EBUSY', 'EINVAL'],
        t.fs.rename(t.path('directory/.'), t.path('y')),
        'rename of directory/.',
      );
      await t.fails(
        ['EBUSY', 'EINVAL'],
        t.fs.rename(t.path('directory/..'), t.path('y')),
        'rename of directory/..',
      );
      await t.fails(
        ['EBUSY', 'EINVAL', 'EEXIST'],
        t.fs.rename(t.path('directory'), t.path('directory/..')),
        'rename to directory/..',
      );
      await t.works(t.fs.stat(t.path('directory//.//../file')), 'slashes and dots in between');
    },
  },
];
