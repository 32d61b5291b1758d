/** Protocol 3 as a socket sees it: which messages go in, which come out. */
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import {
  bind,
  close,
  describe as describeMessage,
  errorFields,
  execute,
  flush,
  i32,
  message,
  parse,
  query,
  RawClient,
  show,
  startup,
  sync,
} from './raw-client.test-helper.js';
import { TestServer } from './test-server.test-helper.js';

let server: TestServer;
beforeAll(async () => {
  server = await TestServer.start();
});
afterAll(() => server.close());

async function conversation(
  work: (ask: (...parts: Uint8Array[]) => Promise<string[]>, client: RawClient) => Promise<void>,
): Promise<void> {
  const client = await RawClient.start(server.port);
  try {
    await work(async (...parts) => {
      client.send(...parts);
      return show(await client.until('Z'));
    }, client);
  } finally {
    client.close();
  }
}

describe('handshake', () => {
  it('refuses encryption and goes on in the clear', async () => {
    const client = new RawClient(server.port);
    client.socket.removeAllListeners('data');
    const answers: string[] = [];
    for (const code of [80877103, 80877104]) {
      const answer = new Promise<string>((resolve) =>
        client.socket.once('data', (chunk: Buffer) => resolve(chunk.toString())),
      );
      client.send(i32(8), i32(code));
      answers.push(await answer);
    }
    expect(answers).toEqual(['N', 'N']);
    const greeting = new Promise<Buffer>((resolve) => client.socket.once('data', resolve));
    client.send(startup({ user: 'postgres', database: 'postgres' }));
    expect((await greeting).toString('latin1', 0, 1)).toBe('R');
    client.close();
  });

  it('greets with what drivers look at', async () => {
    const client = new RawClient(server.port);
    client.send(startup({ user: 'postgres', database: 'postgres', application_name: 'golden' }));
    const greeting = show(await client.until('Z'));
    expect(greeting).toEqual([
      'R',
      'S application_name=golden',
      'S client_encoding=UTF8',
      'S DateStyle=ISO, MDY',
      'S default_transaction_read_only=off',
      'S in_hot_standby=off',
      'S integer_datetimes=on',
      'S IntervalStyle=postgres',
      'S is_superuser=on',
      'S server_encoding=UTF8',
      'S server_version=15.8',
      'S standard_conforming_strings=on',
      'S TimeZone=UTC',
      'S session_authorization=postgres',
      'K',
      'Z I',
    ]);
    client.close();
  });

  it('negotiates newer minor versions and unknown protocol options down', async () => {
    const client = new RawClient(server.port);
    client.send(startup({ user: 'postgres', database: 'postgres', '_pq_.magic': '1' }, 0x30009));
    const [first] = await client.until('Z');
    expect(first!.type).toBe('v');
    expect(first!.body.readInt32BE(0)).toBe(0x30002);
    expect(first!.body.readInt32BE(4)).toBe(1);
    expect(first!.body.toString('utf8', 8)).toBe('_pq_.magic\0');
    client.close();
  });

  it('takes settings from the startup packet and its options', async () => {
    const client = await RawClient.start(server.port, {
      options: '-c statement_timeout=7s --lock-timeout=9',
      search_path: 'a,b',
    });
    const value = async (name: string): Promise<string> => {
      client.send(query(`SHOW ${name}`));
      return show(await client.until('Z'))[1]!;
    };
    expect(await value('statement_timeout')).toBe('D 7s');
    expect(await value('lock_timeout')).toBe('D 9ms');
    expect(await value('search_path')).toBe('D a,b');
    client.close();
  });

  it('ends what cannot be', async () => {
    const fatal = async (...parts: Uint8Array[]): Promise<string | undefined> => {
      const client = new RawClient(server.port);
      client.send(...parts);
      const [first] = await client.untilClosed();
      return first === undefined ? undefined : errorFields(first.body)['C'];
    };
    expect(await fatal(startup({ user: 'postgres' }, 0x20000))).toBe('0A000');
    expect(await fatal(startup({ database: 'postgres' }))).toBe('28000');
    expect(await fatal(startup({ user: 'postgres', database: 'nowhere' }))).toBe('3D000');
    expect(await fatal(startup({ user: 'postgres', database: 'postgres', nonsense: '1' }))).toBe(
      '42704',
    );
    expect(await fatal(startup({ user: 'p', database: 'postgres', replication: 'true' }))).toBe(
      '0A000',
    );
  });
});

