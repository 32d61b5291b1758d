/** Locks: fcntl by process, OFD by open file, flock; split, merge, upgrade, release by close and death, deadlock, interruption. */
import {
  type File,
  type LockKind,
  type LockRange,
  O,
  type PosixFs,
  writeFile,
} from '../posix-fs.js';
import { type Case, type Trial } from '../trial.js';

interface Two {
  readonly a: PosixFs;
  readonly b: PosixFs;
  readonly fileA: File;
  readonly fileB: File;
}

export async function withTwo(t: Trial, use: (two: Two) => Promise<void>): Promise<void> {
  await writeFile(t.fs, t.path('f'), 'x'.repeat(1000));
  const a = await t.fs.process();
  const b = await t.fs.process();
  try {
    const fileA = await a.open(t.path('f'), O.RDWR);
    const fileB = await b.open(t.path('f'), O.RDWR);
    await use({ a, b, fileA, fileB });
  } finally {
    await a.close();
    await b.close();
  }
}

function lock(type: 'read' | 'write' | 'unlock', start = 0, length = 0): LockRange {
  return { type, start, length };
}

/** Bytes 0..19 as B finds them: '.' free, 'r' locked for reading, 'w' for writing. */
async function pictureOf(fileB: File): Promise<string> {
  let picture = '';
  for (let byte = 0; byte < 20; byte++) {
    const write = await fileB.testLock('posix', lock('write', byte, 1));
    picture += write === undefined ? '.' : write.type === 'read' ? 'r' : 'w';
  }
  return picture;
}

/** What A does, and what B then finds on bytes 0..19. */
const PICTURES: readonly (readonly [string, readonly LockRange[], string])[] = [
  ['nothing', [], '....................'],
  ['one range', [lock('write', 5, 5)], '.....wwwww..........'],
  ['the whole file', [lock('write')], 'wwwwwwwwwwwwwwwwwwww'],
  ['from 10 to the end', [lock('read', 10, 0)], '..........rrrrrrrrrr'],
  ['a split by unlock', [lock('write', 0, 15), lock('unlock', 5, 5)], 'wwwww.....wwwww.....'],
  ['a split by another type', [lock('write', 0, 15), lock('read', 5, 5)], 'wwwwwrrrrrwwwww.....'],
  ['a merge of neighbours', [lock('read', 0, 5), lock('read', 5, 5)], 'rrrrrrrrrr..........'],
  ['a merge of overlaps', [lock('write', 0, 8), lock('write', 4, 8)], 'wwwwwwwwwwww........'],
  [
    'a bridge between two',
    [lock('read', 0, 3), lock('read', 6, 3), lock('read', 3, 3)],
    'rrrrrrrrr...........',
  ],
  ['an upgrade', [lock('read', 2, 6), lock('write', 2, 6)], '..wwwwww............'],
  ['a downgrade', [lock('write', 2, 6), lock('read', 2, 6)], '..rrrrrr............'],
  ['an upgrade of the middle', [lock('read', 0, 12), lock('write', 4, 4)], 'rrrrwwwwrrrr........'],
  ['an upgrade over the end', [lock('read', 0, 6), lock('write', 3, 6)], 'rrrwwwwww...........'],
  ['an upgrade over the start', [lock('read', 6, 6), lock('write', 3, 6)], '...wwwwwwrrr........'],
  [
    'cover of several',
    [lock('read', 1, 2), lock('write', 5, 2), lock('read', 9, 2), lock('write', 0, 12)],
    'wwwwwwwwwwww........',
  ],
  [
    'unlock of several',
    [lock('read', 1, 2), lock('write', 5, 2), lock('read', 9, 2), lock('unlock', 2, 8)],
    '.r........r.........',
  ],
  [
    'unlock of all',
    [lock('read', 1, 2), lock('write', 5, 2), lock('unlock')],
    '....................',
  ],
  ['unlock of what is free', [lock('unlock', 3, 3)], '....................'],
  ['unlock of the head', [lock('write', 3, 10), lock('unlock', 0, 6)], '......wwwwwww.......'],
  ['unlock of the tail', [lock('write', 3, 10), lock('unlock', 10, 0)], '...wwwwwww..........'],
  ['one byte out of all', [lock('write'), lock('unlock', 7, 1)], 'wwwwwww.wwwwwwwwwwww'],
  ['the same twice', [lock('write', 4, 4), lock('write', 4, 4)], '....wwww............'],
  [
    'alternating bytes',
    [0, 2, 4, 6, 8].map((byte) => lock(byte % 4 === 0 ? 'read' : 'write', byte, 1)),
    'r.w.r.w.r...........',
  ],
];

