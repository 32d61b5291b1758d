/** Rule 24: whatever suspends, and wherever, the answer is the same as without. */
import { beforeAll, describe, expect, it } from 'vitest';
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
