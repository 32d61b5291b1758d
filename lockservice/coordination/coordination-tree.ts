/**
 * The coordination tree: ZooKeeper's model as a part of the lock service's replicated state (Hunt et al., ATC'10).
 * Pure and deterministic: Raft's index is its only clock, and every replica that applies the same commands has the same
 * tree.
 *
 * ```
 * /                          a node: data up to 1 MiB, version, children
 * |-- engines
 * |   `-- 1                  persistent: stays until deleted
 * |       `-- writer
 * |           |-- n-0000000000   ephemeral (goes with its clerk) and sequential (ten digits, a counter of the parent)
 * |           `-- n-0000000004
 * `-- settings               set, version 0 -> 1 -> 2 ...
 * ```
 *
 * A clerk is a session. Its writes carry a sequence number and what it has acknowledged:
 *
 * | sequence             | what happens                                         |
 * |----------------------|------------------------------------------------------|
 * | last + 1             | applied; the result is kept until acknowledged       |
 * | acknowledged+1..last | not applied again: the kept result is the answer      |
 * | above last + 1       | `gap`: nothing happens, the clerk sends from last + 1 |
 * | up to acknowledged   | PROTOCOL: the clerk had that answer                  |
 *
 * - TREE-1 A write takes effect at most once, and a session's writes in the order of their numbers.
 * - TREE-2 Either every operation of a write takes effect, at one index, or none does.
 * - TREE-3 An ephemeral node exists only while its owner's session does, and has no children.
 * - TREE-4 Nodes, bytes and kept results are bounded; deleting is never refused for lack of room.
 *
 * That the token is of a live clerk is for the caller to see to, before `apply`.
 */
import type { ErrorCode } from '#core/errors.js';
import { SextantError } from '#core/errors.js';
import { list, lsn, object, text } from '#core/rpc/shape.js';
import { NO_COORDINATION_FAULTS, type CoordinationFaults } from './faults.js';
import {
  ANSWER_CHARACTERS_MAX,
  UNANSWERED_MAX,
  writeOutcome,
  type CoordinationCommand,
  type OperationResult,
  type ReadOperation,
  type ReadResult,
  type RefusalCode,
  type WriteOutcome,
} from './messages.js';
import { checkPath } from './paths.js';
import { TreeNode, TreeNodes, type TreeEvent, type TreeLimits } from './tree-nodes.js';

export type { CoordinationCommand } from './messages.js';
export type { TreeEvent } from './tree-nodes.js';

export interface CoordinationResult {
  readonly outcome: WriteOutcome;
  /** What was done just now; empty of a repeated write. */
  readonly events: readonly TreeEvent[];
}

/**
 * The same on every replica: they are part of what a command does. A snapshot is made in one go; of a tree this full it
 * takes 0.4 s (measured), which is what a leader can be silent for.
 */
const LIMITS: TreeLimits = { nodesMax: 250_000, bytesMax: 64 * 1024 * 1024 };
const SNAPSHOT_VERSION = 1;
/** Counted for a kept result, and for each operation in it. */
const RESULT_BYTES = 200;
const REFUSALS: readonly ErrorCode[] = [
  'NOT_FOUND',
  'EXISTS',
  'CONFLICT',
  'NOT_EMPTY',
  'OVERLOADED',
  'OUT_OF_RANGE',
  'PROTOCOL',
];

interface Session {
  /** Last write applied. */
  sequence: number;
  acknowledged: number;
  /** Of the writes acknowledged+1 .. sequence. */
  results: WriteOutcome[];
}

export class CoordinationTree {
  readonly #nodes: TreeNodes;
  readonly #sessions = new Map<number, Session>();
  readonly #faults: CoordinationFaults;
  #changedIndex = 0;

  /** `limits` and `faults` are for tests. */
  constructor(limits: TreeLimits = LIMITS, faults: CoordinationFaults = NO_COORDINATION_FAULTS) {
    this.#nodes = new TreeNodes(limits);
    this.#faults = faults;
  }

  /** The root included. */
  get nodeCount(): number {
    return this.#nodes.count;
  }

  get bytes(): number {
    return this.#nodes.bytes;
  }

