/**
 * Where a session stands between BEGIN and COMMIT.
 *
 * ```
 *   none --statement--> implicit --Sync, end of the query message--> none        (committed)
 *     \                     | BEGIN
 *      +------BEGIN----> explicit --COMMIT, ROLLBACK--> none
 *                           | error                       ^
 *                           v                             | COMMIT (rolls back), ROLLBACK
 *                        failed --------------------------+
 *                           | ROLLBACK TO savepoint: explicit again
 * ```
 *
 * The transaction itself is made by the first statement that needs one, so BEGIN costs nothing and SET TRANSACTION
 * comes in time. After an error everything since the last savepoint is rolled back at once, so that its locks go; a
 * block without savepoints then has no transaction any more and only waits for its end.
 *
 * - TXN-2 `answerLsn` is what the answers given so far rest on: commits made and commits examined (rule 25).
 */
import { assert } from '#core/assert.js';
import { SqlError } from '../sql-error.js';
import type { LockActor } from '../txn/lock-space.js';
import type { Isolation, Transaction, TransactionManager } from '../txn/transaction.js';
import type { Settings } from './settings.js';

export type BlockState = 'none' | 'implicit' | 'explicit' | 'failed';

interface Savepoint {
  readonly name: string;
  readonly settingsMark: number;
}

export class TransactionBlock {
  state: BlockState = 'none';
  transaction: Transaction | null = null;
  readonly actor: LockActor;
  readonly #manager: TransactionManager;
  readonly #settings: Settings;
  #savepoints: Savepoint[] = [];
  #answerLsn = 0;
  /** Hot: the settings are read again only when one of them has changed. */
  #defaultsRevision = -1;
  #modesRevision = -1;
  #isolation: Isolation = 'read committed';
  #readOnly = false;
  /** Runs after the block ended: `lsn` 0 when it was rolled back. */
  onEnd: (committed: boolean, lsn: number) => void = () => {};

  constructor(manager: TransactionManager, settings: Settings, actor: LockActor) {
    this.#manager = manager;
    this.#settings = settings;
    this.actor = actor;
  }

  get answerLsn(): number {
    const covered = this.transaction === null ? 0 : this.transaction.coveredLsn;
    return covered > this.#answerLsn ? covered : this.#answerLsn;
  }

