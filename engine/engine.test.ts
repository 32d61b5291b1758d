/** The whole engine over a volume in memory: statements of several clients, waiting, and what answers wait for. */
import { afterEach, describe, expect, it } from 'vitest';
import {
  bind,
  describe as describePart,
  execute,
  parse,
  query,
  RawClient,
  show,
  sync,
} from './pgwire/raw-client.test-helper.js';
import { TestServer } from './pgwire/test-server.test-helper.js';

let server: TestServer;
const clients: RawClient[] = [];

async function start(options: Parameters<typeof TestServer.start>[0] = {}): Promise<void> {
  server = await TestServer.start(options);
}

async function connect(): Promise<RawClient> {
  const client = await RawClient.start(server.port);
  clients.push(client);
  return client;
}

async function ask(client: RawClient, ...parts: (string | Uint8Array)[]): Promise<string[]> {
  client.send(...parts.map((part) => (typeof part === 'string' ? query(part) : part)));
  return show(await client.until('Z'));
}

const soon = (ms = 30): Promise<void> => new Promise((resolve) => setTimeout(resolve, ms));

afterEach(async () => {
  for (const client of clients.splice(0)) client.close();
  await server.close();
});

describe('statements', () => {
  it('create, fill, change and read a table, and roll it back with its transaction', async () => {
    await start();
    const a = await connect();
    const b = await connect();
    await ask(a, 'BEGIN');
    await ask(a, 'CREATE TABLE t (id int PRIMARY KEY, v text)');
    expect(await ask(a, "INSERT INTO t VALUES (1, 'a'), (2, 'b')")).toEqual([
      'C INSERT 0 2',
      'Z T',
    ]);
    expect(await ask(b, 'SELECT * FROM t')).toEqual(['E 42P01', 'Z I']);
    await ask(a, 'COMMIT');
    expect(await ask(b, "UPDATE t SET v = v || '!' WHERE id = 2 RETURNING v")).toEqual([
      'T v:25',
      'D b!',
      'C UPDATE 1',
      'Z I',
    ]);
    expect(await ask(a, 'BEGIN; DELETE FROM t; SELECT count(*) FROM t; ROLLBACK')).toContain('D 0');
    expect(await ask(a, 'SELECT count(*) FROM t')).toContain('D 2');
    expect(await ask(a, "INSERT INTO t VALUES (2, 'c')")).toEqual(['E 23505', 'Z I']);
    expect(await ask(a, "INSERT INTO t VALUES (3, 'c'); INSERT INTO t VALUES (1, 'd')")).toContain(
      'E 23505',
    );
    expect(await ask(a, 'SELECT count(*) FROM t')).toContain('D 2');
    expect(await ask(a, 'BEGIN READ ONLY; DELETE FROM t')).toContain('E 25006');
  });

  it('compile again what a change of the catalog made stale', async () => {
    await start();
    const a = await connect();
    const b = await connect();
    await ask(a, 'CREATE TABLE t (id int PRIMARY KEY)');
    await ask(b, parse('all', 'SELECT * FROM t'), parse('one', 'SELECT id FROM t'), sync());
    await ask(a, 'INSERT INTO t VALUES (1); ALTER TABLE t ADD COLUMN v int DEFAULT 5');
    expect(await ask(b, bind('', 'one'), execute(), sync())).toContain('D 1');
    expect(await ask(b, bind('', 'all'), execute(), sync())).toEqual(['E 0A000', 'Z I']);
    expect(await ask(b, 'SELECT * FROM t')).toContain('D 1|5');
    await ask(a, 'DROP TABLE t');
    expect(await ask(b, bind('', 'one'), execute(), sync())).toEqual(['E 42P01', 'Z I']);
  });

  it('look as the table does once an ALTER that they wait for is over', async () => {
    await start();
    const a = await connect();
    const b = await connect();
    await ask(a, 'CREATE TABLE t (id int PRIMARY KEY); INSERT INTO t VALUES (1)');
    const after = async (column: string, ...parts: Uint8Array[]): Promise<string[]> => {
      await ask(a, `BEGIN; ALTER TABLE t ADD COLUMN ${column} int DEFAULT 5`);
      b.send(...parts);
      await soon();
      expect(b.types()).not.toMatch(/[DTZE]/);
      await ask(a, 'COMMIT');
      return show(await b.until('Z'));
    };
    expect(await after('u', query('SELECT * FROM t'))).toEqual([
      'T id:23|u:23',
      'D 1|5',
      'C SELECT 1',
      'Z I',
    ]);
    expect(await after('v', query('UPDATE t SET id = 1 WHERE id = 1 RETURNING *'))).toEqual([
      'T id:23|u:23|v:23',
      'D 1|5|5',
      'C UPDATE 1',
      'Z I',
    ]);
    const unnamed = [parse('', 'SELECT * FROM t'), bind('', '')];
    expect(await after('w', ...unnamed, describePart('P'), execute(), sync())).toEqual([
      '1',
      '2',
      'T id:23|u:23|v:23|w:23',
      'D 1|5|5|5',
      'C SELECT 1',
      'Z I',
    ]);
    await ask(b, parse('all', 'SELECT * FROM t'), sync());
    expect(await after('x', bind('', 'all'), execute(), sync())).toEqual(['2', 'E 0A000', 'Z I']);
    // Its client was told already.
    await ask(b, parse('', 'SELECT * FROM t'), describePart('S'), sync());
    expect(await after('y', bind('', ''), execute(), sync())).toEqual(['2', 'E 0A000', 'Z I']);
  });

  it('read through a cache far smaller than the table', async () => {
    await start({ engine: { bufferBytes: 64 * 8192 } });
    const a = await connect();
    const b = await connect();
    await ask(a, 'CREATE TABLE t (id int PRIMARY KEY, v text)');
    expect(
      await ask(a, "INSERT INTO t SELECT g, repeat('x', 200) FROM generate_series(1, 8000) g"),
    ).toContain('C INSERT 0 8000');
    const [sum, count] = await Promise.all([
      ask(a, 'SELECT sum(id) FROM t'),
      ask(b, 'SELECT count(*) FROM t WHERE length(v) = 200'),
    ]);
    expect(sum).toContain('D 32004000');
    expect(count).toContain('D 8000');
    expect(await ask(a, "UPDATE t SET v = 'y' WHERE id % 100 = 0")).toContain('C UPDATE 80');
    expect(
      await ask(
        b,
        parse('', 'SELECT v FROM t WHERE id = $1'),
        bind('', '', ['7900']),
        execute(),
        sync(),
      ),
    ).toContain('D y');
    expect(server.volume.pageReads).toBeGreaterThan(50);
  });
});

