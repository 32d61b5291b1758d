/**
 * Clerks in the replicated state: tokens, slots, recovery.
 *
 * ```
 *            open                expire (recovery)         fenced              recovered
 *   (none) --------> live ------------------------> expired ------> fenced ------------> (forgotten)
 *                     | close, or expire without recovery                                    ^
 *                     '----------------------------------------------------------------------'
 * ```
 *
 * - LOCK-2 Tokens only grow: the next one is above every one that was ever given out, and none comes to life again.
 * - LOCK-8 One demon at a time recovers a dead clerk; another takes over only when the first is fenced or has closed
 *   (rule 16). `attempt` grows with each, and steps of an older attempt are refused.
 * - Of a kind with recovery, two clerks that are not forgotten never have the same slot.
 */
import { assert } from '#core/assert.js';
import type { RecoveryTask } from '../protocol/messages.js';
import type { Command, Refusal } from './commands.js';
import { refusal } from './commands.js';
import type { StateFaults } from './faults.js';

export const CLERKS_MAX = 10_000;
export const SLOTS = 256;
/** One for each clerk that ever died; a bound that only a bug or an attack meets. */
export const FENCES_MAX = 100_000;
const COUNTER_RANGE = 2 ** 32;
/** Generations beyond it would make tokens that are no exact numbers. */
export const GENERATION_MAX = 2 ** 21 - 1;

export interface ClerkEntry {
  readonly token: number;
  readonly name: string;
  readonly kind: string;
  readonly recovery: boolean;
  readonly leaseMs: number;
  readonly nonce: string;
  readonly slot: number;
  /** Raft index of its open: a group assigned below it has nothing of it to rebuild. */
  readonly openedAt: number;
  state: 'live' | 'expired' | 'fenced';
  /** Token of who recovers it; 0: nobody yet. */
  demon: number;
  attempt: number;
}

export interface ClerksSnapshot {
  readonly generation: number;
  readonly counter: number;
  readonly fenceEpoch: number;
  readonly fenced: readonly number[];
  readonly clerks: readonly ClerkEntry[];
}

type Open = Extract<Command, { do: 'open' }>;

export class Clerks {
  /** 0: no token was given out yet, and none may be. */
  generation = 0;
  fenceEpoch = 0;
  /** All that were ever fenced: nothing of theirs may take effect, for ever. */
  fenced: number[] = [];
  /** In the order of their tokens, unless a fault is planted. */
  readonly byToken = new Map<number, ClerkEntry>();
  /** Tells of each clerk that opened, changed its state or went. */
  onChange: (token: number) => void = () => undefined;
  #counter = 0;
  readonly #faults: StateFaults;

  constructor(faults: StateFaults) {
    this.#faults = faults;
  }

  /** The last token that was given out; 0 before the first. */
  get newestToken(): number {
    return this.#counter === 0 ? 0 : this.generation * COUNTER_RANGE + this.#counter;
  }

  begin(generation: number): Refusal | undefined {
    if (this.generation !== 0) return refusal('EXISTS', `generation is ${this.generation}`);
    if (!Number.isInteger(generation) || generation < 1 || generation > GENERATION_MAX) {
      return refusal('OUT_OF_RANGE', `generation ${generation} is not 1 to ${GENERATION_MAX}`);
    }
    this.generation = generation;
    return undefined;
  }

  /** A repeated open (same nonce) finds the clerk that it made. */
  open(index: number, command: Open): ClerkEntry | Refusal {
    if (this.generation === 0) return refusal('NOT_READY', 'no generation of tokens yet');
    for (const clerk of this.byToken.values()) {
      if (clerk.nonce !== command.nonce) continue;
      if (clerk.state === 'live') return clerk;
      return refusal('FENCED', `clerk ${clerk.token} has expired`);
    }
    if (this.byToken.size >= CLERKS_MAX) {
      return refusal('OVERLOADED', `there are ${CLERKS_MAX} clerks already`);
    }
    const slot = command.recovery ? this.#freeSlot(command.kind) : -1;
    if (slot === undefined) {
      return refusal('OVERLOADED', `all ${SLOTS} log slots of ${command.kind} are in use`);
    }
    if (command.recovery && this.fenced.length + this.byToken.size >= FENCES_MAX) {
      return refusal('OVERLOADED', `${FENCES_MAX} fences are the most there can be`);
    }
    const { name, kind, recovery, leaseMs, nonce } = command;
    const token = this.#takeToken();
    const clerk: ClerkEntry = {
      token,
      name,
      kind,
      recovery,
      leaseMs,
      nonce,
      slot,
      openedAt: index,
      state: 'live',
      demon: 0,
      attempt: 0,
    };
    this.byToken.set(token, clerk);
    this.onChange(token);
    this.#assignDemons();
    return clerk;
  }

  close(token: number): Refusal | undefined {
    const clerk = this.byToken.get(token);
    if (clerk === undefined || clerk.state !== 'live') return this.notLive(token);
    this.#forget(clerk);
    this.#freeTasksOf(token);
    this.#assignDemons();
    return undefined;
  }