describe('simple query', () => {
  it('answers every statement of a text, in one implicit transaction', () =>
    conversation(async (ask) => {
      expect(await ask(query("SELECT 1 AS a, NULL, 'x' b; SELECT true"))).toEqual([
        'T a:23|?column?:25|b:25',
        'D 1|NULL|x',
        'C SELECT 1',
        'T ?column?:16',
        'D t',
        'C SELECT 1',
        'Z I',
      ]);
      expect(await ask(query('SELECT 1; SELECT 1/0; SELECT 2'))).toContain('E 22012');
      expect(await ask(query('  '))).toEqual(['I', 'Z I']);
      expect(await ask(query('-- nothing'))).toEqual(['I', 'Z I']);
    }));

  it('keeps the state of a block: I, T, E', () =>
    conversation(async (ask) => {
      expect(await ask(query('BEGIN'))).toEqual(['C BEGIN', 'Z T']);
      expect(await ask(query('BEGIN'))).toEqual(['N 25001', 'C BEGIN', 'Z T']);
      expect(await ask(query('selec'))).toEqual(['E 42601', 'Z E']);
      expect(await ask(query('SELECT 1'))).toEqual(['E 25P02', 'Z E']);
      expect(await ask(query('COMMIT'))).toEqual(['C ROLLBACK', 'Z I']);
      expect(await ask(query('COMMIT'))).toEqual(['N 25P01', 'C COMMIT', 'Z I']);
      expect(await ask(query('ROLLBACK'))).toEqual(['N 25P01', 'C ROLLBACK', 'Z I']);
    }));

  it('goes back to savepoints, out of a failed block too', () =>
    conversation(async (ask) => {
      await ask(query('BEGIN; SAVEPOINT a; SET statement_timeout = 5; SAVEPOINT b'));
      expect(await ask(query('SELECT 1/0'))).toContain('Z E');
      expect(await ask(query('ROLLBACK TO b'))).toEqual(['C ROLLBACK', 'Z T']);
      expect(await ask(query('SHOW statement_timeout'))).toContain('D 5ms');
      expect(await ask(query('ROLLBACK TO a'))).toEqual(['C ROLLBACK', 'Z T']);
      expect(await ask(query('SHOW statement_timeout'))).toContain('D 0');
      expect(await ask(query('RELEASE b'))).toEqual(['E 3B001', 'Z E']);
      expect(await ask(query('ROLLBACK TO nowhere'))).toEqual(['E 3B001', 'Z E']);
      expect(await ask(query('ROLLBACK AND CHAIN'))).toEqual(['C ROLLBACK', 'Z T']);
      expect(await ask(query('COMMIT'))).toEqual(['C COMMIT', 'Z I']);
      expect(await ask(query('SAVEPOINT a'))).toEqual(['E 25P01', 'Z I']);
    }));

  it('tells the position of an error in characters', () =>
    conversation(async (_, client) => {
      client.send(query("SELECT 'ä', nocolumn"));
      const error = (await client.until('Z')).find((m) => m.type === 'E');
      expect(errorFields(error!.body)).toMatchObject({
        S: 'ERROR',
        V: 'ERROR',
        C: '42703',
        P: '13',
      });
    }));
});

