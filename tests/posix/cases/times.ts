/** Which call sets which time: of the thing and of the directories around it. */
import { type File, O, type PosixFs, S, writeFile } from '../posix-fs.js';
import { type Case, tick, type Trial } from '../trial.js';

/** A row prepares below its own directory, does one thing, and says what it touches: letters of a, m, c; '?': atime is not looked at. */
interface Row {
  readonly name: string;
  readonly needs?: 'xattrs' | 'nodes' | 'fallocate' | 'renameFlags' | 'copyRange' | 'mmap';
  prepare?(fs: PosixFs, d: string): Promise<void>;
  act(fs: PosixFs, d: string): Promise<unknown>;
  /** Path below the directory ('' itself) -> times that must be new; all other times must be the same. */
  readonly touches: Record<string, string>;
}

async function withFile(
  fs: PosixFs,
  path: string,
  flags: number,
  use: (file: File) => Promise<unknown>,
): Promise<void> {
  const file = await fs.open(path, flags, 0o644);
  try {
    await use(file);
  } finally {
    await file.close();
  }
}

const X = Buffer.from('x');

const ROWS: readonly Row[] = [
  {
    name: 'create',
    act: (fs, d) => withFile(fs, `${d}/new`, O.WRONLY | O.CREAT, async () => undefined),
    touches: { '': 'mc' },
  },
  {
    name: 'open of what exists with O_CREAT',
    act: (fs, d) => withFile(fs, `${d}/f`, O.WRONLY | O.CREAT, async () => undefined),
    touches: { '': '', f: '' },
  },
  {
    name: 'open to read',
    act: (fs, d) => withFile(fs, `${d}/f`, O.RDONLY, async () => undefined),
    touches: { '': '', f: '' },
  },
  { name: 'mkdir', act: (fs, d) => fs.mkdir(`${d}/new`, 0o755), touches: { '': 'mc' } },
  { name: 'rmdir', act: (fs, d) => fs.rmdir(`${d}/empty`), touches: { '': 'mc' } },
  { name: 'symlink', act: (fs, d) => fs.symlink('t', `${d}/new`), touches: { '': 'mc' } },
  {
    name: 'mkfifo',
    needs: 'nodes',
    act: (fs, d) => fs.mknod(`${d}/new`, S.IFIFO | 0o644, 0),
    touches: { '': 'mc' },
  },
  { name: 'link', act: (fs, d) => fs.link(`${d}/f`, `${d}/new`), touches: { '': 'mc', f: 'c' } },
  {
    name: 'unlink',
    prepare: (fs, d) => fs.link(`${d}/f`, `${d}/f2`),
    act: (fs, d) => fs.unlink(`${d}/f2`),
    touches: { '': 'mc', f: 'c' },
  },
  {
    name: 'rename in one directory',
    act: (fs, d) => fs.rename(`${d}/f`, `${d}/f2`),
    touches: { '': 'mc', f2: 'c' },
  },
  {
    name: 'rename to another directory',
    act: (fs, d) => fs.rename(`${d}/f`, `${d}/empty/f`),
    touches: { '': 'mc', empty: 'mc', 'empty/f': 'c' },
  },
  {
    name: 'rename of a directory',
    act: (fs, d) => fs.rename(`${d}/empty`, `${d}/full/empty`),
    touches: { '': 'mc', full: 'mc' },
  },
  {
    name: 'rename over a link of it',
    prepare: (fs, d) => fs.link(`${d}/f`, `${d}/f2`),
    act: (fs, d) => fs.rename(`${d}/f`, `${d}/f2`),
    touches: { '': '', f: '', f2: '' },
  },
  {
    name: 'rename over a file with another link',
    prepare: async (fs, d) => {
      await writeFile(fs, `${d}/g`);
      await fs.link(`${d}/g`, `${d}/g2`);
    },
    act: (fs, d) => fs.rename(`${d}/f`, `${d}/g`),
    touches: { '': 'mc', g: 'c', g2: 'c' },
  },
  {
    name: 'exchange',
    needs: 'renameFlags',
    act: (fs, d) => fs.rename(`${d}/f`, `${d}/full/child`, 2),
    touches: { '': 'mc', full: 'mc', f: 'c', 'full/child': 'c' },
  },
  {
    name: 'write',
    act: (fs, d) => withFile(fs, `${d}/f`, O.WRONLY, (file) => file.write(0, X)),
    touches: { '': '', f: 'mc' },
  },
  {
    name: 'write behind the end',
    act: (fs, d) => withFile(fs, `${d}/f`, O.WRONLY, (file) => file.write(10_000, X)),
    touches: { '': '', f: 'mc' },
  },
  {
    name: 'write of nothing',
    act: (fs, d) => withFile(fs, `${d}/f`, O.WRONLY, (file) => file.write(0, Buffer.alloc(0))),
    touches: { '': '', f: '' },
  },
  {
    name: 'append',
    act: (fs, d) => withFile(fs, `${d}/f`, O.WRONLY | O.APPEND, (file) => file.write(0, X)),
    touches: { '': '', f: 'mc' },
  },
  {
    name: 'mapped write',
    needs: 'mmap',
    act: (fs, d) => withFile(fs, `${d}/f`, O.RDWR, (file) => file.mapWrite(0, X)),
    touches: { f: 'mc?' },
  },
  { name: 'truncate down', act: (fs, d) => fs.truncate(`${d}/f`, 1), touches: { '': '', f: 'mc' } },
  {
    name: 'truncate up',
    act: (fs, d) => fs.truncate(`${d}/f`, 100_000),
    touches: { '': '', f: 'mc' },
  },
  {
    name: 'ftruncate',
    act: (fs, d) => withFile(fs, `${d}/f`, O.RDWR, (file) => file.truncate(1)),
    touches: { f: 'mc' },
  },
  {
    name: 'O_TRUNC',
    act: (fs, d) => withFile(fs, `${d}/f`, O.WRONLY | O.TRUNC, async () => undefined),
    touches: { '': '', f: 'mc' },
  },
  {
    name: 'O_TRUNC of an empty file',
    prepare: (fs, d) => fs.truncate(`${d}/f`, 0),
    act: (fs, d) => withFile(fs, `${d}/f`, O.WRONLY | O.TRUNC, async () => undefined),
    touches: { '': '', f: 'mc' },
  },
  { name: 'chmod', act: (fs, d) => fs.chmod(`${d}/f`, 0o600), touches: { '': '', f: 'c' } },
  {
    name: 'chmod of a directory',
    act: (fs, d) => fs.chmod(`${d}/empty`, 0o700),
    touches: { '': '', empty: 'c' },
  },
  {
    name: 'chown',
    act: (fs, d) => fs.chown(`${d}/f`, fs.user.uid, fs.user.gid),
    touches: { '': '', f: 'c' },
  },
  {
    name: 'lchown of a link',
    act: (fs, d) => fs.lchown(`${d}/link`, fs.user.uid, fs.user.gid),
    touches: { link: 'c', f: '' },
  },
  {
    name: 'utimens of the past',
    act: (fs, d) => fs.utimens(`${d}/f`, 7n, 8n),
    touches: { '': '', f: 'amc' },
  },
  { name: 'stat', act: (fs, d) => fs.stat(`${d}/f`), touches: { '': '', f: '' } },
  {
    name: 'close of an unchanged file',
    act: (fs, d) => withFile(fs, `${d}/f`, O.RDWR, (file) => file.sync(false)),
    touches: { f: '' },
  },
  {
    name: 'setxattr',
    needs: 'xattrs',
    act: (fs, d) => fs.setxattr(`${d}/f`, 'user.a', X),
    touches: { '': '', f: 'c' },
  },
  {
    name: 'removexattr',
    needs: 'xattrs',
    prepare: (fs, d) => fs.setxattr(`${d}/f`, 'user.a', X),
    act: (fs, d) => fs.removexattr(`${d}/f`, 'user.a'),
    touches: { '': '', f: 'c' },
  },
  {
    name: 'fallocate behind the end',
    needs: 'fallocate',
    act: (fs, d) => withFile(fs, `${d}/f`, O.RDWR, (file) => file.allocate(0, 0, 20_000)),
    touches: { f: 'mc' },
  },
  {
    name: 'punch',
    needs: 'fallocate',
    act: (fs, d) => withFile(fs, `${d}/f`, O.RDWR, (file) => file.allocate(3, 0, 1)),
    touches: { f: 'mc' },
  },
  {
    name: 'copy range',
    needs: 'copyRange',
    act: (fs, d) =>
      withFile(fs, `${d}/full/child`, O.RDONLY, (from) =>
        withFile(fs, `${d}/f`, O.WRONLY, (to) => from.copyTo(0, to, 0, 1)),
      ),
    touches: { f: 'mc' },
  },
  {
    name: 'create that fails',
    act: (fs, d) => fs.mkdir(`${d}/f`, 0o755).catch(() => undefined),
    touches: { '': '', f: '' },
  },
  {
    name: 'rmdir that fails',
    act: (fs, d) => fs.rmdir(`${d}/full`).catch(() => undefined),
    touches: { '': '', full: '' },
  },
  {
    name: 'rename that fails',
    act: (fs, d) => fs.rename(`${d}/f`, `${d}/full`).catch(() => undefined),
    touches: { '': '', full: '', f: '' },
  },
  {
    name: 'unlink that fails',
    act: (fs, d) => fs.unlink(`${d}/full`).catch(() => undefined),
    touches: { '': '', full: '' },
  },
];

