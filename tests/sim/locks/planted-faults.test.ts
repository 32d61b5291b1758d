/**
 * Do the checkers bite? Each planted fault takes one rule away; some seed out of a few must notice. Those that need a script
 * are in scenarios/, with the scripts that need them; those of Raft that need more than a lock service does are in
 * lockservice/raft/planted-faults.test.ts, on bare cores; those that a second rule makes up for (reviveLapsed, oldGrants, leaseBeforeState, and
 * mixedAttempts, which takes 65,536 locks) beside the code.
 */
import { describe, expect, it } from 'vitest';
import { caughtBy } from '../run.js';
import type { PlantedLockFaults } from './cluster.js';
import { TROUBLES, WORK, type LockSimOptions, type TroubleKind } from './options.js';
import { runSeed } from './run.js';

const SEEDS_MAX = 15;

function all<K extends string>(kinds: readonly K[], weight: number): Record<K, number> {
  return Object.fromEntries(kinds.map((kind) => [kind, weight])) as Record<K, number>;
}

/** Everything at once, and hard. */
const HARD: Partial<LockSimOptions> = {
  servers: 3,
  clerks: 4,
  plainClerks: 1,
  workers: 2,
  ids: 2,
  rounds: 8,
  holdMsMax: 200,
  restMsMax: 10,
  writeBehind: 0.5,
  replayMsMax: 1500,
  lateWrites: 0.1,
  clerkLeaseMs: 600,
  serverLeaseMs: 400,
  heartbeatMs: 20,
  electionMs: 120,
  snapshotEntries: 5,
  network: { drop: 0.01, duplicate: 0.05, reorder: 0.2 },
  driftPpmMax: 20_000,
  trouble: { ...all(TROUBLES, 2), addServer: 1, removeServer: 1, badLinks: 3, stopServer: 1 },
  work: { ...all(WORK, 1), exclusive: 3 },
};
const onServers: Partial<Record<TroubleKind, number>> = {
  killLeader: 3,
  isolateLeader: 3,
  crashServerAtSync: 4,
  powerCutServer: 3,
  pauseServer: 2,
  isolateServer: 3,
  badLinks: 2,
  slowDisk: 2,
};
/** Elections, one after the other. */
const VOTES: Partial<LockSimOptions> = {
  ...HARD,
  servers: 5,
  clerks: 2,
  workers: 1,
  rounds: 15,
  electionMs: 80,
  trouble: { ...all(TROUBLES, 0), ...onServers },
};
/** Locks alone, over a network that repeats and overtakes. */
const MODES: Partial<LockSimOptions> = {
  ...HARD,
  network: { drop: 0.01, duplicate: 0.2, reorder: 0.4 },
  work: { ...all(WORK, 0), exclusive: 3, shared: 2, upgrade: 1, downgrade: 1, tryLock: 1 },
};
/** Nobody recovers anybody: what ends with a lease is free at once. */
const PLAIN: Partial<LockSimOptions> = {
  ...HARD,
  plainClerks: 4,
  trouble: { ...all(TROUBLES, 2), killLeader: 5 },
};
/** Clerks that die and are recovered all the time. */
const DEATHS: Partial<LockSimOptions> = {
  ...HARD,
  clerks: 5,
  plainClerks: 0,
  rounds: 12,
  trouble: { ...all(TROUBLES, 0), killClerk: 3, pauseClerk: 3, isolateClerk: 2, closeClerk: 1 },
};
/** The tree, by clients that have many writes under way, and lose connections. */
const TREE: Partial<LockSimOptions> = {
  ...HARD,
  network: { drop: 0.05, duplicate: 0.05, reorder: 0.3, breakLink: 0.01 },
  work: { ...all(WORK, 0), counter: 3, election: 1, exclusive: 1 },
};
/** A leader that is cut off from the others leads on for longer than a lease lasts. */
const OLD_LEADER: Partial<LockSimOptions> = {
  ...HARD,
  plainClerks: 3,
  ids: 1,
  electionMs: 700,
  network: {},
  trouble: { ...all(TROUBLES, 0), isolateLeader: 5 },
  work: { ...all(WORK, 0), exclusive: 1 },
};

