/** The folder of a member: what survives power cuts, torn writes and flipped bits, and what is refused. */
import { describe, expect, it } from 'vitest';
import { SextantError } from '#core/errors.js';
import { SimRandom } from '#core/world/simulated/random.js';
import { Simulation, type SimProcess } from '#core/world/simulated/simulation.js';
import type { World } from '#core/world/world.js';
import { EntryKind, makeSnapshot, NO_BYTES, type Entry } from './entry.js';
import type { HardState, RaftDurable, RaftReady } from './raft-core.js';
import { RaftStorage } from './raft-storage.js';

const FOLDER = '/data/raft';
const FOUNDERS = [{ id: 'a', address: 'a:1' }];

function entry(index: number, term: number, size = 10): Entry {
  const data = new Uint8Array(size).fill((index * 7 + term) & 255);
  return { index, term, kind: EntryKind.command, data };
}

function ready(part: Partial<RaftReady>): RaftReady {
  return {
    early: [],
    hardState: undefined,
    snapshot: undefined,
    entries: [],
    messages: [],
    committed: [],
    reads: [],
    change: undefined,
    ...part,
  };
}

class Bench {
  readonly process: SimProcess;
  world: World;
  storage: RaftStorage | undefined;

  constructor(seed: number) {
    this.process = new Simulation(seed).process('a');
    this.world = this.process.start();
  }

  open(options: { cluster?: string; id?: string } = {}): RaftDurable {
    const { storage, durable } = RaftStorage.open(this.world, {
      folder: FOLDER,
      cluster: options.cluster ?? 'c',
      id: options.id ?? 'a',
      founders: FOUNDERS,
      logFileBytes: 2000,
      faults: {},
    });
    this.storage = storage;
    return durable;
  }

  persist(part: Partial<RaftReady>): void {
    this.storage?.persist(ready(part));
  }

  /** A power cut, then another life. */
  cut(): RaftDurable {
    this.process.crash();
    this.world = this.process.start();
    return this.open();
  }

  again(): RaftDurable {
    this.storage?.close();
    return this.open();
  }
}

function codeOf(run: () => unknown): string {
  try {
    run();
  } catch (error) {
    return error instanceof SextantError ? error.code : String(error);
  }
  return 'nothing';
}

describe('a member keeps', () => {
  it('its founders, term, vote and log', () => {
    const bench = new Bench(1);
    const fresh = bench.open();
    expect(fresh.snapshot.members).toEqual(FOUNDERS);
    expect(fresh.hardState).toEqual({ term: 0, vote: '' });
    const entries = [entry(1, 1), entry(2, 1), entry(3, 2, 3000), entry(4, 2, 0)];
    bench.persist({ hardState: { term: 2, vote: 'bö' }, entries });
    const back = bench.cut();
    expect(back.hardState).toEqual({ term: 2, vote: 'bö' });
    expect(back.entries).toEqual(entries);
    expect(bench.again().entries).toEqual(entries);
  });

  it('only what replaced a conflicting tail', () => {
    const bench = new Bench(2);
    bench.open();
    const first = Array.from({ length: 60 }, (_, i) => entry(i + 1, 1, 100));
    for (const one of first) bench.persist({ hardState: { term: 1, vote: '' }, entries: [one] });
    bench.persist({ hardState: { term: 2, vote: '' }, entries: [entry(30, 2), entry(31, 2)] });
    const want = [...first.slice(0, 29), entry(30, 2), entry(31, 2)];
    expect(bench.cut().entries).toEqual(want);
    bench.persist({ entries: [entry(32, 2)] });
    expect(bench.cut().entries).toEqual([...want, entry(32, 2)]);
  });

  it('a snapshot, and what follows it in the log', () => {
    const bench = new Bench(3);
    bench.open();
    const entries = Array.from({ length: 80 }, (_, i) => entry(i + 1, 1, 100));
    for (const one of entries) bench.persist({ hardState: { term: 1, vote: '' }, entries: [one] });
    const before = bench.world.disk.list(FOLDER).length;
    const snapshot = makeSnapshot(50, 1, FOUNDERS, new Uint8Array(5000).fill(3));
    bench.storage?.saveSnapshot(snapshot);
    expect(bench.world.disk.list(FOLDER).length).toBeLessThan(before);
    const back = bench.cut();
    expect(back.snapshot).toEqual(snapshot);
    expect(back.entries).toEqual(entries.slice(50));
  });

  it('an installed snapshot in place of its log', () => {
    const bench = new Bench(4);
    bench.open();
    bench.persist({ hardState: { term: 1, vote: '' }, entries: [entry(1, 1), entry(2, 1)] });
    const snapshot = makeSnapshot(9, 3, FOUNDERS, new Uint8Array(50));
    bench.persist({ hardState: { term: 3, vote: '' }, snapshot, entries: [entry(10, 3)] });
    const back = bench.cut();
    expect(back.snapshot.index).toBe(9);
    expect(back.entries).toEqual([entry(10, 3)]);
  });
});

