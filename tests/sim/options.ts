/** What a seed decides before the run: the shape of the cluster, how hard the faults are, what the engines do. */
import type { LinkFaults } from '#core/world/simulated/sim-network.js';
import { SimRandom } from '#core/world/simulated/random.js';

export interface SimOptions {
  readonly seed: number;
  /** `pages`: MTRs on random pages; `sql`: the whole engine, with clients that speak SQL. */
  readonly level: 'pages' | 'sql';
  readonly pagesPerPg: number;
  /** PGs that engines grow the volume to. */
  readonly pgCount: number;
  readonly lal: number;
  readonly leaseMs: number;
  readonly clients: number;
  readonly readers: number;
  /** Pages that one MTR edits at most. */
  readonly mtrPagesMax: number;
  readonly valueBytesMax: number;
  readonly journalFileBytes: number;
  readonly ripeBytes: number;
  readonly rounds: number;
  readonly network: Partial<LinkFaults>;
  readonly driftPpmMax: number;
  /** Kinds of trouble that the safety phase draws from, with weights. */
  readonly trouble: Readonly<Record<TroubleKind, number>>;
}

export const TROUBLES = [
  'powerCut',
  'kill',
  'crashAtSync',
  'pause',
  'isolateNode',
  'isolateEngine',
  'zoneDown',
  'zoneAndOneDown',
  'badLinks',
  'slowDisk',
  'fullDisk',
  'failingDisk',
  'lyingDisk',
  'rot',
  'loseFolder',
  'engineCrash',
  'engineOvertaken',
  'engineRace',
] as const;
export type TroubleKind = (typeof TROUBLES)[number];

/** Seeds that run the whole engine. */
const SQL_SHARE = 0.2;

const NETWORKS: readonly Partial<LinkFaults>[] = [
  {},
  { jitterMs: 1 },
  { drop: 0.01 },
  { duplicate: 0.02, reorder: 0.1 },
  { drop: 0.005, duplicate: 0.02, reorder: 0.05, flipBit: 0.002, breakLink: 0.002 },
];

export function drawOptions(seed: number): SimOptions {
  const random = new SimRandom(seed).fork('options');
  const pick = <T>(values: readonly T[]): T => values[random.below(values.length)] as T;
  const trouble = {} as Record<TroubleKind, number>;
  // Swarm testing: each seed leaves about half of the kinds out, so that the others meet more often.
  for (const kind of TROUBLES) trouble[kind] = random.chance(0.5) ? 1 + random.below(3) : 0;
  if (TROUBLES.every((kind) => trouble[kind] === 0)) trouble.powerCut = 1;
  const level = random.chance(SQL_SHARE) ? 'sql' : 'pages';
  const sql = level === 'sql';
  return {
    seed,
    level,
    pagesPerPg: sql ? pick([16, 40]) : pick([2, 3, 5]),
    pgCount: pick([1, 2, 2, 3]),
    lal: sql ? pick([200, 1000]) : pick([8, 20, 60, 1000]),
    leaseMs: pick([50, 100, 200]),
    clients: pick([1, 2, 4]),
    readers: pick([0, 1, 2]),
    mtrPagesMax: pick([1, 2, 4]),
    valueBytesMax: pick([8, 60, 400]),
    journalFileBytes: pick([32, 64, 256]) * 1024,
    ripeBytes: pick([128, 512, 2048]),
    rounds: 2 + random.below(4),
    network: pick(NETWORKS),
    driftPpmMax: pick([0, 0, 300]),
    trouble,
  };
}

/** One line for people. */
export function describeOptions(options: SimOptions): string {
  const { trouble, network, ...rest } = options;
  const kinds = TROUBLES.filter((kind) => trouble[kind] > 0).map(
    (kind) => `${kind}*${trouble[kind]}`,
  );
  const shape = Object.entries(rest).map(([name, value]) => `${name}=${String(value)}`);
  const net = Object.entries(network).map(([name, value]) => `${name}=${value}`);
  return `${shape.join(' ')} network{${net.join(' ')}} trouble{${kinds.join(' ')}}`;
}
