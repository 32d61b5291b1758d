/** CREATE, ALTER SEQUENCE and the sequences of serial and identity columns. */
import type { AlterSeqStmt, CreateSeqStmt, DefElem, Node, RangeVar, TypeName } from 'libpg-query';
import { stringsOf } from '../sql/parse/ast.js';
import { SqlError, notSupported } from '../sql-error.js';
import { OID } from '../types/oids.js';
import type { Ddl } from './ddl.js';
import type { SequenceOwner, SequenceRecord } from './object-record.js';
import { optionText } from './options.js';
import { ACCESS_EXCLUSIVE, SHARE_ROW_EXCLUSIVE } from './relation-locks.js';
import { sequenceBounds } from './sequence-states.js';
import { attempt, type Steps } from './steps.js';
import { columnIndex } from './table-definition.js';

interface SequenceOptions {
  typeOid: number;
  increment: bigint | undefined;
  /** null: NO MINVALUE. */
  min: bigint | null | undefined;
  max: bigint | null | undefined;
  start: bigint | undefined;
  cache: bigint | undefined;
  cycle: boolean | undefined;
  /** null: RESTART without a value. */
  restart: bigint | null | undefined;
  owner: SequenceOwner | null | undefined;
}

function integer(e: DefElem): bigint {
  const text = optionText(e.arg) ?? '';
  if (!/^[+-]?\d+$/.test(text)) {
    throw new SqlError('42601', `invalid value for sequence option "${e.defname ?? ''}"`);
  }
  return BigInt(text);
}

function* readOptions(ddl: Ddl, nodes: readonly Node[], typeOid: number): Steps<SequenceOptions> {
  const options: SequenceOptions = {
    typeOid,
    increment: undefined,
    min: undefined,
    max: undefined,
    start: undefined,
    cache: undefined,
    cycle: undefined,
    restart: undefined,
    owner: undefined,
  };
  for (const node of nodes) {
    const e = 'DefElem' in node ? node.DefElem : {};
    const none = e.arg === undefined;
    switch (e.defname ?? '') {
      case 'as':
        options.typeOid = ddl.bindType((e.arg as { TypeName: TypeName }).TypeName).oid;
        break;
      case 'increment':
        options.increment = integer(e);
        break;
      case 'minvalue':
        options.min = none ? null : integer(e);
        break;
      case 'maxvalue':
        options.max = none ? null : integer(e);
        break;
      case 'start':
        options.start = integer(e);
        break;
      case 'restart':
        options.restart = none ? null : integer(e);
        break;
      case 'cache':
        options.cache = integer(e);
        break;
      case 'cycle':
        options.cycle = optionText(e.arg) !== 'false';
        break;
      case 'owned_by':
        options.owner = yield* readOwner(ddl, e);
        break;
      default:
        throw new SqlError('42601', `sequence option "${e.defname ?? ''}" not recognized`);
    }
  }
  return options;
}

function* readOwner(ddl: Ddl, e: DefElem): Steps<SequenceOwner | null> {
  const names = e.arg !== undefined && 'List' in e.arg ? stringsOf(e.arg.List.items) : [];
  if (names.length === 1 && names[0] === 'none') return null;
  const v: RangeVar = { relname: names[names.length - 2] ?? '' };
  if (names.length > 2) v.schemaname = names[names.length - 3];
  const table = yield* ddl.table(v, SHARE_ROW_EXCLUSIVE);
  const column = columnIndex(table, names[names.length - 1] ?? '');
  return { table: table.oid, column, identity: false };
}

type Numbers = Pick<
  SequenceRecord,
  'type' | 'start' | 'increment' | 'min' | 'max' | 'cache' | 'cycle'
>;

