import { describe, expect, test } from 'vitest';
import { SextantError } from '#core/errors.js';
import { RefuseCode } from '../protocol/messages.js';
import { mapOf, Script } from './script.test-helper.js';

const text = (script: Script): string => `\n${script.lines.join('\n')}\n`;

describe('sticky locks', () => {
  test('acquire_release_acquire: the second sends nothing', () => {
    const s = new Script();
    s.acquire('a', 1, 'exclusive');
    s.grant(1, 2, 1, 1);
    s.done('a', 1, 'exclusive');
    s.acquire('b', 1, 'shared');
    expect(text(s)).toMatchInlineSnapshot(`
      "
      a acquires 1 exclusive
        to s1: REQUEST [1 exclusive r1 e1]
      GRANT 1 exclusive r1 g1 epoch 1
        a: has it
      a is done with 1
      b acquires 1 shared
        b: has it at once
      "
    `);
  });

  test('local_queue: users of one clerk exclude one another, first come first served', () => {
    const s = new Script();
    s.acquire('a', 1, 'exclusive');
    s.grant(1, 2, 1, 1);
    s.acquire('b', 1, 'shared');
    s.acquire('c', 1, 'exclusive');
    s.acquire('d', 1, 'shared');
    s.done('a', 1, 'exclusive');
    s.done('b', 1, 'shared');
    s.done('c', 1, 'exclusive');
    expect(text(s)).toMatchInlineSnapshot(`
      "
      a acquires 1 exclusive
        to s1: REQUEST [1 exclusive r1 e1]
      GRANT 1 exclusive r1 g1 epoch 1
        a: has it
      b acquires 1 shared
      c acquires 1 exclusive
      d acquires 1 shared
      a is done with 1
        b: has it
      b is done with 1
        c: has it
      c is done with 1
        d: has it
      "
    `);
  });

  test('aspects: open and exclusive of one id do not meet', () => {
    const s = new Script();
    s.acquire('a', 1, 'exclusive');
    s.acquire('b', 1, 'open');
    expect(text(s)).toMatchInlineSnapshot(`
      "
      a acquires 1 exclusive
        to s1: REQUEST [1 exclusive r1 e1]
      b acquires 1 open
        to s1: REQUEST [1 shared r2 e1]
      "
    `);
  });

  test('one_vector: requests of one turn go together', () => {
    const s = new Script();
    s.step('prefetch 1, 2, 3', () => {
      for (const id of [1, 2, 3]) s.core.prefetch(s.lock(id, 'exclusive'), 2, false);
    });
    expect(text(s)).toMatchInlineSnapshot(`
      "
      prefetch 1, 2, 3
        to s1: REQUEST [1 exclusive r1 e1, 2 exclusive r2 e1, 3 exclusive r3 e1]
      "
    `);
  });

  test('no_wait: refused here when in use here, by the server when others hold on', () => {
    const s = new Script();
    s.acquire('a', 1, 'shared', true);
    s.refuse(1, 1, RefuseCode.conflict);
    s.acquire('b', 1, 'exclusive');
    s.grant(1, 2, 2, 1);
    s.acquire('c', 1, 'exclusive', true);
    expect(text(s)).toMatchInlineSnapshot(`
      "
      a acquires 1 shared, no wait
        to s1: REQUEST [1 shared r1 e1 no wait]
      REFUSE 1 r1 why 2
        a: CONFLICT
      b acquires 1 exclusive
        to s1: REQUEST [1 exclusive r2 e1]
      GRANT 1 exclusive r2 g1 epoch 1
        b: has it
      c acquires 1 exclusive, no wait
        c: CONFLICT
      "
    `);
  });

  test('idle and eviction: what is unused longest goes back', () => {
    const s = new Script({ idleMs: 5000, locksMax: 2 });
    s.acquire('a', 1, 'exclusive');
    s.grant(1, 2, 1, 1);
    s.done('a', 1, 'exclusive');
    s.acquire('b', 2, 'exclusive');
    s.grant(2, 2, 2, 1);
    s.acquire('c', 3, 'exclusive');
    s.grant(3, 2, 3, 1);
    s.done('b', 2, 'exclusive');
    s.pass(7000);
    expect(text(s)).toMatchInlineSnapshot(`
      "
      a acquires 1 exclusive
        to s1: REQUEST [1 exclusive r1 e1]
      GRANT 1 exclusive r1 g1 epoch 1
        a: has it
      a is done with 1
      b acquires 2 exclusive
        to s1: REQUEST [2 exclusive r2 e1]
      GRANT 2 exclusive r2 g1 epoch 1
        b: has it
      c acquires 3 exclusive
        to s1: RELEASE [1 g1 none]
        to s1: REQUEST [3 exclusive r3 e1]
      GRANT 3 exclusive r3 g1 epoch 1
        c: has it
      b is done with 2
      7000 ms pass
        to s1: RELEASE [2 g1 none]
      "
    `);
  });
});

