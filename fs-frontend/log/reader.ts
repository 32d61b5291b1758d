/**
 * Reads the log of a server that is gone: finds its end and cuts it into records (log-format.ts). The disk's reads write back
 * what they return, so that a second reader sees no less (rule 16).
 */
import { SextantError } from '#core/errors.js';
import { REGISTER_BYTES, Region, type VirtualDisk } from '../disk/disk.js';
import {
  RECORD_BYTES_MAX,
  RECORD_HEADER_BYTES,
  decodeRecord,
  type LogRecord,
} from '../format/record.js';
import {
  GROUP_REGISTERS_MAX,
  HEADER_BYTES,
  LogState,
  NO_RECORD,
  RING_REGISTERS,
  decodeDescription,
  descriptionRegister,
  openRegister,
  ringRegister,
  type LogRegister,
} from './log-format.js';

const READ_REGISTERS = 64;

export interface LogContent {
  readonly slot: number;
  readonly token: number;
  readonly clean: boolean;
  /** Those that may not be in place, in order. */
  readonly records: readonly LogRecord[];
  /** Sequence number behind the last register. */
  readonly end: number;
  /** Of every register that was read, the description included, and of every record. */
  readonly clockMax: number;
}

interface ReadRegister extends LogRegister {
  readonly payload: Uint8Array;
}

class RingReader {
  readonly #disk: VirtualDisk;
  readonly #slot: number;
  clockMax = 0;

  constructor(disk: VirtualDisk, slot: number) {
    this.#disk = disk;
    this.#slot = slot;
  }

  /** Registers of `count` sequence numbers; undefined where there is something else. */
  async read(first: number, count: number, token: number): Promise<(ReadRegister | undefined)[]> {
    const toWrap = RING_REGISTERS - (first % RING_REGISTERS);
    const parts = count <= toWrap ? [count] : [toWrap, count - toWrap];
    let sequence = first;
    const reads = parts.map((part) => {
      const read = { region: Region.logs, index: ringRegister(this.#slot, sequence), count: part };
      sequence += part;
      return read;
    });
    const found: (ReadRegister | undefined)[] = [];
    for (const { bytes, tags } of await this.#disk.read(reads)) {
      for (let i = 0; i < tags.length; i++) {
        this.clockMax = Math.max(this.clockMax, tags[i].clock);
        const register = bytes.subarray(i * REGISTER_BYTES, (i + 1) * REGISTER_BYTES);
        const header = openRegister(register);
        const expected = first + found.length;
        const fits = header !== undefined && header.token === token && header.sequence === expected;
        if (!fits) found.push(undefined);
        else {
          const payload = register.slice(HEADER_BYTES, HEADER_BYTES + header.used);
          found.push({ ...header, payload });
        }
      }
    }
    return found;
  }
}

/** Rejects with CORRUPTION, FENCED, NO_QUORUM. */
export async function readLog(disk: VirtualDisk, slot: number): Promise<LogContent> {
  const index = descriptionRegister(slot);
  const [described] = await disk.read([{ region: Region.logs, index, count: 1 }]);
  const { token, first, state } = decodeDescription(slot, described.bytes);
  const ring = new RingReader(disk, slot);
  ring.clockMax = described.tags[0].clock;
  if (state === LogState.clean) {
    return { slot, token, clean: true, records: [], end: first, clockMax: ring.clockMax };
  }
  const run: ReadRegister[] = [];
  let ended = false;
  while (!ended && run.length < RING_REGISTERS) {
    const count = Math.min(READ_REGISTERS, RING_REGISTERS - run.length);
    for (const register of await ring.read(first + run.length, count, token)) {
      if (register === undefined) {
        ended = true;
        break;
      }
      run.push(register);
    }
  }
  const end = first + run.length;
  if (ended) await checkEnd(ring, slot, end, token);
  const records = recordsOf(run, first, token, slot);
  let clockMax = ring.clockMax;
  for (const { entries } of records)
    clockMax = Math.max(clockMax, entries[entries.length - 1].clock);
  return { slot, token, clean: false, records, end, clockMax };
}

/** WAL-1: nothing of a later group lies behind the end. */
async function checkEnd(ring: RingReader, slot: number, end: number, token: number): Promise<void> {
  const behind = await ring.read(end + 1, GROUP_REGISTERS_MAX, token);
  for (const register of behind) {
    if (register !== undefined && register.group > end) {
      throw corrupt(slot, `register ${end} is lost, register ${register.sequence} is there`);
    }
  }
}

function recordsOf(run: ReadRegister[], first: number, token: number, slot: number): LogRecord[] {
  if (run.length === 0) return [];
  const { oldest } = run[run.length - 1];
  if (oldest > first + run.length) throw corrupt(slot, `oldest register ${oldest}`);
  let at = Math.max(0, oldest - first);
  while (at < run.length && run[at].firstRecord === NO_RECORD) at++;
  const records: LogRecord[] = [];
  let cut: Uint8Array[] = [];
  for (; at < run.length; at++) {
    const { payload, firstRecord, sequence, group } = run[at];
    // What a group left unfinished was torn off: only the last group can be.
    if (sequence === group) cut = [];
    cut.push(
      cut.length === 0 && firstRecord !== NO_RECORD ? payload.subarray(firstRecord) : payload,
    );
    const next = run[at + 1];
    if (next !== undefined && next.sequence !== next.group) continue;
    takeRecords(cut, token, slot, next === undefined, records);
    cut = [];
  }
  return records;
}

/** All records of one group; the last group may have lost its tail. */
function takeRecords(
  parts: Uint8Array[],
  token: number,
  slot: number,
  mayBeCut: boolean,
  records: LogRecord[],
): void {
  const bytes = new Uint8Array(parts.reduce((sum, part) => sum + part.length, 0));
  let end = 0;
  for (const part of parts) {
    bytes.set(part, end);
    end += part.length;
  }
  const view = new DataView(bytes.buffer);
  for (let at = 0; at < end;) {
    const whole = at + RECORD_HEADER_BYTES <= end ? view.getUint32(at, true) : 0;
    const isCut = at + RECORD_HEADER_BYTES > end || at + whole > end;
    if (isCut && mayBeCut) return;
    if (isCut || whole < RECORD_HEADER_BYTES || whole > RECORD_BYTES_MAX) {
      throw corrupt(slot, 'a record cut short');
    }
    records.push(decodeRecord(bytes.subarray(at, at + whole), token));
    at += whole;
  }
}

function corrupt(slot: number, what: string): SextantError {
  return new SextantError('CORRUPTION', `log ${slot}: ${what}`);
}
