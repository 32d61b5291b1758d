/**
 * Lock servers and lock groups in the replicated state.
 *
 * ```
 *                begin-move                    gave-up, server-down,
 *                                              server-up of a new incarnation
 *   owned by S --------------> S is to give up ------------------------------> free
 *       ^                                                                       |
 *       '----------------------------- assign: epoch + 1 -----------------------'
 * ```
 *
 * - LOCK-7 A group goes from one owner to another only through `free`: the old one has given it up, has lost its lease,
 *   or is a process that no longer is (rule 4). Each owner has an epoch of its own, and epochs only grow.
 */
import type { GroupMap } from '../protocol/messages.js';
import { LOCK_GROUPS } from '../protocol/messages.js';
import type { Command, GroupEpoch, Refusal } from './commands.js';
import { refusal } from './commands.js';
import type { StateFaults } from './faults.js';

export const SERVERS_MAX = 64;

export interface ServerEntry {
  readonly id: string;
  address: string;
  incarnation: string;
  up: boolean;
  draining: boolean;
}

export interface GroupEntry {
  owner: string | null;
  /** Who is to give it up; then it has no owner. */
  from: string | null;
  epoch: number;
  /** Raft index of the entry that gave it to its owner. */
  assignedAt: number;
}

export interface GroupsSnapshot {
  readonly version: number;
  readonly servers: readonly ServerEntry[];
  readonly groups: readonly GroupEntry[];
}

export interface MovePlan {
  readonly begin: readonly GroupEpoch[];
  readonly assign: readonly (GroupEpoch & { readonly to: string })[];
}

export class Groups {
  readonly servers = new Map<string, ServerEntry>();
  readonly groups: GroupEntry[] = [];
  /** Raft index of the last entry that changed anything here. */
  version = 0;
  onChange: (group: number) => void = () => undefined;
  #map: GroupMap | undefined;
  readonly #faults: StateFaults;

  constructor(faults: StateFaults) {
    this.#faults = faults;
    for (let i = 0; i < LOCK_GROUPS; i++) {
      this.groups.push({ owner: null, from: null, epoch: 0, assignedAt: 0 });
    }
  }

