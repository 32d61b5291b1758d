import { describe, expect, it } from 'vitest';
import { SextantError } from '#core/errors.js';
import { beginReplace, joinReplace, finishReplace } from '#core/quorum/quorum-set.js';
import { toLsn } from '#core/ids.js';
import { decodeBoxcar } from '#core/redo/boxcar.js';
import { SclStatus } from '#storage-nodes/protocol/messages.js';
import type { Fault } from './faults.js';
import { HISTORY_BYTES_MAX } from './pg-writer.js';
import { NODES, SIX, Script } from './writer-core.test-helper.js';

const TWO_PGS = {
  pgs: [
    { membership: SIX, tail: 7 },
    { membership: SIX, tail: 0 },
  ],
};
const faulty = (fault: Fault): { faults: ReadonlySet<Fault> } => ({ faults: new Set([fault]) });

describe('writing', () => {
  it('a commit is durable with the fourth acknowledgement, and not before', () => {
    const script = new Script();
    script.append(0, false);
    script.append(1, true);
    script.wait(102);
    script.turn();
    expect(script.take()).toEqual([
      'a <- pg 0: 7 <- 101-102',
      'b <- pg 0: 7 <- 101-102',
      'c <- pg 0: 7 <- 101-102',
      'd <- pg 0: 7 <- 101-102',
      'e <- pg 0: 7 <- 101-102',
      'f <- pg 0: 7 <- 101-102',
    ]);
    script.ack('abc', 102);
    script.ack('abc', 102);
    expect(script.take()).toEqual([]);
    script.ack('e', 102);
    expect(script.take()).toEqual(['vdl 102', 'done 102']);
    expect(script.core.tailAtVdl(0)).toBe(102);
    const three = new Script(faulty('writeQuorum3'));
    three.wait(three.append());
    three.turn();
    three.ack('abc', 101);
    expect(three.take('done')).toEqual(['done 101']);
  });

  it('rule 2: the quorum is the clock; what comes meanwhile goes together', () => {
    const script = new Script();
    script.wait(script.append());
    script.turn();
    script.wait(script.append());
    script.wait(script.append());
    script.turn();
    expect(script.take('a')).toEqual(['a <- pg 0: 7 <- 101']);
    script.ack('abcd', 101);
    expect(script.take()).toEqual(['vdl 101', 'done 101']);
    script.turn();
    expect(script.take('a')).toEqual(['a <- pg 0: 101 <- 102-103']);
    const [last] = script.pushes.slice(-1);
    expect(decodeBoxcar(last.bytes)).toMatchObject({ vdl: 101, pgmrpl: 101, volumeEpoch: 2 });
  });

  it('rule 2: what nobody waits for stays, until 64 KiB are gathered', () => {
    const script = new Script();
    script.append();
    script.turn();
    expect(script.take()).toEqual([]);
    for (let i = 0; i < 9; i++) script.append(0, true, 8000);
    script.turn();
    expect(script.take('b')).toEqual(['b <- pg 0: 7 <- 101-110']);
  });

  it('rule 6: VDL stops below an MTR that is not whole, in whichever PG', () => {
    const script = new Script(TWO_PGS);
    script.append(0, true);
    script.append(11, false);
    script.append(0, true);
    script.wait(103);
    script.turn();
    expect(script.take('c')).toEqual(['c <- pg 0: 7 <- 101-103', 'c <- pg 1: 0 <- 102']);
    script.ack('abcd', 103);
    expect(script.take()).toEqual(['vdl 101']);
    expect(script.core.vcl).toBe(101);
    script.ack('cdef', 102, { pg: 1 });
    expect(script.take()).toEqual(['vdl 103', 'done 103']);
    expect([script.core.tailAtVdl(0), script.core.tailAtVdl(1)]).toEqual([103, 102]);
    const early = new Script(faulty('vdlAtVcl'));
    early.append(0, false);
    early.append(0, true);
    early.wait(102);
    early.turn();
    early.ack('abcd', 101);
    expect(early.take('vdl')).toEqual(['vdl 101']);
  });

  it('rule 6: a hole does not count, whatever lies behind it', () => {
    for (const [script, done] of [
      [new Script(), []],
      [new Script(faulty('ignoreHoles')), ['done 101']],
    ] as const) {
      script.wait(script.append());
      script.turn();
      script.ack('abc', 101);
      script.ack('d', 7, { held: 101 });
      expect(script.take('done')).toEqual(done);
    }
  });

  it('waiters run in LSN order, at once, and may go on', () => {
    const script = new Script();
    script.append();
    script.append();
    script.core.wait(102, 0, () => {
      script.log.push('second');
      script.wait(script.append());
      script.wait(101);
    });
    script.wait(101);
    script.turn();
    script.ack('abcd', 102);
    expect(script.take().slice(6)).toEqual(['vdl 102', 'done 101', 'second', 'done 101']);
    script.turn();
    script.ack('abcd', 103);
    expect(script.take('done')).toEqual(['done 103']);
  });

  it('rule 5: LAL bounds what is in flight, in LSNs and in bytes', async () => {
    const script = new Script({ lal: 3, lalBytes: 1000 });
    expect(script.core.hasRoom(3, 0)).toBe(true);
    expect(script.core.hasRoom(4, 0)).toBe(false);
    expect(script.core.hasRoom(1, 981)).toBe(false);
    script.append();
    script.append(0, true, 900);
    expect(script.core.hasRoom(1, 100)).toBe(false);
    const room = script.core.whenRoom();
    script.turn();
    expect(script.take('f')).toEqual(['f <- pg 0: 7 <- 101-102']);
    script.ack('abcd', 102);
    await room;
    expect(script.core.hasRoom(3, 900)).toBe(true);
    expect(script.core.inFlightBytes).toBe(0);
  });
});

