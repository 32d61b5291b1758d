/**
 * Quorums of a protection group: six copies, two in each of three zones, and what they become while
 * members are replaced. Thresholds are written down for each count, not computed:
 *
 *     copies that answer    0  1  2  3  4  5  6
 *     read  (3/6)           .  .  .  R  R  R  R    survives a zone and one node
 *     write (4/6)           .  .  .  .  W  W  W    survives a zone, or any two nodes
 *     register (4/6)        .  .  .  .  V  V  V    both phases: two halves never decide apart (rule 15)
 *
 * A read and a write quorum of one set meet in 3 + 4 - 6 = 1 node, two write quorums in 2.
 *
 * Replacing F by G (rule 17 of the protocol). Each arrow is a compare-and-set on the volume's register
 * and raises `epoch` by one:
 *
 *      stable ABCDEF --begin--> both --join--> joined --finish--> stable ABCDEG
 *            ^                   |                |
 *            +------revert-------+-----revert-----+
 *
 * | state  | write, register | read                | seal              | why                                   |
 * |--------|-----------------|---------------------|-------------------|---------------------------------------|
 * | stable | 4/6 of the set  | 3/6 of the set      | 3/6 of the set    |                                       |
 * | both   | 4/6 of EVERY set| 3/6 of sets[0] only | 3/6 of every set  | the new set may miss what the old one |
 * |        |                 |                     |                   | committed alone, before the change    |
 * | joined | 4/6 of EVERY set| 3/6 of any set      | 3/6 of every set  | each set has a write quorum at B, and |
 * |        |                 |                     |                   | of everything after B                 |
 *
 * `begin` meanwhile, for a second failure, doubles the sets and falls back to "both"; at most two
 * replacements run at once, as a third lost member means that nothing can be written anyhow:
 *
 *     sets[0] ABCDEF   sets[1] ABCDEG (F -> G)   sets[2] ABCDHF (E -> H)   sets[3] ABCDHG (both)
 *
 * Set i has replacement b made exactly when bit b of i is set. `finish` and `revert` end all
 * replacements or only the one that brings a named node in.
 *
 * Which quorum an opening needs, so that it finds all that was acknowledged (AckedIsFound in the model
 * of membership). Every acknowledged record of every earlier writer lies on a write quorum of:
 *
 * - sets[0], in "stable" and "both", for sets[0] never leaves the conjunction: a writer that has not
 *   seen its own change to "both" land, one that has, and one that reverted all count it. So 3/6 of
 *   sets[0] finds it, and 3/6 of a new set alone does not: four old acknowledgements may be C, D, E, F
 *   and three of the new set A, B, G.
 * - every set, in "joined": what is at or below the barrier B because each set had 4/6 at B before the
 *   fact was recorded, what is above B because writers since "both" count every set. B is the highest
 *   LSN issued when "both" was in force, not VDL: acknowledgements given before by the old set alone
 *   let VDL still rise to there.
 * - the last set after `finish`, sets[0] after `revert`: both were counted by every writer before.
 *
 * Thus `readQuorum` finds everything. `sealQuorum` asks for more, 3/6 of every set in force, for its
 * other purpose: sealed nodes refuse the older epoch, and this way the old writer can complete no
 * write quorum of any set, whichever side of its last change it believes in. It costs no availability,
 * because an opening has to repair to sealed segments that are a write quorum of every set (rule 11).
 */
import { assert } from '../assert.js';
import { SextantError } from '../errors.js';
import type { Lsn, NodeId } from '../ids.js';

export const COPIES = 6;

/** By the number of members of one set that have it. */
const IS_READ: readonly boolean[] = [false, false, false, true, true, true, true];
const IS_WRITE: readonly boolean[] = [false, false, false, false, true, true, true];
const IS_REGISTER: readonly boolean[] = [false, false, false, false, true, true, true];
/** A write quorum stands where the fourth highest member stands. */
const WRITE_RANK = 4;

const REPLACEMENTS_MAX = 2;

export type MembershipState = 'stable' | 'both' | 'joined';

/** JSON-able; lives in the volume's register. Treat as immutable. */
export interface Membership {
  readonly epoch: number;
  readonly state: MembershipState;
  /** 1 set when stable, 2 or 4 while replacements run; sets[0] is the old one. Six nodes each. */
  readonly sets: readonly (readonly NodeId[])[];
  /** In "joined" only: where each set had a write quorum. */
  readonly barrier?: Lsn;
}

/** Whether a node is among those that answered, acknowledged or are alive. */
export type HasNode = (node: NodeId) => boolean;

function countIn(set: readonly NodeId[], has: HasNode): number {
  let count = 0;
  for (let i = 0; i < set.length; i++) if (has(set[i])) count++;
  return count;
}

function everySet(m: Membership, has: HasNode, enough: readonly boolean[]): boolean {
  for (let i = 0; i < m.sets.length; i++) {
    if (!enough[countIn(m.sets[i], has)]) return false;
  }
  return true;
}

function anySet(m: Membership, has: HasNode, enough: readonly boolean[]): boolean {
  for (let i = 0; i < m.sets.length; i++) {
    if (enough[countIn(m.sets[i], has)]) return true;
  }
  return false;
}

