import * as fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { isSextantError } from '#core/errors.js';
import { SimRandom } from '#core/world/simulated/random.js';
import { FsError } from '../vfs/vfs.js';
import type { Block } from './block.js';
import { insertEntry, listEntries, lookupEntry, removeEntry } from './directory.js';
import { extentsOf, insertExtent, punchExtents, seekHole } from './extents.js';
import {
  InodeField,
  S_IFREG,
  blocksOf,
  changeInode,
  eraseInode,
  getInode,
  readAttributes,
  sizeOf,
} from './inode.js';
import { INLINE_BYTES_MAX } from './layout.js';
import { Bench } from './memory-blocks.test-helper.js';
import { OrphanList } from './orphans.js';
import { decodeSuperblock, encodeSuperblock } from './params.js';
import { leaveSmall, readSmallWhole, truncateSmall, writeSmall } from './small-content.js';
import { getXattr, listXattrs, removeXattr, setXattr } from './xattrs.js';

const bytes = (text: string): Uint8Array => new Uint8Array(Buffer.from(text, 'latin1'));
const text = (value: Uint8Array): string => Buffer.from(value).toString('latin1');
const code = (expected: string) => expect.objectContaining({ code: expected });
const errno = (expected: string) => expect.objectContaining({ errno: expected });

describe('inode', () => {
  it('keeps every attribute, negative times and nanoseconds included', () => {
    const bench = new Bench();
    const header = bench.makeInode(5, false, 2 ** 47);
    const time = fc.record({
      sec: fc.integer({ min: -(2 ** 52), max: 2 ** 52 }),
      nsec: fc.nat(999_999_999),
    });
    const changes = fc.record({
      uid: fc.integer({ min: 0, max: 0xffff_ffff }),
      gid: fc.integer({ min: 0, max: 0xffff_ffff }),
      nlink: fc.nat(65_000),
      size: fc.maxSafeNat(),
      atime: time,
      mtime: time,
      ctime: time,
    });
    fc.assert(
      fc.property(changes, ({ uid, gid, nlink, size, atime, mtime, ctime }) => {
        bench.run(() =>
          changeInode(bench.tx, header, { uid, gid, nlink, size, atime, mtime, ctime }),
        );
        expect(readAttributes(getInode(bench.source, 5))).toEqual({
          ino: 5,
          generation: 2 ** 47,
          mode: S_IFREG | 0o644,
          rdev: 0,
          blocks: 0,
          birthSec: 1,
          birthNsec: 2,
          uid,
          gid,
          nlink,
          size,
          atimeSec: atime.sec,
          atimeNsec: atime.nsec,
          mtimeSec: mtime.sec,
          mtimeNsec: mtime.nsec,
          ctimeSec: ctime.sec,
          ctimeNsec: ctime.nsec,
        });
      }),
    );
  });

  it('answers ESTALE when free, CORRUPTION when damaged', () => {
    const bench = new Bench();
    expect(() => getInode(bench.source, 6)).toThrowError(errno('ESTALE'));
    const header = bench.makeInode(6, false);
    const damages: [number, number][] = [
      [0, 1],
      [4, 9],
      [InodeField.state, 3],
      [InodeField.content, 4],
      [InodeField.ino, 7],
      [InodeField.mode + 1, 0],
    ];
    for (const [offset, value] of damages) {
      const saved = header.bytes[offset];
      header.bytes[offset] = value;
      expect(() => getInode(bench.source, 6)).toThrowError(code('CORRUPTION'));
      header.bytes[offset] = saved;
    }
    bench.run(() => eraseInode(bench.tx, header));
    expect(() => getInode(bench.source, 6)).toThrowError(FsError);
  });

  it('never crashes on damaged bits of anything that it has', () => {
    const random = new SimRandom(5);
    const outcomes = { fine: 0, refused: 0 };
    for (let i = 0; i < 40; i++) {
      const bench = new Bench();
      const directory = bench.makeInode(5, true);
      const file = bench.makeInode(6, false);
      const names = Array.from({ length: i % 2 === 0 ? 40 : 400 }, (_, k) => bytes(`name ${k}`));
      for (const name of names) {
        bench.run(() => insertEntry(bench.tx, directory, name, 9, 1, S_IFREG));
      }
      bench.run(() => leaveSmall(bench.tx, file));
      for (let k = 0; k < 10 + (i % 3) * 150; k++) {
        bench.run(() => insertExtent(bench.tx, file, k * 2, 100 + k * 2, 1, false));
      }
      bench.run(() => setXattr(bench.tx, file, bytes('user.x'), new Uint8Array(9000), 0));
      const all = [...bench.source.blocks.values()].filter(({ region }) => region !== 2);
      for (let k = 0; k < 25; k++) {
        const block = all[random.below(all.length)];
        const at = random.below(random.chance(0.7) ? 200 : block.bytes.length);
        const saved = block.bytes[at];
        block.bytes[at] ^= 1 << random.below(8);
        for (const act of acts(bench, directory, file, names[random.below(names.length)])) {
          bench.tx.begin();
          try {
            act();
            outcomes.fine++;
          } catch (error) {
            const typed = isSextantError(error, 'CORRUPTION') || error instanceof FsError;
            if (!typed) throw error;
            outcomes.refused++;
          }
          bench.tx.abort();
        }
        block.bytes[at] = saved;
      }
    }
    expect(outcomes.refused).toBeGreaterThan(300);
    expect(outcomes.fine).toBeGreaterThan(1000);
  });
});