/** Groups that move from servers that are well. */
const MOVES: Partial<LockSimOptions> = {
  ...HARD,
  rounds: 12,
  trouble: { ...all(TROUBLES, 0), addServer: 4, removeServer: 3, pauseServer: 2, isolateServer: 2 },
};

interface Planted {
  readonly name: string;
  readonly planted: PlantedLockFaults;
  /** The first seed that is tried: one that notices, so that the test is short. */
  readonly from: number;
  readonly change: Partial<LockSimOptions>;
  /** The checkers that may notice first; which of them does depends on the seed. */
  readonly caughtBy: readonly string[];
}

type Part = keyof PlantedLockFaults;
type FaultOf<P extends Part> = keyof NonNullable<PlantedLockFaults[P]> & string;

function plant<P extends Part>(
  part: P,
  name: FaultOf<P>,
  from: number,
  change: Partial<LockSimOptions>,
  ...by: string[]
): Planted {
  return {
    name: `${part}: ${name}`,
    planted: { [part]: { [name]: true } },
    from,
    change,
    caughtBy: by,
  };
}

/** LIVE: it never comes together; ERROR, SextantError: a server or a clerk has noticed itself. */
const FAULTS: readonly Planted[] = [
  plant('raft', 'voteTwice', 7, VOTES, 'RAFT-1'),
  plant('raft', 'voteForShorter', 8, VOTES, 'RAFT-3', 'RAFT-4', 'RAFT-5', 'LOCK-7', 'ERROR'),
  plant('raft', 'noReadIndex', 2, VOTES, 'RAFT-6'),
  plant('raft', 'oldRoundConfirms', 2, HARD, 'RAFT-6'),
  plant('raft', 'snapshotLosesTail', 1, HARD, 'RAFT-2', 'RAFT-4'),
  plant('raft', 'truncateAlways', 1, HARD, 'LIVE', 'RAFT-4', 'ERROR'),
  plant('state', 'noLeaseExtension', 1, PLAIN, 'LOCK-1'),
  plant('state', 'tokenReuse', 1, DEATHS, 'LOCK-2'),
  plant('state', 'unfencedDemon', 1, DEATHS, 'LOCK-8'),
  plant('state', 'onePhaseMoves', 1, MOVES, 'LOCK-7'),
  plant('server', 'serveWithoutLease', 1, HARD, 'LOCK-7'),
  plant('server', 'oldLeaderRenews', 5, OLD_LEADER, 'LOCK-1'),
  plant('locks', 'noSequence', 1, MODES, 'LOCK-1', 'LOCK-2', 'TAG-1', 'ERROR'),
  plant('locks', 'freeDeadLocks', 1, DEATHS, 'LOCK-2'),
  plant('locks', 'grantDuringRebuild', 3, HARD, 'LOCK-1', 'TAG-1'),
  plant('locks', 'claimsIgnored', 3, HARD, 'LOCK-1', 'TAG-1'),
  plant('locks', 'starveWriters', 1, MODES, 'LOCK-5'),
  plant('locks', 'noClockInGrant', 1, HARD, 'TAG-1'),
  plant('clerk', 'releaseBeforeFlush', 1, HARD, 'TAG-1', 'LOCK-1'),
  plant('coordination', 'appliesTwice', 1, TREE, 'COORD-1'),
  plant('coordination', 'acceptsGaps', 1, TREE, 'COORD-1', 'SextantError'),
  plant('coordination', 'keepsEphemerals', 1, TREE, 'TREE-3'),
];

describe('planted faults of the lock service', () => {
  it.each(FAULTS)('$name is caught', { timeout: 240_000 }, async (fault) => {
    const { from } = fault;
    for (let seed = from; seed < from + SEEDS_MAX; seed++) {
      const { failure } = await runSeed(seed, { planted: fault.planted, change: fault.change });
      if (failure === undefined) continue;
      if (process.env['TELL'] === '1') console.log(fault.name, seed, failure.message.slice(0, 200));
      expect(fault.caughtBy, failure.message).toContain(caughtBy(failure));
      return;
    }
    expect.fail(`no checker noticed in ${SEEDS_MAX} seeds`);
  });

  it('without one, the same runs pass', { timeout: 240_000 }, async () => {
    for (const change of [HARD, VOTES, PLAIN, DEATHS, TREE, OLD_LEADER]) {
      expect((await runSeed(1, { change })).failure).toBeUndefined();
    }
  });
});