describe('waiting for others', () => {
  async function counter(): Promise<[RawClient, RawClient]> {
    await start();
    const a = await connect();
    const b = await connect();
    await ask(a, 'CREATE TABLE t (id int PRIMARY KEY, n int); INSERT INTO t VALUES (1, 0), (2, 0)');
    return [a, b];
  }

  it('an update waits for the row, then sees what was committed', async () => {
    const [a, b] = await counter();
    await ask(a, 'BEGIN; UPDATE t SET n = n + 1 WHERE id = 1');
    b.send(query('UPDATE t SET n = n + 10 WHERE id = 1 RETURNING n'));
    await soon();
    expect(b.types()).toBe('');
    await ask(a, 'COMMIT');
    expect(show(await b.until('Z'))).toContain('D 11');
  });

  it('REPEATABLE READ gets 40001 instead', async () => {
    const [a, b] = await counter();
    await ask(b, 'BEGIN ISOLATION LEVEL REPEATABLE READ; SELECT * FROM t');
    await ask(a, 'UPDATE t SET n = 5');
    expect(await ask(b, 'SELECT n FROM t WHERE id = 1')).toContain('D 0');
    expect(await ask(b, 'UPDATE t SET n = n + 1 WHERE id = 1')).toEqual(['E 40001', 'Z E']);
  });

  it('a wait ends by time-out, cancel and death of the holder', async () => {
    const [a, b] = await counter();
    await ask(a, 'BEGIN; UPDATE t SET n = 1 WHERE id = 1');
    expect(await ask(b, "SET lock_timeout = '20ms'; UPDATE t SET n = 2 WHERE id = 1")).toContain(
      'E 55P03',
    );
    expect(
      await ask(
        b,
        "SET lock_timeout = 0; SET statement_timeout = '20ms'; UPDATE t SET n = 2 WHERE id = 1",
      ),
    ).toContain('E 57014');
    await ask(b, 'RESET ALL');
    b.send(query('UPDATE t SET n = 3 WHERE id = 1 RETURNING n'));
    await soon();
    a.socket.destroy();
    expect(show(await b.until('Z'))).toContain('D 3');
  });

  it('a deadlock is broken, and its victim can go on', async () => {
    const [a, b] = await counter();
    await ask(a, 'BEGIN; UPDATE t SET n = 1 WHERE id = 1');
    await ask(b, 'BEGIN; UPDATE t SET n = 2 WHERE id = 2');
    a.send(query('UPDATE t SET n = 1 WHERE id = 2'));
    await soon();
    expect(await ask(b, 'UPDATE t SET n = 2 WHERE id = 1')).toEqual(['E 40P01', 'Z E']);
    expect(show(await a.until('Z'))).toContain('C UPDATE 1');
    await ask(a, 'COMMIT');
    expect(await ask(b, 'ROLLBACK')).toEqual(['C ROLLBACK', 'Z I']);
    expect(await ask(b, 'SELECT n FROM t ORDER BY id')).toEqual([
      'T n:23',
      'D 1',
      'D 1',
      'C SELECT 2',
      'Z I',
    ]);
  });
});

