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

describe('the real table store', () => {
  it('gives the answers of the fake one', async () => {
    const fake = new FakeDatabase();
    declareTables(fake);
    const volume = new MemoryVolume();
    const space = await PageSpace.open(volume, { bufferBytes: 8 << 20 });
    const manager = new LocalTransactionManager(space);
    const store = new LocalTableStore(manager);
    const roots: number[] = [];
    const ddl = manager.begin({ isolation: 'read committed', readOnly: false });
    for (let i = 0; i < 12; i++) roots.push(await ready(() => store.createTree(ddl)));
    await ready(() => ddl.commit());
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
});
