/**
 * The lock service and the truth of a simulated file layer, in one object outside of the cluster: what the model of the
 * protocol (docs/spec/Locks.tla) holds as `raft`, `server` and `ghost`.
 *
 * ```
 *   live --expire--> expired (a zombie: it goes on) --recovery begun--> --recovered--> its locks pass on
 * ```
 *
 * Every register holds a number that names the write. What a holder may read is the last value that was complete, or read,
 * or anything that its dead predecessors tried after that; what it has read is the value from then on.
 *
 * - DISK-1 A holder never reads a value older than that, nor one that was settled against.
 * - LOCK-2 Nothing of a recovered token turns up that the first read after its recovery did not show.
 * - SNAP-1 A snapshot shows, for each register, what was its value when it was taken, or a dead clerk's try of before (rule 15).
 * - FS-3 Replay of a dead clerk's log meets only versions that its records explain.
 */
import type { RegisterName, Tag } from '#fs-frontend/disk/disk.js';

export class DiskViolation extends Error {
  readonly invariant: string;

  constructor(invariant: string, what: string) {
    super(`${invariant}: ${what}`);
    this.name = 'DiskViolation';
    this.invariant = invariant;
  }
}

/** Registers under one lock. */
export interface Lockable {
  readonly id: number;
  readonly registers: readonly RegisterName[];
  /** Changes go through the log first. */
  readonly logged: boolean;
}

export interface LogRecord {
  readonly lock: Lockable;
  readonly register: number;
  readonly previous: Tag;
  readonly tag: Tag;
  readonly value: number;
}

export interface Grant {
  readonly clock: number;
  /** Deaths that were recovered so far: the lock service's own fence epoch. */
  readonly fenceEpoch: number;
}

interface Clerk {
  readonly token: number;
  state: 'live' | 'expired' | 'recovered';
  /** At its write quorum: what fsync made durable. */
  log: LogRecord[];
  demon: number;
}

class Truth {
  value = 0;
  /** What was tried since, and may yet be found. */
  tried = new Set<number>();
  /** Every value that was ever the value. */
  readonly settled = new Set<number>([0]);
}

export class Oracle {
  readonly locks: readonly Lockable[];
  readonly violations: DiskViolation[] = [];
  floor = 0;
  fenceEpoch = 0;
  writes = 0;
  reads = 0;
  recoveries = 0;
  snapshotsRead = 0;
  /** Who wants to take a snapshot: nobody begins anything (rule 15). */
  #barrier = 0;
  readonly #working = new Set<number>();
  readonly #shown = new Map<number, Map<string, ReadonlySet<number>>>();
  #nextToken = 1;
  #nextValue = 1;
  readonly #clerks = new Map<number, Clerk>();
  readonly #holders = new Map<number, number>();
  readonly #truths = new Map<string, Truth>();

  constructor(locks: readonly Lockable[]) {
    this.locks = locks;
    for (const lock of locks) {
      lock.registers.forEach((_, i) => this.#truths.set(`${lock.id}/${i}`, new Truth()));
    }
  }

  violate(invariant: string, what: string): void {
    this.violations.push(new DiskViolation(invariant, what));
  }

  newClerk(): number {
    const token = this.#nextToken++;
    this.#clerks.set(token, { token, state: 'live', log: [], demon: 0 });
    return token;
  }

  #clerk(token: number): Clerk {
    const clerk = this.#clerks.get(token);
    if (clerk === undefined) throw new Error(`no clerk ${token}`);
    return clerk;
  }

  isLive(token: number): boolean {
    return this.#clerk(token).state === 'live';
  }

