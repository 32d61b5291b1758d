/** Bytes: reads and writes across block borders, sparse files, truncate, append, sync. */
import { codeOf, O, readFile, writeFile } from '../posix-fs.js';
import { ALICE, type Case, type Trial } from '../trial.js';

/** Around the borders of registers, packed files, blocks, chunks. */
const SIZES = [
  0, 1, 511, 512, 513, 4095, 4096, 4097, 7679, 7680, 7681, 8192, 65_535, 65_536, 65_537, 131_073,
  1_048_577,
];
const OFFSETS = [0, 1, 511, 4095, 4096, 7680, 8191, 65_535, 65_536, 1_000_003];

export function pattern(length: number, seed: number): Buffer {
  const bytes = Buffer.allocUnsafe(length);
  let state = (seed * 2_654_435_761 + 12_345) >>> 0;
  for (let i = 0; i < length; i++) {
    state = (Math.imul(state, 1_664_525) + 1_013_904_223) >>> 0;
    // Never 0, so that a hole is never taken for data.
    bytes[i] = ((state >>> 24) % 255) + 1;
  }
  return bytes;
}

async function truncateCase(t: Trial, from: number, to: number): Promise<void> {
  const path = t.path('f');
  const data = pattern(from, from + 1);
  await writeFile(t.fs, path, data);
  await t.fs.truncate(path, to);
  const expected = Buffer.alloc(to);
  data.copy(expected, 0, 0, Math.min(from, to));
  const label = `truncate from ${from} to ${to}`;
  await t.size(path, to, label);
  t.ok((await readFile(t.fs, path)).equals(expected), `${label}: content`);
  // What was cut off must not come back.
  await t.fs.truncate(path, from);
  const again = Buffer.alloc(from);
  data.copy(again, 0, 0, Math.min(from, to));
  t.ok((await readFile(t.fs, path)).equals(again), `${label} and back: content`);
}