  map(): GroupMap {
    this.#map ??= {
      version: this.version,
      // Those that are down too: a clerk that forgot them would not find them again when they alone are left.
      servers: [...this.servers.values()].map(({ id, address }) => ({ id, address })),
      groups: this.groups.map(({ owner, epoch }) => ({ owner, epoch })),
    };
    return this.#map;
  }

  serverUp(index: number, command: Extract<Command, { do: 'server-up' }>): Refusal | undefined {
    const { id, address, incarnation } = command;
    const known = this.servers.get(id);
    if (known === undefined && this.servers.size >= SERVERS_MAX) {
      return refusal('OVERLOADED', `there are ${SERVERS_MAX} lock servers already`);
    }
    const reborn = known !== undefined && known.incarnation !== incarnation;
    const draining = known !== undefined && known.draining && !reborn;
    this.servers.set(id, { id, address, incarnation, up: true, draining });
    if (reborn) {
      for (const [number, group] of this.groups.entries()) {
        if (group.from === id) group.from = null;
        if (group.owner === id) this.#give(index, number, id);
      }
    }
    this.#changed(index);
    return undefined;
  }

  /** Its lease is over, so that it serves nothing. */
  serverDown(index: number, id: string, incarnation: string): Refusal | undefined {
    const server = this.servers.get(id);
    if (server === undefined) return refusal('NOT_FOUND', `no lock server ${id}`);
    if (server.incarnation !== incarnation) {
      return refusal('CONFLICT', `lock server ${id} has started anew`);
    }
    server.up = false;
    this.#freeGroupsOf(id);
    this.#changed(index);
    return undefined;
  }

  drain(index: number, id: string): Refusal | undefined {
    const server = this.servers.get(id);
    if (server === undefined) return refusal('NOT_FOUND', `no lock server ${id}`);
    server.draining = true;
    this.#changed(index);
    return undefined;
  }

  forget(index: number, id: string): Refusal | undefined {
    if (this.groups.some((group) => group.owner === id || group.from === id)) {
      return refusal('CONFLICT', `lock server ${id} still has groups`);
    }
    this.servers.delete(id);
    this.#changed(index);
    return undefined;
  }

  beginMove(index: number, moves: readonly GroupEpoch[]): void {
    for (const { group: number, epoch } of moves) {
      const group = this.groups[number];
      if (group === undefined || group.owner === null || group.epoch !== epoch) continue;
      group.from = this.#faults.onePhaseMoves === true ? null : group.owner;
      group.owner = null;
      this.onChange(number);
    }
    this.#changed(index);
  }

  gaveUp(index: number, id: string, given: readonly GroupEpoch[]): void {
    for (const { group: number, epoch } of given) {
      const group = this.groups[number];
      if (group === undefined || group.from !== id || group.epoch !== epoch) continue;
      group.from = null;
      this.onChange(number);
    }
    this.#changed(index);
  }

  assign(index: number, moves: readonly (GroupEpoch & { readonly to: string })[]): void {
    for (const { group: number, epoch, to } of moves) {
      const group = this.groups[number];
      if (group === undefined || group.owner !== null || group.from !== null) continue;
      if (group.epoch !== epoch || this.servers.get(to)?.up !== true) continue;
      this.#give(index, number, to);
    }
    this.#changed(index);
  }

  toSnapshot(): GroupsSnapshot {
    return { version: this.version, servers: [...this.servers.values()], groups: this.groups };
  }

  restore(snapshot: GroupsSnapshot): void {
    this.servers.clear();
    for (const server of snapshot.servers) this.servers.set(server.id, { ...server });
    for (const [number, group] of snapshot.groups.entries()) {
      this.groups[number] = { ...group };
      this.onChange(number);
    }
    this.#changed(snapshot.version);
  }

  #give(index: number, number: number, to: string): void {
    const group = this.groups[number];
    if (group === undefined) return;
    group.owner = to;
    group.from = null;
    group.epoch++;
    group.assignedAt = index;
    this.onChange(number);
  }

  #freeGroupsOf(id: string): void {
    for (const [number, group] of this.groups.entries()) {
      if (group.owner !== id && group.from !== id) continue;
      group.owner = null;
      group.from = null;
      this.onChange(number);
    }
  }

  #changed(index: number): void {
    this.version = index;
    this.#map = undefined;
  }
}

/**
 * What to do next so that `eligible` servers share all groups evenly to within one, with as few moves as can be: free groups
 * go to who has too few, and who has too many, or may have none, is to give the surplus up.
 */
export function planMoves(state: Groups, eligible: ReadonlySet<string>): MovePlan {
  const begin: GroupEpoch[] = [];
  const assign: (GroupEpoch & { to: string })[] = [];
  const owned = new Map<string, number[]>();
  for (const id of [...eligible].toSorted()) owned.set(id, []);
  const free: number[] = [];
  for (const [number, group] of state.groups.entries()) {
    if (group.owner === null) {
      if (group.from === null) free.push(number);
      continue;
    }
    const mine = owned.get(group.owner);
    if (mine !== undefined) mine.push(number);
    else if (eligible.size > 0) begin.push({ group: number, epoch: group.epoch });
  }
  if (owned.size === 0) return { begin, assign };
  // Who has most keeps one more: sorting is stable, so that equals stand in the order of their ids.
  const servers = [...owned].toSorted(([, a], [, b]) => b.length - a.length);
  const share = Math.floor(LOCK_GROUPS / servers.length);
  const larger = LOCK_GROUPS % servers.length;
  for (const [i, [to, mine]] of servers.entries()) {
    const target = i < larger ? share + 1 : share;
    for (const number of mine.slice(target)) {
      begin.push({ group: number, epoch: state.groups[number]?.epoch ?? 0 });
    }
    for (let count = mine.length; count < target && free.length > 0; count++) {
      const number = free.shift() ?? 0;
      assign.push({ group: number, epoch: state.groups[number]?.epoch ?? 0, to });
    }
  }
  return { begin, assign };
}
