/**
 * What a clerk's workers do with the coordination tree.
 *
 * - COORD-1 Nodes are linearizable, and the operations of one session on a node take effect in their order.
 * - TREE-3 An ephemeral node is gone with its session, not before: who made `/leader` leads as long as its lease runs.
 */
import { isSextantError } from '#core/errors.js';
import type { SimRandom } from '#core/world/simulated/random.js';
import { WriteRefused, type Coordination } from '#lockservice/clerk/coordination/coordination.js';
import type { NodeInput, NodeOutput } from '../../linearizability/versioned.js';
import type { Belief, Holder } from './checkers/beliefs.js';
import type { ClerkLife, ClerkSession } from './clerk-life.js';

export const ELECTION_PATH = '/leader';
const NODES = 2;
const BURST_MAX = 3;

/** Some operations on one node, often at once: a client may have many under way. */
export async function countingWork(
  life: ClerkLife,
  session: ClerkSession,
  random: SimRandom,
): Promise<void> {
  const path = `/n${random.below(NODES)}`;
  const seen = await one(life, session, path, { op: 'get' });
  const version = seen !== undefined && 'node' in seen ? (seen.node?.version ?? -1) : -1;
  const burst: Promise<unknown>[] = [];
  for (let i = random.below(BURST_MAX); i >= 0; i--) {
    burst.push(one(life, session, path, drawn(random, version, `${++life.cluster.lastValue}`)));
  }
  await Promise.all(burst);
}

function drawn(random: SimRandom, version: number, data: string): NodeInput {
  const at = random.unit();
  if (version < 0 || at < 0.1) return { op: 'create', data };
  if (at < 0.7) return { op: 'set', data, version };
  if (at < 0.8) return { op: 'set', data, version: -1 };
  if (at < 0.9) return { op: 'delete', version: random.chance(0.5) ? version : -1 };
  return { op: 'get' };
}

/** One operation, as the history has it; undefined when nobody knows how it ended. */
async function one(
  life: ClerkLife,
  session: ClerkSession,
  path: string,
  input: NodeInput,
): Promise<NodeOutput | undefined> {
  const pending = life.cluster.nodes.begin(session.name, path, input);
  try {
    const output = await perform(session.clerk.coordination, path, input);
    pending.answered(output);
    return output;
  } catch (error) {
    if (error instanceof WriteRefused) {
      const { code } = error;
      if (code === 'EXISTS' || code === 'NOT_FOUND' || code === 'CONFLICT') {
        pending.answered({ refused: code });
        return { refused: code };
      }
    }
    pending.unknown();
    life.cluster.expected(error);
    return undefined;
  }
}

async function perform(tree: Coordination, path: string, input: NodeInput): Promise<NodeOutput> {
  const expected = 'version' in input && input.version >= 0 ? { version: input.version } : {};
  switch (input.op) {
    case 'get': {
      const [node] = (await tree.readAll([path])).nodes;
      return { node: node ? { version: node.stat.version, data: node.text } : null };
    }
    case 'create':
      return { version: (await tree.create(path, input.data)).stat.version };
    case 'set':
      return { version: (await tree.set(path, input.data, expected)).version };
    case 'delete':
      await tree.delete(path, expected);
      return { version: -1 };
  }
}

/** Leads for a while when nobody else does. */
export async function electionWork(
  life: ClerkLife,
  session: ClerkSession,
  pause: () => Promise<void>,
): Promise<void> {
  const { cluster } = life;
  const { clerk } = session;
  const holder: Holder = {
    name: session.name,
    token: session.token,
    // Leadership passes on without a recovery.
    recovery: false,
    get isLost() {
      return session.isLost;
    },
  };
  let leads = true;
  const belief: Belief = {
    holder,
    key: ELECTION_PATH,
    mode: 'exclusive',
    isValid: () => leads && life.isCurrent && !session.isLost && clerk.leaseLeftMs() > 0,
  };
  try {
    await clerk.coordination.create(ELECTION_PATH, session.name, { ephemeral: true });
  } catch (error) {
    if (isSextantError(error, 'EXISTS')) return;
    throw error;
  }
  if (belief.isValid()) cluster.guard(() => cluster.beliefs.take(belief));
  await pause();
  leads = false;
  cluster.beliefs.giveBack(belief);
  await clerk.coordination.delete(ELECTION_PATH).catch((error: unknown) => {
    // It was made before its answer was lost with the lease, say.
    if (!isSextantError(error, 'NOT_FOUND')) throw error;
  });
}
