/**
 * Watches all servers of one Raft group and throws `RaftViolation` when a safety property does not hold. It knows cores, logs and
 * what was applied, and nothing of how they are run: schedules of bare cores and whole simulated nodes use the same one.
 *
 * ```ts
 * const checker = new RaftChecker();
 * checker.observe(core);                      // after everything that a server did; the cost is that of what has changed
 * checker.restarted(id);                      // before the first `observe` of another life
 * checker.applied(id, index, stateHash);      // from the state machine: a hash over its whole history
 * const from = checker.readBegins(); ... checker.readEnds(from, index);
 * checker.acknowledged(index, command);       // a proposal was answered
 * ```
 *
 * RAFT-1 to RAFT-6 as in raft-core.ts. Entries must be new objects in each log (messages went through their codec).
 */
import { crc32c } from '#core/bytes/crc32c.js';
import type { Entry } from './entry.js';

export class RaftViolation extends Error {
  readonly property: string;

  constructor(property: string, message: string) {
    super(`${property}: ${message}`);
    this.name = 'RaftViolation';
    this.property = property;
  }
}

/** What is looked at; a RaftCore is one. */
export interface RaftView {
  readonly id: string;
  readonly term: number;
  readonly role: string;
  readonly commitIndex: number;
  readonly log: {
    readonly baseIndex: number;
    readonly baseTerm: number;
    readonly lastIndex: number;
    entryAt(index: number): Entry | undefined;
    termAt(index: number): number;
  };
}

interface Known {
  readonly term: number;
  readonly hash: number;
}

interface Seen {
  term: number;
  role: string;
  commitIndex: number;
  lastIndex: number;
  /** By index. */
  entries: (Entry | undefined)[];
  applied: number;
  /** As leader of `term`: committed entries found in its log up to here. */
  complete: number;
}

function hashOf(entry: Entry): number {
  return crc32c(entry.data, entry.kind);
}

export class RaftChecker {
  /** Elections seen. */
  readonly leaders = new Map<number, string>();
  /** Highest index that is known to be committed. */
  committedIndex = 0;
  readonly #committed: ({ readonly inTerm: number } & Known)[] = [];
  readonly #entries = new Map<string, { readonly hash: number; readonly previousTerm: number }>();
  readonly #states = new Map<number, number>();
  readonly #seen = new Map<string, Seen>();

  observe(view: RaftView): void {
    let seen = this.#seen.get(view.id);
    if (seen === undefined) {
      const { commitIndex, log } = view;
      seen = {
        term: 0,
        role: '',
        commitIndex: Math.min(commitIndex, log.baseIndex),
        lastIndex: 0,
        entries: [],
        applied: -1,
        complete: 0,
      };
      this.#seen.set(view.id, seen);
    }
    if (view.term < seen.term) throw new RaftViolation('RAFT-1', `${view.id} went back a term`);
    if (view.role === 'leader') this.#leader(view, seen);
    this.#log(view, seen);
    this.#commit(view, seen);
    if (view.role === 'leader') this.#complete(view, seen);
    seen.term = view.term;
    seen.role = view.role;
  }

  restarted(id: string): void {
    this.#seen.delete(id);
  }

  /** `restored`: the state came with a snapshot instead of a command. */
  applied(id: string, index: number, stateHash: number, restored = false): void {
    const seen = this.#seen.get(id);
    if (seen !== undefined) {
      if (!restored && seen.applied >= 0 && index <= seen.applied) {
        throw new RaftViolation('RAFT-5', `${id} applied ${index} after ${seen.applied}`);
      }
      seen.applied = index;
    }
    const known = this.#states.get(index);
    if (known === undefined) this.#states.set(index, stateHash);
    else if (known !== stateHash) {
      throw new RaftViolation('RAFT-5', `${id} has another state than others at ${index}`);
    }
  }

