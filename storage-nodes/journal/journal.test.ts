import { expect, test } from 'vitest';
import { SextantError } from '#core/errors.js';
import { diskWorld, makeBench, Mortal, type Bench } from '../store/store.test-helper.js';
import { FrameKind } from './frame.js';
import { Journal } from './journal.js';

interface Opened {
  readonly journal: Journal;
  readonly bodies: string[];
  readonly damage: string[];
}

function open(bench: Bench, run: number, fileBytes = 4096): Opened {
  const { disk } = diskWorld(bench, new Mortal());
  disk.makeFolder('j');
  disk.syncFolder('.');
  const journal = new Journal(disk, 'j', fileBytes, run);
  const bodies: string[] = [];
  const damage: string[] = [];
  journal.replay(
    (frame) => {
      if (frame.kind === FrameKind.state) bodies.push(new TextDecoder().decode(frame.body()));
    },
    (description) => damage.push(description),
  );
  return { journal, bodies, damage };
}

function append(journal: Journal, text: string): number {
  return journal.append(FrameKind.state, 0, new TextEncoder().encode(text));
}

/** A journal of a few commits over several files, closed cleanly; what it holds. */
function filled(bench: Bench): string[] {
  const { journal } = open(bench, 1);
  const texts: string[] = [];
  for (let i = 0; i < 24; i++) {
    for (let n = 0; n <= i % 3; n++) {
      texts.push(`${i}.${n} `.repeat(20 + ((i * 7) % 50)));
      append(journal, texts[texts.length - 1]);
    }
    journal.commit();
  }
  journal.append(FrameKind.close, 0);
  journal.commit();
  return texts;
}

test('frames come back in order over several files', () => {
  const bench = makeBench(1);
  const texts = filled(bench);
  const { bodies, damage } = open(bench, 2);
  expect(bench.disk.list('j').length).toBeGreaterThan(3);
  expect(bodies).toEqual(texts);
  expect(damage).toEqual([]);
});

test('a flipped bit below a synced offset is damage, and only its own frame is missing', () => {
  const bench = makeBench(2);
  const texts = filled(bench);
  let missing = 0;
  for (const name of bench.disk.list('j')) {
    const file = bench.disk.file(`j/${name}`);
    if (file === undefined) throw new Error('no file');
    for (let bit = 3; bit < file.size * 8; bit += 331) {
      file.flipBit(bit);
      const { bodies, damage } = open(bench, 3);
      if (bodies.length < texts.length) {
        missing++;
        expect(damage.length, `${name} bit ${bit}`).toBeGreaterThan(0);
        expect(bodies.length).toBeGreaterThanOrEqual(texts.length - 1);
      }
      for (const body of bodies) expect(texts).toContain(body);
      file.flipBit(bit);
    }
  }
  expect(missing).toBeGreaterThan(100);
  expect(open(bench, 4).bodies).toEqual(texts);
});

test('a torn last commit is cut, and what lay behind the tear never comes back', () => {
  const bench = makeBench(3);
  const first = open(bench, 1);
  append(first.journal, 'acknowledged');
  first.journal.commit();
  const torn = append(first.journal, 'x=1');
  append(first.journal, 'y=2');
  first.journal.commit();
  // The power went during that commit: its first frame did not reach the disk, its second did.
  const file = bench.disk.file('j/00000001.journal');
  file?.flipBit((torn % 2 ** 32) * 8);

  const second = open(bench, 2);
  expect(second.bodies).toEqual(['acknowledged']);
  expect(second.damage).toEqual([]);
  append(second.journal, 'x=1');
  second.journal.commit();
  expect(open(bench, 3).bodies).toEqual(['acknowledged', 'x=1']);
  // The same again with another content of the same length.
  append(second.journal, 'z=3');
  second.journal.commit();
  expect(open(bench, 4)).toMatchObject({ bodies: ['acknowledged', 'x=1', 'z=3'], damage: [] });
});

test('a file missing in the middle is damage', () => {
  const bench = makeBench(4);
  filled(bench);
  bench.disk.remove('j/00000002.journal');
  const { damage } = open(bench, 2);
  expect(damage.join()).toMatch(/no file between 1 and 3/);
});

test('a full disk refuses the commit, keeps what was queued, and takes it later', () => {
  const bench = makeBench(5);
  const { journal } = open(bench, 1);
  append(journal, 'a');
  journal.commit();
  bench.disk.faults.quotaBytes = bench.disk.usedBytes + 100;
  const texts: string[] = ['a'];
  for (let i = 0; i < 40; i++) {
    texts.push(`${i}`.repeat(100));
    append(journal, texts[texts.length - 1]);
  }
  for (let i = 0; i < 2; i++) {
    expect(() => journal.commit()).toThrow(/no room/);
    expect(journal.dirty).toBe(true);
    const survived = open(bench, 9).bodies;
    expect(texts.slice(0, survived.length)).toEqual(survived);
    bench.disk.faults.quotaBytes += 4096;
  }
  bench.disk.faults.quotaBytes = 2 ** 40;
  journal.commit();
  expect(open(bench, 2).bodies).toEqual(texts);
});

test('after a failed sync nothing is ever called durable again', () => {
  const bench = makeBench(6);
  const { journal } = open(bench, 1);
  append(journal, 'a');
  bench.disk.faults.syncFails = 1;
  expect(() => journal.commit()).toThrow(SextantError);
  bench.disk.faults.syncFails = 0;
  expect(() => journal.commit()).toThrow(/earlier write or sync failed/);
  append(journal, 'b');
  expect(() => journal.commit()).toThrow(/earlier write or sync failed/);
});

test('recycled content does not speak', () => {
  const bench = makeBench(7);
  const { journal } = open(bench, 1);
  for (let i = 0; journal.currentSeq < 4; i++) {
    append(journal, `old ${i} `.repeat(20));
    journal.commit();
  }
  journal.files.free(1);
  journal.files.free(2);
  expect(bench.disk.list('j')).toContain('spare');
  while (journal.currentSeq < 5) {
    append(journal, 'new '.repeat(30));
    journal.commit();
  }
  expect(bench.disk.list('j')).not.toContain('spare');
  const { bodies, damage } = open(bench, 2);
  expect(damage).toEqual([]);
  const newest = bodies.slice(bodies.findIndex((body) => body.startsWith('new')));
  expect(newest.every((body) => body.startsWith('new'))).toBe(true);
});

test('what can be read after a failed sync is durable once a replay has shown it', () => {
  const bench = makeBench(7);
  const first = open(bench, 1);
  append(first.journal, 'kept');
  first.journal.commit();
  append(first.journal, 'doomed');
  bench.disk.faults.syncFails = 1;
  expect(() => first.journal.commit()).toThrow(SextantError);
  bench.disk.faults.syncFails = 0;
  // The process ends, the page cache stays: the frame is there to read, though never on the disk.
  const second = open(bench, 2);
  expect(second.bodies).toEqual(['kept', 'doomed']);
  append(second.journal, 'later');
  second.journal.commit();
  bench.disk.faults.keepUnsynced = 0;
  bench.disk.powerCut();
  const third = open(bench, 3);
  expect(third.bodies).toEqual(['kept', 'doomed', 'later']);
  expect(third.damage).toEqual([]);
});
