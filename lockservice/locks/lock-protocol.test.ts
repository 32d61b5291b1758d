/** Golden scripts of the lock protocol: one behaviour each (see script.test-helper.ts for the language). */
import { describe, expect, it } from 'vitest';
import type { LockServerCoreOptions } from './lock-server-core.js';
import { Script } from './script.test-helper.js';

function holds(text: string, options?: Partial<LockServerCoreOptions>): void {
  const script = new Script(options);
  for (const token of [1, 2, 3, 4]) script.core.clerkLive(token);
  expect(script.play(text)).toBe(text);
}

describe('grants', () => {
  it('one writer or many readers', () =>
    holds(
      `
      group gained 1
      A requests 5 shared
          A: grant 5 shared #1.1 r1
      B requests 5 shared
          B: grant 5 shared #1.2 r2
      C requests 6 exclusive
          C: grant 6 exclusive #1.3 r3
    `,
    ));

  it('a lock that nobody else holds, whatever is held beside it', () =>
    holds(
      `
      group gained 1
      A requests 5 exclusive
          A: grant 5 exclusive #1.1 r1
      B requests 7 exclusive
          B: grant 7 exclusive #1.2 r2
      A releases 5
      C requests 5 exclusive
          C: grant 5 exclusive #1.3 r3
    `,
    ));

  it('a request that comes again gets the same grant again', () =>
    holds(
      `
      group gained 1
      A requests 5 exclusive
          A: grant 5 exclusive #1.1 r1
      A requests 5 exclusive again
          A: grant 5 exclusive #1.1 r1
    `,
    ));

  it('a newer request for a held lock gets a new number, which a late release of the old one does not undo', () =>
    holds(
      `
      group gained 1
      A requests 5 exclusive
          A: grant 5 exclusive #1.1 r1
      A requests 5 shared
          A: grant 5 exclusive #1.2 r2
      A releases 5 of #1.1
      B requests 5 exclusive
          A: revoke 5 none #1.2
    `,
    ));

  it('an older request for a held lock is a straggler', () =>
    holds(
      `
      group gained 1
      A requests 5 shared as 8
          A: grant 5 shared #1.1 r8
      A requests 5 shared as 7
    `,
    ));

  it('a request of an unknown clerk, an expired one, an unknown epoch, another group', () =>
    holds(
      `
      group gained 2
      E requests 5 shared
          E: refuse r1 notReady
      A expires
      A requests 5 shared
          A: refuse r2 fenced
      B requests 5 shared in 3
          B: refuse r3 notReady
      B requests 5 shared in 1
          B: refuse r4 wrongGroup
      group lost
      B requests 5 shared
          B: refuse r5 wrongGroup
    `,
    ));
});

