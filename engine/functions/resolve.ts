/**
 * Which function or operator a call means, and what types UNION, CASE and VALUES have: PostgreSQL's chapter 10
 * (func_select_candidate, select_common_type), as pure functions over the registries. An argument of type `unknown` is
 * an untyped literal or parameter.
 */
import { SqlError } from '../sql-error.js';
import { findCast, type CastContext } from '../types/cast.js';
import { OID } from '../types/oids.js';
import './builtin.js';
import { findType, typeOf } from '../types/registry.js';
import {
  aggregatesNamed,
  functionsNamed,
  operatorsNamed,
  type AggregateDef,
  type BoundAggregate,
  type Evaluate,
  type EvaluateSet,
  type FunctionDef,
  type OperatorDef,
} from './function.js';

export interface ResolvedFunction {
  readonly def: FunctionDef;
  /** Cast each actual argument to this type. */
  readonly argOids: readonly number[];
  readonly resultOid: number;
  readonly evaluate: Evaluate | null;
  readonly evaluateSet: EvaluateSet | null;
}

export interface ResolvedOperator {
  readonly def: OperatorDef;
  /** 0 for a prefix operator. */
  readonly leftOid: number;
  readonly rightOid: number;
  readonly resultOid: number;
  readonly evaluate: Evaluate;
}

export interface ResolvedAggregate {
  readonly def: AggregateDef;
  readonly argOids: readonly number[];
  readonly resultOid: number;
  readonly aggregate: BoundAggregate;
}

interface Candidate<Def> {
  readonly def: Def;
  /** One per actual argument. */
  readonly args: readonly number[];
}

const POLYMORPHIC = new Set<number>([
  OID.anyelement,
  OID.anyarray,
  OID.anynonarray,
  OID.anyenum,
  OID.anycompatible,
  OID.anycompatiblearray,
  OID.anycompatiblenonarray,
]);
const isArrayOid = (oid: number): boolean => (findType(oid)?.elementOid ?? 0) !== 0;

/** can_coerce_type for one argument. */
export function canCoerce(source: number, target: number, context: CastContext): boolean {
  if (source === target || target === OID.any) return true;
  if (source === OID.unknown && (POLYMORPHIC.has(target) || target === OID.cstring)) return true;
  switch (target) {
    case OID.anyelement:
    case OID.anycompatible:
      return true;
    case OID.anyarray:
    case OID.anycompatiblearray:
      return isArrayOid(source);
    case OID.anynonarray:
    case OID.anycompatiblenonarray:
      return !isArrayOid(source);
    case OID.anyenum:
      return findType(source)?.kind === 'e';
    default:
      return findCast(source, target, context) !== null;
  }
}

const isPreferred = (category: string, oid: number): boolean => {
  const type = findType(oid);
  return type !== undefined && type.preferred && type.category === category;
};
const categoryOf = (oid: number): string => findType(oid)?.category ?? 'U';

/** Keeps the candidates with the highest score. */
function best<Def>(
  candidates: Candidate<Def>[],
  score: (c: Candidate<Def>) => number,
): Candidate<Def>[] {
  const scores = candidates.map(score);
  const highest = Math.max(...scores);
  return candidates.filter((_, i) => scores[i] === highest);
}

/** func_select_candidate; null: none or ambiguous (then `candidates` had more than one). */
function select<Def>(input: readonly number[], coercible: Candidate<Def>[]): Candidate<Def> | null {
  let candidates = coercible;
  if (candidates.length <= 1) return candidates[0] ?? null;
  candidates = best(candidates, (c) =>
    count(input, (oid, i) => oid !== OID.unknown && c.args[i] === oid),
  );
  if (candidates.length === 1) return candidates[0] ?? null;
  candidates = best(candidates, (c) =>
    count(input, (oid, i) => {
      if (oid === OID.unknown) return false;
      return c.args[i] === oid || isPreferred(categoryOf(oid), c.args[i] as number);
    }),
  );
  if (candidates.length === 1) return candidates[0] ?? null;
  if (!input.includes(OID.unknown)) return null;
  const narrowed = byCategory(input, candidates);
  if (narrowed.length === 1) return narrowed[0] ?? null;
  // If all known arguments have one type, suppose that the unknown ones have it too.
  const known = new Set(input.filter((oid) => oid !== OID.unknown));
  if (known.size === 1) {
    const [only] = known;
    const fitting = narrowed.filter((c) =>
      c.args.every((arg) => canCoerce(only as number, arg, 'i')),
    );
    if (fitting.length === 1) return fitting[0] ?? null;
  }
  return null;
}

