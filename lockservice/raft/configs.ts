/**
 * Who is in the group, as the log says it: the last configuration entry counts from when it is appended, and falls back to
 * the one before when it is truncated.
 */
import { assert } from '#core/assert.js';
import { decodeMembers, EntryKind, type Entry, type RaftMember } from './entry.js';

interface Config {
  readonly index: number;
  readonly members: readonly RaftMember[];
}

export class Configs {
  /** Ascending; the first is that of the snapshot. */
  readonly #history: Config[];

  constructor(index: number, members: readonly RaftMember[]) {
    this.#history = [{ index, members }];
  }

  get #last(): Config {
    const last = this.#history.at(-1);
    assert(last !== undefined, 'there is always a configuration');
    return last;
  }

  get members(): readonly RaftMember[] {
    return this.#last.members;
  }

  /** Of the entry that holds the current configuration. */
  get index(): number {
    return this.#last.index;
  }

  has(id: string): boolean {
    return this.members.some((member) => member.id === id);
  }

  /** Whether more than half of the members fulfil it. */
  majority(fulfils: (id: string) => boolean): boolean {
    let count = 0;
    for (const { id } of this.members) if (fulfils(id)) count++;
    return count * 2 > this.members.length;
  }

  /** The highest value that a majority has reached. */
  majorityValue(valueOf: (id: string) => number): number {
    const values = this.members.map(({ id }) => valueOf(id)).sort((a, b) => b - a);
    return values[values.length >> 1] ?? 0;
  }

  /** Whether the server is in the configuration known to be committed, or in one after it. */
  mayLead(id: string, commitIndex: number): boolean {
    for (let i = this.#history.length - 1; i >= 0; i--) {
      const config = this.#history[i];
      if (config.members.some((member) => member.id === id)) return true;
      if (config.index <= commitIndex) return false;
    }
    return false;
  }

  /** Takes notice of an entry that was appended. */
  appended(entry: Entry): void {
    if (entry.kind !== EntryKind.config) return;
    this.#history.push({ index: entry.index, members: decodeMembers(entry.data) });
  }

  truncatedFrom(index: number): void {
    while (this.#history.length > 1 && this.#last.index >= index) this.#history.pop();
  }

  /** As of an index at or above the base. */
  at(index: number): Config {
    for (let i = this.#history.length - 1; i > 0; i--) {
      if (this.#history[i].index <= index) return this.#history[i];
    }
    return this.#history[0];
  }

  compactTo(index: number): void {
    while (this.#history.length > 1 && this.#history[1].index <= index) this.#history.shift();
  }

  reset(index: number, members: readonly RaftMember[]): void {
    this.#history.length = 0;
    this.#history.push({ index, members });
  }
}