/** A pair of locks of two owners -> whether the second one is refused. */
const CONFLICTS: readonly (readonly [LockRange, LockRange, boolean])[] = [
  [lock('read', 0, 10), lock('read', 0, 10), false],
  [lock('read', 0, 10), lock('write', 0, 10), true],
  [lock('write', 0, 10), lock('read', 0, 10), true],
  [lock('write', 0, 10), lock('write', 0, 10), true],
  [lock('write', 0, 10), lock('write', 10, 10), false],
  [lock('write', 0, 10), lock('write', 9, 1), true],
  [lock('write', 10, 10), lock('write', 0, 10), false],
  [lock('write', 10, 10), lock('write', 0, 11), true],
  [lock('write', 100, 0), lock('write', 1_000_000_000, 1), true],
  [lock('write', 100, 0), lock('write', 0, 100), false],
  [lock('write', 0, 0), lock('read', 5_000_000_000_000, 1), true],
  [lock('read', 0, 0), lock('read', 0, 0), false],
  [lock('read', 0, 0), lock('write', 999, 1), true],
  [lock('write', 4_611_686_018_427_387_000, 1), lock('write', 4_611_686_018_427_387_000, 1), true],
];

async function conflicts(t: Trial, kind: 'posix' | 'ofd'): Promise<void> {
  await withTwo(t, async ({ fileA, fileB }) => {
    for (const [held, asked, refused] of CONFLICTS) {
      const label = `${kind}: ${held.type} ${held.start}+${held.length} against ${asked.type} ${asked.start}+${asked.length}`;
      await fileA.lock(kind, held, false);
      await t.gives(refused ? 'EAGAIN' : undefined, fileB.lock(kind, asked, false), label);
      const found = await fileB.testLock(kind, asked);
      t.is(found !== undefined, refused, `${label}: getlk`);
      if (found !== undefined) {
        t.is(found.type, held.type, `${label}: type of the lock in the way`);
        // Behind 2^53 a file system may say "to the end".
        if (held.start < 2 ** 53) t.is(found.length, held.length, `${label}: its length`);
      }
      await fileA.lock(kind, lock('unlock'), false);
      await t.works(fileB.lock(kind, asked, false), `${label}: after the unlock`);
      await fileB.lock(kind, lock('unlock'), false);
    }
  });
}

/** A waits behind B's lock: it must not be granted before `release`, and soon after. */
async function waits(
  t: Trial,
  waiting: Promise<unknown>,
  release: () => Promise<unknown>,
  what: string,
): Promise<void> {
  let granted = false;
  const done = waiting.then(() => {
    granted = true;
  });
  await new Promise((resolve) => setTimeout(resolve, 20));
  t.ok(!granted, `${what}: waits`);
  await release();
  await t.works(done, `${what}: is granted`);
}