describe('revokes', () => {
  it('a writer makes readers give up, one grant later', () =>
    holds(
      `
      group gained 1
      A requests 5 shared
          A: grant 5 shared #1.1 r1
      B requests 5 shared
          B: grant 5 shared #1.2 r2
      C requests 5 exclusive
          B: revoke 5 none #1.2
          A: revoke 5 none #1.1
      A releases 5
      B releases 5
          C: grant 5 exclusive #1.3 r3
    `,
    ));

  it('a reader lets the writer keep shared', () =>
    holds(
      `
      group gained 1
      A requests 5 exclusive
          A: grant 5 exclusive #1.1 r1
      B requests 5 shared
          A: revoke 5 shared #1.1
      A releases 5 to shared
          B: grant 5 shared #1.2 r2
    `,
    ));

  it('come again until they are answered', () =>
    holds(
      `
      group gained 1
      A requests 5 exclusive
          A: grant 5 exclusive #1.1 r1
      B requests 5 exclusive
          A: revoke 5 none #1.1
      time 499
      time 600
          A: revoke 5 none #1.1
      A connects
          A: revoke 5 none #1.1
      A releases 5
          B: grant 5 exclusive #1.2 r2
    `,
    ));

  it('answered by keeps come again, and nobody is expelled', () =>
    holds(
      `
      group gained 1
      A requests 5 exclusive
          A: grant 5 exclusive #1.1 r1
      B requests 5 exclusive
          A: revoke 5 none #1.1
      time 9000
          A: revoke 5 none #1.1
      A keeps 5
      time 18000
          A: revoke 5 none #1.1
      A keeps 5
      time 27000
          A: revoke 5 none #1.1
      A releases 5
          B: grant 5 exclusive #1.2 r2
    `,
    ));

  it('without any answer ask to expel, every second', () =>
    holds(
      `
      group gained 1
      A requests 5 exclusive
          A: grant 5 exclusive #1.1 r1
      B requests 5 exclusive
          A: revoke 5 none #1.1
      time 10000
          A: revoke 5 none #1.1
      time 10100
          expel A: no answer to a revoke for 10100 ms
      time 10600
          A: revoke 5 none #1.1
      time 11100
          expel A: no answer to a revoke for 11100 ms
          A: revoke 5 none #1.1
    `,
    ));

  it('are stronger when the next in the queue needs more', () =>
    holds(
      `
      group gained 1
      A requests 5 exclusive
          A: grant 5 exclusive #1.1 r1
      B requests 5 shared
          A: revoke 5 shared #1.1
      B cancels 5
      C requests 5 exclusive
          A: revoke 5 none #1.1
      A releases 5
          C: grant 5 exclusive #1.2 r3
    `,
    ));
});

describe('releases', () => {
  it('of an older grant, or in an older epoch, change nothing', () =>
    holds(
      `
      group gained 1
      A requests 5 exclusive
          A: grant 5 exclusive #1.1 r1
      A releases 5
      A requests 5 exclusive
          A: grant 5 exclusive #1.2 r2
      A releases 5 of #1.1
      A releases 5 of #1.2 in 0
      B requests 5 exclusive
          A: revoke 5 none #1.2
      A releases 5 of #1.2
          B: grant 5 exclusive #1.3 r3
    `,
    ));

  it('never raise a level', () =>
    holds(
      `
      group gained 1
      A requests 5 exclusive
          A: grant 5 exclusive #1.1 r1
      A releases 5 to shared
      A releases 5 to exclusive of #1.1
      B requests 5 shared
          B: grant 5 shared #1.2 r2
    `,
    ));

  it('raise the clock that grants carry; so does the floor', () =>
    holds(
      `
      group gained 1
      clock
          0
      A requests 5 exclusive
          A: grant 5 exclusive #1.1 r1
      A releases 5 clock 17
      clock
          17
      floor 30
      clock
          30
    `,
    ));
});

describe('queues', () => {
  it('are served in order of arrival', () =>
    holds(
      `
      group gained 1
      A requests 5 exclusive
          A: grant 5 exclusive #1.1 r1
      B requests 5 exclusive
          A: revoke 5 none #1.1
      C requests 5 exclusive
      A releases 5
          B: grant 5 exclusive #1.2 r2
          B: revoke 5 none #1.2
      B releases 5
          C: grant 5 exclusive #1.3 r3
    `,
    ));

  it('do not let readers pass a waiting writer', () =>
    holds(
      `
      group gained 1
      A requests 5 shared
          A: grant 5 shared #1.1 r1
      B requests 5 exclusive
          A: revoke 5 none #1.1
      C requests 5 shared
      A releases 5
          B: grant 5 exclusive #1.2 r2
          B: revoke 5 shared #1.2
      B releases 5 to shared
          C: grant 5 shared #1.3 r3
    `,
    ));

  it('let readers in together', () =>
    holds(
      `
      group gained 1
      A requests 5 exclusive
          A: grant 5 exclusive #1.1 r1
      B requests 5 shared
          A: revoke 5 shared #1.1
      C requests 5 shared
      A releases 5
          B: grant 5 shared #1.2 r2
          C: grant 5 shared #1.3 r3
    `,
    ));

  it('forget a request that is cancelled', () =>
    holds(
      `
      group gained 1
      A requests 5 shared
          A: grant 5 shared #1.1 r1
      B requests 5 exclusive
          A: revoke 5 none #1.1
      C requests 5 shared
      B cancels 5
          C: grant 5 shared #1.2 r3
      A releases 5
    `,
    ));

  it('hold one request a clerk: a newer one takes the place of the older', () =>
    holds(
      `
      group gained 1
      A requests 5 exclusive
          A: grant 5 exclusive #1.1 r1
      B requests 5 shared
          A: revoke 5 shared #1.1
      C requests 5 exclusive
      B requests 5 exclusive
          A: revoke 5 none #1.1
      B requests 5 shared as 1
      A releases 5
          B: grant 5 exclusive #1.2 r4
          B: revoke 5 none #1.2
    `,
    ));

  it('are bounded, for each clerk and for all', () =>
    holds(
      `
      group gained 1
      A requests 5 exclusive
          A: grant 5 exclusive #1.1 r1
      B requests 5 shared
          A: revoke 5 shared #1.1
      B requests 6 shared
          B: grant 6 shared #1.2 r3
      A requests 6 exclusive
          B: revoke 6 none #1.2
      B requests 5 shared again
      C requests 5 shared
          C: refuse r5 overloaded
      D requests 5 shared
          D: refuse r6 overloaded
    `,
      { maxWaiting: 2, maxWaitingOfClerk: 1 },
    ));
});

