/** Requests that make, move and take away names. The kernel leaves the umask to the server (DONT_MASK). */
import { FsError, RenameFlag } from '../vfs/vfs.js';
import type { Call } from './call.js';
import { encodeEntry } from './inode-operations.js';
import { type Host, type Operation, nothing, operation } from './operation.js';
import { Opcode } from './protocol.js';

const RENAME_FLAGS = RenameFlag.noReplace | RenameFlag.exchange;

function rename(host: Host, call: Call, flags: number, namesAt: number): void | Promise<void> {
  if ((flags & ~RENAME_FLAGS) !== 0) throw new FsError('EINVAL');
  const newName = call.name(call.behindName(namesAt));
  const newParent = call.u64(0);
  return host.vfs.rename(call.node, call.name(namesAt), newParent, newName, flags, call.caller());
}

export const NAME_OPERATIONS: Record<number, Operation> = {
  [Opcode.mknod]: operation(
    ({ vfs }, call) =>
      vfs.makeNode(
        call.node,
        call.name(16),
        call.u32(0) & ~call.u32(8),
        call.u32(4),
        call.caller(),
      ),
    encodeEntry,
  ),
  [Opcode.mkdir]: operation(
    ({ vfs }, call) =>
      vfs.makeDirectory(call.node, call.name(8), call.u32(0) & ~call.u32(4), call.caller()),
    encodeEntry,
  ),
  [Opcode.symlink]: operation(
    ({ vfs }, call) =>
      vfs.symlink(call.node, call.name(0), call.name(call.behindName(0)), call.caller()),
    encodeEntry,
  ),
  [Opcode.link]: operation(
    ({ vfs }, call) => vfs.link(call.u64(0), call.node, call.name(8), call.caller()),
    encodeEntry,
  ),
  [Opcode.unlink]: operation(
    ({ vfs }, call) => vfs.unlink(call.node, call.name(0), call.caller()),
    nothing,
  ),
  [Opcode.rmdir]: operation(
    ({ vfs }, call) => vfs.removeDirectory(call.node, call.name(0), call.caller()),
    nothing,
  ),
  [Opcode.rename]: operation((host, call) => rename(host, call, RenameFlag.none, 8), nothing),
  [Opcode.rename2]: operation((host, call) => rename(host, call, call.u32(8), 16), nothing),
};