describe('power cuts', () => {
  it('anywhere lose nothing that was answered for, and bring back nothing that was replaced', () => {
    for (let seed = 1; seed <= 60; seed++) {
      const random = new SimRandom(seed);
      const bench = new Bench(seed);
      bench.open();
      // What must be there, and what was being written when the power went.
      let kept: Entry[] = [];
      let hard: HardState = { term: 1, vote: '' };
      let base = makeSnapshot(0, 0, FOUNDERS, NO_BYTES);
      bench.persist({ hardState: hard });
      for (let round = 0; round < 25; round++) {
        const last = kept.at(-1)?.index ?? base.index;
        const dice = random.unit();
        let part: Partial<RaftReady>;
        let after = kept;
        let nextHard = hard;
        let nextBase = base;
        if (dice < 0.7) {
          const from = Math.max(
            base.index + 1,
            last + 1 - (random.chance(0.2) ? random.below(5) : 0),
          );
          if (from <= last) nextHard = { term: hard.term + 1, vote: 'x' };
          const count = 1 + random.below(4);
          const entries = Array.from({ length: count }, (_, i) =>
            entry(from + i, nextHard.term, random.below(900)),
          );
          part = { hardState: nextHard === hard ? undefined : nextHard, entries };
          after = [...kept.filter(({ index }) => index < from), ...entries];
        } else if (dice < 0.8) {
          nextHard = { term: hard.term + 1, vote: random.chance(0.5) ? 'y' : '' };
          part = { hardState: nextHard };
        } else {
          nextBase = makeSnapshot(last + 5, hard.term, FOUNDERS, random.bytes(random.below(3000)));
          part = { snapshot: nextBase };
          after = [];
        }
        const dies = random.chance(0.3);
        if (dies) {
          bench.process.crashAtSync(1 + random.below(6), random.chance(0.5) ? 'before' : 'after');
        }
        try {
          bench.persist(part);
          [kept, hard, base] = [after, nextHard, nextBase];
        } catch {
          // The planned crash: either state, or something between for the log.
        }
        if (!dies) continue;
        const back = bench.cut();
        expect([base.index, nextBase.index]).toContain(back.snapshot.index);
        expect([hard.term, nextHard.term]).toContain(back.hardState.term);
        const wanted = back.snapshot.index === base.index ? [kept, after] : [after];
        const matches = wanted.some((want) => {
          const common = back.entries.length;
          // Some of the last write may be there: a prefix of it.
          return want === kept
            ? same(back.entries, want)
            : same(back.entries, want.slice(0, common));
        });
        expect(matches, `seed ${seed} round ${round}`).toBe(true);
        if (after.length > 0 && back.entries.length < kept.length) {
          // Something replaced the tail: at least its first entry must be there.
          expect(back.entries.at(-1)?.term).toBe(nextHard.term);
        }
        kept = [...back.entries];
        hard = back.hardState;
        base = back.snapshot;
      }
    }
  });
});

function same(a: readonly Entry[], b: readonly Entry[]): boolean {
  return a.length === b.length && a.every((one, i) => sameEntry(one, b[i]));
}

function sameEntry(a: Entry, b: Entry | undefined): boolean {
  return (
    b !== undefined &&
    a.index === b.index &&
    a.term === b.term &&
    a.data.length === b.data.length &&
    a.data.every((byte, i) => byte === b.data[i])
  );
}

