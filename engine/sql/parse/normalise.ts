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
/** After these come ordinals or types. */
const FREEZES = new Set(['order', 'group', 'partition', 'cast']);
const THAWS = new Set(['limit', 'offset', 'having']);
const TEXT_MAX = 16_384;
const LITERALS_MAX = 256;

/** null: not to be normalised. */
export function normalise(text: string): Shape | null {
  if (text.length > TEXT_MAX) return null;
  return new Normaliser(text).run();
}

class Normaliser {
  private readonly text: string;
  private readonly literals: Literal[] = [];
  private out = '';
  private copied = 0;
  private at = 0;
  /** Whether a literal here may be replaced, by the token before. */
  private open = false;
  private first = true;
  /** Within ORDER BY or GROUP BY at this depth; -1: not. */
  private frozen = -1;
  private depth = 0;

  constructor(text: string) {
    this.text = text;
  }

  run(): Shape | null {
    const { text, literals } = this;
    while (this.at < text.length) {
      const c = text.charCodeAt(this.at);
      if (c === 32 || c === 10 || c === 9 || c === 13) {
        this.at++;
      } else if (isLetter(c)) {
        if (!this.word()) return null;
      } else if (c >= 48 && c <= 57) {
        this.number();
      } else if (c === 39) {
        if (!this.string()) return null;
      } else if (c === 34) {
        const end = text.indexOf('"', this.at + 1);
        if (end < 0) return null;
        this.at = end + 1;
        this.open = false;
      } else if (c === 59) {
        if (text.slice(this.at + 1).trim() !== '') return null;
        break;
      } else if (!this.sign(c)) return null;
    }
    if (this.first || literals.length > LITERALS_MAX) return null;
    return { text: this.out + text.slice(this.copied), literals };
  }

  private word(): boolean {
    const { text } = this;
    const start = this.at;
    let i = start + 1;
    while (i < text.length && isWord(text.charCodeAt(i))) i++;
    this.at = i;
    const next = text.charCodeAt(i);
    // E'..', B'..', U&'..': the parser's business.
    if (next === 39 || (next === 38 && text.charCodeAt(i + 1) === 39)) return false;
    const word = text.slice(start, i).toLowerCase();
    if (this.first) {
      if (!STATEMENTS.has(word)) return false;
      this.first = false;
    }
    if (FREEZES.has(word)) this.frozen = this.depth;
    else if (this.frozen === this.depth && THAWS.has(word)) this.frozen = -1;
    this.open = this.frozen < 0 && BEFORE.has(word);
    return true;
  }

  private number(): void {
    const { text } = this;
    const start = this.at;
    let i = start + 1;
    while (i < text.length && text.charCodeAt(i) >= 48 && text.charCodeAt(i) <= 57) i++;
    const next = text.charCodeAt(i);
    if (next === 46 || isWord(next)) {
      // Decimals, exponents, hexadecimal: kept as they are.
      while (i < text.length && (isWord(text.charCodeAt(i)) || text.charCodeAt(i) === 46)) i++;
      this.at = i;
    } else {
      this.at = i;
      if (this.open && i - start <= 18) {
        const digits = text.slice(start, i);
        const n = Number(digits);
        const literal: Literal =
          n <= 2147483647 ? { oid: INT4, value: n } : { oid: INT8, value: BigInt(digits) };
        this.replace(start, literal);
      }
    }
    this.open = false;
  }

  private string(): boolean {
    const start = this.at;
    const end = stringEnd(this.text, start);
    if (end < 0) return false;
    this.at = end;
    if (this.open) {
      const value = this.text.slice(start + 1, end - 1).replaceAll("''", "'");
      this.replace(start, { oid: 0, value });
    }
    this.open = false;
    return true;
  }

  /** The literal from `start` to here becomes the next parameter. */
  private replace(start: number, literal: Literal): void {
    this.literals.push(literal);
    this.out += `${this.text.slice(this.copied, start)}$${this.literals.length}`;
    this.copied = this.at;
  }

  /** Operators and punctuation; false: parameters, comments, anything odd. */
  private sign(c: number): boolean {
    const { text } = this;
    const next = text.charCodeAt(this.at + 1);
    if (c === 36 || (c === 45 && next === 45) || (c === 47 && next === 42)) return false;
    if (c === 58) {
      if (next !== 58) return false;
      this.at = skipType(text, this.at + 2);
      this.open = false;
      return true;
    }
    if (c === 40) this.depth++;
    if (c === 41) {
      this.depth--;
      if (this.frozen > this.depth) this.frozen = -1;
    }
    this.open = this.frozen < 0 && c !== 41 && c !== 93 && c !== 46;
    this.at++;
    return true;
  }
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
