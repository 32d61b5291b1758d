/** Constraints, foreign keys, concurrent changes, and what is refused. */
import { beforeAll, describe, expect, it } from 'vitest';
import { SqlError } from '../sql-error.js';
import { loadParser, parse } from './parse/parser.js';
import { FakeDatabase } from './testing/fake-catalog.js';

beforeAll(async () => loadParser());

function failure(work: () => unknown): SqlError {
  try {
    work();
  } catch (error) {
    if (error instanceof SqlError) return error;
    throw error;
  }
  throw new Error('no error');
}

function family(actions = {}): FakeDatabase {
  const db = new FakeDatabase();
  db.catalog.addTable({ name: 'p', columns: ['id int4', 'note text'], primary: ['id'] });
  db.catalog.addTable({
    name: 'c',
    columns: ['id int4', 'pid int4'],
    primary: ['id'],
    indexes: [{ name: 'c_pid', columns: ['pid'] }],
  });
  db.catalog.addForeignKey('c', ['pid'], 'p', actions);
  db.run("INSERT INTO p VALUES (1, 'a'), (2, 'b'), (3, 'c')");
  db.run('INSERT INTO c VALUES (1, 1), (2, 1), (3, 2), (4, NULL)');
  return db;
}

describe('foreign keys', () => {
  it('asks for the parent and protects it', () => {
    const db = family();
    const child = failure(() => db.run('INSERT INTO c VALUES (9, 99)'));
    expect(child.code).toBe('23503');
    expect(child.fields.detail).toBe('Key (pid)=(99) is not present in table "p".');
    const parent = failure(() => db.run('DELETE FROM p WHERE id = 1'));
    expect(parent.message).toBe(
      'update or delete on table "p" violates foreign key constraint "c_pid_fkey" on table "c"',
    );
    expect(parent.fields.detail).toBe('Key (id)=(1) is still referenced from table "c".');
    expect(db.run('DELETE FROM p WHERE id = 3').tag).toBe('DELETE 1');
    expect(failure(() => db.run('UPDATE c SET pid = 77 WHERE id = 4')).code).toBe('23503');
    expect(db.store.locks.some((l) => l.mode === 'key-share')).toBe(true);
  });

  it('cascades, sets NULL and moves keys, with suspensions', () => {
    const cascade = family({ onDelete: 'cascade', onUpdate: 'cascade' });
    cascade.store.seedSuspensions(7, 0.2);
    cascade.run('UPDATE p SET id = 20 WHERE id = 2');
    expect(cascade.show('SELECT id, pid FROM c ORDER BY id')).toEqual(['1|1', '2|1', '3|20', '4|']);
    cascade.run('DELETE FROM p WHERE id = 1');
    expect(cascade.show('SELECT id, pid FROM c ORDER BY id')).toEqual(['3|20', '4|']);
    const nulls = family({ onDelete: 'set null' });
    nulls.run('DELETE FROM p WHERE id = 1');
    expect(nulls.show('SELECT id, pid FROM c ORDER BY id')).toEqual(['1|', '2|', '3|2', '4|']);
  });

  it('lets rows of one statement refer to each other', () => {
    const db = new FakeDatabase();
    db.catalog.addTable({ name: 'n', columns: ['id int4', 'up int4'], primary: ['id'] });
    db.catalog.addForeignKey('n', ['up'], 'n');
    expect(db.run('INSERT INTO n VALUES (1, 2), (2, NULL)').tag).toBe('INSERT 0 2');
    expect(db.run('DELETE FROM n').tag).toBe('DELETE 2');
  });
});

describe('checks and defaults', () => {
  it('refuses rows and fills columns', () => {
    const db = new FakeDatabase();
    db.catalog.addTable({
      name: 'k',
      columns: ['id int4', "name varchar(5) not null default 'x'", 'n int4 default 1 + 2'],
      primary: ['id'],
      checks: [{ name: 'k_n_check', text: 'n > 0' }],
    });
    expect(db.run('INSERT INTO k (id) VALUES (1) RETURNING *').rows).toEqual([[1, 'x', 3]]);
    const check = failure(() => db.run('INSERT INTO k VALUES (2, $1, $2)', ['b', -1]));
    expect([check.code, check.fields.constraint]).toEqual(['23514', 'k_n_check']);
    expect(check.fields.detail).toBe('Failing row contains (2, b, -1).');
    expect(failure(() => db.run('UPDATE k SET n = 0 - n')).code).toBe('23514');
    expect(failure(() => db.run('UPDATE k SET name = NULL')).code).toBe('23502');
    expect(failure(() => db.run('INSERT INTO k VALUES (1)')).fields.detail).toBe(
      'Key (id)=(1) already exists.',
    );
  });
});