describe('revokes', () => {
  test('revoke_free: goes back at once', () => {
    const s = new Script();
    s.acquire('a', 1, 'exclusive');
    s.grant(1, 2, 1, 1);
    s.done('a', 1, 'exclusive');
    s.core.clock = 5;
    s.revoke(1, 0, 1);
    s.revoke(1, 0, 1);
    expect(text(s)).toMatchInlineSnapshot(`
      "
      a acquires 1 exclusive
        to s1: REQUEST [1 exclusive r1 e1]
      GRANT 1 exclusive r1 g1 epoch 1
        a: has it
      a is done with 1
      REVOKE 1 g1 keep none
        to s1: RELEASE [1 g1 none] clock 5
      REVOKE 1 g1 keep none
        to s1: RELEASE [1 g1 none] clock 5
      "
    `);
  });

  test('revoke_in_use: keeps, then flush, then release; who comes meanwhile waits behind', () => {
    const s = new Script();
    s.table.flushes = true;
    s.acquire('a', 1, 'exclusive');
    s.grant(1, 2, 1, 1);
    s.revoke(1, 0, 1);
    s.acquire('b', 1, 'exclusive');
    s.revoke(1, 0, 1);
    s.done('a', 1, 'exclusive');
    s.revoke(1, 0, 1);
    s.flushed();
    s.grant(1, 2, 2, 2);
    expect(text(s)).toMatchInlineSnapshot(`
      "
      a acquires 1 exclusive
        to s1: REQUEST [1 exclusive r1 e1]
      GRANT 1 exclusive r1 g1 epoch 1
        a: has it
      REVOKE 1 g1 keep none
        users of 1 are told
        to s1: RELEASE [1 g1 exclusive keeps]
      b acquires 1 exclusive
      REVOKE 1 g1 keep none
        users of 1 are told
        to s1: RELEASE [1 g1 exclusive keeps]
      a is done with 1
        owner: flush 1, keep none
      REVOKE 1 g1 keep none
        to s1: RELEASE [1 g1 exclusive keeps]
      owner: flushed
        to s1: RELEASE [1 g1 none]
        to s1: REQUEST [1 exclusive r2 e1]
      GRANT 1 exclusive r2 g2 epoch 1
        b: has it
      "
    `);
  });

  test('downgrade: shared users go on, exclusive ones are waited for', () => {
    const s = new Script();
    s.table.flushes = true;
    s.acquire('a', 1, 'exclusive');
    s.grant(1, 2, 1, 1);
    s.done('a', 1, 'exclusive');
    s.acquire('b', 1, 'shared');
    s.revoke(1, 1, 1);
    s.acquire('c', 1, 'shared');
    s.flushed();
    s.revoke(1, 0, 1);
    s.done('b', 1, 'shared');
    s.done('c', 1, 'shared');
    s.flushed();
    expect(text(s)).toMatchInlineSnapshot(`
      "
      a acquires 1 exclusive
        to s1: REQUEST [1 exclusive r1 e1]
      GRANT 1 exclusive r1 g1 epoch 1
        a: has it
      a is done with 1
      b acquires 1 shared
        b: has it at once
      REVOKE 1 g1 keep shared
        users of 1 are told
        owner: flush 1, keep shared
        to s1: RELEASE [1 g1 exclusive keeps]
      c acquires 1 shared
        c: has it at once
      owner: flushed
        to s1: RELEASE [1 g1 shared]
      REVOKE 1 g1 keep none
        users of 1 are told
        to s1: RELEASE [1 g1 shared keeps]
      b is done with 1
      c is done with 1
        owner: flush 1, keep none
      owner: flushed
        to s1: RELEASE [1 g1 none]
      "
    `);
  });

  test('revoke falls from shared to none while the owner flushes: it is told again', () => {
    const s = new Script();
    s.table.flushes = true;
    s.acquire('a', 1, 'exclusive');
    s.grant(1, 2, 1, 1);
    s.done('a', 1, 'exclusive');
    s.revoke(1, 1, 1);
    s.revoke(1, 0, 1);
    s.flushed();
    s.flushed();
    expect(text(s)).toMatchInlineSnapshot(`
      "
      a acquires 1 exclusive
        to s1: REQUEST [1 exclusive r1 e1]
      GRANT 1 exclusive r1 g1 epoch 1
        a: has it
      a is done with 1
      REVOKE 1 g1 keep shared
        owner: flush 1, keep shared
        to s1: RELEASE [1 g1 exclusive keeps]
      REVOKE 1 g1 keep none
        to s1: RELEASE [1 g1 exclusive keeps]
      owner: flushed
        owner: flush 1, keep none
      owner: flushed
        to s1: RELEASE [1 g1 none]
      "
    `);
  });

  test('flush_fails: nothing goes back; tried again when the revoke comes again', () => {
    const s = new Script();
    s.table.flushes = true;
    s.acquire('a', 1, 'exclusive');
    s.grant(1, 2, 1, 1);
    s.done('a', 1, 'exclusive');
    s.revoke(1, 0, 1);
    s.flushed(false);
    s.revoke(1, 0, 1);
    s.flushed();
    expect(text(s)).toMatchInlineSnapshot(`
      "
      a acquires 1 exclusive
        to s1: REQUEST [1 exclusive r1 e1]
      GRANT 1 exclusive r1 g1 epoch 1
        a: has it
      a is done with 1
      REVOKE 1 g1 keep none
        owner: flush 1, keep none
        to s1: RELEASE [1 g1 exclusive keeps]
      owner: flushed, failed
      REVOKE 1 g1 keep none
        owner: flush 1, keep none
        to s1: RELEASE [1 g1 exclusive keeps]
      owner: flushed
        to s1: RELEASE [1 g1 none]
      "
    `);
  });

  test('flush_never_ends: after its deadline the clerk does not answer for it any more', () => {
    const s = new Script({ flushDeadlineMs: 1000 });
    s.table.flushes = true;
    s.acquire('a', 1, 'exclusive');
    s.grant(1, 2, 1, 1);
    s.done('a', 1, 'exclusive');
    s.revoke(1, 0, 1);
    s.pass(900);
    s.revoke(1, 0, 1);
    s.pass(200);
    s.revoke(1, 0, 1);
    expect(text(s)).toMatchInlineSnapshot(`
      "
      a acquires 1 exclusive
        to s1: REQUEST [1 exclusive r1 e1]
      GRANT 1 exclusive r1 g1 epoch 1
        a: has it
      a is done with 1
      REVOKE 1 g1 keep none
        owner: flush 1, keep none
        to s1: RELEASE [1 g1 exclusive keeps]
      900 ms pass
      REVOKE 1 g1 keep none
        to s1: RELEASE [1 g1 exclusive keeps]
      200 ms pass
      REVOKE 1 g1 keep none
      "
    `);
  });
});

