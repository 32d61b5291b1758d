/** Who may do what: owner, group, supplementary group and others against every mode; sticky; chmod and chown; setuid and setgid. */
import { O, type PosixFs, S, type User, writeFile } from '../posix-fs.js';
import { ALICE, BOB, CAROL, type Case, type Trial } from '../trial.js';

/** A file of Alice and of group 5101: who asks, and which three bits of the mode are theirs. */
const DAVE: User = { uid: 5004, gid: 5101 };
const CLASSES: readonly (readonly [string, User, number])[] = [
  ['the owner', ALICE, 6],
  ['one of the group', DAVE, 3],
  ['one with the group as a supplementary one', CAROL, 3],
  ['a stranger', BOB, 0],
];

/** A mode where only this class has `bits`, and where only this class lacks them. */
function modesOf(bits: number, shift: number): readonly number[] {
  const own = bits << shift;
  return [own, (0o777 & ~(7 << shift)) | own];
}

async function opened(fs: PosixFs, path: string, flags: number): Promise<void> {
  await (await fs.open(path, flags, 0o644)).close();
}

async function fileMatrix(t: Trial, who: string, user: User, shift: number): Promise<void> {
  await t.fs.chmod(t.dir, 0o777);
  const path = t.path('f');
  await writeFile(t.fs, path, 'content');
  await t.fs.chown(path, ALICE.uid, ALICE.gid);
  const fs = t.fs.as(user);
  for (let bits = 0; bits < 8; bits++) {
    for (const mode of modesOf(bits, shift)) {
      await t.fs.chmod(path, mode);
      const label = `${who}, mode ${mode.toString(8)}`;
      const needs = (mask: number): string | undefined =>
        (bits & mask) === mask ? undefined : 'EACCES';
      await t.gives(needs(4), () => opened(fs, path, O.RDONLY), `${label}: open to read`);
      await t.gives(needs(2), () => opened(fs, path, O.WRONLY), `${label}: open to write`);
      await t.gives(needs(6), () => opened(fs, path, O.RDWR), `${label}: open to read and write`);
      await t.gives(needs(2), () => fs.truncate(path, 7), `${label}: truncate`);
      await t.gives(needs(2), () => opened(fs, path, O.WRONLY | O.TRUNC), `${label}: O_TRUNC`);
      if (t.can('access')) {
        for (let mask = 1; mask < 8; mask++) {
          await t.gives(needs(mask), () => fs.access(path, mask), `${label}: access ${mask}`);
        }
      }
      await t.works(() => fs.stat(path), `${label}: stat needs nothing`);
    }
  }
}

async function directoryMatrix(t: Trial, who: string, user: User, shift: number): Promise<void> {
  await t.fs.chmod(t.dir, 0o777);
  const path = t.path('d');
  await t.fs.mkdir(path, 0o777);
  await writeFile(t.fs, `${path}/there`, 'there', 0o666);
  await t.fs.chown(path, ALICE.uid, ALICE.gid);
  const fs = t.fs.as(user);
  for (let bits = 0; bits < 8; bits++) {
    for (const mode of modesOf(bits, shift)) {
      await t.fs.chmod(path, mode);
      const label = `${who}, directory of mode ${mode.toString(8)}`;
      const needs = (mask: number): string | undefined =>
        (bits & mask) === mask ? undefined : 'EACCES';
      await t.gives(needs(4), () => fs.readdir(path), `${label}: list`);
      await t.gives(needs(1), () => fs.stat(`${path}/there`), `${label}: stat below`);
      await t.gives(needs(1), () => opened(fs, `${path}/there`, O.RDWR), `${label}: open below`);
      await t.gives(
        needs(3),
        () => opened(fs, `${path}/new`, O.WRONLY | O.CREAT),
        `${label}: create`,
      );
      await t.gives(needs(3), () => fs.mkdir(`${path}/sub`, 0o755), `${label}: mkdir`);
      await t.gives(needs(3), () => fs.symlink('t', `${path}/link`), `${label}: symlink`);
      await t.gives(
        needs(3),
        () => fs.rename(`${path}/there`, `${path}/moved`),
        `${label}: rename`,
      );
      if ((bits & 3) === 3) {
        await t.works(() => fs.rename(`${path}/moved`, `${path}/there`), `${label}: rename back`);
        await t.works(() => fs.unlink(`${path}/new`), `${label}: unlink`);
        await t.works(() => fs.rmdir(`${path}/sub`), `${label}: rmdir`);
        await t.works(() => fs.unlink(`${path}/link`), `${label}: unlink of a link`);
      } else {
        await t.fails('EACCES', () => fs.unlink(`${path}/there`), `${label}: unlink`);
      }
    }
  }
}

