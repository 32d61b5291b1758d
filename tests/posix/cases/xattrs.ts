/** Extended attributes: names, values, flags, namespaces, who may. */
import { S, writeFile, XATTR } from '../posix-fs.js';
import { ALICE, BOB, type Case } from '../trial.js';
import { pattern } from './data.js';

export const xattrCases: readonly Case[] = [
  {
    name: 'xattrs: set, get, list, remove',
    needs: ['xattrs'],
    run: async (t) => {
      await writeFile(t.fs, t.path('f'), 'content');
      await t.fs.mkdir(t.path('d'), 0o755);
      for (const thing of ['f', 'd']) {
        const path = t.path(thing);
        t.is(
          (await t.fs.listxattr(path)).filter((name) => name.startsWith('user.')).length,
          0,
          `${thing}: none at first`,
        );
        await t.fails('ENODATA', t.fs.getxattr(path, 'user.a'), `${thing}: get of none`);
        await t.fails('ENODATA', t.fs.removexattr(path, 'user.a'), `${thing}: remove of none`);
        for (const [name, value] of [
          ['user.a', Buffer.from('value')],
          ['user.empty', Buffer.alloc(0)],
          ['user.zeros', Buffer.alloc(10)],
          ['user.any', Buffer.from(Array.from({ length: 256 }, (_, i) => i))],
          ['user.ünïcode', Buffer.from('☃')],
          ['user.with.dots', Buffer.from('.')],
        ] as const) {
          await t.works(t.fs.setxattr(path, name, value), `${thing}: set ${name}`);
          t.is<Uint8Array>(await t.fs.getxattr(path, name), value, `${thing}: get ${name}`);
        }
        const list = (await t.fs.listxattr(path)).filter((name) => name.startsWith('user.')).sort();
        t.is(
          list,
          ['user.a', 'user.any', 'user.empty', 'user.with.dots', 'user.zeros', 'user.ünïcode'],
          `${thing}: list`,
        );
        await t.works(
          t.fs.setxattr(path, 'user.a', Buffer.from('a longer value than before')),
          `${thing}: longer`,
        );
        t.is(
          (await t.fs.getxattr(path, 'user.a')).toString(),
          'a longer value than before',
          `${thing}: longer`,
        );
        await t.works(t.fs.setxattr(path, 'user.a', Buffer.from('s')), `${thing}: shorter`);
        t.is((await t.fs.getxattr(path, 'user.a')).toString(), 's', `${thing}: shorter`);
        for (const name of list) {
          await t.works(t.fs.removexattr(path, name), `${thing}: remove ${name}`);
          await t.fails('ENODATA', t.fs.getxattr(path, name), `${thing}: ${name} is gone`);
        }
      }
      await t.content(t.path('f'), 'content', 'the content is as it was');
    },
  },
  {
    name: 'xattrs: flags',
    needs: ['xattrs'],
    run: async (t) => {
      const f = t.path('f');
      await writeFile(t.fs, f);
      const x = Buffer.from('x');
      await t.fails('ENODATA', t.fs.setxattr(f, 'user.a', x, XATTR.REPLACE), 'replace of none');
      await t.works(t.fs.setxattr(f, 'user.a', x, XATTR.CREATE), 'create');
      await t.fails(
        'EEXIST',
        t.fs.setxattr(f, 'user.a', Buffer.from('y'), XATTR.CREATE),
        'create of one that is there',
      );
      t.is((await t.fs.getxattr(f, 'user.a')).toString(), 'x', 'value as it was');
      await t.works(t.fs.setxattr(f, 'user.a', Buffer.from('z'), XATTR.REPLACE), 'replace');
      t.is((await t.fs.getxattr(f, 'user.a')).toString(), 'z', 'the new value');
      await t.fails('EINVAL', t.fs.setxattr(f, 'user.a', x, 8), 'an unknown flag');
    },
  },
  {
    name: 'xattrs: limits',
    needs: ['xattrs'],
    run: async (t) => {
      const f = t.path('f');
      await writeFile(t.fs, f);
      const x = Buffer.from('x');
      await t.works(t.fs.setxattr(f, `user.${'n'.repeat(250)}`, x), 'a name of 255 bytes');
      t.is((await t.fs.getxattr(f, `user.${'n'.repeat(250)}`)).toString(), 'x', 'its value');
      await t.fails(
        'ERANGE',
        t.fs.setxattr(f, `user.${'n'.repeat(251)}`, x),
        'a name of 256 bytes',
      );
      await t.fails('EINVAL', t.fs.setxattr(f, 'user.', x), 'an empty name');
      await t.fails('EOPNOTSUPP', t.fs.setxattr(f, 'nonsense', x), 'no namespace');
      await t.fails('EOPNOTSUPP', t.fs.setxattr(f, 'nonsense.a', x), 'an unknown namespace');
      await t.fails('EOPNOTSUPP', t.fs.getxattr(f, 'nonsense.a'), 'get of an unknown namespace');
      for (const size of [100, 1000, 3000]) {
        await t.works(
          t.fs.setxattr(f, 'user.large', pattern(size, size)),
          `a value of ${size} bytes`,
        );
        t.is<Uint8Array>(
          await t.fs.getxattr(f, 'user.large'),
          pattern(size, size),
          `value of ${size} bytes`,
        );
      }
      await t.fails(
        'E2BIG',
        t.fs.setxattr(f, 'user.large', pattern(65_537, 1)),
        'a value of 65,537 bytes',
      );
      t.is((await t.fs.getxattr(f, 'user.large')).length, 3000, 'value as it was');
      const many = t.path('many');
      await writeFile(t.fs, many);
      for (let i = 0; i < 60; i++)
        await t.fs.setxattr(many, `user.number-${i}`, Buffer.from(`value ${i}`));
      t.is((await t.fs.listxattr(many)).length, 60, 'sixty names');
      let wrong = 0;
      for (let i = 0; i < 60; i++) {
        if ((await t.fs.getxattr(many, `user.number-${i}`)).toString() !== `value ${i}`) wrong += 1;
      }
      t.is(wrong, 0, 'wrong ones of sixty');
    },
  },
  {
    name: 'xattrs: of what they may be',
    needs: ['xattrs'],
    run: async (t) => {
      await writeFile(t.fs, t.path('f'));
      await t.fs.symlink('f', t.path('s'));
      const x = Buffer.from('x');
      await t.fails('EPERM', t.fs.setxattr(t.path('s'), 'user.a', x), 'user. on a symbolic link');
      if (t.can('nodes')) {
        await t.fs.mknod(t.path('p'), S.IFIFO | 0o644, 0);
        await t.fails('EPERM', t.fs.setxattr(t.path('p'), 'user.a', x), 'user. on a fifo');
      }
      await t.fs.setxattr(t.path('f'), 'user.a', x);
      await t.fs.link(t.path('f'), t.path('l'));
      t.is((await t.fs.getxattr(t.path('l'), 'user.a')).toString(), 'x', 'through a link');
      await t.fs.rename(t.path('f'), t.path('g'));
      t.is((await t.fs.getxattr(t.path('g'), 'user.a')).toString(), 'x', 'after a rename');
      await writeFile(t.fs, t.path('g'), 'rewritten');
      t.is((await t.fs.getxattr(t.path('g'), 'user.a')).toString(), 'x', 'after a write');
      await writeFile(t.fs, t.path('new'));
      await t.fails('ENODATA', t.fs.getxattr(t.path('new'), 'user.a'), 'a new file has none');
    },
  },
  {
    name: 'xattrs: who may',
    needs: ['xattrs', 'users'],
    run: async (t) => {
      await t.fs.chmod(t.dir, 0o777);
      const f = t.path('f');
      await writeFile(t.fs, f);
      await t.fs.chown(f, ALICE.uid, ALICE.gid);
      const [alice, bob] = [t.fs.as(ALICE), t.fs.as(BOB)];
      const x = Buffer.from('x');
      await t.works(alice.setxattr(f, 'user.a', x), 'the owner sets');
      await t.fails('EACCES', bob.setxattr(f, 'user.a', x), 'a stranger sets, mode 644');
      await t.works(bob.getxattr(f, 'user.a'), 'a stranger gets, mode 644');
      await t.fs.chmod(f, 0o600);
      await t.fails('EACCES', bob.getxattr(f, 'user.a'), 'a stranger gets, mode 600');
      await t.fails('EACCES', bob.removexattr(f, 'user.a'), 'a stranger removes, mode 600');
      await t.fs.chmod(f, 0o666);
      await t.works(bob.setxattr(f, 'user.b', x), 'a stranger sets, mode 666');
      await t.works(bob.removexattr(f, 'user.a'), 'a stranger removes, mode 666');
      await t.works(t.fs.setxattr(f, 'trusted.a', x), 'root sets trusted.');
      t.is((await t.fs.getxattr(f, 'trusted.a')).toString(), 'x', 'root gets trusted.');
      await t.fails('EPERM', alice.setxattr(f, 'trusted.b', x), 'the owner sets trusted.');
      await t.fails('ENODATA', alice.getxattr(f, 'trusted.a'), 'the owner gets trusted.');
      t.ok((await t.fs.listxattr(f)).includes('trusted.a'), 'root lists trusted.');
      t.ok(!(await alice.listxattr(f)).includes('trusted.a'), 'the owner does not');
      await t.fs.mkdir(t.path('sticky'), 0o1777);
      await t.fails(
        'EPERM',
        bob.setxattr(t.path('sticky'), 'user.a', x),
        "a sticky directory of another's",
      );
    },
  },
];
