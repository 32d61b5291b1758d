/** Two instances over the same files (mounts, servers): what one did, the other sees at once. */
import { type File, type LockRange, O, type PosixFs, readFile, writeFile } from './posix-fs.js';
import { type Case, type Report, runCases, type Trial } from './trial.js';

const ALL: LockRange = { type: 'write', start: 0, length: 0 };
const NONE: LockRange = { type: 'unlock', start: 0, length: 0 };

function casesOf(b: PosixFs): readonly Case[] {
  const both = (t: Trial, round: number): readonly [PosixFs, PosixFs] =>
    round % 2 === 0 ? [t.fs, b] : [b, t.fs];
  return [
    {
      name: 'coherence: written and closed',
      run: async (t) => {
        for (let round = 0; round < 20; round++) {
          const [writer, reader] = both(t, round);
          await writeFile(writer, t.path('f'), `round ${round} ${'x'.repeat(round * 500)}`);
          t.is(
            (await readFile(reader, t.path('f'))).toString().split(' ')[1],
            String(round),
            `content of round ${round}`,
          );
          t.is(
            (await reader.stat(t.path('f'))).size,
            (await writer.stat(t.path('f'))).size,
            `size of round ${round}`,
          );
        }
      },
    },
    {
      name: 'coherence: just written, both have it open',
      run: async (t) => {
        await writeFile(t.fs, t.path('f'), Buffer.alloc(20_000));
        const files = [
          await t.fs.open(t.path('f'), O.RDWR),
          await b.open(t.path('f'), O.RDWR),
        ] as const;
        for (let round = 0; round < 40; round++) {
          const [writer, reader] = (round % 2 === 0 ? files : [files[1], files[0]]) as readonly [
            File,
            File,
          ];
          const offset = (round * 997) % 19_000;
          await writer.write(offset, Buffer.from(`r${round};`));
          t.is(
            (await reader.read(offset, 8)).toString('latin1').split(';')[0],
            `r${round}`,
            `round ${round}`,
          );
        }
        await files[0].truncate(100);
        t.is((await files[1].stat()).size, 100, 'a truncate is seen');
        t.is((await files[1].read(0, 1000)).length, 100, 'and ends reads');
        for (const file of files) await file.close();
      },
    },
    {
      name: 'coherence: names',
      run: async (t) => {
        for (let round = 0; round < 10; round++) {
          const [one, other] = both(t, round);
          await t.absent(t.path('x'), 'not there yet');
          await t.fails('ENOENT', other.lstat(t.path('x')), 'nor for the other');
          await writeFile(one, t.path('x'), 'x');
          await t.works(other.lstat(t.path('x')), 'made: seen, though it was asked for before');
          t.is((await other.readdir(t.dir)).length, 1, 'and listed');
          await one.rename(t.path('x'), t.path('y'));
          await t.fails('ENOENT', other.lstat(t.path('x')), 'renamed: the old name is gone');
          await t.works(other.lstat(t.path('y')), 'renamed: the new one is there');
          await other.unlink(t.path('y'));
          await t.fails('ENOENT', one.lstat(t.path('y')), 'unlinked by the other');
          await one.mkdir(t.path('d'), 0o755);
          await t.fails('EEXIST', other.mkdir(t.path('d'), 0o755), 'mkdir of what the other made');
          await writeFile(other, t.path('d/f'), 'f');
          await t.fails('ENOTEMPTY', one.rmdir(t.path('d')), 'rmdir of what the other filled');
          await other.unlink(t.path('d/f'));
          await t.works(one.rmdir(t.path('d')), 'rmdir of what the other emptied');
        }
      },
    },
    {
      name: 'coherence: attributes',
      run: async (t) => {
        await writeFile(t.fs, t.path('f'), 'x');
        await b.stat(t.path('f'));
        for (const [round, mode] of [0o600, 0o644, 0o755, 0o640].entries()) {
          const [one, other] = both(t, round);
          await one.chmod(t.path('f'), mode);
          t.is((await other.stat(t.path('f'))).mode & 0o7777, mode, 'chmod');
          await one.link(t.path('f'), t.path(`l${round}`));
          t.is((await other.stat(t.path('f'))).nlink, round + 2, 'link');
          await one.utimens(t.path('f'), 1_000_000_000n, BigInt(round + 1) * 1_000_000_000n);
          t.is(
            (await other.stat(t.path('f'))).mtime,
            BigInt(round + 1) * 1_000_000_000n,
            'utimens',
          );
        }
      },
    },
    {
      name: 'coherence: appends of both at once',
      run: async (t) => {
        await Promise.all(
          [t.fs, b].map(async (fs, who) => {
            const file = await fs.open(t.path('f'), O.WRONLY | O.APPEND | O.CREAT, 0o644);
            for (let i = 0; i < 100; i++)
              await file.write(0, Buffer.from(`${who}:${String(i).padStart(4, '0')}\n`));
            await file.close();
          }),
        );
        const lines = (await readFile(b, t.path('f'))).toString().split('\n').slice(0, -1);
        t.is(lines.length, 200, 'nothing is lost');
        t.is(new Set(lines).size, 200, 'nothing is twice');
        for (const who of ['0', '1']) {
          const own = lines.filter((line) => line.startsWith(who));
          t.is([...own].sort(), own, 'the lines of one are in its order');
        }
      },
    },
    {
      name: 'coherence: exclusive creates of both at once',
      run: async (t) => {
        for (let round = 0; round < 20; round++) {
          const results = await Promise.allSettled(
            [t.fs, b].map((fs) => fs.open(t.path(`f${round}`), O.WRONLY | O.CREAT | O.EXCL, 0o644)),
          );
          t.is(
            results.filter((result) => result.status === 'fulfilled').length,
            1,
            `one wins round ${round}`,
          );
          for (const result of results)
            if (result.status === 'fulfilled') await result.value.close();
        }
      },
    },
    {
      name: 'coherence: unlinked by one, open at the other',
      run: async (t) => {
        await writeFile(t.fs, t.path('f'), 'content');
        const file = await b.open(t.path('f'), O.RDWR);
        await t.fs.unlink(t.path('f'));
        t.is((await file.read(0, 10)).toString(), 'content', 'is read on');
        await t.works(file.write(7, Buffer.from('!')), 'is written on');
        t.is((await file.stat()).nlink, 0, 'has no links');
        await file.close();
      },
    },
    {
      name: 'coherence: renames of both at once make no loop',
      run: async (t) => {
        for (let round = 0; round < 10; round++) {
          await t.fs.mkdir(t.path('a'), 0o755);
          await t.fs.mkdir(t.path('b'), 0o755);
          const results = await Promise.allSettled([
            t.fs.rename(t.path('a'), t.path('b/a')),
            b.rename(t.path('b'), t.path('a/b')),
          ]);
          t.is(
            results.filter((result) => result.status === 'fulfilled').length,
            1,
            'one of the two',
          );
          const top = (await t.fs.readdir(t.dir)).map((item) => item.name.toString());
          t.is(top.length, 1, 'one is left at the top');
          const [name] = top;
          await t.fs.rmdir(t.path(name === 'a' ? 'a/b' : 'b/a'));
          await t.fs.rmdir(t.path(name ?? ''));
        }
      },
    },
    {
      name: 'coherence: mapped pages',
      needs: ['mmap'],
      run: async (t) => {
        await writeFile(t.fs, t.path('f'), Buffer.alloc(8192));
        const files = [
          await t.fs.open(t.path('f'), O.RDWR),
          await b.open(t.path('f'), O.RDWR),
        ] as const;
        for (let round = 0; round < 10; round++) {
          const [writer, reader] = (round % 2 === 0 ? files : [files[1], files[0]]) as readonly [
            File,
            File,
          ];
          await writer.mapWrite(4090, Buffer.from(`map ${round};`));
          t.is(
            (await reader.read(4090, 6)).toString('latin1').split(';')[0],
            `map ${round}`,
            `round ${round}`,
          );
        }
        for (const file of files) await file.close();
      },
    },
    {
      name: 'coherence: locks',
      needs: ['locks', 'flock'],
      run: async (t) => {
        await writeFile(t.fs, t.path('f'), 'x');
        for (const kind of ['posix', 'ofd', 'flock'] as const) {
          const one = await t.fs.open(t.path('f'), O.RDWR);
          const other = await b.open(t.path('f'), O.RDWR);
          await one.lock(kind, ALL, false);
          await t.fails('EAGAIN', other.lock(kind, ALL, false), `${kind}: held by the one`);
          let granted = false;
          const waiting = other.lock(kind, ALL, true).then(() => (granted = true));
          await new Promise((resolve) => setTimeout(resolve, 50));
          t.ok(!granted, `${kind}: the other waits`);
          await one.lock(kind, NONE, false);
          await t.works(waiting, `${kind}: and is granted`);
          await t.fails('EAGAIN', one.lock(kind, ALL, false), `${kind}: held by the other`);
          await other.close();
          await t.works(one.lock(kind, ALL, false), `${kind}: released by close`);
          await one.close();
        }
      },
    },
  ];
}

/** Runs the cases between two instances; everything is made and removed through the first. */
export function runCoherence(a: PosixFs, b: PosixFs): Promise<Report> {
  return runCases(a, casesOf(b));
}
