/** The table that holds the catalog's own records: known by its root in the volume header, has no indexes. */
import type { PageSpace } from '../pages/page-space.js';
import { ROOT_CATALOG } from '../pages/volume-header.js';
import type { TableHandle } from '../tables/table-store.js';

export const SYSTEM_TABLE_OID = 1;

export function systemTable(space: PageSpace): TableHandle {
  return {
    oid: SYSTEM_TABLE_OID,
    schemaName: 'pg_catalog',
    name: 'sextant_objects',
    rootPageNo: space.header.root(ROOT_CATALOG),
    indexes: [],
  };
}
