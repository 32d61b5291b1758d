/** What is shared by the binding of one statement: catalog, types, parameters, slot numbers. */
import type { CatalogReader } from '../../catalog/definitions.js';
import { SqlError, notSupported } from '../../sql-error.js';
import type { TextPositions } from '../parse/parser.js';
import type { SlotExpr } from './expression.js';
import type { TypeSystem } from './type-system.js';
import { UNKNOWN } from './type-system.js';

export class BindContext {
  readonly catalog: CatalogReader;
  readonly types: TypeSystem;
  readonly positions: TextPositions;
  /** Declared or inferred type per $n; 0 or UNKNOWN: not known yet. */
  readonly parameters: number[];
  readonly declared: number;
  /** Tables and views that the statement needs, by oid, with the lock mode (engine/catalog/relation-locks.ts). */
  readonly locks = new Map<number, number>();
  searchPath: readonly string[];
  slotCount = 0;
  private relations = 0;
  private views = 0;

  constructor(
    catalog: CatalogReader,
    types: TypeSystem,
    positions: TextPositions,
    searchPath: readonly string[],
    parameterOids: readonly number[],
  ) {
    this.catalog = catalog;
    this.types = types;
    this.positions = positions;
    this.searchPath = searchPath;
    this.parameters = parameterOids.map((oid) => (oid === 0 ? UNKNOWN : oid));
    this.declared = parameterOids.length;
  }

  noteLock(oid: number, mode: number): void {
    if (mode > (this.locks.get(oid) ?? -1)) this.locks.set(oid, mode);
  }

  newSlot(): number {
    return this.slotCount++;
  }

  newSlots(count: number): number[] {
    return Array.from({ length: count }, () => this.slotCount++);
  }

  newRelationId(): number {
    return ++this.relations;
  }

  /** Binds something stored (a view, a default) whose locations say nothing about this text. */
  within<T>(searchPath: readonly string[], work: () => T): T {
    const saved = this.searchPath;
    this.searchPath = searchPath;
    this.views++;
    if (this.views > 64) throw new SqlError('54001', 'stack depth limit exceeded');
    try {
      return work();
    } finally {
      this.searchPath = saved;
      this.views--;
    }
  }

  at(location: number | undefined): number | undefined {
    return this.views > 0 ? undefined : this.positions.at(location);
  }

  error(
    code: string,
    message: string,
    location: number | undefined,
    more: { hint?: string; detail?: string } = {},
  ): SqlError {
    const position = this.at(location);
    return new SqlError(code, message, position === undefined ? more : { ...more, position });
  }

  refuse(what: string, location: number | undefined): SqlError {
    return notSupported(what, this.at(location));
  }

  computed(type: number, typmod: number, slot: number, name: string): SlotExpr {
    return { op: 'slot', type, typmod, slot, relation: 0, name, location: -1 };
  }
}
