import * as fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { FsError } from '../vfs/vfs.js';
import type { Block } from './block.js';
import {
  clearDirectory,
  insertEntry,
  listEntries,
  lookupEntry,
  removeEntry,
  replaceEntry,
  type ListedEntry,
} from './directory.js';
import { Content, S_IFDIR, S_IFREG, blocksOf, contentOf, entriesOf, heightOf } from './inode.js';
import { Bench } from './memory-blocks.test-helper.js';
import { nameHash } from './name-hash.js';

const bytes = (text: string): Uint8Array => new Uint8Array(Buffer.from(text, 'latin1'));
const text = (name: Uint8Array): string => Buffer.from(name).toString('latin1');

const inverse = (odd: number): number => {
  let x = odd;
  for (let i = 0; i < 5; i++) x = Math.imul(x, 2 - Math.imul(odd, x));
  return x;
};
const rotateRight = (value: number, by: number): number => (value >>> by) | (value << (32 - by));

/** Names of 8 bytes that all have the hash of one: the second word undoes what the first one did. */
function collidingNames(count: number, seed: number): Uint8Array[] {
  const mix = (word: number): number => {
    const spread = Math.imul(word, 0xcc9e_2d51);
    return Math.imul((spread << 15) | (spread >>> 17), 0x1b87_3593);
  };
  const unmix = (value: number): number =>
    Math.imul(rotateRight(Math.imul(value, inverse(0x1b87_3593)), 15), inverse(0xcc9e_2d51));
  const names: Uint8Array[] = [];
  for (let i = 1; names.length < count; i++) {
    let hash = seed ^ mix(i * 0x0101_0101 + i);
    hash = (hash << 13) | (hash >>> 19);
    hash = (Math.imul(hash, 5) + 0xe654_6b64) | 0;
    const name = new Uint8Array(8);
    new DataView(name.buffer).setUint32(0, i * 0x0101_0101 + i, true);
    new DataView(name.buffer).setInt32(4, unmix(hash ^ 0x1234_5678), true);
    if (!name.includes(0) && !name.includes(47)) names.push(name);
  }
  return names;
}

function listAll(bench: Bench, header: Block, step = 7): ListedEntry[] {
  const all: ListedEntry[] = [];
  for (let cookie = 0; ;) {
    const some = listEntries(bench.source, header, cookie, step);
    if (some.length === 0) return all;
    all.push(...some);
    cookie = some[some.length - 1].cookie;
  }
}

function expectSame(bench: Bench, header: Block, model: Map<string, number>): void {
  const listed = listAll(bench, header);
  expect(new Map(listed.map(({ name, ino }) => [text(name), ino]))).toEqual(model);
  expect(listed.length).toBe(model.size);
  for (let i = 1; i < listed.length; i++) {
    expect(listed[i].cookie).toBeGreaterThan(listed[i - 1].cookie);
  }
  expect(entriesOf(header)).toBe(model.size);
}

const errno = (expected: string) => expect.objectContaining({ errno: expected });

