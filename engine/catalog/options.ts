/** WITH (...) lists and option values of the parse tree. */
import type { Node } from 'libpg-query';
import { SqlError } from '../sql-error.js';

/** An option's value as text; null: it was given without one. */
export function optionText(arg: Node | undefined): string | null {
  if (arg === undefined) return null;
  if ('String' in arg) return arg.String.sval ?? '';
  if ('Integer' in arg) return String(arg.Integer.ival ?? 0);
  if ('Float' in arg) return arg.Float.fval ?? '';
  if ('Boolean' in arg) return String(arg.Boolean.boolval ?? false);
  if ('TypeName' in arg) {
    const names = arg.TypeName.names ?? [];
    return optionText(names[names.length - 1]);
  }
  if ('A_Star' in arg) return '*';
  throw new SqlError('42601', 'an option has no value of this kind');
}

/** As PostgreSQL reads a boolean option; 42601. */
export function optionBool(name: string, arg: Node | undefined): boolean {
  const text = optionText(arg)?.toLowerCase() ?? 'true';
  if (['true', 'on', '1'].includes(text)) return true;
  if (['false', 'off', '0'].includes(text)) return false;
  throw new SqlError('42601', `${name} requires a Boolean value`);
}

/** Hints about storage that the engine has its own mind about; others are 22023. */
const STORAGE = new Set([
  'fillfactor',
  'autovacuum_enabled',
  'autovacuum_vacuum_threshold',
  'autovacuum_vacuum_scale_factor',
  'autovacuum_analyze_threshold',
  'autovacuum_analyze_scale_factor',
  'autovacuum_vacuum_cost_delay',
  'autovacuum_vacuum_cost_limit',
  'autovacuum_freeze_max_age',
  'parallel_workers',
  'toast_tuple_target',
  'deduplicate_items',
]);

/** `name=value` of each; known storage parameters are kept and shown. */
export function storageOptions(nodes: readonly Node[] | undefined): string[] {
  return (nodes ?? []).map((node) => {
    if (!('DefElem' in node)) throw new SqlError('42601', 'syntax error in options');
    const name = node.DefElem.defname ?? '';
    if (name === 'oids') {
      if (!optionBool(name, node.DefElem.arg)) return 'oids=false';
      throw new SqlError('0A000', 'tables declared WITH OIDS are not supported');
    }
    if (!STORAGE.has(name) || (node.DefElem.defnamespace ?? '') === 'toast') {
      throw new SqlError('22023', `unrecognized parameter "${name}"`);
    }
    const value = optionText(node.DefElem.arg) ?? 'true';
    const percent = Number(value);
    if (name === 'fillfactor' && !(percent >= 10 && percent <= 100)) {
      throw new SqlError('22023', `value ${value} out of bounds for option "fillfactor"`, {
        detail: 'Valid values are between "10" and "100".',
      });
    }
    return `${name}=${value}`;
  });
}
