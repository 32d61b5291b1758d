/** What a seed decides before the run: the shape of the lock service, who uses it how, how hard the faults are. */
import type { LinkFaults } from '#core/world/simulated/sim-network.js';
import { SimRandom } from '#core/world/simulated/random.js';

export const TROUBLES = [
  'killServer',
  'powerCutServer',
  'crashServerAtSync',
  'pauseServer',
  'killLeader',
  'isolateLeader',
  'isolateServer',
  'killClerk',
  'pauseClerk',
  'isolateClerk',
  'cutClerkFromOne',
  'badLinks',
  'slowDisk',
  'deafClerk',
  'closeClerk',
  'addServer',
  'removeServer',
  'stopServer',
] as const;
export type TroubleKind = (typeof TROUBLES)[number];

/** What the workers of a clerk do, drawn by weight for each step. */
export const WORK = [
  'exclusive',
  'shared',
  'vector',
  'upgrade',
  'downgrade',
  'tryLock',
  'life',
  'reuse',
  'range',
  'counter',
  'election',
] as const;
export type WorkKind = (typeof WORK)[number];
const LOCK_WORK = WORK.filter((kind) => !['range', 'counter', 'election'].includes(kind));

export interface LockSimOptions {
  readonly seed: number;
  readonly servers: number;
  readonly clerks: number;
  /** So many of the clerks are of a kind without recovery. */
  readonly plainClerks: number;
  /** Things that a clerk does at a time. */
  readonly workers: number;
  /** Locks that they fight about. */
  readonly ids: number;
  readonly clerkLeaseMs: number;
  readonly serverLeaseMs: number;
  readonly heartbeatMs: number;
  readonly electionMs: number;
  readonly snapshotEntries: number;
  readonly revokeResendMs: number;
  /** How long a worker keeps a lock at most. */
  readonly holdMsMax: number;
  /** Between two steps of a worker. */
  readonly restMsMax: number;
  /** Probability that a block write arrives long after it was sent. */
  readonly lateWrites: number;
  /** How long a demon replays a log at most. */
  readonly replayMsMax: number;
  /** Probability that a change is written only when its lock is revoked. */
  readonly writeBehind: number;
  readonly rounds: number;
  readonly network: Partial<LinkFaults>;
  readonly driftPpmMax: number;
  readonly trouble: Readonly<Record<TroubleKind, number>>;
  readonly work: Readonly<Record<WorkKind, number>>;
}

const NETWORKS: readonly Partial<LinkFaults>[] = [
  {},
  { jitterMs: 2 },
  { drop: 0.01 },
  { duplicate: 0.03, reorder: 0.1 },
  { drop: 0.01, duplicate: 0.02, reorder: 0.1, flipBit: 0.001, breakLink: 0.002 },
];

export function drawOptions(seed: number): LockSimOptions {
  const random = new SimRandom(seed).fork('lock options');
  const pick = <T>(values: readonly T[]): T => values[random.below(values.length)] as T;
  // Swarm testing: each seed leaves about half of the kinds out, so that the others meet more often.
  const some = <K extends string>(kinds: readonly K[], always: K): Record<K, number> => {
    const weights = {} as Record<K, number>;
    for (const kind of kinds) weights[kind] = random.chance(0.5) ? 1 + random.below(3) : 0;
    if (kinds.every((kind) => weights[kind] === 0)) weights[always] = 1;
    return weights;
  };
  const workWithLocks = (): Record<WorkKind, number> => {
    const work = some(WORK, 'exclusive');
    // A run without any lock says nothing about the lock service.
    if (LOCK_WORK.every((kind) => work[kind] === 0)) work.exclusive = 1;
    return work;
  };
  const heartbeatMs = pick([20, 50]);
  return {
    seed,
    servers: pick([3, 3, 3, 5]),
    clerks: pick([2, 3, 3, 4, 5]),
    plainClerks: pick([0, 0, 1]),
    workers: pick([1, 2, 3]),
    ids: pick([1, 2, 4, 8]),
    clerkLeaseMs: pick([600, 1000, 2000]),
    serverLeaseMs: pick([400, 800]),
    heartbeatMs,
    electionMs: heartbeatMs * pick([4, 6]),
    snapshotEntries: pick([5, 20, 200]),
    revokeResendMs: pick([50, 200]),
    holdMsMax: pick([5, 30, 200]),
    restMsMax: pick([10, 50]),
    lateWrites: pick([0, 0.02, 0.1]),
    replayMsMax: pick([50, 1500]),
    writeBehind: pick([0, 0.5]),
    rounds: 2 + random.below(4),
    network: pick(NETWORKS),
    driftPpmMax: pick([0, 200, 20_000]),
    trouble: some(TROUBLES, 'killLeader'),
    work: workWithLocks(),
  };
}

/** One line for people. */
export function describeOptions(options: LockSimOptions): string {
  const { trouble, work, network, ...rest } = options;
  const drawn = (weights: Readonly<Record<string, number>>): string =>
    Object.entries(weights)
      .filter(([, weight]) => weight > 0)
      .map(([kind, weight]) => `${kind}*${weight}`)
      .join(' ');
  const plain = (values: object): string =>
    Object.entries(values)
      .map(([name, value]) => `${name}=${String(value)}`)
      .join(' ');
  return `${plain(rest)} network{${plain(network)}} work{${drawn(work)}} trouble{${drawn(trouble)}}`;
}
