/**
 * Results, SQLSTATEs and messages that a PostgreSQL 15 server gave for these expressions (time zone UTC). `want` is
 * the text of the result; `<null>`; or `!` with code and message.
 */
import { readFileSync } from 'node:fs';
import { describe, expect, test } from 'vitest';
import type { SessionView } from '../sql/statement.js';
import { SqlError } from '../sql-error.js';
import { requireCast } from '../types/cast.js';
import { OID } from '../types/oids.js';
import { typeByName, typeOf } from '../types/registry.js';
import type { Value } from '../types/value.js';
import { resolveFunction, resolveOperator } from './resolve.js';

interface Case {
  cast?: string;
  op?: string;
  fn?: string;
  args: [string, string][];
  want: string;
}

const session: SessionView = {
  id: 1,
  user: 'postgres',
  database: 'postgres',
  statementTime: 0n,
  transactionTime: 0n,
  clockTime: () => 0n,
  getSetting: (name) => (name === 'TimeZone' ? 'UTC' : undefined),
  setSetting: () => {},
  searchPath: ['public'],
  notice: () => {},
  memory: new Map(),
  random: () => 0.5,
};

function run(given: Case): string {
  const oids = given.args.map(([type]) => typeByName(type)!.oid);
  const values = given.args.map(([, text], i) => typeOf(oids[i]!).fromText(text));
  let result: Value;
  let oid: number;
  if (given.cast !== undefined) {
    oid = typeByName(given.cast)!.oid;
    result = requireCast(oids[0]!, oid, 'e').convert(values[0]!);
  } else {
    const call =
      given.op === undefined
        ? resolveFunction(given.fn!, oids)
        : resolveOperator(given.op, oids[0]!, oids[1]!);
    const wanted = 'argOids' in call ? call.argOids : [call.leftOid, call.rightOid];
    const cast = values.map((value, i) => requireCast(oids[i]!, wanted[i]!, 'i').convert(value));
    const args = (call.def.session ? [session, ...cast] : cast) as [
      Value,
      Value,
      Value,
      Value,
      Value,
    ];
    result = call.evaluate!(...args);
    oid = call.resultOid;
  }
  return result === null ? '<null>' : typeOf(oid).toText(result);
}

function outcome(given: Case): string {
  try {
    return run(given);
  } catch (error) {
    if (error instanceof SqlError) return `!${error.code} ${error.message}`;
    throw error;
  }
}

const cases = JSON.parse(readFileSync(new URL('golden.json', import.meta.url), 'utf8')) as Case[];

describe('as PostgreSQL 15', () => {
  const groups = new Map<string, Case[]>();
  for (const given of cases) {
    const name = given.cast ?? given.op ?? given.fn!;
    groups.set(name, [...(groups.get(name) ?? []), given]);
  }
  for (const [name, group] of groups) {
    test(`${name}: ${group.length} cases`, () => {
      const show = (given: Case, text: string): string =>
        `${given.args.map((a) => a.join(' ')).join(', ')} => ${text}`;
      const got = group.map((given) => show(given, outcome(given)));
      expect(got).toEqual(group.map((given) => show(given, given.want)));
    });
  }
  test('text that goes out comes back', () => {
    const oid = OID.numeric;
    expect(typeOf(oid).toText(typeOf(oid).fromText('-0001.50'))).toBe('-1.50');
  });
});
