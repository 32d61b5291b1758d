/**
 * The range locks of one file: who holds what, and who waits. fcntl's two families (posix, ofd) conflict with one another;
 * flock's locks are a world of their own, as in Linux.
 */
import type { RangeRequest } from '../protocol/messages.js';
import { conflicting, withRange, without } from './range-list.js';
import type { OwnedRange, RangeType } from './range-list.js';

export type RangeFamily = RangeRequest['family'];

/** How many ranges a clerk holds. */
export interface RangeTally {
  ranges: number;
}

/** A process (posix) or an open file (ofd, flock) of one clerk. */
export class RangeOwner {
  readonly key: string;
  readonly token: number;
  readonly family: RangeFamily;
  readonly name: string;
  /** How many ranges it holds, in all files. */
  ranges = 0;
  readonly files = new Set<FileRanges>();
  readonly waits = new Set<RangeWait>();
  readonly tally: RangeTally;

  constructor(key: string, token: number, family: RangeFamily, name: string, tally: RangeTally) {
    this.key = key;
    this.token = token;
    this.family = family;
    this.name = name;
    this.tally = tally;
  }
}

/** A call that is not answered yet. */
export interface RangeWait {
  readonly owner: RangeOwner;
  readonly file: FileRanges;
  readonly request: number;
  readonly type: RangeType;
  readonly start: bigint;
  readonly end: bigint;
  readonly pid: number;
  readonly sinceMs: number;
  /** `set` waits for the lock; the other two only for the group to open, and are then answered at once. */
  readonly until: 'granted' | 'tried' | 'tested';
}

export interface Blocker {
  readonly owner: RangeOwner;
  readonly range: OwnedRange;
}

const NOTHING: readonly OwnedRange[] = [];

export class FileRanges {
  readonly group: number;
  readonly table: number;
  readonly idHigh: number;
  readonly idLow: number;
  /** In order of arrival. */
  readonly waits = new Set<RangeWait>();
  readonly #fcntl = new Map<RangeOwner, readonly OwnedRange[]>();
  readonly #flock = new Map<RangeOwner, readonly OwnedRange[]>();
  /** Calls that had to wait. */
  waited = 0;

  constructor(group: number, table: number, idHigh: number, idLow: number) {
    this.group = group;
    this.table = table;
    this.idHigh = idHigh;
    this.idLow = idLow;
  }

  get unused(): boolean {
    return this.#fcntl.size === 0 && this.#flock.size === 0 && this.waits.size === 0;
  }

  of(owner: RangeOwner): readonly OwnedRange[] {
    return this.#space(owner.family).get(owner) ?? NOTHING;
  }

  /** The owner's list with `range` set. */
  set(owner: RangeOwner, range: OwnedRange): void {
    this.#replace(owner, withRange(this.of(owner), range));
  }

  unset(owner: RangeOwner, start: bigint, end: bigint): void {
    this.#replace(owner, without(this.of(owner), start, end));
  }

  /** All locks of other owners in the way of this one; the lowest byte of each. */
  *blockers(
    owner: RangeOwner,
    type: RangeType,
    start: bigint,
    end: bigint,
  ): Generator<Blocker, undefined> {
    for (const [other, list] of this.#space(owner.family)) {
      if (other === owner) continue;
      const range = conflicting(list, type, start, end);
      if (range !== undefined) yield { owner: other, range };
    }
    return undefined;
  }

  /** The lowest of them. */
  firstBlocker(
    owner: RangeOwner,
    type: RangeType,
    start: bigint,
    end: bigint,
  ): Blocker | undefined {
    let first: Blocker | undefined;
    for (const blocker of this.blockers(owner, type, start, end)) {
      if (first === undefined || blocker.range.start < first.range.start) first = blocker;
    }
    return first;
  }

  *holders(): Generator<Blocker, undefined> {
    for (const space of [this.#fcntl, this.#flock]) {
      for (const [owner, list] of space) for (const range of list) yield { owner, range };
    }
    return undefined;
  }

  #space(family: RangeFamily): Map<RangeOwner, readonly OwnedRange[]> {
    return family === 'flock' ? this.#flock : this.#fcntl;
  }

  #replace(owner: RangeOwner, list: readonly OwnedRange[]): void {
    const space = this.#space(owner.family);
    const more = list.length - this.of(owner).length;
    owner.ranges += more;
    owner.tally.ranges += more;
    if (list.length > 0) {
      space.set(owner, list);
      owner.files.add(this);
    } else {
      space.delete(owner);
      owner.files.delete(this);
    }
  }
}