  acknowledged(index: number, command: Uint8Array): void {
    const known = this.#committed[index];
    if (known === undefined)
      throw new RaftViolation('RAFT-4', `${index} was answered, not committed`);
    const kind = 2;
    if (known.hash !== crc32c(command, kind)) {
      throw new RaftViolation('RAFT-4', `${index} was answered for another command`);
    }
  }

  readBegins(): number {
    return this.committedIndex;
  }

  readEnds(from: number, index: number): void {
    if (index < from) {
      throw new RaftViolation('RAFT-6', `a read at ${index} misses what ${from} had committed`);
    }
  }

  #leader(view: RaftView, seen: Seen): void {
    const { id, term, log } = view;
    const other = this.leaders.get(term);
    if (other === undefined) this.leaders.set(term, id);
    else if (other !== id)
      throw new RaftViolation('RAFT-1', `${other} and ${id} lead term ${term}`);
    if (seen.role === 'leader' && seen.term === term) {
      const last = seen.lastIndex;
      const cut =
        log.lastIndex < last || (last > log.baseIndex && log.entryAt(last) !== seen.entries[last]);
      if (cut) throw new RaftViolation('RAFT-2', `${id} changed its log while it led ${term}`);
    } else {
      seen.complete = 0;
    }
  }

  /** RAFT-3, by induction over (index, term) -> (content, term of the entry before). */
  #log(view: RaftView, seen: Seen): void {
    const { log } = view;
    for (let index = log.lastIndex; index > log.baseIndex; index--) {
      const entry = log.entryAt(index);
      if (entry === undefined) throw new Error('a log has no holes');
      if (seen.entries[index] === entry) break;
      seen.entries[index] = entry;
      const previousTerm = log.termAt(index - 1);
      const key = `${index}/${entry.term}`;
      const hash = hashOf(entry);
      const known = this.#entries.get(key);
      if (known === undefined) this.#entries.set(key, { hash, previousTerm });
      else if (known.hash !== hash || known.previousTerm !== previousTerm) {
        throw new RaftViolation('RAFT-3', `${view.id} has another entry ${key} than others`);
      }
    }
    seen.entries.length = log.lastIndex + 1;
    seen.lastIndex = log.lastIndex;
  }

  #commit(view: RaftView, seen: Seen): void {
    const { id, log, commitIndex, term } = view;
    const base = this.#committed[log.baseIndex];
    if (base !== undefined && base.term !== log.baseTerm) {
      throw new RaftViolation('RAFT-5', `${id} begins behind another entry ${log.baseIndex}`);
    }
    if (commitIndex < seen.commitIndex) {
      throw new RaftViolation('RAFT-5', `${id} took back the commit of ${seen.commitIndex}`);
    }
    for (let index = seen.commitIndex + 1; index <= commitIndex; index++) {
      const entry = log.entryAt(index);
      if (entry === undefined) continue;
      const known = this.#committed[index];
      const hash = hashOf(entry);
      if (known === undefined) {
        this.#committed[index] = { term: entry.term, hash, inTerm: term };
      } else if (known.term !== entry.term || known.hash !== hash) {
        throw new RaftViolation(
          'RAFT-4',
          `${id} commits ${index} of term ${entry.term}, not ${known.term}`,
        );
      }
    }
    seen.commitIndex = commitIndex;
    this.committedIndex = Math.max(this.committedIndex, commitIndex);
  }

  /** RAFT-4: a leader has what was committed in earlier terms. */
  #complete(view: RaftView, seen: Seen): void {
    const { id, log, term } = view;
    for (let index = seen.complete + 1; index < this.#committed.length; index++) {
      const known = this.#committed[index];
      if (known !== undefined && known.inTerm >= term) return;
      seen.complete = index;
      if (known === undefined || index < log.baseIndex) continue;
      if (log.termAt(index) !== known.term) {
        const what = `${index}, committed in term ${known.inTerm}`;
        throw new RaftViolation('RAFT-4', `${id} leads term ${term} without ${what}`);
      }
    }
  }
}
