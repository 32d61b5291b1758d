/**
 * Byte ranges of a file that fills a few blocks: a range lock counts as a lock on each block that it covers, shared for
 * reading, exclusive for writing (LOCK-1, LOCK-2). Each worker is an open file of its own.
 */
import type { SimRandom } from '#core/world/simulated/random.js';
import type { Belief } from './checkers/beliefs.js';
import type { ClerkLife, ClerkSession } from './clerk-life.js';
import { TABLE } from './cluster.js';

const FILE = 800;
const BLOCKS = 4;
const BLOCK_BYTES = 100;

export async function rangeWork(
  life: ClerkLife,
  session: ClerkSession,
  random: SimRandom,
  owner: string,
  pause: () => Promise<void>,
): Promise<void> {
  const { cluster } = life;
  const { ranges } = session.clerk;
  const first = random.below(BLOCKS);
  const last = first + random.below(BLOCKS - first);
  const type = random.chance(0.5) ? 'read' : 'write';
  const range = {
    table: TABLE,
    id: FILE,
    family: 'ofd' as const,
    owner,
    start: BigInt(first * BLOCK_BYTES),
    end: BigInt((last + 1) * BLOCK_BYTES),
  };
  const { granted } = await ranges.set({ ...range, type }, { wait: random.chance(0.7) });
  if (!granted) return;
  const beliefs: Belief[] = [];
  for (let block = first; block <= last; block++) {
    const belief: Belief = {
      holder: session,
      key: `range ${block}`,
      mode: type === 'read' ? 'shared' : 'exclusive',
      isValid: () => life.isCurrent && session.clerk.leaseLeftMs() > 0,
    };
    beliefs.push(belief);
    if (belief.isValid()) cluster.guard(() => cluster.beliefs.take(belief));
  }
  cluster.noteTaken(0);
  await pause();
  for (const belief of beliefs) cluster.beliefs.giveBack(belief);
  await ranges.set({ ...range, type: 'unlock' });
}
