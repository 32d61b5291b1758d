/** The same queries over the real table store (pages, trees, versions) as over the fake one: same answers. */
import { beforeAll, describe, expect, it } from 'vitest';
import { Suspend } from '../pages/suspend.js';
import { PageSpace } from '../pages/page-space.js';
import { SqlError } from '../sql-error.js';
import { LocalTableStore } from '../tables/local-table-store.js';
import { LocalTransactionManager } from '../txn/manager.js';
import type { Transaction } from '../txn/transaction.js';
import { MemoryVolume } from '../volume/memory-volume.js';
import { builtinTypes } from './bind/builtin-types.js';
import { SqlCompiler } from './compiler.js';
import { notSupported } from '../sql-error.js';
import { loadParser } from './parse/parser.js';
import type { FakeCatalog } from './testing/fake-catalog.js';
import { FakeDatabase, fakeSession } from './testing/fake-catalog.js';
import { declareTables, QUERIES, ROWS } from './testing/queries.js';

beforeAll(async () => loadParser());

async function ready<T>(work: () => T): Promise<T> {
  for (;;) {
    try {
      return work();
    } catch (error) {
      if (!(error instanceof Suspend)) throw error;
      await error.ready;
    }
  }
}

class RealDatabase {
  readonly catalog: FakeCatalog;
  readonly compiler: SqlCompiler;
  readonly transaction: Transaction;

  constructor(catalog: FakeCatalog, store: LocalTableStore, transaction: Transaction) {
    this.catalog = catalog;
    this.transaction = transaction;
    this.compiler = new SqlCompiler({
      store,
      types: builtinTypes,
      utility: {
        compile: (tag) => {
          throw notSupported(tag);
        },
      },
    });
  }

  async answer(text: string): Promise<string> {
    const request = { catalog: this.catalog, searchPath: ['public'], parameterOids: [] };
    const { transaction } = this;
    transaction.command++;
    const mark = transaction.mark();
    try {
      const [statement] = this.compiler.prepare(text, request);
      const execution = statement!.open({
        transaction,
        snapshot: transaction.snapshot(),
        parameters: [],
        session: fakeSession(),
      });
      const lines: string[] = [];
      while ((await ready(() => execution.step())) === 'row') {
        const shown = (statement!.columns ?? []).map((c, i) => {
          const v = execution.row[i] ?? null;
          return v === null ? '' : builtinTypes.output(c.typeOid, v);
        });
        lines.push(shown.join('|'));
      }
      return lines.join('\n');
    } catch (error) {
      if (!(error instanceof SqlError)) throw error;
      await ready(() => transaction.rollbackToMark(mark));
      return `${error.code} ${error.message}`;
    }
  }
}

async function openStore(): Promise<{
  manager: LocalTransactionManager;
  store: LocalTableStore;
  roots: number[];
}> {
  const space = await PageSpace.open(new MemoryVolume(), { bufferBytes: 8 << 20 });
  const manager = new LocalTransactionManager(space);
  const store = new LocalTableStore(manager);
  const roots: number[] = [];
  const ddl = manager.begin({ isolation: 'read committed', readOnly: false });
  for (let i = 0; i < 12; i++) roots.push(await ready(() => store.createTree(ddl)));
  await ready(() => ddl.commit());
  return { manager, store, roots };
}

describe('the real table store', () => {
  it('gives the answers of the fake one', async () => {
    const fake = new FakeDatabase();
    declareTables(fake);
    const { manager, store, roots } = await openStore();
    const shell = new FakeDatabase();
    shell.catalog.newRoot = () => roots.pop() as number;
    // The tables only: rows go in below, through the real store.
    declareTables(shell, false);
    const txn = manager.begin({ isolation: 'read committed', readOnly: false });
    const real = new RealDatabase(shell.catalog, store, txn);
    for (const text of ROWS) expect(await real.answer(text)).toBe('');
    for (const text of QUERIES) {
      let theirs: string;
      try {
        theirs = fake.show(text).join('\n');
      } catch (error) {
        if (!(error instanceof SqlError)) throw error;
        theirs = `${error.code} ${error.message}`;
      }
      const ours = await real.answer(text);
      const sorted = (s: string): string =>
        text.includes('ORDER BY') ? s : s.split('\n').sort().join('\n');
      expect([text, sorted(ours)]).toEqual([text, sorted(theirs)]);
    }
    await ready(() => txn.commit());
  });

  it.each(['read committed', 'repeatable read'] as const)(
    'keeps foreign keys, %s',
    async (isolation) => {
      const { manager, store, roots } = await openStore();
      const shell = new FakeDatabase();
      shell.catalog.newRoot = () => roots.pop() as number;
      shell.catalog.addTable({ name: 'p', columns: ['id int4'], primary: ['id'] });
      shell.catalog.addTable({
        name: 'c',
        columns: ['id int4', 'pid int4'],
        primary: ['id'],
        indexes: [{ name: 'c_pid', columns: ['pid'] }],
      });
      shell.catalog.addForeignKey('c', ['pid'], 'p', { onUpdate: 'cascade' });
      const begin = () =>
        new RealDatabase(shell.catalog, store, manager.begin({ isolation, readOnly: false }));
      const first = begin();
      await first.answer('INSERT INTO p VALUES (1), (2), (3)');
      await first.answer('INSERT INTO c VALUES (1, 1)');
      await ready(() => first.transaction.commit());
      // A child that commits after the deleter's snapshot still protects its parent.
      const deleter = begin();
      expect(await deleter.answer('SELECT count(*) FROM p')).toBe('3');
      const child = begin();
      expect(await child.answer('INSERT INTO c VALUES (2, 2)')).toBe('');
      expect(await child.answer('INSERT INTO c VALUES (3, 9)')).toMatch(/^23503/);
      await ready(() => child.transaction.commit());
      expect(await deleter.answer('DELETE FROM p WHERE id = 2')).toMatch(/^23503/);
      expect(await deleter.answer('DELETE FROM p WHERE id = 3')).toBe('');
      expect(await deleter.answer('UPDATE p SET id = 10 WHERE id = 1')).toBe('');
      expect(await deleter.answer('SELECT pid FROM c WHERE id = 1')).toBe('10');
      await ready(() => deleter.transaction.commit());
    },
  );
});
