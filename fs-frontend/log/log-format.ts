/**
 * The log of one file server: slot s of the logs region, 16,384 registers of 4 KiB (64 MiB, rule 17). Register 0 of the slot
 * describes it, the other 16,383 are a ring: sequence number n lies in register 1 + n % 16,383.
 *
 * ```
 *   description                                        register of the ring
 *    0  u32  0x444c5853 "SXLD"                          0  u32  0x524c5853 "SXLR"
 *    4  u32  CRC32C of bytes 8 to 63                    4  u32  CRC32C of bytes 8 to 4095
 *    8  u64  token of the server whose log it is        8  u64  sequence number: only grows
 *   16  u64  sequence number to read from              16  u64  token
 *   24  u32  state: 0 clean, 1 in use                  24  u64  oldest sequence number still needed
 *   28  u32  slot                                      32  u64  first sequence number of its group
 *                                                      40  u16  bytes of payload used, at most 4,048
 *                                                      42  u16  where the first record starts that starts here; 0xffff none
 *                                                      44  u32  0
 *                                                      48  payload: records (../format/record.ts), one after another
 * ```
 *
 * A **group** is what one write to the disk carries: whole registers, the last one filled up with nothing, so that no
 * register is ever written twice with different content. A record may run over registers of its group, never out of it.
 *
 * - WAL-1 A group is written when the one before it is at quorum. So the log of a token is the run of registers that bear it,
 *   each with the next sequence number; it ends where the number drops or the token differs. Behind the end there may be
 *   registers of the same group (it was torn), none of a later one: that would be CORRUPTION.
 * - WAL-2 A register of the ring is written again only when the description says that reading starts behind it.
 * - WAL-3 What is in place is needed no more: replay starts at the `oldest` of the last register of the run.
 */
import { crc32c, crc32cRange } from '#core/bytes/crc32c.js';
import { getU64, putU64 } from '#core/bytes/le.js';
import { SextantError } from '#core/errors.js';
import { REGISTER_BYTES } from '../disk/disk.js';
import { LOG_REGISTERS } from '../format/layout.js';

const DESCRIPTION_MAGIC = 0x444c_5853;
const DESCRIPTION_BYTES = 64;
const REGISTER_MAGIC = 0x524c_5853;
export const RING_REGISTERS = LOG_REGISTERS - 1;
export const HEADER_BYTES = 48;
export const PAYLOAD_BYTES = REGISTER_BYTES - HEADER_BYTES;
/** Of one group: a record of the largest size and what came before it. */
export const GROUP_REGISTERS_MAX = 512;
export const NO_RECORD = 0xffff;

export const LogState = { clean: 0, inUse: 1 } as const;
export type LogState = (typeof LogState)[keyof typeof LogState];

export interface LogDescription {
  /** 0: never used. */
  readonly token: number;
  readonly first: number;
  readonly state: LogState;
}

export interface LogRegister {
  readonly sequence: number;
  readonly token: number;
  readonly oldest: number;
  readonly group: number;
  readonly used: number;
  readonly firstRecord: number;
}

/** Register of the logs region. */
export const descriptionRegister = (slot: number): number => slot * LOG_REGISTERS;
export const ringRegister = (slot: number, sequence: number): number =>
  slot * LOG_REGISTERS + 1 + (sequence % RING_REGISTERS);

export function encodeDescription(slot: number, description: LogDescription): Uint8Array {
  const bytes = new Uint8Array(REGISTER_BYTES);
  const view = new DataView(bytes.buffer);
  view.setUint32(0, DESCRIPTION_MAGIC, true);
  putU64(view, 8, description.token);
  putU64(view, 16, description.first);
  view.setUint32(24, description.state, true);
  view.setUint32(28, slot, true);
  view.setUint32(4, crc32cRange(bytes, 8, DESCRIPTION_BYTES), true);
  return bytes;
}

/** Throws CORRUPTION. All zeros: never used. */
export function decodeDescription(slot: number, bytes: Uint8Array): LogDescription {
  const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength);
  const magic = view.getUint32(0, true);
  if (magic === 0 && bytes.every((byte) => byte === 0)) {
    return { token: 0, first: 0, state: LogState.clean };
  }
  const state = view.getUint32(24, true);
  if (
    magic !== DESCRIPTION_MAGIC ||
    view.getUint32(4, true) !== crc32cRange(bytes, 8, DESCRIPTION_BYTES) ||
    view.getUint32(28, true) !== slot ||
    state > LogState.inUse
  ) {
    throw new SextantError('CORRUPTION', `log ${slot}: its description`);
  }
  return { token: getU64(view, 8), first: getU64(view, 16), state: state as LogState };
}

/** Writes the header of the register at byte `at`; its payload is there already, zeros behind it. */
export function sealRegister(
  bytes: Uint8Array,
  view: DataView,
  at: number,
  header: LogRegister,
): void {
  view.setUint32(at, REGISTER_MAGIC, true);
  putU64(view, at + 8, header.sequence);
  putU64(view, at + 16, header.token);
  putU64(view, at + 24, header.oldest);
  putU64(view, at + 32, header.group);
  view.setUint16(at + 40, header.used, true);
  view.setUint16(at + 42, header.firstRecord, true);
  view.setUint32(at + 44, 0, true);
  view.setUint32(at + 4, crc32c(bytes.subarray(at + 8, at + REGISTER_BYTES)), true);
}

/** The header of one register's bytes; undefined when it is none: never written, damaged, something else. */
export function openRegister(bytes: Uint8Array): LogRegister | undefined {
  const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength);
  if (view.getUint32(0, true) !== REGISTER_MAGIC) return undefined;
  if (view.getUint32(4, true) !== crc32c(bytes.subarray(8, REGISTER_BYTES))) return undefined;
  const used = view.getUint16(40, true);
  const firstRecord = view.getUint16(42, true);
  if (used > PAYLOAD_BYTES || (firstRecord !== NO_RECORD && firstRecord >= used)) return undefined;
  return {
    sequence: getU64(view, 8),
    token: getU64(view, 16),
    oldest: getU64(view, 24),
    group: getU64(view, 32),
    used,
    firstRecord,
  };
}