describe('upgrades', () => {
  test('upgrade_undisturbed', () => {
    const s = new Script();
    s.acquire('a', 1, 'shared');
    s.grant(1, 1, 1, 1);
    s.upgrade('a', 1);
    s.grant(1, 2, 2, 2);
    expect(text(s)).toMatchInlineSnapshot(`
      "
      a acquires 1 shared
        to s1: REQUEST [1 shared r1 e1]
      GRANT 1 shared r1 g1 epoch 1
        a: has it
      a upgrades 1
        to s1: REQUEST [1 exclusive r2 e1]
      GRANT 1 exclusive r2 g2 epoch 1
        a: has it
      "
    `);
  });

  test('upgrade_revoked: gives the shared lock up and says so (rule 7)', () => {
    const s = new Script();
    s.acquire('a', 1, 'shared');
    s.grant(1, 1, 1, 1);
    s.upgrade('a', 1);
    s.revoke(1, 0, 1);
    s.grant(1, 2, 2, 3);
    expect(text(s)).toMatchInlineSnapshot(`
      "
      a acquires 1 shared
        to s1: REQUEST [1 shared r1 e1]
      GRANT 1 shared r1 g1 epoch 1
        a: has it
      a upgrades 1
        to s1: REQUEST [1 exclusive r2 e1]
      REVOKE 1 g1 keep none
        to s1: RELEASE [1 g1 none]
      GRANT 1 exclusive r2 g3 epoch 1
        a: has it, interrupted
      "
    `);
  });

  test('two_upgrades here: the second is interrupted by the first', () => {
    const s = new Script();
    s.acquire('a', 1, 'exclusive');
    s.grant(1, 2, 1, 1);
    s.done('a', 1, 'exclusive');
    s.acquire('b', 1, 'shared');
    s.acquire('c', 1, 'shared');
    s.upgrade('b', 1);
    s.upgrade('c', 1);
    s.done('b', 1, 'exclusive');
    expect(text(s)).toMatchInlineSnapshot(`
      "
      a acquires 1 exclusive
        to s1: REQUEST [1 exclusive r1 e1]
      GRANT 1 exclusive r1 g1 epoch 1
        a: has it
      a is done with 1
      b acquires 1 shared
        b: has it at once
      c acquires 1 shared
        c: has it at once
      b upgrades 1
      c upgrades 1
        b: has it
      b is done with 1
        c: has it, interrupted
      "
    `);
  });

  test('upgrade_cancelled: the shared lock goes on', () => {
    const s = new Script();
    s.acquire('a', 1, 'shared');
    s.grant(1, 1, 1, 1);
    const waiter = s.upgrade('a', 1);
    s.step('a gives up', () => s.core.cancel(waiter, new SextantError('CANCELLED', '')));
    expect(waiter.resumed).toBe(true);
    s.revoke(1, 0, 1);
    expect(text(s)).toMatchInlineSnapshot(`
      "
      a acquires 1 shared
        to s1: REQUEST [1 shared r1 e1]
      GRANT 1 shared r1 g1 epoch 1
        a: has it
      a upgrades 1
        to s1: REQUEST [1 exclusive r2 e1]
      a gives up
        a: CANCELLED
        to s1: CANCEL [1 r2]
      REVOKE 1 g1 keep none
        users of 1 are told
        to s1: RELEASE [1 g1 shared keeps]
      "
    `);
  });
});

