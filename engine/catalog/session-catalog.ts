/** How a SQL function gets at the catalog: through the session that runs it. */
import { notSupported } from '../sql-error.js';
import type { SessionView } from '../sql/statement.js';
import type { Transaction } from '../txn/transaction.js';
import { CatalogSnapshot } from './catalog-snapshot.js';
import type { CatalogReader } from './definitions.js';

/** What a session is besides what functions usually see of it. */
export interface CatalogSession extends SessionView {
  readonly catalog: CatalogReader;
  /** The one that the statement runs in. */
  readonly transaction: Transaction;
}

function isCatalogSession(session: SessionView): session is CatalogSession {
  return 'catalog' in session && session.catalog instanceof CatalogSnapshot;
}

export function snapshotOf(session: SessionView): CatalogSnapshot {
  if (isCatalogSession(session) && session.catalog instanceof CatalogSnapshot) {
    return session.catalog;
  }
  throw notSupported('a function of the catalog outside of a session');
}

export function transactionOf(session: SessionView): Transaction {
  if (isCatalogSession(session)) return session.transaction;
  throw notSupported('a function of the catalog outside of a session');
}