describe('a row that another transaction changed meanwhile', () => {
  it('is looked at again: the newest version decides', () => {
    const db = new FakeDatabase();
    db.catalog.addTable({ name: 'a', columns: ['id int4', 'v int4'], primary: ['id'] });
    db.run('INSERT INTO a VALUES (1, 10), (2, 20)');
    db.transaction.commit();
    db.transaction = db.store.begin();
    const request = { catalog: db.catalog, searchPath: ['public'], parameterOids: [] };
    const open = (text: string) => {
      const [statement] = db.compiler.prepare(text, request);
      return statement!.open(db.context());
    };
    const add = open('UPDATE a SET v = v + 1 WHERE v >= 10');
    const drop = open('DELETE FROM a WHERE v = 20');
    const lock = open('SELECT id, v FROM a WHERE id = 1 FOR UPDATE');
    const other = db.store.begin();
    const mine = db.transaction;
    db.transaction = other;
    db.run('UPDATE a SET v = 100 WHERE id = 1');
    db.run('UPDATE a SET v = 5 WHERE id = 2');
    other.commit();
    db.transaction = mine;
    expect(drop.step()).toBe('done');
    expect(drop.tag).toBe('DELETE 0');
    expect(lock.step()).toBe('row');
    expect(lock.row).toEqual([1, 100]);
    expect(add.step()).toBe('done');
    expect(add.tag).toBe('UPDATE 1');
    mine.command++;
    expect(db.show('SELECT id, v FROM a ORDER BY id')).toEqual(['1|101', '2|5']);
  });
});

describe('errors', () => {
  it('have positions in characters, not bytes', () => {
    const db = new FakeDatabase();
    expect(failure(() => parse("SELECT 'éé' frm x y")).fields.position).toBe(17);
    expect(failure(() => parse('SELECT 1 FROM')).message).toBe('syntax error at end of input');
    const e = failure(() => db.run("SELECT 'éé', nope"));
    expect([e.code, e.fields.position]).toEqual(['42703', 14]);
  });

  it.each([
    'SELECT 1 GROUP BY ROLLUP (1)',
    'SELECT sum(1) OVER (GROUPS CURRENT ROW)',
    'SELECT xmlelement(name a)',
    "SELECT B'101'",
    'SELECT * FROM p TABLESAMPLE SYSTEM (10)',
    'MERGE INTO p USING p AS q ON true WHEN MATCHED THEN DELETE',
    'SELECT (p).id FROM p',
    'SELECT 1::interval day',
    'UPDATE p SET (id, note) = (SELECT 1, 2)',
    'DELETE FROM p WHERE CURRENT OF c',
    'INSERT INTO pv VALUES (1)',
    'UPDATE pv SET id = 1',
  ])('refuses %s', (text) => {
    const db = new FakeDatabase();
    db.catalog.addTable({ name: 'p', columns: ['id int4', 'note text'], primary: ['id'] });
    db.catalog.addView('pv', 'SELECT id FROM p', [{ name: 'id', typeOid: 23 }]);
    expect(failure(() => db.run(text)).code).toMatch(/^(0A000|42601)$/);
  });
});

describe('simple statements share plans', () => {
  it('across literals, and not where a literal is part of the meaning', () => {
    const db = new FakeDatabase();
    db.catalog.addTable({
      name: 'a',
      columns: ['id int4', 'v bpchar(3)', 'd date'],
      primary: ['id'],
    });
    const request = { catalog: db.catalog, searchPath: ['public'], parameterOids: [] };
    const simple = (text: string): string[] => {
      const s = db.compiler.prepareSimple(text, request, null);
      if (s === null) throw new Error('several statements');
      db.transaction.command++;
      const execution = s.statement.open(db.context(s.parameters));
      const rows: string[] = [];
      while (execution.step() === 'row') rows.push(execution.row.map(String).join('|'));
      return [...rows, execution.tag];
    };
    for (let i = 0; i < 20; i++)
      simple(`INSERT INTO a VALUES (${i}, 'v${i}', '2020-01-${i + 10}')`);
    expect(db.compiler.misses).toBe(1);
    expect(simple('SELECT v FROM a WHERE id = 3')).toEqual(['v3 ', 'SELECT 1']);
    expect(
      simple("SELECT id FROM a WHERE v = 'v4' AND d > '2020-01-05' ORDER BY 1 LIMIT 5;"),
    ).toEqual(['4', 'SELECT 1']);
    expect(simple('SELECT id + 1 FROM a WHERE id < 2 ORDER BY 1 DESC')).toEqual([
      '2',
      '1',
      'SELECT 2',
    ]);
    expect(simple('SELECT id % 2, count(*) FROM a GROUP BY id % 2 ORDER BY 1')).toEqual([
      '0|10',
      '1|10',
      'SELECT 2',
    ]);
    expect(
      simple("SELECT '5'::int4 + 1, -3, 'it''s', numeric '1.50', 2.5::numeric(10,1)")[0],
    ).toContain('6|-3|it');
    expect(failure(() => simple("SELECT id FROM a WHERE id = 'x'")).fields.position).toBe(29);
    expect(db.compiler.prepareSimple('SELECT 1; SELECT 2', request, null)).toBeNull();
  });
});