  get sessionCount(): number {
    return this.#sessions.size;
  }

  /** Nothing of the tree has changed after it. */
  get changedIndex(): number {
    return this.#changedIndex;
  }

  /** Last write of a clerk that was applied; 0 before the first. */
  sequenceOf(token: number): number {
    return this.#sessions.get(token)?.sequence ?? 0;
  }

  /** Never throws for what a clerk sent: that is in the outcome. */
  apply(index: number, command: CoordinationCommand): CoordinationResult {
    const { token, sequence, acknowledged } = command;
    let session = this.#sessions.get(token);
    const last = session?.sequence ?? 0;
    if (sequence > last + 1 && !this.#faults.acceptsGaps) {
      return { outcome: { kind: 'gap', expected: last + 1 }, events: [] };
    }
    if (sequence <= last && !this.#faults.appliesTwice) {
      return { outcome: this.#repeated(index, session as Session, sequence), events: [] };
    }
    if (acknowledged >= sequence || sequence - acknowledged > UNANSWERED_MAX) {
      const message = `write ${sequence} with ${acknowledged} acknowledged`;
      return { outcome: refusal(index, 0, 'PROTOCOL', message), events: [] };
    }
    if (session === undefined) {
      session = { sequence: 0, acknowledged: 0, results: [] };
      this.#sessions.set(token, session);
    }
    this.#changedIndex = index;
    this.#forget(session, acknowledged);
    const result = this.#perform(index, command);
    session.sequence = sequence;
    session.results.push(result.outcome);
    this.#nodes.account(outcomeBytes(result.outcome));
    return result;
  }

  /** The clerk is closed or expired: its ephemeral nodes go, and what was kept for it. */
  expireSession(index: number, token: number): readonly TreeEvent[] {
    const session = this.#sessions.get(token);
    if (session !== undefined) {
      for (const outcome of session.results) this.#nodes.account(-outcomeBytes(outcome));
      this.#sessions.delete(token);
    }
    this.#changedIndex = index;
    if (!this.#faults.keepsEphemerals) this.#nodes.removeOwned(token, index);
    return this.#nodes.commit();
  }

  /** Throws PROTOCOL for a bad path, OUT_OF_RANGE when the answers are too long together. */
  read(operations: readonly ReadOperation[]): ReadResult[] {
    let characters = 0;
    return operations.map((operation) => {
      checkPath(operation.path);
      const node = this.#nodes.get(operation.path);
      if (node === undefined) return { stat: null };
      const stat = node.stat();
      if (operation.op === 'stat') return { stat };
      if (operation.op === 'get') {
        characters = withinAnswer(characters + node.data.length);
        return { stat, data: node.data };
      }
      const names = [...(node.children ?? [])].sort();
      for (const name of names) characters += name.length + 3;
      withinAnswer(characters);
      return { stat, names };
    });
  }

  /** What a watch compares. */
  stateOf(path: string): TreeNode | undefined {
    return this.#nodes.get(path);
  }

  /** JSON; equal for equal trees. */
  toSnapshot(): unknown {
    const nodes = [...this.#nodes.all()].sort((a, b) => (a.path < b.path ? -1 : 1));
    const tokens = [...this.#sessions.keys()].sort((a, b) => a - b);
    return {
      version: SNAPSHOT_VERSION,
      changedIndex: this.#changedIndex,
      nodes: nodes.map((node) => [
        node.path,
        node.data,
        [node.createdIndex, node.changedIndex, node.childrenIndex],
        [node.version, node.childrenVersion, node.owner, node.nextSequence],
      ]),
      sessions: tokens.map((token) => ({ token, ...(this.#sessions.get(token) as Session) })),
    };
  }

  /** Throws PROTOCOL or CORRUPTION for what is no snapshot of a tree. */
  static fromSnapshot(
    value: unknown,
    limits: TreeLimits = LIMITS,
    faults: CoordinationFaults = NO_COORDINATION_FAULTS,
  ): CoordinationTree {
    const { version, changedIndex, nodes, sessions } = snapshotShape(value, 'coordination');
    if (version !== SNAPSHOT_VERSION) {
      throw new SextantError('CORRUPTION', `coordination snapshot of version ${version}`);
    }
    const tree = new CoordinationTree(limits, faults);
    tree.#changedIndex = changedIndex;
    // A path sorts behind its parent's: the parent is there first.
    for (const fields of nodes) tree.#nodes.load(nodeOf(fields));
    for (const { token, sequence, acknowledged, results } of sessions) {
      tree.#sessions.set(token, { sequence, acknowledged, results });
      for (const outcome of results) tree.#nodes.account(outcomeBytes(outcome));
    }
    return tree;
  }

  #repeated(index: number, session: Session, sequence: number): WriteOutcome {
    const kept = session.results[sequence - session.acknowledged - 1];
    if (kept !== undefined) return kept;
    return refusal(index, 0, 'PROTOCOL', `write ${sequence} was answered and acknowledged`);
  }

  #forget(session: Session, acknowledged: number): void {
    const count = acknowledged - session.acknowledged;
    if (count <= 0) return;
    for (const outcome of session.results.splice(0, count)) {
      this.#nodes.account(-outcomeBytes(outcome));
    }
    session.acknowledged = acknowledged;
  }

  #perform(index: number, command: CoordinationCommand): CoordinationResult {
    const { operations, token } = command;
    const results: OperationResult[] = [];
    for (let i = 0; i < operations.length; i++) {
      const operation = operations[i];
      if (operation === undefined) continue;
      try {
        results.push(this.#nodes.perform(operation, index, token));
      } catch (error) {
        if (!(error instanceof SextantError) || !REFUSALS.includes(error.code)) throw error;
        // The planted fault leaves the operations before the failing one in place.
        const events = this.#faults.halfMulti ? this.#nodes.commit() : [];
        this.#nodes.rollback();
        return { outcome: refusal(index, i, error.code as RefusalCode, error.message), events };
      }
    }
    return { outcome: { kind: 'done', index, results }, events: this.#nodes.commit() };
  }
}

const indices = list(lsn, 3);
const counters = list(lsn, 4);
interface NodeFields {
  readonly path: string;
  readonly data: string;
  readonly indices: number[];
  readonly counters: number[];
}
const snapshotShape = object<{
  version: number;
  changedIndex: number;
  nodes: NodeFields[];
  sessions: (Session & { token: number })[];
}>({
  version: lsn,
  changedIndex: lsn,
  nodes: list((value, path) => {
    if (!Array.isArray(value) || typeof value[1] !== 'string') {
      throw new SextantError('PROTOCOL', `${path}: node expected`);
    }
    return {
      path: text(value[0], path),
      data: value[1],
      indices: indices(value[2], path),
      counters: counters(value[3], path),
    };
  }),
  sessions: list(
    object<Session & { token: number }>({
      token: lsn,
      sequence: lsn,
      acknowledged: lsn,
      results: list(writeOutcome, UNANSWERED_MAX),
    }),
  ),
});

function nodeOf(fields: NodeFields): TreeNode {
  const [createdIndex = 0, changedIndex = 0, childrenIndex = 0] = fields.indices;
  const [version = 0, childrenVersion = 0, owner = 0, nextSequence = 0] = fields.counters;
  const node = new TreeNode(fields.path, fields.data, createdIndex, owner);
  node.changedIndex = changedIndex;
  node.childrenIndex = childrenIndex;
  node.version = version;
  node.childrenVersion = childrenVersion;
  node.nextSequence = nextSequence;
  return node;
}

function refusal(index: number, failed: number, code: RefusalCode, message: string): WriteOutcome {
  return { kind: 'refused', index, failed, code, message };
}

function outcomeBytes(outcome: WriteOutcome): number {
  let bytes = RESULT_BYTES;
  if (outcome.kind !== 'done') return bytes;
  for (const { path } of outcome.results) bytes += RESULT_BYTES + path.length;
  return bytes;
}

function withinAnswer(characters: number): number {
  if (characters <= ANSWER_CHARACTERS_MAX) return characters;
  throw new SextantError('OUT_OF_RANGE', `an answer of over ${ANSWER_CHARACTERS_MAX} characters`);
}