async function stickyCase(t: Trial): Promise<void> {
  await t.fs.chmod(t.dir, 0o777);
  const owners: readonly (readonly [string, User])[] = [
    ['Alice', ALICE],
    ['Bob', BOB],
  ];
  const things = ['file', 'directory', 'link'];
  for (const [whoseDirectory, directoryOwner] of owners) {
    for (const [whose, owner] of owners) {
      for (const thing of things) {
        await t.fs.mkdir(t.path('s'), 0o1777);
        const theirs = t.fs.as(owner);
        if (thing === 'file') await writeFile(theirs, t.path('s/x'));
        else if (thing === 'directory') await theirs.mkdir(t.path('s/x'), 0o777);
        else await theirs.symlink('t', t.path('s/x'));
        await t.fs.chown(t.path('s'), directoryOwner.uid, directoryOwner.gid);
        const bob = t.fs.as(BOB);
        const mayNot = owner !== BOB && directoryOwner !== BOB ? 'EPERM' : undefined;
        const label = `Bob, ${whose}'s ${thing} in ${whoseDirectory}'s sticky directory`;
        await t.gives(mayNot, () => bob.rename(t.path('s/x'), t.path('s/y')), `${label}: rename`);
        const name = mayNot === undefined ? t.path('s/y') : t.path('s/x');
        await t.gives(
          mayNot,
          () => (thing === 'directory' ? bob.rmdir(name) : bob.unlink(name)),
          `${label}: remove`,
        );
        if (mayNot !== undefined)
          await (thing === 'directory' ? t.fs.rmdir(name) : t.fs.unlink(name));
        await t.fs.rmdir(t.path('s'));
      }
    }
  }
}

