import fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import { isSextantError } from '../../errors.js';
import type { DiskFile } from '../world.js';
import { SimRandom } from './random.js';
import { SimDisk, type DiskFaults } from './sim-disk.js';
import { SimDiskView } from './sim-disk-view.js';

class User {
  pid = 1;
  alive = true;
  charged = 0;
  charge(ms: number): void {
    this.charged += ms;
  }
  syncing(): void {}
}

function makeDisk(seed: number, faults?: Partial<DiskFaults>) {
  const disk = new SimDisk(new SimRandom(seed), faults);
  const user = new User();
  return { disk, user, view: new SimDiskView(disk, user) };
}

function code(fn: () => unknown): string {
  try {
    fn();
  } catch (error) {
    if (isSextantError(error)) return error.code;
    throw error;
  }
  return 'none';
}

function content(file: DiskFile): number[] {
  const bytes = new Uint8Array(file.size());
  expect(file.read(bytes, 0, bytes.length + 5 - 5, 0)).toBe(bytes.length);
  return [...bytes];
}

function put(file: DiskFile, position: number, length: number, byte: number): void {
  file.write(new Uint8Array(length).fill(byte), 0, length, position);
}

describe('simulated disk', () => {
  test('synced bytes under synced names survive; the rest is lost when nothing unsynced is kept', () => {
    const { disk, view } = makeDisk(1, { keepUnsynced: 0 });
    view.makeFolder('/d');
    view.syncFolder('/');
    const file = view.open('/d/x', { create: true });
    put(file, 0, 10, 1);
    file.sync();
    view.syncFolder('/d');
    put(file, 5, 10, 2);
    file.truncate(12);
    const lost = view.open('/d/y', { create: true });
    put(lost, 0, 10, 1);
    lost.sync();
    view.rename('/d/x', '/d/z');
    disk.powerCut();
    expect(view.list('/d')).toEqual(['x']);
    expect(content(view.open('/d/x'))).toEqual(Array.from({ length: 10 }, () => 1));
  });

  test('a folder whose parent was not synced is lost with all in it', () => {
    const { disk, view } = makeDisk(1, { keepUnsynced: 0 });
    view.makeFolder('/a/b');
    view.open('/a/b/x', { create: true }).sync();
    view.syncFolder('/a/b');
    view.syncFolder('/a');
    disk.powerCut();
    expect(view.exists('/a')).toBe(false);
    expect(view.exists('/a/b/x')).toBe(false);
  });

  test('a rename over a file is there whole or not at all', () => {
    const seen = new Set<string>();
    for (let seed = 0; seed < 60; seed++) {
      const { disk, view } = makeDisk(seed);
      for (const [name, byte] of [
        ['old', 1],
        ['new', 2],
      ] as const) {
        const file = view.open(name, { create: true });
        put(file, 0, 3, byte);
        file.sync();
      }
      view.syncFolder('.');
      view.rename('new', 'old');
      disk.powerCut();
      seen.add(`${view.list('.').join()} ${content(view.open('old')).join('')}`);
    }
    expect([...seen].toSorted()).toEqual(['new,old 111', 'old 222']);
  });

  test('unsynced writes tear at sectors', () => {
    const seen = new Set<string>();
    for (let seed = 0; seed < 200; seed++) {
      const { disk, view } = makeDisk(seed, { keepUnsynced: 0.5 });
      const file = view.open('x', { create: true });
      put(file, 0, 2048, 1);
      file.sync();
      view.syncFolder('.');
      put(file, 500, 600, 2);
      disk.powerCut();
      const bytes = content(view.open('x'));
      const at = (from: number, to: number): string => {
        const values = new Set(bytes.slice(from, to));
        expect(values.size).toBe(1);
        return [...values].join();
      };
      expect(at(0, 500) + at(1100, 2048)).toBe('11');
      seen.add(at(500, 512) + at(512, 1024) + at(1024, 1100));
    }
    expect(seen.size).toBe(8);
  });

  test('faults: full, failing, lying, rotting, lost, dead', () => {
    const { disk, user, view } = makeDisk(2, { keepUnsynced: 0, quotaBytes: 1000 });
    const file = view.open('d', { create: true });
    view.syncFolder('.');
    put(file, 0, 900, 1);
    expect(view.freeBytes()).toBe(100);
    expect(code(() => put(file, 900, 101, 1))).toBe('DISK_FULL');
    put(file, 0, 900, 2);
    file.sync();
    disk.faults.syncFails = 1;
    put(file, 0, 100, 3);
    expect(code(() => file.sync())).toBe('DISK_FAILED');
    disk.faults.syncFails = 0;
    put(file, 50, 100, 4);
    file.sync();
    expect(content(file).slice(0, 1)).toEqual([3]);
    disk.powerCut();
    const after = content(view.open('d'));
    expect(after.slice(0, 50)).toEqual(Array.from({ length: 50 }, () => 2));
    expect(after.slice(50, 150)).toEqual(Array.from({ length: 100 }, () => 4));
    disk.faults.lies = true;
    const again = view.open('d');
    put(again, 0, 10, 9);
    again.sync();
    disk.powerCut();
    expect(content(view.open('d'))[0]).toBe(2);
    const before = content(view.open('d'));
    const rotten = disk.rot('.')!;
    before[rotten.bit >> 3]! ^= 1 << (rotten.bit & 7);
    expect(content(view.open('d'))).toEqual(before);
    disk.lose('/');
    expect(view.list('/')).toEqual([]);
    expect(user.charged).toBeGreaterThan(0);
    user.alive = false;
    expect(code(() => view.list('/'))).toBe('CLOSED');
    expect(code(() => put(again, 0, 1, 1))).toBe('CLOSED');
  });

  test('errors and locks are as on the real disk', () => {
    const { view } = makeDisk(3);
    expect(code(() => view.open('none'))).toBe('NOT_FOUND');
    expect(code(() => view.open('no/folder', { create: true }))).toBe('NOT_FOUND');
    expect(code(() => view.remove('none'))).toBe('NOT_FOUND');
    expect(code(() => view.rename('none', 'x'))).toBe('NOT_FOUND');
    expect(code(() => view.lockFolder('none'))).toBe('NOT_FOUND');
    view.open('x', { create: true });
    expect(code(() => view.open('x', { create: true, exclusive: true }))).toBe('DISK_FAILED');
    view.makeFolder('d/e');
    const lock = view.lockFolder('/d/e');
    expect(code(() => view.lockFolder('d/e/'))).toBe('FOLDER_LOCKED');
    lock.release();
    view.lockFolder('d/e').release();
    view.rename('d', 'f');
    expect(view.exists('f/e')).toBe(true);
    expect(view.list('.')).toEqual(['f', 'x']);
  });
});