  expire(token: number): Refusal | undefined {
    const clerk = this.byToken.get(token);
    if (clerk === undefined || clerk.state !== 'live') return this.notLive(token);
    if (!clerk.recovery) {
      this.#forget(clerk);
      return undefined;
    }
    clerk.state = 'expired';
    this.onChange(token);
    if (this.#faults.unfencedDemon === true) this.#freeTasksOf(token);
    this.#assignDemons();
    return undefined;
  }

  /** Only with `reviveLapsed` planted. */
  revive(token: number): Refusal | undefined {
    const clerk = this.byToken.get(token);
    if (clerk === undefined || this.#faults.reviveLapsed !== true) return this.notLive(token);
    clerk.state = 'live';
    this.onChange(token);
    return undefined;
  }

  /** A repeated step is answered as before. */
  recoveryStep(
    step: 'fenced' | 'recovered',
    demon: number,
    dead: number,
    attempt: number,
  ): Refusal | undefined {
    const clerk = this.byToken.get(dead);
    const recoverer = this.byToken.get(demon);
    if (recoverer === undefined || recoverer.state !== 'live') return this.notLive(demon);
    if (clerk === undefined) {
      if (step === 'recovered' && this.fenced.includes(dead)) return undefined;
      return refusal('NOT_FOUND', `clerk ${dead} is not there to be recovered`);
    }
    if (clerk.demon !== demon || clerk.attempt !== attempt) {
      return refusal('FENCED', `the recovery of ${dead} is another's: attempt ${clerk.attempt}`);
    }
    if (step === 'fenced') {
      if (clerk.state === 'expired') this.#fence(clerk);
      return undefined;
    }
    if (clerk.state !== 'fenced') {
      return refusal('CONFLICT', `clerk ${dead} is ${clerk.state}: fence it first`);
    }
    this.#forget(clerk);
    return undefined;
  }

  /** What a live clerk is to recover now. */
  tasksOf(demon: number): RecoveryTask[] {
    const tasks: RecoveryTask[] = [];
    for (const clerk of this.byToken.values()) {
      if (clerk.demon !== demon || clerk.state === 'live') continue;
      const { token, name, kind, slot, attempt, state } = clerk;
      tasks.push({ dead: token, name, kind, slot, attempt, state });
    }
    return tasks;
  }

  notLive(token: number): Refusal {
    const state = this.byToken.get(token)?.state;
    if (state !== undefined) return refusal('FENCED', `clerk ${token} is ${state}`);
    if (token > this.newestToken) return refusal('FENCED', `token ${token} was never given out`);
    return refusal('FENCED', `token ${token} is over`);
  }

  toSnapshot(): ClerksSnapshot {
    return {
      generation: this.generation,
      counter: this.#counter,
      fenceEpoch: this.fenceEpoch,
      fenced: this.fenced,
      clerks: [...this.byToken.values()],
    };
  }

  restore(snapshot: ClerksSnapshot): void {
    const gone = [...this.byToken.keys()];
    this.byToken.clear();
    this.generation = snapshot.generation;
    this.#counter = snapshot.counter;
    this.fenceEpoch = snapshot.fenceEpoch;
    this.fenced = [...snapshot.fenced];
    for (const clerk of snapshot.clerks) this.byToken.set(clerk.token, { ...clerk });
    for (const token of gone) this.onChange(token);
    for (const token of this.byToken.keys()) this.onChange(token);
  }

  #takeToken(): number {
    if (this.#faults.tokenReuse === true) {
      const base = this.generation * COUNTER_RANGE;
      for (let counter = 1; counter <= this.#counter; counter++) {
        if (!this.byToken.has(base + counter)) return base + counter;
      }
    }
    this.#counter++;
    assert(this.#counter < COUNTER_RANGE, 'tokens of a generation are used up');
    return this.newestToken;
  }

  #freeSlot(kind: string): number | undefined {
    const taken = new Uint8Array(SLOTS);
    for (const clerk of this.byToken.values()) {
      if (clerk.kind === kind && clerk.slot >= 0) taken[clerk.slot] = 1;
    }
    const free = taken.indexOf(0);
    return free < 0 ? undefined : free;
  }

  #fence(clerk: ClerkEntry): void {
    clerk.state = 'fenced';
    this.fenceEpoch++;
    this.fenced.push(clerk.token);
    this.onChange(clerk.token);
    this.#freeTasksOf(clerk.token);
    this.#assignDemons();
  }

  #forget(clerk: ClerkEntry): void {
    this.byToken.delete(clerk.token);
    this.onChange(clerk.token);
  }

  /** Its tasks are another's to do, now that nothing of it can take effect. */
  #freeTasksOf(demon: number): void {
    for (const clerk of this.byToken.values()) if (clerk.demon === demon) clerk.demon = 0;
  }

  /** Each dead clerk without a demon gets the live one of its kind that has the least to do. */
  #assignDemons(): void {
    for (const dead of this.byToken.values()) {
      if (dead.state === 'live' || dead.demon !== 0) continue;
      const demon = this.#leastBusy(dead.kind);
      if (demon === 0) continue;
      dead.demon = demon;
      dead.attempt++;
    }
  }

  #leastBusy(kind: string): number {
    const tasks = new Map<number, number>();
    for (const clerk of this.byToken.values()) {
      if (clerk.state === 'live' && clerk.recovery && clerk.kind === kind)
        tasks.set(clerk.token, 0);
    }
    for (const clerk of this.byToken.values()) {
      const count = tasks.get(clerk.demon);
      if (count !== undefined) tasks.set(clerk.demon, count + 1);
    }
    let best = 0;
    let least = Infinity;
    for (const [token, count] of tasks) {
      if (count < least) {
        best = token;
        least = count;
      }
    }
    return best;
  }
}