export const dataCases: readonly Case[] = [
  {
    name: 'data: files of every size',
    run: async (t) => {
      for (const size of SIZES) {
        const data = pattern(size, size);
        await writeFile(t.fs, t.path('f'), data);
        await t.size(t.path('f'), size, `a file of ${size} bytes`);
        t.ok((await readFile(t.fs, t.path('f'))).equals(data), `content of ${size} bytes`);
        const file = await t.fs.open(t.path('f'), O.RDONLY);
        t.is((await file.read(size, 10)).length, 0, `read at the end of ${size} bytes`);
        t.is((await file.read(size + 5000, 10)).length, 0, `read behind the end of ${size} bytes`);
        if (size > 0) {
          t.is<Uint8Array>(
            await file.read(size - 1, 10),
            data.subarray(size - 1),
            `the last of ${size} bytes`,
          );
          const middle = size >> 1;
          t.ok(
            (await file.read(middle, size)).equals(data.subarray(middle)),
            `the second half of ${size} bytes`,
          );
        }
        t.is((await file.read(0, 0)).length, 0, 'read of nothing');
        await file.close();
        await t.fs.unlink(t.path('f'));
      }
    },
  },
  ...OFFSETS.map((offset): Case => ({
    name: `data: a write at ${offset}`,
    run: async (t) => {
      for (const length of [1, 512, 4096, 5000, 70_000]) {
        const data = pattern(length, length);
        const file = await t.fs.open(t.path('f'), O.RDWR | O.CREAT | O.TRUNC, 0o644);
        await file.write(offset, data);
        const label = `${length} bytes`;
        t.is((await file.stat()).size, offset + length, `${label}: size`);
        t.ok((await file.read(offset, length)).equals(data), `${label}: read back`);
        t.ok((await file.read(0, offset)).equals(Buffer.alloc(offset)), `${label}: zeros before`);
        const over = pattern(length, length + 1);
        await file.write(offset >> 1, over);
        const expected = Buffer.alloc(Math.max(offset + length, (offset >> 1) + length));
        data.copy(expected, offset);
        over.copy(expected, offset >> 1);
        t.ok(
          (await file.read(0, expected.length + 10)).equals(expected),
          `${label}: overwritten half way`,
        );
        await file.close();
        t.ok((await readFile(t.fs, t.path('f'))).equals(expected), `${label}: after close`);
      }
    },
  })),
  {
    name: 'data: truncate down and up',
    run: async (t) => {
      for (const from of [0, 1, 4096, 7680, 10_000, 65_536, 100_000]) {
        for (const to of [0, 1, 511, 512, 4095, 4096, 4097, 7681, 65_537, 200_000]) {
          await truncateCase(t, from, to);
        }
      }
    },
  },
  {
    name: 'data: what truncate refuses',
    run: async (t) => {
      await writeFile(t.fs, t.path('f'), 'abc');
      await t.fs.mkdir(t.path('d'), 0o755);
      if (t.can('kernel'))
        await t.fails('EINVAL', t.fs.truncate(t.path('f'), -1), 'a negative size');
      await t.fails('EISDIR', t.fs.truncate(t.path('d'), 0), 'a directory');
      const file = await t.fs.open(t.path('f'), O.RDWR);
      if (t.can('kernel')) {
        await t.fails('EINVAL', file.truncate(-1), 'a negative size of an open file');
      }
      await file.close();
      await t.content(t.path('f'), 'abc', 'nothing happened');
    },
  },
  {
    name: 'data: truncate of an open file',
    run: async (t) => {
      const data = pattern(20_000, 3);
      await writeFile(t.fs, t.path('f'), data);
      const file = await t.fs.open(t.path('f'), O.RDWR);
      await t.fs.truncate(t.path('f'), 5000);
      t.is((await file.stat()).size, 5000, 'size after truncate by path');
      t.ok((await file.read(0, 20_000)).equals(data.subarray(0, 5000)), 'content');
      await file.write(9000, data.subarray(0, 10));
      t.ok((await file.read(5000, 4000)).equals(Buffer.alloc(4000)), 'zeros in between');
      await file.truncate(9005);
      t.is((await file.stat()).size, 9005, 'ftruncate');
      await file.truncate(9005);
      t.is((await file.stat()).size, 9005, 'ftruncate to the same size');
      await file.close();
    },
  },
  {
    name: 'data: sparse files',
    run: async (t) => {
      const file = await t.fs.open(t.path('f'), O.RDWR | O.CREAT, 0o644);
      const places = [
        0, 5_000_000, 1_000_000_000, 3_000_000_000, 100_000_000_000, 1_000_000_000_000,
      ];
      for (const [index, place] of places.entries()) {
        await t.works(file.write(place, pattern(100, index)), `write at ${place}`);
        t.is((await file.stat()).size, place + 100, `size after a write at ${place}`);
      }
      t.ok((await file.stat()).blocks <= 2048, 'a few blocks are allocated');
      for (const [index, place] of places.entries()) {
        t.ok((await file.read(place, 100)).equals(pattern(100, index)), `read at ${place}`);
        t.ok(
          (await file.read(place + 100_000, 50)).equals(
            Buffer.alloc(place === 1_000_000_000_000 ? 0 : 50),
          ),
          `a hole behind ${place}`,
        );
      }
      await file.truncate(3_000_000_050);
      t.is((await file.stat()).size, 3_000_000_050, 'cut');
      t.ok(
        (await file.read(3_000_000_000, 100)).equals(pattern(100, 3).subarray(0, 50)),
        'the last piece',
      );
      await file.truncate(0);
      t.is((await file.stat()).blocks, 0, 'no blocks after truncate to nothing');
      await file.close();
    },
  },
  {
    name: 'data: blocks',
    run: async (t) => {
      await t.fs.truncate(t.path('f'), 0).catch(() => undefined);
      const file = await t.fs.open(t.path('f'), O.RDWR | O.CREAT, 0o644);
      t.is((await file.stat()).blocks, 0, 'of an empty file');
      await file.truncate(1_000_000);
      t.is((await file.stat()).blocks, 0, 'of a hole');
      await file.write(0, pattern(100_000, 1));
      await file.sync(false);
      const blocks = (await file.stat()).blocks;
      t.ok(blocks >= 195 && blocks <= 400, `of 100,000 bytes: ${blocks}`);
      await file.close();
    },
  },
  {
    name: 'data: the largest offsets',
    needs: ['kernel'],
    run: async (t) => {
      const file = await t.fs.open(t.path('f'), O.RDWR | O.CREAT, 0o644);
      const most = 9_223_372_036_854_774_784;
      const code = await file.truncate(most).then(() => '', codeOf);
      // Few file systems go so far; one that does must say so.
      if (code === '') {
        t.is((await file.stat()).size, most, 'truncate to 2^63');
        await file.truncate(0);
      } else t.ok(code === 'EFBIG' || code === 'EINVAL', `truncate to 2^63: ${code}`);
      await t.fails(['EINVAL'], file.write(-1, Buffer.from('x')), 'write at -1');
      await t.fails(['EINVAL'], file.read(-1, 1), 'read at -1');
      t.is((await file.stat()).size, 0, 'nothing happened');
      await file.close();
    },
  },
  {
    name: 'data: append',
    run: async (t) => {
      await writeFile(t.fs, t.path('f'), 'start-');
      const one = await t.fs.open(t.path('f'), O.RDWR | O.APPEND);
      const two = await t.fs.open(t.path('f'), O.WRONLY | O.APPEND);
      const plain = await t.fs.open(t.path('f'), O.RDWR);
      await one.write(0, Buffer.from('one-'));
      await two.write(0, Buffer.from('two-'));
      await one.write(3, Buffer.from('three'));
      await t.content(t.path('f'), 'start-one-two-three', 'in order, at the end');
      await plain.write(0, Buffer.from('S'));
      await plain.truncate(5);
      await two.write(0, Buffer.from('!'));
      await t.content(t.path('f'), 'Start!', 'after a truncate');
      t.is((await one.read(0, 5)).toString(), 'Start', 'reads of it are anywhere');
      await plain.truncate(10_000);
      await one.write(0, Buffer.from('end'));
      t.is((await plain.stat()).size, 10_003, 'behind a hole');
      for (const file of [one, two, plain]) await file.close();
    },
  },
  {
    name: 'data: appends of many at once',
    run: async (t) => {
      const files = await Promise.all(
        Array.from({ length: 4 }, () =>
          t.fs.open(t.path('f'), O.WRONLY | O.APPEND | O.CREAT, 0o644),
        ),
      );
      await Promise.all(
        files.flatMap((file, who) =>
          Array.from({ length: 25 }, (_, i) =>
            file.write(0, Buffer.from(`${who}:${String(i).padStart(3, '0')}\n`)),
          ),
        ),
      );
      for (const file of files) await file.close();
      const lines = (await readFile(t.fs, t.path('f'))).toString().split('\n').slice(0, -1);
      t.is(lines.length, 100, 'lines');
      t.is(new Set(lines).size, 100, 'all of them different');
      t.ok(
        lines.every((line) => /^[0-3]:\d{3}$/.test(line)),
        'none of them torn',
      );
    },
  },
  {
    name: 'data: appends of several processes',
    needs: ['processes'],
    run: async (t) => {
      const others = await Promise.all([t.fs.process(), t.fs.process(), t.fs.process()]);
      await Promise.all(
        others.map(async (fs, who) => {
          const file = await fs.open(t.path('f'), O.WRONLY | O.APPEND | O.CREAT, 0o644);
          for (let i = 0; i < 40; i++) await file.write(0, Buffer.alloc(100 + who, `${who}`));
          await file.close();
        }),
      );
      for (const fs of others) await fs.close();
      const runs = (await readFile(t.fs, t.path('f'))).toString().match(/(.)\1*/g) ?? [];
      t.is(runs.join('').length, 40 * (100 + 101 + 102), 'nothing is lost');
      t.ok(
        runs.every((run) => run.length % (100 + Number(run[0])) === 0),
        'nothing is torn',
      );
    },
  },
  {
    name: 'data: two that have one file open',
    run: async (t) => {
      const writer = await t.fs.open(t.path('f'), O.RDWR | O.CREAT, 0o644);
      const reader = await t.fs.open(t.path('f'), O.RDONLY);
      for (let round = 0; round < 10; round++) {
        const data = pattern(3000, round);
        await writer.write(round * 3000, data);
        t.ok((await reader.read(round * 3000, 4000)).equals(data), `round ${round}`);
        t.is((await reader.stat()).size, (round + 1) * 3000, `size of round ${round}`);
      }
      await writer.close();
      t.is((await reader.read(29_999, 10)).length, 1, 'after the writer closed');
      await reader.close();
    },
  },
  {
    name: 'data: fsync',
    run: async (t) => {
      const file = await t.fs.open(t.path('f'), O.RDWR | O.CREAT, 0o644);
      for (const length of [0, 10, 5000, 100_000]) {
        await file.write(0, pattern(length, 1));
        await t.works(file.sync(true), `fdatasync of ${length} bytes`);
        await t.works(file.sync(false), `fsync of ${length} bytes`);
        t.is((await file.stat()).size, length, 'size');
      }
      await file.close();
      const reader = await t.fs.open(t.path('f'), O.RDONLY);
      await t.works(reader.sync(false), 'fsync of a file opened to read');
      await reader.close();
    },
  },
  {
    name: 'data: a large file',
    run: async (t) => {
      const part = pattern(1_000_000, 9);
      const file = await t.fs.open(t.path('f'), O.RDWR | O.CREAT, 0o644);
      for (let i = 0; i < 8; i++) await file.write(i * part.length, part);
      await file.close();
      const again = await t.fs.open(t.path('f'), O.RDONLY);
      let wrong = 0;
      for (let i = 0; i < 8; i++)
        if (!(await again.read(i * part.length, part.length)).equals(part)) wrong += 1;
      t.is(wrong, 0, 'wrong pieces of 1,000,000 bytes');
      await again.close();
      await t.size(t.path('f'), 8_000_000, 'size');
    },
  },
  {
    name: 'data: many small files',
    run: async (t) => {
      for (let i = 0; i < 200; i++) await writeFile(t.fs, t.path(`f${i}`), pattern(i * 41, i));
      let wrong = 0;
      for (let i = 0; i < 200; i++) {
        if (!(await readFile(t.fs, t.path(`f${i}`))).equals(pattern(i * 41, i))) wrong += 1;
      }
      t.is(wrong, 0, 'files with wrong content');
    },
  },
  {
    name: 'data: a file that is replaced while it is read',
    needs: ['users'],
    run: async (t) => {
      await t.fs.chmod(t.dir, 0o777);
      await writeFile(t.fs, t.path('f'), 'old');
      const reader = await t.fs.as(ALICE).open(t.path('f'), O.RDONLY);
      await writeFile(t.fs, t.path('g'), 'new');
      await t.fs.rename(t.path('g'), t.path('f'));
      t.is((await reader.read(0, 10)).toString(), 'old', 'the old one');
      t.is((await reader.stat()).nlink, 0, 'it has no name');
      await reader.close();
      await t.content(t.path('f'), 'new', 'the new one');
    },
  },
];