describe('messages that are lost, late or twice', () => {
  test('grant_twice and grant_unasked', () => {
    const s = new Script();
    s.acquire('a', 1, 'exclusive');
    s.grant(1, 2, 1, 1);
    s.grant(1, 2, 1, 1);
    s.done('a', 1, 'exclusive');
    s.revoke(1, 0, 1);
    s.grant(1, 2, 1, 1);
    expect(text(s)).toMatchInlineSnapshot(`
      "
      a acquires 1 exclusive
        to s1: REQUEST [1 exclusive r1 e1]
      GRANT 1 exclusive r1 g1 epoch 1
        a: has it
      GRANT 1 exclusive r1 g1 epoch 1
      a is done with 1
      REVOKE 1 g1 keep none
        to s1: RELEASE [1 g1 none]
      GRANT 1 exclusive r1 g1 epoch 1
        to s1: RELEASE [1 g1 none]
      "
    `);
    expect(s.core.cache.count).toBe(0);
  });

  test('revoke_overtakes_grant: the grant is not taken any more', () => {
    const s = new Script();
    s.acquire('a', 1, 'exclusive');
    s.revoke(1, 0, 1);
    s.grant(1, 2, 1, 1);
    s.grant(1, 2, 2, 2);
    expect(text(s)).toMatchInlineSnapshot(`
      "
      a acquires 1 exclusive
        to s1: REQUEST [1 exclusive r1 e1]
      REVOKE 1 g1 keep none
        to s1: RELEASE [1 g1 none]
        to s1: REQUEST [1 exclusive r2 e1]
      GRANT 1 exclusive r1 g1 epoch 1
        to s1: RELEASE [1 g1 none]
      GRANT 1 exclusive r2 g2 epoch 1
        a: has it
      "
    `);
  });

  test('revoke_overtakes_upgrade: what is held counts for the new number', () => {
    const s = new Script();
    s.acquire('a', 1, 'shared');
    s.grant(1, 1, 1, 1);
    s.done('a', 1, 'shared');
    s.acquire('b', 1, 'exclusive');
    s.revoke(1, 1, 2);
    s.grant(1, 2, 2, 2);
    s.grant(1, 2, 3, 3);
    expect(text(s)).toMatchInlineSnapshot(`
      "
      a acquires 1 shared
        to s1: REQUEST [1 shared r1 e1]
      GRANT 1 shared r1 g1 epoch 1
        a: has it
      a is done with 1
      b acquires 1 exclusive
        to s1: REQUEST [1 exclusive r2 e1]
      REVOKE 1 g2 keep shared
        to s1: RELEASE [1 g2 shared]
        to s1: REQUEST [1 exclusive r3 e1]
      GRANT 1 exclusive r2 g2 epoch 1
      GRANT 1 exclusive r3 g3 epoch 1
        b: has it
      "
    `);
  });

  test('request_lost: asked again, seldom and seldom', () => {
    const s = new Script();
    s.acquire('a', 1, 'exclusive');
    for (let i = 0; i < 6; i++) s.pass(500);
    expect(text(s)).toMatchInlineSnapshot(`
      "
      a acquires 1 exclusive
        to s1: REQUEST [1 exclusive r1 e1]
      500 ms pass
        to s1: REQUEST [1 exclusive r1 e1]
      500 ms pass
        to s1: REQUEST [1 exclusive r1 e1]
      500 ms pass
      500 ms pass
        to s1: REQUEST [1 exclusive r1 e1]
      500 ms pass
      500 ms pass
      "
    `);
  });

  test('cancel_crosses_grant: the lock stays, free', () => {
    const s = new Script();
    const waiter = s.acquire('a', 1, 'exclusive');
    s.step('a gives up', () => s.core.cancel(waiter, new SextantError('CANCELLED', '')));
    s.grant(1, 2, 1, 1);
    s.acquire('b', 1, 'exclusive');
    expect(text(s)).toMatchInlineSnapshot(`
      "
      a acquires 1 exclusive
        to s1: REQUEST [1 exclusive r1 e1]
      a gives up
        a: CANCELLED
        to s1: CANCEL [1 r1]
      GRANT 1 exclusive r1 g1 epoch 1
      b acquires 1 exclusive
        b: has it at once
      "
    `);
  });

  test('cancel_unsent: nothing is sent at all', () => {
    const s = new Script();
    const lock = s.lock(1, 'exclusive');
    s.step('asked for and not wanted in one turn', () => {
      s.core.prefetch(lock, 2, false);
      s.core.unwanted(lock);
    });
    expect(text(s)).toMatchInlineSnapshot(`
      "
      asked for and not wanted in one turn
      "
    `);
    expect(s.core.cache.count).toBe(0);
  });
});

