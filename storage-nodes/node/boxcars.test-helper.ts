/** Boxcars for tests: each record writes one byte of page `lsn % 4`, offset 16; every record is a CPL unless told. */
import { putFormat, putSet } from '#core/redo/edits.js';
import { BoxcarWriter } from '#core/redo/boxcar-writer.js';
import { FLAG_CPL, FLAG_FORMAT } from '#core/redo/record.js';

export interface BoxcarOptions {
  readonly volume?: number;
  readonly pg?: number;
  readonly epoch?: number;
  readonly membershipEpoch?: number;
  readonly vdl?: number;
  readonly pgmrpl?: number;
  /** Which LSNs are CPLs; default all. */
  readonly cpls?: readonly number[];
  /** Page of a record; default `lsn % 4`. */
  readonly pageOf?: (lsn: number) => number;
}

/** The given LSNs after `backLink`. Every record formats its page, so chains of any cut apply. */
export function boxcar(
  backLink: number,
  lsns: readonly number[],
  options: BoxcarOptions = {},
): Uint8Array {
  const writer = new BoxcarWriter();
  const edits = new Uint8Array(64);
  for (const lsn of lsns) {
    let end = putFormat(edits, 0, 1);
    end = putSet(edits, end, 16, new Uint8Array([lsn & 0xff]), 0, 1);
    const cpl = options.cpls === undefined || options.cpls.includes(lsn) ? FLAG_CPL : 0;
    const pageNo = options.pageOf?.(lsn) ?? lsn % 4;
    writer.append(lsn, FLAG_FORMAT | cpl, pageNo, 0, edits, 0, end);
  }
  return writer.finish({
    volume: options.volume ?? 1,
    pg: options.pg ?? 0,
    volumeEpoch: options.epoch ?? 1,
    membershipEpoch: options.membershipEpoch ?? 1,
    backLink,
    vdl: options.vdl ?? 0,
    pgmrpl: options.pgmrpl ?? 0,
  });
}
