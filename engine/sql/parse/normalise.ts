/**
 * Literals of a plain statement as parameters, so that all its repetitions share one plan.
 *
 *     UPDATE t SET a = a + -5 WHERE id = 77   ->   UPDATE t SET a = a + -$1 WHERE id = $2      [5, 77]
 *
 * Safe by construction: only SELECT, INSERT, UPDATE and DELETE of one statement; only a literal that follows an operator,
 * a comma, a parenthesis or a keyword of `BEFORE` (so `interval '1 day'`, `date '..'`, aliases and the like stay); none
 * between ORDER or GROUP and the end of their list (ordinals); none right after a `::` type (type modifiers). Whatever
 * else looks odd (dollar quotes, escapes, parameters, comments) is left to the parser: null. A number becomes a typed
 * parameter, a string one of unknown type, whose place gives it its type as it does to a literal. If the shape does not
 * compile, the caller compiles the text itself.
 */
import { INT4, INT8 } from '../bind/type-system.js';

export interface Literal {
  /** 0: a string. */
  readonly oid: number;
  readonly value: string | number | bigint;
}

export interface Shape {
  readonly text: string;
  readonly literals: readonly Literal[];
}

const BEFORE = new Set([
  'select',
  'where',
  'and',
  'or',
  'not',
  'set',
  'values',
  'between',
  'in',
  'like',
  'ilike',
  'then',
  'else',
  'when',
  'on',
  'having',
  'returning',
  'limit',
  'offset',
  'from',
  'distinct',
]);
const STATEMENTS = new Set(['select', 'insert', 'update', 'delete']);
const TEXT_MAX = 16_384;
const LITERALS_MAX = 256;

/** null: not to be normalised. */
export function normalise(text: string): Shape | null {
  const length = text.length;
  if (length > TEXT_MAX) return null;
  const literals: Literal[] = [];
  let out = '';
  let copied = 0;
  let i = 0;
  /** Whether a literal here may be replaced, by the token before. */
  let open = false;
  let first = true;
  /** Within ORDER BY or GROUP BY at this depth; -1: not. */
  let frozen = -1;
  let depth = 0;
  while (i < length) {
    const c = text.charCodeAt(i);
    if (c === 32 || c === 10 || c === 9 || c === 13) {
      i++;
      continue;
    }
    if (isLetter(c)) {
      const start = i;
      i++;
      while (i < length && isWord(text.charCodeAt(i))) i++;
      const next = text.charCodeAt(i);
      // E'..', B'..', U&'..': the parser's business.
      if (next === 39 || (next === 38 && text.charCodeAt(i + 1) === 39)) return null;
      const word = text.slice(start, i).toLowerCase();
      if (first) {
        if (!STATEMENTS.has(word)) return null;
        first = false;
      }
      if (word === 'order' || word === 'group' || word === 'partition' || word === 'cast')
        frozen = depth;
      else if (frozen === depth && (word === 'limit' || word === 'offset' || word === 'having'))
        frozen = -1;
      open = BEFORE.has(word) && frozen < 0;
      continue;
    }
    if (c >= 48 && c <= 57) {
      const start = i;
      i++;
      while (i < length && text.charCodeAt(i) >= 48 && text.charCodeAt(i) <= 57) i++;
      const next = text.charCodeAt(i);
      if (next === 46 || isWord(next)) {
        // Decimals, exponents, hexadecimal: kept as they are.
        while (i < length && (isWord(text.charCodeAt(i)) || text.charCodeAt(i) === 46)) i++;
        open = false;
        continue;
      }
      if (!open || i - start > 18) {
        open = false;
        continue;
      }
      const n = Number(text.slice(start, i));
      literals.push(
        n <= 2147483647
          ? { oid: INT4, value: n }
          : { oid: INT8, value: BigInt(text.slice(start, i)) },
      );
      out += `${text.slice(copied, start)}$${literals.length}`;
      copied = i;
      open = false;
      continue;
    }
    if (c === 39) {
      const start = i;
      const end = stringEnd(text, i);
      if (end < 0) return null;
      i = end;
      if (open) {
        literals.push({ oid: 0, value: text.slice(start + 1, end - 1).replaceAll("''", "'") });
        out += `${text.slice(copied, start)}$${literals.length}`;
        copied = i;
      }
      open = false;
      continue;
    }
    if (c === 34) {
      const end = text.indexOf('"', i + 1);
      if (end < 0) return null;
      i = end + 1;
      open = false;
      continue;
    }
    if (c === 36) return null;
    if (c === 45 && text.charCodeAt(i + 1) === 45) return null;
    if (c === 47 && text.charCodeAt(i + 1) === 42) return null;
    if (c === 59) {
      if (text.slice(i + 1).trim() !== '') return null;
      break;
    }
    if (c === 58) {
      if (text.charCodeAt(i + 1) !== 58) return null;
      i = skipType(text, i + 2);
      open = false;
      continue;
    }
    if (c === 40) depth++;
    if (c === 41) {
      depth--;
      if (frozen > depth) frozen = -1;
    }
    // A minus before a number is part of the expression, not of the literal.
    open = c !== 41 && c !== 93 && c !== 46 && frozen < 0;
    i++;
  }
  if (first || literals.length > LITERALS_MAX) return null;
  return { text: out + text.slice(copied), literals };
}

function isLetter(c: number): boolean {
  return (c >= 97 && c <= 122) || (c >= 65 && c <= 90) || c === 95 || c >= 128;
}

function isWord(c: number): boolean {
  return isLetter(c) || (c >= 48 && c <= 57) || c === 36;
}

/** Index after the closing quote; -1: unterminated or with a backslash. */
function stringEnd(text: string, start: number): number {
  let i = start + 1;
  for (;;) {
    const end = text.indexOf("'", i);
    if (end < 0) return -1;
    if (text.charCodeAt(end + 1) === 39) {
      i = end + 2;
      continue;
    }
    // Two literals with only white space between them are one.
    let next = end + 1;
    while (
      text.charCodeAt(next) === 32 ||
      text.charCodeAt(next) === 10 ||
      text.charCodeAt(next) === 13 ||
      text.charCodeAt(next) === 9
    )
      next++;
    return text.charCodeAt(next) === 39 ? -1 : end + 1;
  }
}

/** After `::`: the type's words and modifiers. */
function skipType(text: string, start: number): number {
  let i = start;
  while (
    i < text.length &&
    (isWord(text.charCodeAt(i)) || text.charCodeAt(i) === 32 || text.charCodeAt(i) === 46)
  ) {
    // `x::int and y = 1`: the type is one word, unless it is one of the few that have more.
    if (
      text.charCodeAt(i) === 32 &&
      !/^ +(varying|precision|with|without|time|zone)\b/i.test(text.slice(i, i + 16))
    )
      break;
    i++;
  }
  if (text.charCodeAt(i) === 40) {
    const close = text.indexOf(')', i);
    if (close >= 0) i = close + 1;
  }
  return i;
}
