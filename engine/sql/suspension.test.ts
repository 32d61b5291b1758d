/** Rule 24: whatever suspends, and wherever, the answer is the same as without. */
import { beforeAll, describe, expect, it } from 'vitest';
import { builtinTypes } from './bind/builtin-types.js';
import { SqlError } from '../sql-error.js';
import { loadParser } from './parse/parser.js';
import { FakeDatabase } from './testing/fake-catalog.js';
import { declareTables, QUERIES } from './testing/queries.js';

beforeAll(async () => loadParser());

function answer(db: FakeDatabase, text: string): string {
  try {
    return db.show(text).join('\n');
  } catch (error) {
    if (!(error instanceof SqlError)) throw error;
    return `${error.code} ${error.message}`;
  }
}

function simpleAnswer(db: FakeDatabase, text: string): string {
  const request = { catalog: db.catalog, searchPath: ['public'], parameterOids: [] };
  try {
    const s = db.compiler.prepareSimple(text, request, db.context());
    if (s === null) throw new Error('several statements');
    db.transaction.command++;
    const execution = s.statement.open(db.context(s.parameters));
    const lines: string[] = [];
    while (execution.step() === 'row') {
      const shown = (s.statement.columns ?? []).map((c, i) => {
        const v = execution.row[i] ?? null;
        return v === null ? '' : builtinTypes.output(c.typeOid, v);
      });
      lines.push(shown.join('|'));
    }
    return [(s.statement.columns ?? []).map((c) => `${c.name}:${c.typeOid}`).join(), ...lines].join(
      '\n',
    );
  } catch (error) {
    if (!(error instanceof SqlError)) throw error;
    return `${error.code} ${error.message} ${error.fields.position ?? ''}`;
  }
}

function plainAnswer(db: FakeDatabase, text: string): string {
  const request = { catalog: db.catalog, searchPath: ['public'], parameterOids: [] };
  try {
    const columns = db.compiler.prepare(text, request)[0]?.columns ?? [];
    const lines = db.show(text);
    return [columns.map((c) => `${c.name}:${c.typeOid}`).join(), ...lines].join('\n');
  } catch (error) {
    if (!(error instanceof SqlError)) throw error;
    return `${error.code} ${error.message} ${error.fields.position ?? ''}`;
  }
}

const MORE = [
  "SELECT 'a', 1, 'b' AS c, -7, 3.5, NULL, true",
  "SELECT date '2020-01-01', interval '1 day', timestamp '2020-01-01 10:00:00', 'x'::varchar(5), '7'::int",
  "SELECT 'it''s', E'a\\nb', $$x$$, 'a' 'b'",
  'SELECT 9999999999, 2147483648, 12345678901234567890',
  "SELECT count(*) FROM t WHERE s IN ('a', 'b') AND id BETWEEN 1 AND 5 AND v > 5",
  "SELECT substring('abcdef' FROM 2 FOR 3), position('c' IN 'abc'), trim('  x ')",
  "SELECT extract(year FROM date '2020-03-04'), CAST('5' AS int4), CAST(7 AS text)",
  "SELECT id + 1 AS x, 'k' FROM t WHERE (id > 2 OR s = 'a') ORDER BY 1 DESC, 2 LIMIT 2 OFFSET 1",
  'SELECT g + 1, count(*) FROM t GROUP BY g + 1 ORDER BY g + 1',
  'SELECT sum(id) OVER (ORDER BY id ROWS 1 PRECEDING) FROM t ORDER BY 1',
  "SELECT '1' = 1, 'a' < 'b', '2020-01-01' < d FROM t ORDER BY id LIMIT 1",
  "SELECT CASE WHEN 1 = 1 THEN 'y' ELSE 'n' END, COALESCE(NULL, 5), NULLIF(1, 2)",
  'SELECT -1, - 1, 1 - -1, +5, 2*3',
  "SELECT 'a' UNION SELECT 'b' ORDER BY 1",
  'SELECT "id" FROM "t" WHERE "id" = 1',
  'SELECT 1 AS "a 1", 2 b',
];

describe('literals as parameters', () => {
  it('change no answer, no column name or type, and no error', () => {
    const plain = new FakeDatabase();
    const simple = new FakeDatabase();
    declareTables(plain);
    declareTables(simple);
    for (const text of [...QUERIES, ...MORE]) {
      const expected = plainAnswer(plain, text);
      expect([text, simpleAnswer(simple, text)]).toEqual([text, expected]);
    }
  });
});

describe('a store that suspends at random', () => {
  it.each([1, 2, 3, 4, 5])('changes no answer (seed %i)', (seed) => {
    const plain = new FakeDatabase();
    const shaky = new FakeDatabase();
    declareTables(plain);
    declareTables(shaky);
    shaky.store.seedSuspensions(seed, 0.15);
    for (const text of QUERIES)
      expect([text, answer(shaky, text)]).toEqual([text, answer(plain, text)]);
    expect(shaky.store.suspensions).toBeGreaterThan(100);
  });
});