const OLD = 1_000_000_000_123_456_789n;

async function timesRow(t: Trial, row: Row, index: number): Promise<void> {
  const d = t.path(`row-${index}`);
  const watched = Object.keys(row.touches);
  // Names after the act that carry an inode from before it: found by its number.
  const all = ['', 'f', 'f2', 'g', 'g2', 'link', 'empty', 'full', 'full/child', 'empty/f'];
  const byIno = new Map<number, { atime: bigint; mtime: bigint; ctime: bigint }>();
  for (const name of all) {
    const stat = await t.fs.lstat(`${d}/${name}`).catch(() => undefined);
    if (stat !== undefined) byIno.set(stat.ino, stat);
  }
  await tick();
  await row.act(t.fs, d);
  for (const name of watched) {
    const after = await t.fs.lstat(`${d}/${name}`);
    const before = byIno.get(after.ino);
    if (before === undefined) throw new Error(`${row.name}: ${name} is a new inode`);
    const touches = row.touches[name] as string;
    const label = `${row.name}: ${name === '' ? 'the directory' : name}`;
    for (const [letter, time] of [
      ['a', 'atime'],
      ['m', 'mtime'],
      ['c', 'ctime'],
    ] as const) {
      if (letter === 'a' && touches.includes('?')) continue;
      if (touches.includes(letter)) t.ok(after[time] !== before[time], `${label}: ${time} is new`);
      else t.is(after[time], before[time], `${label}: ${time} is as it was`);
    }
    if (touches.includes('c')) t.ok(after.ctime > before.ctime, `${label}: ctime grows`);
  }
}