describe('damage', () => {
  /** Files of a member that has three log files, a snapshot, and ended cleanly. */
  function filled(seed: number): Bench {
    const bench = new Bench(seed);
    bench.open();
    bench.persist({ hardState: { term: 1, vote: 'a' } });
    for (let i = 1; i <= 60; i++) bench.persist({ entries: [entry(i, 1, 100)] });
    bench.storage?.saveSnapshot(makeSnapshot(30, 1, FOUNDERS, new Uint8Array(600).fill(9)));
    bench.storage?.close();
    return bench;
  }

  it('of any bit is found, or does not matter', () => {
    const want = filled(1).open();
    const codes = new Map<string, number>();
    for (let seed = 1; seed <= 150; seed++) {
      const bench = filled(seed);
      const where = bench.process.disk.rot(FOLDER);
      let code = 'fine';
      try {
        const back = bench.open();
        expect(same(back.entries, want.entries), where?.path).toBe(true);
        expect(back.hardState).toEqual(want.hardState);
        expect(back.snapshot.crc).toBe(want.snapshot.crc);
      } catch (error) {
        if (!(error instanceof SextantError)) throw error;
        code = error.code;
      }
      codes.set(code, (codes.get(code) ?? 0) + 1);
      bench.process.crash();
    }
    expect([...codes.keys()].sort()).toEqual(['CORRUPTION', 'FOLDER_FOREIGN', 'fine'].sort());
    expect(codes.get('CORRUPTION')).toBeGreaterThan(40);
  });

  it('of one copy of term and vote is repaired, of both is CORRUPTION', () => {
    const bench = filled(1);
    bench.process.disk.flipBit(`${FOLDER}/term`, 100);
    expect(bench.open().hardState).toEqual({ term: 1, vote: 'a' });
    bench.storage?.close();
    bench.process.disk.flipBit(`${FOLDER}/term`, 4096 * 8 + 70);
    expect(bench.open().hardState).toEqual({ term: 1, vote: 'a' });
    bench.storage?.close();
    bench.process.disk.flipBit(`${FOLDER}/term`, 100);
    bench.process.disk.flipBit(`${FOLDER}/term`, 4096 * 8 + 70);
    expect(codeOf(() => bench.open())).toBe('CORRUPTION');
  });

  it('by a missing file is CORRUPTION', () => {
    const names = filled(1)
      .world.disk.list(FOLDER)
      .filter((name) => name !== 'LOCK');
    for (const name of names) {
      if (name === 'raft.json') continue;
      const bench = filled(1);
      bench.world.disk.remove(`${FOLDER}/${name}`);
      const last = name === names.filter((one) => one.endsWith('.log')).at(-1);
      // The last log file alone cannot be missed: nothing names it.
      if (!last)
        expect(
          codeOf(() => bench.open()),
          name,
        ).toBe('CORRUPTION');
    }
  });
});

describe('a folder is refused', () => {
  it("when it is in use, another member's, another cluster's, or no member's", () => {
    const bench = new Bench(1);
    bench.open();
    expect(codeOf(() => bench.open())).toBe('FOLDER_LOCKED');
    bench.persist({ hardState: { term: 1, vote: '' } });
    bench.storage?.close();
    expect(codeOf(() => bench.open({ id: 'b' }))).toBe('FOLDER_FOREIGN');
    expect(codeOf(() => bench.open({ cluster: 'd' }))).toBe('FOLDER_FOREIGN');
    expect(bench.open().hardState.term).toBe(1);
    bench.storage?.close();
    bench.world.disk.remove(`${FOLDER}/raft.json`);
    expect(codeOf(() => bench.open())).toBe('FOLDER_FOREIGN');
  });

  it('when its format is another', () => {
    const bench = new Bench(2);
    bench.open();
    bench.storage?.close();
    const file = bench.world.disk.open(`${FOLDER}/raft.json`);
    const bytes = new Uint8Array(file.size());
    file.read(bytes, 0, bytes.length, 0);
    const text = new TextDecoder().decode(bytes).replace('"format":1', '"format":2');
    file.write(new TextEncoder().encode(text), 0, bytes.length, 0);
    file.close();
    expect(codeOf(() => bench.open())).toBe('FOLDER_FOREIGN');
  });

  it('not when its first start was cut off anywhere', () => {
    for (let sync = 1; sync <= 9; sync++) {
      for (const moment of ['before', 'after'] as const) {
        const bench = new Bench(sync);
        bench.process.crashAtSync(sync, moment);
        codeOf(() => bench.open());
        expect(bench.cut().entries).toEqual([]);
      }
    }
  });
});

it('a full disk changes nothing, and the write may be tried again', () => {
  const bench = new Bench(1);
  bench.open();
  bench.persist({ hardState: { term: 1, vote: '' }, entries: [entry(1, 1)] });
  const { faults } = bench.process.disk;
  faults.quotaBytes = bench.process.disk.usedBytes;
  const part = { hardState: { term: 2, vote: 'b' }, entries: [entry(2, 2, 20_000)] };
  expect(codeOf(() => bench.persist(part))).toBe('DISK_FULL');
  expect(codeOf(() => bench.persist(part))).toBe('DISK_FULL');
  faults.quotaBytes = 2 ** 40;
  bench.persist(part);
  const back = bench.cut();
  expect(back.entries).toEqual([entry(1, 1), entry(2, 2, 20_000)]);
  expect(back.hardState).toEqual({ term: 2, vote: 'b' });
});
