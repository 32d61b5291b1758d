/** Bytes that make no sense, clients that go away or never read: only their own connection suffers (WIRE-1). */
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import fc from 'fast-check';
import pg from 'pg';
import {
  bind,
  errorFields,
  execute,
  i32,
  message,
  parse,
  query,
  RawClient,
  show,
  startup,
  sync,
} from './raw-client.test-helper.js';
import { MessageReader } from './message-reader.js';
import { TestServer } from './test-server.test-helper.js';

let server: TestServer;
let witness: RawClient;
beforeAll(async () => {
  server = await TestServer.start();
  witness = await RawClient.start(server.port);
});
afterAll(async () => {
  witness.close();
  await server.close();
});

async function witnessIsWell(): Promise<void> {
  witness.send(query('SELECT 42'));
  expect(show(await witness.until('Z'))).toContain('D 42');
}

async function until(condition: () => boolean): Promise<void> {
  const deadline = Date.now() + 5000;
  while (!condition()) {
    if (Date.now() > deadline) throw new Error('not in time');
    await new Promise((resolve) => setTimeout(resolve, 5));
  }
}

describe('malformed input', () => {
  const cases: [string, Buffer][] = [
    ['an unknown message type', message('!', Buffer.alloc(3))],
    ['a length below four', Buffer.concat([Buffer.from('Q'), i32(3)])],
    ['a negative length', Buffer.concat([Buffer.from('Q'), i32(-5)])],
    ['a length of two gigabytes', Buffer.concat([Buffer.from('Q'), i32(0x7fffffff)])],
  ];
  for (const [what, bytes] of cases) {
    it(`ends the connection on ${what}`, async () => {
      const client = await RawClient.start(server.port);
      client.send(query('BEGIN'));
      await client.until('Z');
      client.send(bytes);
      const [last] = await client.untilClosed();
      expect(errorFields(last!.body)).toMatchObject({ S: 'FATAL', C: '08P01' });
      await until(() => server.engine.transactions.activeCount === 0);
      await witnessIsWell();
    });
  }

  it('ends a startup packet that is too long or too short', async () => {
    for (const bytes of [i32(10_001), Buffer.concat([i32(6), Buffer.alloc(2)]), i32(0)]) {
      const client = new RawClient(server.port);
      client.send(bytes);
      const [last] = await client.untilClosed();
      expect(errorFields(last!.body)['C']).toBe('08P01');
    }
    await witnessIsWell();
  });

  it('survives whatever bytes follow a handshake', async () => {
    await fc.assert(
      fc.asyncProperty(
        fc.array(
          fc.record({
            type: fc.constantFrom(...Array.from('BCdcfDEHFPpQSX')),
            body: fc.uint8Array({ maxLength: 40 }),
          }),
          { minLength: 1, maxLength: 8 },
        ),
        async (messages) => {
          const client = await RawClient.start(server.port);
          client.send(...messages.map(({ type, body }) => message(type, body)));
          client.send(message('X'));
          await client.untilClosed();
          client.close();
        },
      ),
      { numRuns: 60 },
    );
    await witnessIsWell();
    await until(() => server.server.connectionCount === 1);
  });

  it('refuses texts that are not UTF-8', async () => {
    const client = await RawClient.start(server.port);
    client.send(message('Q', Buffer.from([0x53, 0xff, 0xfe, 0])));
    expect(show(await client.until('Z'))).toEqual(['E 22021', 'Z I']);
    client.close();
  });
});

describe('chunks', () => {
  it('puts messages together however they are cut', () => {
    const bytes = Buffer.concat([
      parse('a', 'SELECT 1'),
      bind('', 'a', ['x'.repeat(300), null]),
      execute(),
      sync(),
    ]);
    fc.assert(
      fc.property(
        fc.array(fc.integer({ min: 0, max: bytes.length }), { maxLength: 12 }),
        (cuts) => {
          const reader = new MessageReader();
          const found: string[] = [];
          const ends = [...cuts.sort((a, b) => a - b), bytes.length];
          let from = 0;
          for (const end of ends) {
            reader.push(Buffer.from(bytes.subarray(from, end)));
            from = end;
            reader.bytesMax = 1 << 20;
            while (reader.next())
              found.push(`${String.fromCharCode(reader.type)}${reader.rest().length}`);
          }
          expect(found).toEqual(['P13', 'B317', 'E5', 'S0']);
        },
      ),
      { numRuns: 300 },
    );
  });

  it('takes a conversation byte by byte', async () => {
    const client = await RawClient.start(server.port);
    const bytes = Buffer.concat([
      parse('', 'SELECT $1::text'),
      bind('', '', ['drip']),
      execute(),
      sync(),
    ]);
    for (const byte of bytes) {
      client.send(Buffer.from([byte]));
      if (byte % 16 === 0) await new Promise((resolve) => setImmediate(resolve));
    }
    expect(show(await client.until('Z'))).toContain('D drip');
    client.close();
  });
});