describe('settings', () => {
  it('are transactional, local ones end with their transaction, reported ones are told', () =>
    conversation(async (ask) => {
      expect(await ask(query("SET TimeZone = 'Europe/Paris'"))).toEqual([
        'S TimeZone=Europe/Paris',
        'C SET',
        'Z I',
      ]);
      await ask(query("BEGIN; SET TimeZone = 'Asia/Tokyo'"));
      expect(await ask(query('ROLLBACK'))).toEqual([
        'S TimeZone=Europe/Paris',
        'C ROLLBACK',
        'Z I',
      ]);
      await ask(query('BEGIN; SET LOCAL lock_timeout = 5; SET statement_timeout = 6'));
      expect(await ask(query('SHOW lock_timeout; COMMIT'))).toContain('D 5ms');
      expect(await ask(query('SHOW lock_timeout'))).toContain('D 0');
      expect(await ask(query('SHOW statement_timeout'))).toContain('D 6ms');
      expect(await ask(query('RESET ALL; SHOW TimeZone'))).toContain('D UTC');
    }));

  it('refuses what it does not know or cannot do', () =>
    conversation(async (ask) => {
      expect(await ask(query('SET nothing = 1'))).toEqual(['E 42704', 'Z I']);
      expect(await ask(query('SHOW nothing'))).toEqual(['E 42704', 'Z I']);
      expect(await ask(query("SET DateStyle = 'German'"))).toEqual(['E 0A000', 'Z I']);
      expect(await ask(query("SET client_encoding = 'LATIN1'"))).toEqual(['E 0A000', 'Z I']);
      expect(await ask(query('SET server_version = 1'))).toEqual(['E 55P02', 'Z I']);
      expect(await ask(query('SET statement_timeout = -1'))).toEqual(['E 22023', 'Z I']);
      expect(await ask(query("SET TimeZone = 'Mars/Base'"))).toEqual(['E 22023', 'Z I']);
      expect(await ask(query('BEGIN ISOLATION LEVEL SERIALIZABLE'))).toEqual(['E 0A000', 'Z E']);
      await ask(query('ROLLBACK'));
      expect(await ask(query('SET my.own = 1; SHOW my.own'))).toContain('D 1');
    }));

  it('fixes isolation at the first query', () =>
    conversation(async (ask) => {
      await ask(query('BEGIN ISOLATION LEVEL REPEATABLE READ, READ ONLY; SELECT 1'));
      expect(await ask(query('SHOW transaction_isolation'))).toContain('D repeatable read');
      expect(await ask(query('SHOW transaction_read_only'))).toContain('D on');
      expect(await ask(query('SET TRANSACTION ISOLATION LEVEL READ COMMITTED'))).toEqual([
        'E 25001',
        'Z E',
      ]);
      await ask(query('ROLLBACK'));
      expect(await ask(query('SHOW transaction_isolation'))).toContain('D read committed');
    }));
});

describe('extended query', () => {
  it('parses, describes, binds and executes; binary and text', () =>
    conversation(async (ask) => {
      expect(
        await ask(
          parse('s', 'SELECT $1::int4 + 1 AS n, $2::text AS t'),
          describeMessage('S', 's'),
          bind('', 's', [i32(41), 'x'], [1, 0], [1, 0]),
          describeMessage('P'),
          execute(),
          sync(),
        ),
      ).toEqual([
        '1',
        't 23,25',
        'T n:23|t:25',
        '2',
        'T n:23|t:25',
        'D \0\0\0*|x',
        'C SELECT 1',
        'Z I',
      ]);
      expect(await ask(bind('', 's', ['1', null]), execute(), sync())).toEqual([
        '2',
        'D 2|NULL',
        'C SELECT 1',
        'Z I',
      ]);
      expect(await ask(parse('s', 'SELECT 1'), sync())).toEqual(['E 42P05', 'Z I']);
      expect(await ask(close('S', 's'), bind('', 's'), sync())).toEqual(['3', 'E 26000', 'Z I']);
      expect(await ask(execute('nowhere'), sync())).toEqual(['E 34000', 'Z I']);
    }));

  it('stops at a row limit and goes on, past Sync within a block', () =>
    conversation(async (ask) => {
      await ask(query('BEGIN'));
      expect(
        await ask(
          parse('', 'SELECT * FROM generate_series(1, 5)'),
          bind('c', ''),
          execute('c', 2),
          sync(),
        ),
      ).toEqual(['1', '2', 'D 1', 'D 2', 's', 'Z T']);
      expect(await ask(execute('c', 2), sync())).toEqual(['D 3', 'D 4', 's', 'Z T']);
      expect(await ask(execute('c', 0), sync())).toEqual(['D 5', 'C SELECT 5', 'Z T']);
      await ask(query('COMMIT'));
      expect(await ask(execute('c', 0), sync())).toEqual(['E 34000', 'Z I']);
    }));

  it('skips to Sync after an error, then is as before', () =>
    conversation(async (ask) => {
      expect(
        await ask(
          parse('', 'SELECT 1/0'),
          bind('', ''),
          execute(),
          parse('', 'SELECT 1'),
          bind('', ''),
          execute(),
          sync(),
        ),
      ).toEqual(['1', '2', 'E 22012', 'Z I']);
      expect(await ask(parse('', 'SELECT 7'), bind('', ''), execute(), sync())).toContain('D 7');
    }));

  it('answers before Sync when asked to flush', () =>
    conversation(async (_, client) => {
      client.send(parse('', 'SELECT 1'), bind('', ''), execute(), flush());
      expect(show(await client.until('C'))).toEqual(['1', '2', 'D 1', 'C SELECT 1']);
      client.send(sync());
      expect(show(await client.until('Z'))).toEqual(['Z I']);
    }));

  it('answers a pipeline in order', () =>
    conversation(async (_, client) => {
      const parts: Buffer[] = [parse('p', 'SELECT $1::int')];
      for (let i = 0; i < 500; i++) parts.push(bind('', 'p', [String(i)]), execute(), sync());
      client.send(...parts);
      const rows: string[] = [];
      for (let i = 0; i < 500; i++) {
        rows.push(...show(await client.until('Z')).filter((line) => line.startsWith('D')));
      }
      expect(rows).toEqual(Array.from({ length: 500 }, (_row, i) => `D ${i}`));
    }));

  it('refuses wrong counts, formats and statements without leaving the protocol', () =>
    conversation(async (ask) => {
      await ask(parse('s', 'SELECT $1::int, $2::int'), sync());
      expect(await ask(bind('', 's', ['1']), sync())).toEqual(['E 08P01', 'Z I']);
      expect(await ask(bind('', 's', ['1', 'x']), sync())).toEqual(['E 22P02', 'Z I']);
      expect(await ask(bind('', 's', ['1', '2'], [7]), sync())).toEqual(['E 22023', 'Z I']);
      expect(await ask(bind('', 's', ['1', '2'], [], [0, 0, 0]), sync())).toEqual([
        'E 08P01',
        'Z I',
      ]);
      expect(await ask(parse('', 'SELECT 1; SELECT 2'), sync())).toEqual(['E 42601', 'Z I']);
      expect(await ask(parse('', 'SELECT $1'), sync())).toEqual(['1', 'Z I']);
      expect(await ask(message('F', i32(1)), sync())).toEqual(['E 0A000', 'Z I']);
      expect(await ask(message('D', Buffer.from('Xy\0')), sync())).toEqual(['E 08P01', 'Z I']);
      expect(await ask(message('B', Buffer.from('a')), sync())).toEqual(['E 08P01', 'Z I']);
    }));
});

