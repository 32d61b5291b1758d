/** What a clerk knows of the lock groups: who serves each, in which epoch, and which rebuild it has answered. */
import { LOCK_GROUPS } from '../protocol/messages.js';
import type { GroupMap } from '../protocol/messages.js';

export class GroupView {
  /** Raft index of the newest map seen. */
  version = -1;
  readonly #owners: (string | null)[] = Array.from({ length: LOCK_GROUPS }, () => null);
  readonly #epochs: number[] = Array.from({ length: LOCK_GROUPS }, () => 0);
  /** Grants of older epochs are refused (rule 4). */
  readonly #answered: number[] = Array.from({ length: LOCK_GROUPS }, () => 0);

  /** The map that the clerk was opened with: it has nothing of older epochs. */
  start(map: GroupMap): void {
    this.take(map);
    for (let group = 0; group < LOCK_GROUPS; group++) this.#answered[group] = this.epoch(group);
  }

  /** Groups that another server serves now, or the same one in a new epoch. */
  take(map: GroupMap): number[] {
    const changed: number[] = [];
    if (map.version <= this.version) return changed;
    this.version = map.version;
    for (let group = 0; group < LOCK_GROUPS; group++) {
      const now = map.groups[group];
      if (now === undefined || now.epoch < this.epoch(group)) continue;
      if (now.epoch === this.epoch(group) && now.owner === this.owner(group)) continue;
      this.#owners[group] = now.owner;
      this.#epochs[group] = now.epoch;
      if (now.owner !== null) changed.push(group);
    }
    return changed;
  }

  /** A server asks what the clerk holds in a group. False: it speaks of an epoch that is over. */
  rebuild(server: string, group: number, epoch: number): boolean {
    if (epoch < this.answered(group) || epoch < this.epoch(group)) return false;
    this.#owners[group] = server;
    this.#epochs[group] = epoch;
    this.#answered[group] = epoch;
    return true;
  }

  owns(server: string): boolean {
    return this.#owners.includes(server);
  }

  /** Some group has no owner just now. */
  get moving(): boolean {
    return this.#owners.includes(null);
  }

  /** null while the group moves. */
  owner(group: number): string | null {
    return this.#owners[group] ?? null;
  }

  epoch(group: number): number {
    return this.#epochs[group] ?? 0;
  }

  answered(group: number): number {
    return this.#answered[group] ?? 0;
  }
}
