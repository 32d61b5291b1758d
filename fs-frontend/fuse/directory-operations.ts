/** Requests about open directories. What did not fit is asked for again from the last cookie that did. */
import type { DirectoryEntry } from '../vfs/vfs.js';
import type { Answer } from './answer.js';
import type { Call } from './call.js';
import { type Host, type Operation, nothing, operation } from './operation.js';
import { ENTRY_BYTES, FSYNC_DATA_ONLY, Opcode } from './protocol.js';

const DOT = 0x2e;
/** Of a record: how much are names, about, so that what the file system gathers fits the answer. */
const NAME_SHARE = 3;
const NAME_SHARE_WITH_ATTRIBUTES = 12;

function isDots(name: Uint8Array): boolean {
  if (name[0] !== DOT || name.length > 2) return false;
  return name.length === 1 || name[1] === DOT;
}

function encodeNames(
  _host: Host,
  answer: Answer,
  call: Call,
  entries: readonly DirectoryEntry[],
): void {
  for (const { name, ino, type, cookie } of entries) {
    if (!answer.directoryEntry(name, ino, type, cookie, call.detail)) return;
  }
}

function encodeEntries(
  { kernel }: Host,
  answer: Answer,
  call: Call,
  entries: readonly DirectoryEntry[],
): void {
  for (const { name, ino, type, cookie, entry } of entries) {
    if (!answer.fits(name.length, call.detail)) return;
    // `.` and `..` are never looked up, and without attributes there is nothing to keep: node 0.
    if (entry === undefined || isDots(name)) answer.zeros(ENTRY_BYTES);
    else {
      answer.entry(entry, kernel.namesKept);
      kernel.lookedUp(ino);
    }
    answer.directoryEntry(name, ino, type, cookie, call.detail);
  }
}

function readDirectory({ vfs }: Host, call: Call, withAttributes: boolean) {
  const bytesMax = call.u32(16);
  const share = withAttributes ? NAME_SHARE_WITH_ATTRIBUTES : NAME_SHARE;
  call.detail = bytesMax;
  return vfs.readDirectory(call.u64(0), call.u64(8), Math.ceil(bytesMax / share), withAttributes);
}

export const DIRECTORY_OPERATIONS: Record<number, Operation> = {
  [Opcode.opendir]: operation(
    ({ vfs }, call) => vfs.openDirectory(call.node, call.caller()),
    (_host, answer, _call, handle) => {
      answer.u64(handle);
      answer.u64(0);
    },
  ),
  [Opcode.readdir]: operation((host, call) => readDirectory(host, call, false), encodeNames),
  [Opcode.readdirplus]: operation((host, call) => readDirectory(host, call, true), encodeEntries),
  [Opcode.releasedir]: operation(({ vfs }, call) => vfs.release(call.u64(0)), nothing),
  [Opcode.fsyncdir]: operation(
    ({ vfs }, call) => vfs.fsync(call.u64(0), (call.u32(8) & FSYNC_DATA_ONLY) !== 0),
    nothing,
  ),
};