describe('clients that go away', () => {
  it('rolls back and lets go of locks when the socket is reset in the middle of a statement', async () => {
    const client = await RawClient.start(server.port);
    client.send(query('BEGIN; SELECT pg_advisory_xact_lock(99); SELECT pg_sleep(30)'));
    await until(() => server.engine.transactions.activeCount === 1);
    client.socket.resetAndDestroy();
    await until(() => server.engine.transactions.activeCount === 0);
    witness.send(query('SELECT pg_try_advisory_xact_lock(99)'));
    expect(show(await witness.until('Z'))).toContain('D t');
  });

  it('ends with a half-closed socket', async () => {
    const client = await RawClient.start(server.port);
    client.socket.end(query('SELECT pg_sleep(30)'));
    await client.untilClosed();
    await until(() => server.server.connectionCount === 1);
    await witnessIsWell();
  });

  it('holds a result back from a client that does not read, and goes on when it does', async () => {
    const client = await RawClient.start(server.port);
    client.socket.pause();
    client.send(query("SELECT repeat('x', 1000) FROM generate_series(1, 60000)"));
    await new Promise((resolve) => setTimeout(resolve, 300));
    const held = process.memoryUsage().rss;
    await witnessIsWell();
    expect(held).toBeLessThan(1024 * 1024 * 1024);
    client.socket.resume();
    const messages = await client.until('Z', 20_000);
    expect(messages.filter((m) => m.type === 'D')).toHaveLength(60_000);
    client.close();
  });

  it('survives a storm of cancel requests', async () => {
    const client = new RawClient(server.port);
    client.send(startup({ user: 'postgres', database: 'postgres' }));
    const key = (await client.until('Z')).find((m) => m.type === 'K')!.body;
    const storm = Array.from({ length: 100 }, async (_, i) => {
      const other = new RawClient(server.port);
      other.send(i32(16), i32(80877102), i % 2 === 0 ? key : Buffer.alloc(8, i));
      await other.untilClosed();
    });
    for (let i = 0; i < 20; i++) {
      client.send(query('SELECT pg_sleep(0.001)'));
      await client.until('Z');
    }
    await Promise.all(storm);
    client.send(query('SELECT 5'));
    expect(show(await client.until('Z'))).toContain('D 5');
    client.close();
    await witnessIsWell();
  });
});

describe('passwords and limits', () => {
  it('authenticates by SCRAM-SHA-256', async () => {
    const guarded = await TestServer.start({
      users: { alice: { password: 'correct horse' } },
      engine: { connectionsMax: 2 },
    });
    const connect = async (user: string, password: string): Promise<pg.Client> => {
      const client = new pg.Client({
        host: '127.0.0.1',
        port: guarded.port,
        user,
        password,
        database: 'postgres',
      });
      await client.connect();
      return client;
    };
    await expect(connect('alice', 'wrong')).rejects.toMatchObject({ code: '28P01' });
    await expect(connect('mallory', 'correct horse')).rejects.toMatchObject({ code: '28P01' });
    const first = await connect('alice', 'correct horse');
    expect((await first.query('SELECT current_user AS u')).rows).toEqual([{ u: 'alice' }]);
    const second = await connect('alice', 'correct horse');
    await expect(connect('alice', 'correct horse')).rejects.toMatchObject({ code: '53300' });
    await first.end();
    await second.end();
    await guarded.close();
  });

  it('works with the pg driver: pool, types, errors', async () => {
    const pool = new pg.Pool({ connectionString: server.url, max: 8 });
    pool.on('error', () => undefined);
    const rows = await Promise.all(
      Array.from(
        { length: 50 },
        async (_, i) => (await pool.query('SELECT $1::int * 2 AS n', [i])).rows[0].n,
      ),
    );
    expect(rows).toEqual(Array.from({ length: 50 }, (_, i) => i * 2));
    const { rows: typed } = await pool.query(
      "SELECT true AS b, 1.50::numeric AS n, '{1,2}'::int[] AS a, '{\"x\":1}'::jsonb AS j, '\\xff'::bytea AS y, NULL AS z",
    );
    expect(typed).toEqual([
      { b: true, n: '1.50', a: [1, 2], j: { x: 1 }, y: Buffer.from([255]), z: null },
    ]);
    await expect(pool.query('SELECT nothing')).rejects.toMatchObject({
      code: '42703',
      position: '8',
    });
    await pool.end();
  });
});