export const permissionCases: readonly Case[] = [
  ...CLASSES.map(([who, user, shift]): Case => ({
    name: `permissions: files, ${who}`,
    needs: ['users'],
    run: (t) => fileMatrix(t, who, user, shift),
  })),
  ...CLASSES.map(([who, user, shift]): Case => ({
    name: `permissions: directories, ${who}`,
    needs: ['users'],
    run: (t) => directoryMatrix(t, who, user, shift),
  })),
  {
    name: 'permissions: root',
    needs: ['root'],
    run: async (t) => {
      await writeFile(t.fs, t.path('f'), 'x');
      await t.fs.mkdir(t.path('d'), 0);
      await t.fs.chown(t.path('f'), ALICE.uid, ALICE.gid);
      await t.fs.chmod(t.path('f'), 0);
      await t.works(() => opened(t.fs, t.path('f'), O.RDWR), 'open of a file of mode 0');
      await t.works(() => writeFile(t.fs, t.path('d/x'), 'x'), 'create in a directory of mode 0');
      await t.works(() => t.fs.readdir(t.path('d')), 'list of a directory of mode 0');
      if (t.can('access')) {
        await t.works(t.fs.access(t.path('f'), 6), 'access to read and write');
        await t.fails('EACCES', t.fs.access(t.path('f'), 1), 'access to execute with no x bit');
        await t.works(t.fs.access(t.path('d'), 7), 'access of a directory');
        await t.fs.chmod(t.path('f'), 0o001);
        await t.works(t.fs.access(t.path('f'), 1), 'access to execute with one x bit');
      }
    },
  },
  {
    name: 'permissions: an open file keeps what it was opened for',
    needs: ['users'],
    run: async (t) => {
      await t.fs.chmod(t.dir, 0o777);
      const alice = t.fs.as(ALICE);
      await writeFile(alice, t.path('f'), 'before', 0o600);
      const file = await alice.open(t.path('f'), O.RDWR);
      await t.fs.chmod(t.path('f'), 0);
      await t.fs.chown(t.path('f'), BOB.uid, BOB.gid);
      t.is((await file.read(0, 6)).toString(), 'before', 'read');
      await t.works(file.write(0, Buffer.from('after ')), 'write');
      await t.works(file.truncate(5), 'ftruncate');
      await t.fails('EPERM', file.chmod(0o600), 'fchmod of what is not hers any more');
      await t.works(file.stat(), 'fstat');
      await file.close();
      await t.content(t.path('f'), 'after', 'content');
    },
  },
  { name: 'permissions: sticky directories', needs: ['users'], run: stickyCase },
  {
    name: 'permissions: chmod',
    needs: ['users'],
    run: async (t) => {
      await t.fs.chmod(t.dir, 0o777);
      const alice = t.fs.as(ALICE);
      const bob = t.fs.as(BOB);
      await writeFile(alice, t.path('f'));
      await alice.mkdir(t.path('d'), 0o755);
      for (const mode of [
        0, 0o1, 0o20, 0o300, 0o644, 0o755, 0o777, 0o1644, 0o2755, 0o4755, 0o6711, 0o7777,
      ]) {
        await t.works(alice.chmod(t.path('f'), mode), `the owner sets ${mode.toString(8)}`);
        await t.mode(t.path('f'), mode, `after ${mode.toString(8)}`);
        await t.works(alice.chmod(t.path('d'), mode), `of a directory, ${mode.toString(8)}`);
        await t.mode(t.path('d'), mode, `directory after ${mode.toString(8)}`);
      }
      await t.fs.chmod(t.path('f'), 0o644);
      await t.fails('EPERM', bob.chmod(t.path('f'), 0o644), 'a stranger');
      await t.fails('EPERM', t.fs.as(CAROL).chmod(t.path('f'), 0o644), 'one of the group');
      await t.fails('EPERM', bob.utimens(t.path('f'), 1n, 1n), 'a stranger sets times');
      await t.type(t.path('f'), S.IFREG, 'chmod leaves the type');
      // A mode with S_IFMT bits: they are not looked at.
      await t.works(alice.chmod(t.path('f'), S.IFDIR | 0o600), 'chmod with bits of a type');
      await t.type(t.path('f'), S.IFREG, 'the type stays');
      await t.mode(t.path('f'), 0o600, 'the mode is set');
    },
  },
  {
    name: 'permissions: setgid is lost by chmod of one who is not in the group',
    needs: ['users'],
    run: async (t) => {
      await t.fs.chmod(t.dir, 0o777);
      await writeFile(t.fs, t.path('f'));
      await t.fs.chown(t.path('f'), ALICE.uid, BOB.gid);
      await t.works(
        t.fs.as(ALICE).chmod(t.path('f'), 0o2755),
        'she owns it, the group is not hers',
      );
      await t.mode(t.path('f'), 0o755, 'no setgid');
      await t.fs.chown(t.path('f'), CAROL.uid, ALICE.gid);
      await t.works(t.fs.as(CAROL).chmod(t.path('f'), 0o2755), 'the group is a supplementary one');
      await t.mode(t.path('f'), 0o2755, 'setgid');
      await t.fs.chown(t.path('f'), ALICE.uid, BOB.gid);
      await t.fs.chmod(t.path('f'), 0o2755);
      await t.mode(t.path('f'), 0o2755, 'root may');
    },
  },
  {
    name: 'permissions: chown',
    needs: ['users'],
    run: async (t) => {
      await t.fs.chmod(t.dir, 0o777);
      const path = t.path('f');
      const owner = async (uid: number, gid: number): Promise<void> => {
        await t.fs.chown(path, uid, gid);
      };
      const is = async (uid: number, gid: number, what: string): Promise<void> => {
        const stat = await t.fs.lstat(path);
        t.is(`${stat.uid}:${stat.gid}`, `${uid}:${gid}`, what);
      };
      await writeFile(t.fs, path);
      await owner(ALICE.uid, ALICE.gid);
      const [alice, bob, carol] = [t.fs.as(ALICE), t.fs.as(BOB), t.fs.as(CAROL)];
      await is(ALICE.uid, ALICE.gid, 'root gives it to Alice');
      await t.fails('EPERM', alice.chown(path, BOB.uid, -1), 'the owner gives it away');
      await t.fails(
        'EPERM',
        alice.chown(path, -1, BOB.gid),
        'the owner sets a group that is not hers',
      );
      await t.fails('EPERM', bob.chown(path, BOB.uid, -1), 'a stranger takes it');
      await t.fails('EPERM', bob.chown(path, -1, BOB.gid), 'a stranger sets his group');
      await t.works(alice.chown(path, ALICE.uid, ALICE.gid), 'the owner sets what is');
      await t.works(alice.chown(path, -1, -1), 'the owner changes nothing');
      await t.works(bob.chown(path, -1, -1), 'a stranger changes nothing');
      await is(ALICE.uid, ALICE.gid, 'all as it was');
      await owner(CAROL.uid, CAROL.gid);
      await t.works(carol.chown(path, -1, 5101), 'the owner sets a supplementary group');
      await is(CAROL.uid, 5101, 'it is set');
      await t.works(carol.chown(path, CAROL.uid, CAROL.gid), 'and back');
      await is(CAROL.uid, CAROL.gid, 'it is back');
      await t.works(t.fs.chown(path, -1, 77), 'root sets the group alone');
      await is(CAROL.uid, 77, 'group alone');
      await t.works(t.fs.chown(path, 66, -1), 'root sets the owner alone');
      await is(66, 77, 'owner alone');
      await t.works(t.fs.chown(path, 4_294_967_294, 4_294_967_294), 'the largest ids');
      await is(4_294_967_294, 4_294_967_294, 'the largest ids');
    },
  },
  {
    name: 'permissions: chown of links and through links',
    needs: ['users'],
    run: async (t) => {
      await writeFile(t.fs, t.path('f'));
      await t.fs.symlink('f', t.path('link'));
      await t.fs.chown(t.path('link'), 11, 12);
      t.is((await t.fs.stat(t.path('f'))).uid, 11, 'chown follows');
      t.is((await t.fs.lstat(t.path('link'))).uid, 0, 'and leaves the link');
      await t.fs.lchown(t.path('link'), 21, 22);
      t.is((await t.fs.stat(t.path('f'))).uid, 11, 'lchown does not follow');
      t.is((await t.fs.lstat(t.path('link'))).uid, 21, 'and sets the owner of the link');
      t.is((await t.fs.lstat(t.path('link'))).gid, 22, 'and its group');
      const file = await t.fs.open(t.path('f'), O.RDONLY);
      await t.works(file.chown(31, 32), 'fchown');
      t.is((await file.stat()).gid, 32, 'group after fchown');
      await file.close();
    },
  },
  {
    name: 'permissions: chown clears setuid and setgid',
    needs: ['users'],
    run: async (t) => {
      await t.fs.chmod(t.dir, 0o777);
      const path = t.path('f');
      await writeFile(t.fs, path);
      const start = async (mode: number): Promise<void> => {
        await t.fs.chown(path, CAROL.uid, CAROL.gid);
        await t.fs.chmod(path, mode);
      };
      for (const [mode, after] of [
        [0o6755, 0o755],
        [0o4711, 0o711],
        [0o2755, 0o755],
        [0o2644, 0o2644],
        [0o6644, 0o2644],
      ] as const) {
        await start(mode);
        await t.fs.chown(path, ALICE.uid, ALICE.gid);
        await t.mode(path, after, `root, ${mode.toString(8)}`);
        await start(mode);
        await t.fs.as(CAROL).chown(path, -1, 5101);
        // Group without x: setgid means mandatory locking; kept by the kernel for one who is in the group.
        if (after !== 0o2644) await t.mode(path, after, `the owner, ${mode.toString(8)}`);
      }
      await t.fs.mkdir(t.path('d'), 0o755);
      await t.fs.chmod(t.path('d'), 0o6755);
      await t.fs.chown(t.path('d'), ALICE.uid, ALICE.gid);
      await t.mode(t.path('d'), 0o6755, 'directories keep theirs');
    },
  },
  {
    name: 'permissions: writing clears setuid and setgid',
    needs: ['users'],
    run: async (t) => {
      await t.fs.chmod(t.dir, 0o777);
      for (const [mode, after] of [
        [0o6777, 0o777],
        [0o4777, 0o777],
        [0o2777, 0o777],
      ] as const) {
        for (const how of ['write', 'truncate', 'ftruncate', 'O_TRUNC'] as const) {
          const path = t.path(`${how}-${mode.toString(8)}`);
          await writeFile(t.fs, path, 'content');
          await t.fs.chown(path, ALICE.uid, ALICE.gid);
          await t.fs.chmod(path, mode);
          const bob = t.fs.as(BOB);
          if (how === 'truncate') await bob.truncate(path, 3);
          else {
            const file = await bob.open(path, how === 'O_TRUNC' ? O.WRONLY | O.TRUNC : O.WRONLY);
            if (how === 'write') await file.write(0, Buffer.from('x'));
            if (how === 'ftruncate') await file.truncate(3);
            await file.close();
          }
          await t.mode(path, after, `${how} by another, mode ${mode.toString(8)}`);
        }
      }
      await writeFile(t.fs, t.path('root'), 'x');
      await t.fs.chmod(t.path('root'), 0o6777);
      await writeFile(t.fs, t.path('root'), 'y');
      await t.mode(t.path('root'), 0o6777, 'root keeps them');
    },
  },
  {
    name: 'permissions: setgid directories',
    needs: ['users'],
    run: async (t) => {
      await t.fs.mkdir(t.path('d'), 0o777);
      await t.fs.chown(t.path('d'), 0, 4242);
      await t.fs.chmod(t.path('d'), 0o2777);
      const alice = t.fs.as(ALICE);
      await writeFile(alice, t.path('d/f'));
      await alice.mkdir(t.path('d/sub'), 0o755);
      await alice.symlink('t', t.path('d/link'));
      for (const name of ['f', 'sub', 'link']) {
        const stat = await t.fs.lstat(t.path(`d/${name}`));
        t.is(stat.gid, 4242, `${name} has the group of the directory`);
        t.is(stat.uid, ALICE.uid, `${name} has its maker as owner`);
      }
      await t.mode(t.path('d/sub'), 0o2755, 'a directory in it is setgid too');
      await t.mode(t.path('d/f'), 0o644, 'a file is not');
      await writeFile(alice, t.path('d/sub/deep'));
      t.is((await t.fs.stat(t.path('d/sub/deep'))).gid, 4242, 'a level below');
      if (t.can('nodes')) {
        await alice.mknod(t.path('d/fifo'), S.IFIFO | 0o644, 0);
        t.is((await t.fs.stat(t.path('d/fifo'))).gid, 4242, 'a fifo');
      }
      await t.fs.chmod(t.path('d'), 0o777);
      await writeFile(alice, t.path('d/g'));
      t.is(
        (await t.fs.stat(t.path('d/g'))).gid,
        ALICE.gid,
        'without setgid: the group of the maker',
      );
    },
  },
  {
    name: 'permissions: link and symlink of what is not one’s own',
    needs: ['users'],
    run: async (t) => {
      await t.fs.chmod(t.dir, 0o777);
      await writeFile(t.fs, t.path('f'), 'x', 0o644);
      const bob = t.fs.as(BOB);
      await t.works(bob.symlink('f', t.path('link')), 'a symbolic link to it');
      t.is((await t.fs.lstat(t.path('link'))).uid, BOB.uid, 'is his');
      await t.works(bob.readlink(t.path('link')), 'anybody may read it');
      await t.works(t.fs.as(ALICE).readlink(t.path('link')), 'anybody at all');
    },
  },
  {
    name: 'permissions: times',
    needs: ['users', 'utimens'],
    run: async (t) => {
      await t.fs.chmod(t.dir, 0o777);
      await writeFile(t.fs, t.path('f'), 'x');
      await t.fs.chown(t.path('f'), ALICE.uid, ALICE.gid);
      await t.fs.chmod(t.path('f'), 0o666);
      const [alice, bob] = [t.fs.as(ALICE), t.fs.as(BOB)];
      await t.works(alice.utimens(t.path('f'), 5n, 6n), 'the owner sets any time');
      await t.fails('EPERM', bob.utimens(t.path('f'), 5n, 6n), 'one who may write sets a time');
      await t.works(bob.utimens(t.path('f'), 'now', 'now'), 'one who may write sets now');
      await t.fails(
        'EPERM',
        bob.utimens(t.path('f'), 'now', 'omit'),
        'one who may write sets one of the two',
      );
      await t.fs.chmod(t.path('f'), 0o644);
      await t.fails(
        'EACCES',
        bob.utimens(t.path('f'), 'now', 'now'),
        'one who may not write sets now',
      );
      await t.works(bob.utimens(t.path('f'), 'omit', 'omit'), 'nothing at all');
      await t.fs.chmod(t.path('f'), 0);
      await t.works(alice.utimens(t.path('f'), 'now', 'now'), 'the owner, mode 0');
    },
  },
];
