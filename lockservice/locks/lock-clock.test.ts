/** LOCK-12: what a lock server makes of the clocks that clerks report. */
import { describe, expect, it } from 'vitest';
import { Script } from './script.test-helper.js';

function holds(text: string): void {
  const script = new Script();
  for (const token of [1, 2]) script.core.clerkLive(token);
  expect(script.play(text)).toBe(text);
}

describe('a server', () => {
  it('takes no clock that nobody can have, and asks to expel who reports it', () =>
    holds(
      `
      group gained 1
      A requests 5 exclusive
          A: grant 5 exclusive #1.1 r1
      B requests 5 exclusive
          A: revoke 5 none #1.1
      A releases 5 of #1.1 clock ${2 ** 53 - 1}
          expel A: reports clock 9007199254740991, far beyond 0
      A releases 5 of #1.1 clock ${2 ** 48 + 1}
      clock
          0
      A releases 5 of #1.1 clock ${2 ** 48}
          B: grant 5 exclusive #1.2 r2
      clock
          ${2 ** 48}
    `,
    ));

  it('takes a clock only a bounded way above the floor, and none above 2^52', () =>
    holds(
      `
      floor ${2 ** 52 - 1}
      group gained 2 awaiting A B
          A: rebuild 2
          B: rebuild 2
      A claims 5 shared #1.7 clock ${2 ** 52 + 1}
          expel A: reports clock 4503599627370497, far beyond 4503599627370495
      B claims 5 shared #1.8 clock ${2 ** 52}
      A claims 5 shared #1.7
          open
      clock
          ${2 ** 52}
    `,
    ));
});