  get live(): number[] {
    return [...this.#clerks.values()].filter((c) => c.state === 'live').map((c) => c.token);
  }

  get unrecovered(): number[] {
    return [...this.#clerks.values()].filter((c) => c.state === 'expired').map((c) => c.token);
  }

  /** False: there is a barrier. */
  begin(token: number): boolean {
    if (this.#barrier !== 0 && this.#barrier !== token && this.isLive(this.#barrier)) return false;
    this.#working.add(token);
    return true;
  }

  end(token: number): void {
    this.#working.delete(token);
    if (this.#barrier === token) this.#barrier = 0;
  }

  raiseBarrier(token: number): boolean {
    if (this.#barrier !== 0 && this.isLive(this.#barrier)) return false;
    this.#barrier = token;
    return true;
  }

  /** Nobody alive is at work. */
  isQuiet(token: number): boolean {
    return [...this.#working].every((other) => other === token || !this.isLive(other));
  }

  /** What a snapshot may show that is begun now and over when `took` is called. */
  freeze(token: number): { readonly took: (id: number) => void } {
    const shown = new Map<string, Set<number>>();
    const add = (): void => {
      for (const [key, truth] of this.#truths) {
        const values = shown.get(key) ?? new Set();
        for (const value of [truth.value, ...truth.tried]) values.add(value);
        shown.set(key, values);
      }
    };
    add();
    return {
      took: (id) => {
        // A barrier that its taker lost meanwhile held nobody.
        if (!this.isLive(token)) return;
        add();
        this.#shown.set(id, shown);
      },
    };
  }

  get snapshotIds(): number[] {
    return [...this.#shown.keys()];
  }

  inSnapshot(id: number, lock: Lockable, register: number, value: number): void {
    const allowed = this.#shown.get(id)?.get(`${lock.id}/${register}`);
    if (allowed?.has(value) === true) return;
    const wanted = [...(allowed ?? [])].join(' ');
    this.violate(
      'SNAP-1',
      `snapshot ${id} shows ${value} in ${lock.id}/${register}, not ${wanted}`,
    );
  }

  acquire(token: number, lock: Lockable): Grant | undefined {
    const holder = this.#holders.get(lock.id);
    if (!this.isLive(token) || (holder !== undefined && holder !== token)) return undefined;
    this.#holders.set(lock.id, token);
    return { clock: this.floor, fenceEpoch: this.fenceEpoch };
  }

  holds(token: number, lock: Lockable): boolean {
    return this.isLive(token) && this.#holders.get(lock.id) === token;
  }

  release(token: number, lock: Lockable, clock: number): void {
    if (!this.holds(token, lock)) return;
    this.floor = Math.max(this.floor, clock);
    this.#holders.delete(lock.id);
  }

  expire(token: number): void {
    const clerk = this.#clerk(token);
    if (clerk.state === 'live') clerk.state = 'expired';
  }

  /** A dead clerk for this one to recover; it is the only one at it, and another takes over only when it is recovered itself. */
  task(demon: number): { readonly token: number; readonly log: readonly LogRecord[] } | undefined {
    if (!this.isLive(demon)) return undefined;
    for (const clerk of this.#clerks.values()) {
      if (clerk.state !== 'expired' || clerk.token === demon) continue;
      const busy = clerk.demon !== 0 && this.#clerk(clerk.demon).state !== 'recovered';
      if (busy && clerk.demon !== demon) continue;
      clerk.demon = demon;
      return { token: clerk.token, log: clerk.log };
    }
    return undefined;
  }

  recovered(demon: number, token: number, clock: number): void {
    const clerk = this.#clerk(token);
    if (!this.isLive(demon) || clerk.demon !== demon || clerk.state !== 'expired') return;
    clerk.state = 'recovered';
    this.floor = Math.max(this.floor, clock);
    this.fenceEpoch++;
    this.recoveries++;
    for (const [lock, holder] of this.#holders) if (holder === token) this.#holders.delete(lock);
  }

  // -- truth ------------------------------------------------------------------------------------------

  #truth(lock: Lockable, register: number): Truth {
    const truth = this.#truths.get(`${lock.id}/${register}`);
    if (truth === undefined) throw new Error('no such register');
    return truth;
  }

  /** The next write of a register; it may take effect from now on, unless its owner was recovered. */
  attempt(token: number, lock: Lockable, register: number): number {
    const value = this.#nextValue++;
    if (this.#clerk(token).state !== 'recovered') this.#truth(lock, register).tried.add(value);
    return value;
  }

  /** The caller was told that the write is complete. */
  completed(token: number, lock: Lockable, register: number, value: number): void {
    const truth = this.#truth(lock, register);
    this.writes++;
    if (truth.settled.has(value)) return;
    if (truth.tried.has(value)) this.#settle(truth, value);
    else this.violate('DISK-1', `write ${value} of token ${token} was acknowledged, and is lost`);
  }

  /** A record of the change is durable: replay must find it. */
  synced(token: number, record: LogRecord): boolean {
    const clerk = this.#clerk(token);
    if (clerk.state !== 'live') return false;
    clerk.log.push(record);
    const truth = this.#truth(record.lock, record.register);
    this.#settle(truth, record.value);
    return true;
  }

  /** All of its log is in place. */
  freeLog(token: number): void {
    const clerk = this.#clerk(token);
    if (clerk.state === 'live') clerk.log = [];
  }

  #settle(truth: Truth, value: number): void {
    truth.value = value;
    truth.settled.add(value);
    truth.tried.clear();
  }

  /** A holder read this. */
  observed(token: number, lock: Lockable, register: number, value: number): void {
    if (!this.holds(token, lock)) return;
    this.reads++;
    const truth = this.#truth(lock, register);
    if (truth.value === value) {
      truth.tried.clear();
      return;
    }
    if (truth.tried.has(value)) {
      this.#settle(truth, value);
      return;
    }
    const what = `token ${token} read ${value} in register ${lock.id}/${register}, not ${truth.value}`;
    this.violate(truth.settled.has(value) ? 'DISK-1' : 'LOCK-2', what);
    this.#settle(truth, value);
  }
}
