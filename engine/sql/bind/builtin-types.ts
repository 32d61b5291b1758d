/** The type system of the binder, over the types layer's registries. */
import '../../functions/builtin.js';
import { textContextOf } from '../../functions/context.js';
import { aggregatesNamed, functionsNamed } from '../../functions/function.js';
import {
  commonType,
  resolveAggregate,
  resolveFunction,
  resolveOperator,
} from '../../functions/resolve.js';
import { findCast } from '../../types/cast.js';
import { applyModifier, formatType, makeModifier } from '../../types/modifier.js';
import { findType, typeByName, typeOf } from '../../types/registry.js';
import { UTC_CONTEXT } from '../../types/sql-type.js';
import type { TextContext } from '../../types/sql-type.js';
import type { Value } from '../../types/value.js';
import { SqlError } from '../../sql-error.js';
import type { ExecutionContext } from '../statement.js';
import type {
  AggregateRoutine,
  CastContext,
  Conversion,
  Resolution,
  Routine,
  TypeSystem,
} from './type-system.js';
import { UNKNOWN } from './type-system.js';

const CONTEXTS = { implicit: 'i', assignment: 'a', explicit: 'e' } as const;
const LENGTHS = new Set([
  'varchar',
  'bpchar',
  'numeric',
  'time',
  'timestamp',
  'timestamptz',
  'interval',
]);

function contextOf(context: ExecutionContext | null): TextContext {
  return context === null ? UTC_CONTEXT : textContextOf(context.session);
}

/** Runs a resolution of the types layer, whose refusals are errors here. */
function resolved<T>(work: () => T): Resolution<T> {
  try {
    return work();
  } catch (error) {
    if (!(error instanceof SqlError)) throw error;
    if (error.code === '42725') return 'ambiguous';
    if (error.code === '42883' || error.code === '42704') return null;
    throw error;
  }
}

function isHere(schema: string | null): boolean {
  return schema === null || schema === 'pg_catalog';
}

/** Names under which the grammar and people know types that pg_type names otherwise. */
const ALIASES: Record<string, string> = {
  int: 'int4',
  integer: 'int4',
  bigint: 'int8',
  smallint: 'int2',
  decimal: 'numeric',
  boolean: 'bool',
};

class BuiltinTypes implements TypeSystem {
  typeName(oid: number, typmod = -1): string {
    return formatType(oid, typmod);
  }

  findType(schema: string | null, name: string): number | null {
    if (!isHere(schema)) return null;
    return typeByName(name)?.oid ?? typeByName(ALIASES[name] ?? '')?.oid ?? null;
  }

  makeTypmod(oid: number, modifiers: readonly number[]): number {
    return makeModifier(oid, modifiers);
  }

  arrayOf(oid: number): number {
    return findType(oid)?.arrayOid ?? 0;
  }

  elementOf(oid: number): number {
    return findType(oid)?.elementOid ?? 0;
  }

  commonType(oids: readonly number[]): number | null {
    return commonType(oids);
  }

  cast(from: number, to: number, context: CastContext): Conversion | null {
    const cast = findCast(from, to, CONTEXTS[context]);
    if (cast === null) return null;
    if (cast.binary) return { apply: null, stable: false };
    if (!cast.stable) return { apply: (v) => cast.convert(v), stable: false };
    return { apply: (v, c) => cast.convert(v, contextOf(c)), stable: true };
  }

  applyTypmod(oid: number, typmod: number, explicit: boolean): ((value: Value) => Value) | null {
    if (typmod < 0) return null;
    const type = findType(oid);
    const base =
      type?.elementOid !== undefined && type.elementOid !== 0 ? findType(type.elementOid) : type;
    if (base === undefined || !LENGTHS.has(base.name)) return null;
    return (v) => applyModifier(oid, v, typmod, explicit);
  }

  input(oid: number, typmod: number, text: string, context: ExecutionContext | null): Value {
    const value = typeOf(oid).fromText(text, contextOf(context));
    return typmod < 0 ? value : applyModifier(oid, value, typmod, false);
  }

  output(oid: number, value: Value): string {
    return typeOf(oid).toText(value);
  }

  operator(name: string, left: number, right: number): Resolution<Routine> {
    return resolved(() => {
      const r = resolveOperator(name, left, right);
      return {
        name,
        argOids: left === 0 ? [r.rightOid] : [r.leftOid, r.rightOid],
        resultOid: r.resultOid,
        strict: r.def.strict,
        volatility: r.def.volatility,
        call: r.evaluate as unknown as Routine['call'],
        needsContext: r.def.session,
        setReturning: false,
        columns: null,
      };
    });
  }

  func(schema: string | null, name: string, argOids: readonly number[]): Resolution<Routine> {
    if (!isHere(schema) || functionsNamed(name).length === 0) return null;
    return resolved(() => {
      const r = resolveFunction(name, argOids);
      const call = r.def.returnsSet ? r.evaluateSet : r.evaluate;
      if (call === null) throw new SqlError('0A000', `function ${name} is not supported`);
      return {
        name,
        argOids: r.argOids,
        resultOid: r.resultOid,
        strict: r.def.strict,
        volatility: r.def.volatility,
        call: call as unknown as Routine['call'],
        needsContext: r.def.session,
        setReturning: r.def.returnsSet,
        columns: r.def.columns,
      };
    });
  }

  aggregate(
    schema: string | null,
    name: string,
    argOids: readonly number[],
    star: boolean,
  ): Resolution<AggregateRoutine> {
    if (!isHere(schema) || aggregatesNamed(name).length === 0) return null;
    if (argOids.length === 0 && !star) return null;
    return resolved(() => {
      const r = resolveAggregate(name, argOids);
      const { aggregate } = r;
      return {
        name,
        argOids: r.argOids,
        resultOid: r.resultOid,
        strict: r.def.strict,
        start: () => {
          let state = aggregate.init();
          return {
            add: (args) => {
              state = aggregate.step(state, args[0] as Value, args[1] as Value);
            },
            result: () => aggregate.final(state, UTC_CONTEXT),
          };
        },
      };
    });
  }

  comparator(oid: number): ((a: Value, b: Value) => number) | null {
    const type = findType(oid);
    if (type === undefined || !type.ordered || oid === UNKNOWN) return null;
    return (a, b) => type.compare(a, b);
  }

  hashKey(oid: number): ((value: Value) => string | number | bigint | boolean) | null {
    const type = findType(oid);
    if (type === undefined || !type.ordered || oid === UNKNOWN) return null;
    return (v) => type.hashKey(v);
  }
}

export const builtinTypes: TypeSystem = new BuiltinTypes();
