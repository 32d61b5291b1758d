/**
 * CRC-32C (Castagnoli, reflected polynomial 0x82f63b78): the checksum of every frame, boxcar, journal
 * entry and page.
 *
 * The native function uses the processor's CRC instruction but costs about 150 ns a call; the table
 * version (slicing by eight) has no such cost and does 1.3 GB/s. Measured, ns a call:
 *
 * | bytes  |    16 |    72 |   128 |   200 |   256 |   512 |  4096 |  65536 |
 * |--------|-------|-------|-------|-------|-------|-------|-------|--------|
 * | native |   149 |   162 |   156 |   162 |   175 |   217 |   928 |  10164 |
 * | table  |    45 |    60 |   101 |   157 |   193 |   379 |  2897 |  47834 |
 */
import { crc32c as nativeCrc32c } from '@node-rs/crc32';

/** Below this many bytes the table wins (see above). */
export const TABLE_BYTES_MAX = 200;

const POLYNOMIAL = 0x82f63b78;
const TABLES = makeTables();

/** Eight tables of 256: TABLES[256 * k + b] is the CRC of byte b followed by k zero bytes. */
function makeTables(): Int32Array {
  const tables = new Int32Array(8 * 256);
  for (let byte = 0; byte < 256; byte++) {
    let crc = byte;
    for (let bit = 0; bit < 8; bit++) crc = crc & 1 ? (crc >>> 1) ^ POLYNOMIAL : crc >>> 1;
    tables[byte] = crc;
  }
  for (let i = 256; i < tables.length; i++) {
    const previous = tables[i - 256];
    tables[i] = (previous >>> 8) ^ tables[previous & 0xff];
  }
  return tables;
}

/**
 * The CRC-32C of `bytes` as an unsigned 32-bit number. `initial` is the CRC of what precedes them, so
 * `crc32c(b, crc32c(a))` is the CRC of a then b.
 */
export function crc32c(bytes: Uint8Array, initial = 0): number {
  if (bytes.length < TABLE_BYTES_MAX) return crc32cRange(bytes, 0, bytes.length, initial);
  return nativeCrc32c(bytes, initial);
}

/** As `crc32c`, over bytes[start, end) and always by table: for short ranges, without making a view. */
export function crc32cRange(bytes: Uint8Array, start: number, end: number, initial = 0): number {
  let crc = ~initial;
  let i = start;
  for (const last = end - 8; i <= last; i += 8) {
    const low =
      crc ^ (bytes[i] | (bytes[i + 1] << 8) | (bytes[i + 2] << 16) | (bytes[i + 3] << 24));
    crc =
      TABLES[1792 + (low & 0xff)] ^
      TABLES[1536 + ((low >>> 8) & 0xff)] ^
      TABLES[1280 + ((low >>> 16) & 0xff)] ^
      TABLES[1024 + (low >>> 24)] ^
      TABLES[768 + bytes[i + 4]] ^
      TABLES[512 + bytes[i + 5]] ^
      TABLES[256 + bytes[i + 6]] ^
      TABLES[bytes[i + 7]];
  }
  for (; i < end; i++) {
    crc = (crc >>> 8) ^ TABLES[(crc ^ bytes[i]) & 0xff];
  }
  return ~crc >>> 0;
}
