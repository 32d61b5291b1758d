/** Golden scripts of range locks: one behaviour each (see range-script.test-helper.ts for the language). */
import { describe, expect, it } from 'vitest';
import { RangeScript } from './range-script.test-helper.js';
import type { RangeTableOptions } from './range-table.js';

function holds(text: string, options?: Partial<RangeTableOptions>): void {
  expect(new RangeScript(options).play(text)).toBe(text);
}

describe('fcntl', () => {
  it('a lock in the middle splits what the owner held, and neighbours of one type merge', () =>
    holds(
      `
      A/p1 locks read 0-10
          r1 granted
      A/p1 locks write 4-6
          r2 granted
      shows
          A/p1 read 0-4 in 1
          A/p1 write 4-6 in 1
          A/p1 read 6-10 in 1
          0 wait
      A/p1 locks read 4-6
          r3 granted
      shows
          A/p1 read 0-10 in 1
          0 wait
      A/p1 unlocks 2-3
          r4 granted
      shows
          A/p1 read 0-2 in 1
          A/p1 read 3-10 in 1
          0 wait
    `,
    ));

  it('readers share, a writer does not', () =>
    holds(
      `
      A/p1 locks read 0-10
          r1 granted
      A/p2 locks read 5-15
          r2 granted
      B/p1 locks write 8-9
          r3 would-block: A/p1 read 0-10
      B/p1 locks write 15-end
          r4 granted
    `,
    ));

  it('an owner never conflicts with itself: up and down in place', () =>
    holds(
      `
      A/p1 locks read 0-10
          r1 granted
      A/p1 locks write 0-10
          r2 granted
      B/p1 locks read 0-1
          r3 would-block: A/p1 write 0-10
      A/p1 locks read 0-5
          r4 granted
      B/p1 locks read 0-1
          r5 granted
      B/p1 locks read 5-6
          r6 would-block: A/p1 write 5-10
    `,
    ));

  it('an upgrade that fails keeps the read lock', () =>
    holds(
      `
      A/p1 locks read 0-10
          r1 granted
      B/p1 locks read 0-10
          r2 granted
      A/p1 locks write 0-10
          r3 would-block: B/p1 read 0-10
      shows
          A/p1 read 0-10 in 1
          B/p1 read 0-10 in 1
          0 wait
    `,
    ));

  it('a test names a lock in the way, or none, and takes nothing', () =>
    holds(
      `
      A/p1 locks write 20-30
          r1 granted
      A/p1 locks write 0-10
          r2 granted
      B/p1 tests read 5-25
          r3 would-block: A/p1 write 0-10
      B/p1 tests read 10-20
          r4 free
      A/p1 tests write 0-end
          r5 free
      shows
          A/p1 write 0-10 in 1
          A/p1 write 20-30 in 1
          0 wait
    `,
    ));

  it('closing any descriptor frees every lock of the process in that file, not in others', () =>
    holds(
      `
      A/p1 locks read 0-10
          r1 granted
      A/p1 locks write 20-30
          r2 granted
      A/p1 locks read 0-1 in 2
          r3 granted
      A/p2 locks read 0-1
          r4 granted
      A/p1 closes
          r5 granted
      shows
          A/p2 read 0-1 in 1
          A/p1 read 0-1 in 2
          0 wait
    `,
    ));

  it('open file descriptions own locks apart from their process', () =>
    holds(
      `
      A/p1 locks write 0-10
          r1 granted
      A/o1 locks read 5-6
          r2 would-block: A/p1 write 0-10
      A/o1 locks write 10-20
          r3 granted
      A/p1 locks read 15-16
          r4 would-block: A/o1 write 10-20
      A/p1 closes
          r5 granted
      shows
          A/o1 write 10-20 in 1
          0 wait
    `,
    ));

  it('the end of the file is far away', () =>
    holds(
      `
      A/p1 locks write 100-end
          r1 granted
      B/p1 locks write 9223372036854775807-end
          r2 would-block: A/p1 write 100-end
      B/p1 locks write 0-100
          r3 granted
    `,
    ));
});