function count(input: readonly number[], test: (oid: number, i: number) => boolean): number {
  let total = 0;
  for (let i = 0; i < input.length; i++) if (test(input[i] as number, i)) total++;
  return total;
}

/** Rules for unknown literals: string category first, else the one category that all share; then its preferred type. */
function byCategory<Def>(input: readonly number[], candidates: Candidate<Def>[]): Candidate<Def>[] {
  const slots: ({ category: string; preferred: boolean } | null)[] = [];
  for (let i = 0; i < input.length; i++) {
    if (input[i] !== OID.unknown) {
      slots.push(null);
      continue;
    }
    const categories = new Set(candidates.map((c) => categoryOf(c.args[i] as number)));
    const category = categories.has('S')
      ? 'S'
      : categories.size === 1
        ? [...categories][0]
        : undefined;
    if (category === undefined) return candidates;
    const preferred = candidates.some((c) => isPreferred(category, c.args[i] as number));
    slots.push({ category, preferred });
  }
  const fitting = candidates.filter((c) =>
    slots.every((slot, i) => {
      if (slot === null) return true;
      const oid = c.args[i] as number;
      if (categoryOf(oid) !== slot.category) return false;
      return !slot.preferred || isPreferred(slot.category, oid);
    }),
  );
  return fitting.length > 0 ? fitting : candidates;
}

/** Actual types for declared ones, polymorphic ones made concrete; null: they do not agree. */
function concrete(
  declared: readonly number[],
  actual: readonly number[],
  result: number,
): { args: number[]; result: number } | null {
  let element = 0;
  const compatible: number[] = [];
  for (let i = 0; i < declared.length; i++) {
    const want = declared[i] as number;
    const have = actual[i] as number;
    if (have === OID.unknown || !POLYMORPHIC.has(want)) continue;
    const isArray = want === OID.anyarray || want === OID.anycompatiblearray;
    const base = isArray ? (findType(have)?.elementOid ?? 0) : have;
    if (
      want === OID.anycompatible ||
      want === OID.anycompatiblearray ||
      want === OID.anycompatiblenonarray
    ) {
      compatible.push(base);
    } else {
      if (element !== 0 && element !== base) return null;
      element = base;
    }
  }
  const common = compatible.length === 0 ? OID.text : commonType(compatible);
  if (common === null) return null;
  if (element === 0) element = OID.text;
  const arrayOf = (oid: number): number => findType(oid)?.arrayOid ?? 0;
  const map = (oid: number, have: number | undefined): number => {
    switch (oid) {
      case OID.any:
        return have === undefined || have === OID.unknown ? OID.text : have;
      case OID.anyarray:
        // int2vector and oidvector stay what they are.
        return have !== undefined && findType(have)?.elementOid === element
          ? have
          : arrayOf(element);
      case OID.anycompatiblearray:
        return arrayOf(common);
      case OID.anyelement:
      case OID.anynonarray:
      case OID.anyenum:
        return element;
      case OID.anycompatible:
      case OID.anycompatiblenonarray:
        return common;
      default:
        return oid;
    }
  };
  const args = declared.map((oid, i) => map(oid, actual[i]));
  if (args.includes(0)) return null;
  return { args, result: map(result, undefined) };
}