/** The options over what was there before; 22023. */
function settle(name: string, o: SequenceOptions, before: SequenceRecord | null): Numbers {
  const bounds = sequenceBounds(o.typeOid);
  const increment = o.increment ?? BigInt(before?.increment ?? '1');
  if (increment === 0n) throw invalid('INCREMENT must not be zero');
  const up = increment > 0n;
  const keeps = before !== null && before.type === o.typeOid;
  const bound = (given: bigint | null | undefined, old: string, standard: bigint): bigint => {
    if (given === undefined && keeps) return BigInt(old);
    return given ?? standard;
  };
  const min = bound(o.min, before?.min ?? '0', up ? 1n : bounds.min);
  const max = bound(o.max, before?.max ?? '0', up ? bounds.max : -1n);
  if (min < bounds.min) throw invalid(`MINVALUE (${min}) is out of range for sequence data type`);
  if (max > bounds.max) throw invalid(`MAXVALUE (${max}) is out of range for sequence data type`);
  if (min >= max) throw invalid(`MINVALUE (${min}) must be less than MAXVALUE (${max})`);
  const start = o.start ?? (before === null ? (up ? min : max) : BigInt(before.start));
  if (start < min) throw invalid(`START value (${start}) cannot be less than MINVALUE (${min})`);
  if (start > max) {
    throw invalid(`START value (${start}) cannot be greater than MAXVALUE (${max})`);
  }
  const cache = o.cache ?? BigInt(before?.cache ?? '1');
  if (cache < 1n) throw invalid(`CACHE (${cache}) must be greater than zero`);
  // Sessions keep no numbers of their own.
  if (o.cache !== undefined && cache > 1n) throw notSupported('CACHE above 1');
  return {
    type: o.typeOid,
    start: String(start),
    increment: String(increment),
    min: String(min),
    max: String(max),
    cache: String(cache),
    cycle: o.cycle ?? before?.cycle ?? false,
  };

  function invalid(message: string): SqlError {
    return new SqlError('22023', message, { table: name });
  }
}

/** A sequence under a reserved name. */
export function* addSequence(
  ddl: Ddl,
  schema: number,
  name: string,
  typeOid: number,
  nodes: readonly Node[],
  owner: SequenceOwner | null,
): Steps<SequenceRecord> {
  const options = yield* readOptions(ddl, nodes, typeOid);
  const numbers = settle(name, options, null);
  const oid = yield* ddl.newOid();
  const record: SequenceRecord = {
    kind: 'sequence',
    oid,
    schema,
    name,
    ...numbers,
    owner: options.owner === undefined ? owner : options.owner,
    state: oid,
  };
  ddl.put(record);
  return record;
}

export function* createSequence(ddl: Ddl, s: CreateSeqStmt): Steps<string> {
  const v = s.sequence as RangeVar;
  const name = v.relname ?? '';
  if (v.relpersistence === 't') throw new SqlError('0A000', 'temporary sequence is not supported');
  const schema = ddl.targetSchema(v.schemaname);
  if (!(yield* ddl.reserveName(schema, name))) {
    if (s.if_not_exists !== true) {
      throw new SqlError('42P07', `relation "${name}" already exists`);
    }
    ddl.notice('42P07', `relation "${name}" already exists, skipping`);
    return 'CREATE SEQUENCE';
  }
  yield* addSequence(ddl, schema, name, OID.int8, s.options ?? [], null);
  yield* ddl.flush();
  return 'CREATE SEQUENCE';
}

export function* alterSequence(ddl: Ddl, s: AlterSeqStmt): Steps<string> {
  const v = s.sequence as RangeVar;
  const record = yield* ddl.relation(v, ACCESS_EXCLUSIVE, s.missing_ok === true);
  if (record === null) {
    ddl.notice('00000', `relation "${v.relname ?? ''}" does not exist, skipping`);
    return 'ALTER SEQUENCE';
  }
  if (record.kind !== 'sequence') {
    throw new SqlError('42809', `"${record.name}" is not a sequence`);
  }
  yield* changeSequence(ddl, record, s.options ?? []);
  yield* ddl.flush();
  return 'ALTER SEQUENCE';
}

export function* changeSequence(
  ddl: Ddl,
  record: SequenceRecord,
  nodes: readonly Node[],
): Steps<void> {
  const options = yield* readOptions(ddl, nodes, record.type);
  const numbers = settle(record.name, options, record);
  const owner = options.owner === undefined ? record.owner : options.owner;
  ddl.put({ ...record, ...numbers, owner });
  if (options.restart !== undefined) {
    yield* restart(ddl, record.oid, options.restart ?? BigInt(numbers.start));
  }
}

/** Transactional: the sequence gets a state of its own, which a rollback forgets. */
export function* restart(ddl: Ddl, oid: number, value: bigint): Steps<void> {
  const record = ddl.reader.entries.get(oid)?.record as SequenceRecord;
  const changed = { ...record, state: yield* ddl.newOid() };
  if (value < BigInt(record.min) || value > BigInt(record.max)) {
    throw new SqlError(
      '22023',
      `RESTART value (${value}) is out of the range of sequence "${record.name}"`,
    );
  }
  ddl.put(changed);
  // A state that is not there yet stands at the start.
  if (value === BigInt(record.start)) return;
  yield* attempt(() => ddl.catalog.sequences.set(changed, value, false, ddl.txn));
}
