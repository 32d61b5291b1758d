/** nextval, currval, lastval, setval. */
import { fn, type FunctionDef } from '../functions/function.js';
import type { SessionView } from '../sql/statement.js';
import { SqlError } from '../sql-error.js';
import { OID } from '../types/oids.js';
import type { Catalog } from './catalog.js';
import type { SequenceRecord } from './object-record.js';
import { ROW_EXCLUSIVE } from './relation-locks.js';
import { snapshotOf, transactionOf } from './session-catalog.js';

const { regclass, int8, bool } = OID;
const acts = { session: true, volatility: 'volatile' } as const;

/** What a session remembers of the values it got. */
interface Remembered {
  readonly values: Map<number, bigint>;
  last: number;
}

function remembered(session: SessionView): Remembered {
  const known = session.memory.get('sequences') as Remembered | undefined;
  if (known !== undefined) return known;
  const fresh: Remembered = { values: new Map(), last: 0 };
  session.memory.set('sequences', fresh);
  return fresh;
}

function sequenceOf(session: SessionView, oid: number): SequenceRecord {
  const snapshot = snapshotOf(session);
  const record = snapshot.entries.get(oid)?.record;
  if (record?.kind === 'sequence') return record;
  const name = snapshot.relationName(oid);
  if (name === null) throw new SqlError('42P01', `relation with OID ${oid} does not exist`);
  throw new SqlError('42809', `"${name}" is not a sequence`);
}

const catalogOf = (session: SessionView): Catalog => snapshotOf(session).owner as Catalog;

function requireWritable(session: SessionView, name: string): void {
  if (!transactionOf(session).readOnly) return;
  throw new SqlError('25006', `cannot execute ${name}() in a read-only transaction`);
}

/** Throws Suspend before its side effect. */
function nextval(session: SessionView, oid: number): bigint {
  requireWritable(session, 'nextval');
  const catalog = catalogOf(session);
  const txn = transactionOf(session);
  sequenceOf(session, oid);
  catalog.locks.acquire(txn, oid, ROW_EXCLUSIVE);
  const value = catalog.sequences.next(sequenceOf(session, oid), txn);
  const memory = remembered(session);
  memory.values.set(oid, value);
  memory.last = oid;
  return value;
}

function currval(session: SessionView, oid: number): bigint {
  const record = sequenceOf(session, oid);
  const value = remembered(session).values.get(oid);
  if (value !== undefined) return value;
  throw new SqlError(
    '55000',
    `currval of sequence "${record.name}" is not yet defined in this session`,
  );
}

function lastval(session: SessionView): bigint {
  const memory = remembered(session);
  const value = memory.values.get(memory.last);
  if (value !== undefined && snapshotOf(session).entries.has(memory.last)) return value;
  throw new SqlError('55000', 'lastval is not yet defined in this session');
}

function setval(session: SessionView, oid: number, value: bigint, called: boolean): bigint {
  requireWritable(session, 'setval');
  const catalog = catalogOf(session);
  const txn = transactionOf(session);
  const record = sequenceOf(session, oid);
  if (value < BigInt(record.min) || value > BigInt(record.max)) {
    throw new SqlError(
      '22003',
      `setval: value ${value} is out of bounds for sequence "${record.name}" (${record.min}..${record.max})`,
    );
  }
  catalog.locks.acquire(txn, oid, ROW_EXCLUSIVE);
  catalog.sequences.set(sequenceOf(session, oid), value, called, txn);
  if (called) remembered(session).values.set(oid, value);
  return value;
}

export function sequenceFunctions(): FunctionDef[] {
  return [
    fn('nextval', [regclass], int8, nextval, acts),
    fn('currval', [regclass], int8, currval, acts),
    fn('lastval', [], int8, lastval, acts),
    fn(
      'setval',
      [regclass, int8],
      int8,
      (session: SessionView, oid: number, value: bigint) => setval(session, oid, value, true),
      acts,
    ),
    fn('setval', [regclass, int8, bool], int8, setval, acts),
  ];
}
