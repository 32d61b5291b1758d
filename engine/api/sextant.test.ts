/** The embedded database over its six threads. Needs the built worker (`npm run build`). */
import { existsSync, mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { Sextant } from './sextant.js';

const worker = new URL('../../dist/engine/api/node-worker.js', import.meta.url);
const built = existsSync(worker);
if (!built) console.log('skipped: the embedded database needs dist/, made by `npm run build`');

describe.skipIf(!built)('Sextant', () => {
  let folder: string;
  let db: Sextant;
  beforeAll(async () => {
    folder = mkdtempSync(join(tmpdir(), 'sextant-'));
    db = await Sextant.open(folder, { logLevel: 'error' });
  });
  afterAll(async () => {
    await db.close();
    rmSync(folder, { recursive: true, force: true });
  });

  it('gives values as JavaScript has them', async () => {
    const { rows, fields, affectedRows } = await db.query(
      `SELECT 1 AS i, 9007199254740993::bigint AS big, 7::bigint AS small, 1.50::numeric AS n, true AS b,
       '2024-02-29'::date AS d, '2024-02-29 12:00:00+00'::timestamptz AS t, 'infinity'::timestamptz AS inf,
       '{"a":[1]}'::jsonb AS j, '\\xff00'::bytea AS y, ARRAY[[1,2],[3,4]] AS a, NULL AS z, 'x' AS s`,
    );
    expect(rows).toEqual([
      {
        i: 1,
        big: 9007199254740993n,
        small: 7,
        n: '1.50',
        b: true,
        d: new Date('2024-02-29T00:00:00Z'),
        t: new Date('2024-02-29T12:00:00Z'),
        inf: Infinity,
        j: { a: [1] },
        y: new Uint8Array([255, 0]),
        a: [
          [1, 2],
          [3, 4],
        ],
        z: null,
        s: 'x',
      },
    ]);
    expect(fields.slice(0, 2)).toEqual([
      { name: 'i', dataTypeID: 23 },
      { name: 'big', dataTypeID: 20 },
    ]);
    expect(affectedRows).toBe(0);
  });

  it('takes parameters of all those kinds', async () => {
    const date = new Date('2020-05-06T07:08:09.010Z');
    const params = [41, 12n, 'x', null, true, date, { k: 1 }, new Uint8Array([1]), ['a"b', null]];
    const { rows } = await db.query(
      `SELECT $1::int AS a, $2::bigint AS b, $3::text AS c, $4::text AS d, $5::bool AS e,
       $6::timestamptz AS f, $7::jsonb AS g, $8::bytea AS h, $9::text[] AS i`,
      params,
      { rowMode: 'array' },
    );
    expect(rows).toEqual([
      [41, 12, 'x', null, true, date, { k: 1 }, new Uint8Array([1]), ['a"b', null]],
    ]);
    await expect(db.query('SELECT $1::int', [])).rejects.toMatchObject({ code: '08P01' });
    await expect(db.query('SELECT $1::int', ['x'])).rejects.toMatchObject({ code: '22P02' });
  });

  it('runs texts of several statements and templates', async () => {
    const all = await db.exec('SELECT 1 AS a; SELECT 2 AS b');
    expect(all.map(({ rows }) => rows)).toEqual([[{ a: 1 }], [{ b: 2 }]]);
    expect((await db.sql`SELECT ${20}::int + ${22} AS n`).rows).toEqual([{ n: 42 }]);
    await expect(db.query('SELECT 1/0')).rejects.toMatchObject({ code: '22012' });
    expect((await db.query('SELECT 1 AS ok')).rows).toEqual([{ ok: 1 }]);
  });

  it('runs transactions alone, and rolls back what throws', async () => {
    const order: string[] = [];
    const first = db.transaction(async (tx) => {
      await tx.query('SELECT pg_sleep(0.02)');
      order.push('transaction');
      return 'result';
    });
    const second = db.query('SELECT 1').then(() => order.push('query'));
    expect(await first).toBe('result');
    await second;
    expect(order).toEqual(['transaction', 'query']);
    await expect(
      db.transaction(async (tx) => {
        await tx.query("SELECT set_config('my.own', 'lost', false)");
        throw new Error('mine');
      }),
    ).rejects.toThrow('mine');
    const { rows } = await db.query("SELECT current_setting('my.own', true) AS v");
    expect(rows).toEqual([{ v: null }]);
    await db.transaction(async (tx) => {
      await tx.rollback();
      expect(tx.closed).toBe(true);
      await expect(tx.query('SELECT 1')).rejects.toMatchObject({ code: 'CLOSED' });
    });
    await expect(
      db.transaction(async (tx) => {
        await tx.query('SELECT 1/0').catch(() => undefined);
      }),
    ).rejects.toMatchObject({ code: '40000' });
  });

  it('has several connections, and notifies between them', async () => {
    await using other = db.connect();
    const got: string[] = [];
    const stop = await db.listen('Chan', (payload) => got.push(payload));
    await other.exec(`NOTIFY "Chan", 'hello'`);
    await stop();
    await other.exec(`NOTIFY "Chan", 'missed'`);
    expect(got).toEqual(['hello']);
    await db.query('SELECT pg_advisory_lock(5)');
    expect((await other.query('SELECT pg_try_advisory_lock(5) AS held')).rows).toEqual([
      { held: false },
    ]);
    await db.query('SELECT pg_advisory_unlock(5)');
  });

  it('locks its folder', async () => {
    await expect(Sextant.open(folder)).rejects.toMatchObject({
      code: 'FOLDER_LOCKED',
      message: expect.stringContaining(String(process.pid)),
    });
  });

  it('refuses work once it is closed', async () => {
    const extra = db.connect();
    await extra.close();
    await expect(extra.query('SELECT 1')).rejects.toMatchObject({ code: 'CLOSED' });
  });
});