function expand(
  def: { args: readonly number[]; variadic: boolean; optional?: number },
  n: number,
): number[] | null {
  const { args } = def;
  if (def.variadic) {
    const fixed = args.length - 1;
    if (n <= fixed) return null;
    const last = args[fixed] as number;
    const element =
      last === OID.any
        ? OID.any
        : last === OID.anyarray
          ? OID.anyelement
          : last === OID.anycompatiblearray
            ? OID.anycompatible
            : typeOf(last).elementOid;
    return [...args.slice(0, fixed), ...Array.from({ length: n - fixed }, () => element)];
  }
  if (n > args.length || n < args.length - (def.optional ?? 0)) return null;
  return args.slice(0, n);
}

function signature(argOids: readonly number[]): string {
  return argOids.map((oid) => findType(oid)?.displayName ?? '???').join(', ');
}

type Callable = { args: readonly number[]; variadic: boolean; optional?: number };

function pick<Def extends Callable>(
  name: string,
  defs: readonly Def[],
  argOids: readonly number[],
): Candidate<Def> | null {
  const candidates: Candidate<Def>[] = [];
  for (const def of defs) {
    const args = expand(def, argOids.length);
    if (args === null) continue;
    if (!def.variadic && args.every((oid, i) => oid === argOids[i])) return { def, args };
    if (args.every((oid, i) => canCoerce(argOids[i] as number, oid, 'i')))
      candidates.push({ def, args });
  }
  // A fixed signature goes before a variadic one that fits as well.
  const fixed = candidates.filter((c) => !c.def.variadic);
  const pool = fixed.length > 0 ? fixed : candidates;
  const chosen = select(argOids, pool);
  if (chosen === null && pool.length > 1) {
    throw new SqlError('42725', `function ${name}(${signature(argOids)}) is not unique`, {
      hint: 'Could not choose a best candidate function. You might need to add explicit type casts.',
    });
  }
  return chosen;
}

function noFunction(name: string, argOids: readonly number[]): SqlError {
  return new SqlError('42883', `function ${name}(${signature(argOids)}) does not exist`, {
    hint: 'No function matches the given name and argument types. You might need to add explicit type casts.',
  });
}

/** 42883: no such function; 42725: more than one fits. */
export function resolveFunction(name: string, argOids: readonly number[]): ResolvedFunction {
  const chosen = pick(name, functionsNamed(name), argOids);
  if (chosen === null) throw noFunction(name, argOids);
  const { def } = chosen;
  const types = concrete(chosen.args, argOids, def.result);
  if (types === null) throw noFunction(name, argOids);
  return {
    def,
    argOids: types.args,
    resultOid: types.result,
    evaluate: def.bind === null ? def.evaluate : def.bind(types.args, types.result),
    evaluateSet: def.bindSet === null ? def.evaluateSet : def.bindSet(types.args, types.result),
  };
}

export const isAggregate = (name: string): boolean => aggregatesNamed(name).length > 0;

/** `count(*)` is `count` without arguments. */
export function resolveAggregate(name: string, argOids: readonly number[]): ResolvedAggregate {
  const chosen = pick(name, aggregatesNamed(name), argOids);
  if (chosen === null) throw noFunction(name, argOids);
  const types = concrete(chosen.args, argOids, chosen.def.result);
  if (types === null) throw noFunction(name, argOids);
  return {
    def: chosen.def,
    argOids: types.args,
    resultOid: types.result,
    aggregate: chosen.def.bind(types.args, types.result),
  };
}

const resolvedOperators = new Map<string, ResolvedOperator>();
const RESOLVED_MAX = 5000;

/** `left` 0: prefix operator. 42883: no such operator; 42725: more than one fits. */
export function resolveOperator(name: string, left: number, right: number): ResolvedOperator {
  const canonical = name === '!=' ? '<>' : name;
  const key = `${canonical} ${left} ${right}`;
  const known = resolvedOperators.get(key);
  if (known !== undefined) return known;
  const resolved = findOperator(canonical, left, right);
  if (resolvedOperators.size >= RESOLVED_MAX) resolvedOperators.clear();
  resolvedOperators.set(key, resolved);
  return resolved;
}