describe('directory', () => {
  it('finds, replaces and removes names, small', () => {
    const bench = new Bench();
    const header = bench.makeInode(1, true);
    bench.run(() => insertEntry(bench.tx, header, bytes('a'), 10, 3, S_IFREG | 0o644));
    bench.run(() => insertEntry(bench.tx, header, bytes('b'), 11, 4, S_IFDIR));
    expect(lookupEntry(bench.source, header, bytes('a'))).toMatchObject({
      ino: 10,
      generation: 3,
      type: S_IFREG,
    });
    expect(lookupEntry(bench.source, header, bytes('c'))).toBeUndefined();
    const again = () => insertEntry(bench.tx, header, bytes('a'), 1, 1, S_IFREG);
    expect(() => bench.run(again)).toThrowError(errno('EEXIST'));
    const before = bench.run(() => replaceEntry(bench.tx, header, bytes('a'), 12, 5, S_IFDIR));
    expect(before.ino).toBe(10);
    expect(lookupEntry(bench.source, header, bytes('a'))).toEqual({
      ino: 12,
      generation: 5,
      type: S_IFDIR,
      cookie: before.cookie,
    });
    expect(bench.run(() => removeEntry(bench.tx, header, bytes('b'))).ino).toBe(11);
    expect(() => bench.run(() => removeEntry(bench.tx, header, bytes('b')))).toThrowError(FsError);
    expect(entriesOf(header)).toBe(1);
    expect(blocksOf(header)).toBe(0);
  });

  it('grows to a tree of three levels and back to nothing', () => {
    const bench = new Bench();
    const header = bench.makeInode(1, true);
    const model = new Map<string, number>();
    bench.log.keep = false;
    for (let i = 0; i < 20_000; i++) {
      const name = `a file with a rather long name ${i}`;
      bench.run(() => insertEntry(bench.tx, header, bytes(name), i + 2, 1, S_IFREG));
      model.set(name, i + 2);
    }
    expect(heightOf(header)).toBe(2);
    expect(listAll(bench, header, 1000).length).toBe(20_000);
    let i = 0;
    for (const name of model.keys()) {
      expect(lookupEntry(bench.source, header, bytes(name))?.ino).toBe(i + 2);
      if (i++ % 4 !== 0) bench.run(() => removeEntry(bench.tx, header, bytes(name)));
    }
    expect(listAll(bench, header, 1000).length).toBe(5_000);
    const leaves = blocksOf(header) / 8;
    expect(leaves).toBeLessThan((5_000 * 58) / 4064 / 0.25);
    i = 0;
    for (const name of model.keys()) {
      if (i++ % 4 === 0) bench.run(() => removeEntry(bench.tx, header, bytes(name)));
    }
    expect([entriesOf(header), blocksOf(header), contentOf(header)]).toEqual([
      0,
      0,
      Content.directory,
    ]);
    expect(bench.segments[0].free[1]).toBe(32_767);
  });

  it('is a map of names, whatever happens, with many names of one hash', () => {
    const colliding = collidingNames(400, 77).map(text);
    expect(new Set(colliding.map((name) => nameHash(bytes(name), 77))).size).toBe(1);
    const name = fc.oneof(
      fc.nat(399).map((i) => colliding[i]),
      fc.nat(300).map((i) => `n${i}`),
      fc.nat(30).map((i) => `${i}`.padEnd(255, 'x')),
    );
    const step = fc.record({ name, kind: fc.nat(9), ino: fc.integer({ min: 2, max: 2 ** 40 }) });
    fc.assert(
      fc.property(
        fc.array(step, { minLength: 50, maxLength: 900, size: 'max' }),
        fc.nat(3),
        (steps, shift) => {
          const bench = new Bench();
          const header = bench.makeInode(1, true);
          const model = new Map<string, number>();
          steps.forEach(({ name: key, kind, ino }, i) => {
            // Phases that mostly insert and phases that mostly remove.
            const removes = kind < (i % 400 < 250 ? 2 + shift : 8);
            if (i % 7 === 0) {
              const keys = [...bench.source.blocks.keys()];
              bench.source.missing.add(keys[i % keys.length]);
            }
            const known = model.has(key);
            const act = (): unknown =>
              removes
                ? removeEntry(bench.tx, header, bytes(key))
                : insertEntry(bench.tx, header, bytes(key), ino, 1, S_IFREG);
            if (removes === known) {
              bench.run(act);
              if (removes) model.delete(key);
              else model.set(key, ino);
            } else expect(() => bench.run(act)).toThrowError(FsError);
            bench.source.missing.clear();
            expect(lookupEntry(bench.source, header, bytes(key))?.ino).toBe(model.get(key));
          });
          expectSame(bench, header, model);
        },
      ),
      { numRuns: 25 },
    );
  });

  it('lists what was there all the time exactly once while others come and go', () => {
    const bench = new Bench();
    const header = bench.makeInode(1, true);
    const stay = Array.from({ length: 500 }, (_, i) => `stay${i}`);
    for (const name of stay) {
      bench.run(() => insertEntry(bench.tx, header, bytes(name), 2, 1, S_IFREG));
    }
    const seen: string[] = [];
    let added = 0;
    for (let cookie = 0; ;) {
      const some = listEntries(bench.source, header, cookie, 5);
      if (some.length === 0) break;
      seen.push(...some.map(({ name }) => text(name)));
      cookie = some[some.length - 1].cookie;
      for (let i = 0; i < 20; i++) {
        bench.run(() => insertEntry(bench.tx, header, bytes(`go${added}`), 3, 1, S_IFREG));
        if (added++ % 2 === 0) {
          bench.run(() => removeEntry(bench.tx, header, bytes(`go${added - 1}`)));
        }
      }
    }
    const stayed = seen.filter((name) => name.startsWith('stay'));
    expect(stayed.sort()).toEqual([...stay].sort());
    expect(new Set(seen).size).toBe(seen.length);
  });

  it('is cleared in steps, and refuses when the disk is full, nothing half done', () => {
    const bench = new Bench();
    const header = bench.makeInode(1, true);
    for (let i = 0; i < 3000; i++) {
      bench.run(() => insertEntry(bench.tx, header, bytes(`name ${i}`), 2, 1, S_IFREG));
    }
    bench.run(() => {
      for (let i = 0; i < 32_768; i++) bench.segments[0].claim(bench.tx, 'metadata', i);
    });
    let refused = 0;
    for (let i = 0; i < 4000 && refused < 3; i++) {
      const before = i % 50 === 0 || refused > 0 ? bench.source.snapshot() : undefined;
      try {
        bench.run(() => insertEntry(bench.tx, header, bytes(`more ${i}`), 2, 1, S_IFREG));
      } catch (error) {
        expect(error).toEqual(errno('ENOSPC'));
        refused++;
        if (before !== undefined) expect(bench.source.snapshot()).toEqual(before);
      }
    }
    expect(refused).toBe(3);
    expect(listAll(bench, header, 100).length).toBe(entriesOf(header));
    let steps = 0;
    while (!bench.run(() => clearDirectory(bench.tx, header, 5))) steps++;
    expect(steps).toBeGreaterThan(2);
    expect([blocksOf(header), entriesOf(header)]).toEqual([0, 0]);
  });
});