describe('groups', () => {
  test('rebuild: claims, refuses older epochs (rule 4), asks the new server', () => {
    const s = new Script();
    s.acquire('a', 1, 'shared');
    s.grant(1, 1, 1, 1);
    s.acquire('b', 1, 'exclusive');
    s.core.clock = 9;
    s.rebuild('s2', 2);
    s.rebuild('s2', 2);
    s.rebuild('s1', 1);
    s.grant(1, 2, 2, 2, 1);
    s.done('a', 1, 'shared');
    s.grant(1, 2, 2, 1, 2);
    expect(text(s)).toMatchInlineSnapshot(`
      "
      a acquires 1 shared
        to s1: REQUEST [1 shared r1 e1]
      GRANT 1 shared r1 g1 epoch 1
        a: has it
      b acquires 1 exclusive
        to s1: REQUEST [1 exclusive r2 e1]
      REBUILD by s2 epoch 2
        to s2: CLAIM epoch 2 [1 g1 shared] clock 9
        to s2: REQUEST [1 exclusive r2 e2] clock 9
      REBUILD by s2 epoch 2
        to s2: CLAIM epoch 2 [1 g1 shared] clock 9
      REBUILD by s1 epoch 1
      GRANT 1 exclusive r2 g2 epoch 1
      a is done with 1
      GRANT 1 exclusive r2 g1 epoch 2
        b: has it
      "
    `);
  });

  test('oldGrants, planted: takes a grant of an epoch that is over', () => {
    const s = new Script({ faults: { oldGrants: true } });
    s.acquire('a', 1, 'exclusive');
    s.rebuild('s2', 2);
    s.grant(1, 2, 1, 2, 1);
    expect(s.lines.at(-1)).toBe('  a: has it');
  });

  test('forgetClaim, planted: a lock is missing', () => {
    const s = new Script({ faults: { forgetClaim: true } });
    s.acquire('a', 1, 'exclusive');
    s.grant(1, 2, 1, 1);
    s.rebuild('s2', 2);
    expect(s.lines.at(-1)).toBe('  to s2: CLAIM epoch 2 []');
  });

  test('no_owner: a request waits for the map', () => {
    const s = new Script({ map: mapOf(null, 1) });
    s.acquire('a', 1, 'exclusive');
    s.step('map', () => s.core.learnMap(mapOf('s2', 2)));
    expect(text(s)).toMatchInlineSnapshot(`
      "
      a acquires 1 exclusive
      map
        to s2: REQUEST [1 exclusive r1 e2]
      "
    `);
  });

  test('wrong_group: fetches the map and asks again', () => {
    const s = new Script();
    s.acquire('a', 1, 'exclusive');
    s.refuse(1, 1, RefuseCode.wrongGroup);
    s.step('map', () => s.core.learnMap(mapOf('s2', 2)));
    expect(text(s)).toMatchInlineSnapshot(`
      "
      a acquires 1 exclusive
        to s1: REQUEST [1 exclusive r1 e1]
      REFUSE 1 r1 why 1
        map is stale
      map
        to s2: REQUEST [1 exclusive r1 e2]
      "
    `);
  });
});

