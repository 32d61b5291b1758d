/** Long statements give the thread back, bounded memory is bounded, and grown tables get new plans. */
import { beforeAll, describe, expect, it } from 'vitest';
import { Suspend } from '../pages/suspend.js';
import { SqlError } from '../sql-error.js';
import { loadParser } from './parse/parser.js';
import { FakeDatabase } from './testing/fake-catalog.js';

beforeAll(async () => loadParser());

describe('a long statement', () => {
  it('yields about every thousand rows and goes on where it was', () => {
    const db = new FakeDatabase();
    const request = { catalog: db.catalog, searchPath: ['public'], parameterOids: [] };
    const [statement] = db.compiler.prepare(
      'SELECT sum(i) FROM generate_series(1, 5000) AS g(i)',
      request,
    );
    let turns = 0;
    const yieldNow = () => {
      turns++;
      return Promise.resolve();
    };
    const execution = statement!.open({ ...db.context(), yieldNow });
    for (;;) {
      try {
        expect(execution.step()).toBe('row');
        break;
      } catch (error) {
        if (!(error instanceof Suspend)) throw error;
        expect(error.reason).toBe('turn');
      }
    }
    expect(execution.row).toEqual([12502500n]);
    expect(turns).toBe(5);
  });

  it('fails with 53200 beyond its memory', () => {
    const db = new FakeDatabase();
    const text =
      "SELECT i, repeat('x', 1000) FROM generate_series(1, 100000) AS g(i) ORDER BY 2, 1";
    let code = '';
    try {
      db.run(text);
    } catch (error) {
      if (error instanceof SqlError) code = error.code;
    }
    expect(code).toBe('53200');
    expect(db.run(`${text} LIMIT 1`).rows.length).toBe(1);
  });
});

describe('a cached plan', () => {
  it('is made again when its table has grown', () => {
    const db = new FakeDatabase();
    db.catalog.addTable({ name: 'a', columns: ['id int4'], primary: ['id'] });
    const text = 'SELECT count(*) FROM a';
    for (let i = 0; i < 64; i++) db.run(text);
    expect(db.compiler.misses).toBe(1);
    db.run('INSERT INTO a SELECT i FROM generate_series(1, 1200) AS g(i)');
    const before = db.compiler.misses;
    for (let i = 0; i < 64; i++) db.run(text);
    expect(db.compiler.misses).toBe(before + 1);
  });
});
