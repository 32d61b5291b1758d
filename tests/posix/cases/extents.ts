/** fallocate in all modes, holes, copy_file_range, mapped files. */
import { FALLOC, O, readFile, writeFile } from '../posix-fs.js';
import type { Case } from '../trial.js';
import { pattern } from './data.js';

const PUNCH = FALLOC.PUNCH_HOLE | FALLOC.KEEP_SIZE;
const BLOCK = 4096;

export const extentCases: readonly Case[] = [
  {
    name: 'fallocate: allocates',
    needs: ['fallocate'],
    run: async (t) => {
      const file = await t.fs.open(t.path('f'), O.RDWR | O.CREAT, 0o644);
      await t.works(file.allocate(0, 0, 100_000), 'of an empty file');
      t.is((await file.stat()).size, 100_000, 'size');
      t.ok((await file.stat()).blocks >= 195, 'blocks');
      t.ok((await file.read(0, 100_000)).equals(Buffer.alloc(100_000)), 'zeros');
      await file.write(50_000, pattern(1000, 1));
      await t.works(file.allocate(0, 0, 60_000), 'of what is allocated');
      t.is((await file.stat()).size, 100_000, 'size stays');
      t.ok((await file.read(50_000, 1000)).equals(pattern(1000, 1)), 'data stays');
      await t.works(file.allocate(0, 150_000, 10), 'behind the end');
      t.is((await file.stat()).size, 150_010, 'size grows');
      t.ok((await file.read(100_000, 50_010)).equals(Buffer.alloc(50_010)), 'zeros behind');
      await file.close();
    },
  },
  {
    name: 'fallocate: KEEP_SIZE',
    needs: ['fallocate'],
    run: async (t) => {
      const file = await t.fs.open(t.path('f'), O.RDWR | O.CREAT, 0o644);
      await file.write(0, pattern(100, 1));
      await t.works(file.allocate(FALLOC.KEEP_SIZE, 0, 1_000_000), 'a megabyte');
      t.is((await file.stat()).size, 100, 'size stays');
      t.ok((await file.stat()).blocks >= 1900, 'blocks are there');
      t.is((await file.read(0, 1000)).length, 100, 'reads end at the size');
      await file.write(500_000, pattern(10, 2));
      t.ok((await file.read(100, 499_900)).equals(Buffer.alloc(499_900)), 'zeros up to a write');
      await file.close();
    },
  },
  {
    name: 'fallocate: PUNCH_HOLE',
    needs: ['fallocate'],
    run: async (t) => {
      const data = pattern(100_000, 4);
      for (const [offset, length] of [
        [0, 1],
        [0, BLOCK],
        [1, BLOCK],
        [4095, 2],
        [BLOCK, BLOCK],
        [5000, 20_000],
        [65_536, 10_000],
        [99_999, 1],
        [90_000, 50_000],
        [0, 100_000],
        [200_000, 5000],
      ] as const) {
        await writeFile(t.fs, t.path('f'), data);
        const file = await t.fs.open(t.path('f'), O.RDWR);
        await t.works(file.allocate(PUNCH, offset, length), `${length} at ${offset}`);
        const expected = Buffer.from(data);
        if (offset < data.length) expected.fill(0, offset, Math.min(data.length, offset + length));
        t.ok((await file.read(0, 200_000)).equals(expected), `${length} at ${offset}: content`);
        t.is((await file.stat()).size, 100_000, `${length} at ${offset}: size`);
        await file.close();
      }
      await writeFile(t.fs, t.path('g'), data);
      const file = await t.fs.open(t.path('g'), O.RDWR);
      await file.sync(false);
      const before = (await file.stat()).blocks;
      await file.allocate(PUNCH, 0, 81_920);
      t.ok((await file.stat()).blocks <= before - 150, 'blocks are given back');
      await file.close();
    },
  },
  {
    name: 'fallocate: ZERO_RANGE',
    needs: ['fallocate'],
    run: async (t) => {
      const lacking = await (async () => {
        const probe = await t.fs.open(t.path('probe'), O.RDWR | O.CREAT, 0o644);
        const code = await probe.allocate(FALLOC.ZERO_RANGE, 0, 10).then(
          () => undefined,
          (error: { code: string }) => error.code,
        );
        await probe.close();
        return code === 'EOPNOTSUPP';
      })();
      if (lacking && t.fs.name === 'local') return;
      const data = pattern(50_000, 5);
      for (const [offset, length, keep] of [
        [0, 100, false],
        [4000, 10_000, false],
        [49_000, 5000, false],
        [49_000, 5000, true],
        [60_000, 100, false],
        [60_000, 100, true],
      ] as const) {
        await writeFile(t.fs, t.path('f'), data);
        const file = await t.fs.open(t.path('f'), O.RDWR);
        const label = `${length} at ${offset}${keep ? ' keeping the size' : ''}`;
        await t.works(
          file.allocate(FALLOC.ZERO_RANGE | (keep ? FALLOC.KEEP_SIZE : 0), offset, length),
          label,
        );
        const size = keep ? 50_000 : Math.max(50_000, offset + length);
        const expected = Buffer.alloc(size);
        data.copy(expected);
        if (offset < size) expected.fill(0, offset, Math.min(size, offset + length));
        t.is((await file.stat()).size, size, `${label}: size`);
        t.ok((await file.read(0, 100_000)).equals(expected), `${label}: content`);
        await file.close();
      }
    },
  },
  {
    name: 'fallocate: COLLAPSE_RANGE and INSERT_RANGE',
    needs: ['fallocate', 'shift'],
    run: async (t) => {
      const data = pattern(10 * BLOCK + 100, 6);
      for (const [offset, length] of [
        [0, BLOCK],
        [BLOCK, 2 * BLOCK],
        [5 * BLOCK, 4 * BLOCK],
      ] as const) {
        await writeFile(t.fs, t.path('f'), data);
        const file = await t.fs.open(t.path('f'), O.RDWR);
        await t.works(
          file.allocate(FALLOC.COLLAPSE_RANGE, offset, length),
          `collapse ${length} at ${offset}`,
        );
        const shorter = Buffer.concat([data.subarray(0, offset), data.subarray(offset + length)]);
        t.ok(
          (await file.read(0, data.length)).equals(shorter),
          `collapse ${length} at ${offset}: content`,
        );
        t.is((await file.stat()).size, shorter.length, `collapse ${length} at ${offset}: size`);
        await t.works(
          file.allocate(FALLOC.INSERT_RANGE, offset, length),
          `insert ${length} at ${offset}`,
        );
        const longer = Buffer.concat([
          shorter.subarray(0, offset),
          Buffer.alloc(length),
          shorter.subarray(offset),
        ]);
        t.ok(
          (await file.read(0, data.length + 10)).equals(longer),
          `insert ${length} at ${offset}: content`,
        );
        await t.fails(
          'EINVAL',
          file.allocate(FALLOC.COLLAPSE_RANGE, 1, BLOCK),
          'collapse at no border',
        );
        await t.fails(
          'EINVAL',
          file.allocate(FALLOC.COLLAPSE_RANGE, 0, 100),
          'collapse of no block',
        );
        await t.fails(
          'EINVAL',
          file.allocate(FALLOC.COLLAPSE_RANGE, 8 * BLOCK, 4 * BLOCK),
          'collapse over the end',
        );
        await t.fails(
          'EINVAL',
          file.allocate(FALLOC.INSERT_RANGE, 20 * BLOCK, BLOCK),
          'insert behind the end',
        );
        await file.close();
      }
    },
  },
  {
    name: 'fallocate: what it refuses',
    needs: ['fallocate'],
    run: async (t) => {
      await writeFile(t.fs, t.path('f'), 'abc');
      const file = await t.fs.open(t.path('f'), O.RDWR);
      await t.fails('EINVAL', file.allocate(0, 0, 0), 'a length of 0');
      await t.fails('EINVAL', file.allocate(0, -1, 10), 'a negative offset');
      await t.fails('EINVAL', file.allocate(0, 0, -1), 'a negative length');
      await t.fails(
        'EOPNOTSUPP',
        file.allocate(FALLOC.PUNCH_HOLE, 0, 10),
        'a hole without KEEP_SIZE',
      );
      await t.fails('EOPNOTSUPP', file.allocate(1 << 20, 0, 10), 'an unknown mode');
      await t.fails(
        ['EINVAL', 'EOPNOTSUPP'],
        file.allocate(PUNCH | FALLOC.COLLAPSE_RANGE, 0, BLOCK),
        'two modes',
      );
      await file.close();
      const reader = await t.fs.open(t.path('f'), O.RDONLY);
      await t.fails('EBADF', reader.allocate(0, 0, 10), 'a file opened to read');
      await reader.close();
      const directory = await t.fs.open(t.dir, O.RDONLY);
      await t.fails(['EBADF', 'EISDIR', 'ENODEV'], directory.allocate(0, 0, 10), 'a directory');
      await directory.close();
      await t.content(t.path('f'), 'abc', 'nothing happened');
    },
  },
  {
    name: 'holes: found',
    needs: ['holes'],
    run: async (t) => {
      const file = await t.fs.open(t.path('f'), O.RDWR | O.CREAT, 0o644);
      await t.fails('ENXIO', file.seek(0, 'data'), 'data in an empty file');
      await t.fails('ENXIO', file.seek(0, 'hole'), 'a hole in an empty file');
      await file.truncate(1_000_000);
      await t.fails('ENXIO', file.seek(0, 'data'), 'data in a hole');
      t.is(await file.seek(0, 'hole'), 0, 'a hole in a hole');
      t.is(await file.seek(123_456, 'hole'), 123_456, 'a hole inside a hole');
      await file.write(262_144, pattern(65_536, 1));
      await file.sync(false);
      t.is(await file.seek(0, 'data'), 262_144, 'the data');
      t.is(await file.seek(262_144, 'data'), 262_144, 'at the data');
      t.is(await file.seek(300_000, 'data'), 300_000, 'in the data');
      t.is(await file.seek(0, 'hole'), 0, 'the first hole');
      t.is(await file.seek(262_144, 'hole'), 327_680, 'the hole behind the data');
      t.is(await file.seek(300_000, 'hole'), 327_680, 'from inside the data');
      t.is(await file.seek(327_680, 'hole'), 327_680, 'at the second hole');
      await t.fails('ENXIO', file.seek(327_680, 'data'), 'no data behind');
      await t.fails('ENXIO', file.seek(1_000_000, 'hole'), 'at the end');
      await t.fails('ENXIO', file.seek(1_000_001, 'hole'), 'behind the end');
      await t.fails(['ENXIO', 'EINVAL'], file.seek(-1, 'data'), 'before the start');
      if (t.can('fallocate')) {
        await file.allocate(PUNCH, 278_528, 16_384);
        t.is(await file.seek(262_144, 'hole'), 278_528, 'a punched hole');
        t.is(await file.seek(278_528, 'data'), 294_912, 'the data behind it');
      }
      await file.close();
      await writeFile(t.fs, t.path('full'), pattern(10_000, 1));
      const full = await t.fs.open(t.path('full'), O.RDONLY);
      t.is(await full.seek(0, 'hole'), 10_000, 'the hole at the end of a full file');
      t.is(await full.seek(9999, 'data'), 9999, 'its last byte');
      await full.close();
    },
  },
  {
    name: 'copy range: between files and in one',
    needs: ['copyRange'],
    run: async (t) => {
      const data = pattern(100_000, 7);
      await writeFile(t.fs, t.path('from'), data);
      const from = await t.fs.open(t.path('from'), O.RDONLY);
      const to = await t.fs.open(t.path('to'), O.RDWR | O.CREAT, 0o644);
      for (const [at, target, length] of [
        [0, 0, 100],
        [100, 50, 5000],
        [4096, 8192, 65_536],
        [99_990, 0, 10],
      ] as const) {
        const label = `${length} from ${at} to ${target}`;
        t.is(await from.copyTo(at, to, target, length), length, label);
        t.ok(
          (await to.read(target, length)).equals(data.subarray(at, at + length)),
          `${label}: content`,
        );
      }
      t.is(await from.copyTo(99_000, to, 0, 5000), 1000, 'up to the end only');
      t.is(await from.copyTo(100_000, to, 0, 100), 0, 'at the end');
      t.is(await from.copyTo(200_000, to, 0, 100), 0, 'behind the end');
      t.is(await from.copyTo(0, to, 1_000_000, 10), 10, 'behind a hole');
      t.is((await to.stat()).size, 1_000_010, 'size');
      t.is(await to.copyTo(0, to, 500_000, 4096), 4096, 'in one file');
      t.ok((await to.read(500_000, 4096)).equals(await to.read(0, 4096)), 'in one file: content');
      await t.fails('EINVAL', to.copyTo(0, to, 50, 100), 'over itself');
      await t.fails('EBADF', to.copyTo(0, from, 0, 100), 'to a file opened to read');
      const append = await t.fs.open(t.path('to'), O.WRONLY | O.APPEND);
      await t.fails('EBADF', from.copyTo(0, append, 0, 10), 'to a file opened to append');
      await append.close();
      const directory = await t.fs.open(t.dir, O.RDONLY);
      await t.fails('EISDIR', directory.copyTo(0, to, 0, 10), 'from a directory');
      await directory.close();
      await from.close();
      await to.close();
    },
  },
  {
    name: 'mapped files',
    needs: ['mmap'],
    run: async (t) => {
      const data = pattern(20_000, 8);
      await writeFile(t.fs, t.path('f'), data);
      const file = await t.fs.open(t.path('f'), O.RDWR);
      t.ok((await file.mapRead(0, 20_000)).equals(data), 'read of all');
      t.ok((await file.mapRead(5000, 100)).equals(data.subarray(5000, 5100)), 'read in the middle');
      await file.mapWrite(4090, Buffer.from('mapped'));
      t.is((await file.read(4090, 6)).toString(), 'mapped', 'a mapped write is read');
      await file.write(10_000, Buffer.from('written'));
      t.is((await file.mapRead(10_000, 7)).toString(), 'written', 'a write is in the map');
      await file.mapWrite(19_990, Buffer.from('0123456789'));
      t.is((await file.stat()).size, 20_000, 'the size stays');
      // Behind the end of the file a page reads as zeros.
      t.ok(
        (await file.mapRead(20_000, 480)).equals(Buffer.alloc(480)),
        'zeros in the rest of the page',
      );
      await file.truncate(10_003);
      t.is(
        (await file.mapRead(10_000, 10)).toString('latin1'),
        'wri\0\0\0\0\0\0\0',
        'cut by truncate',
      );
      await file.truncate(20_000);
      t.ok(
        (await file.mapRead(10_003, 9997)).equals(Buffer.alloc(9997)),
        'zeros after truncate up',
      );
      await file.close();
      const reader = await t.fs.open(t.path('f'), O.RDONLY);
      await t.fails(
        'EACCES',
        reader.mapWrite(0, Buffer.from('x')),
        'a shared writable map of a file opened to read',
      );
      t.is((await reader.mapRead(4090, 6)).toString(), 'mapped', 'a map to read');
      await reader.close();
      const hole = await t.fs.open(t.path('hole'), O.RDWR | O.CREAT, 0o644);
      await hole.truncate(1_000_000);
      await hole.mapWrite(500_000, Buffer.from('in the hole'));
      await hole.close();
      t.is(
        (await readFile(t.fs, t.path('hole'))).subarray(500_000, 500_011).toString(),
        'in the hole',
        'a hole filled through a map',
      );
    },
  },
];