describe('clock', () => {
  test('rule 2: takes the larger of a grant, and a release carries its own', () => {
    const s = new Script();
    s.acquire('a', 1, 'exclusive');
    s.grant(1, 2, 1, 1, 1, 40);
    expect(s.core.clock).toBe(40);
    s.core.clock++;
    s.done('a', 1, 'exclusive');
    s.revoke(1, 0, 1);
    expect(s.lines.at(-1)).toBe('  to s1: RELEASE [1 g1 none] clock 41');
  });

  test('noClockInRelease, planted', () => {
    const s = new Script({ clock: 3, faults: { noClockInRelease: true } });
    s.acquire('a', 1, 'exclusive');
    s.grant(1, 2, 1, 1);
    s.done('a', 1, 'exclusive');
    s.revoke(1, 0, 1);
    expect(s.lines.at(-1)).toBe('  to s1: RELEASE [1 g1 none]');
  });
});

describe('lease', () => {
  const END = 1000 + 10_000 - 550;

  test('ends a margin before it does at the service, counted from when it was sent', () => {
    const s = new Script();
    expect(s.core.alive(END - 0.001)).toBe(true);
    expect(s.core.alive(END)).toBe(false);
    expect(s.core.error?.code).toBe('LEASE_LOST');
    expect(s.core.alive(1000)).toBe(false);
  });

  test('renewed: from when the renewal was sent; never shorter; never after the end', () => {
    const s = new Script();
    s.core.renewed(5000, 10_000, 9000);
    expect(s.core.leaseEndMs).toBe(5000 + 9450);
    s.core.renewed(4000, 10_000, 9000);
    expect(s.core.leaseEndMs).toBe(5000 + 9450);
    s.core.renewed(14_000, 10_000, 14_450);
    expect(s.core.error?.code).toBe('LEASE_LOST');
  });

  test('lost: every waiter fails, everything is dropped, nothing is sent any more', () => {
    const s = new Script();
    s.acquire('a', 1, 'exclusive');
    s.grant(1, 2, 1, 1);
    s.acquire('b', 1, 'exclusive');
    s.acquire('c', 2, 'shared');
    s.pass(10_000);
    s.grant(2, 1, 2, 1);
    s.revoke(1, 0, 1);
    expect(text(s)).toMatchInlineSnapshot(`
      "
      a acquires 1 exclusive
        to s1: REQUEST [1 exclusive r1 e1]
      GRANT 1 exclusive r1 g1 epoch 1
        a: has it
      b acquires 1 exclusive
      c acquires 2 shared
        to s1: REQUEST [2 shared r2 e1]
      10000 ms pass
        lost: LEASE_LOST
        b: LEASE_LOST
        c: LEASE_LOST
      GRANT 2 shared r2 g1 epoch 1
      REVOKE 1 g1 keep none
      "
    `);
    expect(s.core.cache.count).toBe(0);
  });

  test('fenced: the service says so', () => {
    const s = new Script();
    s.acquire('a', 1, 'exclusive');
    s.refuse(1, 1, RefuseCode.fenced);
    expect(s.lines.slice(-2)).toEqual(['  lost: LEASE_LOST', '  a: LEASE_LOST']);
  });

  test('noMargin, planted: never looks at its watch', () => {
    const s = new Script({ faults: { noMargin: true } });
    expect(s.core.alive(1e9)).toBe(true);
  });

  test('keepAfterLoss, planted: goes on with what it held', () => {
    const s = new Script({ faults: { keepAfterLoss: true } });
    s.acquire('a', 1, 'exclusive');
    s.grant(1, 2, 1, 1);
    s.pass(10_000);
    expect(s.core.error?.code).toBe('LEASE_LOST');
    expect(s.core.alive(s.nowMs)).toBe(true);
    expect(s.core.cache.count).toBe(1);
  });

  test('releaseBeforeFlush, planted: the lock is gone when the owner flushes', () => {
    const s = new Script({ faults: { releaseBeforeFlush: true } });
    s.table.flushes = true;
    s.acquire('a', 1, 'exclusive');
    s.grant(1, 2, 1, 1);
    s.done('a', 1, 'exclusive');
    s.revoke(1, 0, 1);
    expect(s.lines.slice(-2)).toEqual([
      '  owner: flush 1, keep none',
      '  to s1: RELEASE [1 g1 none]',
    ]);
  });
});

describe('bounds', () => {
  test('waiters and locks', () => {
    const s = new Script({ waitersMax: 1, locksMax: 1 });
    s.acquire('a', 1, 'exclusive');
    s.acquire('b', 2, 'exclusive');
    expect(s.lines.at(-1)).toBe('  b: OVERLOADED');
    s.grant(1, 2, 1, 1);
    s.done('a', 1, 'exclusive');
    expect(s.core.cache.count).toBe(1);
  });
});