describe('statements of the session', () => {
  it('prepares, executes and forgets by SQL', () =>
    conversation(async (ask) => {
      expect(await ask(query('PREPARE p(int, text) AS SELECT $1 + 1 AS x, $2 AS y'))).toEqual([
        'C PREPARE',
        'Z I',
      ]);
      expect(await ask(query("EXECUTE p(41, 'a')"))).toEqual([
        'T x:23|y:25',
        'D 42|a',
        'C SELECT 1',
        'Z I',
      ]);
      expect(await ask(query('EXECUTE p(1)'))).toEqual(['E 42601', 'Z I']);
      expect(await ask(query('DEALLOCATE p; EXECUTE p(1)'))).toContain('E 26000');
    }));

  it('reads cursors in pieces', () =>
    conversation(async (ask) => {
      expect(await ask(query('DECLARE c CURSOR FOR SELECT 1'))).toEqual(['E 25P01', 'Z I']);
      await ask(query('BEGIN; DECLARE c CURSOR FOR SELECT * FROM generate_series(1, 4)'));
      expect(await ask(query('FETCH 2 FROM c'))).toEqual([
        'T generate_series:23',
        'D 1',
        'D 2',
        'C FETCH 2',
        'Z T',
      ]);
      expect(await ask(query('MOVE 1 FROM c; FETCH ALL FROM c'))).toContain('D 4');
      expect(await ask(query('CLOSE c; FETCH c'))).toContain('E 34000');
    }));

  it('delivers notifications at commit, and to itself', () =>
    conversation(async (ask, client) => {
      const other = await RawClient.start(server.port);
      await ask(query('LISTEN news'));
      other.send(query("BEGIN; NOTIFY news, 'first'; NOTIFY news, 'first'; NOTIFY news, 'second'"));
      await other.until('Z');
      expect(client.types()).toBe('');
      other.send(query('COMMIT'));
      await other.until('Z');
      expect(show(await client.until('A'))).toEqual(['A news first']);
      expect(show(await client.until('A'))).toEqual(['A news second']);
      expect(await ask(query("NOTIFY news, 'own'"))).toEqual(['C NOTIFY', 'A news own', 'Z I']);
      other.send(query("BEGIN; NOTIFY news, 'lost'; ROLLBACK"));
      await other.until('Z');
      expect(await ask(query('UNLISTEN *'))).toEqual(['C UNLISTEN', 'Z I']);
      other.close();
    }));

  it('forgets everything at DISCARD ALL', () =>
    conversation(async (ask) => {
      await ask(
        query("SET my.own = 1; PREPARE p AS SELECT 1; LISTEN x; SET TimeZone = 'Asia/Tokyo'"),
      );
      await ask(query('SELECT pg_advisory_lock(1)'));
      expect(await ask(query('DISCARD ALL'))).toContain('C DISCARD ALL');
      expect(await ask(query('EXECUTE p'))).toContain('E 26000');
      expect(await ask(query('SHOW TimeZone'))).toContain('D UTC');
      expect(await ask(query('SHOW my.own'))).toContain('E 42704');
      expect(await ask(query('SELECT pg_advisory_unlock(1)'))).toContain('D f');
    }));
});