function acts(bench: Bench, directory: Block, file: Block, name: Uint8Array): (() => unknown)[] {
  const { source, tx } = bench;
  return [
    () => readAttributes(getInode(source, 5)),
    () => getInode(source, 6),
    () => lookupEntry(source, directory, name),
    () => listEntries(source, directory, 0, 1000),
    () => removeEntry(tx, directory, name),
    () => insertEntry(tx, directory, bytes('another'), 3, 3, S_IFREG),
    () => extentsOf(source, file, 0, 2000),
    () => seekHole(source, file, 0),
    () => insertExtent(tx, file, 5001, 9000, 1, false),
    () => punchExtents(tx, file, 3, 90),
    () => getXattr(source, file, bytes('user.x')),
    () => setXattr(tx, file, bytes('user.y'), bytes('y'), 0),
  ];
}

describe('small content', () => {
  it('is an array of bytes up to 7,680', () => {
    const step = fc.record({
      kind: fc.nat(3),
      offset: fc.nat(INLINE_BYTES_MAX - 1),
      length: fc.integer({ min: 1, max: 2000 }),
      fill: fc.integer({ min: 1, max: 255 }),
    });
    fc.assert(
      fc.property(fc.array(step, { maxLength: 25 }), (steps) => {
        const bench = new Bench();
        const header = bench.makeInode(5, false);
        let model = new Uint8Array(0);
        for (const { kind, offset, length, fill } of steps) {
          if (kind === 0) {
            bench.run(() => truncateSmall(bench.tx, header, offset));
            const next = new Uint8Array(offset);
            next.set(model.subarray(0, offset));
            model = next;
          } else {
            const count = Math.min(length, INLINE_BYTES_MAX - offset);
            const data = new Uint8Array(count + 3).fill(fill);
            bench.run(() => writeSmall(bench.tx, header, offset, data, 3, count));
            const next = new Uint8Array(Math.max(model.length, offset + count));
            next.set(model);
            next.fill(fill, offset, offset + count);
            model = next;
          }
          expect(Buffer.compare(readSmallWhole(bench.source, header), model)).toBe(0);
          expect(blocksOf(header)).toBe(Math.ceil(model.length / 512));
        }
        bench.run(() => leaveSmall(bench.tx, header));
        expect([blocksOf(header), sizeOf(header)]).toEqual([0, model.length]);
      }),
    );
  });
});

