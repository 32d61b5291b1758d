/**
 * Replay of a dead server's log, rule 16:
 *
 * | tag of the block, against the entry         | what is done                                             |
 * |---------------------------------------------|----------------------------------------------------------|
 * | at or above the entry's new tag             | skip: it is in place, or somebody came later             |
 * | the entry's previous tag, or entry is FRESH | apply, the block then bears the entry's new tag          |
 * | anything else                               | CORRUPTION: replay stops                                 |
 *
 * The block is written under the *record's* tag by a disk handle with the demon's own token. So a second demon that repeats
 * it, or runs at the same time, writes the same bytes under the same tag, and both leave alone whatever is newer (FS-3).
 * The log is freed once everything is at quorum.
 */
import { applyEdits } from '#core/redo/edits.js';
import { SextantError } from '#core/errors.js';
import {
  Region,
  registerBytes,
  type RegisterRead,
  type RegisterWrite,
  type Tag,
  type VirtualDisk,
} from '../disk/disk.js';
import type { LogRecord, RecordEntry } from '../format/record.js';
import { LogState, descriptionRegister, encodeDescription } from './log-format.js';
import { readLog } from './reader.js';

/** A block as it is on the disk, then as replay has made it. */
export interface ReplayBlock {
  readonly region: Region;
  readonly index: number;
  readonly bytes: Uint8Array;
  clock: number;
  token: number;
  changed: boolean;
}

export const blockKey = (region: Region, index: number): number => index * 8 + region;

/** One entry against its block. True: applied. Throws CORRUPTION. */
export function replayEntry(block: ReplayBlock, entry: RecordEntry, record: Uint8Array): boolean {
  const order = block.clock - entry.clock || block.token - entry.token;
  if (order >= 0) return false;
  if (entry.fresh) block.bytes.fill(0);
  else if (block.clock !== entry.previousClock || block.token !== entry.previousToken) {
    throw new SextantError(
      'CORRUPTION',
      `replay: register ${entry.region}/${entry.index} has tag ${block.clock}.${block.token}; ` +
        `the record goes from ${entry.previousClock}.${entry.previousToken} to ${entry.clock}.${entry.token}`,
    );
  }
  applyEdits(block.bytes, 0, record, entry.start, entry.end);
  block.clock = entry.clock;
  block.token = entry.token;
  block.changed = true;
  return true;
}

/** Records in order, over the blocks that they name. Returns how many entries were applied. Throws CORRUPTION. */
export function replayRecords(
  records: readonly LogRecord[],
  blocks: ReadonlyMap<number, ReplayBlock>,
): number {
  let applied = 0;
  for (const { entries, bytes } of records) {
    for (const entry of entries) {
      const block = blocks.get(blockKey(entry.region, entry.index));
      if (block === undefined) throw new SextantError('INTERNAL', 'replay lacks a block');
      if (replayEntry(block, entry, bytes)) applied++;
    }
  }
  return applied;
}

export interface ReplayOptions {
  /** The demon's own, its token unlike the dead server's, which has been fenced and completed (rule 12). */
  readonly disk: VirtualDisk;
  readonly slot: number;
  readonly takeClocks: (count: number) => number;
  /** The clerk's clock is at least this from now on; called before anything is freed. */
  readonly raiseClock: (to: number) => void;
}

export interface ReplayResult {
  /** Whose log it was; 0 when the slot was never used. */
  readonly token: number;
  readonly records: number;
  readonly applied: number;
  readonly blocksWritten: number;
  /** Largest clock in the log (rule 2). */
  readonly clockMax: number;
}

/** Blocks in memory at a time. */
const WINDOW_BLOCKS = 4096;

/** Replays and frees the log of a slot; nothing to do when it is clean. Rejects with CORRUPTION, FENCED, NO_QUORUM. */
export async function replayLog(options: ReplayOptions): Promise<ReplayResult> {
  const { disk, slot } = options;
  const content = await readLog(disk, slot);
  const { records, token, clockMax } = content;
  let applied = 0;
  let blocksWritten = 0;
  for (let from = 0; from < records.length;) {
    const names = new Map<number, { region: Region; index: number }>();
    let to = from;
    while (to < records.length && (to === from || names.size < WINDOW_BLOCKS)) {
      for (const { region, index } of records[to++].entries) {
        names.set(blockKey(region, index), { region, index });
      }
    }
    const blocks = await readBlocks(disk, [...names.values()]);
    applied += replayRecords(records.slice(from, to), blocks);
    blocksWritten += await writeBlocks(disk, blocks);
    from = to;
  }
  options.raiseClock(clockMax);
  if (!content.clean) {
    const bytes = encodeDescription(slot, { token, first: content.end, state: LogState.clean });
    const tag: Tag = { clock: options.takeClocks(1), token: disk.token };
    const index = descriptionRegister(slot);
    await disk.write([{ region: Region.logs, index, tag, bytes }]);
  }
  return { token, records: records.length, applied, blocksWritten, clockMax };
}

async function readBlocks(
  disk: VirtualDisk,
  names: readonly { region: Region; index: number }[],
): Promise<Map<number, ReplayBlock>> {
  const sorted = [...names].sort((a, b) => a.region - b.region || a.index - b.index);
  const reads: (RegisterRead & { count: number })[] = [];
  for (const { region, index } of sorted) {
    const last = reads[reads.length - 1];
    if (last !== undefined && last.region === region && last.index + last.count === index) {
      last.count++;
    } else reads.push({ region, index, count: 1 });
  }
  const contents = await disk.read(reads);
  const blocks = new Map<number, ReplayBlock>();
  contents.forEach(({ bytes, tags }, i) => {
    const { region, index } = reads[i];
    const size = registerBytes(region);
    tags.forEach(({ clock, token }, k) => {
      const part = bytes.slice(k * size, (k + 1) * size);
      const block = { region, index: index + k, bytes: part, clock, token, changed: false };
      blocks.set(blockKey(region, index + k), block);
    });
  });
  return blocks;
}

/** A block that was skipped is at quorum already, because the read wrote it back. */
async function writeBlocks(
  disk: VirtualDisk,
  blocks: ReadonlyMap<number, ReplayBlock>,
): Promise<number> {
  const writes: RegisterWrite[] = [];
  for (const { region, index, bytes, clock, token, changed } of blocks.values()) {
    if (changed) writes.push({ region, index, bytes, tag: { clock, token } });
  }
  if (writes.length > 0) await disk.write(writes);
  return writes.length;
}
