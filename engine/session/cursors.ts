/** DECLARE, FETCH, MOVE and CLOSE: portals by SQL, forward only, within one transaction. */
import type { DeclareCursorStmt, FetchStmt } from 'libpg-query';
import { assert } from '#core/assert.js';
import { SqlError, notSupported } from '../sql-error.js';
import type { Execution } from '../sql/statement.js';
import type { Value } from '../types/value.js';
import { type Portal, RowsExecution } from './portal.js';
import type { Session } from './session.js';
import { inner } from './sql-prepare.js';

/** Bits of DeclareCursorStmt.options, as in PostgreSQL's parsenodes.h. */
const OPTION_BINARY = 1;
const OPTION_SCROLL = 2;
const OPTION_HOLD = 32;
const FETCH_ALL = 2147483647;

export function declareCursor(
  session: Session,
  portal: Portal,
  node: DeclareCursorStmt,
): Execution {
  const name = node.portalname ?? '';
  const options = node.options ?? 0;
  if ((options & OPTION_HOLD) !== 0) throw notSupported('DECLARE CURSOR WITH HOLD');
  if ((options & OPTION_SCROLL) !== 0) throw notSupported('SCROLL cursors');
  if ((options & OPTION_BINARY) !== 0) throw notSupported('BINARY cursors');
  if (session.block.state !== 'explicit') {
    throw new SqlError('25P01', 'DECLARE CURSOR can only be used in transaction blocks');
  }
  assert(node.query !== undefined, 'DECLARE has a query');
  const statement = session.compileSource('', inner(session, portal, node.query), []);
  const cursor = session.bindFresh(name, statement, portal.parameters, true);
  // Its snapshot is taken here, not at the first FETCH.
  session.open(cursor);
  return new RowsExecution('DECLARE CURSOR');
}

/** Hands on the next rows of another portal. */
class FetchExecution implements Execution {
  row: Value[] = [];
  rowCount = 0;
  readonly #cursor: Portal;
  readonly #session: Session;
  readonly #count: number;
  readonly #move: boolean;

  constructor(session: Session, cursor: Portal, count: number, move: boolean) {
    this.#session = session;
    this.#cursor = cursor;
    this.#count = count;
    this.#move = move;
  }

  get tag(): string {
    return `${this.#move ? 'MOVE' : 'FETCH'} ${this.rowCount}`;
  }

  step(): 'row' | 'done' {
    while (this.rowCount < this.#count && !this.#cursor.done) {
      const execution = this.#session.open(this.#cursor);
      if (execution.step() === 'done') {
        this.#session.finishPortal(this.#cursor);
        break;
      }
      this.rowCount++;
      if (this.#move) continue;
      this.row = execution.row;
      return 'row';
    }
    return 'done';
  }

  close(): void {}
}

export function fetchCursor(session: Session, portal: Portal, node: FetchStmt): Execution {
  const name = node.portalname ?? '';
  const cursor = session.portals.get(name);
  if (cursor === undefined || cursor === portal) {
    throw new SqlError('34000', `cursor "${name}" does not exist`);
  }
  const count = Number(node.howMany ?? 0);
  if (node.direction !== 'FETCH_FORWARD' || count < 0) {
    throw new SqlError('55000', 'cursor can only scan forward');
  }
  const move = node.ismove === true;
  portal.columns = move ? null : cursor.columns;
  return new FetchExecution(session, cursor, count >= FETCH_ALL ? Infinity : count, move);
}

export function closeCursor(session: Session, name: string | undefined): Execution {
  if (name === undefined) {
    for (const [key, portal] of session.portals) if (portal.cursor) session.closePortal(key);
    return new RowsExecution('CLOSE CURSOR ALL');
  }
  if (!session.portals.has(name)) {
    throw new SqlError('34000', `cursor "${name}" does not exist`);
  }
  session.closePortal(name);
  return new RowsExecution('CLOSE CURSOR');
}