/**
 * The naive model: for each byte of a file the set of values it may have after a power cut (the synced
 * one and everything written since). Names are always synced here.
 */
describe('against a naive model', () => {
  const step = fc.oneof(
    fc.record({
      do: fc.constant('write' as const),
      at: fc.nat(3000),
      length: fc.integer({ min: 1, max: 1500 }),
      byte: fc.integer({ min: 1, max: 255 }),
    }),
    fc.record({ do: fc.constant('truncate' as const), at: fc.nat(3000) }),
    fc.record({ do: fc.constant('sync' as const) }),
    fc.record({ do: fc.constant('cut' as const) }),
  );

  test('reads see what was written; after a power cut each byte is one that it may be', () => {
    fc.assert(
      fc.property(fc.integer(), fc.array(step, { maxLength: 40 }), (seed, steps) => {
        const { disk, view } = makeDisk(seed);
        let file = view.open('x', { create: true });
        view.syncFolder('.');
        let now: number[] = [];
        let possible: Set<number>[] = [];
        let sizes = new Set([0]);
        const settle = (bytes: number[]): void => {
          now = bytes;
          possible = bytes.map((byte) => new Set([byte]));
          sizes = new Set([bytes.length]);
        };
        settle([]);
        for (const one of steps) {
          if (one.do === 'write') {
            put(file, one.at, one.length, one.byte);
            while (now.length < one.at) now.push(0);
            for (let i = one.at; i < one.at + one.length; i++) {
              now[i] = one.byte;
              while (possible.length <= i) possible.push(new Set([0]));
              possible[i]!.add(one.byte);
              // Zeros only where the file may have ended before.
              if (i >= Math.min(...sizes)) possible[i]!.add(0);
            }
            sizes.add(now.length);
          } else if (one.do === 'truncate') {
            file.truncate(one.at);
            while (now.length < one.at) now.push(0);
            now.length = one.at;
            for (const set of possible.slice(one.at)) set.add(0);
            while (possible.length < one.at) possible.push(new Set([0]));
            sizes.add(one.at);
          } else if (one.do === 'sync') {
            file.sync();
            settle(now.slice());
          } else {
            disk.powerCut();
            file = view.open('x');
            const bytes = content(file);
            expect(bytes.length).toBeLessThanOrEqual(Math.max(...sizes));
            expect(bytes.length).toBeGreaterThanOrEqual(Math.min(...sizes));
            expect(bytes.every((byte, i) => possible[i]!.has(byte))).toBe(true);
            settle(bytes);
          }
          expect(content(file)).toEqual(now);
        }
      }),
      { numRuns: 150 },
    );
  });
});
