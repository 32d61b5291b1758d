/**
 * What clerks believe to hold, over all clerks, at one virtual moment.
 *
 * - LOCK-1 Two clerks, or two users of one, never both believe to hold conflicting locks. A belief is a handle that says that it is valid, by the
 *   clock of its own process, whether that runs, stands still, or is cut off. Handles only become invalid by themselves, so
 *   it is enough to look whenever one is taken.
 * - LOCK-2 What a clerk with recovery held alone when it died, or when its lease ended, nobody gets before its recovery is
 *   done. What it held shared it has not changed: a group that is rebuilt from the claims of others need not know of it.
 */
import { conflicts, type LockMode } from '#tests/linearizability/locks.js';
import { Violation } from '../../violation.js';

/** Of what a belief is. */
export interface Holder {
  readonly name: string;
  readonly token: number;
  readonly recovery: boolean;
  /** Its lease is over, as it knows itself. */
  readonly isLost: boolean;
}

export interface Belief {
  readonly holder: Holder;
  readonly key: string;
  mode: LockMode;
  readonly isValid: () => boolean;
}

export class Beliefs {
  readonly #byKey = new Map<string, Set<Belief>>();
  /** Of clerks that are no more: what they held then. */
  readonly #orphaned = new Map<string, Set<Belief>>();
  readonly #recovered = new Set<number>();

  take(belief: Belief): void {
    const { key } = belief;
    for (const other of this.#byKey.get(key) ?? []) this.#checkAgainst(belief, other);
    for (const other of this.#orphaned.get(key) ?? []) {
      if (this.#recovered.has(other.holder.token)) this.#orphaned.get(key)?.delete(other);
      else if (conflicts(other.mode, belief.mode)) throw unrecovered(belief, other);
    }
    put(this.#byKey, belief);
  }

  #checkAgainst(belief: Belief, other: Belief): void {
    if (!conflicts(other.mode, belief.mode)) return;
    if (other.isValid()) {
      throw new Violation(
        'LOCK-1',
        `${describe(belief)} was granted while ${describe(other)} is believed to hold`,
      );
    }
    const { recovery, isLost, token } = other.holder;
    if (recovery && isLost && isAlone(other.mode) && !this.#recovered.has(token)) {
      throw unrecovered(belief, other);
    }
  }

  giveBack(belief: Belief): void {
    this.#byKey.get(belief.key)?.delete(belief);
  }

  /** The process of the clerk is gone. */
  died(holder: Holder): void {
    for (const beliefs of this.#byKey.values()) {
      for (const belief of beliefs) {
        if (belief.holder !== holder) continue;
        beliefs.delete(belief);
        if (holder.recovery && isAlone(belief.mode)) put(this.#orphaned, belief);
      }
    }
  }

  /** A demon says that the recovery is done: from now on what the dead clerk held may be granted. */
  recovered(token: number): void {
    this.#recovered.add(token);
  }

  /** What valid handles there are. */
  count(): number {
    let count = 0;
    for (const beliefs of this.#byKey.values()) {
      for (const belief of beliefs) if (belief.isValid()) count++;
    }
    return count;
  }
}

const isAlone = (mode: LockMode): boolean => mode === 'exclusive' || mode === 'destroy';

function put(map: Map<string, Set<Belief>>, belief: Belief): void {
  const set = map.get(belief.key);
  if (set === undefined) map.set(belief.key, new Set([belief]));
  else set.add(belief);
}

function describe({ holder, key, mode }: Belief): string {
  return `${mode} ${key} of ${holder.name} (token ${holder.token})`;
}

function unrecovered(belief: Belief, other: Belief): Violation {
  return new Violation(
    'LOCK-2',
    `${describe(belief)} was granted; ${describe(other)} died with it and is not recovered`,
  );
}

/** LOCK-2: a token that is asked for after another was given out is larger; none is given out twice. */
export class Tokens {
  readonly #given = new Set<number>();
  #largest = 0;

  get count(): number {
    return this.#given.size;
  }

  /** Before the clerk is opened; hand what it returns to `opened`. */
  begin(): number {
    return this.#largest;
  }

  opened(token: number, largestAtBegin: number): void {
    if (this.#given.has(token)) throw new Violation('LOCK-2', `token ${token} was given out twice`);
    if (token <= largestAtBegin) {
      throw new Violation('LOCK-2', `token ${token} was given out after ${largestAtBegin}`);
    }
    this.#given.add(token);
    this.#largest = Math.max(this.#largest, token);
  }
}
