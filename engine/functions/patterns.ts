/** LIKE, and POSIX regular expressions translated to JavaScript's. Compiled patterns are kept, most recent last. */
import { SqlError } from '../sql-error.js';
import { OID } from '../types/oids.js';
import { makeArray } from '../types/array.js';
import type { Value } from '../types/value.js';
import { fn, op, registerFunctions, registerOperators, setFn, type Evaluate } from './function.js';

type Test = (text: string) => boolean;
const CACHE_MAX = 500;

class PatternCache<Compiled> {
  readonly #compiled = new Map<string, Compiled>();
  readonly #compile: (pattern: string) => Compiled;
  #lastPattern = '';
  #last: Compiled | undefined;

  constructor(compile: (pattern: string) => Compiled) {
    this.#compile = compile;
  }

  get(pattern: string): Compiled {
    // Hot: one pattern for a whole scan.
    if (this.#last !== undefined && pattern === this.#lastPattern) return this.#last;
    let compiled = this.#compiled.get(pattern);
    if (compiled === undefined) {
      compiled = this.#compile(pattern);
      if (this.#compiled.size >= CACHE_MAX) this.#compiled.clear();
      this.#compiled.set(pattern, compiled);
    }
    this.#lastPattern = pattern;
    this.#last = compiled;
    return compiled;
  }
}

const escapeRegExp = (text: string): string => text.replace(/[\\^$.*+?()[\]{}|/-]/g, '\\$&');

function compileLike(pattern: string, escape: string, flags: string): Test {
  let source = '';
  let plain = true;
  const chars = Array.from(pattern);
  for (let i = 0; i < chars.length; i++) {
    let char = chars[i] as string;
    if (char === escape && escape !== '') {
      i++;
      if (i >= chars.length) {
        throw new SqlError('22025', 'LIKE pattern must not end with escape character');
      }
      char = chars[i] as string;
      source += escapeRegExp(char);
      plain = false;
    } else if (char === '%') {
      source += '.*';
      if (i < chars.length - 1) plain = false;
    } else if (char === '_') {
      source += '.';
      plain = false;
    } else {
      source += escapeRegExp(char);
    }
  }
  if (plain && flags === '') {
    if (!pattern.endsWith('%')) return (text) => text === pattern;
    const prefix = pattern.slice(0, -1);
    return (text) => text.startsWith(prefix);
  }
  const regExp = new RegExp(`^${source}$`, `su${flags}`);
  return (text) => regExp.test(text);
}

const like = new PatternCache((pattern) => compileLike(pattern, '\\', ''));
const ilike = new PatternCache((pattern) => compileLike(pattern, '\\', 'i'));

const CLASSES: Record<string, string> = {
  alpha: '\\p{L}',
  digit: '0-9',
  alnum: '\\p{L}\\p{N}',
  upper: '\\p{Lu}',
  lower: '\\p{Ll}',
  space: '\\s',
  blank: ' \\t',
  punct: '!-\\/:-@\\[-`{-~',
  xdigit: '0-9A-Fa-f',
  word: '\\p{L}\\p{N}_',
  cntrl: '\\x00-\\x1f\\x7f',
  print: '\\x20-\\x7e',
  graph: '\\x21-\\x7e',
};

const badRegExp = (what: string): SqlError =>
  new SqlError('2201B', `invalid regular expression: ${what}`);

/** A bracket expression from `at` (after `[`); returns JavaScript's and where it ends. */
function bracket(pattern: string, start: number): { source: string; end: number } {
  let at = start;
  let source = '[';
  if (pattern[at] === '^') {
    source += '^';
    at++;
  }
  for (let first = true; first || pattern[at] !== ']'; first = false) {
    if (at >= pattern.length) throw badRegExp('brackets [] not balanced');
    const named = /^\[:(\w+):\]/.exec(pattern.slice(at));
    if (named !== null) {
      const members = CLASSES[named[1] as string];
      if (members === undefined) throw badRegExp('invalid character class');
      source += members;
      at += named[0].length;
      continue;
    }
    const char = pattern[at] as string;
    if (char === '\\' && at + 1 < pattern.length) {
      source += escapeInside(pattern[at + 1] as string);
      at += 2;
      continue;
    }
    source +=
      char === '-' && !first && pattern[at + 1] !== ']'
        ? '-'
        : /[\\\][^\-&~|]/.test(char)
          ? `\\${char}`
          : char;
    at++;
  }
  return { source: `${source}]`, end: at + 1 };
}

function escapeInside(char: string): string {
  if (/[dswDSWntrfv]/.test(char)) return `\\${char}`;
  return /[A-Za-z0-9]/.test(char) ? char : `\\${char}`;
}

const WORD_START = '(?<![\\p{L}\\p{N}_])(?=[\\p{L}\\p{N}_])';
const WORD_END = '(?<=[\\p{L}\\p{N}_])(?![\\p{L}\\p{N}_])';
const ESCAPES: Record<string, string> = {
  m: WORD_START,
  M: WORD_END,
  y: '\\b',
  Y: '\\B',
  A: '(?<![^])',
  Z: '(?![^])',
  a: '\\x07',
  e: '\\x1b',
  B: '\\\\',
};

/** An advanced regular expression as JavaScript source with the flags s and u. */
export function translateRegExp(pattern: string): string {
  let at = 0;
  let source = '';
  if (pattern.startsWith('***=')) return escapeRegExp(pattern.slice(4));
  if (pattern.startsWith('***:')) at = 4;
  while (at < pattern.length) {
    const char = pattern[at] as string;
    if (char === '[') {
      const word = /^\[\[:([<>]):\]\]/.exec(pattern.slice(at));
      if (word !== null) {
        source += word[1] === '<' ? WORD_START : WORD_END;
        at += word[0].length;
        continue;
      }
      const group = bracket(pattern, at + 1);
      source += group.source;
      at = group.end;
    } else if (char === '\\') {
      const next = pattern[at + 1];
      if (next === undefined) throw badRegExp('invalid escape \\ sequence');
      const known = ESCAPES[next];
      if (known !== undefined) source += known;
      else if (/[dswDSWntrfv1-9]/.test(next)) source += `\\${next}`;
      else if (/[xu]/.test(next)) source += `\\${next}`;
      else source += /[\\^$.*+?()[\]{}|/]/.test(next) ? `\\${next}` : next;
      at += 2;
    } else if (char === '{' && !/^\{\d+(,\d*)?\}/.test(pattern.slice(at))) {
      source += '\\{';
      at++;
    } else if (char === '{') {
      const end = pattern.indexOf('}', at) + 1;
      source += pattern.slice(at, end);
      at = end;
    } else {
      source += char === '}' || char === ']' ? `\\${char}` : char;
      at++;
    }
  }
  return source;
}

const REASONS: Record<string, string> = {
  'unterminated group': 'parentheses () not balanced',
  "unmatched ')'": 'parentheses () not balanced',
  'nothing to repeat': 'quantifier operand invalid',
  'numbers out of order in {} quantifier': 'invalid repetition count(s)',
  'range out of order in character class': 'invalid character range',
  'invalid capture group name': 'quantifier operand invalid',
};

/** PostgreSQL's option letters. */
function flagsOf(options: string): string {
  let flags = 'u';
  let dotAll = true;
  for (const option of options) {
    if (option === 'i') flags += 'i';
    else if (option === 'n' || option === 'm') {
      flags += 'm';
      dotAll = false;
    } else if (option === 'g') flags += 'g';
    else if (!'csetq'.includes(option)) {
      throw new SqlError('22023', `invalid regular expression option: "${option}"`);
    }
  }
  return dotAll ? `${flags}s` : flags;
}

export function compileRegExp(pattern: string, options = ''): RegExp {
  let body = pattern;
  let letters = options;
  const embedded = /^(?:\*\*\*:)?\(\?([a-z]+)\)/.exec(pattern);
  if (embedded !== null) {
    body = pattern.slice(embedded[0].length);
    letters += embedded[1] as string;
  }
  const flags = [...new Set(flagsOf(letters))].join('');
  try {
    return new RegExp(letters.includes('q') ? escapeRegExp(body) : translateRegExp(body), flags);
  } catch (error) {
    if (error instanceof SqlError) throw error;
    const reason =
      String(error instanceof Error ? error.message : error)
        .split(': ')
        .at(-1) ?? '';
    throw badRegExp(REASONS[reason.toLowerCase()] ?? reason.toLowerCase());
  }
}

const regExps = new PatternCache((pattern) => compileRegExp(pattern));
const looseRegExps = new PatternCache((pattern) => compileRegExp(pattern, 'i'));
const optioned = new PatternCache((key) => {
  const cut = key.indexOf(' ');
  return compileRegExp(key.slice(cut + 1), key.slice(0, cut));
});
const withOptions = (pattern: string, options: string): RegExp =>
  optioned.get(`${options} ${pattern}`);

const badEscape = (): SqlError =>
  new SqlError('22025', 'invalid escape string', {
    hint: 'Escape string must be empty or one character.',
  });

/** Of SIMILAR TO, outside of brackets. */
const SIMILAR: Record<string, string> = {
  '%': '.*',
  _: '.',
  '(': '(?:',
  '\\': '\\\\',
  '.': '\\.',
  '^': '\\^',
  $: '\\$',
};
/** The first and the second escape-double-quote: what is between them is what SUBSTRING takes. */
const SEPARATORS = ['){1,1}?(', '){1,1}(?:'];

/** A pattern of SIMILAR TO as the regular expression that matches the same texts. */
function similarPattern(pattern: string, escape = '\\'): string {
  if (Array.from(escape).length > 1) throw badEscape();
  let source = '^(?:';
  let escaped = false;
  let inBrackets = false;
  let separators = 0;
  for (const char of pattern) {
    if (escaped) {
      escaped = false;
      if (char !== '"' || inBrackets) {
        source += `\\${char}`;
        continue;
      }
      const separator = SEPARATORS[separators++];
      if (separator === undefined) {
        throw new SqlError(
          '2200C',
          'SQL regular expression may not contain more than two escape-double-quote separators',
        );
      }
      source += separator;
    } else if (char === escape) {
      escaped = true;
    } else if (inBrackets) {
      source += char === '\\' ? '\\\\' : char;
      if (char === ']') inBrackets = false;
    } else {
      inBrackets = char === '[';
      source += SIMILAR[char] ?? char;
    }
  }
  return `${source})$`;
}

/** `\1`..`\9` and `\&` of a replacement. */
function expandReplacement(replacement: string, groups: readonly (string | undefined)[]): string {
  return replacement.replace(/\\([0-9&\\])/g, (_, what: string) => {
    if (what === '\\') return '\\';
    return groups[what === '&' ? 0 : Number(what)] ?? '';
  });
}

function regexpReplace(text: string, pattern: string, replacement: string, options = ''): string {
  const regExp = withOptions(pattern, options);
  regExp.lastIndex = 0;
  return text.replace(regExp, (...found: unknown[]) => {
    const groups = found.filter(
      (part): part is string | undefined => part === undefined || typeof part === 'string',
    );
    return expandReplacement(replacement, groups.slice(0, -1));
  });
}

/** regexp_match: the groups, or the whole match when there are none. */
const matchGroups = (match: RegExpMatchArray): Value =>
  makeArray(
    OID.text,
    match.length > 1
      ? match.slice(1).map((group) => (group as string | undefined) ?? null)
      : [match[0]],
  );

function splitBy(text: string, pattern: string, options = ''): string[] {
  const regExp = withOptions(pattern, `${options.replace('g', '')}g`);
  const parts: string[] = [];
  let from = 0;
  for (const match of text.matchAll(regExp)) {
    const at = match.index;
    // An empty match at either end or right behind the last one splits nothing.
    if (match[0] === '' && (at === from || at >= text.length)) continue;
    parts.push(text.slice(from, at));
    from = at + match[0].length;
  }
  parts.push(text.slice(from));
  return parts;
}

const not =
  (test: (text: string, pattern: string) => boolean): Evaluate =>
  (text: string, pattern: string) =>
    !test(text, pattern);

// A table of definitions.
// oxlint-disable-next-line max-lines-per-function
export function registerPatterns(): void {
  const tests: readonly (readonly [string, string, (text: string, pattern: string) => boolean])[] =
    [
      ['~~', '!~~', (text, pattern) => like.get(pattern)(text)],
      ['~~*', '!~~*', (text, pattern) => ilike.get(pattern)(text)],
      ['~', '!~', (text, pattern) => regExps.get(pattern).test(text)],
      ['~*', '!~*', (text, pattern) => looseRegExps.get(pattern).test(text)],
    ];
  for (const [name, negated, test] of tests) {
    for (const left of [OID.text, OID.name, OID.bpchar]) {
      registerOperators([
        op(name, left, OID.text, OID.bool, test),
        op(negated, left, OID.text, OID.bool, not(test)),
      ]);
    }
  }
  const { text, int4, textArray } = OID;
  registerFunctions([
    fn('like', [text, text], OID.bool, (a: string, b: string) => like.get(b)(a)),
    fn('notlike', [text, text], OID.bool, (a: string, b: string) => !like.get(b)(a)),
    fn('like_escape', [text, text], text, (pattern: string, escape: string) => {
      if (Array.from(escape).length > 1) throw badEscape();
      const escaped = escape === '\\' ? pattern : pattern.replaceAll('\\', '\\\\');
      return escape === '' || escape === '\\' ? escaped : escaped.replaceAll(escape, '\\');
    }),
    fn('similar_to_escape', [text, text], text, similarPattern, { optional: 1 }),
    fn('regexp_replace', [text, text, text, text], text, regexpReplace, { optional: 1 }),
    fn(
      'regexp_match',
      [text, text, text],
      textArray,
      (t: string, p: string, options: string = '') => {
        const match = t.match(withOptions(p, options));
        return match === null ? null : matchGroups(match);
      },
      { optional: 1 },
    ),
    setFn(
      'regexp_matches',
      [text, text, text],
      textArray,
      (t: string, p: string, options: string = '') => {
        const all = [...t.matchAll(withOptions(p, `${options.replace('g', '')}g`))];
        return (options.includes('g') ? all : all.slice(0, 1)).map(matchGroups);
      },
      { optional: 1 },
    ),
    fn(
      'regexp_split_to_array',
      [text, text, text],
      textArray,
      (t: string, p: string, options: string = '') => makeArray(text, splitBy(t, p, options)),
      { optional: 1 },
    ),
    setFn('regexp_split_to_table', [text, text, text], text, splitBy, { optional: 1 }),
    fn(
      'regexp_count',
      [text, text],
      int4,
      (t: string, p: string) => [...t.matchAll(withOptions(p, 'g'))].length,
    ),
    fn(
      'regexp_like',
      [text, text, text],
      OID.bool,
      (t: string, p: string, options: string = '') =>
        withOptions(p, options.replace('g', '')).test(t),
      { optional: 1 },
    ),
    fn(
      'regexp_substr',
      [text, text],
      text,
      (t: string, p: string) => t.match(withOptions(p, ''))?.[0] ?? null,
    ),
    fn('starts_with', [text, text], OID.bool, (a: string, b: string) => a.startsWith(b)),
  ]);
  registerOperators([op('^@', text, text, OID.bool, (a: string, b: string) => a.startsWith(b))]);
}