describe('refusals', () => {
  it('rule 4: a refusal is no acknowledgement, even when it names the LSN', () => {
    const script = new Script();
    script.wait(script.append());
    script.turn();
    script.ack('abc', 101);
    script.take();
    for (const status of [SclStatus.diskFull, SclStatus.notReady, SclStatus.corrupt]) {
      script.ack('d', 101, { status });
    }
    script.ack('e', 101, { status: SclStatus.staleEpoch, volumeEpoch: 3 });
    expect(script.take()).toEqual(['e pg 0 knows epoch 3']);
    const counts = new Script(faulty('refusalsCount'));
    counts.wait(counts.append());
    counts.turn();
    counts.ack('abcd', 101, { status: SclStatus.diskFull });
    expect(counts.take('done')).toEqual(['done 101']);
  });

  it('acknowledgements of another epoch, volume, PG or node are worth nothing', () => {
    const script = new Script();
    script.wait(script.append());
    script.turn();
    script.ack('abc', 101);
    script.take();
    script.ack('d', 101, { volumeEpoch: 1 });
    script.ack('d', 101, { volume: 2 });
    script.ack('d', 101, { pg: 9 });
    script.ack('g', 101);
    expect(script.take()).toEqual([]);
    script.ack('d', 101, { volumeEpoch: 3 });
    expect(script.take()).toEqual(['d pg 0 knows epoch 3']);
    // A hydrated segment's SCL is a point of the whole volume.
    script.ack('d', 5000);
    expect(script.take()).toEqual(['vdl 101', 'done 101']);
  });

  it('rule 13: NEED_RANGES is answered with the list, once, then the log follows', () => {
    const script = new Script();
    script.wait(script.append());
    script.turn();
    script.take();
    script.ack('a', 3, { status: SclStatus.needRanges });
    script.ack('a', 3, { status: SclStatus.needRanges });
    expect(script.take()).toEqual(['a <- pg 0 install']);
    script.core.installed(0, 0, 7, 1, 0);
    expect(script.take()).toEqual(['a <- pg 0: 7 <- 101']);
  });

  it('a fenced writer fails everybody who waits, in order, and is dead', async () => {
    const script = new Script({ lal: 2 });
    script.wait(script.append());
    script.wait(script.append());
    const room = script.core.whenRoom();
    script.core.fail(new SextantError('FENCED', 'epoch 3'));
    expect(script.take()).toEqual(['failed: epoch 3', 'lost 101', 'lost 102']);
    await expect(room).rejects.toThrow('epoch 3');
    await expect(script.core.whenRoom()).rejects.toThrow('epoch 3');
    expect(() => script.append()).toThrow('epoch 3');
    script.wait(1);
    expect(script.take()).toEqual(['lost 1']);
    script.turn();
    script.ack('abcd', 102);
    expect(script.take()).toEqual([]);
  });
});

