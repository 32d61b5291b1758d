/** The same queries here and in PostgreSQL 15: same rows, same error codes and messages. */
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { SqlError } from '../sql-error.js';
import { loadParser } from './parse/parser.js';
import { FakeDatabase } from './testing/fake-catalog.js';
import { declareTables, QUERIES, ROWS, SETUP } from './testing/queries.js';
import { startReference } from './testing/reference.test-helper.js';
import type { Reference } from './testing/reference.test-helper.js';

const started = startReference();
if (typeof started === 'string') console.log(`differential test skipped: ${started}`);
const reference = typeof started === 'string' ? null : started;
afterAll(() => reference?.close());

function answer(db: FakeDatabase, text: string): string[] {
  try {
    return db.show(text);
  } catch (error) {
    if (!(error instanceof SqlError)) throw error;
    return [`ERROR ${error.code} ${error.message}`];
  }
}

describe.skipIf(reference === null)('same answers as PostgreSQL 15', () => {
  const db = new FakeDatabase();
  beforeAll(async () => {
    await loadParser();
    for (const text of [...SETUP, ...ROWS]) (reference as Reference).query(text);
    declareTables(db);
  });

  it.each(QUERIES)('%s', (text) => {
    const theirs = (reference as Reference).query(text);
    const ours = answer(db, text);
    expect(text.includes('ORDER BY') ? ours : [...ours].sort()).toEqual(
      text.includes('ORDER BY') ? theirs : [...theirs].sort(),
    );
  });
});