describe('upgrades', () => {
  it('of the only holder are granted at once', () =>
    holds(
      `
      group gained 1
      A requests 5 shared
          A: grant 5 shared #1.1 r1
      A requests 5 exclusive
          A: grant 5 exclusive #1.2 r2
      A releases 5 of #1.1
      B requests 5 shared
          A: revoke 5 shared #1.2
    `,
    ));

  it('wait their turn, and lose the shared lock meanwhile', () =>
    holds(
      `
      group gained 1
      A requests 5 shared
          A: grant 5 shared #1.1 r1
      B requests 5 shared
          B: grant 5 shared #1.2 r2
      A requests 5 exclusive
          B: revoke 5 none #1.2
      B requests 5 exclusive
      B releases 5
          A: grant 5 exclusive #1.3 r3
          A: revoke 5 none #1.3
      A releases 5
          B: grant 5 exclusive #1.4 r4
    `,
    ));

  it('behind a writer give way first', () =>
    holds(
      `
      group gained 1
      A requests 5 shared
          A: grant 5 shared #1.1 r1
      B requests 5 exclusive
          A: revoke 5 none #1.1
      A requests 5 exclusive
      A releases 5
          B: grant 5 exclusive #1.2 r2
          B: revoke 5 none #1.2
      B releases 5
          A: grant 5 exclusive #1.3 r3
    `,
    ));
});

describe('who does not want to wait', () => {
  it('is granted what is merely cached elsewhere', () =>
    holds(
      `
      group gained 1
      A requests 5 exclusive
          A: grant 5 exclusive #1.1 r1
      B requests 5 exclusive nowait
          A: revoke 5 none #1.1
      A releases 5
          B: grant 5 exclusive #1.2 r2
    `,
    ));

  it('is refused when the holder holds on, and then at once', () =>
    holds(
      `
      group gained 1
      A requests 5 exclusive
          A: grant 5 exclusive #1.1 r1
      B requests 5 exclusive
          A: revoke 5 none #1.1
      C requests 5 shared nowait
      A keeps 5
          C: refuse r3 conflict
      D requests 5 shared nowait
          D: refuse r4 conflict
      A releases 5
          B: grant 5 exclusive #1.2 r2
    `,
    ));

  it('is refused when the holder is dead', () =>
    holds(
      `
      group gained 1
      A requests 5 exclusive
          A: grant 5 exclusive #1.1 r1
      B requests 5 exclusive nowait
          A: revoke 5 none #1.1
      A expires
          B: refuse r2 conflict
      B requests 5 exclusive nowait
          B: refuse r3 conflict
      A recovers
      B requests 5 exclusive nowait
          B: grant 5 exclusive #1.2 r4
    `,
    ));

  it('is granted beside a holder that keeps only shared', () =>
    holds(
      `
      group gained 1
      A requests 5 exclusive
          A: grant 5 exclusive #1.1 r1
      B requests 5 shared nowait
          A: revoke 5 shared #1.1
      A keeps 5 to shared
          B: grant 5 shared #1.2 r2
    `,
    ));
});

