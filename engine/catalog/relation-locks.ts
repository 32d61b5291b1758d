/**
 * Table-level locks, held until the transaction ends (or goes back behind where it took them), in PostgreSQL's modes.
 *
 * | mode                     | taken by                                   | stands against (numbers)   |
 * |--------------------------|--------------------------------------------|----------------------------|
 * | 0 ACCESS SHARE           | SELECT                                     | 7                          |
 * | 1 ROW SHARE              | SELECT FOR UPDATE                          | 6 7                        |
 * | 2 ROW EXCLUSIVE          | INSERT, UPDATE, DELETE, COPY FROM          | 4 5 6 7                    |
 * | 3 SHARE UPDATE EXCLUSIVE | VACUUM, ANALYZE, COMMENT                   | 3 4 5 6 7                  |
 * | 4 SHARE                  | CREATE INDEX                               | 2 3 5 6 7                  |
 * | 5 SHARE ROW EXCLUSIVE    | ADD FOREIGN KEY                            | 2 3 4 5 6 7                |
 * | 6 EXCLUSIVE              | LOCK TABLE                                 | 1 2 3 4 5 6 7              |
 * | 7 ACCESS EXCLUSIVE       | DROP, ALTER, TRUNCATE                      | 0 1 2 3 4 5 6 7            |
 *
 * Names are locked, too, by whoever makes or removes an object of that name: what PostgreSQL's unique index on
 * pg_class does.
 */
import { type HeldLockInfo, LockSpace } from '../txn/lock-space.js';
import type { Transaction } from '../txn/transaction.js';

export const ACCESS_SHARE = 0;
export const ROW_SHARE = 1;
export const ROW_EXCLUSIVE = 2;
export const SHARE_UPDATE_EXCLUSIVE = 3;
export const SHARE = 4;
export const SHARE_ROW_EXCLUSIVE = 5;
export const EXCLUSIVE = 6;
export const ACCESS_EXCLUSIVE = 7;

const CONFLICTS = [
  0b1000_0000, 0b1100_0000, 0b1111_0000, 0b1111_1000, 0b1110_1100, 0b1111_1100, 0b1111_1110,
  0b1111_1111,
];

export const LOCK_MODE_NAMES = [
  'AccessShareLock',
  'RowShareLock',
  'RowExclusiveLock',
  'ShareUpdateExclusiveLock',
  'ShareLock',
  'ShareRowExclusiveLock',
  'ExclusiveLock',
  'AccessExclusiveLock',
] as const;

export class RelationLocks {
  readonly #relations = new LockSpace<number>(CONFLICTS);
  readonly #names = new LockSpace<string>([1]);

  /** True when held; false only without `wait`. Throws Suspend or 40P01. */
  acquire(txn: Transaction, oid: number, mode: number, wait = true): boolean {
    return this.#relations.acquire(oid, txn.locks, mode, wait);
  }

  acquireName(txn: Transaction, name: string): void {
    this.#names.acquire(name, txn.locks, 0, true);
  }

  list(): HeldLockInfo<number>[] {
    return this.#relations.list();
  }
}
