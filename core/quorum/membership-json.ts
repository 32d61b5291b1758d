/**
 * Reads a `Membership` from JSON, which came from a register or a wire, and checks that it is one that
 * the steps of quorum-set.ts can make: 1, 2 or 4 sets of six different nodes, where set i is sets[0]
 * with the replacements of the bits of i made; stable with one set, else not; a barrier exactly in
 * "joined".
 */
import { SextantError } from '../errors.js';
import { toLsn, toNodeId, type NodeId } from '../ids.js';
import { COPIES, type Membership } from './quorum-set.js';

function corrupt(what: string, cause?: unknown): SextantError {
  return new SextantError('CORRUPTION', `membership: ${what}`, { cause });
}

/** Throws CORRUPTION. Fields that it does not know are dropped. */
export function parseMembership(value: unknown): Membership {
  if (typeof value !== 'object' || value === null) throw corrupt('not an object');
  const { epoch, state, sets, barrier }: Record<string, unknown> = { ...value };
  if (typeof epoch !== 'number' || !Number.isInteger(epoch) || epoch < 1 || epoch > 0xffff_ffff) {
    throw corrupt('epoch is not a u32 from 1');
  }
  if (state !== 'stable' && state !== 'both' && state !== 'joined') throw corrupt('unknown state');
  if (!Array.isArray(sets)) throw corrupt('sets is not a list');
  const parsed = sets.map(parseSet);
  checkShape(parsed);
  if ((state === 'stable') !== (parsed.length === 1)) throw corrupt('sets do not fit the state');
  if ((state === 'joined') !== (barrier !== undefined)) throw corrupt('barrier without "joined"');
  const base: Membership = { epoch, state, sets: parsed };
  return barrier === undefined ? base : { ...base, barrier: parseBarrier(barrier) };
}

function parseBarrier(barrier: unknown): NonNullable<Membership['barrier']> {
  if (typeof barrier !== 'number') throw corrupt('barrier is not a number');
  try {
    return toLsn(barrier);
  } catch (cause) {
    throw corrupt('barrier is not an LSN', cause);
  }
}

function parseSet(set: unknown): NodeId[] {
  if (!Array.isArray(set) || set.length !== COPIES) throw corrupt('a set has six nodes');
  const nodes = set.map((node: unknown) => {
    if (typeof node !== 'string') throw corrupt('a node id is a string');
    try {
      return toNodeId(node);
    } catch (cause) {
      throw corrupt('node id', cause);
    }
  });
  if (new Set(nodes).size !== COPIES) throw corrupt('a set names a node twice');
  return nodes;
}

function checkShape(sets: readonly (readonly NodeId[])[]): void {
  if (sets.length !== 1 && sets.length !== 2 && sets.length !== 4) throw corrupt('1, 2 or 4 sets');
  const old = sets[0];
  const changedAt = new Set<number>();
  const incoming = new Set<NodeId>();
  for (let bit = 1; bit < sets.length; bit *= 2) {
    const place = old.findIndex((node, i) => node !== sets[bit][i]);
    if (place < 0 || changedAt.has(place)) throw corrupt('sets differ in no or in the same place');
    const into = sets[bit][place];
    if (old.includes(into) || incoming.has(into)) throw corrupt('a node comes in twice');
    changedAt.add(place);
    incoming.add(into);
    for (let i = 0; i < bit; i++) {
      const set = [...sets[i]];
      set[place] = into;
      if (set.some((node, at) => node !== sets[bit + i][at])) throw corrupt('sets do not combine');
    }
  }
}
