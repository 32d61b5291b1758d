/**
 * Byte 8 of each page of the database volume: who owns it. Numbers are never used again.
 *
 * | type | page          | layout                    |
 * |------|---------------|---------------------------|
 * |    0 | never written | all zero                  |
 * |    1 | volume header | pages/volume-header.ts    |
 * |    2 | free trunk    | pages/allocator.ts        |
 * |    3 | tree node     | btree/node.ts             |
 * |    4 | txn status    | txn                       |
 * |    5 | row history   | tables                    |
 * |    6 | overflow      | tables                    |
 */
export const PAGE_TYPE_NONE = 0;
export const PAGE_TYPE_VOLUME_HEADER = 1;
export const PAGE_TYPE_FREE_TRUNK = 2;
export const PAGE_TYPE_NODE = 3;
export const PAGE_TYPE_TXN_STATUS = 4;
export const PAGE_TYPE_HISTORY = 5;
export const PAGE_TYPE_OVERFLOW = 6;