describe('waiting', () => {
  it('ends in order of arrival, each as soon as no holder is in its way', () =>
    holds(
      `
      A/p1 locks write 0-10
          r1 granted
      B/p1 locks write 0-5 wait
          r2 waits
      C/p1 locks write 0-10 wait
          r3 waits
      D/p1 locks write 5-10 wait
          r4 waits
      A/p1 unlocks 0-end
          r2 granted
          r4 granted
          r5 granted
      B/p1 unlocks 0-end
          r6 granted
      D/p1 closes
          r3 granted
          r7 granted
    `,
    ));

  it('ends for all readers at once', () =>
    holds(
      `
      A/p1 locks write 0-10
          r1 granted
      B/p1 locks read 0-10 wait
          r2 waits
      C/p1 locks read 0-10 wait
          r3 waits
      A/p1 locks read 0-10
          r2 granted
          r3 granted
          r4 granted
    `,
    ));

  it('keeps what the owner has', () =>
    holds(
      `
      A/p1 locks read 0-10
          r1 granted
      B/p1 locks read 0-10
          r2 granted
      A/p1 locks write 0-10 wait
          r3 waits
      C/p1 tests write 0-10
          r4 would-block: A/p1 read 0-10
      B/p1 closes
          r3 granted
          r5 granted
    `,
    ));

  it('can be cancelled; what was granted stays granted', () =>
    holds(
      `
      A/p1 locks write 0-10
          r1 granted
      B/p1 locks write 0-10 wait
          r2 waits
      B cancels r2
          r2 cancelled
          r2 cancelled
      A/p1 closes
          r3 granted
      B/p1 locks write 0-10
          r4 granted
      B cancels r4
          r4 granted
    `,
    ));

  it('is entered once, however often the call comes', () =>
    holds(
      `
      A/p1 locks write 0-10
          r1 granted
      B/p1 locks write 0-10 wait
          r2 waits
      B repeats r2
          r2 waits
      A/p1 closes
          r2 granted
          r3 granted
      B repeats r2
          r2 granted
      B/p1 closes
          r4 granted
      B repeats r2
          r2 granted
      shows
          0 wait
    `,
    ));

  it('is bounded', () =>
    holds(
      `
      A/p1 locks write 0-10
          r1 granted
      B/p1 locks write 0-10 wait
          r2 waits
      B/p2 locks write 0-10 wait
          r3 waits
      B/p3 locks write 0-10 wait
          r4 fails: OVERLOADED
    `,
      { maxWaitingOfClerk: 2 },
    ));
});

describe('deadlock', () => {
  it('of two processes is refused to the one that would close the circle', () =>
    holds(
      `
      A/p1 locks write 0-1
          r1 granted
      B/p1 locks write 1-2
          r2 granted
      A/p1 locks write 1-2 wait
          r3 waits
      B/p1 locks write 0-1 wait
          r4 deadlock: A/p1 write 0-1
      B/p1 closes
          r3 granted
          r5 granted
    `,
    ));

  it('of three, over two files', () =>
    holds(
      `
      A/p1 locks write 0-1
          r1 granted
      B/p1 locks write 0-1 in 2
          r2 granted
      C/p1 locks write 5-6
          r3 granted
      A/p1 locks read 0-1 wait in 2
          r4 waits
      B/p1 locks read 5-6 wait
          r5 waits
      C/p1 locks read 0-1 wait
          r6 deadlock: A/p1 write 0-1
    `,
    ));

  it('of two that read the same and both want to write', () =>
    holds(
      `
      A/p1 locks read 0-9
          r1 granted
      B/p1 locks read 0-9
          r2 granted
      A/p1 locks write 0-9 wait
          r3 waits
      B/p1 locks write 0-9 wait
          r4 deadlock: A/p1 read 0-9
      B/p1 closes
          r3 granted
          r5 granted
    `,
    ));

  it('is not looked for among open file descriptions, as in Linux', () =>
    holds(
      `
      A/o1 locks write 0-1
          r1 granted
      B/o1 locks write 1-2
          r2 granted
      A/o1 locks write 1-2 wait
          r3 waits
      B/o1 locks write 0-1 wait
          r4 waits
      A cancels r3
          r3 cancelled
          r3 cancelled
      A/o1 closes
          r4 granted
          r5 granted
    `,
    ));

  it('is none without wait', () =>
    holds(
      `
      A/p1 locks write 0-1
          r1 granted
      B/p1 locks write 1-2
          r2 granted
      A/p1 locks write 1-2 wait
          r3 waits
      B/p1 locks write 0-1
          r4 would-block: A/p1 write 0-1
    `,
    ));

  it('is found when somebody who waits elsewhere gets a lock', () =>
    holds(
      `
      B/p1 locks write 1-2
          r1 granted
      D/p1 locks write 5-6
          r2 granted
      A/p1 locks write 5-6 wait
          r3 waits
      A/p1 locks write 1-2 wait
          r4 waits
      B/p1 locks write 5-6 wait
          r5 waits
      D/p1 closes
          r3 granted
          r4 deadlock: B/p1 write 1-2
          r6 granted
      A/p1 closes
          r5 granted
          r7 granted
    `,
    ));
});