describe('laggards', () => {
  const commit = (script: Script, nodes = 'abcd'): number => {
    const lsn = script.append();
    script.wait(lsn);
    script.turn();
    script.ack(nodes, lsn);
    return lsn;
  };

  it('rule 5: whose connection is full is left behind, and resumed from its SCL', () => {
    const script = new Script();
    script.down.add(5);
    commit(script);
    commit(script);
    script.down.delete(5);
    commit(script);
    expect(script.take('f')).toEqual([]);
    script.nowMs = 100;
    script.ack('f', 7);
    expect(script.take('f')).toEqual([
      'f <- pg 0: 7 <- 101',
      'f <- pg 0: 101 <- 102',
      'f <- pg 0: 102 <- 103',
    ]);
    script.ack('f', 103);
    commit(script);
    expect(script.take('f')).toEqual(['f <- pg 0: 103 <- 104']);
  });

  it('rule 5: who asks gets again what follows, cut at the LSN it has', () => {
    const script = new Script();
    script.append();
    script.wait(script.append());
    script.turn();
    script.take();
    script.nowMs = 100;
    script.ack('b', 101, { resendAfter: 101, held: 102 });
    expect(script.take('b')).toEqual(['b <- pg 0: 101 <- 102']);
    script.ack('b', 101, { resendAfter: 101 });
    expect(script.take('b')).toEqual([]);
  });

  it('rule 5: who is silent gets it again, ever more slowly', () => {
    const script = new Script();
    script.wait(script.append());
    script.turn();
    script.ack('abc', 101);
    script.take();
    const times: number[] = [];
    for (; script.nowMs < 2000; script.nowMs += 10) {
      script.core.tick(script.nowMs);
      if (script.take('d').length > 0) times.push(script.nowMs);
    }
    expect(times).toEqual([200, 600, 1400]);
    expect(script.core.lagging).toBe(true);
    script.ack('def', 101);
    expect(script.core.lagging).toBe(false);
  });

  it('rule 5: a new connection starts with the list, and from the SCL that answers it', () => {
    const script = new Script();
    commit(script, 'abc');
    script.take();
    script.core.nodeUp(3);
    expect(script.take()).toEqual(['d <- pg 0 install']);
    // The acknowledgement had died with the old connection.
    script.core.installed(3, 0, 101, 1, 0);
    expect(script.take()).toEqual(['vdl 101', 'done 101', 'd <- pg 0 points 101 101']);
  });

  it('rule 5: history is bounded; what is older comes by gossip', () => {
    const script = new Script({ lal: 100_000 });
    script.down.add(5);
    const bytes = 60_000;
    for (let sent = 0; sent < HISTORY_BYTES_MAX + 20 * bytes; sent += bytes) {
      const lsn = script.append(0, true, bytes);
      script.wait(lsn);
      script.turn();
      script.ack('abcde', lsn);
    }
    script.down.delete(5);
    script.take();
    script.nowMs = 1000;
    script.ack('f', 7);
    const [first] = script.take('f');
    expect(first).not.toMatch('<- 101');
    expect(first).toMatch(/^f <- pg 0: \d+ <- \d+$/);
  });

  it('rule 8: idle segments hear of VDL once, those with nothing new not at all', () => {
    const script = new Script(TWO_PGS);
    expect(script.core.pointsDue).toBe(false);
    commit(script);
    script.take();
    expect(script.core.pointsDue).toBe(true);
    script.core.sendPoints();
    expect(script.take()).toEqual(Array.from('abcdef', (node) => `${node} <- pg 0 points 101 101`));
    expect(script.core.pointsDue).toBe(false);
  });

  it('PGMRPL that a slow reader held back is told when the reader is done', () => {
    const script = new Script();
    script.core.readPoints.add(100);
    commit(script);
    script.core.sendPoints();
    expect(script.take('a')).toContain('a <- pg 0 points 101 100');
    expect(script.core.pointsDue).toBe(false);
    script.core.readPoints.remove(100);
    expect(script.core.pointsDue).toBe(true);
    script.core.sendPoints();
    expect(script.take('a')).toEqual(['a <- pg 0 points 101 101']);
    expect(script.core.pointsDue).toBe(false);
  });

  it('a segment that was installed late hears of PGMRPL', () => {
    const script = new Script();
    script.core.lacksList(5, 0);
    script.core.installed(5, 0, 7, 1, 0);
    expect(script.take('f')).toContain('f <- pg 0 points 100 100');
  });

  it('PAGE-3: PGMRPL is the lowest read point in use', () => {
    const script = new Script();
    const points = script.core.readPoints;
    points.add(100);
    commit(script);
    points.add(101);
    points.add(101);
    expect(script.core.pgmrpl).toBe(100);
    points.remove(100);
    expect(script.core.pgmrpl).toBe(101);
    points.remove(101);
    commit(script);
    expect(script.core.pgmrpl).toBe(101);
    points.remove(101);
    expect(script.core.pgmrpl).toBe(102);
  });
});