describe('dead clerks', () => {
  it('keep their locks until they are recovered, and lose their place', () =>
    holds(
      `
      group gained 1
      A requests 5 exclusive
          A: grant 5 exclusive #1.1 r1
      B requests 5 exclusive
          A: revoke 5 none #1.1
      C requests 5 exclusive
      B expires
      A expires
      A releases 5
      A recovers
          C: grant 5 exclusive #1.2 r3
    `,
    ));

  it('that close free everything at once', () =>
    holds(
      `
      group gained 1
      A requests 5 exclusive
          A: grant 5 exclusive #1.1 r1
      A requests 6 exclusive
          A: grant 6 exclusive #1.2 r2
      B requests 5 shared
          A: revoke 5 shared #1.1
      B requests 6 shared
          A: revoke 6 shared #1.2
      A recovers
          B: grant 5 shared #1.3 r3
          B: grant 6 shared #1.4 r4
    `,
    ));

  it('are forgotten when recovered', () =>
    holds(
      `
      group gained 1
      A requests 5 exclusive
          A: grant 5 exclusive #1.1 r1
      A expires
      A recovers
      A requests 5 exclusive
          A: refuse r2 fenced
    `,
    ));
});

describe('a rebuild', () => {
  it('grants nothing until every live clerk has claimed', () =>
    holds(
      `
      group gained 2 awaiting A B
          A: rebuild 2
          B: rebuild 2
      C requests 5 exclusive
      C requests 6 shared
      A claims 5 shared #1.4
      B claims
          A: revoke 5 none #1.4
          C: grant 6 shared #2.1 r2
          open
      A releases 5 of #1.4
          C: grant 5 exclusive #2.2 r1
    `,
    ));

  it('asks again every 300 ms, and a clerk that connects at once', () =>
    holds(
      `
      group gained 2 awaiting A B
          A: rebuild 2
          B: rebuild 2
      time 299
      time 300
          A: rebuild 2
          B: rebuild 2
      A connects
          A: rebuild 2
      A claims
      time 650
          B: rebuild 2
      B claims
          open
      time 1000
    `,
    ));

  it('goes on when a clerk that was asked dies; what it may hold is shut until it is recovered', () =>
    holds(
      `
      group gained 2 awaiting A B
          A: rebuild 2
          B: rebuild 2
      C requests 5 shared
      C requests 6 shared
      A claims 6 shared #1.1
      B expires
          C: grant 6 shared #2.1 r2
      A releases 6
      C releases 6
      D requests 6 shared
      B recovers
          C: grant 5 shared #2.2 r1
          D: grant 6 shared #2.3 r3
    `,
    ));

  it('shuts what nobody claims while a clerk was dead before', () =>
    holds(
      `
      group gained 2 awaiting A dead B
          A: rebuild 2
      A claims 5 exclusive #1.9
          open
      C requests 5 shared
          A: revoke 5 shared #1.9
      A releases 5 to shared
          C: grant 5 shared #2.1 r1
      C requests 6 shared
      C requests 7 shared nowait
          C: refuse r3 conflict
      B recovers
          C: grant 6 shared #2.2 r2
    `,
    ));

  it('lets nobody become exclusive where a dead clerk may hold shared', () =>
    holds(
      `
      group gained 2 awaiting A C dead B
          A: rebuild 2
          C: rebuild 2
      A claims 5 shared #1.9
      C claims 6 exclusive #1.8
          open
      A requests 5 exclusive nowait
          A: refuse r1 conflict
      A requests 5 exclusive
      C requests 6 exclusive
          C: grant 6 exclusive #2.1 r3
      B recovers
          A: grant 5 exclusive #2.2 r2
    `,
    ));

  it('of a group without holders opens at once', () =>
    holds(
      `
      group gained 3
      A requests 5 exclusive
          A: grant 5 exclusive #3.1 r1
    `,
    ));

  it('takes claims in parts, of one attempt alone', () =>
    holds(
      `
      group gained 2 awaiting A
          A: rebuild 2
      B requests 6 exclusive
      A claims 5 exclusive #1.1 more
      A claims 6 exclusive #1.2 attempt 2 part 1
      A claims 6 exclusive #1.2 attempt 3 more
      A claims 7 shared #1.3 attempt 3 part 1
          A: revoke 6 none #1.2
          open
      C requests 5 shared
          C: grant 5 shared #2.1 r2
    `,
    ));

  it('does not take a claim twice, nor for another epoch', () =>
    holds(
      `
      group gained 2 awaiting A
          A: rebuild 2
      A claims 5 exclusive #1.1 in 1
      A claims 5 exclusive #1.1
          open
      A releases 5
      A claims 5 exclusive #1.1 attempt 2
      B requests 5 exclusive
          B: grant 5 exclusive #2.1 r1
    `,
    ));

  it('numbers its grants above all that were claimed', () =>
    holds(
      `
      group gained 2 awaiting A
          A: rebuild 2
      A claims 5 shared #2.9
          open
      B requests 5 shared
          B: grant 5 shared #2.10 r1
    `,
    ));

  it('takes a claimed number in a release', () =>
    holds(
      `
      group gained 2 awaiting A
          A: rebuild 2
      A claims 5 exclusive #1.7
          open
      B requests 5 exclusive
          A: revoke 5 none #1.7
      A releases 5 of #1.6
      A releases 5 of #1.7
          B: grant 5 exclusive #2.1 r1
    `,
    ));

  it('with claims that contradict: both hold, the older grant is expelled', () =>
    holds(
      `
      group gained 2 awaiting A B
          A: rebuild 2
          B: rebuild 2
      A claims 5 exclusive #1.7
      B claims 5 exclusive #1.8
          expel A: claims a lock that clerk 2 claims
          open
      C requests 5 exclusive
          B: revoke 5 none #1.8
          A: revoke 5 none #1.7
      B releases 5
      A expires
      A recovers
          C: grant 5 exclusive #2.1 r1
    `,
    ));

  it('expels who claims what was never granted; nobody else notices', () =>
    holds(
      `
      group gained 2 awaiting A B
          A: rebuild 2
          B: rebuild 2
      A claims 5 shared #9.1
          expel A: claims grant 38654705665, which group 83 never gave
      B claims
          open
      C requests 6 exclusive
          C: grant 6 exclusive #2.1 r1
    `,
    ));

  it('raises the clock to the largest that was claimed', () =>
    holds(
      `
      group gained 2 awaiting A
          A: rebuild 2
      A claims 5 shared #1.7 clock 44
          open
      clock
          44
    `,
    ));
});

describe('a server', () => {
  it('whose lease is in doubt grants nothing until it is renewed', () =>
    holds(
      `
      group gained 1
      A requests 5 exclusive
          A: grant 5 exclusive #1.1 r1
      server pauses
      B requests 5 shared
      A releases 5
      C requests 6 shared
      server resumes
          B: grant 5 shared #1.2 r2
          C: grant 6 shared #1.3 r3
    `,
    ));

  it('that loses a group sends who waits elsewhere', () =>
    holds(
      `
      group gained 1
      A requests 5 exclusive
          A: grant 5 exclusive #1.1 r1
      B requests 5 shared
          A: revoke 5 shared #1.1
      group lost
          B: refuse r2 wrongGroup
      A releases 5
      group gained 3 awaiting A
          A: rebuild 3
      A claims 5 exclusive #1.1
          open
      B requests 5 shared in 3
          A: revoke 5 shared #1.1
    `,
    ));
});