  /** Something else that answers rest on: a notification, say. */
  restOn(lsn: number): void {
    if (lsn > this.#answerLsn) this.#answerLsn = lsn;
  }

  /** As ReadyForQuery says it. */
  get statusLetter(): 'I' | 'T' | 'E' {
    if (this.state === 'failed') return 'E';
    return this.state === 'explicit' ? 'T' : 'I';
  }

  /** The transaction for a statement; begins an implicit block when there is none. */
  enter(): Transaction {
    assert(this.state !== 'failed', 'nothing runs in a failed block');
    if (this.state === 'none') this.#open('implicit');
    return (this.transaction ??= this.#begin());
  }

  /** 25001 for a statement that wants a transaction to itself, where there is one already; `tag` '': it does not. */
  refuseIfUnderWay(tag: string): void {
    if (tag === '' || (this.state !== 'explicit' && !this.started)) return;
    throw new SqlError('25001', `${tag} cannot run inside a transaction block`);
  }

  /** 25P01 for a statement whose effect would end with its own transaction. */
  requireBlock(tag: string): void {
    if (this.state !== 'explicit') throw noBlock(tag);
  }

  /** A statement that needs no transaction but takes part in one: SET, NOTIFY. */
  touch(): void {
    if (this.state === 'none') this.#open('implicit');
  }

  beginExplicit(): void {
    if (this.state === 'none') this.#open('explicit');
    else if (this.state === 'implicit') this.state = 'explicit';
  }

  /** Whether a transaction has begun to see or change something. */
  get started(): boolean {
    return this.transaction !== null;
  }

  /**
   * Commits; true when it did, false when the block had failed and was rolled back. Throws Suspend: call it again.
   * What else it throws has left the block rolled back.
   */
  commit(): boolean {
    if (this.state === 'failed') {
      this.rollback();
      return false;
    }
    const { transaction } = this;
    let lsn = 0;
    if (transaction !== null) {
      lsn = transaction.commit();
      this.restOn(lsn);
      this.#leave();
    }
    this.state = 'none';
    this.#savepoints = [];
    this.#settings.commit();
    this.onEnd(true, lsn);
    return true;
  }

  rollback(): void {
    const { transaction } = this;
    if (transaction !== null) {
      this.restOn(transaction.coveredLsn);
      this.transaction = null;
      transaction.rollback();
    }
    this.state = 'none';
    this.#savepoints = [];
    this.#settings.rollback();
    this.onEnd(false, 0);
  }

  /** A statement failed. */
  fail(): void {
    if (this.state === 'none') return;
    if (this.state === 'implicit') {
      this.rollback();
      return;
    }
    if (this.state === 'failed') return;
    this.state = 'failed';
    const last = this.#savepoints.at(-1);
    const { transaction } = this;
    if (transaction === null) return;
    this.restOn(transaction.coveredLsn);
    if (last === undefined) {
      this.transaction = null;
      transaction.rollback();
      this.#settings.rollbackTo(0);
    } else {
      transaction.rollbackTo(last.name);
      transaction.fail();
      this.#settings.rollbackTo(last.settingsMark);
    }
  }

  savepoint(name: string): void {
    const transaction = this.#inBlock('SAVEPOINT');
    transaction.savepoint(name);
    this.#savepoints.push({ name, settingsMark: this.#settings.mark() });
  }

  release(name: string): void {
    const transaction = this.#inBlock('RELEASE SAVEPOINT');
    const at = this.#find(name);
    transaction.release(name);
    this.#savepoints.length = at;
  }

  rollbackTo(name: string): void {
    if (this.state !== 'failed' && this.state !== 'explicit') {
      throw noBlock('ROLLBACK TO SAVEPOINT');
    }
    const at = this.#find(name);
    const { transaction } = this;
    assert(transaction !== null, 'a savepoint keeps its transaction');
    this.restOn(transaction.coveredLsn);
    transaction.rollbackTo(name);
    this.#settings.rollbackTo(this.#savepoints[at].settingsMark);
    this.#savepoints.length = at + 1;
    this.state = 'explicit';
  }

  #find(name: string): number {
    for (let i = this.#savepoints.length - 1; i >= 0; i--) {
      if (this.#savepoints[i].name === name) return i;
    }
    throw new SqlError('3B001', `savepoint "${name}" does not exist`);
  }

  #inBlock(what: string): Transaction {
    if (this.state !== 'explicit') throw noBlock(what);
    return this.enter();
  }

  #open(state: 'implicit' | 'explicit'): void {
    const settings = this.#settings;
    settings.begin();
    this.state = state;
    if (settings.revision === this.#defaultsRevision) return;
    for (const name of ['isolation', 'read_only', 'deferrable']) {
      const value = settings.get(`default_transaction_${name}`);
      const key = `transaction_${name}`;
      if (settings.get(key) !== value) settings.set(key, value, true);
    }
    this.#defaultsRevision = settings.revision;
  }

  #begin(): Transaction {
    const settings = this.#settings;
    if (settings.revision !== this.#modesRevision) {
      const level = settings.get('transaction_isolation');
      this.#isolation = level === 'read uncommitted' ? 'read committed' : (level as Isolation);
      this.#readOnly = settings.get('transaction_read_only') === 'on';
      this.#modesRevision = settings.revision;
    }
    return this.#manager.begin({
      isolation: this.#isolation,
      readOnly: this.#readOnly,
      actor: this.actor,
    });
  }

  #leave(): void {
    const { transaction } = this;
    if (transaction === null) return;
    this.restOn(transaction.coveredLsn);
    this.transaction = null;
  }
}

function noBlock(what: string): SqlError {
  return new SqlError('25P01', `${what} can only be used in transaction blocks`);
}
