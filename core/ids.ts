/**
 * Branded numbers and strings. They are made and checked at boundaries (a wire, a disk, a user);
 * inside loops they are plain numbers.
 */
import { SextantError } from './errors.js';

declare const brand: unique symbol;
type Branded<Base, Name extends string> = Base & { readonly [brand]: Name };

/** A log sequence number: dense, one counter per volume; 0 means "none". u64 on the wire. */
export type Lsn = Branded<number, 'Lsn'>;
/** A page of 8 KiB within a volume, 0-based. u32. */
export type PageNo = Branded<number, 'PageNo'>;
/** A protection group within a volume, 0-based. u32. */
export type PgNo = Branded<number, 'PgNo'>;
/** The database volume or a virtual disk. u32. */
export type VolumeId = Branded<number, 'VolumeId'>;
/** A transaction or sub-transaction id; 0 means "none". u48. */
export type TxnId = Branded<number, 'TxnId'>;
/** The name of a storage node: [a-z0-9-]{1,32}, as in `node-1`. */
export type NodeId = Branded<string, 'NodeId'>;

export const PAGE_BYTES = 8192;

function checkedInteger(value: number, max: number, what: string): number {
  if (!Number.isInteger(value) || value < 0 || value > max) {
    throw new SextantError('PROTOCOL', `${what} out of range: ${value}`);
  }
  return value;
}

export const toLsn = (n: number): Lsn => checkedInteger(n, Number.MAX_SAFE_INTEGER, 'LSN') as Lsn;
export const toPageNo = (n: number): PageNo =>
  checkedInteger(n, 0xffff_ffff, 'page number') as PageNo;
export const toPgNo = (n: number): PgNo => checkedInteger(n, 0xffff_ffff, 'PG number') as PgNo;
export const toVolumeId = (n: number): VolumeId =>
  checkedInteger(n, 0xffff_ffff, 'volume id') as VolumeId;
export const toTxnId = (n: number): TxnId =>
  checkedInteger(n, 0xffff_ffff_ffff, 'transaction id') as TxnId;

export function toNodeId(text: string): NodeId {
  if (!/^[a-z0-9-]{1,32}$/.test(text)) {
    throw new SextantError('CONFIG', `node id must be [a-z0-9-], 1 to 32 long: ${text}`);
  }
  return text as NodeId;
}