async function prepareRow(t: Trial, row: Row, index: number): Promise<void> {
  const d = t.path(`row-${index}`);
  await t.fs.mkdir(d, 0o755);
  await writeFile(t.fs, `${d}/f`, 'content');
  await t.fs.symlink('f', `${d}/link`);
  await t.fs.mkdir(`${d}/empty`, 0o755);
  await t.fs.mkdir(`${d}/full`, 0o755);
  await writeFile(t.fs, `${d}/full/child`, 'child');
  await row.prepare?.(t.fs, d);
  for (const name of ['/f', '/full/child', '/empty', '/full', '']) {
    await t.fs.utimens(`${d}${name}`, OLD, OLD);
  }
}

export const timesCases: readonly Case[] = [
  {
    name: 'times: what each call sets',
    run: async (t) => {
      const rows = ROWS.filter((row) => row.needs === undefined || t.can(row.needs));
      for (const [index, row] of rows.entries()) {
        await prepareRow(t, row, index);
        await timesRow(t, row, index);
      }
    },
  },
  {
    name: 'times: of what is new',
    run: async (t) => {
      await t.fs.utimens(t.dir, OLD, OLD);
      await tick();
      await writeFile(t.fs, t.path('f'));
      await t.fs.mkdir(t.path('d'), 0o755);
      await t.fs.symlink('t', t.path('l'));
      const around = await t.fs.stat(t.dir);
      for (const name of ['f', 'd', 'l']) {
        const stat = await t.fs.lstat(t.path(name));
        t.is(stat.atime, stat.mtime, `${name}: atime is mtime`);
        t.is(stat.mtime, stat.ctime, `${name}: mtime is ctime`);
        t.ok(stat.ctime <= around.mtime, `${name}: not later than the directory`);
        t.ok(around.mtime - stat.ctime < 5_000_000_000n, `${name}: about now`);
      }
      t.is(around.mtime, around.ctime, 'mtime of the directory is its ctime');
    },
  },
  {
    name: 'times: set exactly',
    needs: ['utimens'],
    run: async (t) => {
      await writeFile(t.fs, t.path('f'));
      const exact = [
        0n,
        1n,
        999_999_999n,
        1_000_000_000n,
        1_234_567_890_123_456_789n,
        2_147_483_647_999_999_999n,
        2_147_483_648_000_000_001n,
        4_294_967_296_500_000_000n,
      ];
      for (const atime of exact) {
        for (const mtime of [atime, 5_000_000_007n]) {
          await t.works(t.fs.utimens(t.path('f'), atime, mtime), `set ${atime} and ${mtime}`);
          const stat = await t.fs.stat(t.path('f'));
          t.is(stat.atime, atime, 'atime');
          t.is(stat.mtime, mtime, 'mtime');
        }
      }
      await t.works(t.fs.utimens(t.path('f'), -1_500_000_000n, -1n), 'before 1970');
      const early = await t.fs.stat(t.path('f'));
      t.is(early.atime, -1_500_000_000n, 'atime before 1970');
      t.is(early.mtime, -1n, 'mtime before 1970');
    },
  },
  {
    name: 'times: now and omit',
    needs: ['utimens'],
    run: async (t) => {
      await writeFile(t.fs, t.path('f'));
      await t.fs.utimens(t.path('f'), 111n, 222n);
      await t.fs.utimens(t.path('f'), 'omit', 333n);
      t.is((await t.fs.stat(t.path('f'))).atime, 111n, 'atime omitted');
      t.is((await t.fs.stat(t.path('f'))).mtime, 333n, 'mtime set');
      await t.fs.utimens(t.path('f'), 444n, 'omit');
      t.is((await t.fs.stat(t.path('f'))).atime, 444n, 'atime set');
      t.is((await t.fs.stat(t.path('f'))).mtime, 333n, 'mtime omitted');
      const before = await t.fs.stat(t.path('f'));
      await tick();
      await t.fs.utimens(t.path('f'), 'omit', 'omit');
      t.is((await t.fs.stat(t.path('f'))).ctime, before.ctime, 'both omitted: ctime too');
      await t.fs.utimens(t.path('f'), 'now', 'now');
      const now = await t.fs.stat(t.path('f'));
      t.ok(now.atime >= before.ctime, 'atime is now');
      t.is(now.atime, now.mtime, 'both are the same now');
      await t.fs.utimens(t.path('f'), 'now', 5n);
      t.is((await t.fs.stat(t.path('f'))).mtime, 5n, 'one now, one set');
    },
  },
  {
    name: 'times: of a link itself',
    needs: ['utimens'],
    run: async (t) => {
      await writeFile(t.fs, t.path('f'));
      await t.fs.utimens(t.path('f'), 1n, 2n);
      await t.fs.symlink('f', t.path('l'));
      await t.works(t.fs.lutimens(t.path('l'), 3n, 4n), 'lutimens');
      t.is((await t.fs.lstat(t.path('l'))).mtime, 4n, 'mtime of the link');
      t.is((await t.fs.stat(t.path('l'))).mtime, 2n, 'mtime of the file');
      await t.fs.utimens(t.path('l'), 5n, 6n);
      t.is((await t.fs.lstat(t.path('l'))).mtime, 4n, 'utimens follows: the link');
      t.is((await t.fs.stat(t.path('f'))).mtime, 6n, 'utimens follows: the file');
      const file = await t.fs.open(t.path('f'), O.RDONLY);
      await t.works(file.utimens(7n, 8n), 'futimens of a file opened to read');
      t.is((await file.stat()).mtime, 8n, 'after futimens');
      await file.close();
    },
  },
  {
    name: 'times: relatime',
    needs: ['relatime', 'utimens'],
    run: async (t) => {
      const day = 86_400_000_000_000n;
      await writeFile(t.fs, t.path('f'), 'content');
      const now = (await t.fs.stat(t.path('f'))).ctime;
      await t.fs.utimens(t.path('f'), now - 2n * day, now - 3n * day);
      await tick();
      await withFile(t.fs, t.path('f'), O.RDONLY, (file) => file.read(0, 10));
      t.ok(
        (await t.fs.stat(t.path('f'))).atime >= now,
        'an atime of two days ago is renewed by read',
      );
      const soon = (await t.fs.stat(t.path('f'))).atime;
      await tick();
      await withFile(t.fs, t.path('f'), O.RDONLY, (file) => file.read(0, 10));
      t.is((await t.fs.stat(t.path('f'))).atime, soon, 'one of just now is not');
      const mtime = (await t.fs.stat(t.path('f'))).mtime;
      t.is(mtime, now - 3n * day, 'mtime is never touched by read');
    },
  },
  {
    name: 'times: mtime and ctime only grow while a file is written',
    run: async (t) => {
      const file = await t.fs.open(t.path('f'), O.RDWR | O.CREAT, 0o644);
      let last = await file.stat();
      for (let round = 0; round < 4; round++) {
        await tick();
        await file.write(round * 5000, X);
        const stat = await file.stat();
        t.ok(stat.mtime > last.mtime, `mtime of write ${round}`);
        t.is(stat.mtime, stat.ctime, `ctime of write ${round}`);
        last = stat;
      }
      await file.close();
      t.is((await t.fs.stat(t.path('f'))).mtime, last.mtime, 'close leaves it');
    },
  },
];
