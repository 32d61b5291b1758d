/**
 * What the leader of the Raft group alone knows: until when each lease runs, on its own monotonic clock.
 *
 * ```
 *   became leader     every clerk and server: a full period from now (rule 6)
 *   RENEW, BEAT       a full period from when the request came in; answered only after a read-index round that began
 *                     after that, so that no other leader can have begun to count meanwhile
 *   repeated          an OPEN or a server's first BEAT whose answer was lost is a renewal: who sent it counts from the last one
 *   ran out + margin  propose that it is over; from then on no renewal, whatever becomes of the proposal
 *   EXPEL             no renewal any more: it ends when it ends
 * ```
 *
 * Who holds the lease counts it from when it *sent* the request, which is earlier, and stops a margin before its end; clocks
 * may drift from each other by 5% of a lease.
 *
 * - LOCK-9 A lease that was answered ends at its holder before it ends here.
 */
import type { StateFaults } from '../state/faults.js';

/** Waited for beyond the end of a lease. */
const DRIFT = 0.05;
const DRIFT_MS = 50;

export interface LeaseOf<Id> {
  readonly id: Id;
  readonly leaseMs: number;
}

class Lease {
  readonly leaseMs: number;
  endsAtMs: number;
  expelled: string | undefined;
  ending = false;

  constructor(leaseMs: number, endsAtMs: number) {
    this.leaseMs = leaseMs;
    this.endsAtMs = endsAtMs;
  }

  get overAtMs(): number {
    return this.endsAtMs + this.leaseMs * DRIFT + DRIFT_MS;
  }
}

/** Leases of one sort of holders: clerks by token, or lock servers by id. */
export class LeaseKeeper<Id> {
  readonly #leases = new Map<Id, Lease>();
  readonly #faults: StateFaults;
  /** No lease is over before it; renewals only push ends out. */
  #nextMs = Infinity;

  constructor(faults: StateFaults) {
    this.#faults = faults;
  }

  /** This member became leader: nobody's lease can end before a full period has passed. */
  lead(holders: Iterable<LeaseOf<Id>>, nowMs: number): void {
    this.#leases.clear();
    this.#nextMs = Infinity;
    for (const { id, leaseMs } of holders) {
      const endsAtMs =
        this.#faults.noLeaseExtension === true ? nowMs - 2 * leaseMs : nowMs + leaseMs;
      this.#add(id, new Lease(leaseMs, endsAtMs));
    }
  }

  /** It is leader no more: what it knew is worth nothing. */
  follow(): void {
    this.#leases.clear();
    this.#nextMs = Infinity;
  }

  /** A holder that is new, or new as a process. Never earlier than it was told before (LOCK-9). */
  grant(id: Id, leaseMs: number, nowMs: number): void {
    const endsAtMs = Math.max(this.#leases.get(id)?.endsAtMs ?? 0, nowMs + leaseMs);
    this.#add(id, new Lease(leaseMs, endsAtMs));
  }

  forget(id: Id): void {
    this.#leases.delete(id);
  }

  /**
   * Extends the lease to a period from `nowMs`, when the request came in. Answers how long it is; undefined when it cannot be
   * renewed: unknown here, expelled, or already proposed to be over.
   */
  renew(id: Id, nowMs: number): number | undefined {
    const lease = this.#leases.get(id);
    if (lease === undefined || !this.renewable(id)) return undefined;
    lease.endsAtMs = Math.max(lease.endsAtMs, nowMs + lease.leaseMs);
    return lease.leaseMs;
  }

  renewable(id: Id): boolean {
    const lease = this.#leases.get(id);
    return lease !== undefined && !lease.ending && lease.expelled === undefined;
  }

  /** False: no such lease, or it was expelled before. */
  expel(id: Id, why: string): boolean {
    const lease = this.#leases.get(id);
    if (lease === undefined || lease.expelled !== undefined) return false;
    lease.expelled = why;
    return true;
  }

  expelledFor(id: Id): string | undefined {
    return this.#leases.get(id)?.expelled;
  }

  /** Milliseconds until its end; undefined when there is none. */
  leftMs(id: Id, nowMs: number): number | undefined {
    const lease = this.#leases.get(id);
    return lease === undefined ? undefined : Math.max(0, lease.endsAtMs - nowMs);
  }

  /** When to ask `due` next. */
  get nextMs(): number {
    return this.#nextMs;
  }

  /** Leases that are over, each told once: propose it, and say `again` when that did not work out. */
  due(nowMs: number): Id[] {
    if (nowMs < this.#nextMs) return [];
    const over: Id[] = [];
    let next = Infinity;
    for (const [id, lease] of this.#leases) {
      if (lease.ending) continue;
      if (lease.overAtMs > nowMs) {
        next = Math.min(next, lease.overAtMs);
        continue;
      }
      lease.ending = true;
      over.push(id);
    }
    this.#nextMs = next;
    return over;
  }

  /** The proposal was not taken: it is due again. It stays unrenewable, as nobody knows the proposal's fate. */
  again(id: Id): void {
    const lease = this.#leases.get(id);
    if (lease === undefined) return;
    lease.ending = false;
    lease.expelled ??= 'its lease has ended';
    this.#nextMs = 0;
  }

  #add(id: Id, lease: Lease): void {
    this.#leases.set(id, lease);
    this.#nextMs = Math.min(this.#nextMs, lease.overAtMs);
  }
}
