/**
 * Costs of the SQL layer by itself, over a store that costs nothing: `npx vitest bench --run engine/sql`.
 */
import { bench, describe } from 'vitest';
import type { RowCursor, TableStore } from '../tables/table-store.js';
import { parse, loadParser } from './parse/parser.js';
import type { ParsedStatement } from './parse/parser.js';
import type { TupleCodec } from '../catalog/definitions.js';
import type { CompiledStatement } from './statement.js';
import { normalise } from './parse/normalise.js';
import { notSupported } from '../sql-error.js';
import { builtinTypes } from './bind/builtin-types.js';
import { SqlCompiler } from './compiler.js';
import { FakeDatabase } from './testing/fake-catalog.js';

await loadParser();

const POINT = 'SELECT abalance FROM accounts WHERE aid = $1';
const UPDATE = 'UPDATE accounts SET abalance = abalance + $1 WHERE aid = $2';
const INSERT =
  'INSERT INTO history (tid, bid, aid, delta, mtime) VALUES ($1, $2, $3, $4, CURRENT_TIMESTAMP)';

const db = new FakeDatabase();
const table = db.catalog.addTable({
  name: 'accounts',
  columns: ['aid int4 not null', 'bid int4', 'abalance int4', 'filler bpchar(84)'],
  primary: ['aid'],
});
db.catalog.addTable({
  name: 'history',
  columns: [
    'tid int4',
    'bid int4',
    'aid int4',
    'delta int4',
    'mtime timestamp',
    'filler bpchar(22)',
  ],
});

/** Every lookup finds the same row; writes succeed and keep nothing. */
const bytes = new Uint8Array(200);
const end = (table.codec as TupleCodec).encode([7, 1, 100, 'x'.repeat(84)], bytes);
let left = 0;
const cursor: RowCursor = {
  next: () => left-- > 0,
  rowId: 7,
  bytes,
  start: 0,
  end,
  close: () => {},
};
const store = {
  scan: () => ((left = 1), cursor),
  indexScan: () => ((left = 1), cursor),
  fetch: () => cursor,
  insert: () => 1,
  update: () => 'ok',
  delete: () => 'ok',
  newWriteState: () => ({ reset: () => {} }),
  estimateRows: () => 100_000,
  newest: cursor,
  newestSeen: null,
} as unknown as TableStore;
const compiler = new SqlCompiler({
  store,
  types: builtinTypes,
  utility: {
    compile: (tag) => {
      throw notSupported(tag);
    },
  },
});

const request = { catalog: db.catalog, searchPath: ['public'], parameterOids: [] };
const context = (parameters: readonly (number | string)[]) => db.context(parameters);
const point = compiler.prepare(POINT, request)[0] as CompiledStatement;
const update = compiler.prepare(UPDATE, request)[0] as CompiledStatement;
const insert = compiler.prepare(INSERT, request)[0] as CompiledStatement;
const simple = 'UPDATE accounts SET abalance = abalance + -4711 WHERE aid = 77123;';

describe('text to plan', () => {
  bench('parse SELECT', () => void parse(POINT));
  bench('parse UPDATE', () => void parse(UPDATE));
  bench('bind and plan UPDATE', () => void compiler.compile(parsed, request));
  bench('plan-cache hit', () => void compiler.prepare(UPDATE, request));
  bench('normalise a simple UPDATE', () => void normalise(simple));
  bench('simple UPDATE to plan and parameters', () =>
    void compiler.prepareSimple(simple, request, null));
});
const parsed = parse(UPDATE)[0] as ParsedStatement;

describe('execution', () => {
  bench('point select', () => {
    const e = point.open(context([7]));
    while (e.step() === 'row') {
      // One row.
    }
  });
  bench('point update', () => {
    const e = update.open(context([5, 7]));
    while (e.step() === 'row') {
      // None.
    }
  });
  bench('one-row insert', () => {
    const e = insert.open(context([1, 2, 3, 4]));
    while (e.step() === 'row') {
      // None.
    }
  });
});
