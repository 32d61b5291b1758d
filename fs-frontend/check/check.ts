/**
 * `sextant fs check`: is everything on a virtual disk as the format says, and if not, what can be put right.
 *
 * ```
 *   superblock -> logs -> scan -> (repair: round -> scan) until nothing is left that can be repaired
 * ```
 *
 * Without `repair` nothing is written: logs of servers that died are replayed in memory, so that what is checked is the state
 * after recovery. With `repair` nobody may have the disk mounted. FS-4: after any recovery a check finds nothing.
 */
import { isSextantError } from '#core/errors.js';
import { Region, registerBytes, type VirtualDisk } from '../disk/disk.js';
import { LOG_SLOTS } from '../format/layout.js';
import { S_IFDIR } from '../format/inode.js';
import { LogState, decodeDescription, descriptionRegister } from '../log/log-format.js';
import { readLog } from '../log/reader.js';
import { blockKey, replayLog, replayRecords, type ReplayBlock } from '../log/replay.js';
import { DiskBlocks } from './disk-blocks.js';
import type { CheckReport, CheckedFinding, Finding } from './finding.js';
import { readSuperblock } from './mkfs.js';
import { ROUND, Repair } from './repair.js';
import { Scan } from './scan.js';

export type { CheckReport, CheckedFinding, Finding, FindingKind } from './finding.js';

export interface CheckOptions {
  readonly repair: boolean;
  readonly takeClocks: (count: number) => number;
  /** The clerk's clock is at least this from now on. */
  readonly raiseClock: (to: number) => void;
  /** Called for each finding as it is met first. */
  onFinding?(finding: Finding): void;
}

/** Repairs show others, and each round may: but not for ever. */
const SCANS_MAX = 20;
const ATTEMPTS_MAX = 2;
/** While these are there, what seems to be free may be theirs. */
const OWNERS_UNKNOWN = ['inode-damaged', 'directory-damaged', 'log-damaged', 'block-shared'];

/** Rejects with NOT_FOUND (no file system), WRONG_CLUSTER (another version), CORRUPTION (its superblock), NO_QUORUM, FENCED. */
export async function checkFileSystem(
  disk: VirtualDisk,
  options: CheckOptions,
): Promise<CheckReport> {
  const superblock = await readSuperblock(disk);
  const all = new Map<string, CheckedFinding>();
  const note = (finding: Finding, repaired: boolean): void => {
    const key = keyOf(finding);
    if (!all.has(key)) options.onFinding?.(finding);
    all.set(key, { ...finding, repaired });
  };
  const overlays = await readLogs(disk, options, note);
  const attempts = new Map<string, number>();
  for (let scans = 1; ; scans++) {
    const blocks = new DiskBlocks(disk, options.takeClocks);
    for (const { region, index, bytes } of overlays) blocks.overlay(region, index, bytes);
    const scan = new Scan(blocks, superblock.segmentsMax);
    await scan.run();
    const round = options.repair && scans < SCANS_MAX ? nextRound(scan.findings, attempts) : [];
    for (const finding of scan.findings) note(finding, false);
    if (round.length === 0) {
      // What an earlier round repaired is not found any more.
      const left = new Set(scan.findings.map(keyOf));
      const findings = [...all].map(([key, finding]) => {
        const isScanned = ROUND[finding.kind] !== 0;
        return isScanned ? { ...finding, repaired: !left.has(key) } : finding;
      });
      return report(scan, findings);
    }
    await new Repair(blocks, scan.segments).run(round);
  }
}

const keyOf = (finding: Finding): string => `${finding.kind} ${finding.message}`;

/** What is to be repaired next; nothing that was tried twice. */
function nextRound(findings: readonly Finding[], attempts: Map<string, number>): Finding[] {
  const unknown = findings.some(({ kind }) => OWNERS_UNKNOWN.includes(kind));
  for (let round = 1; round <= 4; round++) {
    const these = findings.filter(
      (finding) =>
        ROUND[finding.kind] === round && (attempts.get(keyOf(finding)) ?? 0) < ATTEMPTS_MAX,
    );
    if (these.length === 0 || (round === 4 && unknown)) continue;
    for (const key of these.map(keyOf)) attempts.set(key, (attempts.get(key) ?? 0) + 1);
    return these;
  }
  return [];
}

function report(scan: Scan, findings: CheckedFinding[]): CheckReport {
  let directories = 0;
  let orphans = 0;
  for (const { type, isOrphan } of scan.inodes.values()) {
    if (isOrphan) orphans++;
    else if (type === S_IFDIR) directories++;
  }
  return {
    clean: findings.every(({ kind, repaired }) => repaired || kind === 'log-not-replayed'),
    findings,
    files: scan.inodes.size - directories - orphans,
    directories,
    orphans,
    metadataBlocks: scan.metadata.total - 1,
    dataBlocks: scan.data.total - 1,
  };
}

/** Replays the logs of servers that died: on the disk, or else in memory: then returns the blocks as they would be. */
async function readLogs(
  disk: VirtualDisk,
  options: CheckOptions,
  note: (finding: Finding, repaired: boolean) => void,
): Promise<ReplayBlock[]> {
  const overlays = new Map<number, ReplayBlock>();
  const reads = Array.from({ length: LOG_SLOTS }, (_, slot) => ({
    region: Region.logs,
    index: descriptionRegister(slot),
    count: 1,
  }));
  const descriptions = await disk.read(reads);
  for (let slot = 0; slot < LOG_SLOTS; slot++) {
    try {
      const { state } = decodeDescription(slot, descriptions[slot].bytes);
      if (state === LogState.clean) continue;
      const { records, token } = await readLog(disk, slot);
      if (records.length > 0 || options.repair) {
        const message = `log ${slot} of token ${token}: ${records.length} records not replayed`;
        note(
          { kind: 'log-not-replayed', message, index: slot, count: records.length },
          options.repair,
        );
      }
      const { takeClocks, raiseClock } = options;
      if (options.repair) await replayLog({ disk, slot, takeClocks, raiseClock });
      else {
        await loadBlocks(
          disk,
          overlays,
          records.flatMap(({ entries }) => entries),
        );
        replayRecords(records, overlays);
      }
    } catch (error) {
      if (!isSextantError(error, 'CORRUPTION')) throw error;
      note({ kind: 'log-damaged', message: error.message, index: slot }, false);
    }
  }
  return [...overlays.values()];
}

async function loadBlocks(
  disk: VirtualDisk,
  blocks: Map<number, ReplayBlock>,
  names: readonly { readonly region: Region; readonly index: number }[],
): Promise<void> {
  const missing = new Map<number, { region: Region; index: number; count: number }>();
  for (const { region, index } of names) {
    const key = blockKey(region, index);
    if (!blocks.has(key)) missing.set(key, { region, index, count: 1 });
  }
  const reads = [...missing.values()];
  if (reads.length === 0) return;
  const contents = await disk.read(reads);
  reads.forEach(({ region, index }, i) => {
    const [{ clock, token }] = contents[i].tags;
    const bytes = contents[i].bytes.slice(0, registerBytes(region));
    blocks.set(blockKey(region, index), { region, index, bytes, clock, token, changed: false });
  });
}