describe('rule 19: a folder that is not the old one', () => {
  const half = (fault?: Fault): Script => {
    const script = new Script(fault === undefined ? {} : faulty(fault));
    script.append();
    script.wait(script.append());
    script.turn();
    script.ack('abcd', 101);
    script.ack('abc', 102);
    script.take();
    return script;
  };

  it('strikes what the old one acknowledged', () => {
    const script = half();
    script.ack('c', 0, { generation: 2 });
    expect(script.take()).toEqual(['c <- pg 0 strike 2 up to 101', 'c <- pg 0: 7 <- 101-102']);
    script.ack('d', 102);
    expect(script.take()).toEqual([]);
    script.ack('c', 102);
    expect(script.take()).toEqual([]);
    script.ack('c', 102, { generation: 2 });
    expect(script.take('done')).toEqual(['done 102']);
    const kept = half('keepAcks');
    kept.ack('c', 0, { generation: 2 });
    kept.ack('d', 102);
    expect(kept.take('done')).toEqual(['done 102']);
  });

  it('does not take back what was durable, and says it again until it is seen', () => {
    const script = half();
    script.ack('c', 0, { generation: 2 });
    expect(script.core.pgs[0].pgcl).toBe(101);
    script.take();
    script.core.nodeUp(2);
    expect(script.take()).toEqual(['c <- pg 0 strike 2 up to 101', 'c <- pg 0 install']);
    script.core.installed(2, 0, 101, 2, 0);
    script.take();
    script.core.nodeUp(2);
    expect(script.take()).toEqual(['c <- pg 0 install']);
  });

  it('asks a segment that is not whole for its generation, though nothing is written', () => {
    const script = new Script();
    script.core.knows(4, 0, 7, -1);
    expect(script.take()).toEqual(['e <- pg 0 install']);
    script.core.installed(4, 0, 7, 5, 0);
    expect(script.take('e <- pg 0 strike')).toEqual(['e <- pg 0 strike 5 up to 7']);
  });

  it('strikes a folder that the opening did not know to be whole', () => {
    const script = new Script();
    script.core.knows(4, 0, 7, -1);
    script.ack('e', 7, { generation: 5 });
    expect(script.take()).toEqual(['e <- pg 0 install', 'e <- pg 0 strike 5 up to 7']);
  });
});

describe('rule 17: membership', () => {
  it('counts every set, the new member from nothing, and drops who left', () => {
    const script = new Script();
    const both = beginReplace(SIX, NODES[5], NODES[6]);
    script.core.setMembership(0, both);
    script.wait(script.append());
    script.turn();
    expect(script.pushes.length).toBe(6);
    script.core.nodeUp(6);
    script.core.installed(6, 0, 0, 1, 0);
    script.take();
    script.ack('abcf', 101);
    expect(script.take('done')).toEqual([]);
    script.ack('g', 101);
    expect(script.take('done')).toEqual(['done 101']);
    script.core.setMembership(0, finishReplace(joinReplace(both, toLsn(101))));
    script.wait(script.append());
    script.turn();
    script.ack('abcf', 102);
    expect(script.take('done')).toEqual([]);
    script.ack('g', 102);
    expect(script.take('done')).toEqual(['done 102']);
  });
});

describe('rule 26', () => {
  it('is confirmed by when the acknowledged boxcar was sent, at a read quorum', () => {
    const script = new Script();
    expect(script.core.confirmedMs).toBe(-Infinity);
    script.nowMs = 10;
    script.wait(script.append());
    script.turn();
    script.nowMs = 50;
    script.ack('ab', 101);
    expect(script.core.confirmedMs).toBe(-Infinity);
    script.ack('f', 101);
    expect(script.core.confirmedMs).toBe(10);
    script.core.confirmed(0, 0, 40);
    script.core.confirmed(1, 0, 30);
    expect(script.core.confirmedMs).toBe(10);
    script.core.confirmed(2, 0, 35);
    expect(script.core.confirmedMs).toBe(30);
  });
});
