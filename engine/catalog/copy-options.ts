/** The options of COPY. */
import type { Node } from 'libpg-query';
import { stringsOf } from '../sql/parse/ast.js';
import { SqlError, notSupported } from '../sql-error.js';
import { optionBool, optionText } from './options.js';

export interface CopyOptions {
  readonly format: 'text' | 'csv';
  /** One byte each. */
  readonly delimiter: string;
  readonly quote: string;
  readonly escape: string;
  readonly null: string;
  readonly header: 'no' | 'yes' | 'match';
  /** Names, or all. */
  readonly forceQuote: readonly string[] | 'all';
  readonly forceNull: readonly string[] | 'all';
  readonly forceNotNull: readonly string[] | 'all';
}

/** 42601, 22023 for what PostgreSQL refuses, too; 0A000 for what is not there. */
export function copyOptions(nodes: readonly Node[] | undefined): CopyOptions {
  const given = new Map<string, Node | undefined>();
  for (const node of nodes ?? []) {
    if (!('DefElem' in node)) continue;
    const name = node.DefElem.defname ?? '';
    if (given.has(name)) throw new SqlError('42601', 'conflicting or redundant options');
    given.set(name, node.DefElem.arg);
  }
  const format = optionText(given.get('format')) ?? 'text';
  if (format === 'binary') throw notSupported('COPY in binary format');
  if (format !== 'text' && format !== 'csv') {
    throw new SqlError('22023', `COPY format "${format}" not recognized`);
  }
  for (const [name, arg] of given) checkName(name, arg);
  const isCsv = format === 'csv';
  const text = (name: string, standard: string): string =>
    given.has(name) ? (optionText(given.get(name)) ?? '') : standard;
  const quote = text('quote', '"');
  const options: CopyOptions = {
    format,
    delimiter: text('delimiter', isCsv ? ',' : '\t'),
    quote,
    escape: text('escape', quote),
    null: text('null', isCsv ? '' : '\\N'),
    header: headerOf(given),
    forceQuote: namesOf(given.get('force_quote')),
    forceNull: namesOf(given.get('force_null')),
    forceNotNull: namesOf(given.get('force_not_null')),
  };
  check(options, given);
  return options;
}

function checkName(name: string, arg: Node | undefined): void {
  switch (name) {
    case 'format':
    case 'delimiter':
    case 'null':
    case 'header':
    case 'quote':
    case 'escape':
    case 'force_quote':
    case 'force_null':
    case 'force_not_null':
      return;
    case 'freeze':
      // Nothing is ever frozen here: rows need it as little as they can profit from it.
      optionBool(name, arg);
      return;
    case 'encoding':
      if (/^utf-?8$/i.test(optionText(arg) ?? '')) return;
      throw notSupported('COPY with another encoding than UTF8');
    default:
      throw new SqlError('42601', `option "${name}" not recognized`);
  }
}

function headerOf(given: ReadonlyMap<string, Node | undefined>): CopyOptions['header'] {
  if (!given.has('header')) return 'no';
  const arg = given.get('header');
  if (optionText(arg)?.toLowerCase() === 'match') return 'match';
  return optionBool('header', arg) ? 'yes' : 'no';
}

function namesOf(arg: Node | undefined): readonly string[] | 'all' {
  if (arg === undefined) return [];
  return 'List' in arg ? stringsOf(arg.List.items) : 'all';
}

function check(o: CopyOptions, given: ReadonlyMap<string, Node | undefined>): void {
  const single = (name: string, value: string): void => {
    if (Buffer.byteLength(value) === 1) return;
    throw new SqlError('0A000', `COPY ${name} must be a single one-byte character`);
  };
  single('delimiter', o.delimiter);
  if (/[\r\n]/.test(o.delimiter) || /[\r\n]/.test(o.null)) {
    throw new SqlError('22023', 'COPY delimiter and null cannot use newline or carriage return');
  }
  if (o.format === 'text') {
    for (const name of ['quote', 'escape', 'force_quote', 'force_null', 'force_not_null']) {
      if (given.has(name)) {
        throw new SqlError('0A000', `COPY ${name.replaceAll('_', ' ')} available only in CSV mode`);
      }
    }
    if (/[\\.a-z0-9]/.test(o.delimiter)) {
      throw new SqlError('22023', `COPY delimiter cannot be "${o.delimiter}"`);
    }
    return;
  }
  single('quote', o.quote);
  single('escape', o.escape);
  if (o.quote === o.delimiter) {
    throw new SqlError('22023', 'COPY delimiter and quote must be different');
  }
}