describe('xattrs', () => {
  it('are a map of names to values, in the header or in a chain of blocks', () => {
    const name = fc.integer({ min: 0, max: 9 }).map((i) => `user.${'n'.repeat(i * 7 + 1)}`);
    const size = fc.oneof(fc.nat(20), fc.nat(5000), fc.integer({ min: 30_000, max: 65_536 }));
    const step = fc.record({ name, size, kind: fc.nat(9) });
    fc.assert(
      fc.property(fc.array(step, { maxLength: 30 }), (steps) => {
        const bench = new Bench();
        const header = bench.makeInode(5, false);
        const model = new Map<string, Uint8Array>();
        const free = bench.segments[0].free[1];
        steps.forEach((action, i) => {
          const key = bytes(action.name);
          if (action.kind <= 2) {
            const act = () => bench.run(() => removeXattr(bench.tx, header, key));
            if (model.delete(action.name)) act();
            else expect(act).toThrowError(errno('ENODATA'));
            return;
          }
          const value = new Uint8Array(action.size).fill(i + 1);
          try {
            bench.run(() => setXattr(bench.tx, header, key, value, 0));
            model.set(action.name, value);
          } catch (error) {
            expect(error).toEqual(errno('ENOSPC'));
          }
        });
        const found = listXattrs(bench.source, header).map(text);
        expect(new Set(found)).toEqual(new Set(model.keys()));
        for (const [key, value] of model) {
          const got = getXattr(bench.source, header, bytes(key)) ?? new Uint8Array(1);
          expect(Buffer.compare(got, value)).toBe(0);
        }
        expect(blocksOf(header)).toBe(8 * (free - bench.segments[0].free[1]));
      }),
      { numRuns: 60 },
    );
  });

  it('know create and replace, and the largest value', () => {
    const bench = new Bench();
    const header = bench.makeInode(5, false);
    const set = (size: number, flags: number) =>
      bench.run(() => setXattr(bench.tx, header, bytes('user.a'), new Uint8Array(size), flags));
    expect(() => set(1, 2)).toThrowError(errno('ENODATA'));
    set(65_536, 1);
    expect(getXattr(bench.source, header, bytes('user.a'))?.length).toBe(65_536);
    expect(() => set(1, 1)).toThrowError(errno('EEXIST'));
    expect(() => set(65_537, 0)).toThrowError(errno('ENOSPC'));
    set(3, 2);
    expect(blocksOf(header)).toBe(0);
  });
});

describe('orphan list', () => {
  it('is a set over many registers', () => {
    const bench = new Bench();
    bench.log.keep = false;
    const list = new OrphanList(3);
    const random = new SimRandom(5);
    const model = new Set<number>();
    for (let i = 0; i < 3000; i++) {
      const ino = random.below(1500) + 1;
      if (model.delete(ino)) bench.run(() => list.remove(bench.tx, ino, ino * 3));
      else {
        bench.run(() => list.add(bench.tx, ino, ino * 3));
        model.add(ino);
      }
    }
    const found = new OrphanList(3).entries(bench.source);
    expect(new Set(found.map(({ ino }) => ino))).toEqual(model);
    expect(found.length).toBe(model.size);
    expect(found.every(({ ino, generation }) => generation === ino * 3)).toBe(true);
    expect(new OrphanList(4).entries(bench.source)).toEqual([]);
  });
});

describe('superblock', () => {
  it('is refused when it is not ours, by name', () => {
    const made = { version: 1, diskId: new Uint8Array(16).fill(9), madeMs: 77, segmentsMax: 100 };
    const good = encodeSuperblock(made);
    expect(decodeSuperblock(good)).toEqual(made);
    expect(() => decodeSuperblock(new Uint8Array(4096))).toThrowError(code('NOT_FOUND'));
    expect(() => decodeSuperblock(encodeSuperblock({ ...made, version: 2 }))).toThrowError(
      'file system of format 2',
    );
    for (let at = 0; at < 68; at++) {
      const bad = good.slice();
      bad[at] ^= 4;
      expect(() => decodeSuperblock(bad)).toThrowError(
        at === 6 || at === 7 ? 'format' : /superblock/,
      );
    }
  });
});