describe('flock', () => {
  it('has nothing to do with fcntl', () =>
    holds(
      `
      A/p1 locks write 0-end
          r1 granted
      A/f1 locks write 0-end
          r2 granted
      B/f1 locks read 0-end
          r3 would-block: A/f1 write 0-end
      B/o1 locks read 0-end
          r4 would-block: A/p1 write 0-end
    `,
    ));

  it('is shared or exclusive, of the whole file', () =>
    holds(
      `
      A/f1 locks read 0-end
          r1 granted
      A/f2 locks read 0-end
          r2 granted
      B/f1 locks write 0-end
          r3 would-block: A/f1 read 0-end
      B/f1 locks write 0-10
          r4 fails: OUT_OF_RANGE
    `,
    ));

  it('loses its lock when it is converted and another is in the way', () =>
    holds(
      `
      A/f1 locks read 0-end
          r1 granted
      B/f1 locks read 0-end
          r2 granted
      A/f1 locks write 0-end
          r3 would-block: B/f1 read 0-end
      shows
          B/f1 read 0-end in 1
          0 wait
    `,
    ));

  it('converted gives way to who waited before', () =>
    holds(
      `
      A/f1 locks read 0-end
          r1 granted
      B/f1 locks write 0-end wait
          r2 waits
      A/f1 locks write 0-end wait
          r2 granted
          r3 waits
      B/f1 closes
          r3 granted
          r4 granted
    `,
    ));

  it('converted without anybody else stays locked', () =>
    holds(
      `
      A/f1 locks read 0-end
          r1 granted
      A/f1 locks write 0-end
          r2 granted
      B/f1 locks read 0-end
          r3 would-block: A/f1 write 0-end
    `,
    ));

  it('of the same type again changes nothing', () =>
    holds(
      `
      A/f1 locks read 0-end
          r1 granted
      B/f1 locks write 0-end wait
          r2 waits
      A/f1 locks read 0-end
          r3 granted
      A/f1 closes
          r2 granted
          r4 granted
    `,
    ));
});

describe('clerks', () => {
  it('that die keep their locks until they are recovered, and wait no more', () =>
    holds(
      `
      A/p1 locks write 0-10
          r1 granted
      B/p1 locks write 0-10 wait
          r2 waits
      C/p1 locks write 0-10 wait
          r3 waits
      B expires
          r2 fails: FENCED
      A expires
      A recovers
          r3 granted
      shows
          C/p1 write 0-10 in 1
          0 wait
    `,
    ));

  it('have a bounded number of ranges', () =>
    holds(
      `
      A/p1 locks read 0-1
          r1 granted
      A/p1 locks read 2-3
          r2 granted
      A/p1 locks read 4-5
          r3 fails: OVERLOADED
      A/p1 unlocks 0-1
          r4 granted
      A/p1 locks read 4-5
          r5 granted
      A/p2 locks read 0-1
          r6 granted
      A/p3 locks read 0-1
          r7 fails: OVERLOADED
    `,
      { maxRangesOfOwner: 2, maxRangesOfClerk: 3 },
    ));
});

describe('a rebuild', () => {
  it('takes claims; everything else waits, and then is answered as ever', () =>
    holds(
      `
      group rebuilding
      B/p1 locks write 0-10
          r1 waits
      B/p1 tests read 0-10
          r2 waits
      B/p2 locks read 0-10 wait
          r3 waits
      A/p1 claims read 0-10
          r4 granted
      A/p1 unlocks 0-1
          r5 granted
      group open
          r1 would-block: A/p1 read 1-10
          r2 free
          r3 granted
      shows
          A/p1 read 1-10 in 1
          B/p2 read 0-10 in 1
          0 wait
    `,
    ));

  it('refuses a claim that contradicts one before it', () =>
    holds(
      `
      group rebuilding
      A/p1 claims write 0-10
          r1 granted
      B/p1 claims read 5-6
          r2 would-block: A/p1 write 0-10
      group open
    `,
    ));

  it('grants nothing while a dead clerk may hold locks; unlocking works', () =>
    holds(
      `
      group rebuilding
      A/p1 claims write 0-10
          r1 granted
      group shut
      B/p1 locks read 20-30
          r2 would-block
      B/p1 locks read 20-30 wait
          r3 waits
      A/p1 closes
          r4 granted
      B/p1 tests read 0-10
          r5 free
      group open
          r3 granted
    `,
    ));

  it('finds the circle that was closed while nothing was granted', () =>
    holds(
      `
      group rebuilding
      A/p1 claims write 0-1
          r1 granted
      B/p1 claims write 1-2
          r2 granted
      A/p1 locks write 1-2 wait
          r3 waits
      B/p1 locks write 0-1 wait
          r4 waits
      group open
          r3 deadlock: B/p1 write 1-2
    `,
    ));

  it('lets two that convert the same flock give way to one another', () =>
    holds(
      `
      group rebuilding
      A/f1 claims read 0-end
          r1 granted
      B/f1 claims read 0-end
          r2 granted
      A/f1 locks write 0-end wait
          r3 waits
      B/f1 locks write 0-end wait
          r4 waits
      group open
          r4 granted
      B/f1 closes
          r3 granted
          r5 granted
    `,
    ));

  it('elsewhere: who waits is sent there', () =>
    holds(
      `
      A/p1 locks write 0-10
          r1 granted
      B/p1 locks write 0-10 wait
          r2 waits
      group lost
          r2 fails: NOT_READY
      shows
          0 wait
    `,
    ));
});

describe('nonsense', () => {
  it('is refused', () =>
    holds(
      `
      A/p1 locks read 5-5
          r1 fails: OUT_OF_RANGE
      A/p1 locks read 7-5
          r2 fails: OUT_OF_RANGE
      A/p1 locks read x-5
          r3 fails: PROTOCOL
      A/p1 locks read 0-9223372036854775809
          r4 fails: OUT_OF_RANGE
      shows
          0 wait
    `,
    ));
});