function findOperator(name: string, left: number, right: number): ResolvedOperator {
  const defs = operatorsNamed(name).filter((def) => (def.left === 0) === (left === 0));
  const input = left === 0 ? [right] : [left, right];
  const argsOf = (def: OperatorDef): number[] => (left === 0 ? [def.right] : [def.left, def.right]);
  // An unknown side is first supposed to have the type of the other one.
  const supposed = input.map((oid) =>
    oid === OID.unknown ? (input.find((o) => o !== OID.unknown) ?? oid) : oid,
  );
  const exact = defs.find((def) => argsOf(def).every((oid, i) => oid === supposed[i]));
  let chosen: Candidate<OperatorDef> | null =
    exact === undefined ? null : { def: exact, args: argsOf(exact) };
  if (chosen === null) {
    const fitting = defs
      .map((def) => ({ def, args: argsOf(def) }))
      .filter((c) => c.args.every((oid, i) => canCoerce(input[i] as number, oid, 'i')))
      .filter((c) => concrete(c.args, input, c.def.result) !== null);
    chosen = select(input, fitting);
    if (chosen === null && fitting.length > 1) {
      throw new SqlError('42725', `operator is not unique: ${operatorText(name, left, right)}`, {
        hint: 'Could not choose a best candidate operator. You might need to add explicit type casts.',
      });
    }
  }
  const types = chosen === null ? null : concrete(chosen.args, input, chosen.def.result);
  if (chosen === null || types === null) throw noOperator(name, left, right);
  const { def } = chosen;
  const evaluate = def.bind === null ? def.evaluate : def.bind(types.args, types.result);
  if (evaluate === null) throw noOperator(name, left, right);
  return {
    def,
    leftOid: left === 0 ? 0 : (types.args[0] as number),
    rightOid: types.args[left === 0 ? 0 : 1] as number,
    resultOid: types.result,
    evaluate,
  };
}

function operatorText(name: string, left: number, right: number): string {
  const shown = (oid: number): string => findType(oid)?.displayName ?? '???';
  return left === 0 ? `${name} ${shown(right)}` : `${shown(left)} ${name} ${shown(right)}`;
}

function noOperator(name: string, left: number, right: number): SqlError {
  return new SqlError('42883', `operator does not exist: ${operatorText(name, left, right)}`, {
    hint: 'No operator matches the given name and argument types. You might need to add explicit type casts.',
  });
}

/** select_common_type without an error: null when there is none. */
export function commonType(oids: readonly number[]): number | null {
  let chosen: number = OID.unknown;
  for (const oid of oids) {
    if (oid === OID.unknown || oid === chosen) continue;
    if (chosen === OID.unknown) {
      chosen = oid;
      continue;
    }
    if (categoryOf(oid) !== categoryOf(chosen)) return null;
    const preferred = findType(chosen)?.preferred === true;
    if (!preferred && canCoerce(chosen, oid, 'i') && !canCoerce(oid, chosen, 'i')) chosen = oid;
  }
  if (chosen === OID.unknown) return OID.text;
  return oids.every((oid) => canCoerce(oid, chosen, 'i')) ? chosen : null;
}

/** The type of UNION columns, CASE, COALESCE, GREATEST, VALUES, ARRAY[]; `what` names it in the error (42804). */
export function unifyTypes(oids: readonly number[], what = 'CASE'): number {
  const common = commonType(oids);
  if (common !== null) return common;
  const known = oids.filter((oid) => oid !== OID.unknown);
  const first = known[0] as number;
  const other = known.find((oid) => categoryOf(oid) !== categoryOf(first));
  const [a, b] = [typeOf(first).displayName, typeOf(other ?? (known[1] as number)).displayName];
  if (other === undefined)
    throw new SqlError('42846', `${what} could not convert type ${a} to ${b}`);
  throw new SqlError('42804', `${what} types ${a} and ${b} cannot be matched`);
}