/** 4/6 of every set in force. */
export function writeQuorum(m: Membership, has: HasNode): boolean {
  return everySet(m, has, IS_WRITE);
}

/** Enough to find all that was ever acknowledged: 3/6, of which set see above. */
export function readQuorum(m: Membership, has: HasNode): boolean {
  if (m.state === 'joined') return anySet(m, has, IS_READ);
  return IS_READ[countIn(m.sets[0], has)];
}

/** What an opening must have sealed: 3/6 of every set in force. It contains a read quorum. */
export function sealQuorum(m: Membership, has: HasNode): boolean {
  return everySet(m, has, IS_READ);
}

/** Both phases of a register round, when `m` is the acceptors' membership: 4/6 of every set. */
export function registerQuorum(m: Membership, has: HasNode): boolean {
  return everySet(m, has, IS_REGISTER);
}

/** Hot: called on every acknowledgement; sorted in place, never allocated. */
const ranked = new Float64Array(COPIES);

/**
 * The highest x such that the nodes with SCL >= x are a write quorum (PGCL): the fourth highest SCL,
 * of the set where that is lowest.
 */
export function quorumPoint(m: Membership, sclOf: (node: NodeId) => number): number {
  let point = Infinity;
  for (let i = 0; i < m.sets.length; i++) {
    const set = m.sets[i];
    for (let count = 0; count < COPIES; count++) {
      const scl = sclOf(set[count]);
      let at = count;
      for (; at > 0 && ranked[at - 1] < scl; at--) ranked[at] = ranked[at - 1];
      ranked[at] = scl;
    }
    if (ranked[WRITE_RANK - 1] < point) point = ranked[WRITE_RANK - 1];
  }
  return point;
}

/** Every node of any set, each once: sets[0] in its order, then those coming in. */
export function members(m: Membership): NodeId[] {
  const all: NodeId[] = [];
  for (const set of m.sets) {
    for (const node of set) if (!all.includes(node)) all.push(node);
  }
  return all;
}

/** The first membership of a PG: six different nodes. */
export function stableMembership(nodes: readonly NodeId[], epoch = 1): Membership {
  assert(nodes.length === COPIES && new Set(nodes).size === COPIES, 'a PG has six different nodes');
  return { epoch, state: 'stable', sets: [[...nodes]] };
}

function refuse(what: string): SextantError {
  return new SextantError('PROTOCOL', `membership change refused: ${what}`);
}

/**
 * Starts to replace `out` by `into`: writes must now reach every set, reads stay with sets[0]. The
 * order of sets[0] is kept: `into` takes the place of `out`. Throws PROTOCOL when `out` is not in every
 * set (a node that is itself coming in or being replaced), `into` is in one, or two are under way.
 */
export function beginReplace(m: Membership, out: NodeId, into: NodeId): Membership {
  if (m.sets.length >= 2 ** REPLACEMENTS_MAX) throw refuse('two replacements are under way');
  if (!m.sets.every((set) => set.includes(out))) throw refuse(`${out} is not in every set`);
  if (m.sets.some((set) => set.includes(into))) throw refuse(`${into} is a member already`);
  const replaced = m.sets.map((set) => set.map((node) => (node === out ? into : node)));
  return { epoch: m.epoch + 1, state: 'both', sets: [...m.sets, ...replaced] };
}

/**
 * Records that every set has a write quorum at `barrier`, that is `quorumPoint(m, scl) >= barrier` for
 * a barrier taken as the PG's highest issued LSN after `m` came into force. Reads may use any set now.
 */
export function joinReplace(m: Membership, barrier: Lsn): Membership {
  if (m.state !== 'both') throw refuse(`join in state ${m.state}`);
  return { epoch: m.epoch + 1, state: 'joined', sets: m.sets, barrier };
}

/**
 * Ends the replacement that brings `into` in, or all of them: the replaced node leaves. Only from
 * "joined".
 */
export function finishReplace(m: Membership, into?: NodeId): Membership {
  if (m.state !== 'joined') throw refuse(`finish in state ${m.state}`);
  if (into === undefined) return narrowed(m, m.sets.slice(-1));
  return narrowed(m, m.sets.filter(comesIn(m, into)));
}

/** Takes back the replacement that brings `into` in, or all of them. */
export function revertReplace(m: Membership, into?: NodeId): Membership {
  if (m.state === 'stable') throw refuse('nothing to take back');
  if (into === undefined) return narrowed(m, m.sets.slice(0, 1));
  const has = comesIn(m, into);
  return narrowed(
    m,
    m.sets.filter((set) => !has(set)),
  );
}

function comesIn(m: Membership, into: NodeId): (set: readonly NodeId[]) => boolean {
  const has = (set: readonly NodeId[]): boolean => set.includes(into);
  if (has(m.sets[0]) || !m.sets.some(has)) throw refuse(`${into} is not coming in`);
  return has;
}

function narrowed(m: Membership, sets: readonly (readonly NodeId[])[]): Membership {
  const epoch = m.epoch + 1;
  if (sets.length === 1) return { epoch, state: 'stable', sets };
  if (m.barrier === undefined) return { epoch, state: m.state, sets };
  return { epoch, state: m.state, sets, barrier: m.barrier };
}