describe('rule 25: answers wait for what they rest on', () => {
  it('commits, reads, errors and open transactions, but not what rests on nothing new', async () => {
    await start({ volume: { manual: true } });
    const pump = setInterval(() => server.volume.advance(), 1);
    const a = await connect();
    const b = await connect();
    const c = await connect();
    const d = await connect();
    await ask(a, 'CREATE TABLE t (id int PRIMARY KEY, n int); INSERT INTO t VALUES (1, 0)');
    await ask(a, 'CREATE TABLE calm (id int PRIMARY KEY); INSERT INTO calm VALUES (7)');
    for (const client of [b, c, d]) await ask(client, 'SELECT * FROM t; SELECT * FROM calm');
    clearInterval(pump);
    server.volume.advance();

    a.send(query('UPDATE t SET n = 1; INSERT INTO t VALUES (2, 0)'));
    await soon();
    b.send(query('SELECT n FROM t WHERE id = 1'));
    c.send(query('INSERT INTO t VALUES (2, 9)'));
    expect(await ask(d, 'BEGIN')).toEqual(['C BEGIN', 'Z T']);
    d.send(query('UPDATE t SET n = n + 1 WHERE id = 1 RETURNING n'));
    await soon();
    expect([a, b, c, d].map((client) => client.types())).toEqual(['', '', '', '']);
    const e = await connect();
    expect(await ask(e, 'SELECT id FROM calm')).toContain('D 7');

    server.volume.advance();
    expect(show(await a.until('Z'))).toEqual(['C UPDATE 1', 'C INSERT 0 1', 'Z I']);
    expect(show(await b.until('Z'))).toContain('D 1');
    expect(show(await c.until('Z'))).toEqual(['E 23505', 'Z I']);
    expect(show(await d.until('Z'))).toContain('D 2');
  });

  it('a fenced engine answers nothing of its data and takes nobody in', async () => {
    await start({ volume: { manual: true } });
    const a = await connect();
    const b = await connect();
    a.send(query('CREATE TABLE t (id int)'));
    await soon();
    server.volume.fail();
    expect(show(await a.untilClosed())).toEqual(['E 57P01']);
    b.send(query('SELECT 1'));
    expect(show(await b.untilClosed())).toEqual(['E 57P01']);
    await expect(connect()).rejects.toThrow('closed');
  });
});

describe('copy', () => {
  it('takes rows in and gives them out, and fails whole', async () => {
    await start();
    const a = await connect();
    await ask(a, 'CREATE TABLE t (id int PRIMARY KEY, v text)');
    const data = (text: string): Buffer => {
      const bytes = Buffer.from(text);
      const head = Buffer.from([0x64, 0, 0, 0, 0]);
      head.writeInt32BE(bytes.length + 4, 1);
      return Buffer.concat([head, bytes]);
    };
    const done = Buffer.from([0x63, 0, 0, 0, 4]);
    a.send(
      query('COPY t FROM STDIN'),
      data('1\tone\n2\t'),
      data('\\N\n3\tthr'),
      data('ee\n\\.\n'),
      done,
    );
    expect(show(await a.until('Z'))).toEqual(['G', 'C COPY 3', 'Z I']);
    a.send(query('COPY t TO STDOUT'));
    const out = await a.until('Z');
    expect(
      out
        .filter((m) => m.type === 'd')
        .map((m) => m.body.toString())
        .join(''),
    ).toBe('1\tone\n2\t\\N\n3\tthree\n');
    expect(show(out).filter((line) => line !== 'd')).toEqual(['H', 'c', 'C COPY 3', 'Z I']);
    a.send(query('COPY t FROM STDIN'), data('4\tx\n1\tagain\n'), done);
    expect(show(await a.until('Z'))).toEqual(['G', 'E 23505', 'Z I']);
    a.send(query('COPY t FROM STDIN'), data('5\tx\n'), Buffer.from('f\0\0\0\x08no!\0'));
    expect(show(await a.until('Z'))).toEqual(['G', 'E 57014', 'Z I']);
    expect(await ask(a, 'SELECT count(*) FROM t')).toContain('D 3');
  });
});