export const lockCases: readonly Case[] = [
  ...PICTURES.map(([name, actions, expected]): Case => ({
    name: `locks: fcntl, ${name}`,
    needs: ['locks', 'processes'],
    run: (t) =>
      withTwo(t, async ({ fileA, fileB }) => {
        for (const action of actions) await fileA.lock('posix', action, false);
        t.is(await pictureOf(fileB), expected, 'as the other sees it');
        await fileA.lock('posix', lock('unlock'), false);
        t.is(await pictureOf(fileB), '.'.repeat(20), 'after unlock of all');
      }),
  })),
  {
    name: 'locks: fcntl, who excludes whom',
    needs: ['locks', 'processes'],
    run: (t) => conflicts(t, 'posix'),
  },
  {
    name: 'locks: OFD, who excludes whom',
    needs: ['locks', 'processes'],
    run: (t) => conflicts(t, 'ofd'),
  },
  {
    name: 'locks: fcntl, one process does not exclude itself',
    needs: ['locks', 'processes'],
    run: (t) =>
      withTwo(t, async ({ a, fileA, fileB }) => {
        const again = await a.open(t.path('f'), O.RDWR);
        await fileA.lock('posix', lock('write', 0, 10), false);
        await t.works(
          again.lock('posix', lock('write', 0, 10), false),
          'through another open file',
        );
        t.is(
          await again.testLock('posix', lock('write', 0, 10)),
          undefined,
          'getlk finds nothing of its own',
        );
        await t.fails(
          'EAGAIN',
          fileB.lock('posix', lock('read', 5, 1), false),
          'the other is refused',
        );
        await again.close();
        await t.works(
          fileB.lock('posix', lock('read', 5, 1), false),
          'close of any of its files releases all',
        );
      }),
  },
  {
    name: 'locks: OFD, belongs to the open file',
    needs: ['locks', 'processes'],
    run: (t) =>
      withTwo(t, async ({ a, fileA, fileB }) => {
        const again = await a.open(t.path('f'), O.RDWR);
        await fileA.lock('ofd', lock('write', 0, 10), false);
        await t.fails(
          'EAGAIN',
          again.lock('ofd', lock('write', 0, 10), false),
          'another open file of the same process',
        );
        await again.close();
        await t.fails(
          'EAGAIN',
          fileB.lock('ofd', lock('write', 0, 10), false),
          'close of that one releases nothing',
        );
        await t.fails(
          'EAGAIN',
          fileB.lock('posix', lock('write', 0, 10), false),
          'it excludes locks of processes',
        );
        await fileA.close();
        await t.works(
          fileB.lock('ofd', lock('write', 0, 10), false),
          'close of the file itself releases',
        );
      }),
  },
  {
    name: 'locks: fcntl, released by close and by death',
    needs: ['locks', 'processes'],
    run: (t) =>
      withTwo(t, async ({ fileA, fileB }) => {
        await fileA.lock('posix', lock('write'), false);
        await t.fails('EAGAIN', fileB.lock('posix', lock('write'), false), 'held');
        await fileA.close();
        await t.works(fileB.lock('posix', lock('write'), false), 'after close');
        await fileB.lock('posix', lock('unlock'), false);
        const c = await t.fs.process();
        const fileC = await c.open(t.path('f'), O.RDWR);
        await fileC.lock('posix', lock('write'), false);
        await t.fails('EAGAIN', fileB.lock('posix', lock('write'), false), 'held by a third');
        await c.kill();
        await t.works(fileB.lock('posix', lock('write'), true), 'after the third was killed');
      }),
  },
  {
    name: 'locks: fcntl, what they need',
    needs: ['locks', 'processes'],
    run: (t) =>
      withTwo(t, async ({ a }) => {
        const reader = await a.open(t.path('f'), O.RDONLY);
        const writer = await a.open(t.path('f'), O.WRONLY);
        await t.works(
          reader.lock('posix', lock('read'), false),
          'a read lock on a file opened to read',
        );
        await t.fails(
          'EBADF',
          reader.lock('posix', lock('write'), false),
          'a write lock on a file opened to read',
        );
        await t.fails(
          'EBADF',
          writer.lock('posix', lock('read'), false),
          'a read lock on a file opened to write',
        );
        await t.works(
          writer.lock('posix', lock('write'), false),
          'a write lock on a file opened to write',
        );
        await t.fails(
          'EINVAL',
          writer.lock('posix', lock('write', -5, 1), false),
          'before the start',
        );
        // A negative length is the bytes before the start.
        await t.works(writer.lock('posix', lock('write', 10, -5), false), 'a negative length');
      }),
  },
  {
    name: 'locks: fcntl, waiting',
    needs: ['locks', 'processes'],
    run: (t) =>
      withTwo(t, async ({ fileA, fileB }) => {
        await fileB.lock('posix', lock('write', 0, 10), false);
        await waits(
          t,
          fileA.lock('posix', lock('write', 5, 10), true),
          () => fileB.lock('posix', lock('unlock'), false),
          'behind a write lock',
        );
        await fileA.lock('posix', lock('unlock'), false);
        await fileB.lock('posix', lock('read', 0, 10), false);
        await waits(
          t,
          fileA.lock('posix', lock('write', 0, 1), true),
          () => fileB.close(),
          'until the other closes',
        );
      }),
  },
  {
    name: 'locks: fcntl, a waiting one is granted by a downgrade',
    needs: ['locks', 'processes'],
    run: (t) =>
      withTwo(t, async ({ fileA, fileB }) => {
        await fileB.lock('posix', lock('write', 0, 10), false);
        await waits(
          t,
          fileA.lock('posix', lock('read', 0, 10), true),
          () => fileB.lock('posix', lock('read', 0, 10), false),
          'a reader behind a writer that becomes a reader',
        );
        await t.fails(
          'EAGAIN',
          fileB.lock('posix', lock('write', 0, 10), false),
          'no upgrade beside another reader',
        );
        await fileA.lock('posix', lock('unlock'), false);
        await t.works(fileB.lock('posix', lock('write', 0, 10), false), 'an upgrade alone');
      }),
  },
  {
    name: 'locks: fcntl, deadlock',
    needs: ['locks', 'processes'],
    run: (t) =>
      withTwo(t, async ({ fileA, fileB }) => {
        await fileA.lock('posix', lock('write', 0, 1), false);
        await fileB.lock('posix', lock('write', 1, 1), false);
        const waiting = fileA.lock('posix', lock('write', 1, 1), true);
        await new Promise((resolve) => setTimeout(resolve, 20));
        await t.fails(
          'EDEADLK',
          fileB.lock('posix', lock('write', 0, 1), true),
          'the one that closes the circle',
        );
        await fileB.lock('posix', lock('unlock'), false);
        await t.works(waiting, 'the other is granted');
      }),
  },
  {
    name: 'locks: fcntl, interrupted',
    needs: ['locks', 'processes'],
    run: (t) =>
      withTwo(t, async ({ a, fileA, fileB }) => {
        await fileB.lock('posix', lock('write'), false);
        const waiting = t.fails(
          'EINTR',
          fileA.lock('posix', lock('write'), true),
          'a signal while it waits',
        );
        await new Promise((resolve) => setTimeout(resolve, 30));
        a.interrupt();
        await waiting;
        await fileB.lock('posix', lock('unlock'), false);
        t.is(await fileB.testLock('posix', lock('write')), undefined, 'nothing is left of it');
      }),
  },
  {
    name: 'locks: fcntl, of a file without a name and of two files',
    needs: ['locks', 'processes'],
    run: (t) =>
      withTwo(t, async ({ a, b, fileA, fileB }) => {
        await writeFile(t.fs, t.path('g'), 'g');
        const otherA = await a.open(t.path('g'), O.RDWR);
        const otherB = await b.open(t.path('g'), O.RDWR);
        await fileA.lock('posix', lock('write'), false);
        await t.works(otherB.lock('posix', lock('write'), false), 'another file is free');
        await t.fs.link(t.path('f'), t.path('l'));
        const link = await b.open(t.path('l'), O.RDWR);
        await t.fails(
          'EAGAIN',
          link.lock('posix', lock('write'), false),
          'another name of the same file is not',
        );
        await t.fs.unlink(t.path('f'));
        await t.fs.unlink(t.path('l'));
        await t.fails(
          'EAGAIN',
          fileB.lock('posix', lock('write'), false),
          'nor is it without a name',
        );
        await otherA.close();
        await t.fails(
          'EAGAIN',
          fileB.lock('posix', lock('write'), false),
          'close of another file releases nothing',
        );
      }),
  },
  {
    name: 'locks: flock',
    needs: ['flock', 'processes'],
    run: (t) =>
      withTwo(t, async ({ a, fileA, fileB }) => {
        const kind: LockKind = 'flock';
        await t.works(fileA.lock(kind, lock('read'), false), 'shared');
        await t.works(fileB.lock(kind, lock('read'), false), 'shared by another');
        await t.fails('EAGAIN', fileB.lock(kind, lock('write'), false), 'exclusive beside shared');
        await fileB.lock(kind, lock('unlock'), false);
        await t.works(fileA.lock(kind, lock('write'), false), 'an upgrade');
        await t.fails('EAGAIN', fileB.lock(kind, lock('read'), false), 'shared beside exclusive');
        const again = await a.open(t.path('f'), O.RDWR);
        await t.fails(
          'EAGAIN',
          again.lock(kind, lock('read'), false),
          'another open file of the same process',
        );
        await again.close();
        await t.fails(
          'EAGAIN',
          fileB.lock(kind, lock('read'), false),
          'close of that one releases nothing',
        );
        await waits(
          t,
          fileB.lock(kind, lock('write'), true),
          () => fileA.close(),
          'until the other closes',
        );
        await t.works(fileB.lock(kind, lock('unlock'), false), 'unlock');
        await t.works(fileB.lock(kind, lock('unlock'), false), 'unlock of nothing');
        const reader = await a.open(t.path('f'), O.RDONLY);
        await t.works(
          reader.lock(kind, lock('write'), false),
          'exclusive on a file opened to read',
        );
        await t.works(
          fileB.lock('posix', lock('write'), false),
          'fcntl and flock do not see each other',
        );
        const directory = await a.open(t.dir, O.RDONLY);
        await t.works(directory.lock(kind, lock('write'), false), 'of a directory');
        await directory.close();
      }),
  },
  {
    name: 'locks: flock, interrupted and released by death',
    needs: ['flock', 'processes'],
    run: (t) =>
      withTwo(t, async ({ a, fileA, fileB }) => {
        await fileB.lock('flock', lock('write'), false);
        const waiting = t.fails(
          'EINTR',
          fileA.lock('flock', lock('write'), true),
          'a signal while it waits',
        );
        await new Promise((resolve) => setTimeout(resolve, 30));
        a.interrupt();
        await waiting;
        const c = await t.fs.process();
        const fileC = await c.open(t.path('f'), O.RDWR);
        await fileB.lock('flock', lock('unlock'), false);
        await fileC.lock('flock', lock('write'), false);
        await t.fails('EAGAIN', fileB.lock('flock', lock('write'), false), 'held by a third');
        await c.kill();
        await t.works(fileB.lock('flock', lock('write'), true), 'after the third was killed');
      }),
  },
];
