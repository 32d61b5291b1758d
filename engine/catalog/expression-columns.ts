/** What stored parse trees refer to. */
import type { Node } from 'libpg-query';
import { stringOf } from '../sql/parse/ast.js';
import type { TableRecord } from './object-record.js';

/** Every object with exactly one key of the tree, with its tag: the grammar's nodes among them. */
export function walkTree(tree: unknown, visit: (tag: string, body: object) => void): void {
  if (Array.isArray(tree)) {
    for (const item of tree) walkTree(item, visit);
    return;
  }
  if (typeof tree !== 'object' || tree === null) return;
  for (const [key, value] of Object.entries(tree as Record<string, unknown>)) {
    if (typeof value !== 'object' || value === null) continue;
    if (!Array.isArray(value)) visit(key, value);
    walkTree(value, visit);
  }
}

/** 0-based columns of the table that the expression names, ascending. */
export function columnsInExpression(table: TableRecord, expression: Node): number[] {
  const found = new Set<number>();
  walkTree(expression, (tag, body) => {
    if (tag !== 'ColumnRef' || !('fields' in body)) return;
    const fields = body.fields as readonly Node[];
    const name = stringOf(fields[fields.length - 1]);
    const index = table.columns.findIndex((c) => c.name === name && !c.dropped);
    if (index >= 0) found.add(index);
  });
  return [...found].sort((a, b) => a - b);
}

/** The tree with every ColumnRef that ends in `from` ending in `to`. */
export function renameColumn<Tree>(tree: Tree, from: string, to: string): Tree {
  const copy = structuredClone(tree);
  walkTree(copy, (tag, body) => {
    if (tag !== 'ColumnRef' || !('fields' in body)) return;
    const fields = body.fields as Node[];
    const last = fields.length - 1;
    if (stringOf(fields[last]) === from) fields[last] = { String: { sval: to } };
  });
  return copy;
}
