import { describe, expect, it } from 'vitest';
import { PageSpace, untilReady } from '../pages/page-space.js';
import { Suspend } from '../pages/suspend.js';
import { MemoryVolume } from '../volume/memory-volume.js';
import { AdvisoryLocks, advisoryKey, advisoryKeyPair } from './advisory-locks.js';
import { LockActor, LockScope, LockSpace } from './lock-space.js';
import { LocalTransactionManager } from './manager.js';
import { CHUNK_IDS, StatusPages } from './status-pages.js';

function session(): LockScope {
  return new LockScope(new LockActor());
}

function suspended(action: () => unknown): Promise<void> {
  try {
    action();
  } catch (thrown) {
    if (thrown instanceof Suspend) return thrown.ready;
    throw thrown;
  }
  throw new Error('it did not wait');
}

describe('advisory locks', () => {
  it('of a session are counted and outlive transactions; keys of two kinds never meet', async () => {
    const locks = new AdvisoryLocks();
    const [a, b] = [session(), session()];
    const key = advisoryKey(5n);
    const fresh = () => ({ queued: false });
    expect(locks.lockInSession(a, key, false, true, fresh())).toBe(true);
    expect(locks.lockInSession(a, key, false, true, fresh())).toBe(true);
    expect(locks.lockInSession(b, advisoryKeyPair(0, 5), false, true, fresh())).toBe(true);
    expect(locks.lockInSession(b, key, false, false, fresh())).toBe(false);
    const state = fresh();
    const ready = suspended(() => locks.lockInSession(b, key, true, true, state));
    expect(locks.unlock(a, key, false)).toBe(true);
    expect(locks.unlock(a, key, true)).toBe(false);
    expect(locks.unlock(a, key, false)).toBe(true);
    expect(locks.unlock(a, key, false)).toBe(false);
    await ready;
    expect(locks.lockInSession(b, key, true, true, state)).toBe(true);
    // Once only, although it was asked twice.
    expect(locks.unlock(b, key, true)).toBe(true);
    expect(locks.unlock(b, key, true)).toBe(false);
    locks.unlockAll(b);
    expect(locks.list()).toEqual([]);
  });

  it('of a session and of its own transaction do not stand against each other', () => {
    const locks = new AdvisoryLocks();
    const actor = new LockActor();
    const state = { queued: false };
    locks.lockInSession(new LockScope(actor), advisoryKey(1n), false, true, state);
    const transaction = new LockScope(actor);
    expect(locks.lockInTransaction(transaction, advisoryKey(1n), false, false)).toBe(true);
    expect(locks.lockInTransaction(session(), advisoryKey(1n), true, false)).toBe(false);
  });
});

describe('lock space', () => {
  it('a newcomer does not overtake those who wait, though he could be let in', async () => {
    const space = new LockSpace<string>([0b10, 0b11]);
    const [a, b, c] = [session(), session(), session()];
    space.acquire('k', a, 0, true);
    const writer = suspended(() => space.acquire('k', b, 1, true));
    const reader = suspended(() => space.acquire('k', c, 0, true));
    expect(space.isFree('k', session().actor, 0)).toBe(false);
    a.releaseAll();
    await writer;
    expect(c.actor.waiting).not.toBe(null);
    b.releaseAll();
    await reader;
    expect(space.acquire('k', c, 0, false)).toBe(true);
    c.releaseAll();
    expect(space.size).toBe(0);
  });
});

describe('status pages', () => {
  it('grow by levels as ids do, and find each mark again', async () => {
    const space = await PageSpace.open(new MemoryVolume());
    const pages = new StatusPages(space);
    const ids = [1, 2040, 2041 * 2040, 2040 ** 3 + 7].map((chunk) => chunk * CHUNK_IDS + 3);
    for (const [i, id] of ids.entries()) {
      await untilReady(() => {
        const { mtr } = space;
        mtr.begin();
        pages.planChunk(mtr, Math.floor(id / CHUNK_IDS));
        pages.addChunk(mtr, Math.floor(id / CHUNK_IDS));
        pages.write(mtr, pages.leafOf(id), id, 100 + i);
        mtr.commit();
      });
    }
    const again = new StatusPages(space);
    for (const [i, id] of ids.entries()) {
      expect(again.read(id)).toBe(100 + i);
      expect(again.read(id + 1)).toBe(0);
      expect(again.read(id + 5 * CHUNK_IDS)).toBe(0);
    }
  });
});

describe('transaction manager', () => {
  it('moves its horizon with the oldest snapshot and with holds', async () => {
    const space = await PageSpace.open(new MemoryVolume());
    const manager = new LocalTransactionManager(space);
    const begin = (isolation: 'read committed' | 'repeatable read') =>
      manager.begin({ isolation, readOnly: false });
    const [a, b, writer] = [
      begin('repeatable read'),
      begin('read committed'),
      begin('read committed'),
    ];
    const first = a.snapshot().lsn;
    await untilReady(() => writer.writeId());
    await untilReady(() => writer.commit());
    const second = b.snapshot().lsn;
    expect(second).toBeGreaterThan(first);
    expect(manager.horizonLsn).toBe(first);
    a.forgetSnapshots();
    expect(manager.horizonLsn).toBe(first);
    await untilReady(() => a.commit());
    expect(manager.horizonLsn).toBe(second);
    b.forgetSnapshots();
    manager.hold(space, first);
    expect(manager.horizonLsn).toBe(first);
    manager.hold(space, Infinity);
    expect(manager.horizonLsn).toBe(manager.nowLsn);
    expect(manager.activeCount).toBe(1);
  });

  it('refuses SERIALIZABLE, and writes in read-only transactions', async () => {
    const space = await PageSpace.open(new MemoryVolume());
    const manager = new LocalTransactionManager(space);
    expect(() => manager.begin({ isolation: 'serializable', readOnly: false })).toThrow(
      /SERIALIZABLE is not supported/,
    );
    const txn = manager.begin({ isolation: 'read committed', readOnly: true });
    expect(() => txn.writeId()).toThrow(/read-only/);
  });

  it('runs actions of what lasts at commit, and of what does not when it goes back', async () => {
    const space = await PageSpace.open(new MemoryVolume());
    const manager = new LocalTransactionManager(space);
    const txn = manager.begin({ isolation: 'read committed', readOnly: false });
    const ran: string[] = [];
    const note = (what: string) => () => void ran.push(what);
    txn.onCommit(note('commit 1'));
    txn.onAbort(note('abort 1'));
    const mark = txn.mark();
    txn.onCommit(note('commit 2'));
    txn.onAbort(note('abort 2'));
    txn.rollbackToMark(mark);
    txn.onCommit(note('commit 3'));
    await untilReady(() => txn.commit());
    expect(ran).toEqual(['abort 2', 'commit 1', 'commit 3']);
  });
});