describe('waiting', () => {
  it('waits for advisory locks in turn, gives up in time and lets go at the end', () =>
    conversation(async (ask) => {
      const other = await RawClient.start(server.port);
      await ask(query('SELECT pg_advisory_lock(7)'));
      other.send(query("SET lock_timeout = '50ms'; SELECT pg_advisory_lock(7)"));
      expect(show(await other.until('Z'))).toContain('E 55P03');
      other.send(query('SET lock_timeout = 0; SELECT pg_advisory_lock(7); SELECT 8'));
      await ask(query('SELECT pg_advisory_unlock(7)'));
      expect(show(await other.until('Z'))).toContain('D 8');
      expect(await ask(query('SELECT pg_try_advisory_lock(7)'))).toContain('D f');
      other.close();
      let held = false;
      for (let i = 0; i < 100 && !held; i++) {
        held = (await ask(query('SELECT pg_try_advisory_lock(7)'))).includes('D t');
      }
      expect(held).toBe(true);
    }));

  it('finds deadlocks', () =>
    conversation(async (ask) => {
      const other = await RawClient.start(server.port);
      await ask(query('SELECT pg_advisory_lock(11)'));
      other.send(query('SELECT pg_advisory_lock(12)'));
      await other.until('Z');
      other.send(query('SELECT pg_advisory_lock(11)'));
      await new Promise((resolve) => setTimeout(resolve, 20));
      expect(await ask(query('SELECT pg_advisory_lock(12)'))).toContain('E 40P01');
      other.close();
    }));

  it('cancels by key, by function and by time', () =>
    conversation(async (ask) => {
      const other = new RawClient(server.port);
      other.send(startup({ user: 'postgres', database: 'postgres' }));
      const key = (await other.until('Z')).find((m) => m.type === 'K')!.body;
      other.send(query('SELECT pg_sleep(20)'));
      await new Promise((resolve) => setTimeout(resolve, 20));
      const wrong = new RawClient(server.port);
      wrong.send(i32(16), i32(80877102), key.subarray(0, 4), i32(key.readInt32BE(4) ^ 1));
      await wrong.untilClosed();
      expect(other.messages.map((m) => m.type)).not.toContain('E');
      const right = new RawClient(server.port);
      right.send(i32(16), i32(80877102), key);
      await right.untilClosed();
      expect(show(await other.until('Z'))).toContain('E 57014');
      other.send(query('SELECT pg_sleep(20)'));
      await new Promise((resolve) => setTimeout(resolve, 20));
      expect(await ask(query(`SELECT pg_cancel_backend(${key.readInt32BE(0)})`))).toContain('D t');
      expect(show(await other.until('Z'))).toContain('E 57014');
      expect(await ask(query("SET statement_timeout = '30ms'; SELECT pg_sleep(20)"))).toContain(
        'E 57014',
      );
      await ask(query('RESET statement_timeout'));
      await ask(query(`SELECT pg_terminate_backend(${key.readInt32BE(0)})`));
      expect(show(await other.untilClosed())).toEqual(['E 57P01']);
    }));

  it('ends a connection that is idle in its transaction', () =>
    conversation(async (_, client) => {
      client.send(query("SET idle_in_transaction_session_timeout = '30ms'; BEGIN"));
      await client.until('Z');
      const last = await client.untilClosed();
      expect(show(last)).toEqual(['E 25P03']);
      expect(errorFields(last[0]!.body)['S']).toBe('FATAL');
    }));
});
